//! `talosctl gen config`: from a secrets bundle and a few inputs to a machine's documents.
//!
//! Contracts up to 1.13 are one v1alpha1 document and at most a few beside it; 1.14 is a world of its own. Hence two
//! builders. Both make plain trees in any order: the field table orders and completes them, as for any other text.

mod endpoint;
mod legacy;
mod modern;

use std::collections::BTreeMap;

pub use endpoint::check_endpoint;

use serde_json::{Value, json};

use super::bundle::Bundle;
use super::contract::Contract;
use super::decode::DecodeError;
use super::documents::Documents;
use super::go::{self, Url};
use super::minor::Minor;
use crate::inventory::Role;

/// What the generator is told. [`Input::new`] has Talos's defaults for everything that is not needed.
#[derive(Clone, Debug)]
pub struct Input {
    pub cluster_name: String,
    /// URL of the Kubernetes API, `https://192.168.22.100:6443`; written as given.
    pub endpoint: String,
    /// `1.35.0`, with or without `v`.
    pub kubernetes_version: String,
    /// Device to install to; empty: the installation names none (and contract 1.14 writes no install document).
    pub install_disk: String,
    /// Installer image with tag; empty: none is named.
    pub install_image: String,
    /// More names and addresses for the certificates of the Talos and the Kubernetes API.
    pub additional_sans: Vec<String>,
    pub dns_domain: String,
    /// CIDRs; empty: `10.244.0.0/16`, or `fc00:db8:10::/56` when the endpoint is a bare IPv6 address.
    pub pod_subnets: Vec<String>,
    /// CIDRs; empty: `10.96.0.0/12`, or `fc00:db8:20::/112`.
    pub service_subnets: Vec<String>,
    pub discovery: bool,
    pub kubespan: bool,
    pub debug: bool,
    /// Whether the configuration outlives a reboot. `false` validates on no Talos of today.
    pub persist: bool,
    /// A control plane of type `init`, which bootstraps etcd by itself: how clusters began before Talos 0.9.
    pub init: bool,
    pub allow_scheduling_on_control_planes: bool,
    /// Manifest of a CNI to install instead of Flannel.
    pub custom_cni_url: Option<String>,
    /// `None` and 0: 6443, which is not written.
    pub local_api_server_port: Option<u16>,
    /// `None`: 7445; 0 turns KubePrism off.
    pub kube_prism_port: Option<u16>,
    /// Registry, and the URLs of its mirrors in order. One that is there twice has the URLs of both.
    pub registry_mirrors: Vec<(String, Vec<String>)>,
    pub sysctls: BTreeMap<String, String>,
    /// Only without a UKI, and never on contract 1.14: kernel arguments belong into the schematic.
    pub install_extra_kernel_args: Vec<String>,
}

impl Input {
    pub fn new(cluster_name: &str, endpoint: &str, kubernetes_version: &str) -> Self {
        Self {
            cluster_name: cluster_name.to_owned(),
            endpoint: endpoint.to_owned(),
            kubernetes_version: kubernetes_version.to_owned(),
            install_disk: "/dev/sda".to_owned(),
            install_image: String::new(),
            additional_sans: Vec::new(),
            dns_domain: "cluster.local".to_owned(),
            pod_subnets: Vec::new(),
            service_subnets: Vec::new(),
            discovery: true,
            kubespan: false,
            debug: false,
            persist: true,
            init: false,
            allow_scheduling_on_control_planes: false,
            custom_cni_url: None,
            local_api_server_port: None,
            kube_prism_port: None,
            registry_mirrors: Vec::new(),
            sysctls: BTreeMap::new(),
            install_extra_kernel_args: Vec::new(),
        }
    }
}

/// The inputs make no configuration.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("kubernetes version must be specified")]
    KubernetesVersion,
    /// The URL as it is, and what is wrong with it.
    #[error("{0}")]
    Endpoint(String),
    #[error("failed to parse custom CNI URL: {0}")]
    Cni(String),
    #[error("failed to generate registry configs: failed to parse registry mirror endpoint {}: {why}", go::quoted(.url))]
    Mirror { url: String, why: String },
    #[error("pod or service subnet {0:?} is not a prefix such as 10.244.0.0/16")]
    Subnet(String),
    #[error("the generated configuration does not decode")]
    Decode(#[from] DecodeError),
}

/// Makes the documents of one machine.
pub fn generate(contract: &Contract, bundle: &Bundle, role: Role, input: &Input) -> Result<Documents, GenerateError> {
    if input.kubernetes_version.strip_prefix('v').unwrap_or(&input.kubernetes_version).is_empty() {
        return Err(GenerateError::KubernetesVersion);
    }
    let endpoint = Url::parse(&input.endpoint).map_err(GenerateError::Endpoint)?;
    let control_plane = role == Role::ControlPlane;
    let maker = Maker { contract, bundle, input, endpoint, cni: cni(input, control_plane)?, control_plane };
    if contract.multidoc_network {
        for url in input.registry_mirrors.iter().flat_map(|(_, urls)| urls) {
            Url::parse(url).map_err(|why| GenerateError::Mirror { url: url.clone(), why })?;
        }
    }
    for subnet in maker.pod_subnets().iter().chain(&maker.service_subnets()) {
        // Talos writes nonsense here up to contract 1.13 and crashes on 1.14; neither helps anybody.
        if subnet.parse::<ipnet::IpNet>().is_err() && contract.multidoc_all {
            return Err(GenerateError::Subnet(subnet.clone()));
        }
    }
    let trees = if contract.multidoc_all { maker.modern() } else { maker.legacy() };
    Ok(Documents::from_trees(&trees, &Minor::NEWEST)?)
}

/// The manifest of a CNI of one's own. Only what control planes apply is read as a URL and spelled anew.
fn cni(input: &Input, control_plane: bool) -> Result<Option<String>, GenerateError> {
    let given = input.custom_cni_url.clone().filter(|url| !url.is_empty());
    match given {
        Some(url) if control_plane => Ok(Some(Url::parse(&url).map_err(GenerateError::Cni)?.to_string())),
        given => Ok(given),
    }
}

struct Maker<'a> {
    contract: &'a Contract,
    bundle: &'a Bundle,
    input: &'a Input,
    endpoint: Url,
    cni: Option<String>,
    control_plane: bool,
}

impl Maker<'_> {
    fn machine_type(&self) -> &'static str {
        match self.control_plane {
            true if self.input.init => "init",
            true => "controlplane",
            false => "worker",
        }
    }

    fn image(&self, name: &str) -> String {
        let version = &self.input.kubernetes_version;
        format!("{name}:v{}", version.strip_prefix('v').unwrap_or(version))
    }

    fn pod_subnets(&self) -> Vec<String> {
        self.subnets(&self.input.pod_subnets, ["10.244.0.0/16", "fc00:db8:10::/56"])
    }

    fn service_subnets(&self) -> Vec<String> {
        self.subnets(&self.input.service_subnets, ["10.96.0.0/12", "fc00:db8:20::/112"])
    }

    fn subnets(&self, given: &[String], [v4, v6]: [&str; 2]) -> Vec<String> {
        let is_v6 = || go::addr(&self.input.endpoint).is_ok_and(|address| address.is_ipv6());
        match given {
            [] => vec![if is_v6() { v6 } else { v4 }.to_owned()],
            given => given.to_vec(),
        }
    }

    /// Port of KubePrism; `None` when it is turned off.
    fn kube_prism(&self) -> Option<u16> {
        Some(self.input.kube_prism_port.unwrap_or(7445)).filter(|port| *port != 0)
    }

    /// Registries by name, each with the URLs of its mirrors.
    fn registries(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut registries = BTreeMap::<_, Vec<_>>::new();
        for (name, urls) in &self.input.registry_mirrors {
            registries.entry(name.as_str()).or_default().extend(urls.iter().map(String::as_str));
        }
        registries
    }

    fn mirrors(&self) -> Vec<Value> {
        let endpoints = |urls: &[&str]| urls.iter().map(|url| json!({ "url": url })).collect::<Value>();
        let document = |(name, urls): (&str, Vec<&str>)| {
            json!({
                "apiVersion": "v1alpha1", "kind": "RegistryMirrorConfig",
                "name": name, "endpoints": endpoints(&urls),
            })
        };
        self.registries().into_iter().map(document).collect()
    }
}

/// The pod security defaults that Talos ships.
fn pod_security() -> Value {
    json!({
        "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
        "kind": "PodSecurityConfiguration",
        "defaults": {
            "audit": "restricted", "audit-version": "latest",
            "enforce": "baseline", "enforce-version": "latest",
            "warn": "restricted", "warn-version": "latest",
        },
        "exemptions": { "namespaces": ["kube-system"], "runtimeClasses": [], "usernames": [] },
    })
}

fn audit_policy() -> Value {
    json!({ "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{ "level": "Metadata" }] })
}
