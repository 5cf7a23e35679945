//! `pvetalos render --diff`: what the profile would change in configurations that are there.
//!
//! Compared is what configurations say, document by document and field by field, not their text: order, quotes and
//! comments are nobody's change. Secrets are compared only when they may be shown.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::failure::{Code, Failure};
use super::super::{Global, print};
use super::File;
use crate::machineconfig::{Documents, redact};

/// One field that differs: where, what it was, and what it becomes.
struct Change {
    path: String,
    old: Option<Value>,
    new: Option<Value>,
}

pub(super) fn show(global: &Global, folder: &Path, files: &[File], secrets: bool) -> Result<(), Failure> {
    if !folder.is_dir() {
        return Err(Failure::new(Code::Usage, format!("{} is no directory", folder.display()))
            .hint("write one to compare with: pvetalos render --out DIR"));
    }
    let mut all = Map::new();
    let mut lines = Vec::new();
    for file in files {
        let Some(documents) = &file.documents else { continue };
        let path = folder.join(&file.name);
        let old = match std::fs::read_to_string(&path) {
            Ok(text) => Documents::parse(&text)
                .map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", path.display())))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Documents::default(),
            Err(error) => return Err(Failure::new(Code::Usage, format!("cannot read {}: {error}", path.display()))),
        };
        let changes = between(&old, documents, secrets);
        if old.is_empty() {
            lines.push(format!("{}: new", file.name));
        } else if changes.is_empty() {
            lines.push(format!("{}: the same", file.name));
        } else {
            lines.push(format!("{}:", file.name));
            lines.extend(changes.iter().map(Change::line));
        }
        let changes: Value =
            changes.iter().map(|change| json!({ "path": change.path, "old": change.old, "new": change.new })).collect();
        all.insert(file.name.clone(), changes);
    }
    print(&if global.is_json() { Value::Object(all).to_string() } else { lines.join("\n") });
    Ok(())
}

fn between(old: &Documents, new: &Documents, secrets: bool) -> Vec<Change> {
    let trees = |documents: &Documents| if secrets { documents.trees() } else { redact::trees(documents) };
    let (old, new) = (labelled(trees(old)), labelled(trees(new)));
    let mut changes = Vec::new();
    let labels = old.keys().chain(new.keys().filter(|label| !old.contains_key(*label)));
    for label in labels {
        compare(label, old.get(label), new.get(label), &mut changes);
    }
    changes
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

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    match (old, new) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            for key in left.keys().chain(right.keys().filter(|key| !left.contains_key(*key))) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, left.get(key), right.get(key), changes);
            }
        }
        (Some(old), Some(new)) if old == new => {}
        (old, new) => changes.push(Change { path: path.to_owned(), old: old.cloned(), new: new.cloned() }),
    }
}

impl Change {
    fn line(&self) -> String {
        let path = &self.path;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => format!("  ~ {path}: {old} -> {new}"),
            (Some(old), None) => format!("  - {path}: {old}"),
            (None, Some(new)) => format!("  + {path}: {new}"),
            (None, None) => format!("    {path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_compared_and_secrets_are_not_shown() {
        let parse = |text: &str| Documents::parse(text).expect("decodes");
        let old = parse(
            "version: v1alpha1\nmachine: {type: worker, token: one, sysctls: {a: '1'}}\n---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\nauto: off\n",
        );
        let new = parse(
            "version: v1alpha1\nmachine: {type: worker, token: two, sysctls: {a: '2', b: '3'}}\n---\napiVersion: v1alpha1\nkind: LinkConfig\nname: lo\n",
        );
        let lines = |secrets| between(&old, &new, secrets).iter().map(Change::line).collect::<Vec<_>>();
        assert_eq!(
            lines(false),
            [
                "  ~ machine.sysctls.a: \"1\" -> \"2\"",
                "  + machine.sysctls.b: \"3\"",
                "  - HostnameConfig: {\"apiVersion\":\"v1alpha1\",\"kind\":\"HostnameConfig\",\"auto\":\"off\",\"hostname\":\"a\"}",
                "  + LinkConfig/lo: {\"apiVersion\":\"v1alpha1\",\"kind\":\"LinkConfig\",\"name\":\"lo\"}",
            ]
        );
        assert!(lines(true)[0].contains("\"one\" -> \"two\""));
    }
}
