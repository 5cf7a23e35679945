//! Files below `/etc`, and what the container runtime is told (Talos 1.14).

use serde_json::Value;

use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::validate::{Findings, kubernetes, oci};

/// Files below `/etc` that Talos writes itself.
const FILES: [&str; 7] =
    ["resolv.conf", "hosts", "machine-id", "extensions.yaml", "localtime", "os-release", "xattr.conf"];

/// Directories below `/etc` that Talos writes itself.
const DIRECTORIES: [&str; 12] = [
    "apparmor.d",
    "apparmor",
    "ca-certificates",
    "cni",
    "cri",
    "iscsi",
    "kubernetes",
    "lvm",
    "nvme",
    "pki",
    "selinux",
    "ssl",
];

/// Checks a document of one of these kinds; of another kind nothing is said.
pub(super) fn check(kind: &str, name: &str, tree: &Value, minor: &Minor, found: &mut Findings) -> bool {
    match kind {
        "EtcFileConfig" => etc_file(name, found),
        "CRICustomizationConfig" => {
            if let Err(why) = kubernetes::qualified_name(name) {
                found.error(format!("invalid name: {why}"));
            }
            let reserved = name == "customization";
            found.check(
                !reserved,
                format!("name {name} is reserved for the legacy CRI customization", name = quoted(name)),
            );
        }
        "CRIBaseRuntimeSpecConfig" => {
            if let Some(why) = tree.get("overrides").and_then(|overrides| oci::problem(overrides, minor)) {
                found.error(format!("failed to unmarshal base runtime spec overrides: {why}"));
            }
        }
        _ => return false,
    }
    true
}

fn etc_file(path: &str, found: &mut Findings) {
    let first = path.split('/').next().unwrap_or_default();
    if path.is_empty() {
        found.error("user etc file name cannot be empty");
    } else if !is_local(path) || path.starts_with('.') {
        found.error(format!("user etc file {path} must be a local path", path = quoted(path)));
    } else if FILES.contains(&path) || DIRECTORIES.contains(&first) {
        found.error(format!("user etc file {path} is managed by Talos", path = quoted(path)));
    }
}

/// `filepath.IsLocal`: relative, and never above where it begins.
fn is_local(path: &str) -> bool {
    let mut depth = 0_i64;
    let inside = path.split('/').all(|part| {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        depth >= 0
    });
    inside && !path.is_empty() && !path.starts_with('/')
}
