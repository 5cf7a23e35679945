//! `machine.network.interfaces`.

use std::collections::HashMap;

use serde_json::Value;

use super::{Findings, flag, list, net, number, text, texts};
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;

const EXCLUSIVE: &str = "config sections are mutually exclusive";

pub(super) fn check(network: &Value, minor: &Minor, found: &mut Findings) {
    let devices = list(network, "interfaces");
    // Members of bonds and bridges, each with the link that claims it.
    let mut members: HashMap<&str, &str> = HashMap::new();
    for device in devices {
        let name = text(device, "interface");
        let (bond, bridge) = (device.get("bond"), device.get("bridge"));
        found.check(
            bond.is_none() || bridge.is_none(),
            format!("interface has both bridge and bond sections set {name}: {EXCLUSIVE}", name = quoted(name)),
        );
        if let Some(bond) = bond {
            found.check(
                list(bond, "interfaces").is_empty() || list(bond, "deviceSelectors").is_empty(),
                format!("interface {name} has both interfaces and selectors set: {EXCLUSIVE}", name = quoted(name)),
            );
        }
        for member in bridge.or(bond).into_iter().flat_map(|link| texts(link, "interfaces")) {
            if let Some(other) = members.insert(member, name).filter(|other| *other != name) {
                found.error(format!(
                    "interface {member} is declared as part of two separate links: {other} and {name}",
                    member = quoted(member),
                    other = quoted(other),
                    name = quoted(name)
                ));
            }
        }
    }
    for device in devices.iter().filter(|device| flag(device, "ignore") != Some(true)) {
        identity(device, minor, found);
        addressing(device, members.contains_key(text(device, "interface")), found);
        routes(device, found);
    }
}

fn identity(device: &Value, minor: &Minor, found: &mut Findings) {
    const BOTH: &str = "[networking.os.device.interface], [networking.os.device.deviceSelector]";
    let selector = device.get("deviceSelector");
    match (text(device, "interface"), selector) {
        ("", None) => found.error(format!("{BOTH}: required either config section to be set")),
        ("", Some(_)) | (_, None) => {}
        (_, Some(_)) => found.error(format!("{BOTH}: {EXCLUSIVE}")),
    }
    if let Some(Value::Object(fields)) = selector {
        let set = fields.values().any(|value| value.as_str() != Some(""));
        found.check(set, "[networking.os.device.deviceSelector]: config section should contain at least one field");
    }
    if let Some(config) = device.get("bond") {
        bond(config, minor, found);
    }
    if let Some(config) = device.get("wireguard") {
        wireguard(config, found);
    }
    for vlan in list(device, "vlans") {
        let place = |what: &str| {
            format!("[networking.os.device.vlan{what}] {}.{}", text(device, "interface"), number(vlan, "vlanId"))
        };
        let cidr = text(vlan, "cidr");
        found.check(
            cidr.is_empty() || list(vlan, "addresses").is_empty(),
            format!("{}: vlan can't have both .cidr and .addresses set", place("")),
        );
        let addresses = texts(vlan, "addresses").map(|address| (".addresses", address));
        for (what, address) in Some((".CIDR", cidr)).filter(|_| !cidr.is_empty()).into_iter().chain(addresses) {
            if let Err(why) = net::ip_or_cidr(address) {
                found.error(format!("{}: {why}", place(what)));
            }
        }
    }
}

fn bond(bond: &Value, minor: &Minor, found: &mut Findings) {
    const MODES: &[&str] =
        &["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
    const POLICIES: &[&str] = &["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"];
    let choice = |key: &str, words: &[&str], what: &str| {
        let word = text(bond, key);
        (!word.is_empty() && !words.contains(&word)).then(|| format!("invalid {what} {word}"))
    };
    // What is no mode counts as the first one from here on.
    let mode = Some(text(bond, "mode")).filter(|mode| MODES.contains(mode)).unwrap_or(MODES[0]);
    for problem in [
        choice("mode", MODES, "bond type"),
        choice("xmitHashPolicy", POLICIES, "xmit hash policy"),
        choice("lacpRate", &["slow", "fast"], "lacp rate"),
        choice("arpValidate", minor.arp_validate, "arp_validate mode"),
        choice("arpAllTargets", &["any", "all"], "arp_all_targets mode"),
        choice("primaryReselect", &["always", "better", "failure"], "primary_reselect mode"),
        choice("failOverMac", &["none", "active", "follow"], "fail_over_mac value"),
        choice("adSelect", &["stable", "bandwidth", "count"], "ad_select mode"),
    ] {
        found.errors.extend(problem);
    }
    let monitor = number(bond, "miimon");
    for (key, name) in [("updelay", "upDelay"), ("downdelay", "downDelay")] {
        let delay = number(bond, key);
        if monitor == 0 {
            found.check(delay == 0, format!("bond.{name} can't be set if miiMon is zero"));
        } else {
            found.check(delay % monitor == 0, format!("bond.{name} should be a multiple of miiMon"));
        }
    }
    found.check(list(bond, "arpIPTarget").is_empty(), "bond.arpIPTarget is not supported");
    let lacp = mode == "802.3ad";
    let load_balanced = matches!(mode, "balance-tlb" | "balance-alb");
    found.check(lacp || text(bond, "lacpRate").is_empty(), "bond.lacpRate is only available in 802.3ad mode");
    found.check(text(bond, "adActorSystem").is_empty(), "bond.adActorSystem is not supported");
    let elsewhere = |name: &str| format!("bond.{name} is not available in {mode} mode");
    found.check(!(lacp || load_balanced) || text(bond, "arpValidate").is_empty(), elsewhere("arpValidate"));
    found.check(load_balanced || mode == "active-backup" || text(bond, "primary").is_empty(), elsewhere("primary"));
    found.check(!(lacp || load_balanced) || number(bond, "arpInterval") == 0, elsewhere("arpInterval"));
    found.check(mode == MODES[0] || number(bond, "packetsPerSlave") <= 1, elsewhere("packetsPerSlave"));
    found.check(load_balanced || number(bond, "tlbDynamicLb") == 0, elsewhere("tlbDynamicTLB"));
    for key in ["adActorSysPrio", "adUserPortKey"] {
        found.check(lacp || number(bond, key) == 0, format!("bond.{key} is only available in 802.3ad mode"));
    }
}

fn wireguard(config: &Value, found: &mut Findings) {
    if let Err(why) = net::wireguard_key(text(config, "privateKey")) {
        found.error(format!("private key is invalid: {why}"));
    }
    for peer in list(config, "peers") {
        if let Err(why) = net::wireguard_key(text(peer, "publicKey")) {
            found.error(format!("public key invalid: {why}"));
        }
        let endpoint = text(peer, "endpoint");
        found.check(
            endpoint.is_empty() || net::has_port(endpoint),
            format!("peer endpoint {endpoint} is invalid", endpoint = quoted(endpoint)),
        );
        for allowed in texts(peer, "allowedIPs") {
            if let Err(why) = net::cidr(allowed) {
                found.error(format!("peer allowed IP {allowed} is invalid: {why}", allowed = quoted(allowed)));
            }
        }
    }
}

fn addressing(device: &Value, is_member: bool, found: &mut Findings) {
    let name = text(device, "interface");
    let (cidr, addresses) = (text(device, "cidr"), list(device, "addresses"));
    let vip = device.get("vip");
    if is_member {
        found.check(
            flag(device, "dhcp") != Some(true) && cidr.is_empty() && addresses.is_empty() && vip.is_none(),
            format!(
                "[networking.os.device] {name}: bonded/bridged interface shouldn't have any addressing methods \
                 configured",
                name = quoted(name)
            ),
        );
    }
    found.check(
        cidr.is_empty() || addresses.is_empty(),
        format!(
            "[networking.os.device] {name}: interface can't have both .cidr and .addresses set",
            name = quoted(name)
        ),
    );
    if !cidr.is_empty() {
        if let Err(why) = net::ip_or_cidr(cidr) {
            found.error(format!("[networking.os.device.CIDR] {name}: {why}", name = quoted(name)));
        }
        found.warning(format!(
            "{name}: machine.network.interface.cidr is deprecated, please use machine.network.interface.addresses",
            name = quoted(name)
        ));
    }
    for address in texts(device, "addresses") {
        if let Err(why) = net::ip_or_cidr(address) {
            found.error(format!("[networking.os.device.addresses] {name}: {why}", name = quoted(name)));
        }
    }
    if let Some(vip) = vip {
        let ip = text(vip, "ip");
        found.check(
            net::is_ip(ip),
            format!("[networking.os.device.vip] failed to parse {ip} as IP address", ip = quoted(ip)),
        );
    }
}

fn routes(device: &Value, found: &mut Findings) {
    for (index, route) in list(device, "routes").iter().enumerate() {
        let place = format!("networking.os.device.route[{index}]");
        let (network, gateway, source) = (text(route, "network"), text(route, "gateway"), text(route, "source"));
        let wrong =
            |key: &str, value: &str| format!("[{place}.{key}] {value}: invalid network address", value = quoted(value));
        found.check(network.is_empty() || net::cidr(network).is_ok(), wrong("network", network));
        found.check(gateway.is_empty() || net::is_ip(gateway), wrong("gateway", gateway));
        found.check(
            !(network.is_empty() && gateway.is_empty()),
            format!("[{place}]: either network or gateway should be set"),
        );
        found.check(source.is_empty() || net::is_ip(source), wrong("source", source));
    }
}
