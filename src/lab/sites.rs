//! Sites that come with the program, by name: `lab start --site three-nodes`.
//!
//! They are files as users write them, and so the examples for their own.

/// Every site that has a name: name and text.
pub const ALL: &[(&str, &str)] = &[
    ("one-node", include_str!("sites/one-node.yaml")),
    ("one-node-8.4", include_str!("sites/one-node-8.4.yaml")),
    ("three-nodes", include_str!("sites/three-nodes.yaml")),
    ("matherlynet", include_str!("sites/matherlynet.yaml")),
];

/// The text of the site of that name.
pub fn named(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::site::Site;
    use crate::lab::world::Shared;

    #[test]
    fn every_site_is_one_and_its_guests_have_what_they_ask_for() {
        for (name, text) in ALL {
            let site: Site = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let shared = Shared::new(site);
            let world = shared.lock();
            for guest in &world.site.guests {
                assert!(world.site.nodes.iter().any(|node| node.name == guest.node), "{name}: {}", guest.name);
                let disk = guest.config.contains_key("scsi0");
                let made = world.pve.volumes.values().any(|volume| volume.vmid == Some(guest.vmid));
                assert_eq!(made, disk, "{name}: {}", guest.name);
            }
        }
    }
}
