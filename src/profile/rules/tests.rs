//! One test for each rule: the smallest change to a sound profile that breaks it, and what is said about it.

use std::path::Path;

use crate::profile::{Problem, Profile, ProfileError, parse};

const SOUND: &str = "\
name: site
proxmox:
  endpoints: [https://pve1:8006]
  token: { pass: site/token }
  storage: { image: local, disk: local-lvm }
talos:
  version: 1.12.4
  kubernetes_version: v1.35.0
  vip: { ip: 192.168.22.100 }
network:
  cidr: 192.168.20.0/22
  gateway: 192.168.23.254
nodes:
  controlplane:
    assignments:
      - { name: cp-1, ip: 192.168.22.101, vmid: 7001, mac: 'bc:24:11:00:00:01' }
      - { name: cp-2, ip: 192.168.22.102 }
      - { name: cp-3, ip: 192.168.22.103 }
  workers:
    assignments:
      - { name: wk-1, ip: 192.168.22.111 }
";

fn read(text: &str) -> Result<Profile, ProfileError> {
    parse(text, Path::new("profiles/site.yaml"))
}

/// The problems of the sound profile with each `from` replaced by its `to`.
fn broken(changes: &[(&str, &str)]) -> Vec<Problem> {
    let mut text = SOUND.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from:?} is not in the sound profile");
        text = text.replacen(from, to, 1);
    }
    read(&text).expect_err("a rule was broken").problems().to_vec()
}

/// Breaks one thing, and expects one problem at `path` whose text holds every part.
#[track_caller]
fn rule(from: &str, to: &str, path: &str, parts: &[&str]) {
    let problems = broken(&[(from, to)]);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let problem = &problems[0];
    assert_eq!(problem.path, path);
    assert!(problem.line.is_some() && !problem.fix.is_empty(), "{problem:?}");
    let text = problem.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[test]
fn the_sound_profile_is_sound_and_has_every_default() {
    let profile = read(SOUND).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(profile.talos.kubernetes_version, "1.35.0");
    assert_eq!((profile.proxmox.cpu.as_str(), profile.proxmox.scsihw.as_str()), ("x86-64-v2-AES", "virtio-scsi-pci"));
    assert_eq!((profile.talos.platform.as_str(), profile.talos.install_disk.as_str()), ("nocloud", "/dev/sda"));
    assert_eq!(profile.network.api_endpoint, "192.168.22.100");
    assert_eq!(
        (profile.machines[0].cores, profile.machines[0].memory_mib, profile.machines[0].disk_gib),
        (4, 4096, 32)
    );
    assert_eq!(
        (profile.machines[3].cores, profile.machines[3].memory_mib, profile.machines[3].disk_gib),
        (2, 2048, 32)
    );
    assert_eq!(profile.deadlines, crate::profile::Deadlines::default());
    assert_eq!(profile.warnings, Vec::<String>::new());
}

#[test]
fn the_name_is_the_files() {
    rule("name: site", "name: side", "name", &["is side", "called site", "side.yaml"]);
}

#[test]
fn the_gateway_is_inside_the_network() {
    rule("192.168.23.254", "10.0.0.1", "network.gateway", &["10.0.0.1 is outside network.cidr 192.168.20.0/22"]);
    rule("192.168.23.254", "192.168.20.0", "network.gateway", &["network or broadcast"]);
}

#[test]
fn the_vip_is_a_free_host_address_of_the_network() {
    for (vip, reason) in [
        ("10.0.0.9", "outside network.cidr"),
        ("192.168.20.0", "network address"),
        ("192.168.23.255", "broadcast address"),
        ("192.168.23.254", "network.gateway"),
        ("192.168.22.111", "also the address of wk-1"),
    ] {
        rule("vip: { ip: 192.168.22.100 }", &format!("vip: {{ ip: {vip} }}"), "talos.vip.ip", &[vip, reason]);
    }
}

#[test]
fn the_endpoint_agrees_with_the_vip() {
    let with = |endpoint: &str| format!("gateway: 192.168.23.254\n  api_endpoint: {endpoint}");
    let both = ["192.168.22.99", "192.168.22.100"];
    rule("gateway: 192.168.23.254", &with("192.168.22.99"), "network.api_endpoint", &both);
    let name = SOUND.replace("gateway: 192.168.23.254", &with("k8s.example.net"));
    assert_eq!(read(&name).expect("a name may stand for the VIP").network.api_endpoint, "k8s.example.net");
}

#[test]
fn the_endpoint_is_no_worker() {
    let problems = broken(&[
        ("  vip: { ip: 192.168.22.100 }\n", ""),
        ("gateway: 192.168.23.254", "gateway: 192.168.23.254\n  api_endpoint: 192.168.22.111"),
    ]);
    assert!(problems.len() == 1 && problems[0].message.contains("worker wk-1"), "{problems:?}");
}

#[test]
fn one_control_plane_as_the_endpoint_of_three_is_a_warning() {
    let profile = read(&SOUND.replace("  vip: { ip: 192.168.22.100 }\n", "")).expect("it is allowed");
    assert_eq!(profile.network.api_endpoint, "192.168.22.101");
    assert!(profile.warnings.len() == 1 && profile.warnings[0].contains("cp-1 alone"), "{:?}", profile.warnings);
}

#[test]
fn pods_services_and_machines_have_networks_of_their_own() {
    let with = |more: &str| format!("gateway: 192.168.23.254\n  {more}");
    let (from, parts) = ("gateway: 192.168.23.254", ["overlaps network.cidr 192.168.20.0/22"]);
    rule(from, &with("pod_cidr: 192.168.0.0/16"), "network.pod_cidr", &parts);
    rule(from, &with("service_cidr: 192.168.21.0/24"), "network.service_cidr", &parts);
    rule(from, &with("pod_cidr: 10.100.0.0/16"), "network.service_cidr", &["overlaps network.pod_cidr 10.100.0.0/16"]);
}

#[test]
fn the_network_is_neither_too_small_nor_too_large_to_sweep() {
    let small = broken(&[("cidr: 192.168.20.0/22", "cidr: 192.168.22.100/31")]);
    assert!(small.iter().any(|problem| problem.message == "192.168.22.100/31 is a /31"), "{small:?}");
    rule("cidr: 192.168.20.0/22", "cidr: 192.0.0.0/8", "network.cidr", &["192.0.0.0/8", "too many addresses", "/16"]);
    let fixed = SOUND.replace("cidr: 192.168.20.0/22", "cidr: 192.0.0.0/8\n  mode: static");
    assert!(read(&fixed).is_ok(), "nothing is swept with static addresses");
}

#[test]
fn control_planes_are_an_odd_number() {
    let two = "      - { name: cp-3, ip: 192.168.22.103 }\n";
    rule(two, "", "nodes.controlplane.assignments", &["2 control planes", "majority of 2", "1 or 3"]);
    let none = "\
    assignments:
      - { name: cp-1, ip: 192.168.22.101, vmid: 7001, mac: 'bc:24:11:00:00:01' }
      - { name: cp-2, ip: 192.168.22.102 }
      - { name: cp-3, ip: 192.168.22.103 }
";
    rule(none, "    assignments: []\n", "nodes.controlplane.assignments", &["at least one control plane"]);
}

#[test]
fn names_addresses_vmids_and_macs_are_unique() {
    let wk = "name: wk-1, ip: 192.168.22.111";
    let path = |field| format!("nodes.workers.assignments[0].{field}");
    rule(
        wk,
        "name: cp-2, ip: 192.168.22.111",
        &path("name"),
        &["cp-2 is taken by cp-2 (nodes.controlplane.assignments[1])"],
    );
    rule(wk, "name: wk-1, ip: 192.168.22.102", &path("ip"), &["192.168.22.102 is taken by cp-2"]);
    rule(wk, &format!("{wk}, vmid: 7001"), &path("vmid"), &["7001 is taken by cp-1"]);
    rule(wk, &format!("{wk}, mac: 'BC:24:11:00:00:01'"), &path("mac"), &["BC:24:11:00:00:01 is taken by cp-1"]);
}

#[test]
fn addresses_are_host_addresses_of_the_network() {
    for (ip, reason) in [
        ("192.168.24.1", "outside network.cidr 192.168.20.0/22"),
        ("192.168.20.0", "network address"),
        ("192.168.23.255", "broadcast address"),
        ("192.168.23.254", "is network.gateway"),
    ] {
        rule("192.168.22.111", ip, "nodes.workers.assignments[0].ip", &[ip, reason, "wk-1"]);
    }
}

#[test]
fn a_mac_is_unicast() {
    let path = "nodes.controlplane.assignments[0].mac";
    rule("bc:24:11:00:00:01", "01:00:5e:00:00:01", path, &["01:00:5E:00:00:01", "unicast"]);
    rule("bc:24:11:00:00:01", "00:00:00:00:00:00", path, &["unicast"]);
}

#[test]
fn memory_and_disk_are_above_talos_minimum_and_one_line_is_one_problem() {
    let at = |field: &str| format!("  controlplane:\n    {field}");
    let group = "  controlplane:";
    rule(group, &at("memory: 1G"), "nodes.controlplane.memory", &["1024 MiB", "controlplane", "2048 MiB", "2Gi"]);
    rule(group, &at("disk: 9G"), "nodes.controlplane.disk", &["9 GiB", "10 GiB", "10G"]);
    rule("ip: 192.168.22.111", "ip: 192.168.22.111, memory: 512", "nodes.workers.assignments[0].memory", &["512 MiB"]);
    rule(group, &at("disk: 64"), "nodes.controlplane.disk", &["64 MiB", "no whole number of GiB", "write 64G"]);
    rule(group, &at("disk: 20000"), "nodes.controlplane.disk", &["20000 MiB", "write 20G"]);
}

#[test]
fn one_core_for_a_control_plane_is_a_warning() {
    let profile = read(&SOUND.replace("name: cp-1,", "name: cp-1, cores: 1,")).expect("it is allowed");
    assert!(profile.warnings.len() == 1 && profile.warnings[0].contains("cp-1 has one core"), "{:?}", profile.warnings);
}

#[test]
fn the_cpu_type_boots_talos() {
    for cpu in ["kvm64", "qemu64", "x86-64-v1", "Penryn", "Opteron_G3", "core2duo"] {
        rule("  endpoints", &format!("  cpu: {cpu}\n  endpoints"), "proxmox.cpu", &[cpu, "x86-64-v2"]);
    }
    for cpu in ["host", "x86-64-v3", "Nehalem", "custom-mine"] {
        assert!(
            read(&SOUND.replace("  endpoints", &format!("  cpu: {cpu}\n  endpoints"))).is_ok(),
            "{cpu} was refused"
        );
    }
}

#[test]
fn kernel_arguments_belong_in_the_schematic() {
    let patch = "{ machine: { install: { extraKernelArgs: [a=1, b] } } }";
    let parts = ["a=1 b", "profiles/site.yaml:9", "talos.factory.kernel_args"];
    rule("  vip:", &format!("  patches: {{ all: [{patch}] }}\n  vip:"), "talos.patches.all[0]", &parts);
    let own = "nodes.workers.assignments[0].patches[0]";
    rule("ip: 192.168.22.111", &format!("ip: 192.168.22.111, patches: [{patch}]"), own, &["a=1 b"]);
    let second = "\"machine: {}\\n---\\nmachine: { install: { extraKernelArgs: [a=1] } }\\n\"";
    rule("  vip:", &format!("  patches: {{ worker: [{second}] }}\n  vip:"), "talos.patches.worker[0]", &["a=1"]);
}

#[test]
fn the_image_is_described_in_one_way() {
    let with = |factory: &str| format!("  factory: {{ {factory} }}\n  vip:");
    let id = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515";
    let both = with(&format!("schematic_id: {id}, kernel_args: [a]"));
    rule("  vip:", &both, "talos.factory", &["schematic_id and kernel_args", "keep one"]);
    rule("  vip:", &with("kernel_args: [a b]"), "talos.factory.kernel_args[0]", &["\"a b\"", "one argument per item"]);
    rule("  vip:", &with("extensions: [gvisor]"), "talos.factory.extensions[0]", &["siderolabs/gvisor"]);
}

#[test]
fn the_lab_and_real_endpoints_do_not_mix_and_only_the_lab_brings_a_token() {
    rule("[https://pve1:8006]", "[lab, https://pve1:8006]", "proxmox.endpoints", &["mixes lab"]);
    rule("  token: { pass: site/token }\n", "", "proxmox.token", &["is missing", "keyring"]);
    assert!(read(&SOUND.replace("https://pve1:8006", "lab").replace("  token: { pass: site/token }\n", "")).is_ok());
    rule("{ pass: site/token }", "{ pass: '' }", "proxmox.token", &["names nothing"]);
}

#[test]
fn an_interface_of_the_vip_is_noted_and_not_used() {
    let profile = read(&SOUND.replace("ip: 192.168.22.100", "ip: 192.168.22.100, interface: ens18")).expect("allowed");
    assert!(profile.warnings.len() == 1 && profile.warnings[0].contains("ens18"), "{:?}", profile.warnings);
}

#[test]
fn all_broken_rules_are_told_at_once_in_the_order_of_the_file() {
    let problems = broken(&[
        ("name: site", "name: side"),
        ("192.168.23.254", "10.0.0.1"),
        ("192.168.22.111", "192.168.22.101"),
        ("  endpoints", "  cpu: kvm64\n  endpoints"),
    ]);
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["name", "proxmox.cpu", "network.gateway", "nodes.workers.assignments[0].ip"]);
}

#[test]
fn a_problem_reads_as_place_field_value_reason_and_fix() {
    let error = read(&SOUND.replace("192.168.23.254", "10.0.0.1")).expect_err("a rule was broken").to_string();
    assert_eq!(
        error,
        "profiles/site.yaml:12:12: network.gateway 10.0.0.1 is outside network.cidr 192.168.20.0/22; \
         machines could not reach it: choose an address inside, or correct the cidr"
    );
}

/// A file damaged in any one line is read or refused with a reason, and never more than that.
#[test]
fn no_damage_to_a_line_is_answered_with_a_panic_or_with_silence() {
    const JUNK: [&str; 14] = [
        "",
        "[",
        "{",
        "{}",
        "[]",
        "null",
        "-1",
        "99999999999999999999",
        "1e9",
        "é\u{0}",
        "*nobody",
        "!!binary x",
        "&a [*a]",
        "? a\n  : b",
    ];
    let lines: Vec<&str> = SOUND.lines().collect();
    let mut refused = 0;
    for damaged in 0..lines.len() {
        for junk in JUNK {
            let (key, _) = lines[damaged].split_once(':').unwrap_or((lines[damaged], ""));
            let mut text = lines.clone();
            let line = format!("{key}: {junk}");
            text[damaged] = &line;
            if let Err(error) = read(&text.join("\n")) {
                assert!(!error.problems().is_empty() && !error.to_string().is_empty(), "{line}");
                refused += 1;
            }
        }
    }
    assert!(refused > lines.len() * JUNK.len() / 2, "only {refused} were refused");
}

#[test]
fn anchors_aliases_and_merges_are_resolved() {
    let text = SOUND
        .replace("name: cp-1,", "name: cp-1, <<: &big { cores: 8, memory: 16Gi },")
        .replace("name: cp-2,", "name: cp-2, <<: *big,");
    let profile = read(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((profile.machines[1].cores, profile.machines[1].memory_mib), (8, 16384));
}
