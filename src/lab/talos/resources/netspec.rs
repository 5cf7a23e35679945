//! What the network is meant to be: what configuration, platform and operators ask for.
//!
//! Talos keeps every wish in the namespace `network-config`, under its layer, and merges
//! the layers into `network` (internal/app/machined/pkg/controllers/network).

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::documents::Documents;
use super::{Row, Rows, View, row};
use crate::lab::fleet::link_name;

/// Talos's time server where nobody names one.
const TIME_SERVER: &str = "time.cloudflare.com";
/// Where the host's resolver listens for pods.
const SERVICE_DNS: &str = "169.254.116.108";

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    let (name, "net.talos.dev") = kind.split_once('.')? else { return None };
    Some(match name {
        "AddressSpecs" => merged(addresses(view), "network.AddressConfigController"),
        "LinkSpecs" => merged(links(view), "network.LinkConfigController"),
        "RouteSpecs" => merged(routes(view), "network.RouteConfigController"),
        "HostnameSpecs" => merged(hostname(view), "network.HostnameConfigController"),
        "ResolverSpecs" => merged(resolvers(view), "network.ResolverConfigController"),
        "TimeServerSpecs" => merged(times(view), "network.TimeServerConfigController"),
        "OperatorSpecs" => merged(operators(view), "network.OperatorConfigController"),
        "NodeAddressFilters" => filters(view),
        "NodeAddressSortAlgorithms" => vec![row("default", json!({"algorithm": sort_algorithm(view)}))],
        "HostDNSConfigs" => vec![row("config", host_dns(view))],
        "DNSResolveCaches" => resolve_caches(view),
        _ => return None,
    })
}

/// A wish: its layer, and what the merge knows it by.
struct Wish(&'static str, String, Value);

/// Wishes of every layer, then what comes of them: of two wishes for one thing the higher layer's.
fn merged(wishes: Vec<Wish>, from_config: &'static str) -> Rows {
    let rank = |layer: &str| {
        ["default", "cmdline", "platform", "operator", "configuration"].iter().position(|one| *one == layer)
    };
    let mut rows = Rows::new();
    let mut best: Vec<(String, &'static str, Value)> = Vec::new();
    for Wish(layer, id, mut value) in wishes {
        value["layer"] = Value::from(layer);
        match best.iter_mut().find(|(known, ..)| *known == id) {
            Some(known) if rank(layer) >= rank(known.1) => *known = (id.clone(), layer, value.clone()),
            Some(_) => {}
            None => best.push((id.clone(), layer, value.clone())),
        }
        let owner = match layer {
            "platform" => "network.PlatformConfigApplyController",
            "operator" => "network.OperatorSpecController",
            _ => from_config,
        };
        let under = if layer == "operator" { dhcp_id(&id, &value) } else { format!("{layer}/{id}") };
        rows.push(row(under, value).within("network-config", owner));
    }
    rows.extend(best.into_iter().map(|(id, _, value)| row(id, value)));
    rows
}

/// An operator puts its wishes under its own name too.
fn dhcp_id(id: &str, value: &Value) -> String {
    let link = value.get("linkName").or_else(|| value.get("outLinkName")).and_then(Value::as_str);
    match link {
        Some(link) => format!("dhcp4/{link}/{id}"),
        None => format!("dhcp4/eth0/{id}"),
    }
}

/// Who asks for an address that DHCP did not give: the machine's configuration, or the platform's.
fn fixed_layer(view: &View<'_>) -> &'static str {
    let configured =
        view.system.config.as_ref().is_some_and(|config| config.links.iter().any(|link| !link.addresses.is_empty()));
    if configured { "configuration" } else { "platform" }
}

fn layer(view: &View<'_>, leased: bool) -> &'static str {
    if leased { "operator" } else { fixed_layer(view) }
}

fn addresses(view: &View<'_>) -> Vec<Wish> {
    let spec = |link: &str, address: &str, scope: &str| json!({"address": address, "linkName": link, "family": "inet4", "scope": scope, "flags": "permanent"});
    let mut wishes = vec![Wish("default", "lo/127.0.0.1/8".into(), spec("lo", "127.0.0.1/8", "host"))];
    for address in &view.system.addresses {
        let link = link_name(view.system, address.nic);
        let text = format!("{}/{}", address.ip, address.prefix);
        wishes.push(Wish(layer(view, address.leased), format!("{link}/{text}"), spec(&link, &text, "global")));
    }
    for ip in &view.system.vips {
        let link = link_name(view.system, 0);
        wishes.push(Wish("operator", format!("{link}/{ip}/32"), spec(&link, &format!("{ip}/32"), "global")));
    }
    if host_dns(view)["serviceHostDNSAddress"].is_string() {
        let text = format!("{SERVICE_DNS}/32");
        wishes.push(Wish("configuration", format!("lo/{text}"), spec("lo", &text, "host")));
    }
    wishes
}

fn links(view: &View<'_>) -> Vec<Wish> {
    let up = |name: &str| json!({"name": name, "up": true});
    let mut wishes = vec![Wish("default", "lo".into(), up("lo"))];
    let names = (0..view.machine.hardware.nics.len()).map(|nic| link_name(view.system, nic));
    wishes.extend(names.map(|name| {
        let value = up(&name);
        Wish("default", name, value)
    }));
    wishes
}

fn routes(view: &View<'_>) -> Vec<Wish> {
    let (Some(gateway), Some(first)) = (super::network::router(view), view.system.addresses.first()) else {
        return Vec::new();
    };
    let link = link_name(view.system, first.nic);
    let value = json!({
        "family": "inet4", "gateway": gateway, "outLinkName": link, "table": "main", "priority": 1024, "scope": "global",
        "type": "unicast", "protocol": if first.leased { "dhcp" } else { "static" },
    });
    vec![Wish(layer(view, first.leased), format!("inet4/{gateway}//1024"), value)]
}

fn hostname(view: &View<'_>) -> Vec<Wish> {
    let system = view.system;
    let value = |name: &str| json!({"hostname": name});
    let seeded = system.seed.as_ref().and_then(|seed| seed.hostname.as_deref());
    let configured = system.config.as_ref().and_then(|config| config.hostname.as_deref());
    let mut wishes = Vec::new();
    if let Some(name) = seeded {
        wishes.push(Wish("platform", "hostname".into(), value(name)));
    }
    match configured {
        Some(name) => wishes.push(Wish("configuration", "hostname".into(), value(name))),
        None if seeded.is_none() => wishes.push(Wish("default", "hostname".into(), value(&system.hostname))),
        None => {}
    }
    wishes
}

fn resolvers(view: &View<'_>) -> Vec<Wish> {
    let spec = |servers: &[Ipv4Addr]| {
        let named: Vec<Value> = servers.iter().map(|ip| json!({"addr": ip})).collect();
        json!({"dnsServers": servers, "nameServers": named})
    };
    let mut wishes =
        vec![Wish("default", "resolvers".into(), spec(&[Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)]))];
    if let (Some(gateway), Some(first)) = (super::network::router(view), view.system.addresses.first()) {
        wishes.push(Wish(layer(view, first.leased), "resolvers".into(), spec(&[gateway])));
    }
    wishes
}

/// The servers that the machine asks for the time.
pub(super) fn time_servers(view: &View<'_>) -> Vec<String> {
    let asked =
        Documents::of(view).map(|config| config.texts("TimeSyncConfig", "/ntp/servers", "/machine/time/servers"));
    asked.filter(|servers| !servers.is_empty()).unwrap_or_else(|| vec![TIME_SERVER.to_owned()])
}

fn times(view: &View<'_>) -> Vec<Wish> {
    let spec = |servers: &[String]| json!({"timeServers": servers});
    let default = vec![TIME_SERVER.to_owned()];
    let mut wishes = vec![Wish("default", "timeservers".into(), spec(&default))];
    let asked = time_servers(view);
    if asked != default {
        wishes.push(Wish("configuration", "timeservers".into(), spec(&asked)));
    }
    wishes
}

/// DHCP runs on links that got a lease, or wait for one.
fn operators(view: &View<'_>) -> Vec<Wish> {
    let named = view.system.config.as_ref().is_some_and(|config| !config.links.is_empty());
    let mut wishes = Vec::new();
    for nic in 0..view.machine.hardware.nics.len() {
        let held = view.system.addresses.iter().find(|address| address.nic == nic);
        if held.is_some_and(|address| !address.leased) {
            continue;
        }
        let link = link_name(view.system, nic);
        let value = json!({
            "operator": "dhcp4", "linkName": link, "requireUp": true,
            "dhcp4": {"routeMetric": 1024},
        });
        wishes.push(Wish(if named { "configuration" } else { "default" }, format!("dhcp4/{link}"), value));
    }
    for ip in view.system.config.iter().flat_map(|config| &config.vips) {
        let link = link_name(view.system, 0);
        let value = json!({"operator": "vip", "linkName": link, "requireUp": true, "vip": {"ip": ip}});
        wishes.push(Wish("configuration", format!("vip/{link}/{ip}"), value));
    }
    wishes
}

/// Of the machine's addresses, those of Kubernetes and those that are not.
pub(super) fn filters(view: &View<'_>) -> Rows {
    let Some(config) = Documents::of(view) else { return Vec::new() };
    let (pods, services) = config.subnets();
    let both: Vec<String> = pods.into_iter().chain(services).collect();
    vec![row("no-k8s", json!({"excludeSubnets": both})), row("only-k8s", json!({"includeSubnets": both}))]
}

/// Configurations generated for 1.11 and later ask for the second.
pub(super) fn sort_algorithm(view: &View<'_>) -> &'static str {
    let asked = Documents::of(view).map(|config| config.text("", "", "/machine/features/nodeAddressSortAlgorithm"));
    if asked.as_deref() == Some("v2") { "v2" } else { "v1" }
}

fn host_dns(view: &View<'_>) -> Value {
    let Some(config) = Documents::of(view) else {
        return json!({"enabled": true, "listenAddresses": ["127.0.0.53:53"]});
    };
    let document = config.named("ResolverConfig", "/hostDNS");
    let main = config.main("/machine/features/hostDNS");
    let found = document.or(main);
    let flag = |key: &str| found.and_then(|found| found.get(key)).and_then(Value::as_bool).unwrap_or_default();
    let mut value = json!({
        "enabled": flag("enabled"), "listenAddresses": ["127.0.0.53:53"], "resolveMemberNames": flag("resolveMemberNames"),
    });
    if flag("forwardKubeDNSToHost") {
        value["listenAddresses"] = json!(["127.0.0.53:53", format!("{SERVICE_DNS}:53")]);
        value["serviceHostDNSAddress"] = Value::from(SERVICE_DNS);
    }
    value
}

fn resolve_caches(view: &View<'_>) -> Rows {
    let config = host_dns(view);
    if config["enabled"] != Value::Bool(true) {
        return Vec::new();
    }
    let addresses = config["listenAddresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let each = addresses.flat_map(|address| ["tcp", "udp"].map(|protocol| format!("{protocol}-{address}")));
    each.map(|id| -> Row { row(id, json!({"status": "running"})) }).collect()
}
