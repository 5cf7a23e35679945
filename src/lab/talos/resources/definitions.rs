//! What there is to ask for: the types, and the resources that tell a client about them.
//!
//! No server resolves `links`: a client lists `ResourceDefinitions.meta.cosi.dev`
//! and finds the type, its namespace and the columns to print (Talos 1.12:
//! pkg/machinery/resources; COSI 1.12: pkg/resource/meta).

use serde_json::json;

use super::{Resource, resource};
use crate::talos::wire::specs::ResourceDefinitionSpec;
use crate::talos::wire::specs::resource_definition_spec::{PrintColumn, Sensitivity};

/// One type of resource.
struct Kind {
    /// In full, as `LinkStatuses.net.talos.dev`.
    name: &'static str,
    /// Where a client looks that was told no namespace.
    namespace: &'static str,
    aliases: &'static [&'static str],
    /// Title and path below the spec.
    columns: Columns,
    /// Only an administrator may read it.
    sensitive: bool,
}

type Columns = &'static [(&'static str, &'static str)];

const fn open(name: &'static str, namespace: &'static str, aliases: &'static [&'static str], columns: Columns) -> Kind {
    Kind { name, namespace, aliases, columns, sensitive: false }
}

const fn sensitive(name: &'static str, namespace: &'static str) -> Kind {
    Kind { name, namespace, aliases: &[], columns: &[], sensitive: true }
}

const META: &str = "meta";
const DEFINITIONS: &str = "ResourceDefinitions.meta.cosi.dev";
const NAMESPACE_TYPE: &str = "Namespaces.meta.cosi.dev";

pub const NAMESPACES: [&str; 16] = [
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
    META,
];

/// Types that the lab knows, whether or not it ever has one.
#[rustfmt::skip]
static KINDS: [Kind; 48] = [
    open(DEFINITIONS, META, &["api-resources"], &[("Aliases", ".aliases[:]")]),
    open(NAMESPACE_TYPE, META, &["ns"], &[("Description", ".description")]),
    open("LinkStatuses.net.talos.dev", "network", &["link", "links"], &[
        ("Alias", ".alias"), ("Type", ".type"), ("Kind", ".kind"), ("Hw Addr", ".hardwareAddr"),
        ("Oper State", ".operationalState"), ("Link State", ".linkState"),
    ]),
    open("AddressStatuses.net.talos.dev", "network", &["address", "addresses"], &[("Address", ".address"), ("Link", ".linkName")]),
    open("NodeAddresses.net.talos.dev", "network", &[], &[("Addresses", ".addresses"), ("SortAlgorithm", ".sortAlgorithm")]),
    open("HostnameStatuses.net.talos.dev", "network", &["hostname"], &[("Hostname", ".hostname"), ("Domainname", ".domainname")]),
    open("RouteStatuses.net.talos.dev", "network", &["route", "routes"], &[
        ("Destination", ".dst"), ("Gateway", ".gateway"), ("Link", ".outLinkName"), ("Metric", ".priority"),
    ]),
    open("ResolverStatuses.net.talos.dev", "network", &["resolvers"], &[("Resolvers", ".dnsServers"), ("Search Domains", ".searchDomains")]),
    open("TimeServerStatuses.net.talos.dev", "network", &["timeserver", "timeservers"], &[("Timeservers", ".timeServers")]),
    open("NetworkStatuses.net.talos.dev", "network", &["netstatus", "netstatuses"], &[
        ("Address", ".addressReady"), ("Connectivity", ".connectivityReady"), ("Hostname", ".hostnameReady"), ("Etc", ".etcFilesReady"),
    ]),
    open("SystemInformations.hardware.talos.dev", "hardware", &["systeminformation"], &[
        ("Manufacturer", ".manufacturer"), ("ProductName", ".productName"), ("Version", ".version"),
        ("SerialNumber", ".serialnumber"), ("UUID", ".uuid"), ("WakeUpType", ".wakeUpType"), ("SKUNumber", ".skuNumber"),
    ]),
    open("Processors.hardware.talos.dev", "hardware", &["cpus", "cpu"], &[
        ("Manufacturer", ".manufacturer"), ("Model", ".productName"), ("Cores", ".coreCount"), ("Threads", ".threadCount"),
    ]),
    open("MemoryModules.hardware.talos.dev", "hardware", &["memorymodules", "ram"], &[
        ("Manufacturer", ".manufacturer"), ("Model", ".productName"), ("SizeMiB", ".sizeMiB"),
    ]),
    open("Disks.block.talos.dev", "runtime", &[], &[
        ("Size", ".pretty_size"), ("Read Only", ".readonly"), ("Transport", ".transport"), ("Rotational", ".rotational"),
        ("WWID", ".wwid"), ("Model", ".model"), ("Serial", ".serial"),
    ]),
    open("SystemDisks.block.talos.dev", "runtime", &[], &[("Disk", ".diskID")]),
    open("DiscoveredVolumes.block.talos.dev", "runtime", &[], &[
        ("Type", ".type"), ("Size", ".pretty_size"), ("Discovered", ".name"), ("Label", ".label"), ("PartitionLabel", ".partition_label"),
    ]),
    open("VolumeStatuses.block.talos.dev", "runtime", &[], &[
        ("Type", ".type"), ("Phase", ".phase"), ("Location", ".location"), ("Size", ".prettySize"),
    ]),
    open("MachineStatuses.runtime.talos.dev", "runtime", &[], &[("Stage", ".stage"), ("Ready", ".status.ready")]),
    open("SecurityStates.talos.dev", "runtime", &[], &[
        ("SecureBoot", ".secureBoot"), ("UKISigningKeyFingerprint", ".ukiSigningKeyFingerprint"),
        ("PCRSigningKeyFingerprint", ".pcrSigningKeyFingerprint"), ("SELinuxState", ".selinuxState"),
        ("ModuleSignatureEnforced", ".moduleSignatureEnforced"),
    ]),
    open("ExtensionStatuses.runtime.talos.dev", "runtime", &["extensions"], &[("Name", ".metadata.name"), ("Version", ".metadata.version")]),
    open("PlatformMetadatas.talos.dev", "runtime", &[], &[
        ("Platform", ".platform"), ("Type", ".instanceType"), ("Region", ".region"), ("Zone", ".zone"),
    ]),
    open("MetaKeys.runtime.talos.dev", "runtime", &["meta"], &[("Value", ".value")]),
    open("KernelCmdlines.runtime.talos.dev", "runtime", &["cmdline"], &[("Cmdline", ".cmdline")]),
    open("Diagnostics.runtime.talos.dev", "runtime", &[], &[("Message", ".message")]),
    open("Services.v1alpha1.talos.dev", "runtime", &["svc"], &[("Running", ".running"), ("Healthy", ".healthy"), ("Health Unknown", ".unknown")]),
    open("TimeStatuses.v1alpha1.talos.dev", "runtime", &[], &[("Synced", ".synced")]),
    open("MachineTypes.config.talos.dev", "config", &[], &[("Type", "@")]),
    open("Members.cluster.talos.dev", "cluster", &[], &[
        ("Hostname", ".hostname"), ("Machine Type", ".machineType"), ("OS", ".operatingSystem"), ("Addresses", ".addresses"),
    ]),
    open("Affiliates.cluster.talos.dev", "cluster", &[], &[("Hostname", ".hostname"), ("Machine Type", ".machineType"), ("Addresses", ".addresses")]),
    open("Identities.cluster.talos.dev", "cluster", &[], &[("ID", ".nodeId")]),
    open("Nodenames.kubernetes.talos.dev", "k8s", &[], &[("Nodename", ".nodename")]),
    open("NodeStatuses.kubernetes.talos.dev", "k8s", &[], &[("Ready", ".nodeReady"), ("Unschedulable", ".unschedulable")]),
    open("StaticPodStatuses.kubernetes.talos.dev", "k8s", &["podstatus"], &[("Ready", ".conditions[?(@.type==\"Ready\")].status")]),
    open("StaticPods.kubernetes.talos.dev", "controlplane", &[], &[]),
    open("EtcdMembers.etcd.talos.dev", "etcd", &[], &[("Member ID", ".memberID")]),
    open("Versions.runtime.talos.dev", "runtime", &[], &[("Version", ".version")]),
    open("BootIDs.runtime.talos.dev", "runtime", &[], &[]),
    open("UnattendedInstallStatuses.runtime.talos.dev", "runtime", &[], &[]),
    open("KubeSpanPeerStatuses.kubespan.talos.dev", "kubespan", &[], &[]),
    sensitive("MachineConfigs.config.talos.dev", "config"),
    sensitive("LinkSpecs.net.talos.dev", "network"),
    sensitive("OperatorSpecs.net.talos.dev", "network"),
    sensitive("DeviceConfigSpecs.net.talos.dev", "network"),
    sensitive("OSRootSecrets.secrets.talos.dev", "secrets"),
    sensitive("VolumeConfigs.block.talos.dev", "runtime"),
    sensitive("KubeletSpecs.kubernetes.talos.dev", "k8s"),
    sensitive("NodeLabelSpecs.k8s.talos.dev", "k8s"),
    sensitive("ExtensionServiceConfigs.runtime.talos.dev", "runtime"),
];

/// `None`: no such type. Else whether it is sensitive. The check forgives letter case; the store does not.
pub fn known(kind: &str) -> Option<bool> {
    KINDS.iter().find(|known| known.name.eq_ignore_ascii_case(kind)).map(|known| known.sensitive)
}

/// The resources of namespace `meta`: the same on every machine.
pub fn meta() -> Vec<Resource> {
    let namespaces = NAMESPACES.iter().map(|name| resource(META, NAMESPACE_TYPE, *name, &String::new(), &json!({})));
    KINDS.iter().map(definition).chain(namespaces).collect()
}

fn definition(kind: &Kind) -> Resource {
    let (plural, _) = kind.name.split_once('.').unwrap_or((kind.name, ""));
    let display = singular(plural);
    let mut aliases: Vec<String> = kind.aliases.iter().map(|&alias| alias.to_owned()).collect();
    aliases.push(display.to_lowercase());
    let capitals: String = plural.chars().filter(char::is_ascii_uppercase).collect();
    if capitals.len() > 1 {
        aliases.push(capitals.to_lowercase());
        if !capitals.ends_with('S') {
            aliases.push(format!("{}s", capitals.to_lowercase()));
        }
    }
    // Every leading part of the type, but not all of it.
    let dots = kind.name.match_indices('.').map(|(at, _)| kind.name[..at].to_lowercase());
    let all: Vec<String> = dots.chain(aliases.iter().cloned()).collect();
    let columns: Vec<PrintColumn> = kind
        .columns
        .iter()
        .map(|(name, path)| PrintColumn { name: (*name).to_owned(), json_path: format!("{{{path}}}") })
        .collect();
    let shown: Vec<_> =
        columns.iter().map(|column| json!({"name": column.name, "jsonPath": column.json_path})).collect();
    let mut yaml = json!({
        "type": kind.name, "displayType": display, "defaultNamespace": kind.namespace, "aliases": aliases,
        "allAliases": all, "printColumns": shown,
    });
    if kind.sensitive {
        yaml["sensitivity"] = json!("sensitive");
    }
    let spec = ResourceDefinitionSpec {
        resource_type: kind.name.to_owned(),
        display_type: display,
        default_namespace: kind.namespace.to_owned(),
        aliases,
        all_aliases: all,
        print_columns: columns,
        sensitivity: if kind.sensitive { Sensitivity::Sensitive } else { Sensitivity::NonSensitive }.into(),
    };
    resource(META, DEFINITIONS, kind.name.to_lowercase(), &spec, &yaml)
}

/// Of the plurals above.
fn singular(plural: &str) -> String {
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

    #[test]
    fn types_are_known_in_any_case_and_unknown_otherwise() {
        assert_eq!(known("linkstatuses.net.talos.dev"), Some(false));
        assert_eq!(known("LinkSpecs.net.talos.dev"), Some(true));
        assert_eq!(known("links"), None);
        assert!(KINDS.iter().all(|kind| NAMESPACES.contains(&kind.namespace)));
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
        for resource in meta().iter().filter(|resource| resource.kind == DEFINITIONS) {
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
