//! The search, shared by all lanes of a run.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use ipnet::Ipv4Net;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::evidence::{Showed, Sighting};
use super::knock::{Heard, knock};
use super::{DiscoveryError, Method, static_address, sweep};
use crate::inventory::Mac;
use crate::reach::Reach;
use crate::talos::{Credentials, Identity};
use crate::wait::{Pace, Probe, WaitError, until};

/// Younger than this, a snapshot serves every lane that asks and has not seen it yet.
const FRESH: Duration = Duration::from_secs(1);

/// How many machines are asked at a time who they are.
const ASKED_AT_ONCE: usize = 32;

/// How many strangers a reason names.
const NAMED: usize = 3;

/// Who is looked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name, for messages.
    pub machine: String,
    pub uuid: Uuid,
    /// As Proxmox has them, `net0` first.
    pub macs: Vec<Mac>,
    /// Where it probably is: its static address, or where it was last. Looked at first.
    pub hint: Option<IpAddr>,
}

/// A machine that proved to be the one.
#[derive(Clone, Debug)]
pub struct Found {
    pub ip: IpAddr,
    pub identity: Identity,
}

/// One sweep and what all that answered said.
struct Snapshot {
    /// Counts up from 1.
    number: u64,
    taken: Instant,
    sightings: Vec<Sighting>,
}

/// Looks for machines on one network. Shared by reference; its calls may run side by side.
pub struct Finder {
    reach: Reach,
    network: Ipv4Net,
    method: Method,
    /// Of the maintenance API, and of our own cluster: a machine shows itself on one or the other.
    maintenance: Mutex<Option<Arc<Snapshot>>>,
    secured: Mutex<Option<Arc<Snapshot>>>,
}

impl Finder {
    pub fn new(reach: Reach, network: Ipv4Net, method: Method) -> Self {
        Self { reach, network, method, maintenance: Mutex::default(), secured: Mutex::default() }
    }

    /// How many snapshots were taken of the maintenance API.
    #[cfg(test)]
    pub(super) async fn snapshots(&self) -> u64 {
        self.maintenance.lock().await.as_ref().map_or(0, |snapshot| snapshot.number)
    }

    /// Waits until `wanted` is proven to answer in maintenance mode, for at most `deadline`.
    pub async fn find(
        &self,
        wanted: &Wanted,
        deadline: Duration,
        waiting: impl FnMut(&str),
    ) -> Result<Found, DiscoveryError> {
        self.search(wanted, None, deadline, waiting).await
    }

    /// The same for a machine that has its configuration: it must also prove to be of our cluster.
    ///
    /// After a reboot a machine is found again by who it is, never by where it was: leases move.
    pub async fn find_secured(
        &self,
        wanted: &Wanted,
        credentials: &Credentials,
        deadline: Duration,
        waiting: impl FnMut(&str),
    ) -> Result<Found, DiscoveryError> {
        self.search(wanted, Some(credentials), deadline, waiting).await
    }

    /// One sweep, and everything that answered with what it showed: first in maintenance mode; what is configured is
    /// then asked as a machine of the cluster of `credentials`, if there are any.
    pub async fn look_around(&self, credentials: Option<&Credentials>) -> Result<Vec<Sighting>, DiscoveryError> {
        let mut sightings = self.ask_everywhere(None).await?;
        if credentials.is_some() {
            for sighting in sightings.iter_mut().filter(|sighting| matches!(sighting.showed, Showed::Configured)) {
                *sighting = Sighting::of(&self.reach, sighting.ip, credentials).await;
            }
        }
        Ok(sightings)
    }

    async fn search(
        &self,
        wanted: &Wanted,
        credentials: Option<&Credentials>,
        deadline: Duration,
        waiting: impl FnMut(&str),
    ) -> Result<Found, DiscoveryError> {
        if wanted.macs.is_empty() {
            return Err(DiscoveryError::NoMac { machine: wanted.machine.clone() });
        }
        if self.method == Method::Static {
            static_address::address(wanted)?;
        }
        let what = format!("{} with UUID {} and its net0 MAC", wanted.machine, wanted.uuid);
        let last = AtomicU64::new(0);
        let found = until(&what, Pace::STEADY, deadline, waiting, || self.look(wanted, credentials, &last)).await;
        found.map_err(|error| match error {
            WaitError::Never(error) => error,
            timeout @ WaitError::TimedOut { .. } => {
                DiscoveryError::NotFound { machine: wanted.machine.clone(), source: timeout.to_string().into() }
            }
        })
    }

    /// One look. `last` is the number of the last snapshot that this search has seen.
    async fn look(
        &self,
        wanted: &Wanted,
        credentials: Option<&Credentials>,
        last: &AtomicU64,
    ) -> Probe<Found, DiscoveryError> {
        let mut seen = Vec::new();
        // A knock first: it gives up on a silent address far sooner than a dial does.
        if let Some(ip) = wanted.hint
            && matches!(knock(&self.reach, ip).await, Heard::Open)
        {
            let sighting = Sighting::of(&self.reach, ip, credentials).await;
            if let Some(found) = sighting.clone().found(wanted) {
                return Probe::Ready(found);
            }
            seen.push(sighting);
        }
        if self.method == Method::Sweep {
            let snapshot = match self.snapshot(credentials, last.load(Ordering::Relaxed)).await {
                Ok(snapshot) => snapshot,
                Err(error) => return Probe::NotYet(with_source(&error)),
            };
            last.store(snapshot.number, Ordering::Relaxed);
            if let Some(found) = snapshot.sightings.iter().find_map(|sighting| sighting.clone().found(wanted)) {
                return Probe::Ready(found);
            }
            let others = snapshot.sightings.iter().filter(|sighting| Some(sighting.ip) != wanted.hint);
            seen.extend(others.cloned());
        }
        Probe::NotYet(reason(wanted, seen))
    }

    /// The latest snapshot if it is fresh and newer than `last`, else a new one. The lock is held while looking: who
    /// comes meanwhile waits and is served by the same one.
    async fn snapshot(&self, credentials: Option<&Credentials>, last: u64) -> Result<Arc<Snapshot>, DiscoveryError> {
        let shared = if credentials.is_some() { &self.secured } else { &self.maintenance };
        let mut latest = shared.lock().await;
        let number = latest.as_ref().map_or(0, |snapshot| snapshot.number);
        if let Some(snapshot) = latest.as_ref().filter(|_| number > last)
            && snapshot.taken.elapsed() < FRESH
        {
            return Ok(snapshot.clone());
        }
        let sightings = self.ask_everywhere(credentials).await?;
        let snapshot = Arc::new(Snapshot { number: number + 1, taken: Instant::now(), sightings });
        *latest = Some(snapshot.clone());
        Ok(snapshot)
    }

    async fn ask_everywhere(&self, credentials: Option<&Credentials>) -> Result<Vec<Sighting>, DiscoveryError> {
        let open = sweep(&self.reach, self.network).await?;
        let asked = stream::iter(open).map(|ip| Sighting::of(&self.reach, ip, credentials)).buffered(ASKED_AT_ONCE);
        Ok(asked.collect().await)
    }
}

impl Sighting {
    fn found(self, wanted: &Wanted) -> Option<Found> {
        if !self.proves(wanted) {
            return None;
        }
        match self.showed {
            Showed::Identity(identity) => Some(Found { ip: self.ip, identity }),
            Showed::Configured | Showed::Nothing(_) => None,
        }
    }
}

/// Why it is not found yet. A machine that is half ours comes first, then the expected address, then the rest.
fn reason(wanted: &Wanted, mut seen: Vec<Sighting>) -> String {
    if seen.is_empty() {
        return match wanted.hint {
            Some(ip) => format!("nothing answers yet, not at {ip} either"),
            None => "nothing answers yet".into(),
        };
    }
    seen.sort_by_key(|sighting| (!sighting.resembles(wanted), Some(sighting.ip) != wanted.hint, sighting.ip));
    let total = seen.len();
    let mut named: Vec<String> = seen.iter().take(NAMED).map(ToString::to_string).collect();
    if total > NAMED {
        named.push(format!("and {} more", total - NAMED));
    }
    named.join("; ")
}

fn with_source(error: &DiscoveryError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
