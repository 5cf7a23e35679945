//! Contract 1.14: v1alpha1 keeps identity, certificates and etcd; everything else is a document of its own.

use serde_json::{Value, json};

use super::{Maker, audit_policy, pod_security};
use crate::machineconfig::bundle::base64;
use crate::machineconfig::go::quoted;
use crate::machineconfig::pki::Pair;

fn document(kind: &str, fields: Value) -> Value {
    let mut tree = json!({ "apiVersion": "v1alpha1", "kind": kind });
    if let Value::Object(fields) = fields {
        tree.as_object_mut().expect("it was made as an object").extend(fields);
    }
    tree
}

impl Maker<'_> {
    pub(super) fn modern(&self) -> Vec<Value> {
        let mut trees = vec![self.remainder()];
        self.machine_documents(&mut trees);
        self.kubernetes_documents(&mut trees);
        if self.control_plane {
            self.control_plane_documents(&mut trees);
        }
        trees
    }

    fn remainder(&self) -> Value {
        let bundle = self.bundle;
        let mut cluster = json!({ "token": bundle.bootstrap_token.expose() });
        if self.control_plane {
            cluster["etcd"] = json!({ "ca": { "crt": bundle.etcd.crt_base64(), "key": base64(&bundle.etcd.key) } });
        }
        json!({
            "version": "v1alpha1",
            "debug": self.input.debug,
            "persist": self.input.persist,
            "machine": {
                "type": self.machine_type(),
                "token": bundle.trustd_token.expose(),
                "ca": self.ca(&bundle.os),
                "certSANs": self.input.additional_sans,
                "features": { "diskQuotaSupport": true },
            },
            "cluster": cluster,
        })
    }

    fn machine_documents(&self, trees: &mut Vec<Value>) {
        let (input, bundle) = (self.input, self.bundle);
        let mut push = |kind: &str, fields: Value| trees.push(document(kind, fields));
        if input.discovery {
            push("DiscoveryServiceConfig", json!({ "name": "default", "endpoint": "https://discovery.talos.dev/" }));
        }
        push(
            "DiscoveryIdentityConfig",
            json!({ "clusterID": bundle.cluster_id.expose(), "clusterSecret": bundle.cluster_secret.expose() }),
        );
        if !input.install_disk.is_empty() {
            push(
                "UnattendedInstallConfig",
                json!({
                    "installer": { "image": input.install_image },
                    "provisioning": {
                        "diskSelector": { "match": format!("disk.dev_path == {}", quoted(&input.install_disk)) },
                        "wipe": false,
                    },
                }),
            );
        }
        push("ResolverConfig", json!({ "hostDNS": { "enabled": true, "forwardKubeDNSToHost": true } }));
        if !input.sysctls.is_empty() {
            push("SysctlConfig", json!({ "params": input.sysctls }));
        }
        push("VolumeConfig", json!({ "name": "EPHEMERAL", "mount": { "secure": true } }));
        push("FilesystemTrimConfig", json!({ "interval": "168h0m0s" }));
        push("SecurityProfileConfig", json!({ "workloadIsolation": true }));
        trees.extend(self.mirrors());
        let mut push = |kind: &str, fields: Value| trees.push(document(kind, fields));
        push("HostnameConfig", json!({ "auto": "stable" }));
        if input.kubespan {
            push("KubeSpanConfig", json!({ "enabled": true }));
        }
    }

    fn kubernetes_documents(&self, trees: &mut Vec<Value>) {
        let (input, bundle) = (self.input, self.bundle);
        let mut push = |kind: &str, fields: Value| trees.push(document(kind, fields));
        push("KubeClusterConfig", json!({ "clusterName": input.cluster_name, "endpoint": input.endpoint }));
        let mut node = json!({ "nodeIP": {} });
        if self.control_plane {
            const ROLE: &str = "node-role.kubernetes.io/control-plane";
            node["labels"] = json!({ ROLE: "", "node.kubernetes.io/exclude-from-external-load-balancers": "" });
            if !input.allow_scheduling_on_control_planes {
                node["taints"] = json!({ ROLE: "NoSchedule" });
            }
        }
        push("KubeNodeConfig", node);
        push(
            "KubeletConfig",
            json!({
                "image": self.image("ghcr.io/siderolabs/kubelet"),
                "config": {},
                "defaultRuntimeSeccompProfileEnabled": true,
            }),
        );
        push(
            "KubeNetworkConfig",
            json!({
                "dnsDomain": input.dns_domain,
                "podSubnets": self.pod_subnets(),
                "serviceSubnets": self.service_subnets(),
            }),
        );
        push(
            "KubeAPIServerCAConfig",
            if self.control_plane { issuing(&bundle.k8s) } else { json!({ "acceptedCAs": [bundle.k8s.crt] }) },
        );
        if let Some(port) = self.kube_prism() {
            push("KubePrismConfig", json!({ "port": port }));
        }
    }

    fn control_plane_documents(&self, trees: &mut Vec<Value>) {
        let (input, bundle) = (self.input, self.bundle);
        let mut push = |kind: &str, fields: Value| trees.push(document(kind, fields));
        let image = |name: &str| self.image(&format!("registry.k8s.io/{name}"));
        push("KubeAggregatorCAConfig", issuing(&bundle.k8s_aggregator));
        push("KubeAdmissionControlConfig", json!({ "name": "PodSecurity", "configuration": pod_security() }));
        push("KubeAuditPolicyConfig", json!({ "configuration": audit_policy() }));
        let paths = json!([{ "path": "/livez" }, { "path": "/readyz" }, { "path": "/healthz" }]);
        let anonymous = json!({ "enabled": true, "conditions": paths });
        push("KubeAuthenticationConfig", json!({ "configuration": { "anonymous": anonymous, "jwt": [] } }));
        push("KubeAuthorizerConfig", json!({ "name": "node", "type": "Node" }));
        push("KubeAuthorizerConfig", json!({ "name": "rbac", "type": "RBAC" }));
        push("KubeEtcdEncryptionConfig", self.etcd_encryption());
        push(
            "KubeServiceAccountConfig",
            json!({
                "issuer": { "privateKey": bundle.k8s_service_account.expose(), "issuerURL": input.endpoint },
            }),
        );
        let mut api_server = json!({ "image": image("kube-apiserver"), "certExtraSANs": input.additional_sans });
        if let Some(port) = input.local_api_server_port.filter(|port| *port != 0) {
            api_server["apiPort"] = port.into();
        }
        push("KubeAPIServerConfig", api_server);
        push("KubeControllerManagerConfig", json!({ "image": image("kube-controller-manager") }));
        push("KubeSchedulerConfig", json!({ "image": image("kube-scheduler"), "config": {} }));
        push("KubeProxyConfig", json!({ "image": image("kube-proxy"), "config": {} }));
        if self.cni.is_none() {
            push("KubeFlannelCNIConfig", json!({ "backendType": "vxlan", "backendPort": 4789 }));
        }
        push("KubeCoreDNSConfig", json!({ "enabled": true }));
        if let Some(url) = &self.cni {
            push("KubeExternalManifestConfig", json!({ "name": "custom-cni", "url": url }));
        }
    }

    /// An AES-CBC secret goes under `secretbox` as well: that is how Talos writes it.
    fn etcd_encryption(&self) -> Value {
        let provider = |(name, secret): (&str, &Option<crate::secrets::Secret>)| {
            let secret = secret.as_ref()?;
            Some(json!({ "secretbox": { "keys": [{ "name": name, "secret": secret.expose() }] } }))
        };
        let secrets = [("key2", &self.bundle.secretbox_secret), ("key1", &self.bundle.aescbc_secret)];
        let providers: Vec<Value> = secrets.into_iter().filter_map(provider).collect();
        json!({ "config": { "resources": [{ "resources": ["secrets"], "providers": providers }] } })
    }
}

fn issuing(pair: &Pair) -> Value {
    json!({ "issuingCA": { "cert": pair.crt, "key": pair.key.expose() } })
}
