use super::*;

const THEIRS: &str = "context: home
contexts:
    home:
        endpoints:
            - 10.0.0.1
        nodes:
            - 10.0.0.2
        ca: Q0E=
        crt: Q1JU
        key: S0VZ
        cluster: on
    \"1.10\":
        endpoints: []
        auth:
            siderov1:
                identity: someone@example.org
";

fn credentials() -> Credentials {
    Credentials { ca_pem: "ca".into(), crt_pem: "crt".into(), key_pem: Secret::new("key") }
}

fn merged(existing: Option<&str>, endpoints: &[&str]) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    let credentials = credentials();
    let context = Context { name: "lab", endpoints: &endpoints, nodes: &[], credentials: &credentials };
    merge(existing, &context).expect("it can be merged").expose().to_owned()
}

fn tree(text: &str) -> Value {
    Value::Object(read(Some(text)).expect("it is YAML"))
}

#[test]
fn a_first_context_makes_the_file() {
    for empty in [None, Some(""), Some("\n")] {
        let text = merged(empty, &["10.20.0.1", "10.20.0.2"]);
        assert_eq!(
            tree(&text),
            json!({ "context": "lab", "contexts": { "lab": {
                "endpoints": ["10.20.0.1", "10.20.0.2"], "ca": "Y2E=", "crt": "Y3J0", "key": "a2V5" } } })
        );
        let place = |key: &str| text.find(key).expect("the key is there");
        assert!(place("endpoints:") < place("ca:") && place("ca:") < place("crt:") && place("crt:") < place("key:"));
    }
}

#[test]
fn others_stay_as_they_were_and_ours_goes_without_a_trace() {
    let with_ours = merged(Some(THEIRS), &["10.20.0.1"]);
    let mut expected = tree(THEIRS);
    assert_eq!(tree(&with_ours)["context"], "lab");
    for name in ["home", "1.10"] {
        assert_eq!(tree(&with_ours)["contexts"][name], expected["contexts"][name]);
    }
    let without = remove(&with_ours, "lab").expect("it can be removed");
    // None is current: which of the others should be is the user's to say.
    expected["context"] = "".into();
    assert_eq!(tree(without.expose()), expected);
}

#[test]
fn merging_again_replaces() {
    let once = merged(Some(THEIRS), &["10.20.0.1"]);
    assert_eq!(merged(Some(&once), &["10.20.0.1"]), once);
    let moved = merged(Some(&once), &["10.20.0.9"]);
    assert_eq!(tree(&moved)["contexts"].as_object().expect("contexts").len(), 3);
    assert_eq!(tree(&moved)["contexts"]["lab"]["endpoints"], json!(["10.20.0.9"]));
}

#[test]
fn removing_what_is_not_there_changes_not_a_byte() {
    assert_eq!(remove(THEIRS, "lab").expect("nothing to do").expose(), THEIRS);
    assert_eq!(remove("", "lab").expect("nothing to do").expose(), "");
    // And removing another than the current one leaves the current one.
    let text = remove(THEIRS, "1.10").expect("it can be removed");
    assert_eq!(tree(text.expose())["context"], "home");
    assert!(!holds(text.expose(), "1.10").expect("readable") && holds(THEIRS, "1.10").expect("readable"));
}

#[test]
fn a_file_that_is_none_is_refused_without_being_quoted() {
    for bad in ["- a\n- list", "contexts: [c2VjcmV0]", "key: c2VjcmV0\n  bad: indent: here", "just text c2VjcmV0"] {
        let error = remove(bad, "lab").err().unwrap_or_else(|| panic!("{bad:?} was taken"));
        assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
    }
}
