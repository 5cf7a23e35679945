//! The fleet as a pure state machine: no sockets, no clock but the one that is passed in.

mod boot;
mod cluster;
mod install;
mod network;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::applied::Applied;
use super::{Fleet, Machine, Stage, System};
use crate::lab::clock::Clock;
use crate::lab::factory;
use crate::lab::hardware::{Drive, Firmware, Hardware, Medium, Nic};
use crate::lab::image::Image;
use crate::lab::site::Site;

const HOST: &str = "factory.talos.dev";
const VANILLA: &str = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba";

/// A fleet with its factory and a clock.
struct Bench {
    fleet: Fleet,
    factory: factory::State,
    now: Duration,
}

impl Bench {
    fn new() -> Self {
        Self::on(&Site { clock: Clock::Instant, ..Site::default() })
    }

    fn on(site: &Site) -> Self {
        Self { fleet: Fleet::new(site), factory: factory::State::new(site), now: Duration::ZERO }
    }

    fn settle(&mut self) {
        self.fleet.advance(self.now, &mut self.factory);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.settle();
    }

    fn boot(&mut self, hardware: Hardware) -> u32 {
        let vmid = hardware.vmid;
        self.fleet.power_on(hardware);
        self.settle();
        vmid
    }

    fn apply(&mut self, vmid: u32, config: &Arc<Applied>) {
        self.fleet.apply(vmid, config, HOST);
        self.settle();
    }

    fn machine(&self, vmid: u32) -> &Machine {
        self.fleet.machine(vmid).expect("it has power")
    }

    fn system(&self, vmid: u32) -> &System {
        self.machine(vmid).system.as_ref().expect("it runs")
    }

    fn stage(&self, vmid: u32) -> &Stage {
        &self.machine(vmid).stage
    }

    fn dead(&self, vmid: u32) -> &str {
        match self.stage(vmid) {
            Stage::Dead(why) => why,
            other => panic!("VM {vmid} is {}", other.word()),
        }
    }

    fn ip(&self, vmid: u32) -> Ipv4Addr {
        self.system(vmid).addresses.first().expect("it has an address").ip
    }
}

fn image(version: &str, platform: &str, secureboot: bool) -> Image {
    Image {
        version: version.into(),
        platform: platform.into(),
        arch: "amd64".into(),
        secureboot,
        schematic: VANILLA.into(),
        extensions: vec!["siderolabs/qemu-guest-agent".into()],
        kernel_args: Vec::new(),
    }
}

/// A VM as the product makes them: UEFI in setup mode, disk first, then the ISO.
fn vm(vmid: u32, image: &Image) -> Hardware {
    let id = u8::try_from(vmid % 256).expect("below 256");
    Hardware {
        vmid,
        name: format!("vm-{vmid}"),
        node: "lab1".into(),
        uuid: Some(uuid::Uuid::from_u128(u128::from(vmid) << 100)),
        serial: None,
        firmware: Firmware::Ovmf { secure_boot_capable: true, vars: Some(format!("vars-{vmid}")), pre_enrolled: false },
        cpu: "host".into(),
        cores: 2,
        memory_mib: 4096,
        nics: vec![Nic {
            model: "virtio".into(),
            mac: crate::inventory::Mac([0xbc, 0x24, 0x11, 0, 0, id]),
            bridge: "vmbr0".into(),
            vlan: None,
            link_up: true,
            lease: None,
        }],
        drives: vec![
            Drive {
                device: "scsi0".into(),
                medium: Medium::Disk { volid: format!("disk-{vmid}"), bytes: 64 << 30, serial: None },
            },
            Drive {
                device: "ide2".into(),
                medium: Medium::Cdrom { volid: "local:iso/talos.iso".into(), data: image.to_bytes().into() },
            },
        ],
        boot: vec!["scsi0".into(), "ide2".into()],
        agent: true,
        tpm: false,
        serial_console: true,
    }
}

/// A configuration: one cluster for each letter of `ca`.
struct Config {
    worker: bool,
    ca: &'static str,
    endpoint: String,
    installer: String,
    disk: &'static str,
    network: String,
    cni: &'static str,
}

impl Config {
    fn control_plane() -> Self {
        Self {
            worker: false,
            ca: "A",
            endpoint: "https://lb.example:6443".into(),
            installer: installer("nocloud-installer-secureboot", "v1.12.4"),
            disk: "/dev/sda",
            network: "{}".into(),
            cni: "flannel",
        }
    }

    fn worker() -> Self {
        Self { worker: true, ..Self::control_plane() }
    }

    fn applied(&self) -> Arc<Applied> {
        use base64::Engine;
        let pem = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
        let text = format!(
            "version: v1alpha1
machine:
  type: {kind}
  token: abc
  ca: {{crt: {crt}, key: '{key}'}}
  install: {{disk: {disk}, image: '{image}'}}
  network: {network}
  kubelet: {{image: 'ghcr.io/siderolabs/kubelet:v1.35.0'}}
cluster:
  clusterName: lab
  controlPlane: {{endpoint: '{endpoint}'}}
  network: {{cni: {{name: {cni}}}}}
",
            kind = if self.worker { "worker" } else { "controlplane" },
            crt = pem(self.ca),
            key = if self.worker { String::new() } else { pem("key") },
            disk = self.disk,
            image = self.installer,
            network = self.network,
            endpoint = self.endpoint,
            cni = self.cni,
        );
        Arc::new(Applied::parse(&text).expect("the test's configuration parses"))
    }
}

fn installer(name: &str, version: &str) -> String {
    format!("{HOST}/{name}/{VANILLA}:{version}")
}
