//! Laws of patching, on random patches.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::read;
use crate::machineconfig::{Documents, Minor, Patch, PatchSource, apply, yaml};

fn base(contract: &str) -> Documents {
    Documents::parse(&read(format!("gen/default-{contract}-controlplane/expected.yaml"))).expect("recorded")
}

fn load(text: &str, minor: &Minor) -> Patch {
    Patch::load(text, PatchSource::Inline("a law".to_owned()), minor).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn minor() -> impl Strategy<Value = Minor> {
    prop::sample::select(vec!["1.11", "1.12", "1.13", "1.14"]).prop_map(|text| Minor::parse(text).expect("known"))
}

/// One operation somewhere in a configuration, sensible or not.
fn operation() -> impl Strategy<Value = Value> {
    let path = prop::sample::select(vec![
        "/machine/certSANs",
        "/machine/certSANs/-",
        "/machine/certSANs/0",
        "/machine/network/hostname",
        "/machine/network/nameservers",
        "/machine/network/interfaces",
        "/machine/kubelet/extraArgs",
        "/machine/kubelet",
        "/machine/sysctls",
        "/machine/install/disk",
        "/machine/install/wipe",
        "/machine/features",
        "/machine/time",
        "/cluster/network/podSubnets",
        "/cluster/network/podSubnets/0",
        "/cluster/apiServer/certSANs",
        "/cluster/apiServer/admissionControl/0/name",
        "/cluster/allowSchedulingOnControlPlanes",
        "/cluster/proxy",
        "/cluster/controlPlane/endpoint",
        "/machine/token",
        "/debug",
        "/machine/nodeLabels",
    ]);
    let value = prop_oneof![
        Just(json!("a")),
        Just(json!("")),
        Just(json!(true)),
        Just(json!(false)),
        Just(json!(["10.1.0.0/16"])),
        Just(json!([])),
        Just(json!(["a", "b"])),
        Just(json!({})),
        Just(json!({ "x": "y" })),
        Just(json!({ "disabled": true })),
        Just(json!([{ "interface": "eth0", "dhcp": true }])),
        Just(json!("https://10.0.0.9:6443")),
    ];
    let op = prop::sample::select(vec!["add", "replace", "remove", "move", "copy", "test"]);
    (op, path.clone(), path, value)
        .prop_map(|(op, path, from, value)| json!({ "op": op, "path": path, "from": from, "value": value }))
}

/// A patch of fields that merge without regard to what was merged before: texts that are not empty, pointers, lists
/// that grow, maps.
fn patch() -> impl Strategy<Value = Value> {
    let word = "[a-z]{1,4}";
    (
        prop::option::of(word), prop::option::of(any::<bool>()), prop::collection::vec(word, 1..3),
        prop::collection::btree_map(word, word, 1..3), prop::collection::btree_map("eth[01]", 1280..9000_u32, 1..3),
    )
        .prop_map(|(hostname, debug, sans, sysctls, links)| {
            let links: Vec<Value> = links.into_iter().map(|(name, mtu)| json!({ "interface": name, "mtu": mtu })).collect();
            json!({
                "debug": debug,
                "machine": { "certSANs": sans, "sysctls": sysctls, "network": { "hostname": hostname, "interfaces": links } },
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Refused with a reason, or the same result as the JSON patch.
    #[test]
    fn a_strategic_form_does_what_the_json_patch_does(
        operations in prop::collection::vec(operation(), 1..4), minor in minor(),
    ) {
        let base = base("1.11");
        let patch = load(&Value::from(operations).to_string(), &minor);
        match patch.strategic_form(&base, &minor).expect("it is a JSON patch") {
            Err(why) => prop_assert!(!why.is_empty()),
            Ok(parts) => {
                let Ok(theirs) = apply(&base, &[patch], &minor) else { panic!("a form of what does not apply") };
                let parts: Vec<Patch> = parts.iter().map(|text| load(text, &minor)).collect();
                let Ok(ours) = apply(&base, &parts, &minor) else { panic!("the form was tried") };
                prop_assert!(theirs.trees() == ours.trees());
            }
        }
    }

    /// Merging is associative: patches may be put together before they are applied. Deletions are not (what they
    /// delete has to be there), nor are fields that omission clears (CEL selectors, sizes), nor plain zeros, which
    /// vanish in a merge with nothing, nor keyed lists that name one element twice, nor a list that replaces.
    #[test]
    fn merging_is_associative(first in patch(), second in patch(), minor in minor()) {
        let base = base("1.11");
        let load = |tree: &Value| load(&yaml::emit(tree), &minor);
        let one_by_one = apply(&base, &[load(&first), load(&second)], &minor);
        let together = Documents::parse_for(&yaml::emit(&first), &minor).expect("a document");
        let together = apply(&together, &[load(&second)], &minor).expect("two patches merge");
        let at_once = apply(&base, &[load(&together.trees()[0])], &minor);
        let (Ok(one_by_one), Ok(at_once)) = (one_by_one, at_once) else { panic!("both apply") };
        prop_assert!(one_by_one.trees() == at_once.trees());
    }
}

#[test]
fn whole_lists_take_the_place_of_others() {
    let minor = Minor::parse("1.14").expect("known");
    let base = base("1.11");
    let json = r#"[{"op":"replace","path":"/cluster/apiServer/certSANs","value":["new"]}]"#;
    let parts = load(json, &minor).strategic_form(&base, &minor).expect("JSON").expect("a form");
    assert_eq!(parts.len(), 2, "what was there goes first: {parts:?}");
    let json = r#"[{"op":"add","path":"/cluster/apiServer/certSANs/-","value":"new"}]"#;
    let parts = load(json, &minor).strategic_form(&base, &minor).expect("JSON").expect("a form");
    assert_eq!(parts.len(), 1, "growing is what merging does: {parts:?}");
    let json = r#"[{"op":"test","path":"/machine/type","value":"worker"}]"#;
    let why = load(json, &minor).strategic_form(&base, &minor).expect("JSON").expect_err("the test fails");
    assert!(why.starts_with("test /machine/type has none: "), "{why}");
}
