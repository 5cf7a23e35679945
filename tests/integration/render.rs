//! `pvetalos render` and `profile check`, run as a program over two real sets of patches on every contract.
//!
//! `tests/fixtures/render/*.txt` hold what is said where a contract refuses an old form, and the form it wants
//! instead. After a wanted change: `PVETALOS_BLESS=1 cargo test --test integration render::`, and read the difference.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const CONTRACTS: [&str; 4] = ["1.11", "1.12", "1.13", "1.14"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the program at the crate's root with a state directory of its own, and no home to find secrets in.
fn pvetalos(args: &[&str]) -> Output {
    let state = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pvetalos"));
    command.current_dir(root()).args(args).arg("--color=never").env("HOME", state.path());
    command
        .env("PVETALOS_STATE_DIR", state.path())
        .env("PASSWORD_STORE_DIR", state.path())
        .env_remove("XDG_CONFIG_HOME");
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8")
}

#[expect(clippy::disallowed_methods, reason = "files of a test's own folder")]
fn write(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    fs::write(path, text).expect("written");
}

fn profiles() -> [(&'static str, PathBuf); 2] {
    [
        ("seed-one", root().join("tests/fixtures/render/seed-one.yaml")),
        ("matherlynet", root().join("profiles/matherlynet.yaml")),
    ]
}

/// Everything that is said about a profile on a contract, and the new forms of its patches.
fn said(path: &Path, contract: &str) -> String {
    let path = path.strip_prefix(root()).expect("below the root").display().to_string();
    let check = pvetalos(&["profile", "check", "--profile", &path, "--contract", contract]);
    let fix = pvetalos(&["profile", "check", "--fix", "--profile", &path, "--contract", contract]);
    assert!(fix.status.success(), "{}", text(&fix.stderr));
    let code = check.status.code().expect("an exit code");
    let output = [text(&check.stdout), text(&check.stderr)].concat();
    let trim = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    format!("== contract {contract}: exit {code}\n{}\n-- fix\n{}\n", trim(&output), trim(text(&fix.stdout)))
}

#[test]
fn what_is_said_of_old_forms_is_as_recorded() {
    for (name, path) in profiles() {
        let now: String = CONTRACTS.iter().map(|contract| said(&path, contract)).collect();
        let recorded = root().join(format!("tests/fixtures/render/{name}.txt"));
        #[expect(clippy::disallowed_methods, reason = "a switch for whoever changes the texts")]
        if std::env::var_os("PVETALOS_BLESS").is_some() {
            write(&recorded, &now);
        }
        let recorded = fs::read_to_string(&recorded).expect("recorded");
        assert!(now == recorded, "{name} is now:\n{now}\nand was:\n{recorded}");
    }
}

/// Puts the new forms in the place of the old ones, as the person would who reads them.
fn fixed(name: &str, path: &Path, contract: &str, folder: &Path) -> PathBuf {
    let fix = pvetalos(&[
        "profile",
        "check",
        "--fix",
        "--output=json",
        "--profile",
        &path.display().to_string(),
        "--contract",
        contract,
    ]);
    let fix: Value = serde_json::from_slice(&fix.stdout).expect("JSON");
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to).expect("made");
        for entry in fs::read_dir(from).expect("readable").flatten().filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    };
    let parent = path.parent().expect("a folder");
    copy(&parent.join(name), &folder.join(name));
    copy(&root().join("schematics"), &folder.parent().expect("above").join("schematics"));
    let mut profile = fs::read_to_string(path).expect("readable");
    for patch in fix["patches"].as_array().expect("a list") {
        let origin = Path::new(patch["origin"].as_str().expect("a path"));
        let file = folder.join(name).join(origin.file_name().expect("a file"));
        write(file, patch["patch"].as_str().unwrap_or_default());
        assert!(patch["controlplane"].is_null() || patch["patch"].is_null(), "neither set needs a patch taken apart");
        if let Some(text) = patch["controlplane"].as_str() {
            let file = folder.join(name).join(origin.file_name().expect("a file"));
            write(file, text);
        }
    }
    profile = profile.replace("version: 1.12.4", "version: 1.14.0");
    let path = folder.join(format!("{name}.yaml"));
    write(&path, profile);
    path
}

#[test]
fn both_sets_render_on_every_contract_as_they_are_or_fixed() {
    for (name, original) in profiles() {
        for contract in CONTRACTS {
            let work = tempfile::tempdir().expect("a folder");
            let path = fixed(name, &original, contract, &work.path().join("profiles"));
            let out = work.path().join("out");
            let args = [
                "render",
                "--profile",
                path.to_str().expect("text"),
                "--contract",
                contract,
                "--out",
                out.to_str().expect("text"),
            ];
            let made = pvetalos(&args);
            assert!(made.status.success(), "{name} on {contract}: {}", text(&made.stderr));
            let mut configs = 0;
            for entry in fs::read_dir(&out).expect("made").flatten() {
                let file = entry.path();
                assert_eq!(entry.metadata().expect("there").permissions().mode() & 0o777, 0o600, "{}", file.display());
                let text = fs::read_to_string(&file).expect("readable");
                if !text.starts_with("version: v1alpha1") {
                    continue;
                }
                configs += 1;
                assert!(text.contains("******"), "secrets are redacted");
                assert!(text.contains("10.42.0.0/16"), "{name} on {contract}: the pods' subnet is missing: {text}");
                assert_eq!(text.contains("kind: HostnameConfig"), contract != "1.11");
                assert_eq!(text.contains("kind: KubeletConfig"), contract == "1.14");
                if name == "matherlynet" {
                    for part in
                        ["169.254.116.108/32", "resolveMemberNames: true", "ImageVolume=true", "udp://127.0.0.1:6051"]
                    {
                        assert!(text.contains(part), "{name} on {contract} lacks {part}: {text}");
                    }
                }
            }
            let machines = if name == "matherlynet" { 6 } else { 2 };
            assert_eq!(configs, machines, "{name} on {contract}");
            assert!(out.join("talosconfig").exists() && out.join("schematic.yaml").exists());

            let diff = [&args[..5], &["--diff", out.to_str().expect("text")]].concat();
            let same = pvetalos(&[&diff[..], &["--output", "json"]].concat());
            assert!(same.status.success(), "{}", text(&same.stderr));
            let same: Value = serde_json::from_slice(&same.stdout).expect("JSON");
            let changes = same.as_object().expect("by file");
            assert_eq!(changes.len(), machines, "{same}");
            // Certificates and the cluster's id are made up anew each time: there is no bundle that keeps them.
            let made_up = ["crt", "cert", "acceptedCAs", "id", "clusterID"];
            for change in changes.values().flat_map(|changes| changes.as_array().expect("a list")) {
                let path = change["path"].as_str().expect("a path");
                assert!(made_up.contains(&path.rsplit('.').next().unwrap_or_default()), "{name} {contract}: {change}");
            }
        }
    }
}

#[test]
fn secrets_of_the_cluster_are_used_and_shown_only_when_asked() {
    let work = tempfile::tempdir().expect("a folder");
    let bundle = root().join("tests/fixtures/talos/secrets/secrets-a.yaml");
    fs::copy(&bundle, work.path().join("secrets.yaml")).expect("copied");
    fs::set_permissions(work.path().join("secrets.yaml"), fs::Permissions::from_mode(0o600)).expect("set");
    let profile = fs::read_to_string(root().join("tests/fixtures/render/seed-one.yaml")).expect("readable");
    let profile = profile
        .replace("  vip:", "  secrets: { file: secrets.yaml }\n  vip:")
        .replace("patches: [seed-one/one-cp-1.yaml]", "patches: []");
    let profile = profile
        .replace("patches: [seed-one/one-wk-1.yaml]", "patches: []")
        .replace("- seed-one/subnets.json", "- { debug: true }");
    let path = work.path().join("seed-one.yaml");
    write(&path, profile);
    let path = path.to_str().expect("text");
    let token = fs::read_to_string(&bundle).expect("readable");
    let token =
        token.lines().find_map(|line| line.trim().strip_prefix("bootstraptoken: ")).expect("a token").to_owned();

    let hidden = pvetalos(&["render", "--profile", path]);
    assert!(hidden.status.success(), "{}", text(&hidden.stderr));
    assert!(!text(&hidden.stdout).contains(&token) && text(&hidden.stdout).contains("# one-cp-1.yaml"));
    let shown = pvetalos(&["render", "--profile", path, "--show-secrets", "--output", "json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert!(shown["files"]["one-wk-1.yaml"].as_str().expect("text").contains(&token));

    // With the cluster's own bundle a rendering is the same each time, and a change is one line.
    let out = work.path().join("out").display().to_string();
    assert!(pvetalos(&["render", "--profile", path, "--out", &out]).status.success());
    let diff = pvetalos(&["render", "--profile", path, "--diff", &out]);
    assert_eq!(text(&diff.stdout), "one-cp-1.yaml: the same\none-wk-1.yaml: the same\n");
    let changed = fs::read_to_string(path).expect("readable").replace("{ debug: true }", "{ debug: false }");
    write(path, changed);
    let diff = pvetalos(&["render", "--profile", path, "--diff", &out]);
    assert!(text(&diff.stdout).contains("-debug: true\n+debug: false\n"), "{}", text(&diff.stdout));
}
