//! The one state of the simulated site, and the lock around it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use super::factory;
use super::faults::{Call, Effect, Face, Faults};
use super::fleet::{Fleet, summary::MachineSummary};
use super::pve;
use super::site::Site;
use super::watched::Watched;

/// Everything that is true on the site. Changed only under [`Shared::lock`], never across an await.
pub struct World {
    pub site: Site,
    pub pve: pve::State,
    pub fleet: Watched<Fleet>,
    pub factory: factory::State,
    pub faults: Faults,
    /// Somebody else on the site, who acts just before each call does.
    pub rival: Option<Rival>,
    began: Instant,
    /// When the fleet next does something by itself; nothing moves before, unless somebody changes it.
    due: Option<Duration>,
    /// How often the fleet was looked through: what was read from it before is old.
    looks: u64,
}

/// What somebody else does to the world before a call.
pub type Rival = Box<dyn FnMut(&mut World, &Call) + Send>;

/// The world, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub guests: Vec<Guest>,
    /// Volume ids by node; a shared storage's volumes have none.
    pub volumes: Vec<Volume>,
    pub machines: Vec<MachineSummary>,
    /// UPIDs of the tasks that run.
    pub tasks: Vec<String>,
    /// Calls that the faces have answered.
    pub calls: BTreeMap<String, usize>,
}

/// A VM.
#[derive(Clone, Debug, Serialize)]
pub struct Guest {
    pub vmid: u32,
    pub name: String,
    pub node: String,
    pub running: bool,
    pub tags: String,
}

/// A volume.
#[derive(Clone, Debug, Serialize)]
pub struct Volume {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub volid: String,
    pub bytes: u64,
}

impl World {
    /// How long the lab has been running: the fleet's and the factory's time.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A face was called: lets the rival act first, logs the call, and says what the script wants done with it.
    pub fn observe(&mut self, face: Face, name: &str, subject: &str) -> Option<Effect> {
        let call = self.faults.call(face, name, subject);
        if let Some(mut rival) = self.rival.take() {
            rival(self, &call);
            self.rival = Some(rival);
        }
        self.faults.observe(call)
    }

    /// Lets time pass up to now. Answers whether any machine moved.
    pub fn advance(&mut self) -> bool {
        let now = self.now();
        if !self.fleet.is_touched() && self.due.is_none_or(|due| now < due) {
            return false;
        }
        let advance = self.fleet.advance(now, &mut self.factory);
        self.due = if advance.settled { self.fleet.next_due() } else { Some(now) };
        self.fleet.settle();
        self.looks += 1;
        advance.moved
    }

    /// When time has to be let pass again, if nobody changes anything, as a span from now.
    pub fn due(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(self.now()))
    }

    /// Grows whenever the fleet may be other than it was.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    pub fn summary(&self) -> Summary {
        let option = |vm: &pve::Vm, name: &str| vm.config.get(name).cloned().unwrap_or_default();
        let guest = |(vmid, vm): (&u32, &pve::Vm)| Guest {
            vmid: *vmid,
            name: option(vm, "name"),
            node: vm.node.clone(),
            running: self.fleet.is_powered(*vmid),
            tags: option(vm, "tags"),
        };
        let volume = |(place, volume): (&pve::Place, &pve::Volume)| Volume {
            node: place.node.clone(),
            volid: format!("{}:{}", place.storage, place.name),
            bytes: volume.bytes,
        };
        let running = self.pve.tasks.all.iter().filter(|task| task.end.is_none());
        Summary {
            guests: self.pve.vms.iter().map(guest).collect(),
            volumes: self.pve.volumes.iter().map(volume).collect(),
            machines: self.fleet.summary(),
            tasks: running.map(|task| task.upid.clone()).collect(),
            calls: self.faults.counts(),
        }
    }
}

/// The world as the faces hold it.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    world: Mutex<World>,
    /// Counts the wakes. A receiver that subscribed before it looked cannot miss one.
    changes: watch::Sender<u64>,
}

impl Shared {
    pub fn new(site: Site) -> Self {
        let world = World {
            pve: pve::State::new(&site),
            fleet: Watched::new(Fleet::new(&site)),
            factory: factory::State::new(&site),
            faults: Faults::default(),
            rival: None,
            site,
            began: Instant::now(),
            due: None,
            looks: 0,
        };
        Self(Arc::new(Inner { world: Mutex::new(world), changes: watch::Sender::new(0) }))
    }

    /// The world, for a moment. Whoever changed something that others may wait for calls [`Shared::wake`] afterwards.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells the driver (and anybody in [`Shared::changed`]) to look again.
    pub fn wake(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Hears every wake from now on. Subscribe, then look, then wait: a change between the last two is not lost.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Completes at the next [`Shared::wake`]. For a loop, [`Shared::subscribe`].
    pub async fn changed(&self) {
        // The sender lives as long as `self`.
        drop(self.subscribe().changed().await);
    }
}
