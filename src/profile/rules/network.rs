//! Rules about addresses and networks.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::inventory::Role;
use crate::profile::resolve::Draft;
use crate::profile::types::{Endpoints, Mode, Profile};

/// Why no machine and no VIP can have `ip` in `cidr`; `None` when it can.
pub(super) fn unusable(ip: Ipv4Addr, profile: &Profile) -> Option<String> {
    let cidr = profile.network.cidr;
    if !cidr.contains(&ip) {
        return Some(format!("{ip} is outside network.cidr {cidr}"));
    }
    if ip == cidr.network() {
        return Some(format!("{ip} is the network address of {cidr}"));
    }
    if ip == cidr.broadcast() {
        return Some(format!("{ip} is the broadcast address of {cidr}"));
    }
    (ip == profile.network.gateway).then(|| format!("{ip} is network.gateway"))
}

pub(super) fn gateway(profile: &Profile, draft: &mut Draft) {
    let (gateway, cidr) = (profile.network.gateway, profile.network.cidr);
    if !cidr.contains(&gateway) {
        draft.problem(
            "network.gateway",
            format!("{gateway} is outside network.cidr {cidr}"),
            "machines could not reach it: choose an address inside, or correct the cidr",
        );
    } else if gateway == cidr.network() || gateway == cidr.broadcast() {
        draft.problem(
            "network.gateway",
            format!("{gateway} is the network or broadcast address of {cidr}"),
            "give the router's own address",
        );
    }
}

pub(super) fn vip(profile: &Profile, draft: &mut Draft) {
    let Some(vip) = profile.talos.vip else { return };
    if let Some(reason) = unusable(vip, profile) {
        draft.problem("talos.vip.ip", reason, format!("choose a free address inside {}", profile.network.cidr));
    }
    if let Some(machine) = profile.machines.iter().find(|machine| machine.ip == vip) {
        draft.problem(
            "talos.vip.ip",
            format!("{vip} is also the address of {}; the VIP moves between control planes", machine.name),
            "choose an address that no machine has",
        );
    }
}

pub(super) fn endpoint(profile: &Profile, draft: &mut Draft) {
    let endpoint = &profile.network.api_endpoint;
    if let (Some(vip), Ok(ip)) = (profile.talos.vip, endpoint.parse::<IpAddr>())
        && ip != IpAddr::V4(vip)
    {
        draft.problem(
            "network.api_endpoint",
            format!("{endpoint} disagrees with talos.vip.ip {vip}"),
            "leave api_endpoint out, and it is the VIP; or remove the VIP",
        );
    }
    // A VIP that is a machine's address has been told already.
    let worker = profile.of_role(Role::Worker).find(|worker| worker.ip.to_string() == *endpoint);
    if let Some(worker) = worker.filter(|worker| profile.talos.vip != Some(worker.ip)) {
        draft.problem(
            "network.api_endpoint",
            format!("{endpoint} is the address of the worker {}, where no API server runs", worker.name),
            "give the VIP, a load balancer or a control plane",
        );
    }
    let single = profile.of_role(Role::ControlPlane).find(|machine| machine.ip.to_string() == *endpoint);
    if let (Some(machine), true) = (single, profile.of_role(Role::ControlPlane).count() > 1) {
        draft.warn(format!(
            "network.api_endpoint {endpoint} is {} alone: the Kubernetes API is gone when that machine is. Give talos.vip.ip.",
            machine.name
        ));
    }
}

pub(super) fn disjoint(profile: &Profile, draft: &mut Draft) {
    let network = &profile.network;
    let nets = [
        ("network.cidr", network.cidr),
        ("network.pod_cidr", network.pod_cidr),
        ("network.service_cidr", network.service_cidr),
    ];
    let overlap = |a: Ipv4Net, b: Ipv4Net| a.contains(&b.network()) || b.contains(&a.network());
    for (index, (name, net)) in nets.iter().enumerate() {
        for (other, taken) in &nets[..index] {
            if overlap(*net, *taken) {
                draft.problem(
                    *name,
                    format!("{net} overlaps {other} {taken}"),
                    "an address in both would be reachable as only one of them: choose disjoint networks",
                );
            }
        }
    }
}

/// A sweep must end, and the lab maps a network onto a 127.N.0.0/16.
pub(super) fn span(profile: &Profile, draft: &mut Draft) {
    let network = &profile.network;
    let length = network.cidr.prefix_len();
    let sweeps = network.mode == Mode::Dhcp || profile.proxmox.endpoints == Endpoints::Lab;
    if !(8..=30).contains(&length) {
        draft.problem(
            "network.cidr",
            format!("{} is a /{length}", network.cidr),
            "a machine network is between /8 and /30",
        );
    } else if sweeps && length < 16 {
        draft.problem(
            "network.cidr",
            format!("{} has too many addresses to look for a machine that got one by DHCP", network.cidr),
            "give the subnet that the machines are on, a /16 at most, or mode: static",
        );
    }
}
