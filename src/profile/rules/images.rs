//! Rules about what boots: CPU type, schematic, kernel arguments.

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
                "move them to the schematic (customization.extraKernelArgs) or to talos.factory.kernel_args",
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

/// The arguments that any document of a patch sets. A patch that is no YAML is the config engine's to refuse.
fn install_args(text: &str) -> Vec<String> {
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple_with_options(text, tree::options()).unwrap_or_default();
    let args = documents.iter().filter_map(|document| document["machine"]["install"]["extraKernelArgs"].as_array());
    args.flatten().filter_map(|arg| arg.as_str().map(str::to_owned)).collect()
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
