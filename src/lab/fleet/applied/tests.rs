use super::*;

fn links(text: &str) -> Vec<Link> {
    Applied::parse(text).expect("it is YAML").links
}

#[test]
fn both_network_forms_are_read() {
    let old = "version: v1alpha1
machine:
  network:
    interfaces:
      - deviceSelector: {hardwareAddr: 'bc:24:11:*'}
        addresses: [10.0.0.5/24]
        vip: {ip: 10.0.0.100}
      - {interface: eth1, dhcp: true}
";
    let applied = Applied::parse(old).expect("it is YAML");
    assert_eq!(applied.vips, ["10.0.0.100".parse::<Ipv4Addr>().expect("an address")]);
    assert!(!applied.network_documents && applied.complete);
    assert_eq!(applied.links[0].addresses, [(Ipv4Addr::new(10, 0, 0, 5), 24)]);
    assert!(applied.links[0].selector.matches("eth0", "bc:24:11:62:36:01"));
    assert!(!applied.links[0].selector.matches("eth0", "52:54:00:62:36:01"));
    assert!(applied.links[1].dhcp);

    let new = "apiVersion: v1alpha1
kind: LinkAliasConfig
name: net0
selector: {match: 'mac(link.hardware_addr) == \"bc:24:11:62:36:01\"'}
---
apiVersion: v1alpha1
kind: LinkConfig
name: net0
addresses: [{address: 10.0.0.5/24}]
---
apiVersion: v1alpha1
kind: Layer2VIPConfig
name: 10.0.0.100
link: net0
";
    let applied = Applied::parse(new).expect("it is YAML");
    assert!(applied.network_documents && !applied.complete);
    assert_eq!(applied.vips.len(), 1);
    assert_eq!(applied.links[0].selector, Selector::Mac("bc:24:11:62:36:01".into()));
}

#[test]
fn a_mac_in_upper_case_selects_nothing() {
    let links = links(
        "{version: v1alpha1, machine: {network: {interfaces: [{deviceSelector: {hardwareAddr: 'BC:24:11:62:36:01'}, addresses: [10.0.0.5/24]}]}}}",
    );
    assert!(!links[0].selector.matches("eth0", "bc:24:11:62:36:01"));
}

#[test]
fn install_is_found_in_both_forms() {
    let old =
        Applied::parse("{version: v1alpha1, machine: {install: {disk: /dev/sda, image: 'f/nocloud-installer/x:v1'}}}")
            .expect("it is YAML");
    assert_eq!(old.install.expect("install").disk.as_deref(), Some("/dev/sda"));
    let new = Applied::parse("{kind: UnattendedInstallConfig, apiVersion: v1alpha1, installer: {}, provisioning: {diskSelector: {match: 'disk.dev_path == \"/dev/vda\"'}}}")
        .expect("it is YAML")
        .install
        .expect("install");
    assert_eq!((new.disk.as_deref(), new.image, new.unattended), (Some("/dev/vda"), None, true));
}

#[test]
fn nothing_at_all_is_refused() {
    assert_eq!(Applied::parse("").expect_err("empty").to_string(), "config not found");
    assert!(Applied::parse("a: [").is_err());
}
