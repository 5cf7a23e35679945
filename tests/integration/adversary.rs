//! Somebody else is at work on the same site: nothing of theirs is touched, and nothing of ours is forgotten.
//!
//! The rival acts just before a call of ours does, and before each call in turn.
//! One gap is Proxmox's own: start, stop and destroy take a number and nothing
//! that says whose, so whoever takes our number in the moment between our look and
//! that very call cannot be seen by any client. For every other boundary the look
//! comes after the rival, and is in time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pvetalos::engine::End;
use pvetalos::lab::faults::{Call, Deed, Effect, Event, Face, Fault};
use pvetalos::lab::pve::Config;
use pvetalos::lab::world::World;

use crate::harness::{Bench, STRANGER, Shape, assert_none, play, report, virtually};

/// VMID of the first control plane of every plan here.
const OURS: u32 = 100;

/// Two nodes, so that a VM can be moved.
const SHAPE: Shape = Shape { nodes: 2, ..Shape::of(1, 0) };

/// Calls that take a number and nothing that says whose.
pub(crate) fn is_blind(call: &Call) -> bool {
    let acts = call.name.ends_with("/status/start") || call.name.ends_with("/status/stop");
    call.face == Face::Pve && (acts || call.name == "DELETE /nodes/{node}/qemu/{vmid}")
}

/// Deeds that leave our machine as healthy as it was.
fn is_harmless(deed: Deed) -> bool {
    matches!(deed, Deed::Clone | Deed::Copy | Deed::Rename | Deed::Strip)
}

/// A life in which the rival acts once: there, and back whatever came of it.
async fn live(bench: &Bench, committed: bool) -> Vec<String> {
    let plan = bench.plan().await;
    let end = bench.run(&plan).await;
    let mut wrong = Vec::new();
    match &end {
        End::Committed if committed => wrong.extend(bench.ills(&plan).await),
        other if committed => wrong.push(format!("the run ended as {other:?}")),
        _ => {}
    }
    wrong.extend(bench.unwind(&plan).await.iter().map(|left| format!("{left:?}")));
    wrong.extend(bench.blemishes());
    if !wrong.is_empty() {
        wrong.push(format!("after {end:?}"));
    }
    wrong
}

#[test]
fn every_deed_before_every_call() {
    let (_, there, back) = virtually(async { Bench::of(&SHAPE).await.clean_life().await });
    let calls: Vec<Call> = [there, back].concat();
    // Nothing can come between the look and these, but a look right before them there must be.
    let about: Vec<&Call> =
        calls.iter().filter(|call| call.face == Face::Pve && call.subject == OURS.to_string()).collect();
    for pair in about.windows(2).filter(|pair| is_blind(pair[1])) {
        assert_eq!(pair[0].name, "GET /nodes/{node}/qemu/{vmid}/config", "before {}", pair[1].name);
    }
    let gaps = calls.iter().filter(|call| is_blind(call)).count();
    let scenarios = calls.iter().enumerate().flat_map(|(at, call)| Deed::ALL.map(|deed| (at, call, deed)));
    let scenarios: Vec<_> = scenarios.filter(|(_, call, deed)| *deed != Deed::Reuse || !is_blind(call)).collect();
    let (begun, lives, met) = (std::time::Instant::now(), scenarios.len(), AtomicUsize::new(0));
    let wrong = play(scenarios, async |(at, _, deed)| {
        let bench = Bench::of(&SHAPE).await;
        bench.strike(*at, Effect::Event(Event::Operator { deed: *deed, vm: Some(OURS.to_string()) }));
        let wrong = live(&bench, is_harmless(*deed)).await;
        met.fetch_add(bench.lab.shared().lock().faults.foreign.len(), Ordering::Relaxed);
        wrong
    });
    report(&format!(
        "{} deeds before each of {} calls; {gaps} calls follow right upon a look: {lives} lives in {:.0?}, {} VMs of \
         others that nobody touched",
        Deed::ALL.len(),
        calls.len(),
        begun.elapsed(),
        met.into_inner()
    ));
    assert_none(&wrong);
}

/// A configuration that has nothing of ours.
fn plain() -> Config {
    [("name", "theirs".to_owned()), ("smbios1", format!("uuid={}", uuid::Uuid::new_v4()))]
        .map(|(option, text)| (option.to_owned(), text))
        .into()
}

fn settle(world: &mut World, vmid: u32, config: Config) {
    let node = world.site.nodes[0].name.clone();
    world.settle(vmid, node, config, true);
}

/// The rival takes each number that we ask for, as often as it likes, and once when our request got lost.
#[test]
fn the_number_is_taken_before_our_create() {
    let wrong = play([(1, false), (4, false), (1, true)], async |(times, lost)| {
        let bench = Bench::of(&SHAPE).await;
        let turns = Arc::new(Mutex::new(*times));
        let (shared, mine) = (bench.lab.shared().clone(), turns.clone());
        let trigger = if *lost { "GET /nodes/{node}/qemu/{vmid}/config" } else { "POST /nodes/{node}/qemu" };
        bench.lab.shared().lock().rival = Some(Box::new(move |world: &mut World, call: &Call| {
            let (vmid, mut turns) = (call.subject.parse().unwrap_or(0), mine.lock().expect("no panic"));
            if call.name == trigger && *turns > 0 && vmid != STRANGER {
                *turns -= 1;
                settle(world, vmid, plain());
                shared.wake();
            }
        }));
        if *lost {
            let (call, effect) = ("POST /nodes/{node}/qemu".into(), Effect::LoseRequest);
            let fault = Fault { face: Face::Pve, call, subject: None, label: None, skip: 0, times: 1, effect };
            bench.lab.shared().lock().faults.script.push(fault);
        }
        let mut wrong = live(&bench, true).await;
        if *turns.lock().expect("no panic") > 0 {
            wrong.push("the rival had too few turns".into());
        }
        wrong
    });
    assert_none(&wrong);
}

/// Somebody boots another VM from our image: it stays, for it is in use, and everything else goes.
#[tokio::test(start_paused = true)]
async fn an_image_that_others_use_stays() {
    let bench = Bench::of(&SHAPE).await;
    let plan = bench.plan().await;
    assert!(matches!(bench.run(&plan).await, End::Committed));
    let mut config = plain();
    config.insert("ide2".into(), format!("{},media=cdrom", plan.outline.image));
    settle(&mut bench.lab.shared().lock(), 150, config);
    assert!(bench.unwind(&plan).await.is_empty());
    let (image, wrong): (Vec<String>, Vec<String>) =
        bench.blemishes().into_iter().partition(|found| found.contains(&plan.outline.image));
    assert_none(&wrong);
    assert_eq!(image.len(), 1, "the image is in use");
}
