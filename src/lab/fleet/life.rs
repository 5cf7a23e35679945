//! The passing of time: one step of one machine, and all of them until nothing moves.

use std::time::Duration;

use super::Fleet;
use super::cluster::{Surroundings, View};
use super::machine::{Machine, Stage};
use crate::inventory::Role;
use crate::lab::clock::physics;
use crate::lab::factory;

/// Talos 1.13: after an apply the API's listener is replaced "within seconds".
const HANDOVER: Duration = Duration::from_secs(2);

/// Steps of all machines in one advance. The longest chain of a boot is about ten; more means a loop of reboots on
/// the instant clock, which then goes on at the next advance.
const ROUNDS: usize = 64;

/// How far time took the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Some machine is not where it was.
    pub moved: bool,
    /// Until something changes or falls due, nothing more will move.
    pub settled: bool,
}

impl Fleet {
    /// It is now `now` (since the lab began): every machine goes as far as it has come.
    pub fn advance(&mut self, now: Duration, factory: &mut factory::State) -> Advance {
        self.now = now;
        for round in 0..ROUNDS {
            let mut moved = false;
            let view = self.view();
            for vmid in self.machines.keys().copied().collect::<Vec<_>>() {
                if self.step(vmid, &view, factory) {
                    moved = true;
                    if let Some(machine) = self.machines.get_mut(&vmid) {
                        machine.note_services(now);
                    }
                }
            }
            moved |= self.elect();
            if !moved {
                return Advance { moved: round > 0, settled: true };
            }
        }
        Advance { moved: true, settled: false }
    }

    /// When something will happen by itself.
    pub fn next_due(&self) -> Option<Duration> {
        let timers = self.machines.values().flat_map(|machine| {
            let system = machine.system.iter();
            let system = system
                .flat_map(|system| [system.handover_timer, system.etcd_timer, system.kube_timer, system.node_timer]);
            system.chain([machine.timer])
        });
        let trials = self.machines.values().filter_map(|machine| Some(machine.system.as_ref()?.trial.as_ref()?.until));
        timers.filter_map(|timer| timer.due(self.now)).chain(trials).min()
    }

    fn step(&mut self, vmid: u32, view: &View, factory: &mut factory::State) -> bool {
        let (now, clock) = (self.now, self.clock);
        if self.end_trial(vmid) {
            return true;
        }
        let Some(machine) = self.machines.get_mut(&vmid) else { return false };
        let Machine { stage, timer, system, .. } = &mut *machine;
        if let Some(system) = system
            && system.handover_timer.held(system.lingers, now, clock.span(HANDOVER))
        {
            system.lingers = false;
            return true;
        }
        match stage {
            Stage::Dead(_) | Stage::Maintenance | Stage::InstallFailed(_) => false,
            Stage::Starting => {
                let from_disk = system.as_ref().is_some_and(|system| system.disk.is_some());
                let span = if from_disk { physics::BOOT_DISK } else { physics::BOOT_ISO };
                let arrives = timer.held(true, now, clock.span(span));
                if arrives {
                    self.arrive(vmid);
                }
                arrives
            }
            Stage::Installing(_) => self.install(vmid, factory),
            Stage::Upgrading(_) => self.renew(vmid),
            Stage::Rebooting(path) => {
                let path = path.clone();
                let done = timer.held(true, now, clock.span(physics::REBOOT));
                if done {
                    self.boot(vmid, &path);
                }
                done
            }
            Stage::Stopping => {
                let done = timer.held(true, now, clock.span(physics::VM_STOP));
                if done {
                    self.machines.remove(&vmid);
                }
                done
            }
            Stage::Booting | Stage::Running => {
                let around = self.surroundings(vmid, view);
                self.live(vmid, &around)
            }
        }
    }

    /// A configured machine, past its installation: looks at every condition of its services.
    fn live(&mut self, vmid: u32, around: &Surroundings<'_>) -> bool {
        let (now, clock) = (self.now, self.clock);
        let Some(machine) = self.machines.get_mut(&vmid) else { return false };
        let role = machine.role();
        let Machine { hardware, system: Some(system), stage, .. } = &mut *machine else { return false };
        let Some(config) = system.config.clone() else { return false };
        let before = (system.certified, system.etcd_up, system.etcd_healthy, system.kube_up, system.joined);
        let (was_ready, was_stage) = (system.node_ready, stage.clone());

        let installed = system.disk.clone();
        if role == Some(Role::ControlPlane) {
            let data = installed.as_ref().and_then(|volid| self.disks.get(volid)?.etcd);
            let may_join = around.etcd_to_join.is_some() && !system.left_etcd;
            let may_start = installed.is_some() && config.etcd && (data.is_some() || may_join);
            system.etcd_up = system.etcd_timer.held(may_start, now, clock.span(physics::ETCD));
            if let (true, None, Some(volid), Some(etcd)) = (system.etcd_up, data, &installed, around.etcd_to_join) {
                let ip = system.addresses.first().map(|address| address.ip);
                let member = self.etcds.entry(etcd).or_default().join(&system.hostname, ip, volid);
                self.disks.write(volid).etcd = Some((etcd, member));
            }
            let data = installed.as_ref().and_then(|volid| self.disks.get(volid)?.etcd);
            system.etcd_healthy = system.etcd_up
                && data.is_some_and(|(etcd, _)| around.has_quorum(etcd) || self.etcds[&etcd].is_single());
            system.kube_up = system.kube_timer.held(system.etcd_healthy, now, clock.span(physics::KUBERNETES_API));
            system.certified = true;
            system.joined = if system.kube_up { data.map(|(etcd, _)| etcd) } else { system.joined };
        } else {
            // Once signed, the certificate lasts for this boot.
            system.certified |= around.trustd;
            system.joined = around.kube.or(system.joined);
        }
        let reaches = system.kube_up || around.kube.is_some();
        let cni = system.joined.and_then(|etcd| self.etcds.get(&etcd)).is_some_and(|etcd| etcd.has_cni(&config));
        let settled = system.certified && reaches && installed.is_some() && cni;
        system.node_ready = system.node_timer.held(settled, now, clock.span(physics::NODE_READY));
        let done = installed.is_some() && if config.worker { system.certified } else { system.kube_up };
        if done && *stage == Stage::Booting {
            *stage = Stage::Running;
            system.tell_running(now);
        }
        if let Some(etcd) = system.joined.filter(|_| reaches) {
            self.etcds.entry(etcd).or_default().register(vmid, hardware, system, &config);
        }
        let after = (system.certified, system.etcd_up, system.etcd_healthy, system.kube_up, system.joined);
        before != after || was_ready != system.node_ready || was_stage != *stage
    }
}
