//! Workers: what a task does, when, and how it ends.
//!
//! A worker waits for the VM's lock file, takes its time on the lab's clock,
//! acts under the world's lock in one go, and writes how it ended. On the
//! instant clock the call that started it waits for it, so its answer is
//! already the past.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::auth::Identity;
use super::create::Creation;
use super::hypervisor::Hypervisor;
use super::power::{Shutdown, Stop};
use super::snapshots::{self, Deed};
use super::{
    clone, config, console, content, create, destroy, download, file, ha, hypervisor, incident, migrate, migration,
    power, relocate, resize, start, template,
};
use crate::lab::clock::{Clock, physics};
use crate::lab::world::{Shared, World};

/// A worker to be started.
pub(super) struct Job {
    pub work: Work,
    /// The task's type.
    pub kind: &'static str,
    /// What it is about, unescaped.
    pub id: String,
    pub node: String,
    /// The VM whose lock file it holds.
    pub vmid: Option<u32>,
    /// The answer is null if it ends within this many seconds.
    pub patience: Option<u64>,
    /// Root does not mind the VM's `lock`.
    pub skip_lock: bool,
    /// The answer when it is not the UPID alone.
    pub answer: Option<Answer>,
}

/// Makes a call's answer from the UPID.
pub(super) type Answer = Box<dyn FnOnce(&str) -> serde_json::Value + Send + Sync>;

/// What it does.
pub(super) enum Work {
    Create(Creation),
    Start,
    Stop(Stop),
    Shutdown(Shutdown),
    Reset,
    Reboot(Shutdown),
    Suspend,
    Resume,
    Destroy {
        purge: bool,
        unreferenced: bool,
    },
    Resize {
        disk: String,
        size: String,
        digest: Option<String>,
    },
    Configure(super::change::Change),
    DeleteVolume {
        volid: String,
    },
    Upload(file::Upload),
    Download(download::Request),
    Template {
        /// This disk alone.
        disk: Option<String>,
    },
    Clone(clone::Clone),
    Migrate(migrate::Move),
    Move(relocate::Move),
    Give(relocate::Gift),
    Snapshot {
        deed: Deed,
        name: String,
        description: Option<String>,
        /// The VM runs afterwards.
        start: bool,
    },
    /// A start or stop that the manager of high availability is asked for.
    Request {
        vmid: u32,
        start: bool,
    },
    /// A terminal that waits for a connection.
    Console {
        port: u16,
    },
}

/// Who runs it and what it must say in the end.
pub(super) struct Order {
    pub upid: String,
    pub who: Identity,
    /// The task ends in this error after it did its work.
    pub spoiled: Option<String>,
}

/// Everything a worker is allowed to know.
pub(super) struct Worker<'a> {
    pub shared: &'a Shared,
    pub order: &'a Order,
    pub job: &'a Job,
    pub now: i64,
}

/// Runs the worker to its end.
pub(super) async fn run(shared: Shared, order: Order, mut job: Job) {
    let abort = shared
        .lock()
        .pve
        .tasks
        .get(&order.upid)
        .map_or_else(|| Arc::new(Notify::new()), |task| Arc::clone(&task.abort));
    let result = tokio::select! {
        result = labour(&shared, &order, &mut job) => result,
        () = abort.notified() => Err("received interrupt".to_owned()),
    };
    let result = match (&order.spoiled, result) {
        (Some(text), Ok(())) => Err(text.clone()),
        (_, result) => result,
    };
    let made = job.vmid.filter(|_| matches!(job.work, Work::Create(_)) && result.is_ok());
    {
        let mut world = shared.lock();
        release(&mut world, &order.upid);
        world.pve.tasks.finish(&order.upid, result, super::now());
    }
    if let Some(vmid) = made {
        incident::after_creation(&shared, vmid);
    }
    ha::attend(&shared);
    shared.wake();
}

async fn labour(shared: &Shared, order: &Order, job: &mut Job) -> Result<(), String> {
    let clock = shared.lock().site.clock;
    if let Work::Stop(stop) = &job.work
        && stop.overrule
    {
        power::overrule(shared, order, job).await;
    }
    if let (Some(vmid), false) = (job.vmid, matches!(job.work, Work::Create(_) | Work::Console { .. })) {
        acquire(shared, order, vmid, clock).await?;
    }
    let scripted = matches!(shared.lock().pve.hypervisor, Hypervisor::Scripted(_));
    let time = match &job.work {
        // Nothing boots behind a recording's hypervisor, and its disks are empty files.
        Work::Create(_) if scripted => Duration::from_millis(700),
        Work::Stop(_) if scripted => Duration::from_millis(1100),
        Work::Start | Work::Destroy { .. } if scripted => Duration::from_millis(300),
        Work::Create(_) => physics::VM_CREATE,
        Work::Start => physics::VM_START,
        Work::Stop(_) => physics::VM_STOP,
        Work::Destroy { .. } => physics::VM_DESTROY,
        _ => Duration::ZERO,
    };
    pause(clock.span(time)).await;
    if let Work::Create(creation) = &job.work {
        let vmid = job.vmid.unwrap_or(0);
        let locked = incident::storage_locks(shared, &order.upid, &creation.storages(shared)).await;
        if let Err(text) = locked {
            shared.lock().pve.vms.remove(&vmid);
            return Err(format!("unable to create VM {vmid} - {text}"));
        }
    }
    if let Work::Console { port } = &job.work {
        return console::work(shared, &order.upid, job.vmid.unwrap_or(0), *port, clock).await;
    }
    if let Work::Download(request) = &job.work {
        return download::work(shared, order, request, clock).await;
    }
    if let Work::Shutdown(shutdown) | Work::Reboot(shutdown) = &job.work {
        power::shutdown(shared, order, job, shutdown, clock).await?;
        if matches!(job.work, Work::Reboot(_)) {
            let mut world = shared.lock();
            return start::work(&mut world, &order.upid, &job.node, job.vmid.unwrap_or(0), false);
        }
        return Ok(());
    }
    let mut world = shared.lock();
    act(&mut world, &Worker { shared, order, job, now: super::now() })
}

/// Everything that happens in one moment.
fn act(world: &mut World, worker: &Worker) -> Result<(), String> {
    let (upid, node) = (&worker.order.upid, worker.job.node.as_str());
    let vmid = worker.job.vmid.unwrap_or(0);
    match &worker.job.work {
        Work::Create(creation) => create::work(world, worker, creation),
        Work::Start => start::work(world, upid, node, vmid, worker.job.skip_lock),
        Work::Stop(_) => power::stop(world, node, vmid, worker.job.skip_lock),
        Work::Reset => power::reset(world, vmid, worker.job.skip_lock),
        Work::Suspend => power::pause(world, vmid, true, worker.job.skip_lock),
        Work::Resume => power::pause(world, vmid, false, worker.job.skip_lock),
        Work::Destroy { purge, unreferenced } => destroy::work(world, worker, vmid, *purge, *unreferenced),
        Work::Resize { disk, size, digest } => resize::work(world, worker, vmid, disk, size, digest.as_deref()),
        Work::Configure(change) => config::work(world, worker, vmid, change),
        Work::DeleteVolume { volid } => content::delete_work(world, upid, node, volid),
        Work::Upload(upload) => file::upload_work(world, upid, node, upload, worker.now),
        Work::Template { disk } => {
            template::work(world, node, vmid, disk.as_deref());
            Ok(())
        }
        Work::Clone(clone) => clone::work(world, worker, vmid, clone),
        Work::Migrate(order) => migration::work(world, worker, vmid, order),
        Work::Move(order) => relocate::work(world, worker, vmid, order),
        Work::Give(gift) => relocate::give(world, worker, vmid, gift),
        Work::Snapshot { deed, name, description, start } => {
            snapshots::work(world, worker, vmid, *deed, name, description.as_deref())?;
            if *start && !hypervisor::is_running(world, vmid) {
                create::start_beside(world, worker, vmid);
            }
            Ok(())
        }
        Work::Request { vmid, start } => {
            ha::write_down(world, upid, *vmid, *start);
            Ok(())
        }
        Work::Console { .. } | Work::Download(_) | Work::Shutdown(_) | Work::Reboot(_) => Ok(()),
    }
}

/// Whether the call that starts it waits for it on the instant clock. A guest that shuts down takes its own time.
pub(super) fn is_prompt(work: &Work) -> bool {
    !matches!(work, Work::Shutdown(_) | Work::Reboot(_) | Work::Console { .. })
}

/// Takes the VM's lock file, as `lock_config` does: 10 s, then it gives up.
pub(super) async fn acquire(shared: &Shared, order: &Order, vmid: u32, clock: Clock) -> Result<(), String> {
    let path = format!("/var/lock/qemu-server/lock-{vmid}.conf");
    let free = || {
        let mut world = shared.lock();
        let Some(vm) = world.pve.vms.get_mut(&vmid) else { return true };
        if vm.holder.as_ref().is_some_and(|holder| *holder != order.upid) {
            return false;
        }
        vm.holder = Some(order.upid.clone());
        true
    };
    if free() {
        return Ok(());
    }
    shared.lock().pve.tasks.log(&order.upid, "trying to acquire lock...");
    let waited = until(shared, clock.span(Duration::from_secs(10)), free).await;
    if !waited {
        return Err(format!("can't lock file '{path}' - got timeout"));
    }
    shared.lock().pve.tasks.log(&order.upid, " OK");
    Ok(())
}

/// Gives back whatever lock the task holds.
fn release(world: &mut World, upid: &str) {
    for vm in world.pve.vms.values_mut().filter(|vm| vm.holder.as_deref() == Some(upid)) {
        vm.holder = None;
    }
}

/// Waits until `done` says so, looking at every change of the world and every 50 ms; false after `limit`.
pub(super) async fn until(shared: &Shared, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = tokio::time::Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return false;
        }
        drop(tokio::time::timeout(left.min(Duration::from_millis(50)), shared.changed()).await);
    }
}

/// Lets time pass on the lab's clock.
pub(super) async fn pause(span: Duration) {
    if !span.is_zero() {
        #[expect(clippy::disallowed_methods, reason = "the lab's clock is made of sleeping")]
        tokio::time::sleep(span).await;
    }
}

/// Starts the worker beside its caller.
pub(super) fn spawn(shared: Shared, order: Order, job: Job) -> tokio::task::JoinHandle<()> {
    #[expect(clippy::disallowed_methods, reason = "a worker outlives the call that started it")]
    tokio::spawn(run(shared, order, job))
}

impl Job {
    /// A worker for a VM.
    pub(super) fn vm(kind: &'static str, node: &str, vmid: u32, work: Work) -> Box<Self> {
        let mut job = Self::plain(kind, node, vmid.to_string(), work);
        job.vmid = Some(vmid);
        job
    }

    /// A worker that holds no VM's lock.
    pub(super) fn plain(kind: &'static str, node: &str, id: String, work: Work) -> Box<Self> {
        Box::new(Self {
            work,
            kind,
            id,
            node: node.to_owned(),
            vmid: None,
            patience: None,
            skip_lock: false,
            answer: None,
        })
    }
}
