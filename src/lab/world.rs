//! The one state of the simulated site, and the lock around it.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::factory;
use super::faults::Faults;
use super::fleet::Fleet;
use super::pve;
use super::site::Site;

/// Everything that is true on the site. Changed only under [`Shared::lock`], never across an await.
pub struct World {
    pub site: Site,
    pub pve: pve::State,
    pub fleet: Fleet,
    pub factory: factory::State,
    pub faults: Faults,
}

/// The world as the faces hold it.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    world: Mutex<World>,
    changed: Notify,
}

impl Shared {
    pub fn new(site: Site) -> Self {
        let world = World {
            pve: pve::State::new(&site),
            fleet: Fleet::new(&site),
            factory: factory::State::new(&site),
            faults: Faults::default(),
            site,
        };
        Self(Arc::new(Inner { world: Mutex::new(world), changed: Notify::new() }))
    }

    /// The world, for a moment. Whoever changed something that others may wait for calls [`Shared::wake`] afterwards.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells the driver (and anybody in [`Shared::changed`]) to look again.
    pub fn wake(&self) {
        self.0.changed.notify_waiters();
    }

    /// Completes at the next [`Shared::wake`].
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
