//! The resolved profile: every default applied, every named file read.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::inventory::{Mac, Role};

/// A profile that passed every rule of this room.
#[derive(Clone, Debug)]
pub struct Profile {
    /// A DNS label; equals the stem of the file.
    pub name: String,
    /// Where it was read from, as it was asked for.
    pub file: PathBuf,
    /// `rebuild` may destroy the cluster.
    pub disposable: bool,
    pub proxmox: Proxmox,
    pub talos: Talos,
    pub network: Network,
    pub deadlines: Deadlines,
    /// Control planes first, each role in the order of the file.
    pub machines: Vec<MachineSpec>,
    /// What is allowed and deserves a second look: full sentences.
    pub warnings: Vec<String>,
}

impl Profile {
    /// The machines of one role, in the order of the file.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &MachineSpec> {
        self.machines.iter().filter(move |machine| machine.role == role)
    }

    /// The patches that apply to `machine`, in the order of application: all, its role's, its own.
    pub fn patches_for<'a>(&'a self, machine: &'a MachineSpec) -> impl Iterator<Item = &'a PatchRef> {
        let role = match machine.role {
            Role::ControlPlane => &self.talos.patches.controlplane,
            Role::Worker => &self.talos.patches.worker,
        };
        self.talos.patches.all.iter().chain(role).chain(&machine.patches)
    }
}

/// Where the VMs go.
#[derive(Clone, Debug)]
pub struct Proxmox {
    pub endpoints: Endpoints,
    /// `None` only with [`Endpoints::Lab`], which brings its own token.
    pub token: Option<SecretRef>,
    pub tls: Tls,
    /// The storage that the boot ISO is put on (content type `iso`).
    pub image_storage: String,
    /// The storage that VM disks are put on (content type `images`).
    pub disk_storage: String,
    pub bridge: String,
    /// 1 to 4094: the tag that Proxmox puts on the card's frames.
    pub vlan: Option<u16>,
    /// The Proxmox pool that the VMs are made members of.
    pub pool: Option<String>,
    /// The QEMU CPU type.
    pub cpu: String,
    /// The SCSI controller.
    pub scsihw: String,
    /// Machines without a VMID get free ones from here on.
    pub vmid_start: Option<u32>,
}

/// How to reach the Proxmox API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// The embedded simulated site.
    Lab,
    /// Nodes of one cluster, tried in order. Scheme, host and port; the path is `/`.
    Urls(Vec<Url>),
}

/// How the certificate of the Proxmox API is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    SystemRoots,
    /// A PEM file, resolved against the profile's directory.
    Ca(PathBuf),
    /// SHA-256 of the DER certificate, as `pvenode cert info` prints it.
    Fingerprint([u8; 32]),
}

/// Where a secret is kept. Never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// An entry of the `pass` store.
    Pass(String),
    /// An entry of the OS keyring.
    Keyring(String),
    /// An environment variable.
    Env(String),
    /// A file, resolved against the profile's directory.
    File(PathBuf),
    /// A program and its arguments; its standard output is the secret. Never empty.
    Command(Vec<String>),
}

/// What the machines run.
#[derive(Clone, Debug)]
pub struct Talos {
    /// `1.12.4`, without a leading v; may carry a prerelease.
    pub version: String,
    /// `1.35.0`, without a leading v.
    pub kubernetes_version: String,
    pub secureboot: bool,
    /// Talos's platform of boot image and installer: `nocloud`, `metal`.
    pub platform: String,
    /// The config contract as `1.12`; `None` is that of `version`.
    pub contract: Option<String>,
    pub factory: Factory,
    /// The control planes' shared address.
    pub vip: Option<Ipv4Addr>,
    /// Where the secrets bundle is kept; `None` is the same kind of store as the token's.
    pub secrets: Option<SecretRef>,
    /// The device that Talos installs to, such as `/dev/sda`.
    pub install_disk: String,
    pub patches: Patches,
}

/// Where boot image and installer come from.
#[derive(Clone, Debug)]
pub struct Factory {
    /// The factory's base URL, as this program and the machines call it.
    pub url: Url,
    pub schematic: SchematicRef,
}

/// Machine-config patches by reach, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Patches {
    pub all: Vec<PatchRef>,
    pub controlplane: Vec<PatchRef>,
    pub worker: Vec<PatchRef>,
}

/// Which schematic to build images from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchematicRef {
    /// A file of the factory's own format, and its text.
    File { path: PathBuf, text: String },
    /// 64 lower-case hexadecimal digits. The factory must know it already.
    Id(String),
    /// Given in the profile itself, in the order of the file.
    Inline { kernel_args: Vec<String>, extensions: Vec<String> },
}

/// One machine-config patch, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchRef {
    /// `profiles/patches/dns.yaml`, or `profiles/lab.yaml:31` for one written in the profile.
    pub origin: String,
    /// YAML: one or more documents, or a JSON 6902 list.
    pub text: String,
    /// For one written in the profile: the file, and the line at which it begins there.
    pub within: Option<(String, usize)>,
    /// For one written there as a map: the line of every path in it.
    pub lines: BTreeMap<String, usize>,
}

/// The machines' network.
#[derive(Clone, Debug)]
pub struct Network {
    /// The network that the machines' first cards are on. Host bits are zero.
    pub cidr: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// Empty: Talos's own default resolvers.
    pub dns: Vec<Ipv4Addr>,
    /// Names or addresses. Empty: Talos's own default.
    pub ntp: Vec<String>,
    pub mode: Mode,
    /// Address or name, without scheme and port.
    pub api_endpoint: String,
    pub pod_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    pub cni: Cni,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    // First address by DHCP, the configured one once the configuration is applied.
    Dhcp,
    // The configured address from the first boot on.
    Static,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    Flannel,
    // The user brings one later, so nodes cannot become ready before that.
    None,
}

/// How long each kind of waiting may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From VM start to the maintenance API.
    pub maintenance: Duration,
    /// From applying the configuration to the installed system.
    pub install: Duration,
    /// From the bootstrap request to a working etcd.
    pub bootstrap: Duration,
    /// All health gates.
    pub health: Duration,
    /// Building and fetching the boot image.
    pub image: Duration,
    /// Building the installer image.
    pub installer: Duration,
    /// Any other Proxmox task.
    pub task: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            maintenance: minutes(10),
            install: minutes(15),
            bootstrap: minutes(10),
            health: minutes(15),
            image: minutes(30),
            installer: minutes(25),
            task: minutes(10),
        }
    }
}

/// One machine to be made.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// VM name and hostname: a DNS label, unique in the profile.
    pub name: String,
    pub role: Role,
    /// The Proxmox node; `None` leaves the choice to the plan.
    pub node: Option<String>,
    /// `None` leaves the choice to the plan.
    pub vmid: Option<u32>,
    pub ip: Ipv4Addr,
    /// `None` leaves the choice to Proxmox.
    pub mac: Option<Mac>,
    pub cores: u32,
    pub memory_mib: u64,
    pub disk_gib: u64,
    /// Its own patches only; see [`Profile::patches_for`].
    pub patches: Vec<PatchRef>,
}
