//! What a machine knows of the others: identities, affiliates, members, etcd.

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::documents::Documents;
use super::{Rows, View, row};
use crate::inventory::Role;
use crate::lab::fleet::{Machine, System};

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    let configured = view.system.config.as_ref().is_some_and(|config| config.complete);
    Some(match kind {
        "Identities.cluster.talos.dev" => vec![row("local", json!({"nodeId": node_id(view.machine)}))],
        "Infos.cluster.talos.dev" => info(view),
        "DiscoveryConfigs.cluster.talos.dev" => discovery(view),
        "Affiliates.cluster.talos.dev" if configured => affiliates(view),
        "Members.cluster.talos.dev" if configured => members(view),
        "Affiliates.cluster.talos.dev" | "Members.cluster.talos.dev" => Vec::new(),
        _ => return None,
    })
}

/// A machine's own name for itself: 32 bytes in base 62, made once and kept on its disk.
pub(super) fn node_id(machine: &Machine) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let seed = machine.hardware.uuid.unwrap_or_default();
    let hash = digest::digest(&digest::SHA256, format!("{seed}/{}", machine.hardware.vmid).as_bytes());
    let mut number = hash.as_ref().to_vec();
    let mut text = Vec::new();
    // 43 digits of base 62 are the most that 256 bits come to.
    for _ in 0..43 {
        let mut rest = 0;
        for byte in &mut number {
            let value = rest * 256 + usize::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or_default();
            rest = value % 62;
        }
        text.push(char::from(DIGITS[rest]));
    }
    text.into_iter().rev().collect()
}

fn info(view: &View<'_>) -> Rows {
    let Some(config) = Documents::of(view) else { return Vec::new() };
    let id = config.text("DiscoveryIdentityConfig", "/clusterID", "/cluster/id");
    let name = view.system.config.as_ref().map(|config| config.cluster_name.clone()).unwrap_or_default();
    vec![row("current", json!({"clusterId": id, "clusterName": name}))]
}

fn discovers(config: &Documents) -> bool {
    config.named("DiscoveryServiceConfig", "").is_some() || config.flag("/cluster/discovery/enabled")
}

fn discovery(view: &View<'_>) -> Rows {
    let Some(config) = Documents::of(view) else { return Vec::new() };
    if !discovers(&config) {
        return vec![row("cluster", json!({}))];
    }
    let registry = |name: &str| !config.flag(&format!("/cluster/discovery/registries/{name}/disabled"));
    let endpoint = config.text("DiscoveryServiceConfig", "/endpoint", "/cluster/discovery/registries/service/endpoint");
    let host = url::Url::parse(&endpoint).ok();
    let service = host.as_ref().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    let service = service.unwrap_or_else(|| "discovery.talos.dev:443".to_owned());
    let secret = config.text("DiscoveryIdentityConfig", "/clusterSecret", "/cluster/secret");
    let key = BASE64_STANDARD.decode(secret).unwrap_or_default();
    let value = json!({
        "discoveryEnabled": true, "registryKubernetesEnabled": registry("kubernetes"),
        "registryServiceEnabled": registry("service"), "serviceEndpoint": service,
        "serviceEncryptionKey": key,
        "serviceClusterID": config.text("DiscoveryIdentityConfig", "/clusterID", "/cluster/id"),
    });
    vec![row("cluster", value)]
}

/// The machines that discovery finds: all that are configured for this cluster and answer, and always oneself.
fn found<'a>(view: &'a View<'_>) -> impl Iterator<Item = (&'a Machine, &'a System)> {
    let discovers = Documents::of(view).is_some_and(|config| discovers(&config));
    let own = view.system.config.as_ref().map(|config| config.identity());
    view.fleet.machines().filter_map(move |machine| {
        let system = machine.system.as_ref()?;
        let config = system.config.as_ref().filter(|config| config.complete)?;
        let same = machine.hardware.vmid == view.machine.hardware.vmid;
        let kin = Some(config.identity()) == own && machine.api().is_some();
        (same || discovers && kin).then_some((machine, system))
    })
}

/// What affiliates and members have in common.
fn description(system: &System, machine: &Machine) -> Value {
    let ips: Vec<String> = system.addresses.iter().map(|address| address.ip.to_string()).collect();
    let control_plane = machine.role() == Some(Role::ControlPlane);
    let mut value = json!({
        "nodeId": node_id(machine), "addresses": ips, "hostname": system.hostname,
        "machineType": if control_plane { "controlplane" } else { "worker" },
        "operatingSystem": format!("Talos ({})", system.image.version),
    });
    if control_plane {
        value["controlPlane"] = json!({"port": 6443});
    }
    value
}

fn affiliates(view: &View<'_>) -> Rows {
    let mut rows = Rows::new();
    for (machine, system) in found(view) {
        let mut value = description(system, machine);
        value["nodename"] = Value::from(system.hostname.as_str());
        let id = node_id(machine);
        // Oneself, and each source that told of another, in a namespace of their own.
        if machine.hardware.vmid == view.machine.hardware.vmid {
            rows.push(
                row(format!("local/{id}"), value.clone()).within("cluster-raw", "cluster.LocalAffiliateController"),
            );
        } else {
            let raw = row(format!("service/{id}"), value.clone());
            rows.push(raw.within("cluster-raw", "cluster.DiscoveryServiceController"));
        }
        rows.push(row(id, value));
    }
    rows
}

fn members(view: &View<'_>) -> Rows {
    found(view).map(|(machine, system)| row(system.hostname.clone(), description(system, machine))).collect()
}
