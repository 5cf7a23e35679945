//! The few fields of an applied machine configuration that a machine's life depends on.
//!
//! Read from the untyped YAML, both in the single-document form and in the
//! many-document form of contract 1.14. Whether a configuration is *valid* is
//! not decided here.

mod network;

use std::fmt;
use std::net::Ipv4Addr;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

pub use network::{Link, Selector};

use crate::inventory::Role;

/// A machine configuration as a machine keeps it. It is full of secrets, so its `Debug` shows only what it is.
#[derive(Clone, Default)]
pub struct Applied {
    /// As it was received.
    pub text: String,
    /// It has a `v1alpha1` document: enough to leave maintenance mode.
    pub complete: bool,
    pub worker: bool,
    /// PEM, with the key on control planes only.
    pub machine_ca: Authority,
    pub cluster_ca: Authority,
    /// Proves to trustd that the machine belongs here.
    pub token: String,
    pub cert_sans: Vec<String>,
    pub cluster_name: String,
    /// Verbatim, such as `https://10.83.0.5:6443`.
    pub endpoint: String,
    pub install: Option<Install>,
    pub hostname: Option<String>,
    pub links: Vec<Link>,
    /// A network document is present: Talos 1.12 and later then run no DHCP that nobody asked for.
    pub network_documents: bool,
    pub vips: Vec<Ipv4Addr>,
    pub cni_none: bool,
    pub kube_proxy: bool,
    pub coredns: bool,
    pub etcd: bool,
    /// Of the kubelet's image, without the `v`.
    pub kubernetes_version: String,
    pub schedulable_control_plane: bool,
    identity: Identity,
    /// Read once: every step of every machine asks for it.
    endpoint_host: Option<String>,
}

/// A certificate authority, both halves in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Authority {
    pub cert: String,
    pub key: String,
}

/// Where and from what Talos is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// `/dev/sda`; `None` is the first disk that a selector finds.
    pub disk: Option<String>,
    pub image: Option<String>,
    /// By the `UnattendedInstallConfig` document.
    pub unattended: bool,
    pub reboot: Option<bool>,
}

/// The configuration is no YAML, or not of the shape that is read here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Applied");
        shown.field("cluster", &self.cluster_name).field("role", &self.role()).finish_non_exhaustive()
    }
}

impl Applied {
    /// Reads all documents of `text`.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| Unreadable(error.to_string()))?;
        let documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
        if documents.is_empty() {
            return Err(Unreadable("config not found".into()));
        }
        let kinds: Vec<(&str, &Value)> =
            documents.iter().filter_map(|document| Some((document.get("kind")?.as_str()?, document))).collect();
        let main = documents.iter().find(|document| document.get("kind").is_none());
        let empty = Value::Null;
        let complete = main.is_some_and(|main| main.get("version").and_then(Value::as_str) == Some("v1alpha1"));
        let reader = Reader { main: main.unwrap_or(&empty), kinds: &kinds };
        let mut applied = Self { text: text.to_owned(), complete, ..Self::default() };
        reader.identity(&mut applied);
        reader.cluster(&mut applied);
        reader.install(&mut applied);
        network::read(&reader, &mut applied);
        let endpoint = url::Url::parse(&applied.endpoint).ok();
        applied.endpoint_host = endpoint.and_then(|endpoint| Some(endpoint.host_str()?.to_owned()));
        applied.identity = Identity::of(&applied);
        Ok(applied)
    }

    pub fn role(&self) -> Role {
        if self.worker { Role::Worker } else { Role::ControlPlane }
    }

    /// What makes two machines members of one cluster: the machine authority and the join token.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The endpoint's host, without scheme and port.
    pub fn endpoint_host(&self) -> Option<&str> {
        self.endpoint_host.as_deref()
    }
}

/// See [`Applied::identity`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity([u8; 32]);

impl Identity {
    fn of(applied: &Applied) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(applied.machine_ca.cert.as_bytes());
        context.update(applied.token.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

/// The documents, with the ways to look into them.
struct Reader<'a> {
    main: &'a Value,
    kinds: &'a [(&'a str, &'a Value)],
}

impl<'a> Reader<'a> {
    /// A text at a JSON pointer of the `v1alpha1` document.
    fn text(&self, pointer: &str) -> Option<String> {
        self.main.pointer(pointer).and_then(scalar)
    }

    fn flag(&self, pointer: &str) -> Option<bool> {
        self.main.pointer(pointer).and_then(Value::as_bool)
    }

    fn list(&self, pointer: &str) -> &'a [Value] {
        self.main.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn document(&self, kind: &str) -> Option<&'a Value> {
        self.documents(kind).next()
    }

    fn documents<'b>(&self, kind: &'b str) -> impl Iterator<Item = &'a Value> + use<'a, 'b> {
        self.kinds.iter().filter(move |(known, _)| *known == kind).map(|(_, document)| *document)
    }

    /// A text at a JSON pointer of the first document of `kind`.
    fn of(&self, kind: &str, pointer: &str) -> Option<String> {
        self.document(kind)?.pointer(pointer).and_then(scalar)
    }

    fn identity(&self, applied: &mut Applied) {
        applied.worker = !matches!(self.text("/machine/type").as_deref(), Some("controlplane" | "init"));
        applied.machine_ca = self.authority("/machine/ca");
        applied.token = self.text("/machine/token").unwrap_or_default();
        applied.cert_sans = self.list("/machine/certSANs").iter().filter_map(scalar).collect();
        applied.hostname = self.of("HostnameConfig", "/hostname").or_else(|| self.text("/machine/network/hostname"));
    }

    fn cluster(&self, applied: &mut Applied) {
        let first = |document: Option<String>, main: &str| document.or_else(|| self.text(main)).unwrap_or_default();
        applied.cluster_name = first(self.of("KubeClusterConfig", "/clusterName"), "/cluster/clusterName");
        applied.endpoint = first(self.of("KubeClusterConfig", "/endpoint"), "/cluster/controlPlane/endpoint");
        applied.cluster_ca = match self.document("KubeAPIServerCAConfig") {
            Some(document) => Authority {
                cert: ["/issuingCA/cert", "/acceptedCAs/0"]
                    .iter()
                    .find_map(|pointer| document.pointer(pointer).and_then(scalar))
                    .unwrap_or_default(),
                key: document.pointer("/issuingCA/key").and_then(scalar).unwrap_or_default(),
            },
            None => self.authority("/cluster/ca"),
        };
        let image = first(self.of("KubeletConfig", "/image"), "/machine/kubelet/image");
        let tag = image.split('@').next().and_then(|name| name.rsplit_once(":v")).map(|(_, tag)| tag);
        tag.unwrap_or_default().clone_into(&mut applied.kubernetes_version);
        applied.etcd = !applied.worker;
        if self.document("KubeClusterConfig").is_some() {
            // In this form every part is a document, and what has none does not run.
            let custom = self.document("KubeExternalManifestConfig").is_some();
            applied.cni_none = self.document("KubeFlannelCNIConfig").is_none() && !custom;
            applied.kube_proxy = self.document("KubeProxyConfig").is_some();
            applied.coredns = self.document("KubeCoreDNSConfig").is_some();
            applied.etcd = self.main.pointer("/cluster/etcd").is_some();
            applied.schedulable_control_plane =
                self.document("KubeNodeConfig").is_none_or(|node| node.get("taints").is_none());
        } else {
            applied.cni_none = self.text("/cluster/network/cni/name").as_deref() == Some("none");
            applied.kube_proxy = self.flag("/cluster/proxy/disabled") != Some(true);
            applied.coredns = self.flag("/cluster/coreDNS/disabled") != Some(true);
            applied.schedulable_control_plane = self.flag("/cluster/allowSchedulingOnControlPlanes") == Some(true);
        }
    }

    fn install(&self, applied: &mut Applied) {
        if let Some(document) = self.document("UnattendedInstallConfig") {
            let expression = document.pointer("/provisioning/diskSelector/match").and_then(scalar).unwrap_or_default();
            applied.install = Some(Install {
                disk: device_path(&expression),
                image: document.pointer("/installer/image").and_then(scalar),
                unattended: true,
                reboot: document.get("reboot").and_then(Value::as_bool),
            });
        } else if let Some(install) = self.main.pointer("/machine/install").filter(|install| !install.is_null()) {
            applied.install = Some(Install {
                disk: install.get("disk").and_then(scalar).filter(|disk| !disk.is_empty()),
                image: install.get("image").and_then(scalar),
                unattended: false,
                reboot: None,
            });
        }
    }

    /// `{crt, key}` below `pointer`, each base64 of PEM.
    fn authority(&self, pointer: &str) -> Authority {
        let half = |name: &str| {
            let encoded = self.text(&format!("{pointer}/{name}"))?;
            String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()
        };
        Authority { cert: half("crt").unwrap_or_default(), key: half("key").unwrap_or_default() }
    }
}

/// The `/dev/sda` of a CEL expression such as `disk.dev_path == "/dev/sda"`.
fn device_path(expression: &str) -> Option<String> {
    let rest = &expression[expression.find("/dev/")?..];
    let end = rest.find(['"', '\'']).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

/// A scalar as text: YAML lets people write numbers where names are meant.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
