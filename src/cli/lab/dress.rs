//! Which site the lab is: a file's, or one that fits a profile.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Code, Failure};
use crate::lab::faults::Fault;
use crate::lab::fixture::Fixture;
use crate::lab::site::{Bridge, Factory, Network, Node, Site, Storage};
use crate::lab::sites;
use crate::profile::Profile;

/// A site on which `profile` finds everything that it names, and nothing else.
pub(super) fn site(profile: &Profile) -> Site {
    let mut names: Vec<String> = profile.machines.iter().filter_map(|machine| machine.node.clone()).collect();
    names.sort();
    names.dedup();
    let default = Site::default();
    let nodes = if names.is_empty() {
        default.nodes.clone()
    } else {
        names.into_iter().map(|name| Node { name, ..default.nodes[0].clone() }).collect()
    };
    let proxmox = &profile.proxmox;
    let mut reserved: Vec<_> = profile.machines.iter().map(|machine| machine.ip).collect();
    reserved.extend(profile.talos.vip);
    reserved.push(profile.network.gateway);
    Site {
        nodes,
        storages: storages(&proxmox.image_storage, &proxmox.disk_storage),
        bridges: vec![Bridge {
            name: proxmox.bridge.clone(),
            vlan_aware: true,
            ports: String::from("eno1"),
            active: true,
        }],
        network: Network { cidr: profile.network.cidr, vlan: proxmox.vlan, reserved, ..default.network.clone() },
        pools: proxmox.pool.iter().cloned().collect(),
        factory: Factory {
            hosts: profile.talos.factory.url.host_str().map(str::to_owned).into_iter().collect(),
            ..Factory::default()
        },
        ..default
    }
}

/// The storages by their usual kinds: `local-zfs` is a pool, `local-lvm` a thin one, anything else a directory.
fn storages(image: &str, disk: &str) -> BTreeMap<String, Storage> {
    let default = Site::default().storages;
    let like = |known: &str| default[known].clone();
    let kind = if disk.contains("zfs") { "zfspool" } else { "lvmthin" };
    let mut storages = BTreeMap::from([(image.to_owned(), like("local"))]);
    if image == disk {
        storages.entry(disk.to_owned()).and_modify(|both| both.content.push(String::from("images")));
    } else {
        storages.insert(disk.to_owned(), Storage { kind: kind.to_owned(), ..like("local-lvm") });
    }
    storages
}

/// Reads a site description: a file, or one of the program's own by name. JSON is YAML, so one reader does for both.
pub(super) fn read(path: &Path) -> Result<Site, Failure> {
    let own = path.to_str().filter(|_| !path.exists()).and_then(sites::named);
    if let Some(text) = own {
        return serde_saphyr::from_str(text).map_err(|error| Failure::of(Code::Defect, &error));
    }
    let names: Vec<&str> = sites::ALL.iter().map(|(name, _)| *name).collect();
    parse(path, "site description")
        .map_err(|failure| failure.hint(format!("--site takes a file, or one of the names {}", names.join(", "))))
}

/// Reads a recording's fixture, for one of its scenarios.
pub(super) fn read_fixture(path: &Path, scenario: Option<&str>) -> Result<Fixture, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::of(Code::Usage, error)
            .hint(format!("--fixture {} has to be a recording of Proxmox VE, or its fixture", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    Fixture::read(&text, scenario).map_err(|error| failed(&error))
}

/// Reads a script of faults.
pub(super) fn read_faults(path: &Path) -> Result<Vec<Fault>, Failure> {
    parse(path, "script of faults")
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::new(Code::Usage, format!("cannot read the {what} {}: {error}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_saphyr::from_str(&text).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_of_a_profile_has_what_the_profile_names() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let profile = crate::profile::load("matherlynet", &[folder]).unwrap();
        let (needed, site) = (site(&profile), read(Path::new("matherlynet")).unwrap());
        let names = |site: &Site| site.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&needed), names(&site));
        for (name, storage) in &needed.storages {
            assert_eq!(site.storages[name].kind, storage.kind);
            assert!(storage.content.iter().all(|content| site.storages[name].content.contains(content)), "{name}");
        }
        assert_eq!((needed.network.cidr, needed.network.vlan), (site.network.cidr, site.network.vlan));
        assert!(needed.network.reserved.iter().all(|ip| site.network.reserved.contains(ip)));
    }
}
