use serde_json::{Value, json};

use super::{bundle, cases, documents_differ, json as fixture, read, root, run, trees};
use crate::inventory::Role;
use crate::machineconfig::{Contract, Documents, Input, Minor, Mode, generate, validate};

pub(super) fn input(options: &Value) -> Input {
    let text = |key: &str| options[key].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let flag = |key: &str| options[key].as_bool().unwrap_or_default();
    let port = |key: &str| options[key].as_u64().map(|port| u16::try_from(port).expect("a port"));
    Input {
        install_disk: text("installDisk"),
        install_image: text("installImage"),
        additional_sans: list(&options["additionalSANs"]),
        dns_domain: text("dnsDomain"),
        pod_subnets: list(&options["podSubnets"]),
        service_subnets: list(&options["serviceSubnets"]),
        discovery: flag("discovery"),
        kubespan: flag("kubespan"),
        debug: flag("debug"),
        init: options["role"] == "init",
        allow_scheduling_on_control_planes: flag("allowSchedulingOnControlPlanes"),
        custom_cni_url: options["customCNIURL"].as_str().map(str::to_owned),
        local_api_server_port: port("localAPIServerPort"),
        kube_prism_port: port("kubePrismPort"),
        registry_mirrors: options["registryMirrors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| {
                let mut parts = list(entry);
                let host = parts.remove(0);
                (host, parts)
            })
            .collect(),
        sysctls: options["sysctls"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.as_str().expect("text").to_owned()))
            .collect(),
        install_extra_kernel_args: list(&options["installExtraKernelArgs"]),
        ..Input::new(&text("clusterName"), &text("endpoint"), &text("kubernetesVersion"))
    }
}

#[test]
fn generates_what_talos_generates() {
    run("gen", &cases("gen"), |case| {
        let recorded = fixture(format!("gen/{case}/case.json"));
        let options = &recorded["options"];
        let contract = Contract::parse(options["contract"].as_str().expect("text")).expect("a contract");
        let bundle = bundle(recorded["secrets"].as_str().expect("path"));
        let role = if options["role"] == "worker" { Role::Worker } else { Role::ControlPlane };
        let made = generate(&contract, &bundle, role, &input(options));
        for (version, result) in recorded["results"].as_object().expect("results") {
            let outcome = result["outcome"].as_str().expect("text");
            match (&made, outcome) {
                (Ok(made), "ok") => {
                    let ours = made.trees();
                    let text = read(format!("gen/{case}/{}", result["file"].as_str().expect("file")));
                    if let Some(difference) = documents_differ(&ours, &trees(&text)) {
                        return Err(format!("{version}: {difference}"));
                    }
                    if options["role"] != "init" && made.to_yaml() != text {
                        return Err(format!("{version}: spelled differently"));
                    }
                    let minor = Minor::parse(version).expect("known");
                    let verdict = validate(made, Mode::Metal, false, &minor);
                    let said = &result["validation"];
                    if said["errors"] != json!(verdict.errors) || said["warnings"] != json!(verdict.warnings) {
                        return Err(format!("{version}: ours {verdict:?}, Talos's {said}"));
                    }
                }
                (Err(_), "panic") => {}
                (Err(error), "error") => {
                    let text = read(format!("gen/{case}/{}", result["file"].as_str().expect("file")));
                    if error.to_string() != text {
                        return Err(format!("{version}: ours {error}, Talos's {text}"));
                    }
                }
                (Ok(_), _) => return Err(format!("{version}: made, but Talos says {outcome}")),
                (Err(error), _) => return Err(format!("{version}: {error}")),
            }
        }
        Ok(())
    });
}

#[test]
fn writes_byte_for_byte_what_talos_wrote() {
    for area in ["gen", "patch"] {
        run(&format!("{area}, bytes"), &cases(area), |case| {
            let path = root().join(format!("{area}/{case}/expected.yaml"));
            let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
            let parsed = Documents::parse(&text).map_err(|error| error.to_string())?;
            let written = parsed.to_yaml();
            let differ = written.lines().zip(text.lines()).find(|(ours, theirs)| ours != theirs);
            if written == text { Ok(()) } else { Err(format!("ours, and Talos's: {differ:?}")) }
        });
    }
}

#[test]
fn reads_contracts_as_talos_does() {
    for case in fixture("gen/contract-parsing.json").as_array().expect("a list") {
        let input = case["input"].as_str().expect("text");
        for (version, result) in case["results"].as_object().expect("results") {
            match (Contract::parse(input), result["ok"].as_bool().expect("flag")) {
                (Ok(contract), true) => assert_eq!(contract.to_string(), result["contract"], "{input} on {version}"),
                (Err(error), false) => assert_eq!(error.to_string(), result["error"], "{input} on {version}"),
                (ours, theirs) => panic!("{input} on {version}: ours {ours:?}, Talos's {theirs}"),
            }
        }
    }
}

#[test]
fn machines_of_1_14_get_contract_1_13() {
    for (talos, contract) in [("1.9.6", "v1.9"), ("v1.12.4", "v1.12"), ("1.13.9", "v1.13"), ("1.14.0-rc.1", "v1.13")] {
        assert_eq!(Contract::for_talos(talos).expect("known").to_string(), contract);
    }
    assert!(Contract::for_talos("1.8.0").is_err() && Contract::for_talos("1.15.0").is_err());
}
