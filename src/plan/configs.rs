//! The machines' configurations as the profile alone decides them: no site, no network.
//!
//! The plan pins these, `render` shows them, and `profile check` tries them out; so all three speak of the same ones.

use ipnet::Ipv4Net;

use super::check::{Problem, problem};
use super::draft::schematic;
use crate::factory::{Asset, registry};
use crate::inventory::Role;
use crate::machineconfig::Contract;
use crate::profile::{Cni, MachineSpec, Profile};
use crate::steps::render::ConfigSpec;

/// The contract that the profile's configurations are made for: as it says, else what suits its Talos.
pub fn contract(profile: &Profile) -> Result<Contract, Problem> {
    match &profile.talos.contract {
        Some(contract) => Contract::parse(contract),
        None => Contract::for_talos(&profile.talos.version),
    }
    .map_err(|error| problem("talos.contract", error.to_string(), ""))
}

/// Every machine's configuration, control planes first.
pub fn configs(profile: &Profile, contract: &Contract) -> Result<Vec<ConfigSpec>, Problem> {
    let asset = asset(profile, schematic(profile)?.id);
    let installer = asset.installer(&registry(&profile.talos.factory.url));
    Ok(profile.machines.iter().map(|machine| config(profile, machine, contract, &asset.version, &installer)).collect())
}

/// The boot image of the profile's machines.
pub(super) fn asset(profile: &Profile, schematic: String) -> Asset {
    Asset {
        schematic,
        version: format!("v{}", profile.talos.version),
        platform: profile.talos.platform.clone(),
        arch: String::from("amd64"),
        secureboot: profile.talos.secureboot,
    }
}

/// One machine's configuration. `installer` is the image's whole reference, `talos` the version with its `v`.
pub(super) fn config(
    profile: &Profile,
    machine: &MachineSpec,
    contract: &Contract,
    talos: &str,
    installer: &str,
) -> ConfigSpec {
    let Profile { talos: of_talos, network, .. } = profile;
    ConfigSpec {
        cluster: profile.name.clone(),
        machine: machine.name.clone(),
        role: machine.role,
        contract: contract.to_string(),
        talos: talos.to_owned(),
        kubernetes: of_talos.kubernetes_version.clone(),
        endpoint: endpoint(profile),
        install_disk: of_talos.install_disk.clone(),
        install_image: installer.to_owned(),
        address: address(profile, machine),
        gateway: network.gateway,
        dns: network.dns.clone(),
        ntp: network.ntp.clone(),
        vip: of_talos.vip.filter(|_| machine.role == Role::ControlPlane),
        pods: network.pod_cidr.to_string(),
        services: network.service_cidr.to_string(),
        cni_none: network.cni == Cni::None,
    }
}

/// URL of the Kubernetes API.
pub(super) fn endpoint(profile: &Profile) -> String {
    format!("https://{}:6443", profile.network.api_endpoint)
}

/// A machine's address with the network's prefix length.
pub(super) fn address(profile: &Profile, machine: &MachineSpec) -> Ipv4Net {
    Ipv4Net::new(machine.ip, profile.network.cidr.prefix_len()).expect("the prefix length of a network")
}
