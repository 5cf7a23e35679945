//! What the product itself adds to a machine, in the form that is right for the contract.
//!
//! The hostname is a field up to contract 1.11 and a document from 1.12 on: each refuses the other. The network stays
//! v1alpha1 up to 1.13, because there its nameservers and interfaces conflict with nothing and other interfaces keep
//! their DHCP; on 1.14 the default `ResolverConfig` forbids that. Interfaces are always selected by MAC: names depend
//! on the machine type and its PCI slots.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::contract::Contract;
use super::patch::Patch;
use crate::inventory::Mac;
use crate::machineconfig::go::quoted;

/// What link documents call the interface that a MAC selects.
const ALIAS: &str = "net0";

fn document(kind: &str, fields: Value) -> Value {
    let mut tree = json!({ "apiVersion": "v1alpha1", "kind": kind });
    if let Value::Object(fields) = fields {
        tree.as_object_mut().expect("it was made as an object").extend(fields);
    }
    tree
}

/// Talos compares the text, and Linux writes MACs in lower case.
fn lower(mac: Mac) -> String {
    mac.to_string().to_ascii_lowercase()
}

fn interface(mac: Mac, fields: Value) -> Value {
    let mut device = json!({ "deviceSelector": { "hardwareAddr": lower(mac) } });
    if let Value::Object(fields) = fields {
        device.as_object_mut().expect("it was made as an object").extend(fields);
    }
    json!({ "machine": { "network": { "interfaces": [device] } } })
}

fn alias(mac: Mac) -> Value {
    let selector = format!("glob({}, mac(link.hardware_addr))", quoted(&lower(mac)));
    document("LinkAliasConfig", json!({ "name": ALIAS, "selector": { "match": selector } }))
}

/// A static hostname.
pub fn hostname(contract: &Contract, name: &str) -> Patch {
    let tree = if contract.multidoc_network {
        // The default document says `auto: stable`, which excludes a name; absence would not take it back.
        document("HostnameConfig", json!({ "auto": "off", "hostname": name }))
    } else {
        json!({ "machine": { "network": { "hostname": name } } })
    };
    Patch::native("hostname", &[tree])
}

/// A static address with its prefix, and the default route.
pub fn static_network(contract: &Contract, mac: Mac, address: ipnet::IpNet, gateway: Option<IpAddr>) -> Patch {
    let address = address.to_string();
    let trees = if contract.multidoc_all {
        let routes: Vec<Value> = gateway.iter().map(|gateway| json!({ "gateway": gateway })).collect();
        let link = json!({ "name": ALIAS, "addresses": [{ "address": address }], "routes": routes });
        vec![alias(mac), document("LinkConfig", link)]
    } else {
        let everywhere = |gateway: &IpAddr| if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let route = |gateway: &IpAddr| json!({ "network": everywhere(gateway), "gateway": gateway });
        let routes: Vec<Value> = gateway.iter().map(route).collect();
        vec![interface(mac, json!({ "addresses": [address], "routes": routes }))]
    };
    Patch::native("static network", &trees)
}

/// The resolvers. `theirs` are the patches that come after: where one of them has a `ResolverConfig`, Talos takes the
/// v1alpha1 field beside it on no contract; where none has, another v1alpha1 field may stand beside ours.
pub fn nameservers(contract: &Contract, servers: &[IpAddr], theirs: &[Patch]) -> Patch {
    const KIND: &str = "ResolverConfig";
    let tree = if contract.multidoc_all || theirs.iter().any(|patch| patch.brings(KIND)) {
        let servers: Vec<Value> = servers.iter().map(|address| json!({ "address": address })).collect();
        document(KIND, json!({ "nameservers": servers }))
    } else {
        json!({ "machine": { "network": { "nameservers": servers } } })
    };
    Patch::native("nameservers", &[tree])
}

/// DHCP on the interface. Needed wherever [`vip`] is used without [`static_network`]: to configure an interface
/// at all takes its default DHCP away.
pub fn dhcp(contract: &Contract, mac: Mac) -> Patch {
    let trees = if contract.multidoc_all {
        vec![alias(mac), document("DHCPv4Config", json!({ "name": ALIAS }))]
    } else {
        vec![interface(mac, json!({ "dhcp": true }))]
    };
    Patch::native("DHCP", &trees)
}

/// The address that the control planes share. On control planes only: Talos refuses it on workers.
pub fn vip(contract: &Contract, mac: Mac, ip: IpAddr) -> Patch {
    let trees = if contract.multidoc_all {
        vec![alias(mac), document("Layer2VIPConfig", json!({ "name": ip, "link": ALIAS }))]
    } else {
        vec![interface(mac, json!({ "vip": { "ip": ip } }))]
    };
    Patch::native("VIP", &trees)
}

/// No CNI: another one comes later. Goes to control planes, and does no harm on workers.
pub fn cni_none(contract: &Contract) -> Patch {
    if contract.multidoc_all {
        Patch::native_delete("CNI", "KubeFlannelCNIConfig")
    } else {
        Patch::native("CNI", &[json!({ "cluster": { "network": { "cni": { "name": "none" } } } })])
    }
}

/// No kube-proxy: a CNI that replaces it comes later. On control planes only.
pub fn no_kube_proxy(contract: &Contract) -> Patch {
    let tree = if contract.multidoc_all {
        document("KubeProxyConfig", json!({ "enabled": false }))
    } else {
        json!({ "cluster": { "proxy": { "disabled": true } } })
    };
    Patch::native("kube-proxy", &[tree])
}
