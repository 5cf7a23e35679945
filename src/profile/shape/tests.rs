use std::collections::BTreeSet;

use super::*;
use crate::profile::schema;

/// `line:column path message; fix` of everything that is wrong.
fn wrong(text: &str) -> Vec<String> {
    let tree = Tree::read(text).expect("it is YAML");
    let place = |problem: &Problem| (problem.line.unwrap_or(0), problem.column.unwrap_or(0));
    let show = |problem: &Problem| format!("{}:{} {problem}", place(problem).0, place(problem).1);
    check(&tree, &schema()).iter().map(show).collect()
}

const MINIMAL: &str = "\
name: p
proxmox:
  endpoints: [lab]
  storage: { image: local, disk: lvm }
talos:
  version: 1.10
  kubernetes_version: 1.35.0
network:
  cidr: 10.0.0.0/24
  gateway: 10.0.0.1
nodes:
  controlplane:
    assignments:
      - { name: cp, ip: 10.0.0.2 }
";

#[test]
fn every_unknown_key_is_named_with_its_place_and_the_nearest() {
    let text = MINIMAL
        .replace("version: 1.10", "version: 1.10.0\n  verison: 1.12.4\n  api_endpoint: a")
        .replace("  endpoints", "  Bridge: vmbr1\n  endpoints")
        .replace("ip: 10.0.0.2 }", "ip: 10.0.0.2, flux: yes }");
    assert_eq!(
        wrong(&text),
        [
            "3:3 proxmox.Bridge is no key of a profile; did you mean bridge?",
            "8:3 talos.verison is no key of a profile; did you mean version?",
            "9:3 talos.api_endpoint is no key of a profile; it belongs to network.api_endpoint",
            "17:35 nodes.controlplane.assignments[0].flux is no key of a profile; known here are name, node, vmid, ip, \
             mac, cores, memory, disk, patches",
        ]
    );
}

#[test]
fn every_wrong_type_is_told_with_the_allowed_form() {
    let text = MINIMAL
        .replace("name: p", "name: [p]\ndisposable: maybe")
        .replace("[lab]", "lab\n  vlan: 4095")
        .replace("10.0.0.0/24", "10.0.0.5/24\n  mode: dynamic\n  dns: 1.1.1.1")
        .replace("ip: 10.0.0.2", "ip: 10.0.0, vmid: 99, cores: '4', memory: 8Q, mac: bc-24");
    let found = wrong(&text);
    let expected = [
        "1:1 name cannot be a list; give DNS label",
        "2:13 disposable cannot be the text \"maybe\"; give true or false",
        "4:14 proxmox.endpoints cannot be the text \"lab\"; give a list",
        "5:9 proxmox.vlan cannot be 4095; give 1 to 4094",
        "8:12 talos.version \"1.10\" is no version; write it as 1.12.4",
        "11:9 network.cidr 10.0.0.5/24 has host bits set; write the network itself: 10.0.0.0/24",
        "12:9 network.mode cannot be the text \"dynamic\"; choose one of dhcp, static",
        "13:8 network.dns cannot be the text \"1.1.1.1\"; give a list",
        "18:25 nodes.controlplane.assignments[0].ip \"10.0.0\" is no IPv4 address; write it as",
        "18:39 nodes.controlplane.assignments[0].vmid cannot be 99; give 100 to 999999999",
        "18:50 nodes.controlplane.assignments[0].cores cannot be the text \"4\"; give a whole number",
        "18:63 nodes.controlplane.assignments[0].memory \"8Q\" is no size in whole MiB; write it as 8192 (MiB), 8192M",
        "18:72 nodes.controlplane.assignments[0].mac \"bc-24\" is no MAC address; write it as",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}

#[test]
fn every_missing_key_is_told_where_it_belongs() {
    let text = "name: p\nproxmox:\n  endpoints: []\ntalos: { version: 1.12.4 }\nnetwork:\nnodes: {}\n";
    let found = wrong(text);
    let expected = [
        "2:1 proxmox.storage is missing; give a mapping of image, disk",
        "3:3 proxmox.endpoints is an empty list; give at least one",
        "4:1 talos.kubernetes_version is missing; give version, such as 1.12.4",
        "5:1 network cannot be empty; give a mapping of cidr",
        "6:1 nodes.controlplane is missing; give a mapping of cores",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}

#[test]
fn a_mistyped_key_is_not_also_missing() {
    let text = MINIMAL.replace("version: 1.10", "version: 1.10.0").replace("  storage", "  storages");
    assert_eq!(wrong(&text), ["4:3 proxmox.storages is no key of a profile; did you mean storage?"]);
}

#[test]
fn a_secret_has_one_place() {
    let text = |token: &str| {
        MINIMAL
            .replace("version: 1.10", "version: 1.10.0")
            .replace("  storage", &format!("  token: {token}\n  storage"))
    };
    assert_eq!(wrong(&text("{ pass: a }")), Vec::<String>::new());
    assert_eq!(wrong(&text("{ pass: a, env: B }")), ["4:3 proxmox.token has pass and env together; keep one of them"]);
    assert_eq!(wrong(&text("{}")), ["4:3 proxmox.token is empty; give one of pass, keyring, env, file, command"]);
    assert_eq!(
        wrong(&text("hunter2")),
        ["4:10 proxmox.token cannot be the text \"hunter2\"; give a mapping of pass, keyring, env, file, command"]
    );
}

#[test]
fn an_optional_key_without_a_value_is_absent() {
    let text = MINIMAL
        .replace("version: 1.10", "version: 1.12.4\n  vip:\n  secrets: null")
        .replace("  storage", "  vlan:\n  storage");
    assert_eq!(wrong(&text), Vec::<String>::new());
}

#[test]
fn a_version_is_read_as_it_is_written() {
    let tree = Tree::read("a: 1.10\nb: 0x1F\nc: true\nd: '1.10'\n").expect("it is YAML");
    let Node::Map(entries) = &tree.node else { panic!("it is a mapping") };
    let scalars: Vec<(Kind, &str)> = entries
        .iter()
        .filter_map(|(_, _, value)| match &value.node {
            Node::Scalar(kind, text) => Some((*kind, text.as_str())),
            _ => None,
        })
        .collect();
    let expected = [(Kind::Float, "1.10"), (Kind::Integer, "0x1F"), (Kind::Bool, "true"), (Kind::Text, "1.10")];
    assert_eq!(scalars, expected);
}

#[test]
fn broken_yaml_has_a_place_too() {
    for (text, line) in [("a: [1\nb: 2\n", 2), ("a: 1\na: 2\n", 2), ("a: b: c\n", 1)] {
        let problem = Tree::read(text).expect_err("it is no YAML");
        assert_eq!(problem.line, Some(line), "{text:?}: {problem:?}");
        assert!(!problem.message.contains(" at line "), "the place is told twice: {problem}");
    }
    assert_eq!(wrong("").len(), 1);
    assert_eq!(wrong("- a\n").len(), 1);
}

/// The walker ignores a keyword that it does not know, so a new one in the schema must be noticed here.
#[test]
fn the_walker_knows_every_keyword_of_the_schema() {
    fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            found.insert(key.clone());
            match key.as_str() {
                "properties" => value.as_object().into_iter().flatten().for_each(|(_, inner)| keywords(inner, found)),
                "items" => keywords(value, found),
                _ => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    keywords(&schema(), &mut found);
    let known = [
        "$schema",
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxProperties",
        "maximum",
        "minItems",
        "minProperties",
        "minimum",
        "properties",
        "required",
        "title",
        "type",
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), known);
}
