use super::*;

#[test]
fn an_empty_disk_falls_through_to_the_iso() {
    let mut bench = Bench::new();
    let vmid = bench.boot(vm(101, &image("v1.12.4", "nocloud", true)));
    assert_eq!(*bench.stage(vmid), Stage::Maintenance);
    assert!(bench.system(vmid).secure_boot && bench.system(vmid).uki);
    assert!(bench.machine(vmid).console.iter().any(|line| line.contains("enrolled secure boot keys")));
    assert_eq!(bench.fleet.listeners().len(), 1);
}

#[test]
fn what_cannot_boot_is_dead_and_says_why() {
    let secure = image("v1.12.4", "nocloud", true);
    let plain = image("v1.12.4", "nocloud", false);
    let seabios = |mut hardware: Hardware| {
        hardware.firmware = Firmware::SeaBios;
        hardware
    };
    let microsoft = |mut hardware: Hardware| {
        hardware.firmware = Firmware::Ovmf { secure_boot_capable: true, vars: Some("vars".into()), pre_enrolled: true };
        hardware
    };
    let with = |change: fn(&mut Hardware)| {
        let mut hardware = vm(101, &plain);
        change(&mut hardware);
        hardware
    };
    for (hardware, why) in [
        (microsoft(vm(101, &secure)), "Access Denied"),
        (microsoft(vm(101, &plain)), "Access Denied"),
        (seabios(vm(101, &secure)), "No bootable device."),
        (with(|hardware| hardware.boot = vec!["scsi0".into()]), "No bootable device."),
        (with(|hardware| hardware.drives[1].medium = Medium::Empty), "No bootable device."),
        (with(|hardware| hardware.cpu = "kvm64".into()), "microarchitecture level"),
    ] {
        let mut bench = Bench::new();
        let vmid = bench.boot(hardware);
        assert!(bench.dead(vmid).contains(why), "{} is not {why}", bench.dead(vmid));
        assert!(bench.fleet.listeners().is_empty());
        assert_eq!(bench.fleet.agent_interfaces(vmid), None);
    }
}

#[test]
fn firmware_that_cannot_do_secure_boot_boots_without() {
    let mut bench = Bench::new();
    let mut hardware = vm(101, &image("v1.12.4", "nocloud", true));
    hardware.firmware = Firmware::Ovmf { secure_boot_capable: false, vars: None, pre_enrolled: true };
    let vmid = bench.boot(hardware);
    assert!(!bench.system(vmid).secure_boot);
    assert_eq!(*bench.stage(vmid), Stage::Maintenance);
}

#[test]
fn enrolled_keys_stay_in_the_store_and_refuse_other_loaders() {
    let mut bench = Bench::new();
    let vmid = bench.boot(vm(101, &image("v1.12.4", "nocloud", true)));
    bench.fleet.power_off(vmid);
    bench.boot(vm(101, &image("v1.12.4", "nocloud", false)));
    assert_eq!(bench.dead(vmid), "Access Denied");
    // A freed store forgets.
    bench.fleet.power_off(vmid);
    bench.fleet.erase("vars-101");
    bench.boot(vm(101, &image("v1.12.4", "nocloud", false)));
    assert_eq!(*bench.stage(vmid), Stage::Maintenance);
}

#[test]
fn an_iso_that_boots_before_the_installed_disk_halts() {
    let mut bench = Bench::new();
    let mut hardware = vm(101, &image("v1.12.4", "nocloud", true));
    hardware.boot = vec!["ide2".into(), "scsi0".into()];
    let vmid = bench.boot(hardware);
    bench.apply(vmid, &Config::control_plane().applied());
    // SecureBoot goes through the firmware, so the first reboot already shows it.
    assert!(bench.dead(vmid).contains("talos.halt_if_installed"), "{}", bench.dead(vmid));
    // The button of a halted machine does nothing; a reset with the CD ejected does.
    bench.fleet.press_power_button(vmid);
    bench.settle();
    assert!(bench.fleet.is_powered(vmid));
    bench.fleet.change_medium(vmid, "ide2", Medium::Empty);
    bench.fleet.reset(vmid);
    bench.settle();
    assert_eq!(*bench.stage(vmid), Stage::Booting);
}

#[test]
fn kexec_hides_the_wrong_order_until_the_next_cold_start() {
    let mut bench = Bench::new();
    let plain = image("v1.12.4", "nocloud", false);
    let mut hardware = vm(101, &plain);
    hardware.boot = vec!["ide2".into(), "scsi0".into()];
    let vmid = bench.boot(hardware.clone());
    let config = Config { installer: installer("nocloud-installer", "v1.12.4"), ..Config::control_plane() };
    bench.apply(vmid, &config.applied());
    assert_eq!(*bench.stage(vmid), Stage::Booting);
    bench.fleet.power_off(vmid);
    bench.boot(hardware);
    assert!(bench.dead(vmid).contains("booted from another media"));
}

#[test]
fn the_power_button_ends_the_hypervisor_process() {
    let mut bench = Bench::new();
    let vmid = bench.boot(vm(101, &image("v1.12.4", "nocloud", true)));
    bench.fleet.press_power_button(vmid);
    bench.settle();
    assert!(!bench.fleet.is_powered(vmid));
}

#[test]
fn time_is_counted_from_power_on() {
    let mut bench = Bench::on(&Site { clock: Clock::Realistic { speed: 1.0 }, ..Site::default() });
    bench.pass(1000);
    let vmid = bench.boot(vm(101, &image("v1.12.4", "nocloud", true)));
    assert_eq!(*bench.stage(vmid), Stage::Starting);
    assert_eq!(bench.fleet.next_due(), Some(Duration::from_secs(1025)));
    bench.pass(24);
    assert_eq!(*bench.stage(vmid), Stage::Starting);
    bench.pass(1);
    assert_eq!(*bench.stage(vmid), Stage::Maintenance);
    assert_eq!(bench.fleet.next_due(), None);
}

#[test]
fn a_seed_may_be_a_disk_that_was_imported() {
    let mut bench = Bench::new();
    let path = format!("{}/tests/fixtures/cidata/fat12.img.gz", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = Vec::new();
    let packed = std::fs::File::open(path).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut bytes).unwrap();
    let mut hardware = vm(101, &image("v1.12.4", "nocloud", true));
    let seed = Medium::Disk { volid: "seed-101".into(), bytes: 1 << 20, serial: None };
    hardware.drives.push(Drive { device: "scsi1".into(), medium: seed });
    bench.fleet.imprint("seed-101", &bytes);
    bench.boot(hardware);
    assert_eq!((bench.stage(101), bench.system(101).hostname.as_str()), (&Stage::Maintenance, "from-iso"));
}
