//! What holds for any input.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{bundle, read};
use crate::machineconfig::patch::argument;
use crate::machineconfig::talosconfig::Admin;
use crate::machineconfig::view::View;
use crate::machineconfig::{
    Bundle, Contract, Documents, Minor, Mode, Patch, PatchSource, apply, generate, merge, schema, validate, yaml,
};

const MINORS: [&str; 6] = ["1.9", "1.10", "1.11", "1.12", "1.13", "1.14"];

fn minor() -> impl Strategy<Value = Minor> {
    prop::sample::select(MINORS.to_vec()).prop_map(|minor| Minor::parse(minor).expect("known"))
}

/// Bases of every shape: legacy and modern, control plane and worker.
fn base() -> impl Strategy<Value = String> {
    let bases =
        ["default-1.9-controlplane", "default-1.12-controlplane", "default-1.13-worker", "all-1.10-controlplane"];
    prop::sample::select(bases.to_vec()).prop_map(|case| read(format!("gen/{case}/expected.yaml")))
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

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |float| float.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "yes",
            "off",
            "1_000",
            "0644",
            "0o17",
            "2024-01-01",
            "1.50",
            "~",
            "null",
            "- a",
            "a: b",
            "#",
            "\ta\n",
            " \n\tb",
            "|",
            "=",
            "!!str",
            "1:20",
            ".inf",
            "a\r\nb",
            "",
            "+1",
            "0x1F",
            "<<",
        ])
        .prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
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
    fn what_is_written_reads_back(tree in tree()) {
        let tree = json!({ "a": tree });
        let text = yaml::emit(&tree);
        let read = yaml::documents(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(read[0].to_value(), tree, "{}", text);
    }

    #[test]
    fn an_empty_patch_changes_nothing(base in base(), minor in minor()) {
        let before = Documents::parse_for(&base, &Minor::NEWEST).expect("recorded");
        let mut after = before.clone();
        for document in &mut after.list {
            let kind = document.schema();
            merge::documents(kind, &mut document.body, &Map::new(), &minor).map_err(|error| {
                TestCaseError::fail(error.to_string())
            })?;
        }
        prop_assert!(before.trees() == after.trees());
        let patched = apply(&before, &[], &minor).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(before.trees() == patched.trees());
    }

    #[test]
    fn configurations_survive_writing_and_reading(
        name in "[a-z][a-z0-9-]{0,20}", sans in prop::collection::vec(any::<String>(), 0..4),
        contract in prop::sample::select(MINORS.to_vec()), sysctl in any::<String>(),
    ) {
        let contract = Contract::parse(contract).expect("known");
        let mut input = crate::machineconfig::Input::new(&name, "https://10.0.0.10:6443", "1.32.0");
        input.additional_sans = sans;
        input.sysctls.insert("kernel.panic".to_owned(), sysctl);
        let bundle = bundle("secrets/secrets-b.yaml");
        let made = generate(&contract, &bundle, crate::inventory::Role::ControlPlane, &input)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let read = Documents::parse(&made.to_yaml()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(made.trees() == read.trees());
        prop_assert_eq!(View::of(&read).cluster_name, Some(name));
    }
}

#[test]
fn every_kind_writes_and_reads_its_zero() {
    // Talos writes `Protocol(0)` for a rule without protocol, too, and cannot read it either.
    for schema in schema::all().filter(|schema| schema.name != "NetworkRuleConfig") {
        let kind = schema.name;
        let document = crate::machineconfig::Document::new(schema, Map::new());
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
