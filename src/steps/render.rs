//! One machine's configuration, from what the plan pinned and what only the site knows (the MAC).
//!
//! Order: Talos's own generator, then what the profile's fields ask for, then the
//! user's patches (all, role, machine), so that a patch can override anything.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::inventory::{Mac, Role};
use crate::machineconfig::{self, Bundle, Contract, Documents, Input, Minor, Patch, overlay};
use crate::secrets::Secret;

/// What the plan pins of a machine's configuration. No secret, no patch text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSpec {
    pub cluster: String,
    pub machine: String,
    pub role: Role,
    /// The configuration's version contract, `1.12`.
    pub contract: String,
    /// The Talos version that will read it, `v1.12.4`.
    pub talos: String,
    /// `1.35.0`.
    pub kubernetes: String,
    /// URL of the Kubernetes API.
    pub endpoint: String,
    pub install_disk: String,
    pub install_image: String,
    /// The machine's own address with the network's prefix length.
    pub address: Ipv4Net,
    pub gateway: Ipv4Addr,
    pub dns: Vec<Ipv4Addr>,
    pub ntp: Vec<String>,
    /// Only on control planes.
    pub vip: Option<Ipv4Addr>,
    pub pods: String,
    pub services: String,
    /// No CNI is installed, and so no machine becomes Ready by itself.
    pub cni_none: bool,
}

/// A configuration that Talos accepts.
pub struct Rendered {
    pub yaml: Secret,
    /// What `yaml` says.
    pub documents: Documents,
    pub warnings: Vec<String>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("{0}")]
    Version(#[from] machineconfig::BadVersion),
    #[error("contract {contract} is newer than Talos {talos}, which does not know its documents")]
    Newer { contract: String, talos: String },
    #[error("the configuration of {machine} cannot be generated")]
    Generate { machine: String, source: machineconfig::GenerateError },
    #[error("a patch does not apply to the configuration of {machine}")]
    Patch { machine: String, source: machineconfig::PatchError },
    #[error("Talos {talos} would refuse the configuration of {machine}: {}", errors.join("; "))]
    Invalid { machine: String, talos: String, errors: Vec<String> },
}

/// Generates, overlays, patches and validates the configuration of the machine whose first card is `mac`.
pub fn render(spec: &ConfigSpec, bundle: &Bundle, mac: Mac, patches: &[Patch]) -> Result<Rendered, RenderError> {
    let contract = Contract::parse(&spec.contract)?;
    let minor = Minor::parse(&spec.talos)?;
    if !minor.reads(&contract) {
        return Err(RenderError::Newer { contract: contract.to_string(), talos: spec.talos.clone() });
    }
    let machine = || spec.machine.clone();
    let input = Input {
        install_disk: spec.install_disk.clone(),
        install_image: spec.install_image.clone(),
        pod_subnets: vec![spec.pods.clone()],
        service_subnets: vec![spec.services.clone()],
        ..Input::new(&spec.cluster, &spec.endpoint, &spec.kubernetes)
    };
    let generated = machineconfig::generate(&contract, bundle, spec.role, &input)
        .map_err(|source| RenderError::Generate { machine: machine(), source })?;
    let dns: Vec<IpAddr> = spec.dns.iter().copied().map(IpAddr::from).collect();
    let mut ours = vec![
        overlay::hostname(&contract, &spec.machine),
        overlay::static_network(&contract, mac, spec.address.into(), Some(spec.gateway.into())),
    ];
    ours.extend((!dns.is_empty()).then(|| overlay::nameservers(&contract, &dns, patches)));
    ours.extend(spec.vip.map(|vip| overlay::vip(&contract, mac, vip.into())));
    if !spec.ntp.is_empty() {
        // Every contract still takes the old form, and no document of ours stands beside it.
        let text = serde_json::json!({ "machine": { "time": { "servers": spec.ntp } } }).to_string();
        let patch = Patch::load(&text, machineconfig::PatchSource::Native("time servers"), &minor)
            .map_err(|source| RenderError::Patch { machine: machine(), source })?;
        ours.push(patch);
    }
    ours.extend((spec.cni_none && spec.role == Role::ControlPlane).then(|| overlay::cni_none(&contract)));
    ours.extend(patches.iter().cloned());
    let documents = machineconfig::apply(&generated, &ours, &minor)
        .map_err(|source| RenderError::Patch { machine: machine(), source })?;
    // Metal mode is the stricter one: it refuses `install.extraKernelArgs` beside a unified kernel image, which a
    // cloud platform takes without a word and then ignores.
    let verdict = machineconfig::validate(&documents, machineconfig::Mode::Metal, false, &minor);
    if !verdict.errors.is_empty() {
        let placed = |error: String| match machineconfig::blame(&error, patches) {
            Some(place) => format!("{place}: {error}"),
            None => error,
        };
        let errors = verdict.errors.into_iter().map(placed).collect();
        return Err(RenderError::Invalid { machine: machine(), talos: spec.talos.clone(), errors });
    }
    Ok(Rendered { yaml: Secret::new(documents.to_yaml()), documents, warnings: verdict.warnings })
}
