//! Documents against the v1alpha1 fields that they replace: one row per pair. Having both is an error, since nobody
//! could say which one counts.

use serde_json::Value;

use crate::machineconfig::documents::Document;
use crate::machineconfig::go;

/// When a v1alpha1 field counts as set.
#[derive(Clone, Copy)]
enum When {
    /// It is there at all.
    Present,
    /// It is there and not zero.
    Set,
    /// It is `true`.
    True,
    /// An address is in it.
    Addressed,
}
use crate::machineconfig::go::quoted;
use When::{Addressed, Present, Set, True};

/// Kind, path of the v1alpha1 field, when it counts, and what Talos says.
type Row = (&'static str, &'static str, When, &'static str);

const PROXY: &str = "cluster proxy config in v1alpha1 config (.machine.cluster.proxy) can't be used with \
    KubeProxyConfig document, please remove it to avoid conflicts";
const FLANNEL: &str = "cluster network config in v1alpha1 config (.machine.cluster.network) can't be used with \
    KubeFlannelCNIConfig document, please remove it to avoid conflicts";
const NETWORK: &str = "cluster network config is already set in the v1alpha1 config (.machine.cluster.network). \
    Please remove it and use only the new KubeNetworkConfig document to avoid conflicts";
const NAME: &str = "cluster name is already set in the v1alpha1 config (.cluster.clusterName). Please remove it and \
    use only the new KubeClusterConfig document to avoid conflicts";
const ENDPOINT: &str = "cluster endpoint is already set in the v1alpha1 config (.cluster.controlPlane.endpoint). \
    Please remove it and use only the new KubeClusterConfig document to avoid conflicts";
const PRISM: &str = "KubePrism config in v1alpha1 config (.machine.features.kubePrism) can't be used with \
    KubePrismConfig document, please remove it to avoid conflicts";
const AGGREGATOR: &str = "kube-apiserver aggregator CA is already set in v1alpha1 config (.cluster.aggregatorCA), \
    please remove it and use the new KubeAggregatorCAConfig document instead";
const ADMISSION: &str = "admission control plugin config is already set in v1alpha1 config";
const ETCD: &str = "etcd encryption config is already set in v1alpha1 config";
const IDENTITY: &str = "cluster identity is already configured in .cluster.id/.cluster.secret of the v1alpha1 config";
/// Stands for "`.<path>` is already set in v1alpha1 config".
const BY_PATH: &str = "";
const ALREADY_SET: &str = " is already set in v1alpha1 config";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("HostnameConfig", "machine.network.hostname", Set, "static hostname is already set in v1alpha1 config"),
    ("HostnameConfig", "machine.features.stableHostname", True, "stable hostname is already set in v1alpha1 config"),
    ("ResolverConfig", "machine.network.searchDomains", Present, BY_PATH),
    ("ResolverConfig", "machine.network.nameservers", Addressed, BY_PATH),
    ("ResolverConfig", "machine.network.disableSearchDomain", True, BY_PATH),
    ("KubeSpanConfig", "machine.network.kubespan", Present, "kubespan is already configured in v1alpha1 machine.network.kubespan"),
    ("UnattendedInstallConfig", "machine.install", Present, "UnattendedInstallConfig config is incompatible with v1alpha1 config (.machine.install)"),
    ("DiscoveryServiceConfig", "cluster.discovery", Present, "discovery service is already configured in .cluster.discovery of the v1alpha1 config"),
    ("KubeletConfig", "machine.kubelet", Present, "kubelet config is already set in v1alpha1 config (.machine.kubelet)"),
    ("KubeCredentialProviderConfig", "machine.kubelet", Present, "cannot use KubeCredentialProviderConfig with legacy kubelet configuration (.machine.kubelet)"),
    ("KubeNodeConfig", "cluster.allowSchedulingOnControlPlanes", Present, BY_PATH),
    ("KubeNodeConfig", "cluster.allowSchedulingOnMasters", Present, BY_PATH),
    ("KubeNodeConfig", "machine.kubelet.skipNodeRegistration", Present, BY_PATH),
    ("KubeNodeConfig", "machine.kubelet.registerWithFQDN", Present, BY_PATH),
    ("KubeNodeConfig", "machine.kubelet.nodeIP", Present, BY_PATH),
    ("KubeNodeConfig", "machine.nodeLabels", Present, BY_PATH),
    ("KubeNodeConfig", "machine.nodeAnnotations", Present, BY_PATH),
    ("KubeNodeConfig", "machine.nodeTaints", Present, BY_PATH),
    ("KubeClusterConfig", "cluster.clusterName", Set, NAME),
    ("KubeClusterConfig", "cluster.controlPlane.endpoint", Present, ENDPOINT),
    ("KubeNetworkConfig", "cluster.network", Present, NETWORK),
    ("KubeFlannelCNIConfig", "cluster.network", Present, FLANNEL),
    ("KubeProxyConfig", "cluster.proxy", Present, PROXY),
    ("KubePrismConfig", "machine.features.kubePrism", Present, PRISM),
    ("KubeAPIServerConfig", "cluster.apiServer", Present, "kube-apiserver config is already set in v1alpha1 config (.cluster.apiServer)"),
    ("KubeAPIServerConfig", "cluster.controlPlane.localAPIServerPort", Set, "kube-apiserver API port is already set in v1alpha1 config (.cluster.controlPlane.localAPIServerPort)"),
    ("KubeAPIServerCAConfig", "cluster.ca", Present, "kube-apiserver CA is already set in v1alpha1 config (.cluster.ca)"),
    ("KubeAggregatorCAConfig", "cluster.aggregatorCA", Present, AGGREGATOR),
    ("KubeServiceAccountConfig", "cluster.serviceAccount", Present, "service account is already set in v1alpha1 config (.cluster.serviceAccount)"),
    ("KubeControllerManagerConfig", "cluster.controllerManager", Present, "kube-controller-manager config is already set in v1alpha1 config (.cluster.controllerManager)"),
    ("KubeControllerManagerConfig", "machine.controlPlane.controllerManager", Present, "kube-controller-manager config is already set in v1alpha1 config (.machine.controlplane.controllerManager)"),
    ("KubeSchedulerConfig", "cluster.scheduler", Present, "kube-scheduler config is already set in v1alpha1 config (.cluster.scheduler)"),
    ("KubeSchedulerConfig", "machine.controlPlane.scheduler", Present, "kube-scheduler config is already set in v1alpha1 config (.machine.controlplane.scheduler)"),
    ("KubeAdmissionControlConfig", "cluster.apiServer.admissionControl", Set, ADMISSION),
    ("KubeAuthorizerConfig", "cluster.apiServer.admissionControl", Set, ADMISSION),
    ("KubeAuditPolicyConfig", "cluster.apiServer.auditPolicy", Set, "audit policy config is already set in v1alpha1 config"),
    ("KubeCoreDNSConfig", "cluster.coreDNS", Present, "CoreDNS config is already set in v1alpha1 config (.cluster.coreDNS)"),
    ("KubeTalosAPIAccessConfig", "machine.features.kubernetesTalosAPIAccess", Present, BY_PATH),
    ("ImageCacheConfig", "machine.features.imageCache", Present, "image cache config is already set in v1alpha1 config"),
    ("CRIBaseRuntimeSpecConfig", "machine.baseRuntimeSpecOverrides", Present, "base runtime spec overrides are already set in v1alpha1 config"),
];

/// What keeps a document from standing beside the v1alpha1 one, in Talos's words.
pub(super) fn with_v1alpha1(document: &Document, v1alpha1: &Document) -> Vec<String> {
    let get = |path: &str| v1alpha1.get(&path.split('.').collect::<Vec<_>>());
    let counts = |path: &str, when: When| {
        get(path).is_some_and(|value| match when {
            Present => true,
            Set => is_set(value),
            True => *value == Value::Bool(true),
            Addressed => {
                let mut texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                texts.any(|text| go::addr(text).is_ok())
            }
        })
    };
    // Talos stops at the first of a document's rows.
    let mut found: Vec<String> = ROWS
        .iter()
        .filter(|(kind, path, when, _)| *kind == document.kind() && counts(path, *when))
        .map(|(_, path, _, text)| match *text {
            BY_PATH => format!(".{path}{ALREADY_SET}"),
            text => text.to_owned(),
        })
        .take(1)
        .collect();
    match document.kind() {
        "ResolverConfig"
            if found.is_empty()
                && document.get(&["hostDNS"]).is_some_and(is_set)
                && counts("machine.features.hostDNS", Present) =>
        {
            found.push(".machine.features.hostDNS is already set in v1alpha1 config".to_owned());
        }
        "DiscoveryIdentityConfig" if counts("cluster.id", Set) || counts("cluster.secret", Set) => {
            found.push(IDENTITY.to_owned());
        }
        "KubeEtcdEncryptionConfig"
            if counts("cluster.secretboxEncryptionSecret", Set) || counts("cluster.aescbcEncryptionSecret", Set) =>
        {
            found.push(ETCD.to_owned());
        }
        "TimeSyncConfig" => found.extend(time(v1alpha1)),
        "VolumeConfig" if document.get(&["encryption"]).is_some_and(has_provider) => {
            let name = document.name().unwrap_or_default();
            let field = name.to_ascii_lowercase();
            if matches!(name, "STATE" | "EPHEMERAL")
                && counts(&format!("machine.systemDiskEncryption.{field}"), Present)
            {
                found.push(format!(
                    "system disk encryption for {name} is configured in both v1alpha1.Config and VolumeConfig",
                    name = quoted(name)
                ));
            }
        }
        _ => {}
    }
    found
}

/// The v1alpha1 fields that an error of these rules may be about.
pub(in crate::machineconfig) fn fields_of(error: &str) -> Vec<&'static str> {
    const OTHERS: &[(&str, &str)] = &[
        (".machine.features.hostDNS is already set in v1alpha1 config", "machine.features.hostDNS"),
        (IDENTITY, "cluster.id"),
        (IDENTITY, "cluster.secret"),
        (ETCD, "cluster.secretboxEncryptionSecret"),
        (ETCD, "cluster.aescbcEncryptionSecret"),
    ];
    let by_row = ROWS.iter().filter(|(_, path, _, text)| match *text {
        BY_PATH => error.strip_prefix('.').and_then(|rest| rest.strip_prefix(path)) == Some(ALREADY_SET),
        text => text == error,
    });
    let others = OTHERS.iter().filter(|(text, _)| *text == error).map(|(_, path)| *path);
    by_row.map(|(_, path, ..)| *path).chain(others).collect()
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn has_provider(encryption: &Value) -> bool {
    !matches!(encryption.get("provider").and_then(Value::as_str), None | Some("" | "none"))
}

/// What of `machine.time` keeps a document about the time away, whatever that says.
fn time(v1alpha1: &Document) -> Option<String> {
    let time = v1alpha1.get(&["machine", "time"])?;
    let what = if time.get("disabled") == Some(&Value::Bool(true)) {
        "time sync cannot be disabled"
    } else if time.get("servers").is_some_and(is_set) {
        "time servers cannot be specified"
    } else if time.get("bootTimeout").is_some_and(|timeout| is_set(timeout) && *timeout != "0s") {
        "boot timeout cannot be specified"
    } else {
        return None;
    };
    Some(format!("{what} in both v1alpha1 and new-style configuration"))
}
