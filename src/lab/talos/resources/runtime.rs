//! Stage, security state, version, extensions, services.

use serde_json::{Value, json};

use super::{Resource, View, resource};
use crate::inventory::Role;
use crate::lab::fleet::{Machine, Stage, System};
use crate::lab::talos::info::services_of;
use crate::talos::wire::specs::{
    BootIdSpec, ExtensionMetadata, ExtensionStatusSpec, MachineConfigSpec, MachineStage, MachineStatusSpec,
    MachineStatusStatus, MachineType, PlatformMetadataSpec, SecurityStateSpec, ServiceSpec, TimeStatusSpec,
    UnattendedInstallPhase, UnattendedInstallStatusSpec, UnmetCondition, VersionSpec,
};

const NS: &str = "runtime";

pub(super) fn add(view: &View<'_>, list: &mut Vec<Resource>) {
    let system = view.system;
    stage(view, list);
    security(system, list);
    if system.minor.versions {
        let spec = VersionSpec { version: system.image.version.clone(), name: "Talos".into() };
        let yaml = json!({"version": system.image.version});
        list.push(resource(NS, "Versions.runtime.talos.dev", "version", &spec, &yaml));
    }
    if system.minor.boot_ids {
        let id = system.boot_id.to_string();
        let yaml = json!({"bootID": id});
        list.push(resource(NS, "BootIDs.runtime.talos.dev", "boot-id", &BootIdSpec { boot_id: id }, &yaml));
    }
    extensions(system, list);
    let platform = PlatformMetadataSpec {
        platform: system.image.platform.clone(),
        hostname: system.seed.as_ref().and_then(|seed| seed.hostname.clone()).unwrap_or_default(),
        ..PlatformMetadataSpec::default()
    };
    let yaml = json!({"platform": platform.platform, "hostname": platform.hostname});
    list.push(resource(NS, "PlatformMetadatas.talos.dev", "platformmetadata", &platform, &yaml));
    for service in services_of(view.machine) {
        let (running, healthy) = (service.state == "Running", service.healthy == Some(true));
        let unknown = service.healthy.is_none();
        let spec = ServiceSpec { running, healthy, unknown };
        let yaml = json!({"running": running, "healthy": healthy, "unknown": unknown});
        list.push(resource(NS, "Services.v1alpha1.talos.dev", service.id, &spec, &yaml));
    }
    let time = TimeStatusSpec { synced: true, ..TimeStatusSpec::default() };
    let yaml = json!({"synced": true, "epoch": 0, "syncDisabled": false});
    list.push(resource(NS, "TimeStatuses.v1alpha1.talos.dev", "node", &time, &yaml));
    unattended(view, list);
    config(view, list);
}

/// Stage and readiness, by the minor's rules (Talos: controllers/runtime/machine_status.go).
pub(in crate::lab::talos) fn machine_status(machine: &Machine, system: &System) -> MachineStatusSpec {
    let stage = match &machine.stage {
        Stage::Maintenance => MachineStage::StageMaintenance,
        // The new way of installing has no sequence of its own, so the stage stays.
        Stage::Installing(job) if job.unattended => MachineStage::StageBooting,
        Stage::Installing(_) | Stage::InstallFailed(_) => MachineStage::StageInstalling,
        Stage::Rebooting(_) => MachineStage::StageRebooting,
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

fn stage(view: &View<'_>, list: &mut Vec<Resource>) {
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
    let status = spec.status.clone().unwrap_or_default();
    let unmet: Vec<Value> =
        status.unmet_conditions.iter().map(|unmet| json!({"name": unmet.name, "reason": unmet.reason})).collect();
    let yaml = json!({"stage": word, "status": {"ready": status.ready, "unmetConditions": unmet}});
    list.push(resource(NS, "MachineStatuses.runtime.talos.dev", "machine", &spec, &yaml));
}

fn security(system: &System, list: &mut Vec<Resource>) {
    let fingerprint = if system.secure_boot { "9a:0c:lab" } else { "" };
    let spec = SecurityStateSpec {
        secure_boot: system.secure_boot,
        uki_signing_key_fingerprint: fingerprint.to_owned(),
        pcr_signing_key_fingerprint: fingerprint.to_owned(),
        se_linux_state: 1,
        booted_with_uki: system.uki,
        fips_state: 0,
        module_signature_enforced: true,
    };
    let yaml = json!({
        "secureBoot": system.secure_boot, "ukiSigningKeyFingerprint": fingerprint,
        "pcrSigningKeyFingerprint": fingerprint, "selinuxState": "enabled, permissive", "bootedWithUKI": system.uki,
        "fipsState": "disabled", "moduleSignatureEnforced": true,
    });
    list.push(resource(NS, "SecurityStates.talos.dev", "securitystate", &spec, &yaml));
}

fn extensions(system: &System, list: &mut Vec<Resource>) {
    let named = system.image.extensions.iter().map(|name| {
        (format!("factory/{name}"), name.rsplit('/').next().unwrap_or(name).to_owned(), system.image.version.clone())
    });
    let schematic = (String::new(), "schematic".to_owned(), system.image.schematic.clone());
    for (order, (image, name, version)) in named.chain([schematic]).enumerate() {
        let metadata =
            ExtensionMetadata { name: name.clone(), version: version.clone(), ..ExtensionMetadata::default() };
        let spec = ExtensionStatusSpec { image: image.clone(), metadata: Some(metadata) };
        let yaml = json!({"image": image, "metadata": {"name": name, "version": version}});
        list.push(resource(NS, "ExtensionStatuses.runtime.talos.dev", order.to_string(), &spec, &yaml));
    }
}

fn unattended(view: &View<'_>, list: &mut Vec<Resource>) {
    let install = view.system.config.as_ref().and_then(|config| config.install.as_ref());
    let Some(install) = install.filter(|install| install.unattended && view.system.minor.unattended_install) else {
        return;
    };
    let (phase, word, error) = match &view.machine.stage {
        Stage::Installing(_) => (UnattendedInstallPhase::InstallInstalling, "installing", ""),
        Stage::InstallFailed(why) => (UnattendedInstallPhase::InstallFailed, "failed", why.as_str()),
        _ if view.system.disk.is_some() => (UnattendedInstallPhase::InstallInstalled, "installed", ""),
        _ => (UnattendedInstallPhase::InstallPending, "pending", ""),
    };
    let image = install.image.clone().unwrap_or_default();
    let yaml = json!({"image": image, "phase": word, "error": error});
    let spec = UnattendedInstallStatusSpec { image, phase: phase.into(), error: error.to_owned() };
    list.push(resource(NS, "UnattendedInstallStatuses.runtime.talos.dev", "unattended-install", &spec, &yaml));
}

fn config(view: &View<'_>, list: &mut Vec<Resource>) {
    let Some(config) = view.system.config.as_ref().filter(|config| config.complete) else { return };
    let (kind, word) = match config.role() {
        Role::ControlPlane => (MachineType::TypeControlPlane, "controlplane"),
        Role::Worker => (MachineType::TypeWorker, "worker"),
    };
    // A scalar: on the wire it is a message with one field, which is what prost makes of a bare integer.
    list.push(resource("config", "MachineTypes.config.talos.dev", "machine-type", &i32::from(kind), &json!(word)));
    let mut own = resource(
        "config",
        "MachineConfigs.config.talos.dev",
        "v1alpha1",
        &MachineConfigSpec { yaml_marshalled: config.text.clone().into_bytes() },
        &json!(""),
    );
    own.yaml.clone_from(&config.text);
    list.push(own);
}
