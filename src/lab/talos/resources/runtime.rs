//! The machine itself: stage, security, version, extensions, services, configuration.

use serde_json::{Value, json};

use super::{Resource, Row, Rows, View, resource, row};
use crate::inventory::Role;
use crate::lab::fleet::{Machine, Stage, System, services_of};
use crate::talos::wire::specs::{
    MachineConfigSpec, MachineStage, MachineStatusSpec, MachineStatusStatus, UnmetCondition,
};

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    let system = view.system;
    let one = |id: &str, value: Value| vec![row(id, value)];
    Some(match kind {
        "MachineStatuses.runtime.talos.dev" => one("machine", stage(view)),
        "SecurityStates.talos.dev" => one("securitystate", security(system)),
        "Versions.runtime.talos.dev" if system.minor.versions => {
            one("version", json!({"name": "Talos", "version": system.image.version}))
        }
        "BootIDs.runtime.talos.dev" => one("boot-id", json!({"bootID": system.boot_id.to_string()})),
        "ExtensionStatuses.runtime.talos.dev" => extensions(system),
        "PlatformMetadatas.talos.dev" => {
            let hostname = system.seed.as_ref().and_then(|seed| seed.hostname.clone()).unwrap_or_default();
            one("platformmetadata", json!({"platform": system.image.platform, "hostname": hostname}))
        }
        "Services.v1alpha1.talos.dev" => services(view),
        "TimeStatuses.v1alpha1.talos.dev" => one("node", json!({"synced": true})),
        "AdjtimeStatuses.v1alpha1.talos.dev" => {
            one("node", json!({"status": "PLL | NANO", "constant": 7, "syncStatus": true, "state": "OK"}))
        }
        "UnattendedInstallStatuses.runtime.talos.dev" => unattended(view),
        "KernelCmdlines.runtime.talos.dev" if system.minor.cmdline => {
            one("cmdline", json!({"cmdline": system.cmdline()}))
        }
        "MetaKeys.runtime.talos.dev" => meta(system),
        // Read whether or not there is a disk to read it from.
        "MetaLoads.runtime.talos.dev" => one("meta-loaded", json!({"done": true})),
        "DevicesStatuses.runtime.talos.dev" => one("devices", json!({"ready": true})),
        "UniqueMachineTokens.runtime.talos.dev" => {
            let token = system.meta.get(&0x0e).map(|token| String::from_utf8_lossy(token).into_owned());
            one("unique-machine-token", json!({"token": token.unwrap_or_default()}))
        }
        "MachineTypes.config.talos.dev" => match view.machine.role() {
            Some(Role::ControlPlane) => one("machine-type", json!("controlplane")),
            Some(Role::Worker) => one("machine-type", json!("worker")),
            None => one("machine-type", json!("unknown")),
        },
        "ImageCacheConfigs.cri.talos.dev" => one("image-cache", json!({"status": "disabled", "copyStatus": "skipped"})),
        "CertSANs.secrets.talos.dev" => sans(view),
        _ => return super::kernel::of(view, kind),
    })
}

/// The configuration in force, as it was received; and what will be at the next boot, where that differs.
pub(super) fn config(view: &View<'_>) -> Vec<Resource> {
    let kind = "MachineConfigs.config.talos.dev";
    let show = |id: &str, text: &str| {
        let spec = MachineConfigSpec { yaml_marshalled: text.as_bytes().to_vec() };
        let shown = resource("config", kind, id, &spec, &json!(""));
        Resource { yaml: text.to_owned(), owner: "config.AcquireController", ..shown }
    };
    let active = view.system.config.as_ref();
    let kept = view.system.disk.as_ref().and_then(|volid| view.fleet.disk(volid)?.config.as_ref());
    let active = active.map(|config| show("v1alpha1", &config.text));
    let kept = kept.map(|config| show("persistent", &config.text));
    active.into_iter().chain(kept).collect()
}

/// Stage and readiness, by the minor's rules (Talos: controllers/runtime/machine_status.go).
pub(in crate::lab::talos) fn machine_status(machine: &Machine, system: &System) -> MachineStatusSpec {
    let stage = match &machine.stage {
        Stage::Maintenance => MachineStage::StageMaintenance,
        // The new way of installing has no sequence of its own, so the stage stays.
        Stage::Installing(job) if job.unattended => MachineStage::StageBooting,
        Stage::Installing(_) | Stage::InstallFailed(_) => MachineStage::StageInstalling,
        Stage::Rebooting(_) => MachineStage::StageRebooting,
        Stage::Upgrading(_) => MachineStage::StageUpgrading,
        Stage::Starting | Stage::Booting => MachineStage::StageBooting,
        Stage::Running => MachineStage::StageRunning,
        Stage::Stopping => MachineStage::StageShuttingDown,
        Stage::Dead(_) => MachineStage::StageUnknown,
    };
    let mut unmet = Vec::new();
    if matches!(stage, MachineStage::StageBooting | MachineStage::StageRunning) {
        let mut miss =
            |name: &str, reason: &str| unmet.push(UnmetCondition { name: name.to_owned(), reason: reason.to_owned() });
        let control_plane = machine.role() == Some(Role::ControlPlane);
        if control_plane && !system.etcd_healthy {
            miss("services", "etcd not healthy");
        } else if control_plane && !system.kube_up {
            miss("staticPods", "kube-system/kube-apiserver not ready");
        }
        if system.minor.node_ready_gates && !system.node_ready {
            miss("nodeReady", &format!("node {:?} is not ready", system.hostname));
        }
    }
    let status = MachineStatusStatus { ready: unmet.is_empty(), unmet_conditions: unmet };
    MachineStatusSpec { stage: stage.into(), status: Some(status) }
}

fn stage(view: &View<'_>) -> Value {
    let spec = machine_status(view.machine, view.system);
    let word = match MachineStage::try_from(spec.stage) {
        Ok(MachineStage::StageBooting) => "booting",
        Ok(MachineStage::StageInstalling) => "installing",
        Ok(MachineStage::StageMaintenance) => "maintenance",
        Ok(MachineStage::StageRunning) => "running",
        Ok(MachineStage::StageRebooting) => "rebooting",
        Ok(MachineStage::StageShuttingDown) => "shutting down",
        Ok(MachineStage::StageResetting) => "resetting",
        Ok(MachineStage::StageUpgrading) => "upgrading",
        Ok(MachineStage::StageUnknown) | Err(_) => "unknown",
    };
    let status = spec.status.unwrap_or_default();
    let unmet: Vec<Value> =
        status.unmet_conditions.iter().map(|unmet| json!({"name": unmet.name, "reason": unmet.reason})).collect();
    json!({"stage": word, "status": {"ready": status.ready, "unmetConditions": unmet}})
}

fn security(system: &System) -> Value {
    let fingerprint = if system.secure_boot { FINGERPRINT } else { "" };
    json!({
        "secureBoot": system.secure_boot, "ukiSigningKeyFingerprint": fingerprint, "pcrSigningKeyFingerprint": fingerprint,
        "selinuxState": "enabled, permissive", "bootedWithUKI": system.uki, "fipsState": "disabled",
        "moduleSignatureEnforced": true,
    })
}

/// Of the key that signs the lab's images: SHA-256 in pairs.
const FINGERPRINT: &str =
    "9A:0C:1A:B0:5E:1F:60:4D:7C:2B:93:3E:44:D8:0F:66:A1:72:58:C9:EB:34:0D:91:27:FE:6B:80:15:CC:3A:4F";

fn extensions(system: &System) -> Rows {
    let named = system.image.extensions.iter().map(|name| {
        let short = name.rsplit('/').next().unwrap_or(name);
        json!({
            "image": format!("ghcr.io/{name}:{}", system.image.version),
            "metadata": {
                "name": short, "version": system.image.version, "author": "Sidero Labs",
                "description": format!("This system extension provides {short}."),
                "compatibility": {"talos": {"version": ">= v1.0.0"}},
            },
        })
    });
    let schematic = json!({
        "image": "schematic.tar",
        "metadata": {
            "name": "schematic", "version": system.image.schematic, "author": "Image Factory",
            "description": "Virtual extension which specifies the schematic of the image built with Image Factory.",
            "compatibility": {"talos": {"version": ">= 1.0.0"}},
        },
    });
    named.chain([schematic]).enumerate().map(|(order, value)| row(order.to_string(), value)).collect()
}

fn services(view: &View<'_>) -> Rows {
    // The resource is there while the service runs.
    let running = services_of(view.machine).into_iter().filter(|service| service.state == "Running");
    let of = |service: crate::lab::fleet::Service| -> Row {
        let value = json!({
            "running": true, "healthy": service.healthy == Some(true), "unknown": service.healthy.is_none(),
        });
        row(service.id, value)
    };
    running.map(of).collect()
}

fn unattended(view: &View<'_>) -> Rows {
    let install = view.system.config.as_ref().and_then(|config| config.install.as_ref());
    let Some(install) = install.filter(|install| install.unattended && view.system.minor.unattended_install) else {
        return Rows::new();
    };
    let (phase, error) = match &view.machine.stage {
        Stage::Installing(_) => ("installing", ""),
        Stage::InstallFailed(why) => ("failed", why.as_str()),
        _ if view.system.disk.is_some() => ("installed", ""),
        _ => ("pending", ""),
    };
    vec![row(
        "unattended-install",
        json!({"image": install.image.clone().unwrap_or_default(), "phase": phase, "error": error}),
    )]
}

fn meta(system: &System) -> Rows {
    let keys = system.meta.iter();
    keys.map(|(key, value)| row(format!("{key:#04x}"), json!({"value": String::from_utf8_lossy(value)}))).collect()
}

/// What the certificate of the API is good for.
fn sans(view: &View<'_>) -> Rows {
    let Some(config) = view.system.config.as_ref().filter(|config| config.complete) else { return Rows::new() };
    let own = view.system.addresses.iter().map(|address| address.ip.to_string());
    let local = ["127.0.0.1".to_owned(), "::1".to_owned()];
    let is_ip = |name: &&String| name.parse::<std::net::IpAddr>().is_ok();
    let asked_ips = config.cert_sans.iter().filter(is_ip).cloned();
    let names = config.cert_sans.iter().filter(|name| !is_ip(name)).cloned();
    let ips: Vec<String> = own.chain(local).chain(asked_ips).collect();
    let names: Vec<String> = std::iter::once(view.system.hostname.clone()).chain(names).collect();
    vec![row("api", json!({"ips": ips, "dnsNames": names, "fqdn": view.system.hostname}))]
}
