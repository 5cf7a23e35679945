use super::*;
use crate::lab::fleet::{Port, link_name};

fn maintenance(change: impl Fn(&mut Hardware)) -> (Bench, u32) {
    let mut bench = Bench::new();
    let mut hardware = vm(101, &image("v1.12.4", "nocloud", true));
    change(&mut hardware);
    let vmid = bench.boot(hardware);
    (bench, vmid)
}

#[test]
fn a_lease_is_in_the_network_and_changes_at_each_boot() {
    let site = Site {
        clock: Clock::Instant,
        network: crate::lab::site::Network {
            cidr: "10.83.0.0/28".parse().expect("a network"),
            vlan: None,
            dhcp: true,
            reserved: (2..10).map(|host| Ipv4Addr::new(10, 83, 0, host)).collect(),
            seed: 7,
        },
        ..Site::default()
    };
    let mut bench = Bench::on(&site);
    let hardware = vm(101, &image("v1.12.4", "nocloud", true));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let vmid = bench.boot(hardware.clone());
        let ip = bench.ip(vmid);
        assert!(site.network.cidr.contains(&ip) && !site.network.reserved.contains(&ip), "{ip}");
        assert!(ip.octets()[3] < 14, "{ip} belongs to the router");
        seen.insert(ip);
        bench.fleet.power_off(vmid);
    }
    assert!(seen.len() > 1, "always the same lease: {seen:?}");
}

#[test]
fn a_card_that_is_elsewhere_gets_no_lease() {
    let lost: [fn(&mut Hardware); 4] = [
        |hardware| hardware.nics.clear(),
        |hardware| hardware.nics[0].vlan = Some(7),
        |hardware| hardware.nics[0].bridge = "vmbr9".into(),
        |hardware| hardware.nics[0].link_up = false,
    ];
    for change in lost {
        let (bench, vmid) = maintenance(change);
        assert_eq!(*bench.stage(vmid), Stage::Maintenance);
        assert!(bench.system(vmid).addresses.is_empty() && bench.fleet.listeners().is_empty());
    }
}

#[test]
fn the_seed_drive_gives_the_address_on_nocloud_alone() {
    let seed = |hardware: &mut Hardware| {
        let network = "version: 1\nconfig:\n- {type: physical, name: eth0, mac_address: 'bc:24:11:00:00:65', subnets: [{type: static, address: 10.83.0.77/24}]}\n";
        let files = serde_json::json!({"network-config": network, "user-data": "#cloud-config\nhostname: cp-1\n"});
        let data = format!("talos-lab-cidata {files}\n").into();
        hardware.drives.push(Drive { device: "ide0".into(), medium: Medium::Cdrom { volid: "seed".into(), data } });
    };
    let (bench, vmid) = maintenance(seed);
    assert_eq!((bench.ip(vmid), bench.system(vmid).hostname.as_str()), (Ipv4Addr::new(10, 83, 0, 77), "cp-1"));

    let mut bench = Bench::new();
    let mut hardware = vm(101, &image("v1.12.4", "metal", true));
    seed(&mut hardware);
    let vmid = bench.boot(hardware);
    assert_ne!(bench.ip(vmid), Ipv4Addr::new(10, 83, 0, 77));
}

#[test]
fn a_static_address_is_taken_by_mac_and_survives_reboots() {
    let (mut bench, vmid) = maintenance(|_| {});
    let network =
        "{interfaces: [{deviceSelector: {hardwareAddr: 'bc:24:11:00:00:65'}, addresses: [10.83.0.5/24]}]}".into();
    bench.apply(vmid, &Config { network, ..Config::control_plane() }.applied());
    assert_eq!(*bench.stage(vmid), Stage::Booting);
    assert_eq!(bench.ip(vmid), Ipv4Addr::new(10, 83, 0, 5));
    bench.fleet.reboot(vmid, false);
    bench.settle();
    assert_eq!(bench.ip(vmid), Ipv4Addr::new(10, 83, 0, 5));
    let listeners = bench.fleet.listeners();
    assert_eq!((listeners[0].ip, listeners[0].port), (Ipv4Addr::new(10, 83, 0, 5), Port::Talos));
}

#[test]
fn a_selector_that_matches_nothing_leaves_dhcp() {
    for selector in ["deviceSelector: {hardwareAddr: 'BC:24:11:00:00:65'}", "interface: ens18"] {
        let (mut bench, vmid) = maintenance(|_| {});
        let network = format!("{{interfaces: [{{{selector}, addresses: [10.83.0.5/24]}}]}}");
        bench.apply(vmid, &Config { network, ..Config::control_plane() }.applied());
        assert!(bench.system(vmid).addresses[0].leased, "{selector}");
    }
}

#[test]
fn a_network_document_that_matches_nothing_leaves_no_address_at_all() {
    let (mut bench, vmid) = maintenance(|_| {});
    let base = Config::control_plane().applied();
    let text = format!(
        "{}---\napiVersion: v1alpha1\nkind: LinkConfig\nname: ens18\naddresses: [{{address: 10.83.0.5/24}}]\n",
        base.text
    );
    bench.apply(vmid, &Arc::new(Applied::parse(&text).expect("it parses")));
    assert!(bench.system(vmid).addresses.is_empty());
}

#[test]
fn the_wrong_installer_platform_renames_the_card_after_the_reboot() {
    let (mut bench, vmid) = maintenance(|_| {});
    let network = "{interfaces: [{interface: eth0, addresses: [10.83.0.5/24]}]}".into();
    let installer = installer("metal-installer-secureboot", "v1.12.4");
    bench.apply(vmid, &Config { installer, network, ..Config::control_plane() }.applied());
    assert_eq!(bench.system(vmid).image.platform, "metal");
    assert_eq!(link_name(bench.system(vmid), 0), "ens18");
    assert!(bench.system(vmid).addresses[0].leased, "the static address went with the name of the card");
}

#[test]
fn of_two_machines_with_one_address_the_first_answers() {
    let mut bench = Bench::new();
    let network = || "{interfaces: [{deviceSelector: {physical: true}, addresses: [10.83.0.5/24]}]}".into();
    for vmid in [101, 102] {
        bench.boot(vm(vmid, &image("v1.12.4", "nocloud", true)));
        bench.apply(vmid, &Config { network: network(), ..Config::control_plane() }.applied());
    }
    let owners: Vec<u32> = bench.fleet.listeners().iter().map(|listener| listener.vmid).collect();
    assert_eq!(owners, [101]);
    bench.fleet.power_off(101);
    let owners: Vec<u32> = bench.fleet.listeners().iter().map(|listener| listener.vmid).collect();
    assert_eq!(owners, [102]);
}

#[test]
fn the_guest_agent_needs_its_channel_and_its_extension() {
    let (bench, vmid) = maintenance(|_| {});
    let interfaces = bench.fleet.agent_interfaces(vmid).expect("the agent answers");
    assert_eq!(interfaces[1]["hardware-address"], "bc:24:11:00:00:65");
    assert_eq!(interfaces[1]["ip-addresses"][0]["ip-address"], bench.ip(vmid).to_string());
    assert_eq!(interfaces[1]["ip-addresses"][1]["ip-address"], "fe80::be24:11ff:fe00:65");
    let (bench, vmid) = maintenance(|hardware| hardware.agent = false);
    assert_eq!(bench.fleet.agent_interfaces(vmid), None);
}

#[test]
fn the_seed_drive_may_carry_the_configuration() {
    let with = |user_data: &str| {
        let files = serde_json::json!({"user-data": user_data});
        let data = format!("talos-lab-cidata {files}\n").into();
        let mut hardware = vm(101, &image("v1.12.4", "nocloud", true));
        hardware.drives.push(Drive { device: "ide0".into(), medium: Medium::Cdrom { volid: "seed".into(), data } });
        let mut bench = Bench::new();
        bench.boot(hardware);
        bench
    };
    let whole = with(&Config::control_plane().applied().text);
    assert_eq!(*whole.stage(101), Stage::Booting, "it installed itself and nobody was asked");
    assert!(whole.system(101).disk.is_some());
    let part = with("apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: by-part\n");
    assert_eq!((part.stage(101), part.system(101).hostname.as_str()), (&Stage::Maintenance, "by-part"));
    for bad in ["", "a: ["] {
        let bench = with(bad);
        assert!(matches!(bench.stage(101), Stage::Dead(_)), "{bad:?}: {:?}", bench.stage(101));
        assert!(bench.fleet.listeners().is_empty());
    }
}
