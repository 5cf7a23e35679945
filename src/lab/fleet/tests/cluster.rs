use super::*;
use crate::lab::fleet::{BootstrapRefusal, Port, Wipe};

impl Bench {
    fn install(&mut self, vmid: u32, config: &Config) {
        self.boot(vm(vmid, &image("v1.12.4", "nocloud", true)));
        self.apply(vmid, &config.applied());
    }

    fn bootstrap(&mut self, vmid: u32) -> Result<(), BootstrapRefusal> {
        let result = self.fleet.bootstrap(vmid).map(drop);
        self.settle();
        result
    }
}

#[test]
fn a_control_plane_waits_for_its_bootstrap_and_then_becomes_ready() {
    let mut bench = Bench::new();
    bench.install(101, &Config::control_plane());
    assert_eq!(*bench.stage(101), Stage::Booting);
    bench.bootstrap(101).expect("it is time");
    assert_eq!(*bench.stage(101), Stage::Running);
    assert!(bench.system(101).node_ready);
    assert_eq!(bench.bootstrap(101), Err(BootstrapRefusal::HasData));
    let ports: Vec<Port> = bench.fleet.listeners().iter().map(|listener| listener.port).collect();
    assert_eq!(ports, [Port::Talos, Port::Kubernetes]);
}

#[test]
fn other_control_planes_join_without_being_asked() {
    let mut bench = Bench::new();
    for vmid in [101, 102, 103] {
        bench.install(vmid, &Config::control_plane());
    }
    bench.bootstrap(102).expect("it is time");
    let (id, _) = bench.fleet.etcd_of(102).expect("it has etcd");
    assert_eq!(bench.fleet.etcd(id).expect("it is known").members.len(), 3);
    for vmid in [101, 102, 103] {
        assert_eq!(*bench.stage(vmid), Stage::Running);
        assert_eq!(bench.fleet.etcd_of(vmid).map(|(id, _)| id), Some(id));
    }
    assert_eq!(bench.bootstrap(101), Err(BootstrapRefusal::HasData), "it joined, so it has data");
}

#[test]
fn two_bootstraps_make_two_clusters() {
    let mut bench = Bench::on(&Site { clock: Clock::Realistic { speed: 1.0 }, ..Site::default() });
    for vmid in [101, 102] {
        bench.boot(vm(vmid, &image("v1.12.4", "nocloud", true)));
        bench.pass(30);
        bench.apply(vmid, &Config::control_plane().applied());
    }
    bench.pass(100);
    bench.pass(100);
    bench.pass(100);
    bench.bootstrap(101).expect("it is time");
    bench.bootstrap(102).expect("nothing stops it");
    bench.pass(300);
    let ids = [101, 102].map(|vmid| bench.fleet.etcd_of(vmid).expect("it has etcd").0);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(bench.fleet.etcds().map(|(_, etcd)| etcd.members.len()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_foreign_configuration_does_not_join() {
    let mut bench = Bench::new();
    bench.install(101, &Config::control_plane());
    bench.install(102, &Config { ca: "B", ..Config::control_plane() });
    bench.bootstrap(101).expect("it is time");
    assert_eq!(*bench.stage(102), Stage::Booting);
    assert_eq!(bench.fleet.etcd_of(102), None);
}

#[test]
fn a_worker_answers_only_after_trustd_has_signed() {
    let mut bench = Bench::new();
    bench.install(201, &Config::worker());
    assert_eq!((bench.stage(201), bench.machine(201).api()), (&Stage::Booting, None));
    bench.install(101, &Config::control_plane());
    assert_eq!(bench.machine(201).api(), Some(Port::Talos), "trustd runs before etcd does");
    assert_eq!(bench.bootstrap(201), Err(BootstrapRefusal::Worker));
    bench.bootstrap(101).expect("it is time");
    assert!(bench.system(201).node_ready);
}

#[test]
fn behind_a_shared_address_a_worker_waits_for_etcd() {
    let network = "{interfaces: [{deviceSelector: {physical: true}, dhcp: true, vip: {ip: 10.83.0.100}}]}";
    let endpoint = || "https://10.83.0.100:6443".to_owned();
    let mut bench = Bench::new();
    bench.install(201, &Config { endpoint: endpoint(), ..Config::worker() });
    for vmid in [101, 102, 103] {
        bench.install(vmid, &Config { network: network.into(), endpoint: endpoint(), ..Config::control_plane() });
    }
    assert_eq!(bench.machine(201).api(), None);
    bench.bootstrap(101).expect("it is time");
    assert_eq!(bench.machine(201).api(), Some(Port::Talos));
    let vip = Ipv4Addr::new(10, 83, 0, 100);
    let holder = |bench: &Bench| {
        let mut ports: Vec<_> = bench.fleet.listeners().into_iter().filter(|listener| listener.ip == vip).collect();
        ports.dedup_by_key(|listener| listener.vmid);
        ports.first().map(|listener| listener.vmid)
    };
    assert_eq!(holder(&bench), Some(101));
    // Two of three are a quorum: the address moves. One is none: it goes.
    bench.fleet.power_off(101);
    bench.settle();
    assert_eq!(holder(&bench), Some(102));
    bench.fleet.power_off(102);
    bench.settle();
    assert_eq!(holder(&bench), None);
    assert!(!bench.system(103).etcd_healthy && !bench.system(201).node_ready);
}

#[test]
fn without_a_cni_nodes_stay_not_ready() {
    let mut bench = Bench::new();
    bench.install(101, &Config { cni: "none", ..Config::control_plane() });
    bench.bootstrap(101).expect("it is time");
    assert_eq!(*bench.stage(101), Stage::Running);
    assert!(!bench.system(101).node_ready);
    let (id, _) = bench.fleet.etcd_of(101).expect("it has etcd");
    assert_eq!(bench.fleet.etcd(id).expect("it is known").nodes.len(), 1, "it registers all the same");
}

#[test]
fn bootstrap_is_refused_while_installing() {
    let mut bench = Bench::on(&Site { clock: Clock::Realistic { speed: 1.0 }, ..Site::default() });
    bench.boot(vm(101, &image("v1.13.0", "nocloud", true)));
    bench.pass(30);
    let installer = installer("nocloud-installer-secureboot", "v1.13.0");
    bench.apply(101, &Config { installer, ..Config::control_plane() }.applied());
    assert_eq!(bench.bootstrap(101), Err(BootstrapRefusal::NotYet));
}

#[test]
fn etcd_data_survives_a_reboot_and_not_a_reset() {
    let mut bench = Bench::new();
    bench.install(101, &Config::control_plane());
    bench.bootstrap(101).expect("it is time");
    bench.fleet.reboot(101, true);
    bench.settle();
    assert_eq!(*bench.stage(101), Stage::Running);
    bench.fleet.reset_system(101, Wipe { system: true, state: false, ephemeral: false, meta: false }, true);
    bench.settle();
    assert_eq!(*bench.stage(101), Stage::Maintenance);
    bench.fleet.reset_system(101, Wipe { system: true, state: false, ephemeral: false, meta: false }, false);
    bench.settle();
    assert!(!bench.fleet.is_powered(101));
}

#[test]
fn a_member_that_left_stays_away_until_its_next_boot() {
    let mut bench = Bench::new();
    for vmid in [101, 102, 103] {
        bench.install(vmid, &Config::control_plane());
    }
    bench.bootstrap(101).expect("it is time");
    let (id, member) = bench.fleet.etcd_of(103).expect("it has etcd");
    assert!(bench.fleet.remove_member(id, member));
    bench.settle();
    assert_eq!((bench.fleet.etcd_of(103), bench.system(103).etcd_up), (None, false));
    assert_eq!(bench.fleet.etcd(id).expect("it is known").members.len(), 2);
    bench.fleet.reboot(103, false);
    bench.settle();
    assert!(bench.fleet.etcd_of(103).is_some());
}

#[test]
fn half_of_the_members_are_no_quorum() {
    let mut bench = Bench::new();
    for vmid in [101, 102] {
        bench.install(vmid, &Config::control_plane());
    }
    bench.bootstrap(101).expect("it is time");
    assert!(bench.system(101).etcd_healthy && bench.system(102).etcd_healthy);
    bench.fleet.power_off(101);
    bench.settle();
    assert!(!bench.system(102).etcd_healthy);
}
