//! Links, addresses, hostname.

use std::net::Ipv4Addr;

use serde_json::json;

use super::{Resource, View, resource};
use crate::lab::fleet::link_name;
use crate::talos::wire::common::{NetIp, NetIpPrefix};
use crate::talos::wire::specs::{
    AddressFamily, AddressScope, AddressStatusSpec, HostnameStatusSpec, LinkStatusSpec, LinkType, NetworkStatusSpec,
    NodeAddressSpec, OperationalState, ResolverStatusSpec, RouteStatusSpec, TimeServerStatusSpec,
};

const NS: &str = "network";

/// `ETH_P`-less bits of `IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST | IFF_LOWER_UP`.
const FLAGS_UP: u32 = 0x1_1043;

pub(super) fn add(view: &View<'_>, list: &mut Vec<Resource>) {
    links(view, list);
    addresses(view, list);
    routes(view, list);
    let hostname = &view.system.hostname;
    list.push(resource(
        NS,
        "HostnameStatuses.net.talos.dev",
        "hostname",
        &HostnameStatusSpec { hostname: hostname.clone(), domainname: String::new() },
        &json!({"hostname": hostname, "domainname": ""}),
    ));
    let ready = !view.system.addresses.is_empty();
    list.push(resource(
        NS,
        "NetworkStatuses.net.talos.dev",
        "status",
        &NetworkStatusSpec {
            address_ready: ready,
            connectivity_ready: ready,
            hostname_ready: true,
            etc_files_ready: true,
        },
        &json!({"addressReady": ready, "connectivityReady": ready, "hostnameReady": true, "etcFilesReady": true}),
    ));
}

/// The site's router has the network's first address: it routes, resolves names, and knows the time servers.
fn routes(view: &View<'_>, list: &mut Vec<Resource>) {
    let gateway = view.fleet.gateway();
    let Some(first) = view.system.addresses.first().filter(|address| address.connected) else { return };
    let link = link_name(view.system, first.nic);
    let spec = RouteStatusSpec {
        family: AddressFamily::Inet4.into(),
        destination: None,
        gateway: Some(NetIp { ip: gateway.octets().to_vec() }),
        out_link_index: 3 + u32::try_from(first.nic).unwrap_or(0),
        out_link_name: link.clone(),
        priority: 1024,
    };
    let yaml = json!({
        "family": "inet4", "dst": "", "src": "", "gateway": gateway.to_string(), "outLinkIndex": spec.out_link_index,
        "outLinkName": link, "table": "main", "priority": 1024, "scope": "global", "type": "unicast", "flags": "",
        "protocol": "dhcp",
    });
    list.push(resource(NS, "RouteStatuses.net.talos.dev", format!("{link}/inet4/{gateway}//1024"), &spec, &yaml));
    let resolvers = ResolverStatusSpec { dns_servers: vec![NetIp { ip: gateway.octets().to_vec() }] };
    let yaml = json!({"dnsServers": [gateway.to_string()], "searchDomains": []});
    list.push(resource(NS, "ResolverStatuses.net.talos.dev", "resolvers", &resolvers, &yaml));
    let servers = vec!["time.cloudflare.com".to_owned()];
    let yaml = json!({"timeServers": servers});
    let spec = TimeServerStatusSpec { ntp_servers: servers };
    list.push(resource(NS, "TimeServerStatuses.net.talos.dev", "timeservers", &spec, &yaml));
}

fn links(view: &View<'_>, list: &mut Vec<Resource>) {
    let up = OperationalState::OperUp;
    let lo = LinkStatusSpec {
        index: 1,
        r#type: LinkType::LinkLoopback.into(),
        flags: FLAGS_UP,
        hardware_addr: vec![0; 6],
        mtu: 65_536,
        operational_state: OperationalState::OperUnknown.into(),
        link_state: true,
        ..LinkStatusSpec::default()
    };
    let yaml = json!({"index": 1, "type": "loopback", "hardwareAddr": "00:00:00:00:00:00", "mtu": 65_536, "operationalState": "unknown", "kind": "", "linkState": true});
    list.push(resource(NS, "LinkStatuses.net.talos.dev", "lo", &lo, &yaml));
    // A link without hardware that every Talos has: only `kind` tells it from a card.
    let dummy = LinkStatusSpec {
        index: 2,
        r#type: LinkType::LinkEther.into(),
        hardware_addr: vec![0x02, 0, 0, 0, 0, 1],
        mtu: 1500,
        operational_state: OperationalState::OperDown.into(),
        kind: "dummy".into(),
        ..LinkStatusSpec::default()
    };
    let yaml = json!({"index": 2, "type": "ether", "hardwareAddr": "02:00:00:00:00:01", "mtu": 1500, "operationalState": "down", "kind": "dummy", "linkState": false});
    list.push(resource(NS, "LinkStatuses.net.talos.dev", "dummy0", &dummy, &yaml));
    for (position, nic) in view.machine.hardware.nics.iter().enumerate() {
        let index = 3 + u32::try_from(position).unwrap_or(0);
        let (driver, state, word) = (
            if nic.model == "virtio" { "virtio_net" } else { nic.model.as_str() },
            if nic.link_up { up } else { OperationalState::OperDown },
            if nic.link_up { "up" } else { "down" },
        );
        let spec = LinkStatusSpec {
            index,
            r#type: LinkType::LinkEther.into(),
            flags: FLAGS_UP,
            hardware_addr: nic.mac.0.to_vec(),
            permanent_addr: nic.mac.0.to_vec(),
            broadcast_addr: vec![0xff; 6],
            mtu: 1500,
            queue_disc: "pfifo_fast".into(),
            operational_state: state.into(),
            driver: driver.to_owned(),
            link_state: nic.link_up,
            ..LinkStatusSpec::default()
        };
        let mac = nic.mac.to_string().to_lowercase();
        let yaml = json!({
            "index": index, "type": "ether", "linkIndex": 0, "flags": "UP,BROADCAST,RUNNING,MULTICAST,LOWER_UP",
            "hardwareAddr": mac, "permanentAddr": mac, "broadcastAddr": "ff:ff:ff:ff:ff:ff", "mtu": 1500,
            "queueDisc": "pfifo_fast", "operationalState": word, "kind": "", "slaveKind": "", "driver": driver,
            "linkState": nic.link_up,
        });
        let name = link_name(view.system, position);
        list.push(resource(NS, "LinkStatuses.net.talos.dev", name, &spec, &yaml));
    }
}

fn addresses(view: &View<'_>, list: &mut Vec<Resource>) {
    let mut own: Vec<(usize, Ipv4Addr, u8)> =
        view.system.addresses.iter().map(|address| (address.nic, address.ip, address.prefix)).collect();
    own.extend(view.system.vips.iter().map(|ip| (0, *ip, 32)));
    let loopback = (None, Ipv4Addr::LOCALHOST, 8, AddressScope::ScopeHost, "host");
    let on_cards = own.iter().map(|(nic, ip, prefix)| (Some(*nic), *ip, *prefix, AddressScope::ScopeGlobal, "global"));
    for (nic, ip, prefix, scope, word) in std::iter::once(loopback).chain(on_cards) {
        let link = nic.map_or_else(|| "lo".to_owned(), |nic| link_name(view.system, nic));
        let index = nic.map_or(1, |nic| 3 + u32::try_from(nic).unwrap_or(0));
        let spec = AddressStatusSpec {
            address: Some(wire(ip, prefix)),
            local: Some(NetIp { ip: ip.octets().to_vec() }),
            link_index: index,
            link_name: link.clone(),
            family: AddressFamily::Inet4.into(),
            scope: scope.into(),
            ..AddressStatusSpec::default()
        };
        let text = format!("{ip}/{prefix}");
        let yaml = json!({"address": text, "local": ip.to_string(), "linkIndex": index, "linkName": link, "family": "inet4", "scope": word});
        list.push(resource(NS, "AddressStatuses.net.talos.dev", format!("{link}/{text}"), &spec, &yaml));
    }
    // Shared addresses are current, and never the machine's default.
    let current: Vec<(Ipv4Addr, u8)> = own.iter().map(|(_, ip, prefix)| (*ip, *prefix)).collect();
    let default: Vec<(Ipv4Addr, u8)> =
        view.system.addresses.first().map(|address| (address.ip, address.prefix)).into_iter().collect();
    for (id, addresses) in
        [("default", &default), ("current", &current), ("routed", &current), ("accumulative", &current)]
    {
        if addresses.is_empty() {
            continue;
        }
        let spec = NodeAddressSpec {
            addresses: addresses.iter().map(|(ip, prefix)| wire(*ip, *prefix)).collect(),
            sort_algorithm: 0,
        };
        let texts: Vec<String> = addresses.iter().map(|(ip, prefix)| format!("{ip}/{prefix}")).collect();
        let yaml = json!({"addresses": texts, "sortAlgorithm": "v1"});
        list.push(resource(NS, "NodeAddresses.net.talos.dev", id, &spec, &yaml));
    }
}

fn wire(ip: Ipv4Addr, prefix: u8) -> NetIpPrefix {
    NetIpPrefix { ip: ip.octets().to_vec(), prefix_length: prefix.into() }
}
