//! `pvetalos render --diff`: what the profile would change in configurations that are there.
//!
//! Compared is what configurations say, document by document, not their text: order, quotes and comments are nobody's
//! change. People get a unified diff, programs the fields that differ. Secrets are shown only when asked for, but that
//! one has changed is always said.

use serde_json::{Map, Value, json};
use similar::TextDiff;

use super::super::failure::Failure;
use super::super::{Global, print};
use crate::machineconfig::{Documents, redact};

/// What is there, and what would be.
pub(super) struct Pair<'a> {
    /// `lab-cp-1.yaml`, or `lab-cp-1`.
    pub name: String,
    /// Where the old one is: `out/lab-cp-1.yaml`, or the machine's address.
    pub from: String,
    /// `None`: nothing is there.
    pub old: Result<Option<Documents>, Failure>,
    pub new: &'a Documents,
}

/// Prints the differences of all, and fails with the first that could not be compared.
pub(super) fn show(global: &Global, pairs: Vec<Pair<'_>>, secrets: bool) -> Result<(), Failure> {
    let mut all = Map::new();
    let mut text = Vec::new();
    let mut failures = Vec::new();
    for Pair { name, from, old, new } in pairs {
        let old = match old {
            Ok(old) => old,
            Err(failure) => {
                all.insert(name, json!({ "error": failure.message }));
                failures.push(failure);
                continue;
            }
        };
        let trees = |documents: &Documents| labelled(documents.trees());
        let (left, right) = match &old {
            Some(old) if secrets => (trees(old), trees(new)),
            Some(old) => {
                let (old, new) = redact::compared(old, new);
                (labelled(old), labelled(new))
            }
            None => (Map::new(), if secrets { trees(new) } else { labelled(redact::trees(new)) }),
        };
        let mut changes = Vec::new();
        for label in labels(&left, &right) {
            fields(label, left.get(label), right.get(label), &mut changes);
        }
        match old {
            None => text.push(format!("{name}: new\n")),
            Some(_) if changes.is_empty() => text.push(format!("{name}: the same\n")),
            Some(_) => text.push(unified(&name, &from, &left, &right)),
        }
        all.insert(name, changes.into());
    }
    let json = global.is_json();
    if json || !text.is_empty() {
        print(&if json { Value::Object(all).to_string() } else { text.concat() });
    }
    let mut failures = failures.into_iter();
    let Some(mut first) = failures.next() else { return Ok(()) };
    for failure in failures {
        first.message = format!("{}\n  and {}", first.message, failure.message);
    }
    Err(if json { first.told() } else { first })
}

/// Documents by kind and name. The v1alpha1 document has neither.
fn labelled(trees: Vec<Value>) -> Map<String, Value> {
    let label = |tree: &Value| {
        let text = |key: &str| tree[key].as_str().unwrap_or_default().to_owned();
        match (text("kind"), text("name")) {
            (kind, _) if kind.is_empty() => String::new(),
            (kind, name) if name.is_empty() => kind,
            (kind, name) => format!("{kind}/{name}"),
        }
    };
    trees.into_iter().map(|tree| (label(&tree), tree)).collect()
}

fn labels<'a>(old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> impl Iterator<Item = &'a String> {
    old.keys().chain(new.keys().filter(|label| !old.contains_key(*label)))
}

/// One diff per document, with the path of what is changed behind each hunk's lines.
fn unified(name: &str, from: &str, old: &Map<String, Value>, new: &Map<String, Value>) -> String {
    let mut text = Vec::new();
    for label in labels(old, new) {
        let (left, right) = (old.get(label), new.get(label));
        if left == right {
            continue;
        }
        let yaml = |tree: Option<&Value>| tree.map(redact::text).unwrap_or_default();
        let (left_text, right_text) = (yaml(left), yaml(right));
        let side = |tree: Option<&Value>, file: &str| match tree {
            Some(_) if label.is_empty() => file.to_owned(),
            Some(_) => format!("{file} {label}"),
            None => "/dev/null".to_owned(),
        };
        text.push(format!("--- {}\n+++ {}\n", side(left, from), side(right, &format!("{name} (rendered)"))));
        let diff = TextDiff::from_lines(&left_text, &right_text);
        for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
            let path =
                hunk.iter_changes().find(|change| change.tag() != similar::ChangeTag::Equal).map(|change| {
                    match (change.new_index(), change.old_index()) {
                        (Some(at), _) => path(&right_text, at),
                        (None, at) => path(&left_text, at.unwrap_or_default()),
                    }
                });
            text.push(format!("{} {}", hunk.header(), path.unwrap_or_default()).trim_end().to_owned() + "\n");
            text.extend(hunk.iter_changes().map(|change| format!("{}{change}", change.tag())));
        }
    }
    text.concat()
}

/// The keys above a line of YAML, outermost first.
fn path(text: &str, line: usize) -> String {
    let mut keys = Vec::new();
    let mut limit = usize::MAX;
    for line in text.lines().take(line + 1).collect::<Vec<_>>().into_iter().rev() {
        let bare = line.trim_start_matches([' ', '-']);
        let indent = line.len() - bare.len();
        if limit != usize::MAX
            && indent < limit
            && let Some((key, "")) = bare.split_once(':')
        {
            keys.push(key);
        }
        limit = limit.min(indent);
    }
    keys.reverse();
    keys.join(".")
}

/// One field that differs, as programs read it.
fn fields(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Value>) {
    match (old, new) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            for key in labels(left, right) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                fields(&path, left.get(key), right.get(key), changes);
            }
        }
        (Some(old), Some(new)) if old == new => {}
        (old, new) => changes.push(json!({ "path": path, "old": old, "new": new })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_is_a_diff_of_its_own() {
        let parse = |text: &str| {
            let documents = Documents::parse(text).expect("decodes");
            labelled(documents.trees())
        };
        let old = parse(
            "version: v1alpha1\nmachine: {type: worker, sysctls: {a: '1'}}\n---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\nauto: off\n",
        );
        let new = parse(
            "version: v1alpha1\nmachine: {type: worker, sysctls: {a: '2', b: '3'}}\n---\napiVersion: v1alpha1\nkind: LinkConfig\nname: lo\n",
        );
        let text = unified("x.yaml", "old/x.yaml", &old, &new);
        for part in [
            "--- old/x.yaml\n+++ x.yaml (rendered)\n@@ -",
            "@@ machine.sysctls\n",
            "-        a: \"1\"\n+        a: \"2\"\n+        b: \"3\"\n",
            "--- old/x.yaml HostnameConfig\n+++ /dev/null\n",
            "-hostname: a\n",
            "--- /dev/null\n+++ x.yaml (rendered) LinkConfig/lo\n",
            "+name: lo\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert_eq!(unified("x.yaml", "old/x.yaml", &old, &old), "");
    }
}
