//! Whatever fails, however it fails: the cluster is healthy, or nothing of it is left.
//!
//! The scenarios are read from a clean run: each step, each kind of call that it
//! made, each way for it to go wrong, once and for ever. A step that is added
//! tomorrow is in them tomorrow. Every step of every shape meets every fault; of
//! one machine every kind of call does.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pvetalos::cli::Code;
use pvetalos::engine::End;
use pvetalos::lab::faults::{Call, Damage, Effect, Event, Face, Fault, Lacks};

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

/// How lives ended.
#[derive(Default)]
struct Tally {
    /// Exit codes of `create`.
    codes: Mutex<BTreeMap<u8, usize>>,
    /// Something was left, and was gone after a second `destroy`.
    twice: AtomicUsize,
}

impl Tally {
    fn count(&self, code: Code) {
        *self.codes.lock().expect("no panic").entry(code as u8).or_default() += 1;
    }

    fn story(&self) -> String {
        let codes = self.codes.lock().expect("no panic");
        let codes: Vec<_> = codes.iter().map(|(code, lives)| format!("{lives} ended with {code}")).collect();
        format!("{}; destroyed twice: {}", codes.join(", "), self.twice.load(Ordering::Relaxed))
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
    let fault = Fault { face, call, subject: None, label: Some(label.clone()), skip: 0, times, effect };
    bench.lab.shared().lock().faults.script.push(fault.clone());
    let untouched = |bench: &Bench| bench.lab.shared().lock().faults.script.contains(&fault);
    let mut wrong = Vec::new();
    let end = bench.run(&plan).await;
    let backwards = label.starts_with("undo ");
    match &end {
        End::Committed if backwards || !untouched(&bench) => wrong.extend(bench.ills(&plan).await),
        End::Failed(_) if !backwards && !untouched(&bench) => {}
        other => wrong.push(format!("the run ended as {other:?}")),
    }
    // After a failure this is create's own way back, and after a success it is destroy's.
    let mut left = bench.unwind(&plan).await;
    let code = Code::of_run(&end, left.is_empty());
    tally.count(code);
    if !matches!(code, Code::Done | Code::Removed | Code::TimedOut) {
        wrong.push(format!("exit code {}", code as u8));
    }
    // Only what goes wrong for ever on the way back may leave something, named, and a second time nothing may.
    if !left.is_empty() && times > 1 && backwards {
        tally.twice.fetch_add(1, Ordering::Relaxed);
        bench.lab.shared().lock().faults.script.clear();
        left = bench.unwind(&plan).await;
    }
    wrong.extend(left.iter().map(|left| format!("{left:?}")));
    wrong.extend(bench.blemishes());
    wrong.extend(bench.second_bootstrap());
    if untouched(&bench) {
        wrong.push("the fault hit nothing".into());
    }
    if !wrong.is_empty() {
        wrong.push(format!("after {end:?}"));
    }
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

/// Whether two faults are the same one, as different faces would word it.
fn alike((one, once): &(Effect, u32), (other, again): &(Effect, u32)) -> bool {
    let same = match (one, other) {
        (Effect::Refuse { .. }, Effect::Refuse { .. })
        | (Effect::ActThenFail { .. }, Effect::ActThenFail { .. })
        | (Effect::Flap(_), Effect::Flap(_)) => true,
        _ => one == other,
    };
    same && once == again
}

/// Every step and every undo of every machine meets every fault. Which of its calls meets it goes round, and all that
/// acts before it fails is for the call that changes something; that every call meets every fault is for one machine.
fn larger(shape: &Shape, what: &str) {
    let (plan, calls, back) = virtually(async { Bench::of(shape).await.clean_life().await });
    let mut steps: Vec<Vec<Call>> = Vec::new();
    for call in kinds(calls.into_iter().chain(back).collect()) {
        match steps.iter_mut().find(|calls| calls[0].label == call.label) {
            Some(calls) => calls.push(call),
            None => steps.push(vec![call]),
        }
    }
    let ways = |call: &Call| once(call).into_iter().chain(for_ever(call)).chain(events());
    let mut scenarios = Vec::new();
    let mut faults = Vec::new();
    for (number, calls) in steps.iter().enumerate() {
        let acts = calls.iter().find(|call| changes(call)).unwrap_or(&calls[0]);
        for (turn, way) in ways(acts).enumerate() {
            if !faults.iter().any(|known| alike(known, &way)) {
                faults.push(way.clone());
            }
            let other = &calls[(number + turn) % calls.len()];
            scenarios.push(match ways(other).find(|theirs| alike(theirs, &way)) {
                Some(theirs) => scenario(other, theirs),
                None => scenario(acts, way),
            });
        }
    }
    let undos = steps.iter().filter(|calls| calls[0].label.starts_with("undo ")).count();
    let what = format!(
        "{what}: {} steps, of which {} ask the site, and {undos} undos that do, {} faults",
        plan.steps().count(),
        steps.len() - undos,
        faults.len()
    );
    every(shape, &what, scenarios);
}

#[test]
fn five_machines() {
    larger(&Shape::of(3, 2), "3+2");
}

#[test]
fn six_machines_on_three_nodes() {
    larger(&Shape { nodes: 3, ..Shape::of(3, 3) }, "3+3 on 3 nodes");
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

/// What users read about exit codes is what the program exits with.
#[test]
fn every_exit_code_is_documented_and_no_other() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let table = readme.split("| Exit code |").nth(1).expect("a table of exit codes");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let documented: Vec<u8> =
        rows.map(|row| row.split('|').nth(1).expect("a column").trim().parse().expect("a code")).collect();
    assert_eq!(documented, Code::ALL.map(|code| code as u8));
}
