//! How often a resource has changed, and when: what its metadata says, and its spec does not.
//!
//! Resources are built when somebody looks; a change that nobody saw is no version.

use std::collections::BTreeMap;
use std::time::SystemTime;

use prost_types::Timestamp;

use crate::lab::talos::resources::Resource;
use crate::talos::wire::cosi::{Metadata, Resource as WireResource, Spec};

/// What one boot of a machine has shown so far.
#[derive(Debug, Default)]
pub struct Memory {
    boot: u64,
    seen: BTreeMap<(&'static str, &'static str, String), Seen>,
}

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    proto: Vec<u8>,
    yaml: String,
    version: u64,
    created: Timestamp,
    updated: Timestamp,
}

impl Memory {
    /// The resource as it goes over the wire, with its history in this boot.
    pub(super) fn recall(&mut self, boot: u64, resource: Resource) -> WireResource {
        if self.boot != boot {
            *self = Self { boot, seen: BTreeMap::new() };
        }
        let Resource { namespace, kind, id, owner, proto, yaml } = resource;
        let now = Timestamp::from(SystemTime::now());
        let seen = self.seen.entry((namespace, kind, id.clone())).or_insert_with(|| Seen {
            proto: proto.clone(),
            yaml: yaml.clone(),
            version: 1,
            created: now,
            updated: now,
        });
        if seen.proto != proto || seen.yaml != yaml {
            *seen = Seen { version: seen.version + 1, created: seen.created, updated: now, proto, yaml };
        }
        let metadata = Metadata {
            namespace: namespace.to_owned(),
            r#type: kind.to_owned(),
            id,
            version: seen.version.to_string(),
            owner: owner.to_owned(),
            phase: "running".into(),
            created: Some(seen.created),
            updated: Some(seen.updated),
            ..Metadata::default()
        };
        let spec = Spec { proto_spec: seen.proto.clone(), yaml_spec: seen.yaml.clone() };
        WireResource { metadata: Some(metadata), spec: Some(spec) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(yaml: &str) -> Resource {
        let kind = "LinkStatuses.net.talos.dev";
        Resource { namespace: "network", kind, id: "eth0".into(), owner: "", proto: Vec::new(), yaml: yaml.into() }
    }

    #[test]
    fn a_version_is_a_change_and_a_boot_begins_anew() {
        let mut memory = Memory::default();
        let mut version = |boot, yaml| memory.recall(boot, resource(yaml)).metadata.unwrap().version;
        let versions = [version(1, "a"), version(1, "a"), version(1, "b"), version(2, "b")];
        assert_eq!(versions, ["1", "1", "2", "1"]);
    }
}
