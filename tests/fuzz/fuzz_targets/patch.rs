//! A patch from anywhere, on configurations of both kinds: applied or refused, and rewritten or left as it is.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pvetalos::inventory::Role;
use pvetalos::machineconfig::rewrite::{Target, rewrite};
use pvetalos::machineconfig::{
    Bundle, Contract, Documents, Input, Minor, Mode, Patch, PatchSource, apply, generate, validate,
};

static BASES: LazyLock<Vec<(Contract, Minor, Documents)>> = LazyLock::new(|| {
    let bundle = Bundle::sketch().expect("keys");
    let base = |(version, role): (&str, Role)| {
        let contract = Contract::parse(version).expect("known");
        let input = Input::new("fuzz", "https://10.0.0.10:6443", "1.35.0");
        let documents = generate(&contract, &bundle, role, &input).expect("generated");
        (contract, Minor::parse(version).expect("known"), documents)
    };
    [("1.11", Role::ControlPlane), ("1.12", Role::Worker), ("1.13", Role::ControlPlane), ("1.14", Role::ControlPlane)]
        .into_iter()
        .map(base)
        .collect()
});

fuzz_target!(|text: &str| {
    for (contract, minor, documents) in BASES.iter() {
        if let Ok(patch) = Patch::load(text, PatchSource::Inline("fuzz".to_owned()), minor) {
            patch.strategic_form(documents, minor);
            if let Ok(patched) = apply(documents, &[patch.clone(), patch], minor) {
                let verdict = validate(&patched, Mode::Metal, false, minor);
                let written = patched.to_yaml();
                // Talos writes this for a network rule without a protocol, and cannot read it either.
                if written.contains("Protocol(0)") {
                    continue;
                }
                let again = match Documents::parse_for(&written, minor) {
                    Ok(again) => again,
                    // Some minors leave the rest of a deletion behind that deleted nothing. Whoever validates hears of it.
                    Err(error) => {
                        let told = verdict.errors.iter().any(|known| known.starts_with("reload: "));
                        assert!(told, "{error}:\n{written}");
                        continue;
                    }
                };
                assert!(again.trees() == patched.trees(), "reads as something else:\n{written}");
            }
        }
        if let Ok(Some(new)) = rewrite(text, Target { contract, install_disk: "/dev/sda" }) {
            for part in [new.shared, new.control_plane].into_iter().flatten() {
                // What was no configuration before need be none now; it only has to be YAML still.
                Patch::load(&part, PatchSource::Inline("rewritten".to_owned()), minor).ok();
            }
        }
    }
});
