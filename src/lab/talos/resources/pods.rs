//! The static pods of a control plane, as Talos hands them to the kubelet.
//!
//! Talos 1.13: internal/app/machined/pkg/controllers/k8s/control_plane_static_pod.go.

use serde_json::{Value, json};

/// What differs between the three.
struct Part {
    name: &'static str,
    user: u32,
    cpu: &'static str,
    memory: &'static str,
    /// It has a directory of configuration besides the one of secrets.
    config: bool,
    /// Where it tells that it is well.
    port: Option<u16>,
}

const PARTS: [Part; 3] = [
    Part { name: "kube-apiserver", user: 65534, cpu: "200m", memory: "512Mi", config: true, port: None },
    Part {
        name: "kube-controller-manager",
        user: 65535,
        cpu: "50m",
        memory: "256Mi",
        config: false,
        port: Some(10257),
    },
    Part { name: "kube-scheduler", user: 65536, cpu: "10m", memory: "64Mi", config: true, port: Some(10259) },
];

/// What the pods of a cluster share.
pub(super) struct Settings {
    /// Of Kubernetes, without a `v`.
    pub(super) version: String,
    pub(super) endpoint: String,
    pub(super) pod_subnets: Vec<String>,
    pub(super) service_subnets: Vec<String>,
    /// Image by name of the part.
    pub(super) images: [String; 3],
}

/// The pods by name.
pub(super) fn pods(settings: &Settings) -> Vec<(&'static str, Value)> {
    PARTS.iter().zip(&settings.images).map(|(part, image)| (part.name, pod(part, image, settings))).collect()
}

fn pod(part: &Part, image: &str, settings: &Settings) -> Value {
    let name = part.name;
    let secrets = format!("/system/secrets/kubernetes/{name}");
    let config = format!("/system/config/kubernetes/{name}");
    let tag = image.rsplit_once(":v").map_or(settings.version.as_str(), |(_, tag)| tag);
    let mut mounts = vec![json!({"mountPath": secrets, "name": "secrets", "readOnly": true})];
    let mut volumes = vec![json!({"hostPath": {"path": secrets}, "name": "secrets"})];
    if part.config {
        mounts.push(json!({"mountPath": config, "name": "config", "readOnly": true}));
        volumes.push(json!({"hostPath": {"path": config}, "name": "config"}));
    }
    let mut annotations = json!({"talos.dev/config-version": "1", "talos.dev/secrets-version": "1"});
    let mut capabilities = json!({"drop": ["ALL"]});
    if name == "kube-apiserver" {
        let audit = "/var/log/audit/kube";
        mounts.push(json!({"mountPath": audit, "name": "audit"}));
        volumes.push(json!({"hostPath": {"path": audit}, "name": "audit"}));
        annotations["talos.dev/config-file-version"] = Value::from("1");
        capabilities["add"] = json!(["NET_BIND_SERVICE"]);
    }
    let mut container = json!({
        "command": command(part, &secrets, &config, settings),
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "image": image, "name": name, "resources": {"requests": {"cpu": part.cpu, "memory": part.memory}},
        "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": capabilities, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    });
    if let Some(port) = part.port {
        let probe =
            |path: &str| json!({"httpGet": {"host": "localhost", "path": path, "port": port, "scheme": "HTTPS"}});
        if name == "kube-scheduler" {
            container["livenessProbe"] = probe("/livez");
            container["readinessProbe"] = probe("/readyz");
            container["startupProbe"] = probe("/livez");
        } else {
            container["livenessProbe"] = probe("/healthz");
            container["livenessProbe"]["timeoutSeconds"] = Value::from(15);
            container["startupProbe"] = probe("/healthz");
            container["startupProbe"]["periodSeconds"] = Value::from(5);
            container["startupProbe"]["failureThreshold"] = Value::from(12);
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "annotations": annotations,
            "labels": {
                "app.kubernetes.io/component": "control-plane", "app.kubernetes.io/managed-by": "Talos",
                "app.kubernetes.io/name": name, "app.kubernetes.io/version": tag, "component": name, "k8s-app": name,
                "tier": "control-plane",
            },
            "name": name, "namespace": "kube-system",
        },
        "spec": {
            "containers": [container], "hostNetwork": true, "priority": 2_000_000_000_u32,
            "priorityClassName": "system-cluster-critical",
            "securityContext": {"runAsGroup": part.user, "runAsNonRoot": true, "runAsUser": part.user},
            "volumes": volumes,
        },
        "status": {},
    })
}

fn command(part: &Part, secrets: &str, config: &str, settings: &Settings) -> Vec<String> {
    let services = settings.service_subnets.join(",");
    let kubeconfig = format!("{secrets}/kubeconfig");
    let mut args: Vec<(&str, String)> = match part.name {
        "kube-apiserver" => vec![
            ("admission-control-config-file", format!("{config}/admission-control-config.yaml")),
            ("advertise-address", "$(POD_IP)".into()),
            ("allow-privileged", "true".into()),
            ("anonymous-auth", "false".into()),
            ("api-audiences", settings.endpoint.clone()),
            ("audit-log-maxage", "30".into()),
            ("audit-log-maxbackup", "10".into()),
            ("audit-log-maxsize", "100".into()),
            ("audit-log-path", "/var/log/audit/kube/kube-apiserver.log".into()),
            ("audit-policy-file", format!("{config}/auditpolicy.yaml")),
            ("authorization-config", format!("{config}/authorization-config.yaml")),
            ("bind-address", "0.0.0.0".into()),
            ("client-ca-file", format!("{secrets}/ca.crt")),
            ("enable-admission-plugins", "NodeRestriction".into()),
            ("enable-bootstrap-token-auth", "true".into()),
            ("encryption-provider-config", format!("{secrets}/encryptionconfig.yaml")),
            ("etcd-cafile", format!("{secrets}/etcd-client-ca.crt")),
            ("etcd-certfile", format!("{secrets}/etcd-client.crt")),
            ("etcd-keyfile", format!("{secrets}/etcd-client.key")),
            ("etcd-servers", "https://127.0.0.1:2379".into()),
            ("kubelet-client-certificate", format!("{secrets}/apiserver-kubelet-client.crt")),
            ("kubelet-client-key", format!("{secrets}/apiserver-kubelet-client.key")),
            ("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname".into()),
            ("profiling", "false".into()),
            ("secure-port", "6443".into()),
            ("service-account-issuer", settings.endpoint.clone()),
            ("service-account-key-file", format!("{secrets}/service-account.pub")),
            ("service-account-signing-key-file", format!("{secrets}/service-account.key")),
            ("service-cluster-ip-range", services),
            ("tls-cert-file", format!("{secrets}/apiserver.crt")),
            ("tls-min-version", "VersionTLS12".into()),
            ("tls-private-key-file", format!("{secrets}/apiserver.key")),
        ],
        "kube-controller-manager" => vec![
            ("allocate-node-cidrs", "true".into()),
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authorization-kubeconfig", kubeconfig.clone()),
            ("bind-address", "127.0.0.1".into()),
            ("cluster-cidr", settings.pod_subnets.join(",")),
            ("cluster-signing-cert-file", format!("{secrets}/ca.crt")),
            ("cluster-signing-key-file", format!("{secrets}/ca.key")),
            ("configure-cloud-routes", "false".into()),
            ("controllers", "*,tokencleaner".into()),
            ("kubeconfig", kubeconfig),
            ("leader-elect", "true".into()),
            ("profiling", "false".into()),
            ("root-ca-file", format!("{secrets}/ca.crt")),
            ("service-account-private-key-file", format!("{secrets}/service-account.key")),
            ("service-cluster-ip-range", services),
            ("tls-min-version", "VersionTLS13".into()),
        ],
        _ => vec![
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authentication-tolerate-lookup-failure", "false".into()),
            ("authorization-kubeconfig", kubeconfig),
            ("bind-address", "127.0.0.1".into()),
            ("config", format!("{config}/scheduler-config.yaml")),
            ("leader-elect", "true".into()),
            ("profiling", "false".into()),
            ("tls-min-version", "VersionTLS13".into()),
        ],
    };
    args.sort();
    let own = args.into_iter().map(|(name, value)| format!("--{name}={value}"));
    let mut command = vec![format!("/usr/local/bin/{}", part.name)];
    if part.name == "kube-controller-manager" {
        command.push("--use-service-account-credentials".into());
    }
    command.extend(own);
    command
}
