//! The lab over its own wires, with clients that know nothing but the protocol.

mod apply;
mod client;
mod faults;
mod inside;
mod kubectl;
mod life;
mod maintenance;
mod resources;
mod routing;
mod site;
mod upgrade;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::time::Duration;

use super::clock::Clock;
use super::fleet::System;
use super::hardware::{Drive, Firmware, Hardware, Medium, Nic};
use super::image::Image;
use super::site::Site;
use super::world::World;
use super::{Lab, LabOptions};
use crate::inventory::{Mac, Role};
use crate::machineconfig::{Bundle, Contract, Documents, Input, Minor, apply, generate, overlay, talosconfig};

const VANILLA: &str = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba";

async fn lab() -> Lab {
    on(Clock::Instant).await
}

async fn on(clock: Clock) -> Lab {
    let mut site = Site { clock, ..Site::default() };
    site.network.reserved = (2..20).chain([100]).map(|host| Ipv4Addr::new(10, 83, 0, host)).collect();
    Lab::start(LabOptions { site, ..LabOptions::default() }).await.expect("the lab starts")
}

impl Lab {
    /// Powers a VM on, as the Proxmox face would, with this version's ISO in the drive.
    fn power_on(&self, vmid: u32, version: &str) {
        let image = Image {
            version: version.into(),
            platform: "nocloud".into(),
            arch: "amd64".into(),
            secureboot: true,
            schematic: VANILLA.into(),
            extensions: Vec::new(),
            kernel_args: Vec::new(),
        };
        let disk = Medium::Disk { volid: format!("disk-{vmid}"), bytes: 64 << 30, serial: None };
        let iso = Medium::Cdrom { volid: "iso".into(), data: image.to_bytes().into() };
        let hardware = Hardware {
            vmid,
            name: format!("vm-{vmid}"),
            node: "lab1".into(),
            uuid: Some(uuid::Uuid::from_u128(u128::from(vmid) << 100)),
            serial: None,
            firmware: Firmware::Ovmf {
                secure_boot_capable: true,
                vars: Some(format!("vars-{vmid}")),
                pre_enrolled: false,
            },
            cpu: "host".into(),
            cores: 2,
            memory_mib: 4096,
            nics: vec![Nic {
                model: "virtio".into(),
                mac: mac(vmid),
                bridge: "vmbr0".into(),
                vlan: None,
                link_up: true,
                lease: None,
            }],
            drives: vec![Drive { device: "scsi0".into(), medium: disk }, Drive { device: "ide2".into(), medium: iso }],
            boot: vec!["scsi0".into(), "ide2".into()],
            agent: true,
            tpm: false,
            serial_console: true,
        };
        self.shared().lock().fleet.power_on(hardware);
        self.shared().wake();
    }

    /// Waits for something to be true of the world.
    async fn until<T>(&self, what: &str, mut look: impl FnMut(&World) -> Option<T>) -> T {
        let mut changes = self.shared().subscribe();
        let waiting = async {
            loop {
                if let Some(found) = look(&self.shared().lock()) {
                    return found;
                }
                changes.changed().await.expect("the lab lives");
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("no {what} in 30 s"))
    }

    /// The first address of a machine, once it has one.
    async fn address(&self, vmid: u32) -> IpAddr {
        let found = |world: &World| Some(system(world, vmid)?.addresses.first()?.ip);
        self.until("address", found).await.into()
    }
}

fn system(world: &World, vmid: u32) -> Option<&System> {
    world.fleet.machine(vmid)?.system.as_ref()
}

fn mac(vmid: u32) -> Mac {
    Mac([0xbc, 0x24, 0x11, 0, 0, u8::try_from(vmid % 256).expect("below 256")])
}

/// Keys take longer to make than a lab takes to boot, and each test has a lab of its own to use them in.
static SECRETS: LazyLock<Bundle> = LazyLock::new(|| {
    let contract = Contract::parse("1.12").expect("a contract");
    Bundle::generate(&contract).expect("keys are made")
});

/// A cluster's secrets and settings.
struct Cluster {
    bundle: &'static Bundle,
    contract: Contract,
    minor: Minor,
    version: String,
    vip: Option<Ipv4Addr>,
}

impl Cluster {
    fn new(version: &str, contract: &str) -> Self {
        Self {
            bundle: &SECRETS,
            contract: Contract::parse(contract).expect("a contract"),
            minor: Minor::parse(version).expect("a known minor"),
            version: version.to_owned(),
            vip: None,
        }
    }

    fn credentials(&self) -> talosconfig::Admin {
        talosconfig::admin(self.bundle, "lab", Vec::new(), Vec::new()).expect("a certificate is made")
    }

    /// The configuration of the machine `vmid`, at a static address.
    fn config(&self, lab: &Lab, vmid: u32, role: Role, ip: Ipv4Addr) -> Vec<u8> {
        let endpoint = self.vip.unwrap_or(Ipv4Addr::new(10, 83, 0, 5));
        let mut input = Input::new("lab", &format!("https://{endpoint}:6443"), "1.34.1");
        let host = lab.endpoints().factory.authority().to_owned();
        input.install_image = format!("{host}/nocloud-installer-secureboot/{VANILLA}:{}", self.version);
        let mut documents: Documents = generate(&self.contract, self.bundle, role, &input).expect("it is generated");
        let net = ipnet::Ipv4Net::new(ip, 24).expect("a network");
        let mut patches = vec![
            overlay::hostname(&self.contract, &format!("m-{vmid}")),
            overlay::static_network(&self.contract, mac(vmid), net.into(), None),
        ];
        if let (Some(vip), Role::ControlPlane) = (self.vip, role) {
            patches.push(overlay::vip(&self.contract, mac(vmid), vip.into()));
        }
        documents = apply(&documents, &patches, &self.minor).expect("the patches fit");
        documents.to_yaml().into_bytes()
    }
}
