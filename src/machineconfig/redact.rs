//! A configuration that may be shown: every secret replaced by the mark that Talos itself uses.
//!
//! The product's own secrets are found by the names of their fields, which no other field has; beside them what users
//! put in: registry passwords, WireGuard keys, passphrases, and Kubernetes Secrets in manifests.

use serde_json::Value;

use super::documents::Documents;
use super::encode;
use super::yaml::{self, Tree};

/// What stands in a secret's place.
pub const REDACTED: &str = "******";

/// Fields that hold a secret whatever they stand in. A bundle spells them in lower case.
const SECRET: &[&str] = &[
    "aescbcEncryptionSecret",
    "apiToken",
    "auth",
    "bootstraptoken",
    "clusterSecret",
    "identityToken",
    "passphrase",
    "password",
    "presharedKey",
    "privateKey",
    "secret",
    "secretboxEncryptionSecret",
    "token",
    "uniqueToken",
];

/// Objects whose `key` is a private key: pairs, and the service account, which is a key alone.
const PAIRS: &[&str] = &["crt", "cert"];

/// The documents as [`Documents::to_yaml`] writes them, without secrets.
pub fn redacted(documents: &Documents) -> String {
    let shown = documents.iter().map(|document| without_secrets(encode::document(document)));
    yaml::joined(shown)
}

/// The documents' trees without secrets.
pub fn trees(documents: &Documents) -> Vec<Value> {
    documents.iter().map(|document| without_secrets(encode::document(document)).to_value()).collect()
}

/// A talosconfig or a secrets bundle, or any other YAML of Talos's making, without secrets.
pub fn redacted_text(text: &str) -> Result<String, yaml::SyntaxError> {
    let trees: Vec<Value> = yaml::documents(text)?.iter().map(yaml::Node::to_value).collect();
    Ok(yaml::joined(trees.iter().map(|tree| without_secrets(Tree::of(tree)))))
}

fn without_secrets(mut tree: Tree<'_>) -> Tree<'_> {
    walk(&mut tree, "");
    tree
}

fn walk(tree: &mut Tree<'_>, parent: &str) {
    match tree {
        Tree::Map(entries) => {
            let pair = parent == "serviceAccount"
                || parent == "k8sserviceaccount"
                || entries.iter().any(|(key, _)| PAIRS.contains(key));
            for (key, value) in entries {
                match value {
                    Tree::Text(text) if !text.is_empty() => {
                        let secret = SECRET.iter().any(|name| name.eq_ignore_ascii_case(key))
                            || (pair && *key == "key")
                            || is_kubernetes_secret(text);
                        if secret {
                            *text = REDACTED;
                        }
                    }
                    value => walk(value, key),
                }
            }
        }
        Tree::List(items) => items.iter_mut().for_each(|item| walk(item, parent)),
        _ => {}
    }
}

/// A manifest that holds a Secret, or a file that holds a private key.
fn is_kubernetes_secret(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
        || text.lines().any(|line| {
            let words: String = line.split_whitespace().collect();
            matches!(words.trim_start_matches('-'), "kind:Secret" | "\"kind\":\"Secret\"," | "\"kind\":\"Secret\"")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Role;
    use crate::machineconfig::tests::{bundle, read, trees as parsed};
    use crate::machineconfig::{Contract, Input, generate, talosconfig};

    /// Every text that a bundle keeps secret: all of it but the identity and the certificates.
    fn secrets(value: &Value, key: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| secrets(value, key, found)),
            Value::String(text) if !matches!(key, "crt" | "id") => found.push(text.clone()),
            _ => {}
        }
    }

    #[test]
    fn nothing_secret_is_left_on_any_contract() {
        use base64::Engine as _;
        let text = read("secrets/secrets-a.yaml");
        let mut all = Vec::new();
        secrets(&parsed(&text)[0], "", &mut all);
        assert_eq!(all.len(), 9, "four tokens and five keys");
        let bundle = bundle("secrets/secrets-a.yaml");
        // Contract 1.14 has keys as they are, not in base64.
        let decoded = |text: &String| base64::engine::general_purpose::STANDARD.decode(text).ok();
        let pem: Vec<String> =
            all.iter().filter_map(decoded).filter_map(|bytes| String::from_utf8(bytes).ok()).collect();
        all.extend(pem.iter().filter_map(|pem| pem.lines().nth(1).map(str::to_owned)));
        for minor in ["1.9", "1.10", "1.11", "1.12", "1.13", "1.14"] {
            for role in [Role::ControlPlane, Role::Worker] {
                let input = Input::new("lab", "https://10.0.0.10:6443", "1.35.0");
                let made = generate(&Contract::parse(minor).expect("known"), &bundle, role, &input).expect("made");
                let shown = redacted(&made);
                let left: Vec<&String> = all.iter().filter(|secret| shown.contains(secret.as_str())).collect();
                assert!(left.is_empty(), "{minor} {role}: {left:?}");
                assert!(shown.contains(REDACTED) && shown.contains("10.0.0.10"), "{shown}");
            }
        }
        let admin = talosconfig::admin(&bundle, "lab", Vec::new(), Vec::new()).expect("signed").to_yaml();
        assert!(!redacted_text(admin.expose()).expect("YAML").contains("key: L"), "the client's key");
        let bundle = redacted_text(&text).expect("YAML");
        assert!(all.iter().all(|secret| !bundle.contains(secret.as_str())), "{bundle}");
    }

    #[test]
    fn what_users_put_in_is_redacted_too() {
        let text = "version: v1alpha1\nmachine:\n  type: worker\n  registries: {config: {a.test: {auth: {username: u, password: hidden1}}}}\n\
                    cluster:\n  inlineManifests:\n    - name: a\n      contents: |\n        kind: Secret\n        data: {a: hidden2}\n";
        let shown = redacted(&Documents::parse(text).expect("decodes"));
        assert!(!shown.contains("hidden") && shown.contains("username: u"), "{shown}");
    }
}
