//! From nothing to a healthy cluster, and back to nothing.

use std::process::Command;

use serde_json::{Value, json};

use super::contexts;
use super::desk::{Desk, installed};
use super::site;

#[test]
fn the_cluster_of_the_readme() {
    let desk = Desk::new();
    contexts::of_another_cluster(&desk);

    let created = desk.ends(0, &["create", "--profile", "lab", "--yes"]);
    assert!(created.out.starts_with("cluster lab is healthy (8 gates passed): 5 machines"), "{}", created.out);
    for part in ["lab-cp-3", "10.83.0.112", "pvetalos destroy --profile lab", "kubectl --kubeconfig"] {
        assert!(created.out.contains(part), "{part}: {}", created.out);
    }
    created.tells(&["started the lab", "create_vm done", "committed"]);
    contexts::assert_kept(&desk, "lab", true);

    if installed("kubectl") {
        let output = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(desk.home(".kube/config"))
            .args(["--context", "lab", "get", "nodes", "--output", "json"])
            .env("HOME", desk.home(""))
            .output()
            .expect("kubectl starts");
        let nodes: Value = serde_json::from_slice(&output.stdout).expect("a list of nodes");
        let ready = |node: &&Value| {
            let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        let nodes = nodes["items"].as_array().expect("items").clone();
        assert_eq!((nodes.len(), nodes.iter().filter(ready).count()), (5, 5));
    }

    let status = desk.ends(0, &["status", "--output", "json"]).json();
    assert_eq!((&status["cluster"], &status["state"]), (&Value::from("lab"), &Value::from("running")), "{status}");
    assert_eq!((&status["healthy"], &status["profile_changed"]), (&Value::from(true), &Value::from(false)), "{status}");
    let machines = status["machines"].as_array().expect("a list");
    assert!(machines.len() == 5 && machines.iter().all(|machine| machine["vm"] == "running"), "{status}");
    let human = desk.ends(0, &["status", "--profile", "lab"]);
    assert!(human.out.starts_with("cluster lab is running") && !human.out.contains("waiting"), "{}", human.out);

    // Once more changes nothing, and asks nobody.
    let before = desk.world();
    let again = desk.ends(0, &["create", "--profile", "lab", "--yes"]);
    again.tells(&["lab is running", "nothing was changed"]);
    let again = desk.ends(0, &["create", "--profile", "lab", "--yes", "--output", "json"]).json();
    assert_eq!(again["changed"], false, "{again}");
    // Nobody is there to confirm it.
    desk.ends(2, &["destroy"]).tells(&["stdin is no terminal", "--yes"]);
    assert_eq!(desk.world(), before, "something was asked of the site");

    let destroyed = desk.ends(0, &["destroy", "--yes"]);
    assert_eq!(destroyed.out, "");
    destroyed.tells(&["cluster lab is gone", "last.jsonl"]);
    contexts::assert_kept(&desk, "10.83.0", false);
    contexts::assert_kept(&desk, "lab", false);
    let lab = desk.ends(0, &["lab", "status", "--output", "json"]).json();
    assert_eq!(lab["running"], false, "a lab that create started stays until destroy");
    desk.ends(2, &["destroy", "--yes"]).tells(&["no cluster is known"]);
    desk.ends(2, &["status"]).tells(&["no cluster is known"]);
}

#[test]
fn a_lab_that_was_started_by_hand_stays_and_is_empty_afterwards() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    let plan = desk.ends(0, &["plan", "--profile", "small", "--output", "json"]).json();
    assert_eq!(plan["stages"].as_array().map(Vec::len), Some(3), "{plan}");
    let dry = desk.ends(0, &["create", "--profile", "small", "--dry-run"]);
    assert!(dry.out.contains("2 machines"), "{}", dry.out);
    let doctor = desk.ends(0, &["doctor", "--profile", "small", "--output", "json"]).json();
    assert_eq!(doctor["ready"], true, "{doctor}");
    let discovered = desk.ends(0, &["discover", "--profile", "small", "--output", "json"]).json();
    assert_eq!(discovered["found"], json!([]), "{discovered}");
    desk.assert_nothing_is_there();

    let created = desk.ends(0, &["create", "--profile", "small", "--output", "json", "--yes"]);
    assert_eq!(created.json()["summary"]["cluster"], "small");
    assert_eq!(desk.holdings().0.len(), 2);
    let discovered = desk.ends(0, &["discover", "--profile", "small", "--output", "json"]).json();
    let found: Vec<(&Value, &Value)> =
        discovered["found"].as_array().expect("a list").iter().map(|row| (&row["address"], &row["machine"])).collect();
    let expected = [("10.83.0.100", "lab-cp-1"), ("10.83.0.101", "lab-cp-1"), ("10.83.0.111", "lab-wk-1")];
    let expected = expected.map(|(address, machine)| (Value::from(address), Value::from(machine)));
    assert_eq!(found, expected.iter().map(|(address, machine)| (address, machine)).collect::<Vec<_>>(), "{discovered}");
    // What is there stands in the way of another one, and is named.
    desk.ends(3, &["doctor", "--profile", "lab"])
        .tells(&["10.83.0.101, which is to be lab-cp-1", "port 50000 is open"]);
    let destroyed = desk.ends(0, &["destroy", "--profile", "small", "--yes", "--output", "json"]).json();
    assert_eq!(destroyed["state"], "destroyed");
    desk.assert_nothing_is_there();
    // A cluster that is not there is gone already.
    desk.ends(0, &["destroy", "--profile", "small", "--yes"]).tells(&["no VM on the site carries its mark"]);
}

#[test]
fn two_clusters_are_told_apart() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("one", &[("lab-", "one-")]);
    let other =
        [("lab-", "two-"), ("10.83.0.100", "10.83.0.60"), ("10.83.0.101", "10.83.0.61"), ("10.83.0.111", "10.83.0.71")];
    desk.profile("two", &other);
    desk.ends(0, &["create", "--profile", "one", "--yes"]);
    desk.ends(0, &["create", "--profile", "two", "--yes"]);
    for command in [&["status"][..], &["destroy", "--yes"]] {
        desk.ends(2, command).tells(&["several clusters: one, two", "--profile NAME"]);
    }
    desk.ends(0, &["destroy", "--profile", "one", "--yes"]);
    let status = desk.ends(0, &["status", "--output", "json"]).json();
    assert_eq!((&status["cluster"], &status["healthy"]), (&Value::from("two"), &Value::from(true)), "{status}");
    assert_eq!(desk.holdings().0.len(), 2);
    desk.ends(0, &["destroy", "--yes"]);
    desk.assert_nothing_is_there();
}
