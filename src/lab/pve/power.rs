//! Stop, shutdown, reset, reboot, suspend and resume.

use std::time::Duration;

use super::answer::{Failure, Reply};
use super::call::{Call, not_found};
use super::work::{self, Job, Order, Work};
use super::{ha, hypervisor, incident};
use crate::lab::clock::Clock;
use crate::lab::world::{Shared, World};

/// What a stop may do to a shutdown that is under way.
pub(super) struct Stop {
    pub overrule: bool,
}

/// How long a guest is waited for, and what happens then.
pub(super) struct Shutdown {
    pub timeout: u64,
    pub force: bool,
    /// Agent configured: it is asked before the power button is pressed.
    pub agent: bool,
}

/// On the instant clock nothing takes time, but a guest still has to be given the chance to react.
const GRACE: Duration = Duration::from_secs(1);
/// A worker that is interrupted ends at once, on however slow a machine.
const INTERRUPTED: Duration = Duration::from_secs(60);

/// Whether the VM's lock does not matter, which is for root himself, as are the other flags.
fn root_flags(call: &Call, flags: &[&str]) -> Result<bool, Failure> {
    let given = |flag: &str| call.opt(flag).is_some_and(|text| !text.is_empty() && text != "0");
    let asked = ["skiplock"].iter().chain(flags).find(|flag| given(flag));
    match asked.filter(|_| !call.who.is_root()) {
        Some(flag) => Err(Failure::param(flag, "Only root may use this option.")),
        None => Ok(given("skiplock")),
    }
}

fn job(call: &Call, kind: &'static str, work: Work, skip_lock: bool) -> Reply {
    let mut job = Job::vm(kind, call.node(), call.vmid(), work);
    job.skip_lock = skip_lock;
    Reply::Task(job)
}

pub(super) fn start_call(call: &mut Call) -> Result<Reply, Failure> {
    let flags = [
        "stateuri",
        "migratedfrom",
        "migration_type",
        "migration_network",
        "targetstorage",
        "force-cpu",
        "with-conntrack-state",
        "nets-host-mtu",
    ];
    let skip_lock = root_flags(call, &flags)?;
    if !call.world.pve.quorate {
        return Err(Failure::die("cluster not ready - no quorum?"));
    }
    if ha::is_managed(call.world, call.vmid()) {
        return Ok(ha::request(call, true));
    }
    Ok(job(call, "qmstart", Work::Start, skip_lock))
}

pub(super) fn stop_call(call: &mut Call) -> Result<Reply, Failure> {
    let skip_lock = root_flags(call, &["keepActive", "migratedfrom"])?;
    if ha::is_managed(call.world, call.vmid()) {
        if call.flag("overrule-shutdown") {
            return Err(Failure::param("overrule-shutdown", "Not applicable for HA resources."));
        }
        return Ok(ha::request(call, false));
    }
    let stop = Stop { overrule: call.flag("overrule-shutdown") };
    Ok(job(call, "qmstop", Work::Stop(stop), skip_lock))
}

fn patience(call: &Call, force: bool) -> Shutdown {
    let vm = call.world.pve.vm_on(call.node(), call.vmid());
    let down = vm.and_then(|vm| vm.config.get("startup")).and_then(|text| {
        text.split(',').find_map(|part| part.strip_prefix("down=")).and_then(|down| down.parse().ok())
    });
    let timeout = call.number("timeout").or(down).unwrap_or(60);
    Shutdown { timeout, force, agent: vm.is_some_and(super::vm::Vm::agent) }
}

pub(super) fn shutdown_call(call: &mut Call) -> Result<Reply, Failure> {
    let skip_lock = root_flags(call, &["keepActive"])?;
    let force = call.flag("forceStop");
    if ha::is_managed(call.world, call.vmid()) {
        return Ok(ha::request(call, false));
    }
    let paused = call.world.pve.vm_on(call.node(), call.vmid()).is_some_and(|vm| vm.paused);
    if paused && !force {
        return Err(Failure::die("VM is paused - cannot shutdown"));
    }
    let shutdown = patience(call, force);
    Ok(job(call, "qmshutdown", Work::Shutdown(shutdown), skip_lock))
}

/// The calls that look before they start a worker.
fn running(call: &Call) -> Result<(), Failure> {
    let (node, vmid) = (call.node(), call.vmid());
    if call.world.pve.vm_on(node, vmid).is_none() {
        return Err(Failure::die(not_found(node, vmid)));
    }
    if !hypervisor::is_running(call.world, vmid) {
        return Err(Failure::die(format!("VM {vmid} not running")));
    }
    Ok(())
}

pub(super) fn reset_call(call: &mut Call) -> Result<Reply, Failure> {
    let skip_lock = root_flags(call, &[])?;
    running(call)?;
    Ok(job(call, "qmreset", Work::Reset, skip_lock))
}

pub(super) fn reboot_call(call: &mut Call) -> Result<Reply, Failure> {
    running(call)?;
    if call.world.pve.vm_on(call.node(), call.vmid()).is_some_and(|vm| vm.paused) {
        return Err(Failure::die("VM is paused - cannot shutdown"));
    }
    let shutdown = patience(call, false);
    Ok(Reply::Task(Job::vm("qmreboot", call.node(), call.vmid(), Work::Reboot(shutdown))))
}

pub(super) fn suspend_call(call: &mut Call) -> Result<Reply, Failure> {
    let skip_lock = root_flags(call, &[])?;
    running(call)?;
    Ok(job(call, "qmpause", Work::Suspend, skip_lock))
}

pub(super) fn resume_call(call: &mut Call) -> Result<Reply, Failure> {
    let skip_lock = root_flags(call, &[])?;
    // What sleeps on a disk is woken by a start.
    if call.world.pve.vm_on(call.node(), call.vmid()).is_some_and(super::vm::Vm::is_suspended) {
        return Ok(job(call, "qmresume", Work::Start, skip_lock));
    }
    running(call)?;
    Ok(job(call, "qmresume", Work::Resume, skip_lock))
}

pub(super) fn pause(world: &mut World, vmid: u32, paused: bool, skip_lock: bool) -> Result<(), String> {
    let vm = world.pve.vms.get_mut(&vmid).ok_or_else(|| format!("VM {vmid} not running"))?;
    // What runs already need not be resumed, and a backup minds neither.
    let minds = !skip_lock && vm.config.get("lock").is_some_and(|lock| lock != "backup");
    if minds && (paused || vm.paused) {
        vm.check_lock()?;
    }
    vm.paused = paused;
    Ok(())
}

pub(super) fn reset(world: &mut World, vmid: u32, skip_lock: bool) -> Result<(), String> {
    if !skip_lock && let Some(vm) = world.pve.vms.get(&vmid) {
        vm.check_lock()?;
    }
    hypervisor::reset(world, vmid);
    Ok(())
}

/// A stop never asks the guest. Stopping a stopped VM is well.
pub(super) fn stop(world: &mut World, node: &str, vmid: u32, skip_lock: bool) -> Result<(), String> {
    let vm = world.pve.vm_on(node, vmid).ok_or_else(|| not_found(node, vmid))?;
    if hypervisor::is_running(world, vmid) {
        if !skip_lock {
            vm.check_lock()?;
        }
        hypervisor::power_off(world, vmid);
    }
    after_stop(world, vmid);
    Ok(())
}

fn after_stop(world: &mut World, vmid: u32) {
    if let Some(vm) = world.pve.vms.get_mut(&vmid) {
        vm.paused = false;
        vm.started = None;
    }
    let node = world.pve.vms.get(&vmid).map(|vm| vm.node.clone()).unwrap_or_default();
    drop(super::plug::cold(world, &node, vmid, None));
}

/// `overrule-shutdown`: aborts the shutdown tasks of this VM that the caller may abort.
pub(super) async fn overrule(shared: &Shared, order: &Order, job: &Job) {
    let mut aborted = Vec::new();
    {
        let world = shared.lock();
        let open = world.pve.tasks.all.iter().filter(|task| {
            task.end.is_none() && task.kind == "qmshutdown" && task.id == job.id && task.node == job.node
        });
        for task in open {
            task.abort.notify_one();
            aborted.push(task.upid.clone());
        }
    }
    if aborted.is_empty() {
        return;
    }
    let ended = || {
        let world = shared.lock();
        aborted.iter().all(|upid| world.pve.tasks.get(upid).is_none_or(|task| task.end.is_some()))
    };
    work::until(shared, INTERRUPTED, ended).await;
    shared.lock().pve.tasks.log(&order.upid, format!("overruled qmshutdown tasks: {}", aborted.join(", ")));
}

/// Asks the guest and waits until it is off.
pub(super) async fn shutdown(
    shared: &Shared,
    order: &Order,
    job: &Job,
    shutdown: &Shutdown,
    clock: Clock,
) -> Result<(), String> {
    let vmid = job.vmid.unwrap_or(0);
    {
        let mut world = shared.lock();
        if world.pve.vm_on(&job.node, vmid).is_none() {
            return Err(not_found(&job.node, vmid));
        }
        if !hypervisor::is_running(&world, vmid) {
            after_stop(&mut world, vmid);
            return Ok(());
        }
        if !job.skip_lock
            && let Some(vm) = world.pve.vms.get(&vmid)
        {
            vm.check_lock()?;
        }
        if shutdown.agent && hypervisor::agent(&world, vmid, "ping").is_none() {
            let channel = if world.pve.release.nine() { "qga" } else { "qmp" };
            let why = format!("VM {vmid} {channel} command 'guest-ping' failed - got timeout");
            world.pve.tasks.log(&order.upid, format!("QEMU Guest Agent is not running - {why}"));
        }
        hypervisor::press_power_button(&mut world, vmid);
    }
    shared.wake();
    incident::on_waiting(shared, &order.upid);
    let off = || !hypervisor::is_running(&shared.lock(), vmid);
    let limit = match clock {
        Clock::Instant => GRACE,
        Clock::Realistic { .. } => clock.span(Duration::from_secs(shutdown.timeout)),
    };
    // Who has no time is not looked at.
    let ended = shutdown.timeout > 0 && work::until(shared, limit, off).await;
    let mut world = shared.lock();
    if !ended {
        if !shutdown.force {
            return Err("VM quit/powerdown failed - got timeout".into());
        }
        world.pve.tasks.log(&order.upid, "VM still running - terminating now with SIGTERM");
        hypervisor::power_off(&mut world, vmid);
    }
    after_stop(&mut world, vmid);
    Ok(())
}
