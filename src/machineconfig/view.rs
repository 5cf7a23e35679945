//! Reading a configuration: the questions that the product, and the lab's simulated machines, ask of one.
//!
//! Both worlds answer here, v1alpha1 fields and the documents that replace them, so nobody above asks which it was.

mod network;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::documents::{Document, Documents};
use crate::inventory::Role;
use crate::secrets::Secret;

pub use network::{Interface, Route};

/// What a configuration says, as far as anybody asks. Absent means "not said", not Talos's default.
#[derive(Clone)]
pub struct View {
    /// `None` for a word that is no machine type. An empty type and `join` are workers to Talos; `init` is a
    /// control plane.
    pub role: Option<Role>,
    /// `machine.token`: what a machine shows to trustd.
    pub token: Option<Secret>,
    pub talos_ca: Option<Authority>,
    pub kubernetes_ca: Option<Authority>,
    pub etcd_ca: Option<Authority>,
    pub cluster_name: Option<String>,
    pub cluster_id: Option<String>,
    /// URL of the Kubernetes API.
    pub endpoint: Option<String>,
    pub install: Option<Install>,
    /// The static hostname.
    pub hostname: Option<String>,
    /// Additional names for the Talos API's certificate.
    pub cert_sans: Vec<String>,
    pub interfaces: Vec<Interface>,
    pub nameservers: Vec<String>,
    /// `flannel`, `none` or `custom`. Talos installs Flannel when nothing is said.
    pub cni: String,
    pub kube_proxy: bool,
    pub discovery: bool,
    pub pod_subnets: Vec<String>,
    pub service_subnets: Vec<String>,
    pub kubelet_image: Option<String>,
    pub allow_scheduling_on_control_planes: bool,
}

/// A CA as a configuration holds it, PEM. Workers have no key.
#[derive(Clone)]
pub struct Authority {
    pub crt: String,
    pub key: Option<Secret>,
}

/// Where a machine installs itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// Device path such as `/dev/sda`.
    pub disk: Option<String>,
    /// What selects the disk instead: v1alpha1's selector as JSON text, or a document's CEL expression.
    pub selector: Option<String>,
    pub image: Option<String>,
    pub wipe: bool,
    pub extra_kernel_args: Vec<String>,
}

impl View {
    pub fn of(documents: &Documents) -> Self {
        let look = Look { documents };
        Self {
            role: match look.v1(&["machine", "type"]).unwrap_or_default() {
                "controlplane" | "init" => Some(Role::ControlPlane),
                "" | "worker" | "join" => Some(Role::Worker),
                _ => None,
            },
            token: look.v1(&["machine", "token"]).map(Secret::new),
            talos_ca: look.authority(&["machine", "ca"]),
            kubernetes_ca: look.authority(&["cluster", "ca"]).or_else(|| look.issuing("KubeAPIServerCAConfig")),
            etcd_ca: look.authority(&["cluster", "etcd", "ca"]),
            cluster_name: look.either(&["cluster", "clusterName"], "KubeClusterConfig", &["clusterName"]),
            cluster_id: look.either(&["cluster", "id"], "DiscoveryIdentityConfig", &["clusterID"]),
            endpoint: look.either(&["cluster", "controlPlane", "endpoint"], "KubeClusterConfig", &["endpoint"]),
            install: look.install(),
            hostname: look.either(&["machine", "network", "hostname"], "HostnameConfig", &["hostname"]),
            cert_sans: look.v1_value(&["machine", "certSANs"]).map(texts).unwrap_or_default(),
            interfaces: network::interfaces(documents),
            nameservers: network::nameservers(documents),
            cni: look.cni(),
            kube_proxy: look.kube_proxy(),
            discovery: look.v1_value(&["cluster", "discovery", "enabled"]) == Some(&Value::Bool(true))
                || documents.has_kind("DiscoveryServiceConfig"),
            pod_subnets: look.subnets("podSubnets"),
            service_subnets: look.subnets("serviceSubnets"),
            kubelet_image: look.either(&["machine", "kubelet", "image"], "KubeletConfig", &["image"]),
            allow_scheduling_on_control_planes: look.schedules_on_control_planes(),
        }
    }
}

struct Look<'a> {
    documents: &'a Documents,
}

impl<'a> Look<'a> {
    fn v1_value(&self, path: &[&str]) -> Option<&'a Value> {
        self.documents.v1alpha1()?.get(path)
    }

    fn v1(&self, path: &[&str]) -> Option<&'a str> {
        self.v1_value(path).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn either(&self, path: &[&str], kind: &'a str, field: &[&str]) -> Option<String> {
        let modern = || text(self.documents.of_kind(kind).next()?, field);
        self.v1(path).or_else(modern).map(str::to_owned)
    }

    fn authority(&self, path: &[&str]) -> Option<Authority> {
        let pair = self.v1_value(path)?;
        let half = |key: &str| {
            let bytes = STANDARD.decode(pair.get(key)?.as_str()?).ok()?;
            String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
        };
        Some(Authority { crt: half("crt")?, key: half("key").map(Secret::new) })
    }

    fn issuing(&self, kind: &'a str) -> Option<Authority> {
        let document = self.documents.of_kind(kind).next()?;
        if let Some(crt) = text(document, &["issuingCA", "cert"]) {
            let key = text(document, &["issuingCA", "key"]).map(Secret::new);
            return Some(Authority { crt: crt.to_owned(), key });
        }
        let accepted = document.get(&["acceptedCAs"]).map(texts).unwrap_or_default();
        accepted.into_iter().next().map(|crt| Authority { crt, key: None })
    }

    fn install(&self) -> Option<Install> {
        if let Some(install) = self.v1_value(&["machine", "install"]) {
            let text = |key: &str| Some(install.get(key)?.as_str()?.to_owned()).filter(|text| !text.is_empty());
            return Some(Install {
                disk: text("disk"),
                selector: install.get("diskSelector").map(ToString::to_string),
                image: text("image"),
                wipe: install.get("wipe") == Some(&Value::Bool(true)),
                extra_kernel_args: install.get("extraKernelArgs").map(texts).unwrap_or_default(),
            });
        }
        let document = self.documents.of_kind("UnattendedInstallConfig").next()?;
        let selector = text(document, &["provisioning", "diskSelector", "match"]);
        let disk = selector.and_then(|cel| cel.strip_prefix("disk.dev_path == \"")?.strip_suffix('"'));
        Some(Install {
            disk: disk.map(str::to_owned),
            selector: selector.filter(|_| disk.is_none()).map(str::to_owned),
            image: text(document, &["installer", "image"]).map(str::to_owned),
            wipe: document.get(&["provisioning", "wipe"]) == Some(&Value::Bool(true)),
            extra_kernel_args: Vec::new(),
        })
    }

    fn cni(&self) -> String {
        if let Some(name) = self.v1(&["cluster", "network", "cni", "name"]) {
            return name.to_owned();
        }
        // On contract 1.14 Flannel is a document, and no CNI is its absence; the network document tells the contracts
        // apart.
        let modern = self.documents.has_kind("KubeNetworkConfig");
        if !modern || self.documents.has_kind("KubeFlannelCNIConfig") {
            return "flannel".to_owned();
        }
        let custom = self.documents.of_kind("KubeExternalManifestConfig").any(|doc| doc.name() == Some("custom-cni"));
        if custom { "custom" } else { "none" }.to_owned()
    }

    fn kube_proxy(&self) -> bool {
        let disabled = self.v1_value(&["cluster", "proxy", "disabled"]) == Some(&Value::Bool(true));
        let off = |document: &Document| document.get(&["enabled"]) == Some(&Value::Bool(false));
        !disabled && !self.documents.of_kind("KubeProxyConfig").any(off)
    }

    fn subnets(&self, key: &str) -> Vec<String> {
        let modern = || self.documents.of_kind("KubeNetworkConfig").next()?.get(&[key]);
        self.v1_value(&["cluster", "network", key]).or_else(modern).map(texts).unwrap_or_default()
    }

    fn schedules_on_control_planes(&self) -> bool {
        let legacy = |key| self.v1_value(&["cluster", key]) == Some(&Value::Bool(true));
        let node = self.documents.of_kind("KubeNodeConfig").next();
        let tainted = |node: &Document| node.get(&["taints", "node-role.kubernetes.io/control-plane"]).is_some();
        legacy("allowSchedulingOnControlPlanes")
            || legacy("allowSchedulingOnMasters")
            || node.is_some_and(|node| !tainted(node))
    }
}

fn text<'a>(document: &'a Document, path: &[&str]) -> Option<&'a str> {
    document.get(path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The texts of a list.
fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
