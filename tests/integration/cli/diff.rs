//! `render --diff` against machines that run: what would change, and what is said when they cannot be asked.

use serde_json::json;

use super::desk::Desk;
use super::site;

const DIFF: [&str; 4] = ["render", "--profile", "small", "--diff"];

/// A desk whose cluster of two machines runs.
fn running() -> Desk {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    desk
}

/// The lines of a unified diff that say what changed, without its headers.
fn changed(text: &str) -> Vec<&str> {
    let header = |line: &&str| line.starts_with("--- ") || line.starts_with("+++ ");
    text.lines().filter(|line| line.starts_with(['-', '+']) && !header(line)).collect()
}

#[test]
fn exactly_what_was_edited_is_shown() {
    let desk = running();
    let same = desk.ends(0, &DIFF);
    assert_eq!(same.out, "lab-cp-1: the same\nlab-wk-1: the same\n");
    assert_eq!(same.err, "");
    let json = desk.ends(0, &[&DIFF[..], &["--output", "json"]].concat()).json();
    assert_eq!(json, json!({ "lab-cp-1": [], "lab-wk-1": [] }));

    let patches = "talos:\n  patches: { all: [{ machine: { sysctls: { vm.swappiness: '1' } } }] }\n";
    desk.profile("small", &[("talos:\n", patches)]);
    let edited = desk.ends(0, &[&DIFF[..], &["lab-wk-1"]].concat());
    assert_eq!(changed(&edited.out), ["+    sysctls:", "+        vm.swappiness: \"1\""], "{}", edited.out);
    for part in ["--- lab-wk-1 (running at 10.83.0.111)\n+++ lab-wk-1 (rendered)\n@@ -", " @@ machine\n"] {
        assert!(edited.out.contains(part), "{part:?} is not in {}", edited.out);
    }
    let both = desk.ends(0, &DIFF);
    assert_eq!(changed(&both.out).len(), 4, "{}", both.out);

    // The same form against a directory, where a machine of that name may be a directory as well.
    desk.ends(0, &["render", "--profile", "small", "--out", "lab-wk-1"]);
    let folder = desk.ends(0, &[&DIFF[..], &["./lab-wk-1"]].concat());
    assert_eq!(folder.out, "lab-cp-1.yaml: the same\nlab-wk-1.yaml: the same\n");
}

#[test]
fn a_changed_secret_is_shown_as_changed_and_not_its_value() {
    let desk = running();
    let file = desk.state("clusters/small/secrets.yaml");
    let kept = std::fs::read_to_string(&file).expect("the bundle");
    let token = kept.split("trustdinfo:").nth(1).and_then(|rest| rest.split_whitespace().nth(1)).expect("a token");
    let other = "abcdef.0123456789abcdef";
    Desk::write(&file, &kept.replace(token, other), 0o600);
    let diff = desk.ends(0, &DIFF);
    let lines = ["-    token: '****** (old)'", "+    token: '****** (new)'"];
    assert_eq!(changed(&diff.out), [lines, lines].concat(), "{}", diff.out);
    for output in ["human", "json"] {
        let hidden = desk.ends(0, &[&DIFF[..], &["--output", output]].concat());
        assert!(!hidden.out.contains(token) && !hidden.out.contains(other), "{}", hidden.out);
        assert!(!hidden.out.contains("PRIVATE KEY") && !hidden.err.contains(token), "{hidden:?}");
    }
    let shown = desk.ends(0, &[&DIFF[..], &["--show-secrets"]].concat());
    assert!(shown.out.contains(token) && shown.out.contains(other), "{}", shown.out);
}

#[test]
fn machines_that_cannot_be_asked_are_named_with_what_to_do() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    desk.ends(3, &DIFF).tells(&["no cluster small is known here", "pvetalos create --profile small"]);
    desk.ends(2, &[&DIFF[..], &["lab-cp-9"]].concat())
        .tells(&["lab-cp-9 is no directory, and no machine of small: lab-cp-1, lab-wk-1"]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);

    let lost =
        json!([{ "face": "talos", "call": "", "subject": "lab-wk-1", "times": 1_000_000, "effect": "lose_request" }]);
    desk.faults(&lost);
    let down = desk.ends(3, &DIFF);
    down.tells(&[
        "cannot read the running configuration of lab-wk-1: ",
        "10.83.0.111",
        "pvetalos status --profile small",
    ]);
    assert_eq!(down.out, "lab-cp-1: the same\n", "the others are shown");
    let json = desk.ends(3, &[&DIFF[..], &["--output", "json"]].concat()).json();
    assert!(json["lab-wk-1"]["error"].is_string() && json["lab-cp-1"] == json!([]), "{json}");
    desk.faults(&json!([]));

    // Another cluster's bundle: the machines' certificates are not of its CA.
    let other = std::fs::read_to_string("tests/fixtures/talos/secrets/secrets-a.yaml").expect("a bundle");
    Desk::write(&desk.state("clusters/small/secrets.yaml"), &other, 0o600);
    desk.ends(3, &DIFF).tells(&["it belongs to another cluster", "pvetalos discover --profile small"]);

    desk.ends(0, &["lab", "stop"]);
    desk.ends(3, &DIFF).tells(&["the lab is not running"]);
}
