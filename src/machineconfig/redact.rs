//! A configuration that may be shown: every secret replaced by the mark that Talos itself uses.
//!
//! The product's own secrets are found by the names of their fields, which no other field has; beside them what users
//! put in: registry passwords, WireGuard keys, passphrases, and Kubernetes Secrets in manifests.

use std::collections::BTreeMap;

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
    yaml::joined(documents.iter().map(|document| without_secrets(encode::document(document))))
}

/// The documents' trees without secrets.
pub fn trees(documents: &Documents) -> Vec<Value> {
    documents.iter().map(|document| without_secrets(encode::document(document)).to_value()).collect()
}

/// One tree as a configuration's text has it.
pub fn text(tree: &Value) -> String {
    yaml::emit(tree)
}

/// Both sides of a comparison without secrets. One that is the same on both sides is `******`; one that is on one side
/// only says on which, so that its change can be seen and its value cannot. What comes redacted equals everything.
pub fn compared(old: &Documents, new: &Documents) -> (Vec<Value>, Vec<Value>) {
    let (left, right) = (secrets(old), secrets(new));
    let marked = |documents: &Documents, other: &Secrets, mark: &'static str| -> Vec<Value> {
        let shown = documents.iter().map(|document| {
            let mut tree = encode::document(document);
            let start = place(&tree);
            walk(&mut tree, "", &start, &mut |place, text| {
                let same = left.get(place) == right.get(place);
                let there = other.get(place).is_some_and(|all| all.iter().any(|one| one == text));
                let hidden = [&left, &right]
                    .iter()
                    .any(|side| side.get(place).is_some_and(|all| all.iter().any(|one| one == REDACTED)));
                // Where both sides hold the same secrets in another order, all of them have changed.
                let moved = there && left.get(place).map(|all| sorted(all)) == right.get(place).map(|all| sorted(all));
                let changed = !hidden && !same && (!there || moved);
                *text = if changed { mark } else { REDACTED };
            });
            tree.to_value()
        });
        shown.collect()
    };
    (marked(old, &right, "****** (old)"), marked(new, &left, "****** (new)"))
}

/// Secrets by the place that they stand in, elements of one list together, in order.
type Secrets = BTreeMap<String, Vec<String>>;

fn secrets(documents: &Documents) -> Secrets {
    let mut found = Secrets::new();
    for document in documents {
        let mut tree = encode::document(document);
        let start = place(&tree);
        walk(&mut tree, "", &start, &mut |place, text| {
            found.entry(place.to_owned()).or_default().push((*text).to_owned());
        });
    }
    found
}

fn sorted(texts: &[String]) -> Vec<String> {
    let mut texts = texts.to_vec();
    texts.sort();
    texts
}

/// What tells a document from the others: its kind and its name.
fn place(tree: &Tree<'_>) -> String {
    let text = |wanted: &str| match tree {
        Tree::Map(entries) => entries.iter().find_map(|(key, value)| match value {
            Tree::Text(text) if *key == wanted => Some(*text),
            _ => None,
        }),
        _ => None,
    };
    format!("{}/{}", text("kind").unwrap_or_default(), text("name").unwrap_or_default())
}

/// A talosconfig or a secrets bundle, or any other YAML of Talos's making, without secrets.
pub fn redacted_text(text: &str) -> Result<String, yaml::SyntaxError> {
    let trees: Vec<Value> = yaml::documents(text)?.iter().map(yaml::Node::to_value).collect();
    Ok(yaml::joined(trees.iter().map(|tree| without_secrets(Tree::of(tree)))))
}

fn without_secrets(mut tree: Tree<'_>) -> Tree<'_> {
    walk(&mut tree, "", "", &mut |_, text| *text = REDACTED);
    tree
}

/// Hands every secret to `found`, with its place: `/` and the keys above it.
fn walk<'a>(tree: &mut Tree<'a>, parent: &str, place: &str, found: &mut impl FnMut(&str, &mut &'a str)) {
    match tree {
        Tree::Map(entries) => {
            let pair = parent == "serviceAccount"
                || parent == "k8sserviceaccount"
                || entries.iter().any(|(key, _)| PAIRS.contains(key));
            for (key, value) in entries {
                let place = format!("{place}/{key}");
                match value {
                    Tree::Text(text) if !text.is_empty() => {
                        let secret = SECRET.iter().any(|name| name.eq_ignore_ascii_case(key))
                            || (pair && *key == "key")
                            || is_kubernetes_secret(text);
                        if secret {
                            found(&place, text);
                        }
                    }
                    value => walk(value, key, &place, found),
                }
            }
        }
        Tree::List(items) => items.iter_mut().for_each(|item| walk(item, parent, place, found)),
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

    #[test]
    fn a_changed_secret_shows_as_changed_and_not_its_value() {
        let parse = |token: &str, keys: &str| {
            let text = format!(
                "version: v1alpha1\nmachine: {{type: worker, token: {token}}}\ncluster:\n  inlineManifests: {keys}\n"
            );
            Documents::parse(&text).expect("decodes")
        };
        let sides = |old: &Documents, new: &Documents| {
            let (old, new) = compared(old, new);
            let text = |trees: &[Value]| trees.iter().map(yaml::emit).collect::<String>();
            (text(&old), text(&new))
        };
        let one = "[{name: a, contents: \"kind: Secret\\nx: k1\"}, {name: b, contents: \"kind: Secret\\nx: k2\"}]";
        let (old, new) = sides(&parse("t1", one), &parse("t1", one));
        assert!(old == new && old.contains(": '******'"), "{old}");
        let (old, new) = sides(&parse("t1", one), &parse("t2", one));
        assert!(old.contains("token: '****** (old)'") && new.contains("token: '****** (new)'"), "{old}{new}");
        assert_eq!(old.matches("(old)").count(), 1, "{old}");
        // One that comes first moves the others' keys, and changes none of them.
        let more = "[{name: c, contents: \"kind: Secret\\nx: k3\"}, {name: a, contents: \"kind: Secret\\nx: k1\"}, {name: b, contents: \"kind: Secret\\nx: k2\"}]";
        let (old, new) = sides(&parse("t1", one), &parse("t1", more));
        assert_eq!((old.matches("(old)").count(), new.matches("(new)").count()), (0, 1), "{old}{new}");
        let swapped = "[{name: a, contents: \"kind: Secret\\nx: k2\"}, {name: b, contents: \"kind: Secret\\nx: k1\"}]";
        let (old, new) = sides(&parse("t1", one), &parse("t1", swapped));
        assert_eq!((old.matches("(old)").count(), new.matches("(new)").count()), (2, 2), "{old}{new}");
        // A file that was written redacted tells nothing.
        let (old, new) = sides(&parse("'******'", one), &parse("t2", one));
        assert!(old == new, "{old}{new}");
    }
}
