//! Rules about what boots: CPU type, schematic, kernel arguments.

use serde_json::{Value, json};

use crate::profile::resolve::Draft;
use crate::profile::tree;
use crate::profile::types::{PatchRef, Profile, SchematicRef};

/// QEMU models below x86-64-v2 (qemu-server 9.2: `cpu_models`): Talos halts in its init on them.
const TOO_OLD: [&str; 19] = [
    "486",
    "pentium",
    "pentium2",
    "pentium3",
    "athlon",
    "coreduo",
    "core2duo",
    "phenom",
    "kvm32",
    "kvm64",
    "qemu32",
    "qemu64",
    "Conroe",
    "Penryn",
    "Opteron_G1",
    "Opteron_G2",
    "Opteron_G3",
    "x86-64",
    "x86-64-v1",
];

pub(super) fn cpu(profile: &Profile, draft: &mut Draft) {
    let cpu = &profile.proxmox.cpu;
    if TOO_OLD.iter().any(|old| old.eq_ignore_ascii_case(cpu)) {
        draft.problem(
            "proxmox.cpu",
            format!("{cpu} is below x86-64-v2, and Talos halts at boot on it"),
            "leave it out for x86-64-v2-AES, or give host",
        );
    }
}

/// Under a unified kernel image the command line is signed into the boot file: `machine.install.extraKernelArgs` has
/// no effect, and Talos 1.12 refuses it next to `grubUseUKICmdline`.
pub(super) fn kernel_args(profile: &Profile, draft: &mut Draft) {
    let patches = &profile.talos.patches;
    let places = draft.machines.clone();
    let schematic = &profile.talos.factory.schematic;
    let mut refuse = |path: String, patch: &PatchRef| {
        let args = install_args(&patch.text);
        if !args.is_empty() {
            draft.problem(
                path,
                format!(
                    "sets machine.install.extraKernelArgs to {} in {}; the boot image carries its own signed command line",
                    args.join(" "),
                    patch.origin
                ),
                match schematic_with(schematic, &args) {
                    Some(text) => format!("take them out, and give them as talos.factory.kernel_args or in this schematic:\n{text}"),
                    None => "take them out, and put them into customization.extraKernelArgs of the schematic whose id the \
                             profile names"
                        .to_owned(),
                },
            );
        }
    };
    let groups = [("all", &patches.all), ("controlplane", &patches.controlplane), ("worker", &patches.worker)];
    for (group, patches) in groups {
        for (index, patch) in patches.iter().enumerate() {
            refuse(format!("talos.patches.{group}[{index}]"), patch);
        }
    }
    for (path, machine) in places.iter().zip(&profile.machines) {
        for (index, patch) in machine.patches.iter().enumerate() {
            refuse(format!("{path}.patches[{index}]"), patch);
        }
    }
}

/// The arguments that any document or operation of a patch sets. A patch that is no YAML is the config engine's to
/// refuse.
fn install_args(text: &str) -> Vec<String> {
    const PATH: &str = "/machine/install/extraKernelArgs";
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, tree::options()).unwrap_or_default();
    let mut args = Vec::new();
    let mut collect = |value: &Value| match value {
        Value::Array(list) => args.extend(list.iter().filter_map(Value::as_str).map(str::to_owned)),
        Value::String(arg) => args.push(arg.clone()),
        _ => {}
    };
    for document in &documents {
        collect(&document["machine"]["install"]["extraKernelArgs"]);
        for operation in document.as_array().into_iter().flatten() {
            if operation["path"].as_str().is_some_and(|path| path.starts_with(PATH)) {
                collect(&operation["value"]);
            }
        }
    }
    args
}

/// The profile's schematic with more kernel arguments, indented as a part of a message; `None` when the profile
/// knows its id only.
fn schematic_with(schematic: &SchematicRef, args: &[String]) -> Option<String> {
    let mut tree: Value = match schematic {
        SchematicRef::Id(_) => return None,
        SchematicRef::File { text, .. } => serde_saphyr::from_str_with_options(text, tree::options()).ok()?,
        SchematicRef::Inline { kernel_args, extensions } => json!({ "customization": {
            "extraKernelArgs": kernel_args, "systemExtensions": { "officialExtensions": extensions },
        }}),
    };
    if !tree.is_object() {
        tree = json!({});
    }
    let customization = tree.as_object_mut()?.entry("customization").or_insert_with(|| json!({}));
    let known = customization.as_object_mut()?.entry("extraKernelArgs").or_insert_with(|| json!([]));
    let known = known.as_array_mut()?;
    for arg in args {
        if !known.iter().any(|known| known == arg) {
            known.push(arg.as_str().into());
        }
    }
    let text = serde_saphyr::to_string(&tree).ok()?;
    Some(text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))
}

/// What is wrong in itself with an inline schematic; whether the factory has the extensions is the survey's question.
pub(super) fn schematic(profile: &Profile, draft: &mut Draft) {
    let SchematicRef::Inline { kernel_args, extensions } = &profile.talos.factory.schematic else { return };
    for (index, arg) in kernel_args.iter().enumerate() {
        if arg.is_empty() || arg.chars().any(|char| char.is_control() || char == ' ' && !arg.contains('"')) {
            draft.problem(
                format!("talos.factory.kernel_args[{index}]"),
                format!("{arg:?} is not one kernel argument"),
                "give one argument per item; a value with blanks stands in double quotes",
            );
        }
    }
    for (index, extension) in extensions.iter().enumerate() {
        let (owner, name) = extension.split_once('/').unwrap_or_default();
        if owner.is_empty() || name.is_empty() || !extension.bytes().all(|byte| byte.is_ascii_graphic()) {
            draft.problem(
                format!("talos.factory.extensions[{index}]"),
                format!("{extension:?} is no extension name"),
                format!("write it as siderolabs/{}", if extension.is_empty() { "qemu-guest-agent" } else { extension }),
            );
        }
    }
}
