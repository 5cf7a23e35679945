//! A JSON patch as strategic patches, for those who have to turn one into the other.
//!
//! The two do not say the same: a JSON patch puts a value in the place of another, a strategic patch merges, and lists
//! grow. So the form is made from what the JSON patch does to a configuration at hand, `$patch: delete` where something
//! has to go first, and is tried on that configuration before anyone is shown it.

use serde_json::{Map, Value};

use super::json6902::{self, Operation};
use super::{Body, Patch, PatchSource, apply};
use crate::machineconfig::documents::Documents;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::yaml;

impl Patch {
    /// For a JSON patch the strategic patches that do the same to the v1alpha1 document of `config`, as YAML to apply
    /// one after the other; `None` for a patch that is strategic already. The error says which operation has none.
    pub fn strategic_form(&self, config: &Documents, minor: &Minor) -> Option<Result<Vec<String>, String>> {
        let Body::Json(operations) = &self.body else { return None };
        let base = Documents { list: config.v1alpha1().into_iter().cloned().collect() };
        if base.is_empty() {
            return Some(Err("the configuration has no v1alpha1 document, which a JSON patch works on".to_owned()));
        }
        let whole = form(&base, operations, minor);
        Some(whole.map_err(|why| {
            // The first operations that fail together: the last of them is the one to blame.
            let fails = |count: &usize| form(&base, &operations[..*count], minor).is_err();
            match (1..=operations.len()).find(fails) {
                Some(count) => format!("{} has none: {why}", operations[count - 1].shown()),
                None => why,
            }
        }))
    }
}

fn form(base: &Documents, operations: &[Operation], minor: &Minor) -> Result<Vec<String>, String> {
    let tree = base.list[0].tree();
    let target = json6902::apply(tree.clone(), operations).map_err(|(_, why)| why)?;
    let target = Documents::from_trees(&[target], minor).map_err(|error| error.to_string())?;
    if target.list[0].kind() != base.list[0].kind() {
        return Err("it makes another document of it".to_owned());
    }
    let mut change = Change::default();
    change.object(&tree, &target.list[0].tree(), &mut Vec::new());
    let parts: Vec<String> = [change.deletes, change.sets]
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| yaml::emit(&Value::Object(part.clone())))
        .collect();
    let load = |text: &String| Patch::load(text, PatchSource::Native("strategic form"), minor);
    let patches: Vec<Patch> = parts.iter().map(load).collect::<Result<_, _>>().map_err(|error| error.text)?;
    let made = apply(base, &patches, minor).map_err(|error| error.text)?;
    if made.trees() == target.trees() {
        Ok(parts)
    } else {
        Err("what it does cannot be said by deleting and merging".to_owned())
    }
}

/// What has to go, and what has to come.
#[derive(Default)]
struct Change {
    deletes: Map<String, Value>,
    sets: Map<String, Value>,
}

impl Change {
    fn object(&mut self, from: &Value, to: &Value, path: &mut Vec<String>) {
        let (Value::Object(from), Value::Object(to)) = (from, to) else { return };
        for key in from.keys().filter(|key| !to.contains_key(*key)) {
            path.push(key.clone());
            self.delete(path);
            path.pop();
        }
        for (key, to) in to {
            path.push(key.clone());
            match (from.get(key), to) {
                (Some(from), to) if from == to => {}
                (Some(from @ Value::Object(_)), Value::Object(_)) => self.object(from, to, path),
                (Some(Value::Array(old)), Value::Array(new)) if !old.is_empty() && new.starts_with(old) => {
                    set(&mut self.sets, path, Value::Array(new[old.len()..].to_vec()));
                }
                (Some(from), to) => {
                    // What is nil already has nothing to delete, and a nothing is what deleting leaves.
                    if !from.is_null() && *from != Value::Array(Vec::new()) {
                        self.delete(path);
                    }
                    if !to.is_null() {
                        set(&mut self.sets, path, to.clone());
                    }
                }
                (None, to) => set(&mut self.sets, path, to.clone()),
            }
            path.pop();
        }
    }

    fn delete(&mut self, path: &[String]) {
        set(&mut self.deletes, path, serde_json::json!({ "$patch": "delete" }));
    }
}

fn set(tree: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            tree.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let below = tree.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(below) = below {
                set(below, rest, value);
            }
        }
    }
}
