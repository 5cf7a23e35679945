use super::*;

const INCOMING: &str = "apiVersion: v1
kind: Config
clusters:
    - name: lab
      cluster:
        server: https://10.20.0.100:6443
        certificate-authority-data: Q0E=
users:
    - name: admin@lab
      user:
        client-certificate-data: Q1JU
        client-key-data: S0VZ
contexts:
    - context:
        cluster: lab
        namespace: default
        user: admin@lab
      name: admin@lab
current-context: admin@lab
";

const THEIRS: &str = "apiVersion: v1
kind: Config
preferences: {}
clusters:
- cluster:
    insecure-skip-tls-verify: true
    server: https://work.example.org:6443
  name: work
contexts:
- context:
    cluster: work
    user: me
  name: work
current-context: work
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
      args: [\"on\", \"0o17\"]
      installHint: |-
        \tInstall login first.

        Then run it, with the long option that is mentioned in the wiki under the heading of first steps for beginners.
";

fn merged(existing: Option<&str>, reach: &Reach) -> String {
    merge(existing, &Secret::new(INCOMING), "lab", reach).expect("it can be merged").expose().to_owned()
}

fn tree(text: &str) -> Value {
    Value::Object(read(Some(text)).expect("it is YAML"))
}

#[test]
fn the_one_name_is_used_for_all_three() {
    for empty in [None, Some("")] {
        assert_eq!(
            tree(&merged(empty, &Reach::Direct)),
            json!({ "apiVersion": "v1", "kind": "Config", "preferences": {},
                "clusters": [{ "name": "lab", "cluster": {
                    "server": "https://10.20.0.100:6443", "certificate-authority-data": "Q0E=" } }],
                "users": [{ "name": "lab", "user": { "client-certificate-data": "Q1JU", "client-key-data": "S0VZ" } }],
                "contexts": [{ "name": "lab", "context": { "cluster": "lab", "namespace": "default", "user": "lab" } }],
                "current-context": "lab" })
        );
    }
}

#[test]
fn others_stay_as_they_were_and_ours_goes_without_a_trace() {
    let with_ours = merged(Some(THEIRS), &Reach::Direct);
    let mut expected = tree(THEIRS);
    for (list, _) in LISTS {
        assert_eq!(tree(&with_ours)[list][0], expected[list][0]);
        assert_eq!(tree(&with_ours)[list].as_array().expect("a list").len(), 2);
    }
    assert_eq!(merged(Some(&with_ours), &Reach::Direct), with_ours, "merging again adds nothing");
    let without = remove(&with_ours, "lab").expect("it can be removed");
    expected["current-context"] = "".into();
    assert_eq!(tree(without.expose()), expected);
}

/// Data is one long word, as kubectl writes it; nothing is folded or put in a block that Go would refuse.
#[test]
fn long_and_tabbed_text_is_written_so_that_go_reads_it() {
    let long = "QUJD".repeat(400);
    let incoming = Secret::new(INCOMING.replace("Q0E=", &long));
    let text = merge(Some(THEIRS), &incoming, "lab", &Reach::Direct).expect("it can be merged");
    assert!(text.expose().lines().any(|line| line.trim() == format!("certificate-authority-data: {long}")));
    assert!(text.expose().lines().any(|line| line.contains(r#"installHint: "\tInstall login first.\n\nThen"#)));
}

#[test]
fn kubectl_is_led_to_where_the_lab_is() {
    let base = std::net::Ipv4Addr::new(127, 83, 0, 0);
    let reach = Reach::Loopback { site: "10.20.0.0/16".parse().expect("a network"), base };
    let cluster = tree(&merged(None, &reach))["clusters"][0]["cluster"].clone();
    assert_eq!(cluster["server"], "https://127.83.0.100:6443");
    assert_eq!(cluster["tls-server-name"], "10.20.0.100");
}

#[test]
fn null_lists_of_kubectl_are_empty_lists() {
    let emptied = "apiVersion: v1\nkind: Config\nclusters: null\ncontexts: null\nusers: null\ncurrent-context: \"\"\n";
    assert!(holds(&merged(Some(emptied), &Reach::Direct), "lab").expect("readable"));
    assert_eq!(remove(emptied, "lab").expect("nothing to do").expose(), emptied);
}

#[test]
fn the_current_context_of_another_survives_a_removal() {
    let with_ours = merged(Some(THEIRS), &Reach::Direct).replace("current-context: lab", "current-context: work");
    let without = remove(&with_ours, "lab").expect("it can be removed");
    assert_eq!(tree(without.expose()), tree(THEIRS));
}

#[test]
fn a_file_that_is_none_is_refused_without_being_quoted() {
    for bad in ["- c2VjcmV0", "users: c2VjcmV0", "a: c2VjcmV0\n b: c: d", "contexts: {}"] {
        let error = remove(bad, "lab").err().unwrap_or_else(|| panic!("{bad:?} was taken"));
        assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
    }
    for bad in ["", "current-context: nowhere", "kind: Config\ncontexts: []\ncurrent-context: a"] {
        assert!(merge(None, &Secret::new(bad), "lab", &Reach::Direct).is_err(), "{bad:?} was taken");
    }
}
