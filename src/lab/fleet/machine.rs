//! One VM that has power, and the operating system that it runs.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::applied::Applied;
use super::cluster::EtcdId;
use super::history::Entry;
use super::lan::Address;
use super::minor::Minor;
use super::seed::Seed;
use super::services::Service;
use super::upgrade::Renewal;
use crate::inventory::Role;
use crate::lab::hardware::Hardware;
use crate::lab::image::Image;

/// A VM with power.
#[derive(Debug)]
pub struct Machine {
    pub hardware: Hardware,
    pub stage: Stage,
    /// What runs on it: nothing in the firmware, nothing when it is dead.
    pub system: Option<System>,
    /// What the serial console showed, oldest line first.
    pub console: Vec<String>,
    /// The addresses that the console last named.
    pub(super) said: Vec<String>,
    /// How many lines it showed in all.
    pub printed: u64,
    /// Keys that were enrolled without a variable store: gone when power goes.
    pub(super) volatile_keys: bool,
    pub(super) timer: Timer,
}

/// How far a machine has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has power and will do nothing more: why, as its console says.
    Dead(String),
    /// Kernel and user space are on their way.
    Starting,
    Maintenance,
    Installing(Job),
    /// The installer failed; the machine stays as it is.
    InstallFailed(String),
    Rebooting(Path),
    /// Another system is being put beside the one that runs.
    Upgrading(Renewal),
    /// Configured, but the boot sequence waits for something: etcd on a control plane, a certificate on a worker.
    Booting,
    Running,
    /// Shutting down; power goes off at the end.
    Stopping,
}

/// An installation under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub volid: String,
    /// The installer's reference.
    pub image: String,
    pub unattended: bool,
    pub reboot: bool,
    /// What the pull came to: what will be on the disk, or why not.
    pub(super) pulled: Option<Result<Image, String>>,
}

/// The way to the next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Straight into the kernel on this volume: the boot order does not count. Never under SecureBoot.
    Kexec(String),
    Firmware,
}

/// A booted Talos.
#[derive(Debug)]
pub struct System {
    pub image: Image,
    /// The volume that it booted from; `None` is the CD.
    pub disk: Option<String>,
    pub minor: &'static Minor,
    pub secure_boot: bool,
    pub uki: bool,
    /// Of this boot, unlike any other.
    pub boot: u64,
    pub boot_id: Uuid,
    /// When it booted, on the fleet's clock.
    pub began: Duration,
    /// Grows whenever configuration or addresses change: listeners and certificates are then made anew.
    pub revision: u64,
    pub seed: Option<Seed>,
    pub config: Option<Arc<Applied>>,
    /// `config` is only tried.
    pub(super) trial: Option<Trial>,
    /// The keys of META.
    pub meta: BTreeMap<u8, Vec<u8>>,
    /// What happened in this boot, oldest first, and how much that was.
    pub history: VecDeque<Entry>,
    pub(super) told: u64,
    /// How much of it the console has shown.
    pub(super) printed: u64,
    /// Every state that each service was in, with the time.
    pub services: BTreeMap<String, Vec<(Duration, Service)>>,
    /// What the kernel log of this boot holds.
    pub dmesg: Vec<String>,
    /// How to upload a configuration was printed: once in a boot.
    pub(super) usage_printed: bool,
    /// The images that were pulled by hand in this boot, and what each would install.
    pub pulled: BTreeMap<String, Option<Image>>,
    pub hostname: String,
    pub addresses: Vec<Address>,
    /// Shared addresses that it holds.
    pub vips: Vec<Ipv4Addr>,
    /// A worker's certificate was signed by some control plane.
    pub certified: bool,
    /// It left its etcd cluster, and joins none before its next boot.
    pub left_etcd: bool,
    pub etcd_up: bool,
    pub etcd_healthy: bool,
    pub kube_up: bool,
    /// The cluster whose Kubernetes it is a node of.
    pub joined: Option<EtcdId>,
    pub node_ready: bool,
    /// Where maintenance mode is the ordinary API, its old listener lingers a moment after the apply.
    pub(super) lingers: bool,
    pub(super) handover_timer: Timer,
    pub(super) etcd_timer: Timer,
    pub(super) kube_timer: Timer,
    pub(super) node_timer: Timer,
}

/// A configuration that will be taken back.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) until: Duration,
    pub(super) before: Option<Arc<Applied>>,
}

impl System {
    /// The kernel's command line. An ISO's carries one argument more (Talos: pkg/imager).
    pub fn cmdline(&self) -> String {
        let platform = format!("talos.platform={}", self.image.platform);
        let console: &[&str] =
            if self.image.platform == "nocloud" { &["console=tty1", "console=ttyS0", "net.ifnames=0"] } else { &[] };
        let halt = if self.disk.is_none() { Some("talos.halt_if_installed=1") } else { None };
        let fixed = [platform.as_str()].into_iter().chain(console.iter().copied());
        let own = self.image.kernel_args.iter().map(String::as_str);
        let all: Vec<&str> =
            fixed.chain(["init_on_alloc=1", "slab_nomerge=", "pti=on"]).chain(halt).chain(own).collect();
        all.join(" ")
    }
}

impl Machine {
    pub(super) fn new(hardware: Hardware) -> Self {
        Self {
            hardware,
            stage: Stage::Starting,
            system: None,
            console: Vec::new(),
            said: Vec::new(),
            printed: 0,
            volatile_keys: false,
            timer: Timer::default(),
        }
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.timer = Timer::default();
    }

    pub(super) fn die(&mut self, why: &str) {
        self.log(why);
        self.system = None;
        self.enter(Stage::Dead(why.to_owned()));
    }

    pub(super) fn log(&mut self, line: &str) {
        // A bound, because a reboot loop would otherwise fill the memory of a lab that runs for weeks.
        if self.console.len() >= 1000 {
            self.console.remove(0);
        }
        self.console.push(line.to_owned());
        self.printed += 1;
        if let Some(system) = &mut self.system {
            system.dmesg.push(line.to_owned());
        }
    }

    /// A line of the maintenance service's, with the fields that Talos's logger appends.
    pub(super) fn inform(&mut self, line: &str, fields: &[(&str, &str)]) {
        let unified = self.system.as_ref().is_some_and(|system| system.minor.unified_maintenance);
        let name = if unified { "MaintenanceServiceInformController" } else { "MaintenanceServiceController" };
        let controller = format!("runtime.{name}");
        let all = [("component", "controller-runtime"), ("controller", controller.as_str())];
        let text: Vec<String> = all.iter().chain(fields).map(|(key, value)| format!("{key:?}: {value:?}")).collect();
        self.log(&format!("[talos] {line} {{{}}}", text.join(", ")));
    }

    /// A certificate for maintenance mode was made: tells its fingerprint, and once in a boot what to do with it.
    pub(super) fn announce(&mut self, fingerprint: &str) {
        self.inform("server certificate issued", &[("fingerprint", fingerprint)]);
        let Some(system) = &mut self.system else { return };
        let Some(ip) = system.addresses.first().map(|address| address.ip) else { return };
        if std::mem::replace(&mut system.usage_printed, true) {
            return;
        }
        let command = format!("\ttalosctl apply-config --insecure --nodes {ip}");
        self.inform("upload configuration using talosctl:", &[]);
        self.inform(&format!("{command} --file <config.yaml>"), &[]);
        self.inform("optionally with node fingerprint check:", &[]);
        self.inform(&format!("{command} --cert-fingerprint '{fingerprint}' --file <config.yaml>"), &[]);
    }

    /// The role that its configuration gives it.
    pub fn role(&self) -> Option<Role> {
        let config = self.system.as_ref()?.config.as_ref()?;
        config.complete.then(|| config.role())
    }

    /// It is a control plane past its installation: the parts of a cluster may run.
    pub(super) fn serves_cluster(&self) -> bool {
        matches!(self.stage, Stage::Booting | Stage::Running)
            && self.role() == Some(Role::ControlPlane)
            && self.system.as_ref().is_some_and(|system| system.disk.is_some())
    }
}

impl Stage {
    /// One word, as Talos's `MachineStatus` and this lab's summary have it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Dead(_) => "dead",
            Self::Starting => "starting",
            Self::Maintenance => "maintenance",
            Self::Installing(_) => "installing",
            Self::InstallFailed(_) => "install failed",
            Self::Rebooting(_) => "rebooting",
            Self::Upgrading(_) => "upgrading",
            Self::Booting => "booting",
            Self::Running => "running",
            Self::Stopping => "shutting down",
        }
    }
}

/// How long a condition has held. Conditions are looked at, so the time is counted from the first look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer(Option<Duration>);

impl Timer {
    /// Whether `condition` has now held for `span`. As soon as it fails, the count starts over.
    pub(super) fn held(&mut self, condition: bool, now: Duration, span: Duration) -> bool {
        if !condition {
            self.0 = None;
            return false;
        }
        now >= *self.0.get_or_insert(now + span)
    }

    /// When the count ends, if it is in the future.
    pub(super) fn due(self, now: Duration) -> Option<Duration> {
        self.0.filter(|at| *at > now)
    }
}
