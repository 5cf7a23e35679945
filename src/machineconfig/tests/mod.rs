//! The recorded behaviour of Talos, `tests/fixtures/talos`, against this room.

mod differential;
mod gen_config;
mod laws;
mod patch;
mod properties;
mod secrets;
mod talosconfig;
mod validate;
mod writing;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Bundle;
use super::yaml;

pub(super) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/talos"))
}

pub(super) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&read(path)).expect("a fixture is JSON")
}

/// Names of the cases (directories) below `area`, sorted.
pub(super) fn cases(area: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(area)).expect("the area exists");
    let directories = entries.map(|entry| entry.expect("readable")).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = directories.map(|entry| entry.file_name().into_string().expect("ASCII")).collect();
    names.sort();
    assert!(!names.is_empty(), "{area} has no cases");
    names
}

/// Every document of a recorded file as an untyped tree.
pub(super) fn trees(text: &str) -> Vec<Value> {
    yaml::documents(text).expect("recorded YAML").iter().map(yaml::Node::to_value).collect()
}

pub(super) fn bundle(path: &str) -> Bundle {
    Bundle::parse(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first place where two trees differ, for a readable failure.
pub(super) fn difference(ours: &Value, theirs: &Value, at: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.into_iter().find_map(|key| match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => difference(a, b, &format!("{at}.{key}")),
                (Some(a), None) => Some(format!("{at}.{key}: only ours: {a}")),
                (None, Some(b)) => Some(format!("{at}.{key}: missing: {b}")),
                (None, None) => None,
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(index, (a, b))| difference(a, b, &format!("{at}[{index}]")))
        }
        _ if ours == theirs => None,
        _ => Some(format!("{at}: ours {ours}, Talos's {theirs}")),
    }
}

/// As [`difference`], over whole configurations.
pub(super) fn documents_differ(ours: &[Value], theirs: &[Value]) -> Option<String> {
    let kinds = |trees: &[Value]| -> Vec<String> {
        let label =
            |tree: &Value| format!("{}/{}", tree["kind"].as_str().unwrap_or("-"), tree["name"].as_str().unwrap_or("-"));
        trees.iter().map(label).collect()
    };
    if kinds(ours) != kinds(theirs) {
        return Some(format!("documents: ours {:?}, Talos's {:?}", kinds(ours), kinds(theirs)));
    }
    ours.iter().zip(theirs).zip(kinds(ours)).find_map(|((a, b), kind)| difference(a, b, &kind))
}

/// A count for the log of a test run. Not by `eprintln!`: what that writes is only shown when the test fails.
fn report(line: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{line}").expect("standard error is open");
}

/// Runs every case and fails with all the failures.
pub(super) fn run(area: &str, cases: &[String], mut check: impl FnMut(&str) -> Result<(), String>) {
    let total = cases.len();
    let failures: Vec<String> =
        cases.iter().filter_map(|case| check(case).err().map(|why| format!("{case}: {why}"))).collect();
    report(&format!("{area}: {} of {total} cases pass", total - failures.len()));
    assert!(failures.is_empty(), "{area}: {} of {total} fail:\n{}", failures.len(), failures.join("\n"));
}

/// Runs every case for every version recorded in it.
pub(super) fn run_versions(
    area: &str,
    versions: &str,
    mut check: impl FnMut(&str, &Value, &str) -> Result<(), String>,
) {
    let (mut total, mut passed) = (0, 0);
    let mut wrong = Vec::new();
    for case in cases(area) {
        let file = if versions.is_empty() { "expected.json" } else { "case.json" };
        let recorded = json(format!("{area}/{case}/{file}"));
        let by_version = if versions.is_empty() { &recorded } else { &recorded[versions] };
        for version in by_version.as_object().expect("versions").keys() {
            let id = format!("{area}/{case} {version}");
            total += 1;
            match check(&case, &recorded, version) {
                Ok(()) => passed += 1,
                Err(why) => wrong.push(format!("{id}: {why}")),
            }
        }
    }
    report(&format!("{area}: {passed} of {total} pass"));
    assert!(wrong.is_empty(), "{area}: {passed} of {total} pass; wrong:\n{}", wrong.join("\n"));
}
