//! Whatever fails, however it fails: the cluster is healthy, or nothing of it is left.
//!
//! The scenarios are read from a clean run: each step, each kind of call that it
//! made, each way for a call to fail, once and for ever. A step that is added tomorrow is in them
//! tomorrow.

use std::cell::Cell;

use pvetalos::engine::End;
use pvetalos::lab::faults::{Call, Effect, Face, Fault};

use crate::harness::{Bench, Shape, assert_none, changes, play, report};

const SHAPE: Shape = Shape::of(1, 1);

/// A call of a step that fails once, or for ever.
#[derive(Clone, Debug)]
struct Scenario {
    label: String,
    face: Face,
    call: String,
    effect: Effect,
    times: u32,
}

/// How runs ended, for the report.
#[derive(Default)]
struct Tally {
    committed: Cell<usize>,
    unwound: Cell<usize>,
    /// The first unwinding had to leave something, and a second one, without the fault, took it.
    twice: Cell<usize>,
}

fn count(cell: &Cell<usize>) {
    cell.set(cell.get() + 1);
}

/// The ways, as the face of this call would word them. A read that gets lost is lost, whichever way.
fn ways(call: &Call) -> Vec<Effect> {
    let (code, text) = match call.face {
        Face::Pve => (500, "unable to open file - Input/output error"),
        Face::Factory => (503, "no capacity"),
        // Unavailable: what a machine says while its services restart.
        Face::Talos => (14, "the service is restarting"),
        Face::Kube => (500, "etcdserver: request timed out"),
    };
    let text = text.to_owned();
    let mut ways = vec![Effect::Refuse { code, text: text.clone() }, Effect::LoseReply];
    if changes(call) {
        ways.extend([Effect::ActThenFail { code, text }, Effect::LoseRequest]);
    }
    ways
}

/// What a clean run and a clean way back call: each kind of call of each step, once. The second machine's lane is
/// like the first one's, so of its reads only those of steps that do nothing else are meant, and of them the first.
async fn calls() -> (usize, Vec<Call>) {
    let bench = Bench::of(&SHAPE).await;
    let plan = bench.plan().await;
    let end = bench.run(&plan).await;
    assert!(matches!(end, End::Committed), "{end:?}");
    let left = bench.unwind(&plan).await;
    assert!(left.is_empty(), "{left:?}");
    assert_none(&bench.blemishes());
    let log: Vec<Call> = bench.take_log().into_iter().filter(|call| !call.label.is_empty()).collect();
    let mut kinds: Vec<Call> = Vec::new();
    for call in &log {
        let second = call.label.ends_with("/it-wk-1");
        let reads_only = second && !log.iter().any(|other| other.label == call.label && changes(other));
        let known = kinds.iter().any(|kind| kind.label == call.label && (reads_only || kind.name == call.name));
        if !known && (!second || reads_only || changes(call)) {
            kinds.push(call.clone());
        }
    }
    (plan.steps().count(), kinds)
}

fn scenarios(kinds: &[Call], times: u32) -> Vec<Scenario> {
    let of = |kind: &Call| {
        let (label, call, face) = (kind.label.clone(), kind.name.clone(), kind.face);
        ways(kind).into_iter().map(move |effect| Scenario {
            label: label.clone(),
            face,
            call: call.clone(),
            effect,
            times,
        })
    };
    kinds.iter().flat_map(of).collect()
}

async fn one(scenario: &Scenario, patience: &'static str, tally: &Tally) -> Vec<String> {
    let bench = Bench::of(&Shape { patience, ..SHAPE }).await;
    let plan = bench.plan().await;
    let Scenario { label, face, call, effect, times } = scenario.clone();
    let fault = Fault { face, call, subject: None, label: Some(label.clone()), skip: 0, times, effect };
    bench.lab.shared().lock().faults.script.push(fault);
    let mut wrong = Vec::new();
    let end = bench.run(&plan).await;
    let backwards = label.starts_with("undo ");
    match &end {
        End::Committed => {
            count(&tally.committed);
            wrong.extend(bench.ills(&plan).await);
        }
        End::Failed(_) if !backwards => count(&tally.unwound),
        other => wrong.push(format!("the run ended as {other:?}")),
    }
    if backwards || !matches!(end, End::Committed) {
        let mut left = bench.unwind(&plan).await;
        if !left.is_empty() && times > 1 && backwards {
            count(&tally.twice);
            bench.lab.shared().lock().faults.script.clear();
            left = bench.unwind(&plan).await;
        }
        wrong.extend(left.iter().map(|left| format!("{left:?}")));
        wrong.extend(bench.blemishes());
    }
    wrong.extend(bench.second_bootstrap());
    if bench.lab.shared().lock().faults.script.first().is_some_and(|fault| fault.times == times) {
        wrong.push("the fault hit nothing".into());
    }
    if !wrong.is_empty() {
        wrong.push(format!("after {end:?}"));
    }
    wrong
}

async fn every(kinds: &[Call], steps: usize, times: u32, patience: &'static str) {
    let tally = Tally::default();
    let scenarios = scenarios(kinds, times);
    let total = scenarios.len();
    let wrong = play(scenarios, async |scenario| one(scenario, patience, &tally).await).await;
    let (committed, unwound, twice) = (tally.committed.get(), tally.unwound.get(), tally.twice.get());
    report(&format!(
        "{steps} steps, {} kinds of call, {times} times each way = {total} runs: {committed} committed, {unwound} \
         unwound, {twice} unwound again",
        kinds.len()
    ));
    assert_none(&wrong);
}

#[tokio::test]
async fn each_call_of_the_way_there_fails_once() {
    let (steps, mut kinds) = calls().await;
    kinds.retain(|kind| !kind.label.starts_with("undo "));
    every(&kinds, steps, 1, "30s").await;
}

#[tokio::test]
async fn each_call_of_the_way_back_fails_once() {
    let (steps, mut kinds) = calls().await;
    kinds.retain(|kind| kind.label.starts_with("undo "));
    every(&kinds, steps, 1, "30s").await;
}

/// One machine, and what changes something, will do.
#[tokio::test]
async fn each_call_fails_for_ever() {
    let (steps, mut kinds) = calls().await;
    kinds.retain(|kind| !kind.label.ends_with("/it-wk-1") && changes(kind));
    every(&kinds, steps, 1_000_000, "4s").await;
}

/// The steps that act on the user's files have no call that could fail.
#[tokio::test]
async fn a_file_that_cannot_be_changed_unwinds_and_stays_as_it_is() {
    for spoil in ["kubeconfig", "talosconfig"] {
        let bench = Bench::of(&SHAPE).await;
        let plan = bench.plan().await;
        let path = if spoil == "kubeconfig" { bench.kubeconfig() } else { bench.talosconfig() };
        let good = std::fs::read(&path).expect("the user's file");
        let bad = b"- not\n- what: it should be\n";
        pvetalos::secrets::file::write_private(&path, bad).expect("a file");
        let end = bench.run(&plan).await;
        let End::Failed(failure) = end else { panic!("{spoil}: {end:?}") };
        assert!(failure.error.contains(spoil), "{}", failure.error);
        let left = bench.unwind(&plan).await;
        assert_eq!(std::fs::read(&path).expect("the user's file"), bad, "{spoil} was rewritten");
        if !left.is_empty() {
            // It cannot be read on the way back either: the user mends it, and asks again.
            pvetalos::secrets::file::write_private(&path, &good).expect("a file");
            assert!(bench.unwind(&plan).await.is_empty(), "{spoil}");
        } else {
            pvetalos::secrets::file::write_private(&path, &good).expect("a file");
        }
        assert_none(&bench.blemishes());
    }
}
