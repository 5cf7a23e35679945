//! What happens on a site without its clients' doing.
//!
//! Somebody else's process holds a lock file, or a worker is killed: a client
//! sees only the wait and the error, and has to get along with both.

use std::time::Duration;

use super::work;
use crate::lab::world::Shared;

/// Whoever holds a lock file that is no task of ours.
const STRANGER: &str = "another process";

/// What is going to happen. Times are the site's.
#[derive(Debug, Default)]
pub struct Incidents {
    /// Another process takes the lock file of every VM as soon as its creation has ended, for this long.
    pub hold_new_vms: Option<Duration>,
    /// Another process holds the lock of the storage on which the first image is wanted.
    pub hold_storages: Option<Duration>,
    /// A worker that waits for a guest is killed.
    pub kill_waiting: bool,
}

/// How long a storage's lock is waited for (pve-storage: src/PVE/Storage/Plugin.pm, `cluster_lock_storage`).
const STORAGE_LOCK: Duration = Duration::from_secs(10);

/// A creation has ended: its lock file may go to another process at once.
pub(super) fn after_creation(shared: &Shared, vmid: u32) {
    let held = {
        let mut world = shared.lock();
        let clock = world.site.clock;
        let held = world.pve.incidents.hold_new_vms.map(|held| clock.span(held));
        if let Some(vm) = world.pve.vms.get_mut(&vmid).filter(|_| held.is_some()) {
            vm.holder = Some(STRANGER.to_owned());
        }
        held
    };
    let Some(held) = held else { return };
    later(shared.clone(), held, move |shared| {
        if let Some(vm) = shared.lock().pve.vms.get_mut(&vmid).filter(|vm| vm.holder.as_deref() == Some(STRANGER)) {
            vm.holder = None;
        }
    });
}

/// Waits for the locks of `storages`; the error is the whole cause.
pub(super) async fn storage_locks(shared: &Shared, upid: &str, storages: &[String]) -> Result<(), String> {
    let (clock, held) = {
        let mut world = shared.lock();
        let clock = world.site.clock;
        let held = world.pve.incidents.hold_storages.take().filter(|_| !storages.is_empty());
        if held.is_some() {
            world.pve.locked_storages.extend(storages.iter().take(1).cloned());
        }
        (clock, held)
    };
    if let Some(held) = held {
        let name = storages[0].clone();
        later(shared.clone(), clock.span(held), move |shared| {
            shared.lock().pve.locked_storages.remove(&name);
        });
    }
    let blocked = || {
        let world = shared.lock();
        storages.iter().find(|storage| world.pve.locked_storages.contains(*storage)).cloned()
    };
    if blocked().is_none() {
        return Ok(());
    }
    shared.lock().pve.tasks.log(upid, "trying to acquire lock...");
    if work::until(shared, clock.span(STORAGE_LOCK), || blocked().is_none()).await {
        shared.lock().pve.tasks.log(upid, " OK");
        return Ok(());
    }
    let storage = blocked().unwrap_or_default();
    let shared = shared.lock().site.storages.get(&storage).is_some_and(|known| known.shared);
    Err(lock_timeout(&storage, shared))
}

/// A local storage has a lock file, a shared one a lock of the cluster.
pub(super) fn lock_timeout(storage: &str, shared: bool) -> String {
    if shared {
        format!("cfs-lock 'storage-{storage}' error: got lock request timeout")
    } else {
        format!("can't lock file '/var/lock/pve-manager/pve-storage-{storage}' - got timeout")
    }
}

/// Kills the worker `upid` if that is to happen.
pub(super) fn on_waiting(shared: &Shared, upid: &str) {
    let mut world = shared.lock();
    if std::mem::take(&mut world.pve.incidents.kill_waiting) {
        let release = world.pve.release;
        world.pve.tasks.kill(upid, release, super::now());
    }
}

/// Does something when `span` has passed here.
pub(super) fn later(shared: Shared, span: Duration, act: impl FnOnce(&Shared) + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "it happens beside whatever the site's clients do")]
    drop(tokio::spawn(async move {
        work::pause(span).await;
        act(&shared);
        shared.wake();
    }));
}
