//! The machine type and the display: what goes together, and what Windows is pinned to
//! (qemu-server 9.2: src/PVE/QemuServer/Machine.pm).

use super::drive;
use super::property::{self, Properties};
use super::release::Release;
use super::schema::Schema;

fn parsed(schema: &Schema, option: &str, text: &str) -> Properties {
    drive::members(schema, option).and_then(|members| property::split(members, text).ok()).unwrap_or_default()
}

/// Whether the members of a `machine` go together.
pub(super) fn check(schema: &Schema, text: &str) -> Result<(), String> {
    let machine = parsed(schema, "machine", text);
    let is = |key: &str, value: &str| machine.get(key).is_some_and(|text| text == value);
    let width = machine.get("aw-bits").map(String::as_str);
    if is("viommu", "intel") {
        if !machine.get("type").is_some_and(|kind| kind.contains("q35")) {
            return Err("to use Intel vIOMMU please set the machine type to q35".into());
        }
        if width.is_some_and(|width| width != "39" && width != "48") {
            return Err("Intel vIOMMU supports only 39 or 48 bits as address width".into());
        }
    }
    if width.is_some() && !machine.contains_key("viommu") {
        return Err("cannot set aw-bits if no vIOMMU is configured".into());
    }
    Ok(())
}

/// Only displays of some kinds share the clipboard with VNC.
pub(super) fn clipboard(schema: &Schema, text: &str) -> Result<(), String> {
    let vga = parsed(schema, "vga", text);
    let fit = ["std", "cirrus", "vmware", "virtio", "qxl"];
    match vga.get("type") {
        Some(kind)
            if vga.get("clipboard").is_some_and(|to| to == "vnc") && !fit.iter().any(|fit| kind.starts_with(fit)) =>
        {
            Err(format!("vga type {kind} is not compatible with VNC clipboard"))
        }
        _ => Ok(()),
    }
}

/// The machine that a Windows guest keeps to from now on, and what the log says of it.
pub(super) fn pinned(release: Release, machine: Option<&String>, ostype: &str) -> Option<(String, String)> {
    let schema = release.schema();
    let mut found = machine.map_or_else(Properties::new, |text| parsed(schema, "machine", text));
    let kind = found.get("type").map_or("pc", String::as_str);
    let stem = match kind {
        "pc" => "pc-i440fx",
        "q35" => "pc-q35",
        _ => return None,
    };
    if !is_windows(ostype) {
        return None;
    }
    // The part of Proxmox's own is told only when there is one.
    let suffix = Some(release.machine_suffix()).filter(|suffix| *suffix != "+pve0").unwrap_or_default();
    let pinned = format!("{stem}-{}{suffix}", release.qemu().rsplit_once('.').map_or("", |(version, _)| version));
    let line = format!("pinning machine type to '{pinned}' for Windows guest OS");
    found.insert("type".into(), pinned);
    Some((drive::print(schema, "machine", &found), line))
}

/// `win11`, `w2k8`, `wxp`, `wvista`.
pub(super) fn is_windows(ostype: &str) -> bool {
    ostype.starts_with("win") || matches!(ostype, "w2k" | "w2k3" | "w2k8" | "wxp" | "wvista")
}
