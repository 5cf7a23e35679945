//! The cluster as a whole: version, nodes, bridges, guests, VMIDs, and what we may do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::PveError;
use super::trust::Fingerprint;
use super::{Pve, lenient, names};

/// What `GET /version` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// `9.2.11`.
    pub release: String,
    pub major: u32,
    pub minor: u32,
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(deserialize_with = "lenient::text")]
            version: String,
        }
        let release = Wire::deserialize(deserializer)?.version;
        let mut parts = release.split(['.', '-', '~']).map(str::parse::<u32>);
        let (Some(Ok(major)), minor) = (parts.next(), parts.next()) else {
            return Err(serde::de::Error::custom("the version is no number"));
        };
        Ok(Self { major, minor: minor.and_then(Result::ok).unwrap_or(0), release })
    }
}

/// A node of the cluster. Without `Sys.Audit` on `/nodes/N` the numbers are missing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Node {
    #[serde(rename = "node")]
    pub name: String,
    #[serde(rename = "status", default, deserialize_with = "online")]
    pub online: bool,
    #[serde(default, deserialize_with = "lenient::number")]
    pub maxcpu: Option<u64>,
    /// Bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub maxmem: Option<u64>,
    /// Bytes in use.
    #[serde(default, deserialize_with = "lenient::number")]
    pub mem: Option<u64>,
    /// Of the certificate that the node serves to the others; an own certificate for pveproxy is another one.
    #[serde(rename = "ssl_fingerprint", default, deserialize_with = "lenient::parsed")]
    pub fingerprint: Option<Fingerprint>,
}

/// The status daemon needs a moment after boot and says `unknown` meanwhile; only `offline` is known to be down.
fn online<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(lenient::text(deserializer)? != "offline")
}

/// A Linux bridge, an OVS bridge or an SDN vnet of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    pub name: String,
    /// False when it is configured and down. Proxmox finds that out only when a VM starts.
    pub active: bool,
    /// Takes tags as it is. A plain Linux bridge gets a second bridge per tag, if it has a physical port.
    pub vlan_aware: bool,
}

impl<'de> Deserialize<'de> for Bridge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            iface: String,
            #[serde(rename = "type", default, deserialize_with = "lenient::text")]
            kind: String,
            #[serde(default, deserialize_with = "lenient::flag")]
            active: bool,
            #[serde(default, deserialize_with = "lenient::flag")]
            bridge_vlan_aware: bool,
            #[serde(default, deserialize_with = "lenient::flag")]
            vlanaware: bool,
        }
        let wire = Wire::deserialize(deserializer)?;
        // A vnet has no `active`: it is there when the list has it. OVS always takes tags.
        Ok(Self {
            active: wire.active || wire.kind == "vnet",
            vlan_aware: wire.bridge_vlan_aware || wire.vlanaware || wire.kind == "OVSBridge",
            name: wire.iface,
        })
    }
}

/// A guest as the cluster's list has it. The list lags about 10 s behind; vmid, node and tags do not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Guest {
    #[serde(deserialize_with = "lenient::vmid")]
    pub vmid: u32,
    pub node: String,
    /// Missing for the first seconds of a VM's life.
    #[serde(default, deserialize_with = "lenient::parsed")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "tags")]
    pub tags: Vec<String>,
    /// `running`, `stopped`, or `unknown` for the first seconds.
    #[serde(default, deserialize_with = "lenient::text")]
    pub status: String,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub template: bool,
    /// A container and no VM.
    #[serde(rename = "type", deserialize_with = "is_lxc")]
    pub lxc: bool,
}

fn is_lxc<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(lenient::text(deserializer)? == "lxc")
}

fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(split_tags(&lenient::text(deserializer)?))
}

/// Stored with `;`, accepted with any of these.
pub(super) fn split_tags(text: &str) -> Vec<String> {
    text.split([';', ',', ' ', '\0']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

impl Pve {
    /// What the token may do, by ACL path; with `path` for that path alone, which need not exist yet.
    pub async fn permissions(&self, path: Option<&str>) -> Result<BTreeMap<String, BTreeSet<String>>, PveError> {
        let query: Vec<(&str, &str)> = path.map(|path| ("path", path)).into_iter().collect();
        // The value of a privilege says whether it is inherited further down, not whether it holds.
        let answer: BTreeMap<String, BTreeMap<String, Value>> = self.query("/access/permissions", &query).await?;
        Ok(answer.into_iter().map(|(path, privileges)| (path, privileges.into_keys().collect())).collect())
    }

    pub async fn nodes(&self) -> Result<Vec<Node>, PveError> {
        self.read("/nodes").await
    }

    /// The bridges of `node` that the token may see: one it may not use is missing without a word.
    pub async fn bridges(&self, node: &str) -> Result<Vec<Bridge>, PveError> {
        self.query(&format!("/nodes/{}/network", names::node(node)?), &[("type", "any_bridge")]).await
    }

    /// All VMs and containers that the token may see. Entries of kinds that are not known here are left out.
    pub async fn guests(&self) -> Result<Vec<Guest>, PveError> {
        let entries: Vec<Value> = self.query("/cluster/resources", &[("type", "vm")]).await?;
        Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
    }

    /// The lowest free VMID in the site's range. Nothing is reserved by asking.
    pub async fn next_id(&self) -> Result<u32, PveError> {
        #[derive(Deserialize)]
        struct Id(#[serde(deserialize_with = "lenient::vmid")] u32);
        self.read::<Id>("/cluster/nextid").await.map(|id| id.0)
    }

    /// Whether no guest of the whole cluster has `vmid`, including those that the token may not see.
    pub async fn vmid_free(&self, vmid: u32) -> Result<bool, PveError> {
        match self.query::<Value>("/cluster/nextid", &[("vmid", &vmid.to_string())]).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_taken() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
