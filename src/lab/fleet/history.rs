//! What a boot of a machine has gone through: sequences, phases, tasks and services, as its event stream tells them.
//!
//! Talos: internal/app/machined/pkg/runtime/v1alpha1/v1alpha1_sequencer.go. The lab's
//! machines do the phases of a sequence in no time, so they are told together; the
//! one that a machine waits in stays open.

use std::time::Duration;

use super::machine::{Machine, Stage, System};
use super::services::{Service, services_of};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    Sequence { name: &'static str, start: bool },
    Phase { name: &'static str, start: bool },
    Task { name: &'static str, start: bool },
    Service(Service),
}

/// It, with its number in this boot and its time on the fleet's clock.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub at: Duration,
    pub happening: Happening,
}

/// How many a machine remembers.
const KEPT: usize = 1000;

const INITIALIZE: [&str; 4] = ["systemRequirements", "earlyServices", "usb", "meta"];
const BOOT: [&str; 8] =
    ["memorySizeCheck", "diskSizeCheck", "env", "dbus", "ephemeral", "udevSetup", "userDisks", "userSetup"];
const UPGRADE: [&str; 8] =
    ["drain", "cleanup", "dbus", "stopServices", "unmount", "unmountBind", "unmountSystem", "volumeFinalize"];
const AFTER_INSTALL: [&str; 4] = ["meta", "saveMeta", "volumeFinalize", "stopEverything"];

/// What the lab's machines wait in, without a configuration.
const MAINTENANCE: &str = "runningMaintenance";

impl System {
    pub(super) fn tell(&mut self, now: Duration, happening: Happening) {
        self.told += 1;
        self.history.push_back(Entry { number: self.told, at: now, happening });
        if self.history.len() > KEPT {
            self.history.pop_front();
        }
    }

    fn sequence(&mut self, now: Duration, name: &'static str, start: bool) {
        self.tell(now, Happening::Sequence { name, start });
    }

    fn phase(&mut self, now: Duration, name: &'static str, start: bool) {
        self.tell(now, Happening::Phase { name, start });
    }

    fn phases(&mut self, now: Duration, names: &[&'static str]) {
        for name in names {
            self.phase(now, name, true);
            self.phase(now, name, false);
        }
    }

    /// The boot sequence is over.
    pub(super) fn tell_running(&mut self, now: Duration) {
        self.phase(now, "startEverything", false);
        self.sequence(now, "boot", false);
    }
}

impl Machine {
    /// Goes to `stage`, and tells of it.
    pub(super) fn proceed(&mut self, now: Duration, stage: Stage) {
        if let Some(system) = &mut self.system {
            let leaves_maintenance = self.stage == Stage::Maintenance;
            if self.stage == Stage::Starting {
                system.sequence(now, "initialize", true);
                system.phases(now, &INITIALIZE);
                system.phase(now, "config", true);
            }
            if leaves_maintenance {
                system.tell(now, Happening::Task { name: MAINTENANCE, start: false });
            }
            let configured = leaves_maintenance || self.stage == Stage::Starting;
            if configured && matches!(stage, Stage::Booting | Stage::Installing(_)) {
                system.phase(now, "config", false);
                system.sequence(now, "initialize", false);
            }
            match &stage {
                Stage::Maintenance => system.tell(now, Happening::Task { name: MAINTENANCE, start: true }),
                Stage::Installing(job) if !job.unattended => {
                    system.sequence(now, "install", true);
                    system.phases(now, &["env"]);
                    system.phase(now, "install", true);
                }
                Stage::Booting if configured => {
                    system.sequence(now, "boot", true);
                    system.phases(now, &BOOT);
                    system.phase(now, "startEverything", true);
                }
                Stage::Rebooting(_) if matches!(&self.stage, Stage::Installing(job) if !job.unattended) => {
                    system.phase(now, "install", false);
                    system.phases(now, &AFTER_INSTALL);
                    system.phase(now, "reboot", true);
                }
                Stage::Upgrading(_) => {
                    system.sequence(now, "upgrade", true);
                    system.phases(now, &UPGRADE);
                    system.phase(now, "upgrade", true);
                }
                Stage::Rebooting(_) if matches!(self.stage, Stage::Upgrading(_)) => {
                    system.phase(now, "upgrade", false);
                    system.phases(now, &["meta", "stopEverything"]);
                    system.phase(now, "reboot", true);
                }
                Stage::Rebooting(_) => system.sequence(now, "reboot", true),
                Stage::Stopping => system.sequence(now, "shutdown", true),
                _ => {}
            }
        }
        self.enter(stage);
        self.note_services(now);
    }

    /// Writes what the console has not shown of it yet, as machined logs it.
    fn print_history(&mut self) {
        let Some(system) = &mut self.system else { return };
        let from = std::mem::replace(&mut system.printed, system.told);
        let new = system.history.iter().filter(|entry| entry.number > from);
        let lines: Vec<String> = new
            .filter_map(|entry| match &entry.happening {
                Happening::Sequence { name, start: true } => Some(format!("[talos] {name} sequence: started")),
                Happening::Sequence { name, start: false } => Some(format!("[talos] {name} sequence: done")),
                Happening::Phase { name, start: false } => Some(format!("[talos] phase {name}: done")),
                Happening::Service(service) => {
                    Some(format!("[talos] service[{}]({}): {}", service.id, service.state, service.message))
                }
                Happening::Phase { .. } | Happening::Task { .. } => None,
            })
            .collect();
        for line in lines {
            self.log(&line);
        }
    }

    /// Tells of services that are not as they were.
    pub(super) fn note_services(&mut self, now: Duration) {
        let services = services_of(self);
        let Some(system) = &mut self.system else { return };
        for service in services {
            let known = system.services.entry(service.id.clone()).or_default();
            if known.last().is_some_and(|(_, last)| *last == service) {
                continue;
            }
            if known.is_empty() && service.state == "Running" {
                let before = Service {
                    state: "Preparing",
                    healthy: None,
                    message: "Creating service runner",
                    ..service.clone()
                };
                known.push((now, before));
            }
            known.push((now, service.clone()));
            system.tell(now, Happening::Service(service));
        }
        self.print_history();
    }
}
