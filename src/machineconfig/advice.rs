//! What Talos accepts and people regret: findings about configurations that are valid.
//!
//! Each comes from a cluster that did not do what its configuration said: a feature that was on in the kubelet and off
//! in the API server, logs sent to a port that nobody reads, kernel arguments that a signed boot file ignores.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::documents::{Document, Documents};
use super::go::Url;
use super::view::View;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Advice {
    /// What is so, and what follows from it.
    pub text: String,
    /// What to do about it.
    pub fix: String,
}

/// Kubernetes feature gates that do something only when the API server and the kubelet agree: a field that the API
/// server drops when it is off there, and that the kubelet ignores when it is off there. Written down from general
/// knowledge and never checked against Kubernetes' own table, which is why it draws a warning and refuses nothing.
const SHARED_GATES: &[&str] = &[
    "AllAlpha",
    "AllBeta",
    "ClusterTrustBundle",
    "ClusterTrustBundleProjection",
    "ContainerRestartRules",
    "ContainerStopSignals",
    "DRAAdminAccess",
    "DRAConsumableCapacity",
    "DRAExtendedResource",
    "DRAPartitionableDevices",
    "DRAPrioritizedList",
    "DRAResourceClaimDeviceStatus",
    "DynamicResourceAllocation",
    "EnvFiles",
    "HostnameOverride",
    "ImageVolume",
    "ImageVolumeWithDigest",
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScaling",
    "InPlacePodVerticalScalingAllocatedStatus",
    "InPlacePodVerticalScalingExclusiveCPUs",
    "NodeDeclaredFeatures",
    "PodCertificateRequest",
    "PodLevelResources",
    "PodLifecycleSleepAction",
    "PodLifecycleSleepActionAllowZero",
    "ProcMountType",
    "RecursiveReadOnlyMounts",
    "ResourceHealthStatus",
    "SELinuxChangePolicy",
    "SELinuxMount",
    "SELinuxMountReadWriteOncePod",
    "SidecarContainers",
    "SupplementalGroupsPolicy",
    "UserNamespacesSupport",
];

/// Where gates are given: kind (empty: v1alpha1), path of the arguments, path of the kubelet's own configuration.
type Source = (&'static str, &'static [&'static str], Option<&'static [&'static str]>);

const KUBELET: [Source; 2] = [
    ("", &["machine", "kubelet", "extraArgs"], Some(&["machine", "kubelet", "extraConfig"])),
    ("KubeletConfig", &["extraArgs"], Some(&["config"])),
];
const API_SERVER: [Source; 2] =
    [("", &["cluster", "apiServer", "extraArgs"], None), ("KubeAPIServerConfig", &["extraArgs"], None)];

type Gates = BTreeMap<String, bool>;

/// Gates that one side of the cluster has and the other has not. `machines` are all of one cluster, by name.
pub fn feature_gates(machines: &[(&str, &Documents)]) -> Vec<Advice> {
    let is_control_plane =
        |documents: &Documents| View::of(documents).role == Some(crate::inventory::Role::ControlPlane);
    let servers: Vec<(&str, Gates)> = machines
        .iter()
        .filter(|(_, documents)| is_control_plane(documents))
        .map(|(name, documents)| (*name, gates(documents, &API_SERVER)))
        .collect();
    let Some((_, server)) = servers.first() else { return Vec::new() };
    let mut found = BTreeSet::new();
    for (name, own) in &servers {
        if own != server {
            let text = format!("the API server's feature gates on {name} differ from those on {}", servers[0].0);
            found.insert(Advice { text, fix: "give all control planes the same".to_owned() });
        }
    }
    let kubelets: Vec<(&str, Gates)> =
        machines.iter().map(|(name, documents)| (*name, gates(documents, &KUBELET))).collect();
    let names: BTreeSet<&String> = kubelets.iter().flat_map(|(_, gates)| gates.keys()).chain(server.keys()).collect();
    for gate in names {
        let theirs = server.get(gate);
        let differ: Vec<&str> =
            kubelets.iter().filter(|(_, own)| own.get(gate) != theirs).map(|(name, _)| *name).collect();
        let contradicted =
            kubelets.iter().any(|(_, own)| matches!((own.get(gate), theirs), (Some(a), Some(b)) if a != b));
        if differ.is_empty() || !(contradicted || SHARED_GATES.contains(&gate.as_str())) {
            continue;
        }
        let whose = if differ.len() == kubelets.len() {
            "no kubelet".to_owned()
        } else {
            format!("not the kubelet of {}", differ.join(", "))
        };
        found.insert(if let Some(value) = theirs {
            Advice {
                text: format!("the API server has feature gate {gate}={value} and {whose} has it: it takes both"),
                fix: format!("add {gate}={value} to machine.kubelet.extraArgs.feature-gates"),
            }
        } else {
            let value = kubelets.iter().find_map(|(_, own)| own.get(gate)).copied().unwrap_or_default();
            Advice {
                text: format!("the kubelet has feature gate {gate}={value} and the API server has not: it takes both"),
                fix: format!("add {gate}={value} to cluster.apiServer.extraArgs.feature-gates, on control planes"),
            }
        });
    }
    found.into_iter().collect()
}

fn gates(documents: &Documents, sources: &[Source]) -> Gates {
    let mut gates = Gates::new();
    for (kind, arguments, config) in sources {
        for document in documents.of_kind(kind) {
            let at = |path: &[&str]| document.get(path);
            match at(arguments).and_then(|arguments| arguments.get("feature-gates")) {
                Some(Value::String(text)) => gates.extend(text.split(',').filter_map(gate)),
                Some(Value::Array(texts)) => {
                    let all = texts.iter().filter_map(Value::as_str).flat_map(|text| text.split(','));
                    gates.extend(all.filter_map(gate));
                }
                _ => {}
            }
            let map = config.and_then(at).and_then(|config| config.get("featureGates")).and_then(Value::as_object);
            gates.extend(map.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_bool()?))));
        }
    }
    gates
}

/// `ImageVolume=true`.
fn gate(text: &str) -> Option<(String, bool)> {
    let (name, value) = text.trim().split_once('=')?;
    Some((name.to_owned(), value.parse().ok()?))
}

/// Logs that go to a port of the machine itself.
pub fn local_logging(documents: &Documents) -> Vec<Advice> {
    let destinations = documents.v1alpha1().and_then(|document| document.get(&["machine", "logging", "destinations"]));
    let services = destinations.and_then(Value::as_array).into_iter().flatten();
    let services = services.filter_map(|destination| Some(("machine.logging", destination.get("endpoint")?.as_str()?)));
    let kernel = documents.of_kind("KmsgLogConfig").filter_map(|document: &Document| document.get(&["url"])?.as_str());
    let all = services.chain(kernel.map(|url| ("KmsgLogConfig", url)));
    let local = all.filter_map(|(what, endpoint)| {
        let url = Url::parse(endpoint).ok()?;
        let host = url.hostname();
        let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        is_local.then(|| Advice {
            text: format!(
                "{what} sends to {endpoint} on the machine itself, where nothing of this configuration listens: what is \
                 sent before something does is lost"
            ),
            fix: format!("run a collector with port {} of the host on every machine", url.port()),
        })
    });
    local.collect()
}

/// Arguments for a kernel that does not read them: the command line of a unified kernel image is part of its signed
/// file. Talos refuses them from contract 1.12 on, and ignores them before.
pub fn kernel_arguments(documents: &Documents) -> Vec<String> {
    View::of(documents).install.map(|install| install.extra_kernel_args).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(kind: &str, rest: &str) -> Documents {
        Documents::parse(&format!("version: v1alpha1\nmachine:\n  type: {kind}\n{rest}")).expect("decodes")
    }

    fn texts(machines: &[(&str, &Documents)]) -> Vec<String> {
        feature_gates(machines).into_iter().map(|advice| format!("{}; {}", advice.text, advice.fix)).collect()
    }

    const KUBELET_GATE: &str = "  kubelet: {extraArgs: {feature-gates: ImageVolume=true}}\n";
    const SERVER_GATE: &str = "cluster: {apiServer: {extraArgs: {feature-gates: 'Other=true,ImageVolume=true'}}}\n";

    #[test]
    fn gates_have_to_be_on_both_sides() {
        let both = machine("controlplane", &format!("{KUBELET_GATE}{SERVER_GATE}"));
        let worker = machine("worker", KUBELET_GATE);
        assert_eq!(texts(&[("a", &both), ("b", &worker)]), [""; 0], "Other is the API server's own affair");

        let kubelet_only = machine("controlplane", KUBELET_GATE);
        assert_eq!(
            texts(&[("a", &kubelet_only), ("b", &worker)]),
            ["the kubelet has feature gate ImageVolume=true and the API server has not: it takes both; add \
              ImageVolume=true to cluster.apiServer.extraArgs.feature-gates, on control planes"]
        );
        let bare = machine("worker", "");
        assert_eq!(
            texts(&[("a", &both), ("b", &bare)]),
            ["the API server has feature gate ImageVolume=true and not the kubelet of b has it: it takes both; add \
              ImageVolume=true to machine.kubelet.extraArgs.feature-gates"]
        );
    }

    #[test]
    fn gates_are_found_in_every_form() {
        let config = "  kubelet: {extraConfig: {featureGates: {ImageVolume: true}}}\n";
        let list = "cluster: {apiServer: {extraArgs: {feature-gates: [ImageVolume=true]}}}\n";
        let same = machine("controlplane", &format!("{config}{list}"));
        assert_eq!(texts(&[("a", &same)]), [""; 0]);
        let modern = "---\napiVersion: v1alpha1\nkind: KubeletConfig\nimage: x\nextraArgs: {feature-gates: UserNamespacesSupport=true}\n";
        assert_eq!(texts(&[("a", &machine("controlplane", modern))]).len(), 1);
        let disagree = "  kubelet: {extraArgs: {feature-gates: Unheard=true}}\ncluster: {apiServer: {extraArgs: {feature-gates: Unheard=false}}}\n";
        assert_eq!(texts(&[("a", &machine("controlplane", disagree))]).len(), 1, "even of a gate that is in no table");
    }

    #[test]
    fn control_planes_have_the_same_gates() {
        let (with, without) = (machine("controlplane", SERVER_GATE), machine("controlplane", ""));
        assert!(texts(&[("a", &with), ("b", &without)])[1].starts_with("the API server's feature gates on b differ"));
    }

    #[test]
    fn logs_to_the_machine_itself_are_remarked_upon() {
        let logging = |endpoint: &str| {
            machine(
                "worker",
                &format!("  logging: {{destinations: [{{endpoint: '{endpoint}', format: json_lines}}]}}\n"),
            )
        };
        for local in ["udp://127.0.0.1:6051", "tcp://[::1]:6051", "udp://localhost:6051"] {
            let advice = local_logging(&logging(local));
            assert!(advice.len() == 1 && advice[0].fix.contains("6051"), "{local}: {advice:?}");
        }
        assert_eq!(local_logging(&logging("udp://10.0.0.1:6051")), []);
        let kernel =
            machine("worker", "---\napiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\nurl: udp://127.0.0.1:6050\n");
        assert_eq!(local_logging(&kernel).len(), 1);
    }

    #[test]
    fn kernel_arguments_are_found() {
        let args = machine("worker", "  install: {extraKernelArgs: [a=b]}\n");
        assert_eq!(kernel_arguments(&args), ["a=b"]);
        assert!(kernel_arguments(&machine("worker", "")).is_empty());
    }
}
