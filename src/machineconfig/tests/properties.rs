//! What holds for any input.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::{bundle, documents_differ, read};
use crate::inventory::Role;
use crate::machineconfig::patch::argument;
use crate::machineconfig::talosconfig::Admin;
use crate::machineconfig::view::View;
use crate::machineconfig::{
    Bundle, Contract, Documents, Input, Minor, Mode, Patch, PatchSource, apply, generate, merge, schema, validate, yaml,
};

const MINORS: [&str; 6] = ["1.9", "1.10", "1.11", "1.12", "1.13", "1.14"];

fn minor() -> impl Strategy<Value = Minor> {
    prop::sample::select(MINORS.to_vec()).prop_map(|minor| Minor::parse(minor).expect("known"))
}

/// Bases of every shape: each contract, control plane and worker.
fn base() -> impl Strategy<Value = String> {
    let roles = prop::sample::select(vec!["controlplane", "worker"]);
    (prop::sample::select(MINORS.to_vec()), roles)
        .prop_map(|(contract, role)| read(format!("gen/default-{contract}-{role}/expected.yaml")))
}

/// What may be asked of the generator. Texts are of any kind where Talos does not look into them.
fn input() -> impl Strategy<Value = Input> {
    let lists = (prop::collection::vec(any::<String>(), 0..4), prop::collection::vec("[a-z.=0-9]{1,9}", 0..3));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let map = prop::collection::btree_map("[a-z.]{1,9}", any::<String>(), 0..3);
    ("[a-z][a-z0-9-]{0,20}", lists, flags, map, any::<Option<u16>>()).prop_map(
        |(name, lists, flags, sysctls, prism)| Input {
            additional_sans: lists.0,
            install_extra_kernel_args: lists.1,
            discovery: flags.0,
            kubespan: flags.1,
            debug: flags.2,
            allow_scheduling_on_control_planes: flags.3,
            sysctls,
            kube_prism_port: prism,
            ..Input::new(&name, "https://10.0.0.10:6443", "1.32.0")
        },
    )
}

/// Text that is near enough to YAML to get past the first line of defence.
fn yamlish() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "machine:",
        "cluster:",
        "network:",
        "interfaces:",
        "- interface: eth0",
        "certSANs:",
        "- x",
        "$patch: delete",
        "version: v1alpha1",
        "apiVersion: v1alpha1",
        "kind: LinkConfig",
        "kind: HostnameConfig",
        "name: a",
        "auto: off",
        "---",
        "&a",
        "*a",
        "<<: *a",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "\"",
        "'",
        "|",
        ">",
        "null",
        "~",
        "0o17",
        "1e999",
        "op: add",
        "path: /machine/-1",
        "value: 1",
        "endpoint: https://[::1",
        "mtu: -1",
        "\t",
        "é",
        "\u{85}",
        "@",
        "%",
    ]);
    let line = (0_usize..6, piece).prop_map(|(indent, piece)| format!("{}{piece}\n", "  ".repeat(indent)));
    prop::collection::vec(line, 0..14).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), yamlish()], base in base(), minor in minor()) {
        let base = Documents::parse_for(&base, &Minor::NEWEST).expect("recorded");
        argument(&text, &minor);
        drop(Bundle::parse(&text));
        drop(Admin::parse(&text));
        let version = Contract::parse(&text).map(|contract| contract.to_string());
        prop_assert!(version.is_err() || text.contains("1."));
        if let Ok(documents) = Documents::parse_for(&text, &minor) {
            validate(&documents, Mode::Metal, true, &minor);
            View::of(&documents);
            documents.to_yaml();
        }
        if let Ok(patch) = Patch::load(&text, PatchSource::Inline("a property".to_owned()), &minor) {
            patch.strategic_sketch();
            patch.strategic_form(&base, &minor);
            if let Ok(patched) = apply(&base, &[patch], &minor) {
                validate(&patched, Mode::Container, false, &minor);
                View::of(&patched);
            }
        }
    }

    #[test]
    fn an_empty_patch_changes_nothing(base in base(), minor in minor()) {
        let before = Documents::parse_for(&base, &Minor::NEWEST).expect("recorded");
        let patched = apply(&before, &[], &minor).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(before.trees() == patched.trees());
        for document in &before {
            let mut after = document.clone();
            merge::documents(document.schema(), &mut after.body, &Map::new(), &minor)
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            let (mut before, after) = (document.tree(), after.tree());
            if document.kind() == "UnattendedInstallConfig" {
                // An expression that a patch does not repeat is cleared: Talos's rule, and the one exception.
                before["provisioning"].as_object_mut().map(|map| map.remove("diskSelector"));
            }
            prop_assert!(documents_differ(&[before], &[after]).is_none(), "{}", document.kind());
        }
    }

    #[test]
    fn configurations_survive_writing_and_reading(input in input()) {
        let bundle = bundle("secrets/secrets-b.yaml");
        // Every contract and role for each input: the generator has a way of its own for each.
        for (minor, role) in MINORS.iter().flat_map(|minor| [(minor, Role::ControlPlane), (minor, Role::Worker)]) {
            let contract = Contract::parse(minor).expect("known");
            let fail = |error: String| TestCaseError::fail(format!("{contract} {role}: {error}"));
            let made = generate(&contract, &bundle, role, &input).map_err(|error| fail(error.to_string()))?;
            let text = made.to_yaml();
            let read = Documents::parse(&text).map_err(|error| fail(error.to_string()))?;
            prop_assert!(made.trees() == read.trees(), "{} {}", contract, role);
            prop_assert!(text == read.to_yaml(), "{} {}", contract, role);
            prop_assert_eq!(View::of(&read).cluster_name, Some(input.cluster_name.clone()));
        }
    }
}

#[test]
fn every_kind_writes_and_reads_its_zero() {
    // Talos writes `Protocol(0)` for a rule without protocol, too, and cannot read it either. Both ends of a pair
    // without names configure one link.
    for schema in schema::all().filter(|schema| !matches!(schema.name, "NetworkRuleConfig" | "VethConfig")) {
        let kind = schema.name;
        let document = crate::machineconfig::Document::new(schema, Minor::NEWEST, Map::new());
        let text = yaml::emit(&document.tree());
        let read = Documents::parse(&text).unwrap_or_else(|error| panic!("{kind}: {error}\n{text}"));
        assert_eq!(read.trees(), [document.tree()], "{kind}");
    }
}

#[test]
fn alias_bombs_and_deep_nests_are_refused() {
    let bomb = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let below = level - 1;
        let list = vec![format!("*a{below}"); 9].join(", ");
        format!("{text}a{level}: &a{level} [{list}]\n")
    });
    assert!(Documents::parse(&bomb).is_err());
    assert!(Documents::parse(&format!("machine: {}", "[".repeat(50_000))).is_err());
    assert!(Documents::parse(&format!("machine: {}x{}", "{a: ".repeat(150), "}".repeat(150))).is_err());
}

#[test]
fn json_patches_show_their_strategic_form() {
    let minor = Minor::parse("1.13").expect("known");
    let text = r#"[{"op":"replace","path":"/cluster/network/podSubnets","value":["10.42.0.0/16"]},
        {"op":"add","path":"/machine/certSANs/-","value":"a"},{"op":"remove","path":"/machine/time"}]"#;
    let load = |text: &str| Patch::load(text, PatchSource::File("p.json".to_owned()), &minor).expect("loads");
    let patch = load(text);
    assert!(patch.is_json6902());
    let (form, merges) = patch.strategic_sketch().expect("there is one");
    assert!(merges, "the list merges, unless its field replaces");
    let expected = json!({
        "cluster": { "network": { "podSubnets": ["10.42.0.0/16"] } },
        "machine": { "certSANs": ["a"], "time": { "$patch": "delete" } },
    });
    assert_eq!(yaml::documents(&form).expect("YAML")[0].to_value(), expected);
    assert!(!load(&form).is_json6902());
    let base = Documents::parse(&read("gen/default-1.13-controlplane/expected.yaml")).expect("recorded");
    let Err(error) = apply(&base, &[patch], &minor) else { panic!("two documents take no JSON patch") };
    assert_eq!(
        error.to_string(),
        "patch p.json: JSON6902 patches are not supported for multi-document machine configuration"
    );
    assert!(load(r#"[{"op":"replace","path":"/machine/certSANs/0","value":"x"}]"#).strategic_sketch().is_none());
}
