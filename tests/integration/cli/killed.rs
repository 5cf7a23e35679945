//! The program dies: at records of a create, to be resumed and to be taken away by turns.
//!
//! Every record and every call is died at in `crash`, inside of one process; here it is the binary and a real signal.

use serde_json::Value;

use super::desk::Desk;
use super::site;

/// A desk whose profile keeps its secrets bundle in a file, and the text of a good one.
fn bench() -> (Desk, String) {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[("  vip:", "  secrets: { file: ../bundle.yaml }\n  vip:")]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    let bundle = std::fs::read_to_string(desk.work("bundle.yaml")).expect("the bundle that the create made");
    desk.ends(0, &["destroy", "--yes"]);
    assert!(!desk.work("bundle.yaml").exists(), "what the run made goes with the cluster");
    (desk, bundle)
}

/// Creates, and kills the process right after record number `nth` (from 1). `false`: it ended before.
fn create_and_kill(desk: &Desk, nth: usize) -> bool {
    let mut running = desk.start(&["create", "--profile", "small", "--yes", "--output", "json"]);
    let mut seen = 0;
    while let Some(event) = running.event() {
        seen += usize::from(event.get("record").is_some());
        if seen == nth {
            running.kill();
            return true;
        }
    }
    let outcome = running.end();
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    false
}

#[track_caller]
fn assert_healthy(desk: &Desk, nth: usize) {
    let status = desk.ends(0, &["status", "--output", "json"]).json();
    assert_eq!(
        (&status["state"], &status["healthy"]),
        (&Value::from("running"), &Value::from(true)),
        "{nth}: {status}"
    );
    assert_eq!(desk.holdings().0.len(), 2, "after record {nth}");
}

#[test]
fn kill_at_every_seventh_record_then_resume_or_destroy() {
    let (desk, bundle) = bench();
    // Beyond the first stage, which makes the bundle, it is given: making one costs more than everything else.
    let first_stage = 8;
    let mut nth = 1;
    loop {
        if nth > first_stage {
            Desk::write(&desk.work("bundle.yaml"), &bundle, 0o600);
        }
        let killed = create_and_kill(&desk, nth);
        if nth % 2 == 0 {
            desk.ends(0, &["create", "--profile", "small", "--yes"]);
            assert_healthy(&desk, nth);
        }
        desk.ends(0, &["destroy", "--profile", "small", "--yes"]);
        desk.assert_nothing_is_there();
        assert_eq!(desk.work("bundle.yaml").exists(), nth > first_stage, "a bundle that was given stays, after {nth}");
        if !killed {
            break;
        }
        nth += 7;
    }
    assert!(nth > 40, "a create of two machines has more than {nth} records");
}

/// The journal says that a configuration was about to be given, the machine has taken it, and nobody heard.
#[test]
fn a_configuration_that_was_taken_unheard_is_found_again() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    let lost = serde_json::json!([{
        "face": "talos", "call": "ApplyConfiguration", "subject": "lab-cp-1", "times": 1_000_000, "effect": "lose_reply",
    }]);
    desk.faults(&lost);
    let mut running = desk.start(&["create", "--profile", "small", "--yes", "--output", "json"]);
    running.until("waiting", "apply_config");
    running.kill();
    desk.faults(&serde_json::json!([]));
    desk.ends(0, &["create", "--profile", "small", "--yes"]).tells(&["resuming an earlier run of small"]);
    assert_healthy(&desk, 0);
    desk.ends(0, &["destroy", "--yes"]);
    desk.assert_nothing_is_there();
}

#[test]
fn a_second_process_at_the_same_cluster_is_refused() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    let silent =
        serde_json::json!([{ "face": "talos", "call": "ApplyConfiguration", "times": 1_000_000, "effect": "silent" }]);
    desk.faults(&silent);
    let mut running = desk.start(&["create", "--profile", "small", "--yes", "--output", "json"]);
    running.until("started", "apply_config");
    for command in [["create", "--profile", "small", "--yes"], ["destroy", "--profile", "small", "--yes"]] {
        desk.ends(3, &command).tells(&["small is being worked on by another pvetalos"]);
    }
    // Looking is free.
    let status = desk.ends(0, &["status", "--output", "json"]).json();
    assert_eq!((&status["state"], &status["healthy"]), (&Value::from("unfinished"), &Value::from(false)), "{status}");
    running.signal("INT");
    assert_eq!(running.end().code, Some(130));
    desk.assert_nothing_is_there();
}

/// Both find no journal; one makes it, and the other one is refused, whenever it comes to want it, too.
#[test]
fn of_two_first_creates_at_once_one_does_it() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    let create = ["create", "--profile", "small", "--yes", "--output", "json"];
    for round in 0..3 {
        let both = [desk.start(&create), desk.start(&create)];
        let mut codes = both.map(|running| running.end().code);
        codes.sort_unstable();
        // Who comes when the other one is done is told that the cluster is running.
        assert!(codes == [Some(0), Some(3)] || codes == [Some(0), Some(0)], "{codes:?}");
        assert_healthy(&desk, round);
        desk.ends(0, &["destroy", "--yes"]);
        desk.assert_nothing_is_there();
    }
}

#[test]
fn a_run_that_was_cut_off_is_resumed_only_with_the_profile_it_began_with() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    let mut running = desk.start(&["create", "--profile", "small", "--yes", "--output", "json"]);
    running.until("finished", "create_vm");
    running.kill();
    let held = desk.holdings();
    desk.profile("small", &[("cores: 2", "cores: 3")]);
    let refused = desk.ends(3, &["create", "--profile", "small", "--yes"]);
    refused.tells(&["small was changed since", "undo the change", "pvetalos destroy --profile small"]);
    assert_eq!(desk.holdings(), held);
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]).tells(&["resuming an earlier run of small"]);
    assert_healthy(&desk, 0);
    // A profile that was changed afterwards is drift, and no hindrance.
    desk.profile("small", &[("cores: 2", "cores: 3")]);
    assert_eq!(desk.ends(0, &["status", "--output", "json"]).json()["profile_changed"], true);
    desk.ends(0, &["destroy", "--yes"]);
    desk.assert_nothing_is_there();
}
