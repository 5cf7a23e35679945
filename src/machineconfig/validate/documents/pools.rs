//! What disks are joined into: volume groups, logical volumes, arrays (Talos 1.14).

use serde_json::Value;

use super::volumes::{Size, selector};
use crate::machineconfig::cel::{self, Scope};
use crate::machineconfig::minor::Minor;
use crate::machineconfig::validate::{Findings, number, text};

/// Checks a document of one of these kinds; of another kind nothing is said.
pub(super) fn check(kind: &str, name: &str, tree: &Value, minor: &Minor, found: &mut Findings) -> bool {
    let longest = match kind {
        "RAIDArrayConfig" => 32,
        "LVMVolumeGroupConfig" | "LVMLogicalVolumeConfig" => 63,
        _ => return false,
    };
    found.check(!name.is_empty(), "name is required");
    found.check((1..=longest).contains(&name.len()), format!("name must be between 1 and {longest} characters long"));
    found.check(
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "name can only contain ASCII letters, digits, hyphens and underscores",
    );
    if kind == "LVMLogicalVolumeConfig" {
        logical(tree, found);
        return true;
    }
    match selector(tree, &["provisioning", "volumeSelector", "match"]) {
        None => found.error("provisioning.volumeSelector.match is required"),
        Some(cel) => {
            if let Some(why) = cel::problem(cel, Scope::Volume, minor) {
                found.error(format!("provisioning.volumeSelector.match: {why}"));
            }
        }
    }
    true
}

fn logical(tree: &Value, found: &mut Findings) {
    let level = match text(tree, "type") {
        "" => "linear",
        level => level,
    };
    for (key, levels, least) in [("mirrors", ["raid1", "raid10"], 1), ("stripes", ["raid0", "raid10"], 2)] {
        if tree.get(key).is_none() {
            continue;
        }
        if levels.contains(&level) {
            found.check(number(tree, key) >= least, format!("{key} must be at least {least}"));
        } else {
            found.error(format!("{key} is only valid for {}/{}, not {level}", levels[0], levels[1]));
        }
    }
    let provisioning = tree.get("provisioning").unwrap_or(&Value::Null);
    found.check(!text(provisioning, "volumeGroup").is_empty(), "provisioning.volumeGroup is required");
    let (least, most) = (Size::of(provisioning, "minSize"), Size::of(provisioning, "maxSize"));
    found.check(most.is_set, "provisioning.maxSize is required");
    found.check(!most.is_negative, "provisioning.maxSize must not be negative");
    found.check(
        !least.is_set || most.is_relative || least.bytes <= most.bytes,
        "provisioning.minSize must not exceed provisioning.maxSize",
    );
}
