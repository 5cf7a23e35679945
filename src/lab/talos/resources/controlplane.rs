//! What only a control plane has: etcd, static pods, the manifests that it bootstraps.
//!
//! Talos 1.13: internal/app/machined/pkg/controllers/{etcd,k8s}.

use serde_json::{Value, json};

use super::documents::Documents;
use super::pods::{Settings, pods};
use super::{Rows, View, row};
use crate::inventory::Role;
use crate::lab::fleet::Stage;

/// Where the kubelet finds the pods that Talos has for it.
pub(super) const STATIC_POD_URL: &str = "http://127.0.0.1:41195";

const PARTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    let build: fn(&View<'_>, &Documents) -> Rows = match kind {
        "EtcdMembers.etcd.talos.dev" => |view, _| member(view),
        "EtcdConfigs.etcd.talos.dev" => etcd_config,
        "EtcdSpecs.etcd.talos.dev" => etcd_spec,
        "PKIStatuses.etcd.talos.dev" => |view, _| if runs(view) { ready("etcd") } else { Rows::new() },
        "SecretStatuses.kubernetes.talos.dev" | "ConfigStatuses.kubernetes.talos.dev" => {
            |view, _| if view.system.etcd_healthy { ready("static-pods") } else { Rows::new() }
        }
        "APIServerConfigs.kubernetes.talos.dev" => api_server,
        "ControllerManagerConfigs.kubernetes.talos.dev" => controller_manager,
        "SchedulerConfigs.kubernetes.talos.dev" => scheduler,
        "BootstrapManifestsConfigs.kubernetes.talos.dev" => {
            |view, config| vec![row("manifests", bootstrap(view, config))]
        }
        "StaticPods.kubernetes.talos.dev" => static_pods,
        "StaticPodServerStatuses.kubernetes.talos.dev" => |_, _| {
            let value = json!({"url": STATIC_POD_URL});
            vec![row("static-pod-server-status", value)]
        },
        "StaticPodStatuses.kubernetes.talos.dev" => static_pod_statuses,
        "Manifests.kubernetes.talos.dev" => {
            |view, config| if runs(view) { manifests(view, config) } else { Rows::new() }
        }
        "ManifestStatuses.kubernetes.talos.dev" => |view, config| {
            if !view.system.kube_up {
                return Rows::new();
            }
            let applied: Vec<String> = manifests(view, config).into_iter().map(|manifest| manifest.id).collect();
            vec![row("manifests", json!({"manifestsApplied": applied}))]
        },
        _ => return None,
    };
    let config = Documents::of(view).filter(|_| view.machine.role() == Some(Role::ControlPlane));
    Some(config.map(|config| build(view, &config)).unwrap_or_default())
}

fn runs(view: &View<'_>) -> bool {
    matches!(view.machine.stage, Stage::Booting | Stage::Running) && view.system.disk.is_some()
}

fn ready(id: &str) -> Rows {
    vec![row(id, json!({"ready": true, "version": "1"}))]
}

fn member(view: &View<'_>) -> Rows {
    let member = view.fleet.etcd_of(view.machine.hardware.vmid).filter(|_| view.system.etcd_healthy);
    member.map(|(_, id)| row("local", json!({"memberID": format!("{id:016x}")}))).into_iter().collect()
}

/// Each minor's own etcd, unless the configuration names another.
fn etcd_image(view: &View<'_>, config: &Documents) -> String {
    let asked = config.text("EtcdConfig", "/image", "/cluster/etcd/image");
    if !asked.is_empty() {
        return asked;
    }
    let (repository, tag) = match view.system.minor.minor {
        0..=11 => ("gcr.io/etcd-development/etcd", "v3.6.5"),
        12 => ("registry.k8s.io/etcd", "v3.6.11"),
        13 => ("registry.k8s.io/etcd", "v3.6.12"),
        _ => ("registry.k8s.io/etcd", "3.7.1"),
    };
    format!("{repository}:{tag}")
}

fn etcd_config(view: &View<'_>, config: &Documents) -> Rows {
    let vips: Vec<String> =
        view.system.config.iter().flat_map(|config| &config.vips).map(ToString::to_string).collect();
    let advertised = config.texts("", "", "/cluster/etcd/advertisedSubnets");
    let listen = config.texts("", "", "/cluster/etcd/listenSubnets");
    let value = json!({
        "advertiseValidSubnets": advertised, "advertiseExcludeSubnets": vips, "listenValidSubnets": listen,
        "image": etcd_image(view, config),
    });
    vec![row("etcd", value)]
}

fn etcd_spec(view: &View<'_>, config: &Documents) -> Rows {
    let Some(first) = view.system.addresses.first() else { return Rows::new() };
    // Where nobody narrows it down, etcd listens on all addresses.
    let value = json!({
        "name": view.system.hostname, "advertisedAddresses": [first.ip], "listenPeerAddresses": ["::"],
        "listenClientAddresses": ["::"], "image": etcd_image(view, config),
    });
    vec![row("etcd", value)]
}

fn settings(view: &View<'_>, config: &Documents) -> Settings {
    let applied = view.system.config.as_deref();
    let version = applied.map(|config| config.kubernetes_version.clone()).unwrap_or_default();
    let (pod_subnets, service_subnets) = config.subnets();
    let images = [
        ("KubeAPIServerConfig", "/cluster/apiServer/image"),
        ("KubeControllerManagerConfig", "/cluster/controllerManager/image"),
        ("KubeSchedulerConfig", "/cluster/scheduler/image"),
    ];
    let mut names = PARTS.into_iter();
    let images = images.map(|(kind, main)| config.image(kind, main, names.next().unwrap_or_default(), &version));
    let endpoint = applied.map(|config| config.endpoint.clone()).unwrap_or_default();
    Settings { version, endpoint, pod_subnets, service_subnets, images }
}

fn api_server(view: &View<'_>, config: &Documents) -> Rows {
    let settings = settings(view, config);
    let value = json!({
        "image": settings.images[0], "controlPlaneEndpoint": settings.endpoint, "etcdServers": ["https://127.0.0.1:2379"],
        "localPort": local_port(config), "serviceCIDR": settings.service_subnets, "advertisedAddress": "$(POD_IP)",
        "startupProbesEnabled": true, "useAuthenticationConfig": config.named("KubeAuthenticationConfig", "").is_some(),
    });
    vec![row("kube-apiserver", value)]
}

fn local_port(config: &Documents) -> u64 {
    let port = config
        .named("KubeAPIServerConfig", "/localPort")
        .or_else(|| config.main("/cluster/controlPlane/localAPIServerPort"));
    port.and_then(Value::as_u64).unwrap_or(6443)
}

fn controller_manager(view: &View<'_>, config: &Documents) -> Rows {
    let settings = settings(view, config);
    let value = json!({
        "enabled": !config.flag("/machine/controlPlane/controllerManager/disabled"), "image": settings.images[1],
        "podCIDRs": settings.pod_subnets, "serviceCIDRs": settings.service_subnets,
    });
    vec![row("kube-controller-manager", value)]
}

fn scheduler(view: &View<'_>, config: &Documents) -> Rows {
    let value = json!({
        "enabled": !config.flag("/machine/controlPlane/scheduler/disabled"), "image": settings(view, config).images[2],
    });
    vec![row("kube-scheduler", value)]
}

/// Each minor's images of what it brings, unless the configuration names others.
fn bootstrap(view: &View<'_>, config: &Documents) -> Value {
    let settings = settings(view, config);
    let applied = view.system.config.as_deref();
    let (flannel, coredns) = match view.system.minor.minor {
        0..=11 => ("v0.27.4", "v1.12.4"),
        12 => ("v0.27.4", "v1.14.2"),
        13 => ("v0.28.8", "v1.14.6"),
        _ => ("v0.28.9", "v1.14.6"),
    };
    let asked = config.text("KubeCoreDNSConfig", "/image", "/cluster/coreDNS/image");
    let coredns = if asked.is_empty() { format!("registry.k8s.io/coredns/coredns:{coredns}") } else { asked };
    let domain = config.text("KubeNetworkConfig", "/dnsDomain", "/cluster/network/dnsDomain");
    let domain = if domain.is_empty() { "cluster.local".to_owned() } else { domain };
    let prism = config.named("KubePrismConfig", "").or_else(|| config.main("/machine/features/kubePrism"));
    let prism = prism.filter(|prism| prism.get("enabled").and_then(Value::as_bool) != Some(false));
    let port = prism.map(|prism| prism.get("port").and_then(Value::as_u64).unwrap_or(7445).to_string());
    let server = port.as_ref().map_or_else(|| settings.endpoint.clone(), |port| format!("https://127.0.0.1:{port}"));
    json!({
        "string": server, "clusterDomain": domain, "podCIDRs": settings.pod_subnets,
        "proxyEnabled": applied.is_some_and(|config| config.kube_proxy),
        "proxyImage": config.image("KubeProxyConfig", "/cluster/proxy/image", "kube-proxy", &settings.version),
        "proxyArgs": [
            format!("--cluster-cidr={}", settings.pod_subnets.join(",")), "--conntrack-max-per-core=0",
            "--hostname-override=$(NODE_NAME)", "--kubeconfig=/etc/kubernetes/kubeconfig", "--proxy-mode=nftables",
        ],
        "coreDNSEnabled": applied.is_some_and(|config| config.coredns), "coreDNSImage": coredns,
        "dnsServiceIP": config.dns_service().unwrap_or_default(),
        "flannelEnabled": applied.is_some_and(|config| !config.cni_none),
        "flannelImage": format!("ghcr.io/siderolabs/flannel:{flannel}"),
        "flannelKubeServiceHost": if port.is_some() { "127.0.0.1" } else { "" },
        "flannelKubeServicePort": port.unwrap_or_default(),
        "talosAPIServiceEnabled": config.flag("/machine/features/kubernetesTalosAPIAccess/enabled"),
    })
}

fn static_pods(view: &View<'_>, config: &Documents) -> Rows {
    // They are rendered once etcd is up.
    if !view.system.etcd_healthy {
        return Rows::new();
    }
    pods(&settings(view, config)).into_iter().map(|(name, pod)| row(name, pod)).collect()
}

fn static_pod_statuses(view: &View<'_>, config: &Documents) -> Rows {
    if !view.system.kube_up {
        return Rows::new();
    }
    let ip = view.system.addresses.first().map(|address| address.ip.to_string()).unwrap_or_default();
    let settings = settings(view, config);
    let of = |(name, image): (&str, &String)| {
        let conditions: Vec<Value> =
            ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
                .map(|kind| json!({"type": kind, "status": "True", "observedGeneration": 1, "lastProbeTime": null}))
                .to_vec();
        let container = json!({
            "name": name, "image": image, "imageID": image, "ready": true, "restartCount": 0, "started": true,
            "lastState": {}, "state": {"running": {}},
        });
        let value = json!({
            "phase": "Running", "observedGeneration": 1, "hostIP": ip, "hostIPs": [{"ip": ip}], "podIP": ip, "podIPs": [{"ip": ip}],
            "qosClass": "Burstable", "conditions": conditions, "containerStatuses": [container],
        });
        row(format!("kube-system/{name}-{}", view.system.hostname), value)
    };
    PARTS.into_iter().zip(&settings.images).map(of).collect()
}

/// What Talos puts into a new cluster, by the names that order it.
fn manifests(view: &View<'_>, config: &Documents) -> Rows {
    let b = bootstrap(view, config);
    let role = |name: &str, group: &str, role: &str| {
        let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}]);
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role});
        object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            name,
            "",
            json!({"roleRef": role, "subjects": subjects}),
        )
    };
    let daemon = |name: &str, image: &Value, args: Value| {
        let labels = json!({"k8s-app": name, "tier": "node"});
        let container = json!({"name": name, "image": image, "command": args});
        let pod = json!({"containers": [container], "hostNetwork": true, "serviceAccountName": name, "priorityClassName": "system-node-critical"});
        let spec =
            json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}});
        object("apps/v1", "DaemonSet", name, "kube-system", json!({"spec": spec}))
    };
    let nodes = "system:bootstrappers:nodes";
    let csr = "system:certificates.k8s.io:certificatesigningrequests";
    let mut rows = vec![
        row(
            "00-kubelet-bootstrapping-token",
            json!([object(
                "v1",
                "Secret",
                "bootstrap-token",
                "kube-system",
                json!({"type": "bootstrap.kubernetes.io/token"})
            )]),
        ),
        row(
            "01-csr-approver-role-binding",
            json!([role("system-bootstrap-approve-node-client-csr", nodes, &format!("{csr}:nodeclient"))]),
        ),
        row(
            "01-csr-node-bootstrap",
            json!([role("system-bootstrap-node-bootstrapper", nodes, "system:node-bootstrapper")]),
        ),
        row(
            "01-csr-renewal-role-binding",
            json!([role("system-bootstrap-node-renewal", "system:nodes", &format!("{csr}:selfnodeclient"))]),
        ),
        row(
            "11-kube-config-in-cluster",
            json!([object("v1", "ConfigMap", "kubeconfig-in-cluster", "kube-system", json!({}))]),
        ),
    ];
    let rules = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "update"]}]);
    let template =
        object("rbac.authorization.k8s.io/v1", "ClusterRole", "system:talos-nodes", "", json!({"rules": rules}));
    let binding = role("system:talos-nodes", "system:nodes", "system:talos-nodes");
    rows.push(row("11-talos-node-rbac-template", json!([binding, template])));
    if b["talosAPIServiceEnabled"] == true {
        let spec = json!({"group": "talos.dev", "scope": "Namespaced", "names": {"kind": "ServiceAccount", "plural": "serviceaccounts"}});
        let crd = object(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "serviceaccounts.talos.dev",
            "",
            json!({"spec": spec}),
        );
        rows.push(row("13-talos-service-account-crd", json!([crd])));
    }
    if b["flannelEnabled"] == true {
        let flannel =
            daemon("kube-flannel", &b["flannelImage"], json!(["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr"]));
        let accounts = object("v1", "ServiceAccount", "flannel", "kube-system", json!({}));
        rows.push(row("05-flannel", json!([accounts, flannel])));
    }
    if b["proxyEnabled"] == true {
        let mut args = vec![Value::from("/usr/local/bin/kube-proxy")];
        args.extend(b["proxyArgs"].as_array().cloned().unwrap_or_default());
        let accounts = object("v1", "ServiceAccount", "kube-proxy", "kube-system", json!({}));
        rows.push(row("10-kube-proxy", json!([daemon("kube-proxy", &b["proxyImage"], Value::from(args)), accounts])));
    }
    if b["coreDNSEnabled"] == true {
        let labels = json!({"k8s-app": "kube-dns"});
        let container =
            json!({"name": "coredns", "image": b["coreDNSImage"], "args": ["-conf", "/etc/coredns/Corefile"]});
        let pod = json!({"containers": [container], "serviceAccountName": "coredns", "priorityClassName": "system-cluster-critical"});
        let spec = json!({"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}});
        let deployment = object("apps/v1", "Deployment", "coredns", "kube-system", json!({"spec": spec}));
        rows.push(row(
            "11-core-dns",
            json!([object("v1", "ServiceAccount", "coredns", "kube-system", json!({})), deployment]),
        ));
        let ports =
            json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]);
        let spec = json!({"clusterIP": b["dnsServiceIP"], "selector": labels, "ports": ports});
        rows.push(row(
            "11-core-dns-svc",
            json!([object("v1", "Service", "kube-dns", "kube-system", json!({"spec": spec}))]),
        ));
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

fn object(version: &str, kind: &str, name: &str, namespace: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = Value::from(namespace);
    }
    if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    object
}
