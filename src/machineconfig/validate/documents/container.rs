//! `ContainerConfig` (Talos 1.14): a container that Talos itself runs.

mod dependencies;
mod image;

use serde_json::Value;

use crate::machineconfig::go;
use crate::machineconfig::go::quoted;
use crate::machineconfig::validate::{Findings, list, number, text, texts};

pub(in crate::machineconfig::validate) use dependencies::problems as dependency_problems;

const CONDITIONS: [&str; 4] = ["addresses", "connectivity", "hostname", "etcfiles"];
const MOUNT_OPTIONS: [&str; 8] = ["ro", "rw", "noexec", "nosuid", "nodev", "noatime", "rbind", "rshared"];

pub(super) fn check(name: &str, tree: &Value, found: &mut Findings) {
    let symbols = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() {
        found.error("name is required");
    } else if name.len() > 63 {
        found.error(format!("name {name} must be 63 characters or fewer", name = quoted(name)));
    } else if !name.bytes().all(symbols) {
        found.error(format!(
            "name {name}: name can only contain lowercase ASCII letters, digits and hyphens",
            name = quoted(name)
        ));
    }
    match text(tree, "image") {
        "" => found.error("image is required"),
        image => match image::is_pinned(image) {
            None => found.error(format!(
                "invalid image reference {quoted_image}: could not parse reference: {image}",
                quoted_image = quoted(image)
            )),
            Some(true) => {}
            Some(false) => found.warning(format!(
                "container {name}: image {image} is not digest-pinned, the running image may change on restart",
                name = quoted(name),
                image = quoted(image)
            )),
        },
    }
    for (index, variable) in texts(tree, "environment").enumerate() {
        found.check(
            variable.contains('='),
            format!("environment[{index}]: {variable} must be in KEY=value form", variable = quoted(variable)),
        );
    }
    mounts(list(tree, "mounts"), found);
    if let Some(security) = tree.get("security") {
        secure(security, found);
    }
    let mode = tree.get("network").map(|network| text(network, "mode")).unwrap_or_default();
    found.check(
        matches!(mode, "" | "none" | "host"),
        format!("unsupported network mode {mode}, expected none or host", mode = quoted(mode)),
    );
    if let Some(limits) = tree.get("resources").and_then(|resources| resources.get("limits")) {
        limit(limits, found);
    }
    if let Some(depends) = tree.get("dependsOn") {
        depend(name, depends, found);
    }
    for key in ["uid", "gid"] {
        let id = tree.get("runAs").map(|run| number(run, key)).unwrap_or_default();
        found.check(id >= 0, format!("runAs.{key} must be non-negative, got {id}"));
    }
}

fn mounts(mounts: &[Value], found: &mut Findings) {
    let mut destinations = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let mut inner = Findings::default();
        let kinds: Vec<(&str, &Value)> =
            ["userVolume", "tmpfs", "hostPath"].into_iter().filter_map(|kind| Some((kind, mount.get(kind)?))).collect();
        let [(kind, mount)] = kinds[..] else {
            found.error(format!("mounts[{index}]: exactly one of userVolume, tmpfs or hostPath must be set"));
            continue;
        };
        match kind {
            "userVolume" => inner.check(!text(mount, "name").is_empty(), "userVolume.name is required"),
            "hostPath" => absolute("hostPath.source", text(mount, "source"), &mut inner),
            _ => {}
        }
        let destination = text(mount, "destination");
        absolute(&format!("{kind}.destination"), destination, &mut inner);
        let options: Vec<&str> = texts(mount, "options").collect();
        for option in options.iter().filter(|option| !MOUNT_OPTIONS.contains(option)) {
            inner.error(format!("unsupported mount option {option}", option = quoted(option)));
        }
        inner.check(
            !(options.contains(&"ro") && options.contains(&"rw")),
            "mount options ro and rw are mutually exclusive",
        );
        if inner.errors.is_empty() {
            found.check(
                !destinations.contains(&destination),
                format!("mounts[{index}]: duplicate destination {destination}", destination = quoted(destination)),
            );
            destinations.push(destination);
        } else {
            found.error(format!("mounts[{index}]: {}", inner.errors.join("\n")));
        }
    }
}

fn absolute(what: &str, path: &str, found: &mut Findings) {
    if path.is_empty() {
        found.error(format!("{what} is required"));
    } else {
        found.check(path.starts_with('/'), format!("{what} {path} must be an absolute path", path = quoted(path)));
    }
}

fn secure(security: &Value, found: &mut Findings) {
    let profile = text(security, "profile");
    found.check(
        matches!(profile, "" | "restricted" | "privileged"),
        format!("unsupported security profile {profile}, expected restricted or privileged", profile = quoted(profile)),
    );
    let Some(capabilities) = security.get("capabilities") else { return };
    let (add, drop) = (texts(capabilities, "add"), texts(capabilities, "drop").collect::<Vec<_>>());
    let add: Vec<&str> = add.collect();
    for capability in &add {
        if *capability == "ALL" {
            found.error("capabilities.add does not accept ALL, use profile: privileged instead");
        } else {
            found.errors.extend(odd_capability("capabilities.add", capability));
        }
    }
    for capability in drop.iter().filter(|capability| **capability != "ALL") {
        found.errors.extend(odd_capability("capabilities.drop", capability));
    }
    for capability in add.iter().filter(|capability| drop.contains(capability)) {
        found.error(format!("capability {capability} appears in both add and drop", capability = quoted(capability)));
    }
}

fn odd_capability(field: &str, name: &str) -> Option<String> {
    let why = if name.is_empty() {
        return Some(format!("{field}: capability name must not be empty"));
    } else if name.starts_with("CAP_") {
        "must be given without the CAP_ prefix"
    } else if name.to_uppercase() != name {
        "must be upper case"
    } else if !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
        "may only contain upper case letters and underscores"
    } else {
        return None;
    };
    Some(format!("{field}: capability {name} {why}", name = quoted(name)))
}

fn limit(limits: &Value, found: &mut Findings) {
    let (memory, cpu) = (text(limits, "memory"), text(limits, "cpu"));
    if let Err(why) = go::bytes(memory)
        && !memory.is_empty()
    {
        found.error(format!("limits.memory {memory} is not a valid size: {why}", memory = quoted(memory)));
    }
    if cpu.is_empty() {
        return;
    }
    let Some(thousandths) = cpu.strip_suffix('m') else {
        return found.error(format!("limits.cpu {cpu} must be expressed in millicores, e.g. 1500m", cpu = quoted(cpu)));
    };
    match go::unsigned(thousandths, 64) {
        Err(why) => {
            found.error(format!("limits.cpu {cpu} is not a valid millicore quantity: {why}", cpu = quoted(cpu)));
        }
        Ok(0) => found.error(format!("limits.cpu {cpu} must be greater than zero", cpu = quoted(cpu))),
        Ok(_) => {}
    }
}

fn depend(name: &str, depends: &Value, found: &mut Findings) {
    for path in texts(depends, "paths") {
        absolute("dependsOn.paths entry", path, found);
    }
    for condition in texts(depends, "networks").filter(|condition| !CONDITIONS.contains(condition)) {
        found.error(format!("unsupported dependsOn.networks condition {condition}", condition = quoted(condition)));
    }
    for other in texts(depends, "containers") {
        if other.is_empty() {
            found.error("dependsOn.containers entry must not be empty");
        } else {
            found.check(other != name, format!("container {name} cannot depend on itself", name = quoted(name)));
        }
    }
}
