//! The profile as it is written. These types are the one description of the file:
//! the JSON Schema comes from them, the shape check comes from the JSON Schema, and
//! their comments are what an editor shows.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use url::Url;

use super::forms::{Endpoint, Fingerprint, Host, Label, Leaf, Minor, SchematicId, Size, Span, Version, Word};
use super::types::{Cni, Mode};
use crate::inventory::Mac;

/// The schema with everything inlined: editors follow references, our own walker need not.
pub(super) fn schema() -> serde_json::Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<RawProfile>().to_value()
}

/// One Talos cluster on one Proxmox cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "pvetalos profile")]
pub(super) struct RawProfile {
    /// The cluster's name. Equals the stem of this file.
    pub name: Leaf<Label>,
    /// Allows `rebuild`, which destroys the cluster without asking.
    #[serde(default)]
    pub disposable: bool,
    /// Where the VMs go.
    pub proxmox: RawProxmox,
    /// What the machines run.
    pub talos: RawTalos,
    /// The machines' network.
    pub network: RawNetwork,
    /// The machines.
    pub nodes: RawNodes,
    /// How long each kind of waiting may take.
    #[serde(default)]
    pub deadlines: RawDeadlines,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProxmox {
    /// The API of any nodes of one cluster, tried in order; `[lab]` is the embedded simulated site.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Leaf<Endpoint>>,
    /// Where the API token is kept. Not needed with `[lab]`, which brings its own.
    pub token: Option<RawSecret>,
    /// How the API's certificate is judged; system roots when absent.
    #[serde(default)]
    pub tls: RawTls,
    /// Names of storages.
    pub storage: RawStorage,
    /// The bridge of the machines' cards. Default vmbr0.
    pub bridge: Option<Leaf<Word>>,
    /// The VLAN tag that Proxmox puts on the machines' frames.
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// The Proxmox pool that the VMs become members of.
    pub pool: Option<Leaf<Word>>,
    /// QEMU's CPU type, x86-64-v2 or newer. Default x86-64-v2-AES.
    pub cpu: Option<Leaf<Word>>,
    /// The SCSI controller. Default virtio-scsi-pci.
    pub scsihw: Option<Leaf<Word>>,
    /// Machines without a VMID get free ones from here on.
    #[schemars(range(min = 100, max = 999_999_999))]
    pub vmid_start: Option<u32>,
}

/// Where a secret is kept: exactly one of the keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RawSecret {
    /// An entry of the `pass` store.
    pub pass: Option<String>,
    /// An entry of the OS keyring.
    pub keyring: Option<String>,
    /// An environment variable.
    pub env: Option<String>,
    /// A file, relative to this one.
    pub file: Option<String>,
    /// A program and its arguments; its standard output is the secret.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
}

/// At most one of the keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("maxProperties" = 1))]
pub(super) struct RawTls {
    /// SHA-256 of the certificate, as `pvenode cert info` prints it.
    pub fingerprint: Option<Leaf<Fingerprint>>,
    /// A PEM file of CA certificates, relative to this file.
    pub ca: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStorage {
    /// For the boot ISO; its content types include iso.
    pub image: Leaf<Word>,
    /// For the machines' disks; its content types include images.
    pub disk: Leaf<Word>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTalos {
    /// The Talos version.
    pub version: Leaf<Version>,
    /// The Kubernetes version.
    pub kubernetes_version: Leaf<Version>,
    /// UEFI SecureBoot with Talos's own keys. Default true.
    pub secureboot: Option<bool>,
    /// Platform of boot image and installer. Default nocloud.
    pub platform: Option<Leaf<Label>>,
    /// The Talos minor whose configuration defaults apply. Default: that of `version`.
    pub contract: Option<Leaf<Minor>>,
    /// Where images come from.
    #[serde(default)]
    pub factory: RawFactory,
    /// The control planes' shared address.
    pub vip: Option<RawVip>,
    /// Where the cluster's secrets bundle is kept. Default: the same kind of store as the token.
    pub secrets: Option<RawSecret>,
    /// The device that Talos installs to. Default /dev/sda.
    pub install_disk: Option<Leaf<Word>>,
    /// Machine-config patches.
    #[serde(default)]
    pub patches: RawPatches,
}

/// One of `schematic`, `schematic_id`, or `kernel_args` with `extensions`. None of them: qemu-guest-agent alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFactory {
    /// Default `https://factory.talos.dev`.
    pub url: Option<Leaf<Url>>,
    /// A schematic file of the factory's own format, relative to this file.
    pub schematic: Option<String>,
    /// The id of a schematic that the factory knows.
    pub schematic_id: Option<Leaf<SchematicId>>,
    /// Kernel arguments, baked into the image; their order is kept.
    pub kernel_args: Option<Vec<String>>,
    /// Official extensions such as siderolabs/qemu-guest-agent.
    pub extensions: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVip {
    pub ip: Leaf<Ipv4Addr>,
    /// Accepted for old files and not used: the interface is found by the card's MAC.
    pub interface: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPatches {
    /// For every machine.
    #[serde(default)]
    pub all: Vec<RawPatch>,
    /// For control planes.
    #[serde(default)]
    pub controlplane: Vec<RawPatch>,
    /// For workers.
    #[serde(default)]
    pub worker: Vec<RawPatch>,
}

/// A file path, or the patch itself.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct RawPatch(pub serde_json::Value);

impl JsonSchema for RawPatch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "patch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "object", "array"],
            "description": "A file path relative to the profile, or the patch itself: a strategic-merge mapping, \
                            or several documents as a block of text.",
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNetwork {
    /// The network that the machines are on.
    pub cidr: Leaf<Ipv4Net>,
    pub gateway: Leaf<Ipv4Addr>,
    /// Resolvers. Default: Talos's own.
    #[serde(default)]
    pub dns: Vec<Leaf<Ipv4Addr>>,
    /// Time servers. Default: Talos's own.
    #[serde(default)]
    pub ntp: Vec<Leaf<Host>>,
    /// dhcp: first address by DHCP, then the given one; static: the given one from the first boot. Default dhcp.
    pub mode: Option<Mode>,
    /// Address or name of the Kubernetes API. Default: the VIP, else the first control plane.
    pub api_endpoint: Option<Leaf<Host>>,
    /// Default 10.244.0.0/16.
    pub pod_cidr: Option<Leaf<Ipv4Net>>,
    /// Default 10.96.0.0/12.
    pub service_cidr: Option<Leaf<Ipv4Net>>,
    /// flannel, or none when the cluster gets another one later. Decides the health gates. Default flannel.
    pub cni: Option<Cni>,
}

/// Sizes here hold for every machine; a role's win over them, a machine's own over both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNodes {
    #[schemars(range(min = 1, max = 1024))]
    pub cores: Option<u32>,
    /// A bare number is MiB.
    pub memory: Option<Leaf<Size>>,
    /// A bare number is MiB.
    pub disk: Option<Leaf<Size>>,
    pub controlplane: RawGroup,
    #[serde(default)]
    pub workers: RawGroup,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGroup {
    #[schemars(range(min = 1, max = 1024))]
    pub cores: Option<u32>,
    /// A bare number is MiB.
    pub memory: Option<Leaf<Size>>,
    /// A bare number is MiB.
    pub disk: Option<Leaf<Size>>,
    #[serde(default)]
    pub assignments: Vec<RawMachine>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMachine {
    /// VM name and hostname.
    pub name: Leaf<Label>,
    /// The Proxmox node. Default: the plan chooses.
    pub node: Option<Leaf<Word>>,
    /// Default: a free one.
    #[schemars(range(min = 100, max = 999_999_999))]
    pub vmid: Option<u32>,
    pub ip: Leaf<Ipv4Addr>,
    /// Default: Proxmox chooses.
    pub mac: Option<Leaf<Mac>>,
    #[schemars(range(min = 1, max = 1024))]
    pub cores: Option<u32>,
    /// A bare number is MiB.
    pub memory: Option<Leaf<Size>>,
    /// A bare number is MiB.
    pub disk: Option<Leaf<Size>>,
    /// Applied after the role's patches.
    #[serde(default)]
    pub patches: Vec<RawPatch>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeadlines {
    /// From VM start to the maintenance API. Default 10m.
    pub maintenance: Option<Leaf<Span>>,
    /// From applying the configuration to the installed system. Default 15m.
    pub install: Option<Leaf<Span>>,
    /// From the bootstrap request to a working etcd. Default 10m.
    pub bootstrap: Option<Leaf<Span>>,
    /// All health gates. Default 15m.
    pub health: Option<Leaf<Span>>,
    /// Building and fetching the boot image. Default 30m.
    pub image: Option<Leaf<Span>>,
    /// Building the installer image. Default 25m.
    pub installer: Option<Leaf<Span>>,
    /// Any other Proxmox task. Default 10m.
    pub task: Option<Leaf<Span>>,
}
