//! A VM's configuration as Proxmox reads it back: canonical strings, not the ones that were sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use super::cluster::split_tags;
use crate::inventory::Mac;

/// Every option as text, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmConfig(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for VmConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let text = |value: Value| match value {
            Value::String(text) => text,
            Value::Bool(on) => u8::from(on).to_string(),
            other => other.to_string(),
        };
        Ok(Self(raw.into_iter().map(|(name, value)| (name, text(value))).collect()))
    }
}

impl VmConfig {
    /// The option as it is stored.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All options by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn name(&self) -> Option<&str> {
        self.get("name")
    }

    /// MACs of all network devices, `net0` first.
    pub fn macs(&self) -> Vec<Mac> {
        let mut nets: Vec<(u32, Mac)> = self
            .iter()
            .filter_map(|(name, value)| {
                let index = name.strip_prefix("net")?.parse().ok()?;
                Some((index, members(value).find_map(|(_, value)| value.parse().ok())?))
            })
            .collect();
        nets.sort_unstable();
        nets.into_iter().map(|(_, mac)| mac).collect()
    }

    /// The UUID that the guest sees in its DMI tables.
    pub fn uuid(&self) -> Option<Uuid> {
        members(self.get("smbios1")?).find(|(key, _)| *key == "uuid")?.1.parse().ok()
    }

    pub fn tags(&self) -> Vec<String> {
        split_tags(self.get("tags").unwrap_or(""))
    }

    /// As it was set, but for blanks at its end.
    pub fn description(&self) -> &str {
        self.get("description").unwrap_or("").trim_end()
    }

    /// Changes with every change of the configuration; sent back as `digest` it guards an update.
    pub fn digest(&self) -> Option<&str> {
        self.get("digest")
    }

    /// The volume in the first CD drive, if there is one in any.
    pub fn cdrom(&self) -> Option<&str> {
        self.iter()
            .filter(|(name, value)| is_drive(name) && value.split(',').any(|member| member == "media=cdrom"))
            .map(|(_, value)| value.split(',').next().unwrap_or(""))
            .find(|volid| !matches!(*volid, "" | "none" | "cdrom") && !volid.contains("cloudinit"))
    }

    /// Whether any drive holds the volume.
    pub fn names_volume(&self, volid: &str) -> bool {
        self.iter().any(|(name, value)| is_drive(name) && value.split(',').next() == Some(volid))
    }

    /// The operation that holds the configuration: `create`, `backup`, …
    pub fn lock(&self) -> Option<&str> {
        self.get("lock")
    }

    /// When the VM was created, in seconds since 1970. A VMID that was given away again has another one.
    pub fn created(&self) -> Option<u64> {
        members(self.get("meta")?).find(|(key, _)| *key == "ctime")?.1.parse().ok()
    }
}

/// `key=value` members of a property string; a bare one has no key.
fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').map(|member| member.split_once('=').unwrap_or(("", member)))
}

fn is_drive(name: &str) -> bool {
    ["ide", "sata", "scsi"].iter().any(|bus| {
        name.strip_prefix(bus).is_some_and(|index| !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit()))
    })
}
