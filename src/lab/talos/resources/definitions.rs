//! What there is to ask for: the types, and the resources that tell a client about them.
//!
//! No server resolves `links`: a client lists `ResourceDefinitions.meta.cosi.dev`
//! and finds the type, its namespace and the columns to print (Talos 1.12:
//! pkg/machinery/resources; COSI 1.12: pkg/resource/meta).

use serde_json::json;

use super::kinds::{KINDS, Kind};
use super::{Resource, resource};
use crate::lab::fleet::minor::Minor;
use crate::talos::wire::specs::ResourceDefinitionSpec;
use crate::talos::wire::specs::resource_definition_spec::{PrintColumn, Sensitivity};

const META: &str = "meta";
const DEFINITIONS: &str = "ResourceDefinitions.meta.cosi.dev";
const NAMESPACE_TYPE: &str = "Namespaces.meta.cosi.dev";

/// Those that are there on every machine, whatever its configuration.
const NAMESPACES: [&str; 17] = [
    "runtime",
    "network",
    "network-config",
    "hardware",
    "config",
    "cluster",
    "cluster-raw",
    "k8s",
    "controlplane",
    "etcd",
    "secrets",
    "files",
    "perf",
    "cri",
    "kubespan",
    "security",
    META,
];

/// Every namespace of a minor.
pub fn namespaces(minor: &Minor) -> impl Iterator<Item = &'static str> {
    let more: &[&str] = if minor.volume_removal { &["containers", "storage"] } else { &[] };
    NAMESPACES.into_iter().chain(more.iter().copied())
}

/// `None`: no such type. Else whether it is sensitive. The check forgives letter case; the store does not.
pub fn known(kind: &str, minor: &Minor) -> Option<bool> {
    of(minor).find(|known| known.name.eq_ignore_ascii_case(kind)).map(|known| known.is_sensitive(minor.minor))
}

/// The row of a type that this minor has, by its exact name.
pub(super) fn find(kind: &str, minor: &Minor) -> Option<&'static Kind> {
    of(minor).find(|known| known.name == kind)
}

fn of(minor: &Minor) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(move |kind| kind.minors.has(minor.minor))
}

/// The resources of namespace `meta`: the same on every machine of a minor.
pub fn meta(minor: &Minor) -> Vec<Resource> {
    let namespaces = namespaces(minor).map(|name| resource(META, NAMESPACE_TYPE, name, &String::new(), &json!({})));
    of(minor).map(|kind| definition(kind, minor.minor)).chain(namespaces).collect()
}

fn definition(kind: &Kind, minor: u32) -> Resource {
    let (plural, _) = kind.name.split_once('.').unwrap_or((kind.name, ""));
    let display = kind.display.map_or_else(|| singular(plural), str::to_owned);
    let mut aliases: Vec<String> = kind.aliases(minor).map(str::to_owned).collect();
    let mut all: Vec<String> = Vec::new();
    if kind.automatic {
        aliases.push(display.to_lowercase());
        let capitals: String = plural.chars().filter(char::is_ascii_uppercase).collect();
        if capitals.len() > 1 {
            aliases.push(capitals.to_lowercase());
            if !capitals.ends_with('S') {
                aliases.push(format!("{}s", capitals.to_lowercase()));
            }
        }
        // Every leading part of the type, but not all of it.
        all.extend(kind.name.match_indices('.').map(|(at, _)| kind.name[..at].to_lowercase()));
    }
    all.extend(aliases.iter().cloned());
    let columns: Vec<PrintColumn> = kind
        .columns(minor)
        .map(|(name, path)| PrintColumn { name: name.to_owned(), json_path: path.to_owned() })
        .collect();
    let shown: Vec<_> =
        columns.iter().map(|column| json!({"name": column.name, "jsonPath": column.json_path})).collect();
    let mut yaml = json!({
        "type": kind.name, "displayType": display, "defaultNamespace": kind.namespace, "aliases": aliases,
        "allAliases": all, "printColumns": shown,
    });
    if !kind.automatic {
        yaml["skipAutomaticAliases"] = json!(true);
    }
    if kind.is_sensitive(minor) {
        yaml["sensitivity"] = json!("sensitive");
    }
    let spec = ResourceDefinitionSpec {
        resource_type: kind.name.to_owned(),
        display_type: display,
        default_namespace: kind.namespace.to_owned(),
        aliases,
        all_aliases: all,
        print_columns: columns,
        sensitivity: if kind.is_sensitive(minor) { Sensitivity::Sensitive } else { Sensitivity::NonSensitive }.into(),
    };
    resource(META, DEFINITIONS, kind.name.to_lowercase(), &spec, &yaml)
}

/// Of the plurals above.
pub fn singular(plural: &str) -> String {
    let stem = |ending: &str| plural.strip_suffix(ending);
    match (stem("ies"), stem("tuses"), stem("sses"), stem("s")) {
        (Some(stem), ..) => format!("{stem}y"),
        (_, Some(stem), ..) => format!("{stem}tus"),
        (_, _, Some(stem), _) => format!("{stem}ss"),
        (.., stem) => stem.unwrap_or(plural).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;

    use super::*;
    use crate::lab::fleet::minor;

    #[test]
    fn types_are_known_in_any_case_and_unknown_otherwise() {
        let minor = minor::of("v1.12.4");
        assert_eq!(known("linkstatuses.net.talos.dev", minor), Some(false));
        assert_eq!(known("LinkSpecs.net.talos.dev", minor), Some(true));
        assert_eq!(known("links", minor), None);
        let boots = "BootIDs.runtime.talos.dev";
        assert_eq!((known(boots, minor), known(boots, minor::of("v1.14.0"))), (None, Some(false)));
        assert!(of(minor).all(|kind| namespaces(minor).any(|known| known == kind.namespace)));
    }

    #[test]
    fn plurals_have_their_singulars() {
        for (plural, one) in [
            ("LinkStatuses", "LinkStatus"),
            ("NodeAddresses", "NodeAddress"),
            ("Identities", "Identity"),
            ("DiscoveredVolumes", "DiscoveredVolume"),
            ("BootIDs", "BootID"),
            ("SecurityStates", "SecurityState"),
        ] {
            assert_eq!(singular(plural), one);
        }
    }

    #[test]
    fn every_word_that_people_type_means_one_type() {
        let mut meanings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for resource in meta(minor::of("v1.13.0")).iter().filter(|resource| resource.kind == DEFINITIONS) {
            let spec = ResourceDefinitionSpec::decode(&*resource.proto).unwrap();
            assert_eq!(resource.id, spec.resource_type.to_lowercase());
            for alias in std::iter::once(resource.id.clone()).chain(spec.all_aliases) {
                meanings.entry(alias).or_default().push(spec.resource_type.clone());
            }
        }
        for (word, kind) in [
            ("links", "LinkStatuses.net.talos.dev"),
            ("linkstatuses.net", "LinkStatuses.net.talos.dev"),
            ("members", "Members.cluster.talos.dev"),
            ("mountstatus", "MountStatuses.block.talos.dev"),
            ("machinestatus", "MachineStatuses.runtime.talos.dev"),
            ("nodestatus", "NodeStatuses.kubernetes.talos.dev"),
            ("disks", "Disks.block.talos.dev"),
            ("mc", "MachineConfigs.config.talos.dev"),
            ("rd", DEFINITIONS),
        ] {
            let mut found = meanings.get(word).cloned().unwrap_or_default();
            found.dedup();
            assert_eq!(found, [kind], "{word}");
        }
    }
}
