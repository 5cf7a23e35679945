//! Journals that were written by earlier versions still load: a cluster outlives the program that made it.
//!
//! `tests/fixtures/journal/v1.jsonl` was written by a run against the lab, one
//! control plane and one worker, and is never written again. A change that makes
//! this fail needs a new format, and code that reads the old one.

use std::path::{Path, PathBuf};

use pvetalos::engine::{Journal, Last};
use pvetalos::event::Record;
use pvetalos::inventory::Role;
use pvetalos::secrets::file::write_private;

use crate::harness::{reopen, report};

fn fixture() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal/v1.jsonl");
    std::fs::read_to_string(path).expect("the fixture")
}

/// A state directory in which this is the journal of cluster `it`.
fn state_with(journal: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = Journal::directory(dir.path(), "it").join("journal.jsonl");
    write_private(&path, journal.as_bytes()).expect("a file");
    (dir, path)
}

#[test]
fn a_journal_of_the_first_format_loads() {
    let (dir, _) = state_with(&fixture());
    let (mut journal, plan) = reopen(dir.path(), "it").expect("readable").expect("there");
    assert_eq!(plan.mark.cluster, "it");
    assert_eq!(plan.steps().count(), 18);
    let machines: Vec<_> = plan.machines().map(|create| (create.machine.as_str(), create.role)).collect();
    assert_eq!(machines, [("it-cp-1", Role::ControlPlane), ("it-wk-1", Role::Worker)]);
    let state = journal.state();
    assert!(state.committed && !state.destroyed && !state.unwinding());
    for step in plan.step_ids() {
        assert_eq!(state.last(&step), Some(&Last::Finished), "{step}");
    }
    let inventory = &state.inventory;
    assert_eq!(inventory.vm("it-cp-1").expect("a VM"), ("lab1", 100));
    assert_eq!(inventory.address("it-wk-1").expect("an address").to_string(), "10.83.0.5");
    assert_eq!(inventory.machine("it-cp-1").expect("a machine").uuid, Some(plan.mark.uuid("it-cp-1")));
    assert!(inventory.secrets.as_ref().is_some_and(|secrets| secrets.created));
    assert!(inventory.images["lab1"].1, "this run fetched it");
    assert_eq!(inventory.bootstrapped.as_deref(), Some("it-cp-1"));
    assert_eq!(inventory.healthy.len(), 8);
    let lines = journal.lines().len();
    // And it can be gone on with.
    let step = plan.step_ids().pop().expect("the last step");
    journal.append(Record::Started { step }).expect("written");
    drop(journal);
    let (journal, again) = reopen(dir.path(), "it").expect("readable").expect("there");
    assert_eq!((journal.lines().len(), again), (lines + 1, plan));
    report(&format!("{lines} lines of the first format"));
}

/// Each line alone is one that could have been the last.
#[test]
fn every_beginning_of_it_loads_too() {
    let text = fixture();
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    for (lines, end) in ends.iter().enumerate() {
        let (dir, _) = state_with(&text[..*end]);
        let (journal, _) = reopen(dir.path(), "it").expect("readable").expect("there");
        assert_eq!(journal.lines().len(), lines);
    }
}

/// A journal may be shown to anybody who helps.
#[test]
fn there_is_no_secret_in_it() {
    let text = fixture();
    for word in ["BEGIN", "PRIVATE", "secretbox", "bootstraptoken", "PVEAPIToken", "LS0t"] {
        assert!(!text.contains(word), "{word}");
    }
}
