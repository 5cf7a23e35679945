//! Where v1alpha1 installs to, and what it does to disks.

use serde_json::Value;

use super::{Findings, at, flag, list, number, text};
use crate::machineconfig::go;
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;

pub(super) fn install(install: Option<&Value>, minor: &Minor, found: &mut Findings) {
    let Some(install) = install else {
        return found.check(!minor.install_required, "install instructions are required in \"metal\" mode");
    };
    let selector = install.get("diskSelector");
    let problem = selector.and_then(|selector| {
        let kind = text(selector, "type");
        if !text(selector, "name").is_empty() {
            Some("selector on name is not supported".to_owned())
        } else if !matches!(kind, "" | "ssd" | "hdd" | "nvme" | "sd") {
            Some(format!("unsupported disk type {kind}", kind = quoted(kind)))
        } else {
            None
        }
    });
    let selects = problem.is_none() && selector.is_some();
    if let Some(problem) = problem {
        found.error(format!("install disk selector is invalid: {problem}"));
    }
    found.check(selects || !text(install, "disk").is_empty(), "either install disk or diskSelector should be defined");
    found.check(
        list(install, "extraKernelArgs").is_empty() || flag(install, "grubUseUKICmdline") != Some(true),
        "install.extraKernelArgs and install.grubUseUKICmdline can't be used together",
    );
}

pub(super) fn disks(machine: &Value, found: &mut Findings) {
    for (index, disk) in list(machine, "disks").iter().enumerate() {
        if disk.is_null() {
            found.error(format!("machine.disks[{index}] is null"));
        }
        let partitions = list(disk, "partitions");
        let last = partitions.len().saturating_sub(1);
        for partition in &partitions[..last] {
            found.check(
                partition.get("size").is_some_and(is_some_size),
                format!(
                    "partition for disk {} is set to occupy full disk, but it's not the last partition in the list",
                    quoted(text(disk, "device"))
                ),
            );
        }
    }
}

/// A size is written as a number where a text would not say it exactly; nothing, or zero, stands for what is left.
fn is_some_size(size: &Value) -> bool {
    match size {
        Value::Number(number) => number.as_u64() != Some(0),
        size => go::bytes(size.as_str().unwrap_or_default()).is_ok_and(|bytes| bytes > 0),
    }
}

pub(super) fn encryption(machine: &Value, found: &mut Findings) {
    for (key, label) in [("ephemeral", "EPHEMERAL"), ("state", "STATE")] {
        let Some(config) = at(machine, &["systemDiskEncryption", key]) else { continue };
        let keys = list(config, "keys");
        found.check(!keys.is_empty(), format!("partition {label}: no encryption keys provided", label = quoted(label)));
        let mut slots = Vec::new();
        for key in keys {
            let slot = number(key, "slot");
            found.check(
                !slots.contains(&slot),
                format!("partition {label}: encryption key slot {slot} is already in use", label = quoted(label)),
            );
            slots.push(slot);
            found.check(
                ["nodeID", "static", "kms", "tpm"].iter().any(|kind| key.get(kind).is_some()),
                format!(
                    "partition {label}: encryption key at slot {slot} doesn't have the configuration parameters",
                    label = quoted(label)
                ),
            );
        }
    }
}

pub(super) fn extensions(machine: &Value, minor: &Minor, found: &mut Findings) {
    let listed = at(machine, &["install", "extensions"]).and_then(Value::as_array);
    let images: Vec<&str> = listed.into_iter().flatten().map(|extension| text(extension, "image")).collect();
    for (index, image) in images.iter().enumerate() {
        found.check(
            !images[..index].contains(image),
            format!("duplicate system extension {image}", image = quoted(image)),
        );
    }
    if !images.is_empty() {
        found.warning(format!(".machine.install.extensions is deprecated, please see {}", minor.extensions_guide));
    }
}
