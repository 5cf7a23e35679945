//! Which field goes where. A field with one new place is a row; the others have a function.

use serde_json::{Map, Value, json};

use super::{Draft, Target};
use crate::machineconfig::go::quoted;

type Tree = Map<String, Value>;

/// Field of v1alpha1, kind, and field of that kind. The values look alike.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    ("machine.features.hostDNS", "ResolverConfig", "hostDNS"),
    ("machine.kubelet.image", "KubeletConfig", "image"),
    ("machine.kubelet.extraArgs", "KubeletConfig", "extraArgs"),
    ("machine.kubelet.extraConfig", "KubeletConfig", "config"),
    ("machine.kubelet.clusterDNS", "KubeletConfig", "clusterDNS"),
    ("machine.kubelet.defaultRuntimeSeccompProfileEnabled", "KubeletConfig", "defaultRuntimeSeccompProfileEnabled"),
    ("machine.kubelet.credentialProviderConfig", "KubeCredentialProviderConfig", "configuration"),
    ("machine.kubelet.nodeIP.validSubnets", "KubeNodeConfig", "nodeIP.validSubnets"),
    ("machine.kubelet.skipNodeRegistration", "KubeNodeConfig", "skipNodeRegistration"),
    ("machine.kubelet.registerWithFQDN", "KubeNodeConfig", "registerWithFQDN"),
    ("machine.nodeLabels", "KubeNodeConfig", "labels"),
    ("machine.nodeAnnotations", "KubeNodeConfig", "annotations"),
    ("machine.nodeTaints", "KubeNodeConfig", "taints"),
    ("cluster.id", "DiscoveryIdentityConfig", "clusterID"),
    ("cluster.secret", "DiscoveryIdentityConfig", "clusterSecret"),
    ("cluster.clusterName", "KubeClusterConfig", "clusterName"),
    ("cluster.controlPlane.endpoint", "KubeClusterConfig", "endpoint"),
    ("cluster.controlPlane.localAPIServerPort", "KubeAPIServerConfig", "apiPort"),
    ("cluster.network.dnsDomain", "KubeNetworkConfig", "dnsDomain"),
    ("cluster.network.podSubnets", "KubeNetworkConfig", "podSubnets"),
    ("cluster.network.serviceSubnets", "KubeNetworkConfig", "serviceSubnets"),
    ("cluster.network.cni.flannel.extraArgs", "KubeFlannelCNIConfig", "extraArgs"),
    ("cluster.network.cni.flannel.kubeNetworkPoliciesEnabled", "KubeFlannelCNIConfig", "kubeNetworkPoliciesEnabled"),
    ("cluster.apiServer.image", "KubeAPIServerConfig", "image"),
    ("cluster.apiServer.extraArgs", "KubeAPIServerConfig", "extraArgs"),
    ("cluster.apiServer.env", "KubeAPIServerConfig", "env"),
    ("cluster.apiServer.certSANs", "KubeAPIServerConfig", "certExtraSANs"),
    ("cluster.apiServer.resources", "KubeAPIServerConfig", "resources"),
    ("cluster.apiServer.auditPolicy", "KubeAuditPolicyConfig", "configuration"),
    ("cluster.controllerManager.image", "KubeControllerManagerConfig", "image"),
    ("cluster.controllerManager.extraArgs", "KubeControllerManagerConfig", "extraArgs"),
    ("cluster.controllerManager.env", "KubeControllerManagerConfig", "env"),
    ("cluster.controllerManager.resources", "KubeControllerManagerConfig", "resources"),
    ("cluster.scheduler.image", "KubeSchedulerConfig", "image"),
    ("cluster.scheduler.extraArgs", "KubeSchedulerConfig", "extraArgs"),
    ("cluster.scheduler.env", "KubeSchedulerConfig", "env"),
    ("cluster.scheduler.resources", "KubeSchedulerConfig", "resources"),
    ("cluster.scheduler.config", "KubeSchedulerConfig", "config"),
    ("cluster.proxy.image", "KubeProxyConfig", "image"),
    ("cluster.proxy.mode", "KubeProxyConfig", "mode"),
    ("cluster.proxy.extraArgs", "KubeProxyConfig", "extraArgs"),
    ("cluster.coreDNS.image", "KubeCoreDNSConfig", "image"),
];

/// `disabled` of v1alpha1, and the kind that says `enabled`.
const SWITCHES: &[(&str, &str)] = &[
    ("cluster.proxy.disabled", "KubeProxyConfig"),
    ("cluster.coreDNS.disabled", "KubeCoreDNSConfig"),
    ("machine.controlPlane.controllerManager.disabled", "KubeControllerManagerConfig"),
    ("machine.controlPlane.scheduler.disabled", "KubeSchedulerConfig"),
];

/// Parts of v1alpha1 beside which a default document of contract 1.14 refuses to stand. What is left below them
/// after all moves has no document.
const REFUSED: &[&str] = &[
    "machine.kubelet",
    "machine.install",
    "machine.network.nameservers",
    "machine.network.searchDomains",
    "machine.features.hostDNS",
    "machine.features.kubePrism",
    "cluster.network",
    "cluster.apiServer",
    "cluster.controllerManager",
    "cluster.scheduler",
    "cluster.proxy",
    "cluster.coreDNS",
    "cluster.discovery",
    "cluster.ca",
    "cluster.aggregatorCA",
    "cluster.serviceAccount",
    "cluster.secretboxEncryptionSecret",
    "cluster.aescbcEncryptionSecret",
];

/// From contract 1.12 on: the hostname, and what UKIs ignore.
pub(super) fn network(tree: &mut Tree, draft: &mut Draft) {
    if let Some(name) = take(tree, "machine.network.hostname") {
        // The default document says `auto: stable`, which excludes a name.
        draft.set("HostnameConfig", None, "auto", "off".into());
        draft.set("HostnameConfig", None, "hostname", name);
    }
    if take(tree, "machine.features.stableHostname").is_some() {
        draft.note("machine.features.stableHostname is what the default HostnameConfig says (auto: stable); left out.");
    }
    if let Some(args) = take(tree, "machine.install.extraKernelArgs") {
        let args: Vec<&str> = args.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        draft.note(format!(
            "machine.install.extraKernelArgs has no effect on a unified kernel image: put {} into the schematic \
             (customization.extraKernelArgs).",
            args.join(" ")
        ));
    }
}

/// From contract 1.14 on: everything else.
pub(super) fn all(tree: &mut Tree, target: Target<'_>, draft: &mut Draft) {
    resolver(tree, draft);
    install(tree, target, draft);
    cni(tree, draft);
    discovery(tree, draft);
    kube_prism(tree, draft);
    api_server(tree, draft);
    for key in ["cluster.allowSchedulingOnControlPlanes", "cluster.allowSchedulingOnMasters"] {
        match take(tree, key) {
            Some(Value::Bool(true)) => {
                let mut tree = super::document("KubeNodeConfig", None);
                tree["taints"] = json!({ "node-role.kubernetes.io/control-plane": { "$patch": "delete" } });
                draft.changed = true;
                draft.apart.push(tree);
            }
            Some(_) => draft.note(format!("{key}: false is the default; left out.")),
            None => {}
        }
    }
    if let Some(endpoint) = get(tree, "cluster.controlPlane.endpoint").cloned() {
        // In v1alpha1 the issuer of service account tokens follows the endpoint.
        draft.set("KubeServiceAccountConfig", None, "issuer.issuerURL", endpoint);
    }
    let subnets = |what: &str| get(tree, &format!("cluster.network.{what}")).and_then(Value::as_array).map(Vec::len);
    let (pods, services) = (subnets("podSubnets"), subnets("serviceSubnets"));
    if pods.or(services).is_some() && pods.unwrap_or(1) != services.unwrap_or(1) {
        draft.note("KubeNetworkConfig takes as many service subnets as pod subnets: give both, one per family.");
    }
    for (from, kind, to) in ROWS {
        if let Some(value) = take(tree, from) {
            draft.set(kind, None, to, value);
        }
    }
    for (from, kind) in SWITCHES {
        match take(tree, from) {
            Some(Value::Bool(disabled)) => draft.set(kind, None, "enabled", (!disabled).into()),
            Some(_) => draft.note(format!("{from} is no boolean; left out.")),
            None => {}
        }
    }
    if take(tree, "machine.kubelet.disableManifestsDirectory").is_some() {
        draft.note("machine.kubelet.disableManifestsDirectory has no field any more; left out.");
    }
    for root in REFUSED {
        if get(tree, root).is_some_and(|value| !value.as_object().is_some_and(Map::is_empty)) {
            draft.note(format!(
                "{root} still says something that has no document in this contract: stay on contract 1.13 for it, or \
                 take it out."
            ));
        }
    }
}

fn resolver(tree: &mut Tree, draft: &mut Draft) {
    const KIND: &str = "ResolverConfig";
    if let Some(Value::Array(servers)) = take(tree, "machine.network.nameservers") {
        let servers: Value = servers.into_iter().map(|address| json!({ "address": address })).collect();
        draft.set(KIND, None, "nameservers", servers);
    }
    if let Some(domains) = take(tree, "machine.network.searchDomains") {
        draft.set(KIND, None, "searchDomains.domains", domains);
    }
    if let Some(off) = take(tree, "machine.network.disableSearchDomain") {
        draft.set(KIND, None, "searchDomains.disableDefault", off);
    }
}

fn install(tree: &mut Tree, target: Target<'_>, draft: &mut Draft) {
    const KIND: &str = "UnattendedInstallConfig";
    const MATCH: &str = "provisioning.diskSelector.match";
    if take(tree, "machine.install.grubUseUKICmdline").is_some() {
        draft.note("machine.install.grubUseUKICmdline has no field any more; left out.");
    }
    let (disk, image) = (take(tree, "machine.install.disk"), take(tree, "machine.install.image"));
    let wipe = take(tree, "machine.install.wipe");
    if disk.is_none() && image.is_none() && wipe.is_none() {
        return;
    }
    let disk = disk.as_ref().and_then(Value::as_str).unwrap_or(target.install_disk);
    if let Some(image) = image {
        draft.set(KIND, None, "installer.image", image);
    }
    draft.set(KIND, None, MATCH, format!("disk.dev_path == {}", quoted(disk)).into());
    if let Some(wipe) = wipe {
        draft.set(KIND, None, "provisioning.wipe", wipe);
    }
}

fn cni(tree: &mut Tree, draft: &mut Draft) {
    let urls = take(tree, "cluster.network.cni.urls");
    let Some(name) = take(tree, "cluster.network.cni.name") else { return };
    if name == "flannel" {
        return draft.note("cluster.network.cni.name: flannel is the default; left out.");
    }
    draft.delete("KubeFlannelCNIConfig", None);
    for (at, url) in urls.iter().filter_map(Value::as_array).flatten().enumerate() {
        let name = if at == 0 { "custom-cni".to_owned() } else { format!("custom-cni-{}", at + 1) };
        draft.set("KubeExternalManifestConfig", Some(&name), "url", url.clone());
    }
}

fn discovery(tree: &mut Tree, draft: &mut Draft) {
    if get(tree, "cluster.discovery").is_none() {
        return;
    }
    let disabled = |value: Option<Value>| value == Some(Value::Bool(true));
    let off = take(tree, "cluster.discovery.enabled") == Some(Value::Bool(false));
    let off = disabled(take(tree, "cluster.discovery.registries.service.disabled")) || off;
    if take(tree, "cluster.discovery.registries.kubernetes").is_some() {
        draft.note("cluster.discovery.registries.kubernetes works with no Kubernetes of today; left out.");
    }
    let endpoint = take(tree, "cluster.discovery.registries.service.endpoint");
    if off {
        draft.delete("DiscoveryServiceConfig", Some("default"));
    } else if let Some(endpoint) = endpoint {
        draft.set("DiscoveryServiceConfig", Some("default"), "endpoint", endpoint);
    } else {
        draft.note("cluster.discovery says no more than the default does; left out.");
    }
}

fn kube_prism(tree: &mut Tree, draft: &mut Draft) {
    let port = take(tree, "machine.features.kubePrism.port");
    match (take(tree, "machine.features.kubePrism.enabled"), port) {
        (Some(Value::Bool(false)), _) => draft.delete("KubePrismConfig", None),
        (_, Some(port)) => draft.set("KubePrismConfig", None, "port", port),
        (Some(_), None) => draft.note("machine.features.kubePrism.enabled: true is the default; left out."),
        (None, None) => {}
    }
}

fn api_server(tree: &mut Tree, draft: &mut Draft) {
    let mut list = |from: &str| take(tree, from).and_then(into_list).unwrap_or_default();
    for mut plugin in list("cluster.apiServer.admissionControl") {
        let Some(name) = plugin["name"].as_str().map(str::to_owned) else { continue };
        if let Some(value) = plugin.get_mut("configuration") {
            draft.set("KubeAdmissionControlConfig", Some(&name), "configuration", value.take());
        }
    }
    authorizers(list("cluster.apiServer.authorizationConfig"), draft);
    if take(tree, "cluster.apiServer.disablePodSecurityPolicy").is_some() {
        draft.note("cluster.apiServer.disablePodSecurityPolicy has no field any more; left out.");
    }
}

/// Authorizers ask in the order of their documents, of which a configuration has `node` and `rbac` already. A list of
/// v1alpha1 that has those types itself says where they stand, so they are made anew (Talos 1.13:
/// internal/app/machined/pkg/controllers/k8s/control_plane.go).
fn authorizers(mut list: Vec<Value>, draft: &mut Draft) {
    const KIND: &str = "KubeAuthorizerConfig";
    const DEFAULTS: [(&str, &str); 2] = [("Node", "node"), ("RBAC", "rbac")];
    let has = |list: &[Value], kind: &str| list.iter().any(|element| element["type"] == kind);
    if DEFAULTS.iter().any(|(kind, _)| has(&list, kind)) {
        for (at, (kind, name)) in DEFAULTS.into_iter().enumerate() {
            draft.delete(KIND, Some(name));
            if !has(&list, kind) {
                list.insert(at.min(list.len()), json!({ "type": kind, "name": name }));
            }
        }
    }
    for element in list {
        let Value::Object(fields) = element else { continue };
        let mut tree = super::document(KIND, fields.get("name").and_then(Value::as_str));
        tree.as_object_mut().expect("it was made as one").extend(fields);
        draft.changed = true;
        draft.documents.push(tree);
    }
}

fn into_list(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(list) = value { Some(list) } else { None }
}

fn get<'a>(tree: &'a Tree, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let value = tree.get(first)?;
    rest.split('.').filter(|key| !key.is_empty()).try_fold(value, |value, key| value.get(key))
}

/// Takes a value out, and the maps above it that this leaves empty.
fn take(tree: &mut Tree, path: &str) -> Option<Value> {
    let Some((first, rest)) = path.split_once('.') else { return tree.shift_remove(path) };
    let Some(Value::Object(inner)) = tree.get_mut(first) else { return None };
    let taken = take(inner, rest)?;
    if inner.is_empty() {
        tree.shift_remove(first);
    }
    Some(taken)
}
