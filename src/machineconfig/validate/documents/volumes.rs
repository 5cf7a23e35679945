//! Volume documents.

use serde_json::Value;

use super::duration;
use crate::machineconfig::cel::{self, Scope};
use crate::machineconfig::go;
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::validate::{Findings, at, flag, list, number, text};

pub(super) fn check(kind: &str, name: &str, tree: &Value, minor: &Minor, found: &mut Findings) {
    match kind {
        "VolumeConfig" => return system(name, tree, minor, found),
        "ZswapConfig" => {
            let percent = tree.get("maxPoolPercent").and_then(Value::as_i64);
            let ok = percent.is_none_or(|percent| (0..=100).contains(&percent));
            return found.check(ok, "maxPoolPercent must be between 0 and 100");
        }
        "FilesystemTrimConfig" => return found.check(duration(tree, "interval") >= 0, "interval cannot be negative"),
        "FilesystemScrubConfig" => return scrub(tree, found),
        _ => {}
    }
    user_name(kind, name, found);
    match kind {
        "ExistingVolumeConfig" => match selector(tree, &["discovery", "volumeSelector", "match"]) {
            None => found.error("volume selector is required"),
            Some(cel) => judge(cel, "volume selector", Scope::Volume, minor, found),
        },
        "ExternalVolumeConfig" => external(tree, found),
        "UserVolumeConfig" => user(tree, minor, found),
        _ => {
            provisioning(tree, true, true, minor, found);
            encryption(tree, found);
        }
    }
    upkeep(tree, found);
}

pub(super) fn selector<'a>(tree: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(tree, path).and_then(Value::as_str).filter(|cel| !cel.is_empty())
}

/// A size as a document gives it.
#[derive(Default)]
pub(super) struct Size {
    pub(super) is_set: bool,
    pub(super) is_negative: bool,
    /// In percent of what is there.
    pub(super) is_relative: bool,
    /// Zero for a relative one; without sign.
    pub(super) bytes: u64,
}

impl Size {
    pub(super) fn of(tree: &Value, key: &str) -> Self {
        let text = text(tree, key);
        let bare = text.strip_prefix('-');
        let is_relative = text.contains('%');
        Self {
            is_set: !text.is_empty(),
            is_negative: bare.is_some(),
            is_relative,
            bytes: go::bytes(bare.unwrap_or(text)).ok().filter(|_| !is_relative).unwrap_or_default(),
        }
    }
}

/// Whether anything at all is set below `key`. A struct that is there counts, unless it is one that cannot be absent.
fn is_set(tree: &Value, key: &str) -> bool {
    let Some(Value::Object(map)) = tree.get(key) else { return false };
    map.iter().any(|(key, value)| match (key.as_str(), value) {
        ("diskSelector", value) => !text(value, "match").is_empty(),
        ("type" | "provider", value) => !matches!(value.as_str(), None | Some("" | "none")),
        (_, Value::String(text)) => !text.is_empty(),
        (_, Value::Array(items)) => !items.is_empty(),
        (_, value) => !value.is_null(),
    })
}

/// An encryption without provider and keys is none.
fn is_encrypted(tree: &Value) -> bool {
    let Some(config) = tree.get("encryption") else { return false };
    !matches!(text(config, "provider"), "" | "none") || !list(config, "keys").is_empty()
}

fn system(name: &str, tree: &Value, minor: &Minor, found: &mut Findings) {
    if !minor.system_volumes.contains(&name) {
        let names: Vec<String> =
            minor.system_volumes.iter().map(|name| format!("{name}", name = quoted(name))).collect();
        return found.error(format!("only [{}] volumes are supported", names.join(" ")));
    }
    // A volume other than the disk's own three came with the rules about what those may hold.
    let strict = minor.system_volumes.len() > 3;
    let forbid = |key: &str, found: &mut Findings| {
        found.check(
            !is_set(tree, key),
            format!("{key} config is not allowed for the {name} volume", name = quoted(name)),
        );
    };
    match name {
        "STATE" => {
            forbid("provisioning", found);
            for key in tree.get("encryption").map(|config| list(config, "keys")).unwrap_or_default() {
                let locked = flag(key, "lockToState") == Some(true);
                found.check(
                    !locked,
                    format!("state-locked key is not allowed for the {name} volume", name = quoted(name)),
                );
            }
            if strict {
                forbid("mount", found);
            }
        }
        "IMAGECACHE" if strict => {
            forbid("mount", found);
            forbid("filesystem", found);
        }
        "ETCD" | "CRI" | "KUBELET" | "LOG" => found.check(
            !is_set(tree, "mount") || is_set(tree, "provisioning"),
            format!(
                "mount config for the {name} volume is only supported when it is provisioned onto a dedicated \
                 partition",
                name = quoted(name)
            ),
        ),
        _ => {}
    }
    provisioning(tree, false, true, minor, found);
    encryption(tree, found);
    upkeep(tree, found);
}

fn user_name(kind: &str, name: &str, found: &mut Findings) {
    found.check(!name.is_empty(), "name is required");
    if kind != "ExistingVolumeConfig" {
        found.check((1..=34).contains(&name.len()), "name must be between 1 and 34 characters long");
    }
    found.check(
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "name can only contain lowercase and uppercase ASCII letters, digits, and hyphens",
    );
}

fn user(tree: &Value, minor: &Minor, found: &mut Findings) {
    match text(tree, "volumeType") {
        "directory" => {
            for (key, is_set) in [
                ("provisioning", is_set(tree, "provisioning")),
                ("encryption", is_encrypted(tree)),
                ("filesystem", is_set(tree, "filesystem")),
                ("mount", is_set(tree, "mount")),
            ] {
                found.check(!is_set, format!("{key} spec is invalid for volumeType directory"));
            }
        }
        kind @ ("" | "partition" | "disk") => {
            provisioning(tree, true, kind != "disk", minor, found);
            filesystem(tree.get("filesystem").unwrap_or(&Value::Null), found);
            encryption(tree, found);
        }
        kind => found.error(format!("unsupported volume type {kind}", kind = quoted(kind))),
    }
}

fn filesystem(tree: &Value, found: &mut Findings) {
    let kind = text(tree, "type");
    // Without a word it is xfs.
    let is_xfs = matches!(kind, "" | "none" | "xfs");
    if !is_xfs && !matches!(kind, "ext4" | "btrfs") {
        found.error(format!("unsupported filesystem type: {kind}"));
    } else if flag(tree, "projectQuotaSupport") == Some(true) && !is_xfs {
        found.error("project quota support is only available for xfs filesystem");
    } else if tree.get("xfs").is_some() && !is_xfs {
        found.error("xfs options are only available for xfs filesystem");
    }
}

fn external(tree: &Value, found: &mut Findings) {
    match text(tree, "filesystemType") {
        "virtiofs" => match at(tree, &["mount", "virtiofs"]) {
            None => found.error("virtiofs mount spec is required"),
            Some(mount) => found.check(!text(mount, "tag").is_empty(), "virtiofs tag is required"),
        },
        "" => found.error("invalid filesystem type: none"),
        kind => found.error(format!("invalid filesystem type: {kind}")),
    }
}

fn upkeep(tree: &Value, found: &mut Findings) {
    if let Some(trim) = tree.get("trim") {
        found.check(duration(trim, "interval") >= 0, "trim interval cannot be negative");
    }
    if let Some(tree) = tree.get("scrub") {
        scrub(tree, found);
    }
}

fn scrub(tree: &Value, found: &mut Findings) {
    let interval = duration(tree, "interval");
    found.check(interval == 0 || interval >= 10_000_000_000, "scrub interval: minimum value is 10s");
}

fn provisioning(tree: &Value, required: bool, sized: bool, minor: &Minor, found: &mut Findings) {
    match selector(tree, &["provisioning", "diskSelector", "match"]) {
        Some(cel) => judge(cel, "disk selector", Scope::Disk, minor, found),
        None => found.check(!required, "disk selector is required"),
    }
    let spec = tree.get("provisioning").unwrap_or(&Value::Null);
    let (least, most) = (Size::of(spec, "minSize"), Size::of(spec, "maxSize"));
    if !sized {
        let any = least.is_set || most.is_set || spec.get("grow").is_some();
        return found.check(!any, "min size, max size and grow are not supported");
    }
    if least.is_set && most.is_set && !most.is_relative && !most.is_negative {
        found.check(least.bytes <= most.bytes, "min size is greater than max size");
    } else {
        found.check(!required || least.is_set || most.is_set, "min size or max size is required");
    }
    found.check(!least.is_negative, "min size cannot be negative");
}

fn encryption(tree: &Value, found: &mut Findings) {
    let Some(config) = tree.get("encryption") else { return };
    let (provider, keys) = (text(config, "provider"), list(config, "keys"));
    if !is_encrypted(tree) {
        return;
    }
    let none = matches!(provider, "" | "none");
    found.check(!none, "unsupported encryption provider: none");
    found.check(!keys.is_empty(), "encryption keys are required");
    let mut slots = Vec::new();
    for key in keys {
        let slot = number(key, "slot");
        found.check(!slots.contains(&slot), format!("duplicate key slot {slot}"));
        slots.push(slot);
        found.check(
            ["nodeID", "static", "kms", "tpm"].iter().any(|kind| key.get(kind).is_some()),
            format!("at least one encryption key type must be specified for slot {slot}"),
        );
        let registers = at(key, &["tpm", "options", "pcrs"]).and_then(Value::as_array).into_iter().flatten();
        for register in registers.filter_map(Value::as_i64) {
            found.check((0..=23).contains(&register), format!("TPM PCR {register} is out of range (0-23)"));
        }
    }
}

fn judge(selector: &str, what: &str, scope: Scope, minor: &Minor, found: &mut Findings) {
    if let Some(why) = cel::problem(selector, scope, minor) {
        found.error(format!("{what} is invalid: {why}"));
    }
}
