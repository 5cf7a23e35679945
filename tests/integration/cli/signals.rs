//! A create that is interrupted, fails, or waits in vain: what it leaves, and what it says with its exit code.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::contexts;
use super::desk::Desk;
use super::site;

const CREATE: [&str; 5] = ["create", "--profile", "small", "--yes", "--output"];

/// A script with one line that hits for as long as it is there.
fn always(face: &str, call: &str, effect: &Value) -> Value {
    json!([{ "face": face, "call": call, "times": 1_000_000, "effect": effect }])
}

fn refuse(text: &str) -> Value {
    json!({ "refuse": { "code": 500, "text": text } })
}

fn desk(changes: &[(&str, &str)]) -> Desk {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", changes);
    contexts::of_another_cluster(&desk);
    desk
}

#[test]
fn one_signal_takes_everything_away() {
    let desk = desk(&[]);
    for (signal, face, call, verb) in [
        ("INT", "talos", "ApplyConfiguration", "apply_config"),
        ("TERM", "pve", "POST /nodes/{node}/qemu", "create_vm"),
        ("HUP", "kube", "", "check_health"),
        ("INT", "factory", "/installer", "warm_installer"),
    ] {
        desk.faults(&always(face, call, &json!("silent")));
        let mut running = desk.start(&[&CREATE[..], &["json"]].concat());
        running.until("started", verb);
        running.signal(signal);
        let outcome = running.end();
        assert_eq!(outcome.code, Some(130), "{signal} in {verb}: {outcome:#?}");
        outcome.tells(&["interrupted: taking away what was made", "everything that was made was removed again"]);
        assert_eq!(outcome.json()["failure"]["code"], 130);
        desk.assert_nothing_is_there();
        assert!(!desk.state("clusters/small/journal.jsonl").exists());
        assert!(!desk.state("clusters/small/secrets.yaml").exists());
    }
    desk.faults(&json!([]));
    desk.ends(0, &[&CREATE[..], &["human"]].concat());
    contexts::assert_kept(&desk, "small", true);
    desk.ends(0, &["destroy", "--yes"]);
    contexts::assert_kept(&desk, "small", false);
}

#[test]
fn the_second_signal_leaves_at_once() {
    let desk = desk(&[]);
    let script = [
        always("talos", "ApplyConfiguration", &json!("silent")),
        always("pve", "DELETE /nodes/{node}/qemu", &json!("silent")),
    ];
    desk.faults(&script.iter().flat_map(|part| part.as_array().cloned().unwrap_or_default()).collect());
    let mut running = desk.start(&[&CREATE[..], &["json"]].concat());
    running.until("started", "apply_config");
    running.signal("INT");
    running.until("undo_started", "create_vm");
    running.signal("INT");
    let began = Instant::now();
    let outcome = running.end();
    // The call in flight would be waited for a minute long.
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    assert_eq!(outcome.code, Some(5), "{outcome:#?}");
    outcome.tells(&["interrupted twice", "pvetalos destroy --profile small"]);
    assert_eq!(desk.holdings().0.len(), 2);

    desk.faults(&json!([]));
    let status = desk.ends(0, &["status", "--output", "json"]).json();
    assert_eq!(status["state"], "being taken away", "{status}");
    desk.ends(0, &["destroy", "--profile", "small", "--yes"]);
    desk.assert_nothing_is_there();
}

#[test]
fn a_run_that_was_being_taken_away_is_taken_away_before_it_is_made_again() {
    let desk = desk(&[]);
    desk.faults(&always("pve", "/status/start", &refuse("the node is tired")));
    let mut running = desk.start(&[&CREATE[..], &["json"]].concat());
    running.until("undo_started", "create_vm");
    running.kill();
    desk.faults(&json!([]));
    let outcome = desk.ends(0, &[&CREATE[..], &["human"]].concat());
    outcome.tells(&["was being taken away; finishing that first", "committed"]);
    assert_eq!(desk.holdings().0.len(), 2);
    desk.ends(0, &["destroy", "--yes"]);
    desk.assert_nothing_is_there();
}

#[test]
fn a_failed_create_is_removed_or_kept() {
    let desk = desk(&[]);
    desk.faults(&always("pve", "/status/start", &refuse("the node is tired")));
    let failed = desk.ends(4, &[&CREATE[..], &["human"]].concat());
    failed.tells(&["start_vm/lab-", "the node is tired", "everything that was made was removed again", "last.jsonl"]);
    assert_eq!(failed.out, "");
    desk.assert_nothing_is_there();

    let kept = desk.ends(6, &[&CREATE[..], &["human", "--keep"]].concat());
    kept.tells(&["the node is tired", "as --keep asks", "pvetalos destroy --profile small"]);
    assert_eq!(desk.holdings().0.len(), 2);
    desk.faults(&json!([]));
    // Kept ruins are gone on with.
    desk.ends(0, &[&CREATE[..], &["human", "--keep"]].concat()).tells(&["resuming"]);
    desk.ends(0, &["destroy", "--yes"]);
    desk.assert_nothing_is_there();

    desk.faults(&always("pve", "/status/start", &refuse("the node is tired")));
    desk.ends(6, &[&CREATE[..], &["human", "--keep"]].concat());
    desk.ends(0, &["destroy", "--profile", "small", "--yes"]);
    desk.assert_nothing_is_there();
}

#[test]
fn waiting_in_vain_is_told_apart_from_failing() {
    let desk = desk(&[("# deadlines:", "deadlines: { maintenance: 2s }\n#")]);
    desk.faults(&always("talos", "", &json!("silent")));
    let outcome = desk.ends(7, &[&CREATE[..], &["human"]].concat());
    outcome.tells(&["find_address/lab-", "within 2s", "everything that was made was removed again"]);
    desk.assert_nothing_is_there();
    let outcome = desk.ends(7, &[&CREATE[..], &["json"]].concat());
    assert_eq!(outcome.json()["failure"]["code"], 7);
    desk.assert_nothing_is_there();
}

#[test]
fn what_cannot_be_removed_is_named() {
    let desk = desk(&[]);
    let mut script = always("pve", "/status/start", &refuse("the node is tired"));
    script.as_array_mut().expect("a list").push(json!({
        "face": "pve", "call": "DELETE /nodes/{node}/qemu", "subject": "101", "times": 1_000_000,
        "effect": refuse("the disk is nailed down"),
    }));
    desk.faults(&script);
    let failed = desk.ends(5, &[&CREATE[..], &["human"]].concat());
    failed.tells(&[
        "the node is tired",
        "left: create_vm/lab-wk-1",
        "VM 101",
        "the disk is nailed down",
        "try again with: pvetalos destroy",
    ]);
    failed.tells(&["left: fetch_image/lab1", "VM 101 is still there and uses it"]);
    assert_eq!(desk.holdings().0, [101], "the other one is gone all the same");
    let still = desk.ends(5, &["destroy", "--profile", "small", "--yes"]);
    still.tells(&["cluster small is not gone", "create_vm/lab-wk-1", "VM 101", "the disk is nailed down"]);
    desk.faults(&json!([]));
    desk.ends(0, &["destroy", "--profile", "small", "--yes"]);
    desk.assert_nothing_is_there();
}

#[test]
fn a_destroy_that_is_interrupted_goes_on_the_next_time() {
    let desk = desk(&[]);
    desk.ends(0, &[&CREATE[..], &["human"]].concat());
    desk.faults(&always("pve", "DELETE /nodes/{node}/qemu", &json!("silent")));
    let mut running = desk.start(&["destroy", "--yes", "--output", "json"]);
    running.until("undo_started", "create_vm");
    running.signal("INT");
    let outcome = running.end();
    assert_eq!(outcome.code, Some(5), "{outcome:#?}");
    outcome.tells(&["partly taken away", "pvetalos destroy --profile small"]);
    assert_eq!(desk.holdings().0.len(), 2);
    desk.faults(&json!([]));
    desk.ends(0, &["destroy", "--yes"]);
    desk.assert_nothing_is_there();
    contexts::assert_kept(&desk, "small", false);
}
