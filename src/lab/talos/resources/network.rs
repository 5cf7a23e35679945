//! What the network is: links, addresses, routes, names.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{Row, Rows, View, row};
use crate::lab::fleet::link_name;

const UP: &str = "UP,BROADCAST,RUNNING,MULTICAST,LOWER_UP";

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    let (name, "net.talos.dev") = kind.split_once('.')? else { return None };
    Some(match name {
        "LinkStatuses" => links(view),
        "HardwareAddresses" => hardware(view),
        "AddressStatuses" => addresses(view),
        "NodeAddresses" => own(view),
        "RouteStatuses" => routes(view),
        "ResolverStatuses" => match router(view) {
            Some(gateway) => {
                let value = json!({"dnsServers": [gateway], "nameServers": [{"addr": gateway}]});
                vec![row("resolvers", value)]
            }
            None => Vec::new(),
        },
        "TimeServerStatuses" => vec![row("timeservers", json!({"timeServers": super::netspec::time_servers(view)}))],
        "HostnameStatuses" => vec![row("hostname", json!({"hostname": view.system.hostname}))],
        "NetworkStatuses" => {
            let ready = !view.system.addresses.is_empty();
            let value = json!({"addressReady": ready, "connectivityReady": ready, "hostnameReady": true, "etcFilesReady": true});
            vec![row("status", value)]
        }
        _ => return None,
    })
}

/// The site's router has the network's first address: it routes, and it resolves names.
pub(super) fn router(view: &View<'_>) -> Option<Ipv4Addr> {
    view.system.addresses.first().filter(|address| address.connected).map(|_| view.fleet.gateway())
}

/// The kernel's number of a network card: `lo` is the first link, and a dummy the second.
pub(super) fn index(nic: usize) -> usize {
    3 + nic
}

fn links(view: &View<'_>) -> Rows {
    let lo = json!({
        "index": 1, "type": "loopback", "flags": "UP,LOOPBACK,RUNNING,LOWER_UP", "hardwareAddr": "00:00:00:00:00:00",
        "broadcastAddr": "00:00:00:00:00:00", "mtu": 65_536, "queueDisc": "noqueue", "operationalState": "unknown",
        "linkState": true, "port": "Other", "duplex": "Unknown",
    });
    // A link without hardware that every Talos has: only `kind` tells it from a card.
    let dummy = json!({
        "index": 2, "type": "ether", "flags": "BROADCAST,NOARP", "hardwareAddr": "02:00:00:00:00:01",
        "broadcastAddr": "ff:ff:ff:ff:ff:ff", "mtu": 1500, "queueDisc": "noop", "operationalState": "down",
        "kind": "dummy", "port": "Other", "duplex": "Unknown",
    });
    let mut rows = vec![row("lo", lo), row("dummy0", dummy)];
    for (position, nic) in view.machine.hardware.nics.iter().enumerate() {
        let mac = nic.mac.to_string().to_lowercase();
        let driver = match nic.model.as_str() {
            "virtio" => "virtio_net",
            "rtl8139" => "8139cp",
            other => other,
        };
        let value = json!({
            "altNames": [format!("enp6s{}", 18 + position), format!("ens{}", 18 + position)],
            "index": index(position), "type": "ether",
            "flags": if nic.link_up { UP } else { "UP,BROADCAST,MULTICAST" }, "hardwareAddr": mac, "permanentAddr": mac,
            "broadcastAddr": "ff:ff:ff:ff:ff:ff", "mtu": 1500, "queueDisc": "pfifo_fast",
            "operationalState": if nic.link_up { "up" } else { "down" }, "driver": driver, "linkState": nic.link_up,
            "busPath": format!("0000:06:{:02x}.0", 18 + position), "port": "Other", "duplex": "Unknown",
        });
        rows.push(row(link_name(view.system, position), value));
    }
    rows
}

/// The first card is what the machine is known by.
fn hardware(view: &View<'_>) -> Rows {
    let first = view.machine.hardware.nics.first().map(|nic| nic.mac.to_string().to_lowercase());
    first.map(|mac| row("first", json!({"name": link_name(view.system, 0), "hardwareAddr": mac}))).into_iter().collect()
}

/// Card, address and prefix of what the machine has, shared addresses last.
fn held(view: &View<'_>) -> Vec<(usize, Ipv4Addr, u8)> {
    let own = view.system.addresses.iter().map(|address| (address.nic, address.ip, address.prefix));
    own.chain(view.system.vips.iter().map(|ip| (0, *ip, 32))).collect()
}

fn addresses(view: &View<'_>) -> Rows {
    let of = |link: String, index: usize, ip: Ipv4Addr, prefix: u8, scope: &str, broadcast: Option<Ipv4Addr>| -> Row {
        let text = format!("{ip}/{prefix}");
        let value = json!({
            "address": text, "local": ip, "broadcast": broadcast.map(|ip| ip.to_string()).unwrap_or_default(),
            "linkIndex": index, "linkName": link, "family": "inet4", "scope": scope, "flags": "permanent",
        });
        row(format!("{link}/{text}"), value)
    };
    let loopback = of("lo".to_owned(), 1, Ipv4Addr::LOCALHOST, 8, "host", None);
    let cards = held(view).into_iter().map(|(nic, ip, prefix)| {
        let whole = ipnet::Ipv4Net::new(ip, prefix).ok().filter(|net| net.prefix_len() < 31);
        of(link_name(view.system, nic), index(nic), ip, prefix, "global", whole.map(|net| net.broadcast()))
    });
    std::iter::once(loopback).chain(cards).collect()
}

fn own(view: &View<'_>) -> Rows {
    let text = |(ip, prefix): (Ipv4Addr, u8)| format!("{ip}/{prefix}");
    // Shared addresses are current, and never the machine's default.
    let current: Vec<String> = held(view).into_iter().map(|(_, ip, prefix)| text((ip, prefix))).collect();
    let routed: Vec<String> = view.system.addresses.iter().map(|address| text((address.ip, address.prefix))).collect();
    let default: Vec<String> = routed.first().cloned().into_iter().collect();
    let mut ids = vec![
        ("default".to_owned(), &default),
        ("current".to_owned(), &current),
        ("routed".to_owned(), &routed),
        ("accumulative".to_owned(), &current),
    ];
    // With a configuration there are filters, and what passes each of them.
    for filter in super::netspec::filters(view) {
        for (id, of) in [("current", &current), ("routed", &routed), ("accumulative", &current)] {
            // The network of pods and services has no address of the machine's own.
            let empty = const { &Vec::new() };
            ids.push((format!("{id}-{}", filter.id), if filter.id == "only-k8s" { empty } else { of }));
        }
    }
    let sort = super::netspec::sort_algorithm(view);
    let has = !current.is_empty();
    let rows = ids.into_iter().filter(|_| has);
    rows.map(|(id, addresses)| row(id, json!({"addresses": addresses, "sortAlgorithm": sort}))).collect()
}

fn routes(view: &View<'_>) -> Rows {
    let mut rows = Vec::new();
    for address in view.system.addresses.iter().filter(|address| address.connected) {
        let Ok(net) = ipnet::Ipv4Net::new(address.ip, address.prefix) else { continue };
        let link = link_name(view.system, address.nic);
        let value = json!({
            "family": "inet4", "dst": net.trunc().to_string(), "src": address.ip, "outLinkIndex": index(address.nic),
            "outLinkName": link, "table": "main", "scope": "link", "type": "unicast", "protocol": "kernel",
        });
        rows.push(row(format!("inet4//{}/0", net.trunc()), value));
    }
    if let (Some(gateway), Some(first)) = (router(view), view.system.addresses.first()) {
        let link = link_name(view.system, first.nic);
        let source = if first.leased { Value::from(first.ip.to_string()) } else { Value::from("") };
        let value = json!({
            "family": "inet4", "dst": "", "src": source, "gateway": gateway, "outLinkIndex": index(first.nic),
            "outLinkName": link, "table": "main", "priority": 1024, "scope": "global", "type": "unicast",
            "protocol": if first.leased { "dhcp" } else { "static" },
        });
        rows.push(row(format!("inet4/{gateway}//1024"), value));
    }
    rows
}
