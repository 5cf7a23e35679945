//! Many lives, each under a script of faults that a number gives: what nobody thought of.
//!
//! The lives of CI are the same every time. One of them again, with its story:
//!
//! ```text
//! PVETALOS_SOAK_SEED=1234 cargo test --test integration soak -- --nocapture
//! ```
//!
//! More of them, for hours: `scripts/soak`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pvetalos::engine::End;
use pvetalos::lab::faults::{Call, Damage, Deed, Effect, Event, Face, Fault, Lacks};
use pvetalos::plan::Plan;

use crate::adversary::is_blind;
use crate::harness::{Bench, Dies, Shape, assert_none, play, report, virtually};

/// Lives in CI.
const LIVES: u64 = 2_000;

/// splitmix64: small, and the same everywhere and for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).expect("below a usize")
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// The calls of a clean life, for scripts to name.
fn calls() -> Vec<Call> {
    let (_, there, back) = virtually(async { Bench::of(&Shape::of(1, 1)).await.clean_life().await });
    [there, back].concat()
}

fn effect(dice: &mut Dice, call: &Call) -> Effect {
    let (code, text) = match call.face {
        Face::Pve => *dice.one(&[(500, "Input/output error"), (503, "busy"), (596, "Connection timed out")]),
        Face::Factory => *dice.one(&[(502, "Bad Gateway"), (503, "no capacity"), (429, "slow down")]),
        Face::Talos => *dice.one(&[(14, "restarting"), (4, "deadline"), (13, "internal")]),
        Face::Kube => *dice.one(&[(500, "etcd timed out"), (503, "starting"), (429, "slow down")]),
    };
    let text = text.to_owned();
    let storage = |dice: &mut Dice| (*dice.one(&["local", "local-lvm"])).to_owned();
    match dice.below(24) {
        0 | 1 => Effect::Refuse { code, text },
        2 | 3 => Effect::ActThenFail { code, text },
        4 | 5 => Effect::LoseReply,
        6 => Effect::LoseRequest,
        7 => Effect::Reset,
        8 => Effect::ActThenReset,
        9 => Effect::Delay { millis: dice.roll() % 40_000 },
        10 => Effect::Silent,
        11 => Effect::ActThenSilent,
        12 | 13 => Effect::Corrupt(*dice.one(&[Damage::Garbled, Damage::Halved, Damage::Broken])),
        14 | 15 => Effect::Flap(Box::new(Effect::Refuse { code, text })),
        16 => Effect::Event(Event::NewLeases),
        17 => Effect::Event(Event::Impostor { lacks: *dice.one(&Lacks::ALL), vm: None }),
        18 => Effect::Event(Event::ImpostorsLeave),
        19 => Effect::Event(Event::FillStorage { name: storage(dice) }),
        20 => Effect::Event(Event::FreeStorage { name: storage(dice) }),
        21 => Effect::Event(Event::Skew { seconds: *dice.one(&[0, 0, 7_200, -7_200, 200_000, -200_000]) }),
        _ => Effect::Event(Event::Operator { deed: *dice.one(&Deed::ALL), vm: None }),
    }
}

fn fault(dice: &mut Dice, calls: &[Call]) -> Fault {
    let mut call = dice.one(calls);
    let effect = effect(dice, call);
    let reuse = effect == Effect::Event(Event::Operator { deed: Deed::Reuse, vm: None });
    let blind = |name: &str| calls.iter().any(|call| is_blind(call) && call.name.contains(name));
    if reuse && blind(&call.name) {
        // The moment between a look and what follows right upon it is Proxmox's own: see `adversary`.
        call = calls.iter().find(|call| call.face == Face::Pve && !blind(&call.name)).unwrap_or(call);
    }
    let any = !reuse && dice.below(3) == 0;
    let name = if any { String::new() } else { call.name.clone() };
    let skip = u32::try_from(dice.below(if any { 40 } else { 6 })).expect("small");
    let times = *dice.one(&[1, 1, 1, 1, 2, 3, 10, 50]);
    Fault { face: call.face, call: name, subject: None, label: None, skip, times, effect }
}

/// How lives went, for the report.
#[derive(Default)]
struct Tally {
    healthy: AtomicUsize,
    removed: AtomicUsize,
    deaths: AtomicUsize,
    left: AtomicUsize,
}

fn count(cell: &AtomicUsize) {
    cell.fetch_add(1, Ordering::Relaxed);
}

/// One attempt at a create: resumed, or finished taking away, as `create` does. `None`: the process died.
async fn attempt(bench: &Bench, plan: &Plan) -> Option<End> {
    if bench.journal(plan).state().unwinding() { Some(End::Interrupted) } else { bench.run_mortal(plan).await }
}

async fn live(seed: u64, calls: &[Call], tally: &Tally, tell: bool) -> Vec<String> {
    let mut dice = Dice(seed);
    let machines = if dice.below(4) == 0 { Shape::of(1, 1) } else { Shape::of(1, 0) };
    let shape = Shape { nodes: 1 + dice.below(2), ..machines };
    let script: Vec<Fault> = (0..=dice.below(4)).map(|_| fault(&mut dice, calls)).collect();
    let mut deaths = *dice.one(&[0, 0, 0, 1, 1, 2, 3]);
    let mut wrong = Vec::new();
    let bench = Bench::of(&shape).await;
    let plan = bench.plan().await;
    let tell = |text: String| {
        if tell {
            report(&text);
        }
    };
    for fault in &script {
        tell(format!("{fault:?}"));
    }
    let eventful = script.iter().any(|fault| matches!(fault.effect, Effect::Event(_)));
    bench.lab.shared().lock().faults.script = script;
    // A create, again after each death of its process, until it came to an end or somebody gives up.
    loop {
        bench.lab.shared().lock().rival = None;
        if deaths > 0 {
            deaths -= 1;
            let (at, dies) = (dice.below(90), *dice.one(&Dies::BOTH));
            tell(format!("dies at call {at}, {dies:?}"));
            bench.die_at(at, dies);
        }
        let end = attempt(&bench, &plan).await;
        tell(format!("create: {end:?}"));
        match end {
            None => {
                count(&tally.deaths);
                if dice.below(3) == 0 {
                    break;
                }
            }
            Some(End::Committed) => {
                count(&tally.healthy);
                if !eventful {
                    // The faults that are left are not for us, who look from outside.
                    let script = std::mem::take(&mut bench.lab.shared().lock().faults.script);
                    wrong.extend(bench.ills(&plan).await);
                    bench.lab.shared().lock().faults.script = script;
                }
                break;
            }
            Some(_) => break,
        }
    }
    // A destroy under what is left of the script, and if that leaves anything, one in peace.
    let left = bench.unwind_mortal(&plan).await;
    tell(format!("destroy: {left:?}"));
    let emptied = left.as_ref().is_some_and(Vec::is_empty);
    if emptied {
        count(&tally.removed);
        wrong.extend(bench.blemishes());
    } else {
        count(if left.is_some() { &tally.left } else { &tally.deaths });
        peace(&bench);
        let left = bench.unwind(&plan).await;
        tell(format!("destroy in peace: {left:?}"));
        wrong.extend(left.iter().map(|left| format!("{left:?}")));
        wrong.extend(bench.blemishes());
    }
    wrong.extend(bench.second_bootstrap());
    wrong
}

/// Nothing goes wrong any more.
fn peace(bench: &Bench) {
    let mut world = bench.lab.shared().lock();
    world.rival = None;
    world.faults.script.clear();
    world.fleet.unmask();
    world.fleet.set_clocks(0);
}

#[expect(clippy::disallowed_methods, reason = "how many, and which: for whoever runs it")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, and not {text:?}")))
}

#[test]
fn soak() {
    let (calls, tally) = (calls(), Tally::default());
    if let Some(seed) = number("PVETALOS_SOAK_SEED") {
        return assert_none(&virtually(live(seed, &calls, &tally, true)));
    }
    let from = number("PVETALOS_SOAK_FROM").unwrap_or(0);
    let lives = number("PVETALOS_SOAK_LIVES").unwrap_or(LIVES);
    let begun = Instant::now();
    let mut wrong = play(from..from + lives, async |seed| live(*seed, &calls, &tally, false).await);
    let count = |cell: &AtomicUsize| cell.load(Ordering::Relaxed);
    report(&format!(
        "soak: {lives} creates and destroys in {:.0?}: {} healthy, {} destroyed under faults, {} left something and \
         named it, {} deaths",
        begun.elapsed(),
        count(&tally.healthy),
        count(&tally.removed),
        count(&tally.left),
        count(&tally.deaths)
    ));
    for story in &mut wrong {
        *story = format!(
            "PVETALOS_SOAK_SEED={story}\n    (again: PVETALOS_SOAK_SEED=SEED cargo test --test integration soak)"
        );
    }
    assert_none(&wrong);
}
