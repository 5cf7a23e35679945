//! What the network can do to a machine: leases that move, others at its address, a clock that is wrong.

use std::net::Ipv4Addr;
use std::sync::Arc;

use uuid::Uuid;

use super::Fleet;
use super::applied::{Applied, Authority};
use super::machine::Stage;
use crate::inventory::Mac;
use crate::lab::faults::Lacks;
use crate::lab::hardware::{Drive, Firmware, Medium};

/// Machines that are no VMs of the site have numbers that no VM has.
const FIRST: u32 = 2_000_000_000;

/// A machine that answers at another one's address.
#[derive(Debug)]
pub(super) struct Impostor {
    pub ip: Ipv4Addr,
    /// What it was configured with before it came.
    config: Option<Arc<Applied>>,
}

impl Fleet {
    /// Every leased address becomes another one.
    pub fn renew_leases(&mut self) {
        let leased = |machine: &super::Machine| {
            let addresses = machine.system.iter().flat_map(|system| &system.addresses);
            addresses.filter(|address| address.leased).map(|address| address.ip).collect::<Vec<_>>()
        };
        self.network.seed = self.network.seed.wrapping_add(1);
        for vmid in self.machines.keys().copied().collect::<Vec<_>>() {
            let before = leased(&self.machines[&vmid]);
            // By chance it may be the same address again, but not for ever; where there is one address only, it is.
            for _ in 0..8 {
                if before.is_empty() || leased(&self.machines[&vmid]) != before {
                    break;
                }
                self.configure(vmid);
                self.network.seed = self.network.seed.wrapping_add(1);
            }
        }
    }

    /// The machines' clocks are ahead by so many seconds: what they show is made anew.
    pub fn set_clocks(&mut self, ahead: i64) {
        self.ahead = ahead;
        for system in self.machines.values_mut().filter_map(|machine| machine.system.as_mut()) {
            system.revision += 1;
        }
    }

    /// How many seconds the machines' clocks are ahead.
    pub fn ahead(&self) -> i64 {
        self.ahead
    }

    /// Lets another machine answer at the first address of `victim`. `key` is for [`Lacks::Key`].
    pub fn impersonate(&mut self, victim: u32, lacks: Lacks, key: Option<Authority>) {
        let Some(machine) = self.machines.get(&victim) else { return };
        let Some(system) = &machine.system else { return };
        let Some(ip) = system.addresses.iter().find(|address| address.connected).map(|address| address.ip) else {
            return;
        };
        let (image, hostname) = (system.image.clone(), system.hostname.clone());
        let mut hardware = machine.hardware.clone();
        let vmid = self.machines.keys().copied().filter(|vmid| *vmid >= FIRST).max().map_or(FIRST, |last| last + 1);
        hardware.vmid = vmid;
        hardware.name = format!("impostor-{vmid}");
        if matches!(lacks, Lacks::Uuid | Lacks::All) {
            hardware.uuid = Some(Uuid::new_v4());
        }
        if matches!(lacks, Lacks::Mac | Lacks::All) {
            for nic in &mut hardware.nics {
                nic.mac = Mac([0x02, 0xee, 0, 0, 0, 1]);
            }
        }
        if let Firmware::Ovmf { vars, .. } = &mut hardware.firmware {
            *vars = Some(format!("impostor:{vmid}"));
        }
        let volid = format!("impostor:{vmid}-disk");
        hardware.drives = vec![
            Drive { device: "scsi0".into(), medium: Medium::Disk { volid, bytes: 64 << 30, serial: None } },
            Drive {
                device: "ide2".into(),
                medium: Medium::Cdrom { volid: "impostor:cd".into(), data: image.to_bytes().into() },
            },
        ];
        hardware.boot = vec!["ide2".into()];
        let config = key.map(|authority| {
            let applied = Applied {
                complete: true,
                machine_ca: authority.clone(),
                cluster_ca: authority,
                hostname: Some(hostname),
                ..Applied::default()
            };
            Arc::new(applied.known())
        });
        self.impostors.insert(vmid, Impostor { ip, config: config.clone() });
        self.power_on(hardware);
        self.arrive(vmid);
        if let (Some(config), Some(machine)) = (config, self.machines.get_mut(&vmid)) {
            machine.enter(Stage::Running);
            if let Some(system) = &mut machine.system {
                system.config = Some(config);
                system.revision += 1;
            }
        }
    }

    /// All impostors are gone.
    pub fn unmask(&mut self) {
        for vmid in std::mem::take(&mut self.impostors).into_keys() {
            self.machines.remove(&vmid);
        }
    }

    /// Whether this is a machine that [`Fleet::impersonate`] brought.
    pub fn is_impostor(&self, vmid: u32) -> bool {
        self.impostors.contains_key(&vmid)
    }

    /// Impostors that were given a configuration that they did not come with.
    pub fn deceived(&self) -> impl Iterator<Item = u32> {
        let config = |vmid: u32| self.machines.get(&vmid)?.system.as_ref()?.config.as_ref();
        let same = move |vmid: u32, came: &Option<Arc<Applied>>| match (config(vmid), came) {
            (Some(now), Some(came)) => Arc::ptr_eq(now, came),
            (None, _) => true,
            (Some(_), None) => false,
        };
        self.impostors.iter().filter(move |(vmid, impostor)| !same(**vmid, &impostor.config)).map(|(vmid, _)| *vmid)
    }
}
