//! Interfaces and nameservers, from v1alpha1 and from link documents.

use serde_json::Value;

use super::{text, texts};
use crate::machineconfig::documents::Documents;

/// One network interface as the configuration addresses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`; or the alias that a link document uses.
    pub name: Option<String>,
    /// The MAC that selects it, in the configuration's spelling.
    pub hardware_addr: Option<String>,
    /// With prefix length where one was given.
    pub addresses: Vec<String>,
    pub routes: Vec<Route>,
    /// The shared address, if this interface may carry it.
    pub vip: Option<String>,
    pub dhcp: bool,
}

/// One route; a default route is written with `0.0.0.0/0` in v1alpha1 and without destination in documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub network: Option<String>,
    pub gateway: Option<String>,
}

fn string(value: &Value, path: &[&str]) -> Option<String> {
    let value = path.iter().try_fold(value, |value, key| value.get(key))?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn interfaces(documents: &Documents) -> Vec<Interface> {
    let mut found: Vec<Interface> = legacy(documents);
    for kind in ["LinkConfig", "DHCPv4Config"] {
        for document in documents.of_kind(kind) {
            let interface = link(&mut found, document.name().unwrap_or_default());
            if kind == "DHCPv4Config" {
                interface.dhcp = true;
                continue;
            }
            let list = |key| document.get(&[key]).and_then(Value::as_array).into_iter().flatten();
            interface.addresses.extend(list("addresses").filter_map(|address| string(address, &["address"])));
            interface.routes.extend(
                list("routes").map(|route| Route {
                    network: string(route, &["destination"]),
                    gateway: string(route, &["gateway"]),
                }),
            );
        }
    }
    for document in documents.of_kind("Layer2VIPConfig") {
        let Some(name) = text(document, &["link"]) else { continue };
        link(&mut found, name).vip = document.name().map(str::to_owned);
    }
    for document in documents.of_kind("LinkAliasConfig") {
        let selected = text(document, &["selector", "match"]).and_then(mac_of);
        if let (Some(mac), Some(name)) = (selected, document.name()) {
            link(&mut found, name).hardware_addr = Some(mac);
        }
    }
    found
}

/// The entry for a link by name, made if it is new.
fn link<'a>(found: &'a mut Vec<Interface>, name: &str) -> &'a mut Interface {
    let at = found.iter().position(|interface| interface.name.as_deref() == Some(name)).unwrap_or_else(|| {
        found.push(Interface { name: Some(name.to_owned()), ..Interface::default() });
        found.len() - 1
    });
    &mut found[at]
}

/// The MAC of a selector such as `glob("bc:24:11:62:36:01", mac(link.hardware_addr))`.
fn mac_of(cel: &str) -> Option<String> {
    let quoted = cel.split('"').skip(1).step_by(2);
    let is_mac = |text: &&str| text.split(':').count() == 6;
    cel.contains("hardware_addr").then(|| quoted.filter(is_mac).map(str::to_owned).next())?
}

fn legacy(documents: &Documents) -> Vec<Interface> {
    let listed = documents.v1alpha1().and_then(|document| document.get(&["machine", "network", "interfaces"]));
    let read = |device: &Value| Interface {
        name: string(device, &["interface"]),
        hardware_addr: string(device, &["deviceSelector", "hardwareAddr"]),
        addresses: string(device, &["cidr"])
            .into_iter()
            .chain(device.get("addresses").map(texts).unwrap_or_default())
            .collect(),
        routes: items(device, "routes")
            .iter()
            .map(|route| Route { network: string(route, &["network"]), gateway: string(route, &["gateway"]) })
            .collect(),
        vip: string(device, &["vip", "ip"]),
        dhcp: device.get("dhcp") == Some(&Value::Bool(true)),
    };
    listed.and_then(Value::as_array).into_iter().flatten().map(read).collect()
}

pub(super) fn nameservers(documents: &Documents) -> Vec<String> {
    let listed = documents.v1alpha1().and_then(|document| document.get(&["machine", "network", "nameservers"]));
    let mut found = listed.map(texts).unwrap_or_default();
    for document in documents.of_kind("ResolverConfig") {
        let servers = document.get(&["nameservers"]).and_then(Value::as_array).into_iter().flatten();
        found.extend(servers.filter_map(|server| string(server, &["address"])));
    }
    found
}
