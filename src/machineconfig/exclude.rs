//! Documents that may not stand beside each other; checked whenever a configuration is put together.

use serde_json::Value;

use super::documents::Document;
use super::minor::Minor;
use crate::machineconfig::go::quoted;

/// Kinds that claim the same name: two different ones of a group with one name exclude each other.
const GROUPS: &[&[&str]] = &[
    &["UserVolumeConfig", "ExistingVolumeConfig"],
    &[
        "BondConfig",
        "BridgeConfig",
        "DummyLinkConfig",
        "LinkConfig",
        "VLANConfig",
        "VRFConfig",
        "VethConfig",
        "WireguardConfig",
    ],
    &["Layer2VIPConfig", "HCloudVIPConfig"],
];

/// Kinds that configure a link, each of which takes the link's name for itself.
const LINKS: &[&str] = GROUPS[1];

/// Two documents that exclude each other, as Talos says it.
pub(super) struct Clash {
    pub(super) text: String,
    /// Which document of the list was one too many.
    pub(super) at: usize,
}

/// The first collision.
pub(super) fn check(list: &[Document], minor: &Minor) -> Result<(), Clash> {
    let mut claimed: Vec<(&str, String)> = Vec::new();
    for (at, document) in list.iter().enumerate().filter(|(_, document)| document.leftover().is_none()) {
        let clash = |text| Err(Clash { text, at });
        let name = document.name().unwrap_or_default();
        for earlier in list[..at].iter().filter(|document| document.leftover().is_none()) {
            if earlier.id() == document.id() {
                let what = if document.kind().is_empty() {
                    "v1alpha1.Config".to_owned()
                } else {
                    format!("document: {}", shown(document))
                };
                return clash(format!("duplicate {what}"));
            }
        }
        for earlier in &list[..at] {
            let together = |group: &&&[&str]| group.contains(&earlier.kind()) && group.contains(&document.kind());
            if earlier.name() == document.name() && GROUPS.iter().any(|group| together(&group)) {
                return clash(format!("conflicting documents: {} and {}", shown(earlier), shown(document)));
            }
        }
        if !minor.links_claimed_once || !LINKS.contains(&document.kind()) {
            continue;
        }
        let peer = (document.kind() == "VethConfig").then(|| document.get(&["peer", "name"]));
        let peer = peer.map(|name| name.and_then(Value::as_str).unwrap_or_default());
        for name in std::iter::once(name).chain(peer) {
            if let Some((_, owner)) = claimed.iter().find(|(link, _)| *link == name) {
                let document = shown(document);
                return clash(format!(
                    "conflicting link configurations: {owner} and {document} both configure {name}",
                    name = quoted(name)
                ));
            }
            claimed.push((name, shown(document)));
        }
    }
    Ok(())
}

fn shown(document: &Document) -> String {
    format!("{}/{}", document.kind(), document.name().unwrap_or_default())
}
