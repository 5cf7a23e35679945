use serde_json::Value;

use super::{bundle, json, read, run_versions};
use crate::inventory::{Mac, Role};
use crate::machineconfig::{Contract, Documents, Input, Minor, Mode, apply, generate, overlay, validate};

fn mode(word: &Value) -> Mode {
    match word.as_str().expect("a mode") {
        "metal" => Mode::Metal,
        "cloud" => Mode::Cloud,
        _ => Mode::Container,
    }
}

fn same(ours: &[String], theirs: &Value) -> bool {
    let theirs = theirs.as_array().map(Vec::as_slice).unwrap_or_default();
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a == b)
}

#[test]
fn validates_as_talos_does() {
    run_versions("validate", "", |case, recorded, version| {
        let minor = Minor::parse(version).expect("known");
        let how = json(format!("validate/{case}/case.json"));
        let result = &recorded[version];
        let documents = Documents::parse_for(&read(format!("validate/{case}/config.yaml")), &minor);
        match (documents, result["decode"] == "ok") {
            (Err(error), true) => Err(format!("does not decode: {error}")),
            (Ok(_), false) => Err(format!("decodes, but Talos says {}", result["decodeError"])),
            (Err(error), false) => {
                let theirs = result["decodeError"].as_str().expect("text");
                let parser = theirs.contains("yaml: ") || theirs.contains("decode error: ");
                let parser = parser || theirs.contains("parse \"") || theirs.contains("failed to parse disk size");
                if parser || error.to_string() == theirs {
                    Ok(())
                } else {
                    Err(format!("ours {error}, Talos's {theirs}"))
                }
            }
            (Ok(documents), true) => {
                let verdict = validate(&documents, mode(&how["mode"]), how["strict"] == true, &minor);
                if same(&verdict.warnings, &result["warnings"]) && same(&verdict.errors, &result["errors"]) {
                    Ok(())
                } else {
                    Err(format!("ours {verdict:?}, Talos's {} {}", result["warnings"], result["errors"]))
                }
            }
        }
    });
}

#[test]
fn what_the_product_adds_is_valid_on_every_contract() {
    let bundle = bundle("secrets/secrets-a.yaml");
    let mac: Mac = "BC:24:11:62:36:01".parse().expect("a MAC");
    for minor in ["1.9", "1.10", "1.11", "1.12", "1.13", "1.14"] {
        let contract = Contract::parse(minor).expect("known");
        for role in [Role::ControlPlane, Role::Worker] {
            let input = Input::new("lab", "https://10.0.0.10:6443", "1.32.0");
            let made = generate(&contract, &bundle, role, &input).expect("generated");
            let mut added = vec![
                overlay::hostname(&contract, "lab-cp-1"),
                overlay::static_network(
                    &contract,
                    mac,
                    "10.0.0.11/24".parse().expect("a prefix"),
                    Some("10.0.0.1".parse().expect("an address")),
                ),
                overlay::nameservers(&contract, &["10.0.0.2".parse().expect("an address")], &[]),
                overlay::cni_none(&contract),
            ];
            if role == Role::ControlPlane {
                added.push(overlay::vip(&contract, mac, "10.0.0.10".parse().expect("an address")));
                added.push(overlay::no_kube_proxy(&contract));
            }
            // A machine of the contract's own minor has to take it, and so has every later one.
            for running in ["1.9", "1.10", "1.11", "1.12", "1.13", "1.14"] {
                let running = Minor::parse(running).expect("known");
                if running.number < Minor::parse(minor).expect("known").number {
                    continue;
                }
                let patched = apply(&made, &added, &running).unwrap_or_else(|error| panic!("{error}"));
                let sent = Documents::parse_for(&patched.to_yaml(), &running).unwrap_or_else(|error| panic!("{error}"));
                let verdict = validate(&sent, Mode::Metal, true, &running);
                assert!(verdict.is_valid(), "contract {minor} on {running:?}, {role}: {:?}", verdict.errors);
                let view = crate::machineconfig::view::View::of(&sent);
                assert_eq!(view.role, Some(role));
                assert_eq!(view.hostname.as_deref(), Some("lab-cp-1"), "contract {minor}");
                assert_eq!(view.nameservers, ["10.0.0.2"], "contract {minor}");
                assert_eq!(view.interfaces.len(), 1, "contract {minor}: {:?}", view.interfaces);
                let interface = &view.interfaces[0];
                assert_eq!(interface.hardware_addr.as_deref(), Some("bc:24:11:62:36:01"));
                assert_eq!(interface.addresses, ["10.0.0.11/24"]);
                assert_eq!(interface.routes[0].gateway.as_deref(), Some("10.0.0.1"));
                let vip = (role == Role::ControlPlane).then_some("10.0.0.10");
                assert_eq!(interface.vip.as_deref(), vip, "contract {minor}");
                assert_eq!(view.endpoint.as_deref(), Some("https://10.0.0.10:6443"));
                assert_eq!(view.install.expect("an installation").disk.as_deref(), Some("/dev/sda"));
                if role == Role::ControlPlane {
                    assert_eq!((view.cni.as_str(), view.kube_proxy), ("none", false), "contract {minor}");
                }
                assert!(view.talos_ca.expect("a CA").key.is_some() == (role == Role::ControlPlane));
                assert!(view.kubernetes_ca.expect("a CA").key.is_some() == (role == Role::ControlPlane));
                assert!(view.discovery && view.token.is_some());
                assert_eq!(view.pod_subnets, ["10.244.0.0/16"]);
            }
        }
    }
}
