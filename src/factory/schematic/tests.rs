use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vector {
    schematic: String,
    canonical: String,
    id: String,
    verified: bool,
    #[serde(default)]
    sensitive: bool,
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../tests/fixtures/factory/schematics.json");
    serde_json::from_str(text).expect("the vectors parse")
}

/// The verified ones have ids that were published elsewhere; the rest was computed with five releases of go-yaml.
#[test]
fn every_vector_has_exactly_the_factorys_bytes_or_a_documented_refusal() {
    let (mut supported, mut refused) = (0, 0);
    for vector in vectors() {
        let schematic =
            Schematic::parse(&vector.schematic).unwrap_or_else(|error| panic!("{}: {error}", vector.schematic));
        match schematic.canonical() {
            Ok(text) => {
                assert_eq!(text, vector.canonical, "canonical text of {}", vector.schematic);
                assert_eq!(schematic.id().as_deref(), Ok(vector.id.as_str()), "id of {}", vector.schematic);
                assert!(!vector.sensitive, "claims to know what releases disagree on: {}", vector.schematic);
                supported += 1;
            }
            Err(unsupported) => {
                assert!(vector.sensitive && !vector.verified, "refused {}: {unsupported}", vector.schematic);
                refused += 1;
            }
        }
    }
    assert_eq!((supported, refused), (44, 2));
}

#[test]
fn every_field_has_its_place_and_column() {
    // In an order of its own; the factory's order comes out.
    let given = "
customization:
  diskImage: { sectorSize: 4096 }
  secureboot: { includeWellKnownCertificates: true, enrollKeys: force }
  bootloader: SD-Boot
  systemExtensions: { officialExtensions: [siderolabs/x, null] }
  meta: [{ value: foo, key: 0xa }, { key: 11 }]
  extraKernelArgs: [a, 1, true, 0x1F]
  embeddedMachineConfiguration: \"a: 1\\n\\nb: 2\\n\"
overlay: { name: rpi_generic, image: siderolabs/sbc-raspberrypi }
";
    let text = Schematic::parse(given).expect("it parses").canonical().expect("all of it is supported");
    let expected = "overlay:
    image: siderolabs/sbc-raspberrypi
    name: rpi_generic
customization:
    embeddedMachineConfiguration: |
        a: 1

        b: 2
    extraKernelArgs:
        - a
        - \"1\"
        - \"true\"
        - \"0x1F\"
    meta:
        - key: 10
          value: foo
        - key: 11
          value: \"\"
    systemExtensions:
        officialExtensions:
            - siderolabs/x
    bootloader: sd-boot
    secureboot:
        enrollKeys: force
        includeWellKnownCertificates: true
    diskImage:
        sectorSize: 4096
";
    assert_eq!(text, expected);
    let again = Schematic::parse(&text).expect("our own text parses").canonical().expect("it is supported");
    assert_eq!(again, text);
}

#[test]
fn everything_empty_is_the_vanilla_schematic() {
    let vanilla = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba";
    for empty in [
        "{}",
        "customization:",
        "null",
        "---",
        "customization: { secureboot: {}, systemExtensions: { officialExtensions: [null] }, bootloader: none }",
        "overlay: { image: '', options: {} }\ncustomization: { meta: [], diskImage: { sectorSize: 0 } }",
    ] {
        let schematic = Schematic::parse(empty).unwrap_or_else(|error| panic!("{empty}: {error}"));
        assert_eq!(schematic.id().as_deref(), Ok(vanilla), "{empty}");
    }
    assert_eq!(Schematic::new(vec![], vec![]).id().as_deref(), Ok(vanilla));
}

#[test]
fn what_the_factory_refuses_is_refused_here() {
    for bad in [
        "customization: { extraKernelArg: [a] }",
        "customization: { bootloader: auto }",
        "customization: {}\ncustomization: {}",
        "customization: { meta: [{ key: 256, value: a }] }",
        "customization: { extraKernelArgs: a }",
        "custom",
    ] {
        assert!(Schematic::parse(bad).is_err(), "accepted {bad}");
    }
}

#[test]
fn only_the_first_document_counts() {
    let one =
        Schematic::parse("customization: { extraKernelArgs: [a] }\n---\ncustomization: { extraKernelArgs: [b] }\n");
    assert_eq!(one.expect("it parses").kernel_args().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn what_is_uncertain_is_left_to_the_server() {
    for (uncertain, field) in [
        ("owner: somebody", "owner"),
        ("overlay: { image: a, name: b, options: { k: v } }", "overlay.options"),
        ("customization: { extraKernelArgs: [a, 'on'] }", "customization.extraKernelArgs[1]"),
        ("customization: { extraKernelArgs: ['12:30'] }", "customization.extraKernelArgs[0]"),
        ("customization: { secureboot: { enrollKeys: 'off' } }", "customization.secureboot.enrollKeys"),
        ("customization: { meta: [{ key: 10, value: \"\\na\" }] }", "customization.meta[0].value"),
    ] {
        let schematic = Schematic::parse(uncertain).unwrap_or_else(|error| panic!("{uncertain}: {error}"));
        let unsupported = schematic.id().expect_err("nobody knows this id for certain");
        assert_eq!(unsupported.field, field);
        assert_eq!(schematic.body(), uncertain, "the text itself is sent, and the server decides");
    }
}

#[test]
fn our_own_schematics_sort_extensions_and_keep_kernel_arguments() {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let schematic = Schematic::new(words(&["b", "a"]), words(&["siderolabs/z", "siderolabs/a", "siderolabs/z"]));
    assert_eq!(schematic.kernel_args().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(schematic.extensions().collect::<Vec<_>>(), ["siderolabs/a", "siderolabs/z"]);
}

#[test]
fn the_schematics_of_the_shipped_profiles_have_their_published_ids() {
    for (text, id) in [
        (
            include_str!("../../../schematics/matherlynet.yaml"),
            "a7f294c4436e874167652f711750f9bc607c89f12f7c27f183584a25763a2bca",
        ),
        (
            include_str!("../../../schematics/lab.yaml"),
            "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515",
        ),
    ] {
        assert_eq!(Schematic::parse(text).expect("it parses").id().as_deref(), Ok(id));
    }
}

proptest::proptest! {
    /// What is written is YAML and means what was meant, whatever the quoting. Left out: a block with an indentation
    /// hint, where go-yaml writes the width of its own step, which readers take for something else.
    #[test]
    fn whatever_is_written_reads_back_the_same(args in proptest::collection::vec("[ -~\n\té\u{a0}\u{7f}😀]{0,8}|[-+0-9_.:exob]{1,6}", 1..4)) {
        let hinted = |arg: &String| arg.starts_with(' ') && arg.contains('\n');
        let schematic = Schematic::new(args.clone(), Vec::new());
        if let (Ok(text), false) = (schematic.canonical(), args.iter().any(hinted)) {
            let again = Schematic::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            proptest::prop_assert_eq!(again.kernel_args().collect::<Vec<_>>(), args);
            proptest::prop_assert_eq!(again.canonical().ok(), Some(text));
        }
    }
}
