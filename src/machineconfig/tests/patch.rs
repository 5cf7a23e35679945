use serde_json::Value;

use super::{documents_differ, read, run_versions, trees};
use crate::machineconfig::patch::{Argument, argument};
use crate::machineconfig::{Documents, Minor, Mode, Patch, PatchSource, apply, blame, validate};

/// Patches `case` as a machine of `version` would, or says at which stage it failed, and how.
fn patched(case: &str, recorded: &Value, minor: &Minor) -> Result<Documents, (&'static str, String)> {
    let base = recorded["base"].as_str().expect("path");
    let base = if base == "base.yaml" { format!("patch/{case}/{base}") } else { base.to_owned() };
    let base = Documents::parse_for(&read(base), minor).expect("the base is valid");
    let load = |patch: &Value| {
        let text = if let Some(file) = patch["file"].as_str() {
            read(format!("patch/{case}/{file}"))
        } else {
            match argument(patch["inline"].as_str().expect("text"), minor) {
                Argument::Content(text) => text.to_owned(),
                // No recorded argument names a file that exists.
                Argument::File(path) => {
                    return Err(("load-patch", format!("open {path}: no such file or directory")));
                }
            }
        };
        Patch::load(&text, PatchSource::Inline(case.to_owned()), minor).map_err(|error| ("load-patch", error.text))
    };
    let patches: Vec<Patch> =
        recorded["patches"].as_array().expect("a list").iter().map(load).collect::<Result<_, _>>()?;
    apply(&base, &patches, minor).map_err(|error| ("apply", error.text))
}

#[test]
fn patches_as_talos_does() {
    run_versions("patch", "results", |case, recorded, version| {
        let minor = Minor::parse(version).expect("known");
        let result = &recorded["results"][version];
        let made = patched(case, recorded, &minor);
        match (made, result["outcome"].as_str().expect("text")) {
            // Where Talos crashes, an error is right, and so is skipping the deletion of what is not there.
            (Err(_), "panic") => Ok(()),
            (Ok(_), "panic") if case.contains("delete-missing") => Ok(()),
            (Ok(made), "ok") => {
                let text = read(format!("patch/{case}/{}", result["file"].as_str().expect("file")));
                documents_differ(&made.trees(), &trees(&text)).map_or(Ok(()), Err)?;
                let verdict = validate(&made, Mode::Metal, false, &minor);
                let recorded = |key: &str| -> Vec<String> {
                    serde_json::from_value(result["validation"][key].clone()).unwrap_or_default()
                };
                if verdict.errors == recorded("errors") && verdict.warnings == recorded("warnings") {
                    Ok(())
                } else {
                    Err(format!("validation: ours {verdict:?}, Talos's {}", result["validation"]))
                }
            }
            (Err((_, ours)), "error") => {
                let theirs = read(format!("patch/{case}/{}", result["file"].as_str().expect("file")));
                // What begins in the YAML or JSON parser compares only in that it failed.
                let parser = ["yaml: ", "decode error: ", "JSON input", "illegal base64", "parse \"https:"];
                if ours == theirs || parser.iter().any(|mark| theirs.contains(mark)) {
                    Ok(())
                } else {
                    Err(format!("ours {ours:?}, Talos's {theirs:?}"))
                }
            }
            (Ok(_), outcome) => Err(format!("patched, but Talos says {outcome}")),
            (Err((stage, error)), outcome) => Err(format!("{stage}: {error}, but Talos says {outcome}")),
        }
    });
}

#[test]
fn a_field_beside_its_document_is_found_in_its_patch() {
    let minor = Minor::parse("1.14").expect("known");
    let base = Documents::parse(&read("gen/default-1.14-worker/expected.yaml")).expect("recorded");
    let load =
        |file: &str, text: &str| Patch::load(text, PatchSource::File(file.to_owned()), &minor).expect("it loads");
    let patches = [
        load("a.yaml", "machine:\n  network:\n    hostname: a\n"),
        load("b.yaml", "machine:\n  sysctls: {a: b}\n  network:\n    nameservers: [10.0.0.1]\n"),
    ];
    let made = apply(&base, &patches, &minor).expect("they apply");
    let errors = validate(&made, Mode::Metal, false, &minor).errors;
    let places: Vec<_> = errors.iter().map(|error| blame(error, &patches)).collect();
    let expected = ["patch b.yaml:4 (machine.network.nameservers)", "patch a.yaml:3 (machine.network.hostname)"];
    assert_eq!(places, expected.map(|place| Some(place.to_owned())), "{errors:?}");
}
