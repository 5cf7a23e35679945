//! Documents that may not stand beside each other; checked whenever a configuration is put together.

use super::documents::Document;

/// Kinds that claim the same name: two different ones of a group with one name exclude each other.
const GROUPS: &[&[&str]] = &[
    &["UserVolumeConfig", "ExistingVolumeConfig", "ExternalVolumeConfig"],
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

/// The text of the first collision.
pub(super) fn check(list: &[Document]) -> Result<(), String> {
    for (at, document) in list.iter().enumerate() {
        for earlier in &list[..at] {
            if earlier.same_as(document) {
                let what = if document.kind().is_empty() {
                    "v1alpha1.Config".to_owned()
                } else {
                    return Err(format!("duplicate document: {}", document.label()));
                };
                return Err(format!("duplicate {what}"));
            }
            let together = |group: &&&[&str]| group.contains(&earlier.kind()) && group.contains(&document.kind());
            if earlier.name() == document.name() && GROUPS.iter().any(|group| together(&group)) {
                return Err(format!("conflicting documents: {} and {}", earlier.label(), document.label()));
            }
        }
    }
    Ok(())
}
