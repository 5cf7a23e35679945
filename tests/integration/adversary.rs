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
use pvetalos::lab::faults::{Call, Effect, Face, Fault};
use pvetalos::lab::pve::{Config, Vm};
use pvetalos::lab::world::World;

use crate::harness::{Bench, STRANGER, Setup, Shape, assert_none, play, report};

/// VMID of the first control plane of every plan here.
const OURS: u32 = 100;

/// Where the rival puts clones.
const CLONE: u32 = 150;

const SHAPE: Shape = Shape::of(1, 0);

/// A VM as the rival left it: configuration and power.
type Left = Arc<Mutex<Vec<(u32, Config, bool)>>>;

/// What `vm` looks like to a careless eye, with the UUID that a clone or a restored backup gets.
fn double(vm: &Vm) -> Config {
    let mut config = vm.config.clone();
    config.insert("smbios1".into(), format!("uuid={}", uuid::Uuid::new_v4()));
    // Disks of its own would be copies: they are of no interest here.
    config.retain(|option, _| !["scsi0", "efidisk0", "tpmstate0", "ide2", "lock"].contains(&option.as_str()));
    config
}

/// Puts a VM of somebody else's at `vmid`.
fn settle(world: &mut World, vmid: u32, config: Config, running: bool, left: &Left) {
    let mut vm = Vm::default();
    vm.node.clone_from(&world.site.nodes[0].name);
    vm.config = config.clone();
    world.pve.vms.insert(vmid, vm);
    if running {
        let mut hardware = world.fleet.machine(STRANGER).expect("the stranger runs").hardware.clone();
        hardware.vmid = vmid;
        hardware.name = format!("theirs-{vmid}");
        world.fleet.power_on(hardware);
    }
    left.lock().expect("no panic").push((vmid, config, running));
}

/// Takes our VM away with its disks, as somebody with the right to would.
fn evict(world: &mut World, vmid: u32) {
    world.fleet.power_off(vmid);
    world.pve.vms.remove(&vmid);
    let mine = format!("vm-{vmid}-");
    world.pve.volumes.retain(|place, _| !place.name.contains(&mine));
}

/// A configuration that has nothing of ours.
fn plain() -> Config {
    [("name", "theirs".to_owned()), ("smbios1", format!("uuid={}", uuid::Uuid::new_v4()))]
        .map(|(option, text)| (option.to_owned(), text))
        .into()
}

/// What became of the rival's VMs, and of ours.
fn verdict(bench: &Bench, left: &Left) -> Vec<String> {
    let mut wrong = Vec::new();
    let theirs = left.lock().expect("no panic").clone();
    {
        let world = bench.lab.shared().lock();
        for (vmid, config, running) in &theirs {
            match world.pve.vms.get(vmid) {
                None => wrong.push(format!("VM {vmid} of the rival was destroyed")),
                Some(vm) if vm.config != *config => wrong.push(format!("VM {vmid} of the rival was changed")),
                Some(_) => match (running, world.fleet.is_powered(*vmid)) {
                    (true, false) => wrong.push(format!("VM {vmid} of the rival was stopped")),
                    (false, true) => wrong.push(format!("VM {vmid} of the rival was started")),
                    _ => {}
                },
            }
        }
    }
    let of_theirs = |found: &String| {
        theirs.iter().any(|(vmid, ..)| *found == format!("VM {vmid}") || *found == format!("machine theirs-{vmid}"))
    };
    wrong.extend(bench.blemishes().into_iter().filter(|found| !of_theirs(found)));
    wrong
}

/// The calls about our VM in a clean life: there and back.
async fn boundaries() -> Vec<Call> {
    let bench = Bench::of(&SHAPE).await;
    let plan = bench.plan().await;
    bench.take_log();
    assert!(matches!(bench.run(&plan).await, End::Committed));
    assert!(bench.unwind(&plan).await.is_empty());
    let about = |call: &Call| call.face == Face::Pve && call.subject == OURS.to_string();
    bench.take_log().into_iter().filter(about).collect()
}

/// Lets `act` happen before the call about our VM that is number `at`, counted from 0.
fn before(bench: &Bench, at: usize, mut act: impl FnMut(&mut World) + Send + 'static) {
    let seen = AtomicUsize::new(0);
    let shared = bench.lab.shared().clone();
    let rival = move |world: &mut World, call: &Call| {
        let about = call.face == Face::Pve && call.subject == OURS.to_string() && !call.label.is_empty();
        if about && seen.fetch_add(1, Ordering::Relaxed) == at {
            act(world);
            shared.wake();
        }
    };
    bench.lab.shared().lock().rival = Some(Box::new(rival));
}

/// A life in which the rival acts once: there, and back whatever came of it.
async fn live(bench: &Bench, left: &Left) -> Vec<String> {
    let plan = bench.plan().await;
    let end = bench.run(&plan).await;
    let mut wrong: Vec<String> = bench.unwind(&plan).await.iter().map(|left| format!("{left:?}")).collect();
    wrong.extend(verdict(bench, left));
    if !wrong.is_empty() {
        wrong.push(format!("after {end:?}"));
    }
    wrong
}

#[tokio::test]
async fn our_vm_is_replaced_by_its_double_before_each_call() {
    let calls = boundaries().await;
    // Nothing can come between the look and these, but a look right before them there must be.
    let blind = |call: &Call| {
        call.name.ends_with("/status/start") || call.name.ends_with("/status/stop") || call.name.starts_with("DELETE ")
    };
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| blind(call)) {
        let look = &calls[at - 1];
        assert!(look.name == "GET /nodes/{node}/qemu/{vmid}/config", "{} comes after {}", call.name, look.name);
    }
    let gaps = calls.iter().filter(|call| blind(call)).count();
    let scenarios = calls.iter().enumerate().filter(|(_, call)| !blind(call));
    let scenarios = scenarios.flat_map(|(at, call)| [true, false].map(|running| (at, call.name.clone(), running)));
    let wrong = play(scenarios.collect::<Vec<_>>(), async |(at, _, running)| {
        // A machine that is gone is waited for in vain: whatever the run comes to, it must come to it soon.
        let bench = Bench::of(&Shape { patience: "6s", ..SHAPE }).await;
        let left = Left::default();
        let (theirs, running) = (left.clone(), *running);
        before(&bench, *at, move |world| {
            let config = world.pve.vms.get(&OURS).map_or_else(plain, double);
            evict(world, OURS);
            settle(world, OURS, config, running, &theirs);
        });
        let mut wrong = live(&bench, &left).await;
        if left.lock().expect("no panic").is_empty() {
            wrong.push("the rival had no turn".into());
        }
        wrong
    })
    .await;
    report(&format!(
        "replaced before each of {} calls, by a double that runs and by one that does not; {gaps} calls follow right upon a look",
        calls.len() - gaps
    ));
    assert_none(&wrong);
}

#[tokio::test]
async fn our_vm_is_cloned_before_each_call() {
    let calls = boundaries().await;
    let scenarios = calls.iter().enumerate().map(|(at, call)| (at, call.name.clone())).collect::<Vec<_>>();
    let cloned = AtomicUsize::new(0);
    let wrong = play(scenarios, async |(at, _)| {
        let bench = Bench::of(&SHAPE).await;
        let left = Left::default();
        let theirs = left.clone();
        before(&bench, *at, move |world| {
            let Some(config) = world.pve.vms.get(&OURS).map(double) else { return };
            settle(world, CLONE, config, true, &theirs);
        });
        let wrong = live(&bench, &left).await;
        cloned.fetch_add(left.lock().expect("no panic").len(), Ordering::Relaxed);
        wrong
    })
    .await;
    report(&format!("cloned before {} of {} calls", cloned.into_inner(), calls.len()));
    assert_none(&wrong);
}

/// The rival takes each number that we ask for, as often as it likes, and once when our request got lost.
#[tokio::test]
async fn the_number_is_taken_before_our_create() {
    let wrong = play([(1, false), (4, false), (1, true)], async |(times, lost)| {
        let bench = Bench::of(&SHAPE).await;
        let plan = bench.plan().await;
        let left = Left::default();
        let (theirs, shared, mut turns) = (left.clone(), bench.lab.shared().clone(), *times);
        let trigger = if *lost { "GET /nodes/{node}/qemu/{vmid}/config" } else { "POST /nodes/{node}/qemu" };
        bench.lab.shared().lock().rival = Some(Box::new(move |world: &mut World, call: &Call| {
            let vmid = call.subject.parse().unwrap_or(0);
            if call.name == trigger && turns > 0 && vmid != STRANGER {
                turns -= 1;
                settle(world, vmid, plain(), true, &theirs);
                shared.wake();
            }
        }));
        if *lost {
            let (call, effect) = ("POST /nodes/{node}/qemu".into(), Effect::LoseRequest);
            let fault = Fault { face: Face::Pve, call, subject: None, label: None, skip: 0, times: 1, effect };
            bench.lab.shared().lock().faults.script.push(fault);
        }
        let mut wrong = Vec::new();
        match bench.run(&plan).await {
            End::Committed => {}
            other => wrong.push(format!("{other:?}")),
        }
        if left.lock().expect("no panic").len() != *times {
            wrong.push("the rival had too few turns".into());
        }
        wrong.extend(bench.unwind(&plan).await.iter().map(|left| format!("{left:?}")));
        wrong.extend(verdict(&bench, &left));
        wrong
    })
    .await;
    assert_none(&wrong);
}

/// A VM that was moved to another node is still ours, and is found there.
#[tokio::test]
async fn a_vm_that_was_moved_is_found_and_destroyed() {
    let setup = Setup::new(&Shape { nodes: 2, ..SHAPE }).with_site(|site| {
        for storage in site.storages.values_mut() {
            storage.shared = true;
        }
    });
    let bench = Bench::start(setup).await;
    let plan = bench.plan().await;
    assert!(matches!(bench.run(&plan).await, End::Committed));
    let moved = bench.lab.shared().lock().pve.vms.get_mut(&OURS).map(|vm| {
        let other = if vm.node == "lab1" { "lab2" } else { "lab1" };
        std::mem::replace(&mut vm.node, other.into())
    });
    assert!(moved.is_some(), "our VM is there");
    assert!(bench.unwind(&plan).await.is_empty());
    assert_none(&bench.blemishes());
}

/// Somebody boots another VM from our image: it stays, for it is in use, and everything else goes.
#[tokio::test]
async fn an_image_that_others_use_stays() {
    let bench = Bench::of(&SHAPE).await;
    let plan = bench.plan().await;
    assert!(matches!(bench.run(&plan).await, End::Committed));
    let left = Left::default();
    let mut config = plain();
    config.insert("ide2".into(), format!("{},media=cdrom", plan.outline.image));
    settle(&mut bench.lab.shared().lock(), CLONE, config, true, &left);
    assert!(bench.unwind(&plan).await.is_empty());
    let wrong: Vec<String> = verdict(&bench, &left).into_iter().filter(|found| !found.contains(":iso/")).collect();
    assert_none(&wrong);
    assert!(bench.remains().iter().any(|found| found.contains(&plan.outline.image)), "the image is in use");
}
