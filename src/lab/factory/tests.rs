use super::*;

const ID: &str = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba";

fn state() -> State {
    State::new(&Site::default())
}

#[test]
fn a_schematic_has_the_id_of_its_canonical_text() {
    let mut state = state();
    assert_eq!(state.post("customization: {}").expect("it is one"), ID);
    let id = state
        .post("customization:\n  systemExtensions:\n    officialExtensions: [siderolabs/qemu-guest-agent]\n")
        .expect("it is one");
    assert_eq!(state.schematic(&id).expect("it is known").extensions, ["siderolabs/qemu-guest-agent"]);
    assert_eq!(state.post("something: {}").expect_err("unknown key").status, 400);
    assert_eq!(state.post(" \n").expect_err("nothing").text, "EOF");
    let owned = state.post("owner: me\n").expect_err("this factory knows nobody");
    assert_eq!((owned.status, owned.text.as_str()), (400, "owner field is only supported in Enterprise edition"));
    assert_eq!(state.schematic("0000").expect_err("nobody posted it").status, 404);
}

#[test]
fn assets_are_refused_as_the_factory_refuses_them() {
    let mut state = state();
    let bad = state
        .post("customization: {systemExtensions: {officialExtensions: [siderolabs/nothing]}}")
        .expect("ids are not checked");
    let mut status = |schematic: &str, version: &str, file: &str| {
        state.image(schematic, version, file, Duration::ZERO, Clock::Instant).err().map(|refusal| refusal.status)
    };
    for (schematic, version, file, expected) in [
        (ID, "v1.12.4", "nocloud-amd64-secureboot.iso", None),
        (ID, "1.12.4", "metal-amd64.raw.zst", None),
        (ID, "v1.12.4", "nocloud-amd64.exe", Some(400)),
        (ID, "v1.12.4", "nocloud-amd64.iso.sha512", Some(402)),
        (ID, "v0.1.0", "nocloud-amd64.iso", Some(404)),
        ("00", "v1.12.4", "nocloud-amd64.iso", Some(404)),
        (ID, "latest", "nocloud-amd64.iso", Some(500)),
        (ID, "v1.12.4", "kernel-arm64", None),
        (ID, "v1.12.4", "initramfs-amd64.xz", None),
        (ID, "v1.12.4", "cmdline-metal-amd64-secureboot", None),
        (ID, "v1.12.4", "metal-amd64-uki.efi", None),
        (ID, "v1.12.4", "nocloud-installer-amd64-secureboot.tar", None),
        (ID, "v1.12.4", "nocloud-sparc.iso", Some(400)),
        (ID, "v1.12.4", "nocloud-amd64.iso.xz", Some(400)),
        (bad.as_str(), "v1.12.4", "nocloud-amd64.iso", Some(400)),
    ] {
        assert_eq!(status(schematic, version, file), expected, "{version}/{file}");
    }
}

#[test]
fn an_asset_is_built_once() {
    let mut state = state();
    let clock = Clock::Realistic { speed: 1.0 };
    let mut ready = |seconds| {
        let now = Duration::from_secs(seconds);
        state.image(ID, "v1.12.4", "nocloud-amd64.iso", now, clock).expect("it exists").1
    };
    assert_eq!(ready(10), Duration::from_secs(10) + physics::FACTORY_BUILD);
    assert_eq!(ready(500), Duration::from_secs(10) + physics::FACTORY_BUILD);
}

#[test]
fn installer_names_carry_platform_and_flavour() {
    let mut state = state();
    let mut flavour = |name: &str| {
        let reference = format!("factory.talos.dev/{name}/{ID}:v1.12.4");
        state.installer(&reference, Duration::ZERO, Clock::Instant).map(|(image, _)| (image.platform, image.secureboot))
    };
    assert_eq!(flavour("nocloud-installer-secureboot"), Ok(("nocloud".into(), true)));
    assert_eq!(flavour("nocloud-installer"), Ok(("nocloud".into(), false)));
    assert_eq!(flavour("installer-secureboot"), Ok(("metal".into(), true)));
    assert!(flavour("something").is_err());
}
