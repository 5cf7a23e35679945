//! Whatever fails, however it fails: the cluster is healthy, or nothing of it is left.
//!
//! The scenarios are read from a clean run: each step, each kind of call that it
//! made, each way for it to go wrong, once and for ever. A step that is added
//! tomorrow is in them tomorrow. One machine has every scenario; of the larger
//! shapes every step meets something, and between them every kind of step meets everything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use pvetalos::engine::{End, Failure};
use pvetalos::lab::faults::{Call, Damage, Effect, Event, Face, Fault, Lacks};
use pvetalos::plan::Plan;

use crate::harness::{Bench, Shape, assert_none, changes, play, report, virtually};

const SHAPE: Shape = Shape::of(1, 0);

/// A fault of a step, once or for ever.
#[derive(Clone, Debug)]
struct Scenario {
    label: String,
    face: Face,
    call: String,
    effect: Effect,
    times: u32,
}

const FOR_EVER: u32 = 1_000_000;

/// How lives ended, by the exit code that `create` documents; what was left was gone after a second `destroy`.
#[derive(Default)]
struct Tally {
    codes: [AtomicUsize; 8],
    twice: AtomicUsize,
}

impl Tally {
    fn story(&self) -> String {
        let count = |code: usize| self.codes[code].load(Ordering::Relaxed);
        let twice = self.twice.load(Ordering::Relaxed);
        format!(
            "{} healthy, {} failed and removed, {} timed out and removed; destroyed twice: {twice}",
            count(0),
            count(4),
            count(7)
        )
    }
}

/// The code of `create`: README, "Exit codes".
fn code(end: &End) -> usize {
    match end {
        End::Committed => 0,
        End::Failed(Failure { timed_out: true, .. }) => 7,
        End::Failed(_) => 4,
        End::Interrupted => 1,
    }
}

/// What can become of a call, as its face would word it, once. A read that gets lost is lost, whichever way.
fn once(call: &Call) -> Vec<(Effect, u32)> {
    let (code, text) = match call.face {
        Face::Pve => (500, "unable to open file - Input/output error"),
        Face::Factory => (502, "Bad Gateway"),
        // Unavailable: what a machine says while its services restart.
        Face::Talos => (14, "the service is restarting"),
        Face::Kube => (500, "etcdserver: request timed out"),
    };
    let text = text.to_owned();
    let refuse = Effect::Refuse { code, text: text.clone() };
    let mut ways = vec![
        (refuse.clone(), 1),
        (Effect::LoseRequest, 1),
        (Effect::Reset, 1),
        (Effect::Silent, 1),
        (Effect::Delay { millis: 3_000 }, 1),
        (Effect::Corrupt(Damage::Garbled), 1),
        (Effect::Corrupt(Damage::Halved), 1),
        (Effect::Corrupt(Damage::Broken), 1),
        (Effect::Flap(Box::new(refuse)), 3),
    ];
    if changes(call) {
        ways.extend([
            (Effect::ActThenFail { code, text }, 1),
            (Effect::LoseReply, 1),
            (Effect::ActThenReset, 1),
            (Effect::ActThenSilent, 1),
        ]);
    }
    ways
}

fn for_ever(call: &Call) -> Vec<(Effect, u32)> {
    let meant = |effect: &Effect| {
        matches!(effect, Effect::Refuse { .. } | Effect::ActThenFail { .. } | Effect::LoseReply | Effect::Silent)
            || matches!(effect, Effect::Corrupt(Damage::Garbled) | Effect::Flap(_))
    };
    once(call).into_iter().filter(|(effect, _)| meant(effect)).map(|(effect, _)| (effect, FOR_EVER)).collect()
}

/// What can happen on the site, as far as it is not another operator's work.
fn events() -> Vec<(Effect, u32)> {
    let fill = |name: &str| Event::FillStorage { name: name.to_owned() };
    let skew = |seconds| Event::Skew { seconds };
    let two_days = 2 * 86_400;
    let mut events = vec![Event::NewLeases, fill("local"), fill("local-lvm"), skew(two_days), skew(-two_days)];
    events.extend(Lacks::ALL.map(|lacks| Event::Impostor { lacks, vm: None }));
    events.into_iter().map(|event| (Effect::Event(event), 1)).collect()
}

/// Each kind of call of each step and undo, in order.
fn kinds(calls: Vec<Call>) -> Vec<Call> {
    let mut kinds: Vec<Call> = Vec::new();
    for call in calls {
        if !kinds.iter().any(|kind| kind.label == call.label && kind.name == call.name) {
            kinds.push(call);
        }
    }
    kinds
}

fn scenario(kind: &Call, (effect, times): (Effect, u32)) -> Scenario {
    Scenario { label: kind.label.clone(), face: kind.face, call: kind.name.clone(), effect, times }
}

/// A run under the fault, and then a destroy, whatever the run came to.
async fn one(shape: &Shape, scenario: &Scenario, tally: &Tally) -> Vec<String> {
    let Scenario { label, face, call, effect, times } = scenario.clone();
    let bench = Bench::of(shape).await;
    let plan = bench.plan().await;
    let event = matches!(effect, Effect::Event(_));
    let fault = Fault { face, call, subject: None, label: Some(label.clone()), skip: 0, times, effect };
    bench.lab.shared().lock().faults.script.push(fault.clone());
    let untouched = |bench: &Bench| bench.lab.shared().lock().faults.script.contains(&fault);
    let mut wrong = Vec::new();
    let end = bench.run(&plan).await;
    let backwards = label.starts_with("undo ");
    tally.codes[code(&end)].fetch_add(1, Ordering::Relaxed);
    match &end {
        // What happens to a machine while the gates are being looked through may come after its own.
        End::Committed if event && label == "check_health" => {}
        End::Committed if backwards || !untouched(&bench) => wrong.extend(bench.ills(&plan).await),
        End::Failed(_) if !backwards && !untouched(&bench) => {}
        other => wrong.push(format!("the run ended as {other:?}")),
    }
    wrong.extend(gone(&bench, &plan, times > 1 && backwards, &tally.twice).await);
    if untouched(&bench) {
        wrong.push("the fault hit nothing".into());
    }
    if !wrong.is_empty() {
        wrong.push(format!("after {end:?}"));
    }
    wrong
}

/// Destroys; where the fault is for ever, something may be left and named, and a second time nothing may.
async fn gone(bench: &Bench, plan: &Plan, stubborn: bool, twice: &AtomicUsize) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut left = bench.unwind(plan).await;
    if !left.is_empty() && stubborn {
        twice.fetch_add(1, Ordering::Relaxed);
        bench.lab.shared().lock().faults.script.clear();
        left = bench.unwind(plan).await;
    }
    wrong.extend(left.iter().map(|left| format!("{left:?}")));
    wrong.extend(bench.blemishes());
    wrong.extend(bench.second_bootstrap());
    wrong
}

/// Every kind of call of one machine's life, and the number of steps.
fn one_machine() -> (usize, Vec<Call>) {
    let (plan, mut calls, back) = virtually(async { Bench::of(&SHAPE).await.clean_life().await });
    calls.extend(back);
    (plan.steps().count(), kinds(calls))
}

fn every(shape: &Shape, what: &str, scenarios: Vec<Scenario>) {
    let (begun, total, tally) = (std::time::Instant::now(), scenarios.len(), Tally::default());
    let wrong = play(scenarios, async |scenario| one(shape, scenario, &tally).await);
    report(&format!("{what}: {total} lives in {:.0?}: {}", begun.elapsed(), tally.story()));
    assert_none(&wrong);
}

#[test]
fn each_call_fails_once() {
    let (steps, kinds) = one_machine();
    let scenarios: Vec<_> =
        kinds.iter().flat_map(|kind| once(kind).into_iter().map(|way| scenario(kind, way))).collect();
    every(&SHAPE, &format!("1+0: {steps} steps, {} kinds of call, every fault once", kinds.len()), scenarios);
}

#[test]
fn each_call_fails_for_ever() {
    let (steps, kinds) = one_machine();
    let scenarios: Vec<_> =
        kinds.iter().flat_map(|kind| for_ever(kind).into_iter().map(|way| scenario(kind, way))).collect();
    every(&SHAPE, &format!("1+0: {steps} steps, {} kinds of call, for ever", kinds.len()), scenarios);
}

/// Before the first call of a step, and before its last.
#[test]
fn something_happens_in_each_step() {
    let (steps, kinds) = one_machine();
    let mut ends: Vec<&Call> = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        let is = |other: Option<&Call>| other.is_some_and(|other| other.label == kind.label);
        if !is(at.checked_sub(1).and_then(|before| kinds.get(before))) || !is(kinds.get(at + 1)) {
            ends.push(kind);
        }
    }
    let scenarios: Vec<_> =
        ends.iter().flat_map(|kind| events().into_iter().map(|event| scenario(kind, event))).collect();
    every(&SHAPE, &format!("1+0: {steps} steps, every event at their first and last calls"), scenarios);
}

/// Every step meets faults, and every kind of step meets every other one, on one machine after the other; the other
/// large shape has the rest.
fn larger(shape: &Shape, what: &str, half: usize) {
    let (plan, calls, back) = virtually(async { Bench::of(shape).await.clean_life().await });
    let mut steps: BTreeMap<String, Vec<Vec<Call>>> = BTreeMap::new();
    for call in kinds(calls.into_iter().chain(back).collect()) {
        let verb = call.label.split('/').next().unwrap_or_default().to_owned();
        let machines = steps.entry(verb).or_default();
        match machines.iter_mut().find(|calls| calls[0].label == call.label) {
            Some(calls) => calls.push(call),
            None => machines.push(vec![call]),
        }
    }
    let mut scenarios = Vec::new();
    for (number, machines) in steps.values().enumerate() {
        // The call that changes something, else the first.
        let chosen = |calls: &Vec<Call>| calls.iter().find(|call| changes(call)).unwrap_or(&calls[0]).clone();
        let ways = once(&chosen(&machines[0])).into_iter().chain(events());
        let rounds: Vec<_> = ways.skip((number + half) % 2).step_by(2).collect();
        for (turn, way) in rounds.iter().cycle().take(rounds.len().max(machines.len())).enumerate() {
            scenarios.push(scenario(&chosen(&machines[turn % machines.len()]), way.clone()));
        }
    }
    let met: std::collections::BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.label.as_str()).collect();
    let all: usize = steps.values().map(Vec::len).sum();
    assert_eq!(met.len(), all, "every step meets something");
    every(shape, &format!("{what}: {} steps, {} kinds of them", plan.steps().count(), steps.len()), scenarios);
}

#[test]
fn five_machines() {
    larger(&Shape::of(3, 2), "3+2", 0);
}

#[test]
fn six_machines_on_three_nodes() {
    larger(&Shape { nodes: 3, ..Shape::of(3, 3) }, "3+3 on 3 nodes", 1);
}

/// The steps that act on the user's files have no call that could fail.
#[tokio::test(start_paused = true)]
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
        pvetalos::secrets::file::write_private(&path, &good).expect("a file");
        // A file that cannot be read on the way back either is a leftover: the user mends it, and asks again.
        assert!(left.is_empty() || bench.unwind(&plan).await.is_empty(), "{spoil}");
        assert_none(&bench.blemishes());
    }
}
