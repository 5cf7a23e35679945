//! The machine's Kubernetes node: names, addresses, kubelet.
//!
//! Talos 1.13: internal/app/machined/pkg/controllers/k8s.

use serde_json::{Value, json};

use super::documents::Documents;
use super::{Rows, View, row};
use crate::inventory::Role;
use crate::lab::fleet::{Edit, Stage};

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    let (name, "kubernetes.talos.dev" | "k8s.talos.dev") = kind.split_once('.')? else { return None };
    let all = [
        "Nodenames",
        "NodeIPConfigs",
        "NodeIPs",
        "NodeStatuses",
        "NodeLabelSpecs",
        "NodeTaintSpecs",
        "KubeletConfigs",
        "KubeletSpecs",
        "KubeletLifecycles",
        "KubePrismConfigs",
        "KubePrismEndpoints",
        "KubePrismStatuses",
        "Endpoints",
    ];
    if !all.contains(&name) {
        return None;
    }
    let Some(config) = Documents::of(view) else { return Some(Vec::new()) };
    let hostname = &view.system.hostname;
    let runs = matches!(view.machine.stage, Stage::Booting | Stage::Running) && view.system.disk.is_some();
    Some(match name {
        "Nodenames" => {
            let skip = config.flag("/machine/kubelet/skipNodeRegistration");
            vec![row("nodename", json!({"nodename": hostname, "hostnameVersion": "1", "skipNodeRegistration": skip}))]
        }
        "NodeIPConfigs" => {
            let valid = config.texts("KubeNodeConfig", "/nodeIP/validSubnets", "/machine/kubelet/nodeIP/validSubnets");
            let valid = if valid.is_empty() { vec!["0.0.0.0/0".to_owned()] } else { valid };
            let (pods, services) = config.subnets();
            let vips = view.system.config.iter().flat_map(|config| &config.vips).map(ToString::to_string);
            let excluded: Vec<String> = pods.into_iter().chain(services).chain(vips).collect();
            vec![row("kubelet", json!({"validSubnets": valid, "excludeSubnets": excluded}))]
        }
        "NodeIPs" => vec![row("kubelet", json!({"addresses": node_ips(view)}))],
        "NodeStatuses" => node_status(view),
        "NodeLabelSpecs" => labels(view, &config),
        "NodeTaintSpecs" => taints(view),
        "KubeletConfigs" => vec![row("kubelet", kubelet_config(view, &config))],
        "KubeletSpecs" => vec![row("kubelet", kubelet_spec(view, &config))],
        "KubeletLifecycles" if runs => vec![row("kubelet", json!({}))],
        "Endpoints" => endpoints(view),
        name if name.starts_with("KubePrism") => prism(view, &config, name),
        _ => Vec::new(),
    })
}

/// The address that the kubelet registers with.
fn node_ips(view: &View<'_>) -> Vec<String> {
    view.system.addresses.first().map(|address| address.ip.to_string()).into_iter().collect()
}

fn node_status(view: &View<'_>) -> Rows {
    let name = &view.system.hostname;
    let Some(etcd) = view.system.joined.and_then(|id| view.fleet.etcd(id)) else { return Vec::new() };
    let Some((index, (_, node))) = etcd.nodes.iter().enumerate().find(|(_, (known, _))| *known == name) else {
        return Vec::new();
    };
    let mut labels = json!({
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
    });
    if node.role == Role::ControlPlane {
        labels["node-role.kubernetes.io/control-plane"] = Value::from("");
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = Value::from("");
    }
    Edit::overlay(&mut labels, &node.edit.labels);
    let mut annotations = json!({
        "node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    });
    Edit::overlay(&mut annotations, &node.edit.annotations);
    let value = json!({
        "nodename": name, "nodeReady": view.system.node_ready, "unschedulable": node.edit.unschedulable, "labels": labels, "annotations": annotations,
        "podCIDRs": [format!("10.244.{index}.0/24")],
    });
    vec![row(name.clone(), value)]
}

/// Labels that Talos keeps on the node, from the configuration and by its role.
fn labels(view: &View<'_>, config: &Documents) -> Rows {
    let asked = config.named("KubeNodeConfig", "/labels").or_else(|| config.main("/machine/nodeLabels"));
    let mut found: Vec<(String, String)> = asked
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    if view.machine.role() == Some(Role::ControlPlane) {
        found.push(("node-role.kubernetes.io/control-plane".to_owned(), String::new()));
    }
    found.into_iter().map(|(key, value)| row(key.clone(), json!({"key": key, "value": value}))).collect()
}

fn taints(view: &View<'_>) -> Rows {
    let open = view.system.config.as_ref().is_none_or(|config| config.schedulable_control_plane || config.worker);
    if open {
        return Vec::new();
    }
    let key = "node-role.kubernetes.io/control-plane";
    vec![row(key, json!({"key": key, "effect": "NoSchedule"}))]
}

fn version(view: &View<'_>) -> String {
    view.system.config.as_ref().map(|config| config.kubernetes_version.clone()).unwrap_or_default()
}

fn kubelet_config(view: &View<'_>, config: &Documents) -> Value {
    let schedulable = view.system.config.as_ref().is_some_and(|config| config.schedulable_control_plane);
    let dns: Vec<String> = config.dns_service().into_iter().collect();
    let domain = config.text("KubeNetworkConfig", "/dnsDomain", "/cluster/network/dnsDomain");
    let mut value = json!({
        "image": image(view, config), "clusterDNS": dns,
        "clusterDomain": if domain.is_empty() { "cluster.local" } else { &domain },
        "defaultRuntimeSeccompEnabled": config.flag("/machine/kubelet/defaultRuntimeSeccompProfileEnabled"),
        "skipNodeRegistration": config.flag("/machine/kubelet/skipNodeRegistration"),
        "disableManifestsDirectory": config.flag("/machine/kubelet/disableManifestsDirectory"),
        "enableFSQuotaMonitoring": config.flag("/machine/features/diskQuotaSupport"),
        "allowSchedulingOnControlPlane": schedulable,
    });
    if view.machine.role() == Some(Role::ControlPlane) {
        value["staticPodListURL"] = Value::from(super::controlplane::STATIC_POD_URL);
    }
    value
}

fn image(view: &View<'_>, config: &Documents) -> String {
    let asked = config.text("KubeletConfig", "/image", "/machine/kubelet/image");
    if asked.is_empty() { format!("ghcr.io/siderolabs/kubelet:v{}", version(view)) } else { asked }
}

fn kubelet_spec(view: &View<'_>, config: &Documents) -> Value {
    let plain = kubelet_config(view, config);
    let control_plane = view.machine.role() == Some(Role::ControlPlane);
    let args = [
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubeconfig".to_owned(),
        "--cert-dir=/var/lib/kubelet/pki".to_owned(),
        "--config=/etc/kubernetes/kubelet.yaml".to_owned(),
        format!("--hostname-override={}", view.system.hostname),
        "--kubeconfig=/etc/kubernetes/kubeconfig-kubelet".to_owned(),
        format!("--node-ip={}", node_ips(view).join(",")),
    ];
    let mut own = json!({
        "address": "0.0.0.0", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"cacheTTL": "0s", "enabled": true},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "0s", "cacheUnauthorizedTTL": "0s"}},
        "cgroupRoot": "/", "clusterDNS": plain["clusterDNS"], "clusterDomain": plain["clusterDomain"],
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock", "failSwapOn": false,
        "kind": "KubeletConfiguration", "kubeletCgroups": "/podruntime/kubelet", "logging": {"format": "json"},
        "oomScoreAdj": -450, "port": 10250, "protectKernelDefaults": true,
        "resolvConf": "/system/resolved/resolv.conf", "rotateCertificates": true, "serializeImagePulls": false,
        "shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "10s",
        "streamingConnectionIdleTimeout": "5m0s", "systemCgroups": "/system",
        "systemReserved": {
            "cpu": "50m", "ephemeral-storage": "256Mi", "memory": if control_plane { "512Mi" } else { "384Mi" }, "pid": "100",
        },
        "tlsMinVersion": "VersionTLS13",
    });
    if plain["defaultRuntimeSeccompEnabled"] == true {
        own["seccompDefault"] = Value::from(true);
    }
    if plain["enableFSQuotaMonitoring"] == true {
        own["featureGates"] = json!({"LocalStorageCapacityIsolationFSQuotaMonitoring": true});
    }
    if plain["disableManifestsDirectory"] != true {
        own["staticPodPath"] = Value::from("/etc/kubernetes/manifests");
    }
    if control_plane {
        own["staticPodURL"] = plain["staticPodListURL"].clone();
        if plain["allowSchedulingOnControlPlane"] != true {
            own["registerWithTaints"] =
                json!([{"effect": "NoSchedule", "key": "node-role.kubernetes.io/control-plane"}]);
        }
    }
    json!({"image": plain["image"], "args": args, "expectedNodename": view.system.hostname, "config": own})
}

/// Where this machine's kind of cluster has its API servers, as far as it knows.
fn api_servers(view: &View<'_>) -> Vec<String> {
    let found = super::cluster::of(view, "Members.cluster.talos.dev").unwrap_or_default();
    let control_planes = found.iter().filter(|member| member.value["machineType"] == "controlplane");
    let mut ips: Vec<String> =
        control_planes.filter_map(|member| Some(member.value["addresses"].get(0)?.as_str()?.to_owned())).collect();
    ips.sort();
    ips
}

fn endpoints(view: &View<'_>) -> Rows {
    let mut rows = Rows::new();
    let servers = api_servers(view);
    if !servers.is_empty() {
        rows.push(row("discovery", json!({"addresses": servers})).kept_by("cluster.EndpointController"));
    }
    let host = view.system.config.as_ref().and_then(|config| config.endpoint_host().map(str::to_owned));
    if let Some(host) = host.filter(|host| host.parse::<std::net::IpAddr>().is_ok()) {
        rows.push(row("controlplane", json!({"addresses": [host]})).kept_by("k8s.StaticEndpointController"));
    }
    if view.system.node_ready && !servers.is_empty() {
        rows.push(row("kube-apiserver", json!({"addresses": servers})));
    }
    rows
}

fn prism(view: &View<'_>, config: &Documents, name: &str) -> Rows {
    let found = config.named("KubePrismConfig", "").or_else(|| config.main("/machine/features/kubePrism"));
    let Some(found) = found.filter(|found| found.get("enabled").and_then(Value::as_bool) != Some(false)) else {
        return Vec::new();
    };
    let endpoint = view.system.config.as_ref().and_then(|config| url::Url::parse(&config.endpoint).ok());
    let outside = endpoint
        .and_then(|url| Some(json!({"host": url.host_str()?.to_owned(), "port": url.port_or_known_default()?})));
    let local = (view.machine.role() == Some(Role::ControlPlane)).then(|| json!({"host": "localhost", "port": 6443}));
    let servers = api_servers(view).into_iter().map(|ip| json!({"host": ip, "port": 6443}));
    let all: Vec<Value> = outside.into_iter().chain(local).chain(servers).collect();
    let port = found.get("port").and_then(Value::as_u64).unwrap_or(7445);
    match name {
        "KubePrismEndpoints" => vec![row("k8s-cluster", json!({"endpoints": all}))],
        "KubePrismConfigs" => {
            vec![row("k8s-loadbalancer-config", json!({"host": "127.0.0.1", "port": port, "endpoints": all}))]
        }
        _ => {
            let host = format!("127.0.0.1:{port}");
            vec![row(
                "k8s-loadbalancer",
                json!({"host": host, "healthy": view.system.node_ready || view.system.kube_up}),
            )]
        }
    }
}
