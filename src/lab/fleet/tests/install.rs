use super::*;
use crate::lab::clock::physics;
use crate::lab::fleet::Port;

fn maintenance(version: &str) -> (Bench, u32) {
    let mut bench = Bench::new();
    let vmid = bench.boot(vm(101, &image(version, "nocloud", true)));
    (bench, vmid)
}

fn failure(config: &Config) -> String {
    let (mut bench, vmid) = maintenance("v1.12.4");
    bench.apply(vmid, &config.applied());
    match bench.stage(vmid) {
        Stage::InstallFailed(why) => why.clone(),
        other => panic!("the machine is {}", other.word()),
    }
}

#[test]
fn an_installer_that_does_not_fit_fails_in_its_own_words() {
    let with = |installer: String| Config { installer, ..Config::control_plane() };
    for (config, why) in [
        (with(installer("nocloud-installer", "v1.12.4")), "vmlinuz.efi.signed: no such file"),
        (with(installer("nocloud-installer-secureboot", "v1.12.99")), "is not available"),
        (with(format!("{HOST}/nocloud-installer-secureboot/{}:v1.12.4", "0".repeat(64))), "not found"),
        (with(format!("nowhere.example/nocloud-installer-secureboot/{VANILLA}:v1.12.4")), "no such host"),
        (Config { disk: "/dev/vda", ..Config::control_plane() }, "/dev/vda: no such file"),
    ] {
        let text = failure(&config);
        assert!(text.contains(why), "{text:?} does not say {why:?}");
    }
}

#[test]
fn disks_are_named_by_their_bus() {
    let mut bench = Bench::new();
    let mut hardware = vm(101, &image("v1.12.4", "nocloud", true));
    hardware.drives[0].device = "virtio0".into();
    hardware.boot[0] = "virtio0".into();
    let vmid = bench.boot(hardware);
    bench.apply(vmid, &Config { disk: "/dev/vda", ..Config::control_plane() }.applied());
    assert_eq!(*bench.stage(vmid), Stage::Booting);
}

#[test]
fn the_port_during_an_installation_depends_on_minor_and_role() {
    for (version, worker, open) in
        [("v1.12.4", false, None), ("v1.13.0", false, Some(Port::Talos)), ("v1.13.0", true, None)]
    {
        let mut bench = Bench::on(&Site { clock: Clock::Realistic { speed: 1.0 }, ..Site::default() });
        let vmid = bench.boot(vm(101, &image(version, "nocloud", true)));
        bench.pass(30);
        let installer = installer("nocloud-installer-secureboot", version);
        bench.apply(vmid, &Config { worker, installer, ..Config::control_plane() }.applied());
        assert_eq!(bench.stage(vmid).word(), "installing");
        let unified = version != "v1.12.4";
        let lingering = unified.then_some(Port::Maintenance);
        assert_eq!(bench.machine(vmid).api(), lingering, "{version}: the old listener");
        bench.pass(2);
        assert_eq!(bench.machine(vmid).api(), open, "{version}, worker: {worker}");
    }
}

#[test]
fn a_cold_installer_is_built_first() {
    let site = Site { clock: Clock::Realistic { speed: 1.0 }, ..Site::default() };
    let warm_up = [false, true].map(|warm| {
        let mut bench = Bench::on(&site);
        let vmid = bench.boot(vm(101, &image("v1.12.4", "nocloud", true)));
        if warm {
            let reference = installer("nocloud-installer-secureboot", "v1.12.4");
            bench.factory.installer(&reference, Duration::ZERO, site.clock).expect("it can be built");
        }
        bench.pass(100);
        bench.apply(vmid, &Config::control_plane().applied());
        bench.fleet.next_due().expect("it installs").saturating_sub(bench.now)
    });
    assert_eq!(warm_up, [physics::FACTORY_BUILD + physics::INSTALL, physics::INSTALL]);
}

#[test]
fn an_installed_machine_keeps_its_configuration_over_power_cuts_and_loses_it_with_its_disk() {
    let (mut bench, vmid) = maintenance("v1.12.4");
    bench.apply(vmid, &Config::control_plane().applied());
    bench.fleet.power_off(vmid);
    bench.boot(vm(101, &image("v1.12.4", "nocloud", true)));
    assert_eq!(*bench.stage(vmid), Stage::Booting);
    bench.fleet.power_off(vmid);
    bench.fleet.erase("disk-101");
    bench.boot(vm(101, &image("v1.12.4", "nocloud", true)));
    assert_eq!(*bench.stage(vmid), Stage::Maintenance);
}

#[test]
fn a_raw_image_is_installed_already() {
    let mut bench = Bench::new();
    let raw = image("v1.12.4", "nocloud", false);
    bench.fleet.imprint("disk-101", &raw.to_bytes());
    let mut hardware = vm(101, &raw);
    hardware.drives.truncate(1);
    let vmid = bench.boot(hardware);
    assert_eq!(*bench.stage(vmid), Stage::Maintenance);
    let boot = bench.system(vmid).boot;
    bench.apply(vmid, &Config::control_plane().applied());
    assert_eq!((bench.stage(vmid), bench.system(vmid).boot), (&Stage::Booting, boot));
}

#[test]
fn an_unattended_install_derives_its_installer_and_does_not_reboot() {
    let (mut bench, vmid) = maintenance("v1.14.0-rc.1");
    let text = format!(
        "{}---\napiVersion: v1alpha1\nkind: UnattendedInstallConfig\ninstaller: {{}}\nprovisioning: {{diskSelector: {{match: 'disk.dev_path == \"/dev/sda\"'}}}}\n",
        Config::control_plane().applied().text.replace("  install:", "  installed:")
    );
    let boot = bench.system(vmid).boot;
    bench.apply(vmid, &Arc::new(Applied::parse(&text).expect("it parses")));
    let disk = bench.fleet.disk("disk-101").and_then(|disk| disk.image.clone()).expect("it is installed");
    assert!(disk.secureboot && disk.platform == "nocloud" && disk.version == "v1.14.0-rc.1");
    assert_eq!((bench.stage(vmid), bench.system(vmid).boot), (&Stage::Booting, boot));
}

#[test]
fn without_install_a_machine_before_1_14_fails_and_later_waits() {
    for (version, word) in [("v1.12.4", "install failed"), ("v1.14.0-rc.1", "booting")] {
        let (mut bench, vmid) = maintenance(version);
        let text = Config::control_plane().applied().text.replace("  install:", "  installed:");
        bench.apply(vmid, &Arc::new(Applied::parse(&text).expect("it parses")));
        assert_eq!(bench.stage(vmid).word(), word, "{version}");
        assert!(bench.fleet.bootstrap(vmid).is_err());
    }
}
