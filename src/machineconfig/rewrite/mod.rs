//! Old forms in new words: a patch that a contract refuses, as that contract's documents.
//!
//! From contract 1.12 on a configuration is several documents: no JSON patch applies to it, and the hostname is a
//! document. From 1.14 on nearly everything about Kubernetes and the installation is, and a v1alpha1 field beside the
//! document that replaced it is refused. What has no document is left where it is, with a note.
//!
//! A rewritten patch is for reading and copying: comments are lost, and so are anchors.

mod moves;

use serde_json::{Map, Value, json};

use super::contract::Contract;
use super::minor::Minor;
use super::patch::json6902;
use super::yaml::{self, Data, Node, SyntaxError};

/// What a patch is rewritten for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub contract: &'a Contract,
    /// The device that machines install to. A patch of the installer's image has to repeat it, since merging clears
    /// what it does not repeat.
    pub install_disk: &'a str,
}

/// A patch in its new form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// For the machines that the old patch was for.
    pub shared: Option<String>,
    /// For the control planes among them: Talos refuses these kinds on a worker.
    pub control_plane: Option<String>,
    /// What could not be said in the new form, or needs no saying: full sentences.
    pub notes: Vec<String>,
}

/// The new form of a patch; `None` when the contract takes it as it is.
pub fn rewrite(text: &str, target: Target<'_>) -> Result<Option<Rewritten>, SyntaxError> {
    if !target.contract.multidoc_network {
        return Ok(None);
    }
    let trees: Vec<Value> = yaml::documents(text)?.iter().map(value).filter(|tree| !tree.is_null()).collect();
    let mut draft = Draft::default();
    let trees = if let [Value::Array(_)] = trees.as_slice() {
        let Some(tree) = json6902::parse(text, &Minor::NEWEST).ok().as_deref().and_then(json6902::strategic) else {
            let note = "This JSON patch moves, tests, or reaches into a list, and has no strategic form: write what it \
                        shall look like in the end.";
            return Ok(Some(Rewritten { notes: vec![note.to_owned()], ..Rewritten::default() }));
        };
        draft.changed = true;
        if json6902::parse(text, &Minor::NEWEST).is_ok_and(|operations| json6902::replaces(&operations)) {
            let note = "The lists and objects of the JSON patch took the place of what was there; in the new form they \
                        merge into it, and most lists grow.";
            draft.notes.push(note.to_owned());
        }
        vec![tree]
    } else {
        trees
    };
    for tree in trees {
        let Value::Object(mut map) = tree else { continue };
        if map.contains_key("kind") {
            draft.documents.push(Value::Object(map));
        } else {
            moves::network(&mut map, &mut draft);
            if target.contract.multidoc_all {
                moves::all(&mut map, target, &mut draft);
            }
            draft.legacy.push(map);
        }
    }
    Ok(draft.finish())
}

/// The patch while it is being rewritten.
#[derive(Default)]
struct Draft {
    changed: bool,
    /// What is left of the v1alpha1 documents.
    legacy: Vec<Map<String, Value>>,
    documents: Vec<Value>,
    /// Documents that only control planes have, kept apart from others of their kind.
    apart: Vec<Value>,
    notes: Vec<String>,
}

impl Draft {
    fn note(&mut self, text: impl Into<String>) {
        self.changed = true;
        self.notes.push(text.into());
    }

    /// Sets a field of a document, which is made when it is not there yet.
    fn set(&mut self, kind: &str, name: Option<&str>, path: &str, value: Value) {
        self.changed = true;
        let same = |tree: &Value| tree["kind"] == kind && tree.get("name").and_then(Value::as_str) == name;
        let known = self.documents.iter().position(same).unwrap_or_else(|| {
            self.documents.push(document(kind, name));
            self.documents.len() - 1
        });
        let mut at = &mut self.documents[known];
        for key in path.split('.') {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = at.as_object_mut().expect("it was made one").entry(key).or_insert(Value::Null);
        }
        put(at, value);
    }

    /// Deletes a whole document.
    fn delete(&mut self, kind: &str, name: Option<&str>) {
        self.changed = true;
        let mut tree = document(kind, name);
        tree["$patch"] = "delete".into();
        self.documents.push(tree);
    }

    fn finish(self) -> Option<Rewritten> {
        if !self.changed {
            return None;
        }
        let says = |map: &Map<String, Value>| map.keys().any(|key| !matches!(key.as_str(), "version" | "apiVersion"));
        let legacy = self.legacy.into_iter().filter(says).map(Value::Object);
        let (control_plane, shared): (Vec<Value>, Vec<Value>) =
            legacy.chain(self.documents).partition(for_control_planes);
        let control_plane: Vec<Value> = control_plane.into_iter().chain(self.apart).collect();
        let text = |trees: &[Value]| -> Option<String> {
            let parts: Vec<String> = trees.iter().map(yaml::emit).collect();
            (!parts.is_empty()).then(|| parts.join("---\n"))
        };
        Some(Rewritten { shared: text(&shared), control_plane: text(&control_plane), notes: self.notes })
    }
}

fn document(kind: &str, name: Option<&str>) -> Value {
    let mut tree = json!({ "apiVersion": "v1alpha1", "kind": kind });
    if let Some(name) = name {
        tree["name"] = name.into();
    }
    tree
}

/// Maps grow together and lists after one another, as merging two patches would have it.
fn put(at: &mut Value, value: Value) {
    match (at, value) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in right {
                put(left.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(left), Value::Array(right)) => left.extend(right),
        (at, value) => *at = value,
    }
}

/// Kinds that Talos takes on control planes only, and manifests, which workers ignore.
fn for_control_planes(tree: &Value) -> bool {
    let kind = tree["kind"].as_str().unwrap_or_default();
    super::validate::CONTROL_PLANE_ONLY.contains(&kind) || kind == "KubeExternalManifestConfig"
}

/// As [`Node::to_value`], but a number that would be written otherwise stays the text that it was: `1.10` in an
/// argument is no 1.1.
fn value(node: &Node) -> Value {
    match &node.data {
        Data::Scalar { text, plain: true } => match node.to_value() {
            Value::Number(number) if number.is_f64() && number.to_string() != *text => Value::String(text.clone()),
            value => value,
        },
        Data::Scalar { .. } => node.to_value(),
        Data::List(items) => items.iter().map(value).collect(),
        Data::Map(entries) => entries.iter().map(|(key, node)| (key.clone(), value(node))).collect(),
    }
}

#[cfg(test)]
mod tests;
