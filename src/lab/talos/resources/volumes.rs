//! The volumes that Talos makes of disks, and where they are mounted.
//!
//! Talos 1.13: internal/app/machined/pkg/controllers/block, volumeconfig/system_volumes.go.

use serde_json::{Value, json};

use super::block::{identity, partitions, system_disk};
use super::{Row, Rows, View, pretty, row};
use crate::inventory::Role;
use crate::lab::fleet::Stage;

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    Some(match kind {
        "VolumeStatuses.block.talos.dev" => volumes(view),
        "MountStatuses.block.talos.dev" => mounts(view),
        "MountStatuses.runtime.talos.dev" => old_mounts(view),
        "VolumeMountStatuses.block.talos.dev" => volume_mounts(view),
        _ => return None,
    })
}

/// Every system volume, in every state that it may have.
fn volumes(view: &View<'_>) -> Rows {
    let mut rows = Rows::new();
    let configured = view.system.config.as_ref().is_some_and(|config| config.complete);
    let disk = system_disk(view);
    let parts = disk.as_ref().map(|device| partitions(view, device)).unwrap_or_default();
    for label in ["META", "STATE", "EPHEMERAL"] {
        if label == "EPHEMERAL" && !configured {
            continue;
        }
        let part = parts.iter().find(|part| part.label == label);
        let value = match (&disk, part) {
            (Some(device), Some(part)) => {
                let path = format!("/dev/{}{}", device.name, part.index);
                let mut value = json!({
                    "phase": "ready", "type": "partition", "location": path, "mountLocation": path,
                    "partitionIndex": part.index, "parentLocation": format!("/dev/{}", device.name),
                    "uuid": identity(device, part.name), "partitionUUID": identity(device, label), "size": part.size,
                    "prettySize": pretty(part.size),
                });
                if label == "META" {
                    value.as_object_mut().map(|value| value.remove("uuid"));
                } else {
                    value["filesystem"] = Value::from("xfs");
                    value["mountSpec"] = mount_spec(label);
                }
                value
            }
            // Nothing was found, and nothing tells Talos to make it yet.
            _ if configured && label != "META" => {
                json!({"phase": "waiting", "type": "partition", "mountSpec": mount_spec(label)})
            }
            _ if label == "META" => json!({"phase": "missing", "type": "partition"}),
            _ => json!({"phase": "missing", "type": "partition", "mountSpec": mount_spec(label)}),
        };
        rows.push(row(label, value));
    }
    if configured {
        rows.extend(directories(!parts.is_empty()));
    }
    rows
}

fn mount_spec(label: &str) -> Value {
    match label {
        "STATE" => {
            json!({"targetPath": "/system/state", "selinuxLabel": "system_u:object_r:system_state_t:s0", "fileMode": 0o700})
        }
        _ => {
            json!({"targetPath": "/var", "selinuxLabel": "system_u:object_r:ephemeral_t:s0", "projectQuotaSupport": true, "fileMode": 0o755})
        }
    }
}

/// Directories of a configured machine: volume, parent, SELinux type, mode, and whose they are, if not root's.
#[rustfmt::skip]
const DIRECTORIES: [(&str, &str, &str, u32, u32); 15] = [
    ("/var/log", "EPHEMERAL", "var_log_t", 0o755, 0),
    ("/var/log/audit", "/var/log", "audit_log_t", 0o700, 0),
    ("/var/log/audit/kube", "/var/log/audit", "kube_log_t", 0o700, 65534),
    ("/var/log/containers", "/var/log", "containers_log_t", 0o755, 0),
    ("/var/log/pods", "/var/log", "pods_log_t", 0o755, 0),
    ("/var/lib", "EPHEMERAL", "ephemeral_t", 0o700, 0),
    ("ETCD", "/var/lib", "etcd_data_t", 0o700, 60),
    ("/var/lib/containerd", "/var/lib", "containerd_state_t", 0, 0),
    ("/var/lib/kubelet", "/var/lib", "kubelet_state_t", 0o700, 0),
    ("/var/lib/cni", "/var/lib", "cni_state_t", 0o700, 0),
    ("/var/lib/kubelet/seccomp", "/var/lib/kubelet", "seccomp_profile_t", 0o700, 0),
    ("/var/lib/kubelet/seccomp/profiles", "/var/lib/kubelet/seccomp", "seccomp_profile_t", 0o700, 0),
    ("/var/mnt", "EPHEMERAL", "ephemeral_t", 0o755, 0),
    ("/var/run/lock", "/var/run", "var_lock_t", 0o755, 0),
    ("/var/run", "", "", 0, 0),
];
const OVERLAYS: [(&str, &str); 4] = [
    ("/etc/cni", "cni_conf_t"),
    ("/etc/kubernetes", "k8s_conf_t"),
    ("/usr/libexec/kubernetes", "k8s_plugin_t"),
    ("/opt", "opt_t"),
];

fn directories(ready: bool) -> Rows {
    let phase = if ready { "ready" } else { "waiting" };
    let mut rows = Rows::new();
    for (id, parent, selinux, mode, owner) in DIRECTORIES {
        let path = if id == "ETCD" { "/var/lib/etcd" } else { id };
        let target = path.rsplit('/').next().unwrap_or(path);
        // What only one program writes below is labelled all the way down.
        let recursive = owner != 0 || matches!(id, "/var/lib/cni" | "/var/lib/kubelet/seccomp/profiles");
        let mount = json!({
            "targetPath": target, "parentId": parent, "fileMode": mode, "selinuxLabel": label(selinux), "uid": owner,
            "gid": owner, "recursiveRelabel": recursive,
        });
        let mut value = json!({"phase": phase, "type": "directory", "mountSpec": mount});
        if id == "/var/run" {
            value["type"] = Value::from("symlink");
            value["symlink"] = json!({"symlinkTargetPath": "/run", "force": true});
            value["mountSpec"]["targetPath"] = Value::from("/var/run");
        }
        rows.push(row(id, value));
    }
    for (path, selinux) in OVERLAYS {
        let mount = json!({"targetPath": path, "fileMode": 0o755, "selinuxLabel": label(selinux)});
        rows.push(row(path, json!({"phase": phase, "type": "overlay", "parentID": "EPHEMERAL", "mountSpec": mount})));
    }
    rows
}

fn label(kind: &str) -> String {
    if kind.is_empty() { String::new() } else { format!("system_u:object_r:{kind}:s0") }
}

/// What is mounted of the volumes: volume, its parent, target, who wants it.
fn mounted(view: &View<'_>) -> Vec<(&'static str, &'static str, String, Vec<&'static str>)> {
    if !matches!(view.machine.stage, Stage::Booting | Stage::Running) || system_disk(view).is_none() {
        return Vec::new();
    }
    let mut all = vec![("EPHEMERAL", "", "/var".to_owned(), vec!["sequencer"])];
    let etcd = view.machine.role() == Some(Role::ControlPlane);
    for (id, parent, ..) in DIRECTORIES.into_iter().filter(|(id, ..)| *id != "ETCD" || etcd) {
        let path = if id == "ETCD" { "/var/lib/etcd" } else { id };
        let wanted = match id {
            "ETCD" => "service/etcd",
            "/var/log" => "logind",
            "/var/lib/containerd" => "service/cri",
            path if path.starts_with("/var/lib/kubelet") => "service/kubelet",
            _ => "sequencer",
        };
        all.push((id, parent, path.to_owned(), vec![wanted]));
    }
    all.extend(OVERLAYS.map(|(path, _)| (path, "EPHEMERAL", path.to_owned(), vec!["sequencer"])));
    all
}

fn mounts(view: &View<'_>) -> Rows {
    let volumes = volumes(view);
    let of = |(id, parent, target, requesters): (&str, &str, String, Vec<&str>)| {
        let volume = volumes.iter().find(|volume| volume.id == id);
        let source = volume.map_or(Value::Null, |volume| volume.value["mountLocation"].clone());
        let ids: Vec<String> = requesters.iter().map(|requester| format!("{requester}/{id}")).collect();
        let whole = id == "EPHEMERAL";
        let value = json!({
            "spec": {"volumeID": id, "parentID": parent, "requesters": requesters, "requesterIDs": ids},
            "source": source, "target": target, "filesystem": if whole { "xfs" } else { "none" },
            "projectQuotaSupport": whole,
        });
        row(id, value)
    };
    mounted(view).into_iter().map(of).collect()
}

/// The older type of the same name.
fn old_mounts(view: &View<'_>) -> Rows {
    let encrypted = mounts(view).into_iter().filter(|mount| mount.id == "EPHEMERAL" || mount.id == "STATE");
    let of = |mount: Row| {
        let spec = &mount.value;
        let value = json!({"source": spec["source"], "target": spec["target"], "filesystemType": spec["filesystem"]});
        row(mount.id, value)
    };
    encrypted.map(of).collect()
}

fn volume_mounts(view: &View<'_>) -> Rows {
    let each = mounted(view).into_iter().flat_map(|(id, _, target, requesters)| {
        requesters.into_iter().map(move |requester| {
            row(format!("{requester}/{id}"), json!({"volumeID": id, "requester": requester, "target": target}))
        })
    });
    each.collect()
}
