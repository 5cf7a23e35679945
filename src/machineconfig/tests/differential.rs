//! Inputs made at random, played on Talos's own libraries and recorded: those which this room once answered
//! differently. Each line of `differential.jsonl` is one, for one Talos minor: a configuration with patches, or by its
//! `op` something else.

mod generated;
mod loaded;

use serde_json::{Value, json};

use super::{documents_differ, read};
use crate::machineconfig::patch::{Argument, argument};
use crate::machineconfig::{Documents, Minor, Mode, Patch, PatchSource, apply, validate, yaml};

/// Texts that come from Go's parsers of YAML, JSON and base64: only that there is one is compared.
const PARSERS: [&str; 9] = [
    "yaml: ",
    "decode error: ",
    "JSON input",
    "illegal base64",
    "failed to parse disk size",
    "json: ",
    "invalid character",
    "construct errors",
    "go-yaml load error",
];

fn patched(case: &Value, minor: &Minor) -> Result<Documents, String> {
    let base = Documents::parse_for(case["base"].as_str().expect("text"), minor).map_err(|error| error.to_string())?;
    let patches = case["patches"].as_array().expect("a list").iter().map(|patch| {
        match argument(patch.as_str().expect("text"), minor) {
            Argument::Content(text) => {
                Patch::load(text, PatchSource::Native("recorded"), minor).map_err(|error| error.text)
            }
            Argument::File(path) => Err(format!("open {path}: no such file or directory")),
        }
    });
    let patches = patches.collect::<Result<Vec<_>, _>>()?;
    if patches.is_empty() {
        return Ok(base);
    }
    let patched = apply(&base, &patches, minor).map_err(|error| error.text)?;
    // What was recorded has been written and read again.
    Documents::parse_for(&patched.to_yaml(), minor).map_err(|error| error.to_string())
}

fn check(case: &Value) -> Result<(), String> {
    match case["op"].as_str() {
        Some("gen") => generated::check(case),
        Some("load") => loaded::check(case),
        _ => check_patched(case),
    }
}

fn check_patched(case: &Value) -> Result<(), String> {
    let minor = Minor::parse(case["minor"].as_str().expect("text")).expect("known");
    let said = case["error"].as_str().expect("text");
    let patched = match (patched(case, &minor), case["outcome"].as_str().expect("text")) {
        // Where Talos crashes, anything is better.
        (_, "panic") => return Ok(()),
        (Err(error), "error") if error == said || PARSERS.iter().any(|parser| said.contains(parser)) => return Ok(()),
        (Err(error), "error") => return Err(format!("error text\n  ours   {error}\n  theirs {said}")),
        (Err(error), _) => return Err(format!("we refuse\n  {error}")),
        (Ok(_), "error") => return Err(format!("they refuse\n  {said}")),
        (Ok(patched), _) => patched,
    };
    let written = yaml::documents(case["out"].as_str().expect("text"));
    let written = written.map_err(|error| format!("result\n  what Talos wrote is not read: {error}"))?;
    let written: Vec<Value> = written.iter().map(yaml::Node::to_value).collect();
    if let Some(difference) = documents_differ(&patched.trees(), &written) {
        return Err(format!("result\n  {difference}"));
    }
    check_verdict(&patched, case, &minor)
}

/// What validation says, in the words of that minor.
fn check_verdict(documents: &Documents, case: &Value, minor: &Minor) -> Result<(), String> {
    if case["vpanic"] != "" {
        return Ok(());
    }
    let mode = match case["mode"].as_str().expect("text") {
        "metal" => Mode::Metal,
        "cloud" => Mode::Cloud,
        _ => Mode::Container,
    };
    let verdict = validate(documents, mode, case["strict"] == true, minor);
    for (what, ours, theirs) in
        [("errors", &verdict.errors, &case["errors"]), ("warnings", &verdict.warnings, &case["warnings"])]
    {
        if json!(ours) != *theirs {
            return Err(format!("{what}\n  ours   {}\n  theirs {theirs}", json!(ours)));
        }
    }
    let (ours, theirs) = (verdict.text(minor).unwrap_or_default(), case["text"].as_str());
    if theirs.is_some_and(|theirs| theirs != ours) {
        return Err(format!("text\n  ours   {ours:?}\n  theirs {:?}", theirs.unwrap_or_default()));
    }
    Ok(())
}

#[test]
fn what_once_differed_from_talos_no_longer_does() {
    let recorded = read("differential.jsonl");
    let cases: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case).err().map(|why| format!("{}: {why}", case["id"].as_str().unwrap_or_default())))
        .collect();
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
