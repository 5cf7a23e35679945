//! What Talos 1.14 says of disk selectors, `tests/fixtures/talos/cel.json`; 1.11, 1.12 and 1.13 say the same.

use serde_json::Value;

use super::Scope;
use crate::machineconfig::minor::Minor;

fn problem(source: &str, scope: Scope) -> Option<String> {
    super::problem(source, scope, &Minor::NEWEST)
}

/// Expressions after whose fault Talos's parser goes on in a way that this one does not follow.
const BEYOND: [&str; 1] = ["in"];

#[test]
fn judges_disk_selectors_as_talos_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/talos/cel.json");
    let text = std::fs::read_to_string(path).expect("the fixture is there");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("the fixture is JSON");
    let mut wrong = Vec::new();
    for case in &cases {
        let [expression, theirs] = ["expression", "error"].map(|key| case[key].as_str().expect("text"));
        let ours = problem(expression, Scope::Disk).unwrap_or_default();
        if (ours == theirs) == BEYOND.contains(&expression) {
            wrong.push(format!("{expression:?}\nours   {ours}\ntheirs {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

#[test]
fn other_places_have_other_names() {
    assert_eq!(problem("link.driver == \"virtio\" && mac(link.permanent_addr) == \"x\"", Scope::Link), None);
    assert_eq!(problem("volume.partition_label == \"x\" && disk.size > 1u * GiB", Scope::Volume), None);
    assert!(problem("glob(\"a\", volume.label)", Scope::Volume).is_some());
    assert_eq!(
        problem("memory_full_avg10 > 12.0 && time_since_trigger > duration(\"500ms\")", Scope::OomTrigger),
        None
    );
    assert_eq!(problem("class == Besteffort ? 1.0 : double(memory_current.orValue(0u))", Scope::OomRanking), None);
}

#[test]
fn nesting_is_bounded() {
    for deep in ["(".repeat(10_000), "!".repeat(10_000), "[".repeat(10_000), "a ? b : ".repeat(10_000)] {
        assert!(problem(&format!("{deep}true"), Scope::Disk).is_some());
    }
}
