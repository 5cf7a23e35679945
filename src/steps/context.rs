//! What a step is given.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore};

use super::error::StepError;
use super::mark::Mark;
use crate::discovery::Finder;
use crate::event::{StepId, Tick};
use crate::factory::Factory;
use crate::inventory::{Fact, Inventory};
use crate::machineconfig::{self, Bundle, Contract, Patch};
use crate::pve::{Pve, TaskEnd};
use crate::reach::Reach;
use crate::secrets::Provider;
use crate::talos::Credentials;

/// How long each kind of waiting may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// A Proxmox task.
    pub task: Duration,
    /// The factory's build and the fetching of the boot image.
    pub image: Duration,
    /// The factory's build of the installer.
    pub installer: Duration,
    /// From power-on until the machine is found in maintenance mode.
    pub maintenance: Duration,
    /// From the configuration until the machine answers from its own disk.
    pub install: Duration,
    /// Until the bootstrap call is taken.
    pub bootstrap: Duration,
    /// Each health gate.
    pub health: Duration,
}

/// Everything that a run works with. It holds secrets and connections, so it is never written anywhere.
pub struct Toolbox {
    pub pve: Pve,
    pub factory: Factory,
    pub finder: Finder,
    pub reach: Reach,
    pub turns: Turns,
    /// Where the secrets bundle is kept.
    pub vault: Vault,
    pub mark: Mark,
    pub deadlines: Deadlines,
    /// The user's patches for each machine, in the order in which they apply.
    pub patches: BTreeMap<String, Vec<Patch>>,
    /// The user's files; `None` leaves that kind alone.
    pub kubeconfig: Option<PathBuf>,
    pub talosconfig: Option<PathBuf>,
}

/// Turns at allocating disks, by node.
///
/// Allocation takes the storage's lock for as long as it lasts, and whoever waits for it longer than ten seconds fails
/// (pve-storage: src/PVE/Storage.pm, cluster_lock_storage): two at a time keep the storage busy and nobody waiting.
#[derive(Default)]
pub struct Turns(std::sync::Mutex<BTreeMap<String, Arc<Semaphore>>>);

impl Turns {
    /// Waits for a turn on `node`; it ends when the guard is dropped.
    pub async fn on(&self, node: &str) -> OwnedSemaphorePermit {
        let turns = {
            let mut nodes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            nodes.entry(node.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(2))).clone()
        };
        turns.acquire_owned().await.expect("nobody closes it")
    }
}

/// The secrets bundle: read once a run, then kept in memory.
pub struct Vault {
    pub provider: Provider,
    bundle: OnceCell<Bundle>,
    fresh: Mutex<Option<Bundle>>,
    credentials: OnceCell<Credentials>,
}

impl Vault {
    pub fn new(provider: Provider) -> Self {
        Self { provider, bundle: OnceCell::new(), fresh: Mutex::default(), credentials: OnceCell::new() }
    }

    /// The same with a bundle that was made before and is kept nowhere yet: [`Self::take_fresh`] hands it out.
    #[must_use]
    pub fn with_fresh(self, bundle: Bundle) -> Self {
        Self { fresh: Mutex::new(Some(bundle)), ..self }
    }

    /// The bundle as it is kept.
    pub async fn bundle(&self) -> Result<&Bundle, StepError> {
        self.bundle
            .get_or_try_init(|| async {
                let text = self.provider.read().await.map_err(|e| StepError::clean("read the secrets bundle", e))?;
                Bundle::parse(text.expose()).map_err(|e| {
                    StepError::clean(format!("read the secrets bundle in {}", self.provider.reference()), e)
                })
            })
            .await
    }

    /// Makes a bundle that is kept nowhere yet, beside other work: the RSA key takes up to seconds. The plan is checked
    /// with it, and [`Self::take_fresh`] hands the same one to the step that keeps it.
    pub async fn prepare(&self, contract: &Contract) -> Result<(), StepError> {
        let mut fresh = self.fresh.lock().await;
        if fresh.is_none() {
            *fresh = Some(make(contract).await?);
        }
        Ok(())
    }

    /// The prepared bundle, or a new one.
    pub async fn take_fresh(&self, contract: &Contract) -> Result<Bundle, StepError> {
        match self.fresh.lock().await.take() {
            Some(bundle) => Ok(bundle),
            None => make(contract).await,
        }
    }

    /// What configurations are tried out with before there is a cluster: the bundle that is kept, else the prepared one.
    pub async fn with_any<T>(&self, contract: &Contract, work: impl FnOnce(&Bundle) -> T) -> Result<T, StepError> {
        let attempted = || format!("look for the secrets bundle in {}", self.provider.reference());
        if self.provider.exists().await.map_err(|e| StepError::clean(attempted(), e))? {
            return Ok(work(self.bundle().await?));
        }
        self.prepare(contract).await?;
        let fresh = self.fresh.lock().await;
        Ok(work(fresh.as_ref().expect("it was just prepared, and the run takes it only later")))
    }

    /// Remembers a bundle that was just written, so that it is not read back for every use.
    pub fn remember(&self, bundle: Bundle) {
        // A second write in one run cannot happen: an existing bundle is never rewritten.
        self.bundle.set(bundle).ok();
    }

    /// An administrator's certificate for the Talos API, made for this run.
    pub async fn credentials(&self, cluster: &str) -> Result<&Credentials, StepError> {
        let bundle = self.bundle().await?;
        self.credentials
            .get_or_try_init(|| async {
                let admin = machineconfig::talosconfig::admin(bundle, cluster, Vec::new(), Vec::new())
                    .map_err(|e| StepError::clean("make a client certificate for the Talos API", e))?;
                Ok(Credentials { ca_pem: admin.ca_pem, crt_pem: admin.crt_pem, key_pem: admin.key_pem })
            })
            .await
    }
}

async fn make(contract: &Contract) -> Result<Bundle, StepError> {
    let contract = *contract;
    tokio::task::spawn_blocking(move || Bundle::generate(&contract))
        .await
        .expect("key generation does not panic")
        .map_err(|e| StepError::clean("make the secrets bundle", e))
}

/// What one step sees: the tools, the inventory as it was when the step began, and two ways to speak.
pub struct Context<'a> {
    pub tools: &'a Toolbox,
    pub inventory: &'a Inventory,
    pub step: StepId,
    /// Hears progress; can neither fail nor slow the work.
    pub tick: &'a dyn Fn(Tick),
    /// Makes a fact durable before it returns.
    pub durable: &'a dyn Fn(Fact) -> Result<(), StepError>,
}

impl Context<'_> {
    /// Makes `fact` durable now: for what must be known even if the reply to the next request is lost.
    ///
    /// Yields once, so that an interrupt takes effect between the record and the action that follows it.
    pub async fn note(&self, fact: Fact) -> Result<(), StepError> {
        (self.durable)(fact)?;
        tokio::task::yield_now().await;
        Ok(())
    }

    /// A listener for [`crate::wait::until`] that shows each reason.
    pub fn waiting(&self, what: &str) -> impl FnMut(&str) + use<'_> {
        let what = what.to_owned();
        move |reason| {
            (self.tick)(Tick::Waiting { step: self.step.clone(), what: what.clone(), reason: reason.to_owned() });
        }
    }

    /// Shows a task's warnings: it did its work all the same.
    pub fn warn_of(&self, what: &str, end: &TaskEnd) {
        if end.warnings > 0 {
            self.warn(format!("{what}: {}", end.log.join("; ")));
        }
    }

    /// Tells the user something that stops nothing.
    pub fn warn(&self, text: impl Into<String>) {
        (self.tick)(Tick::Warning { step: Some(self.step.clone()), text: text.into() });
    }
}
