//! The first gate: the document against the JSON Schema, with every complaint and its place.
//!
//! Only the keywords that schemars derives from [`super::raw`] are known here; a test
//! reads the schema and fails when a new one appears.

use serde_json::{Map, Value};

use super::error::Problem;
use super::forms;
use super::nearest::nearest;
use super::tree::{Kind, Node, Place, Tree, element, member};

/// Everything about `tree` that `schema` forbids, in the order of the file.
pub(super) fn check(tree: &Tree, schema: &Value) -> Vec<Problem> {
    let mut walk = Walk { root: schema, problems: Vec::new() };
    walk.value(tree, tree.at, schema, "");
    walk.problems.sort_by_key(|problem| (problem.line, problem.column));
    walk.problems
}

struct Walk<'a> {
    root: &'a Value,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn complain(&mut self, path: &str, (line, column): Place, message: String, fix: String) {
        let path = path.to_owned();
        self.problems.push(Problem { path, line: Some(line), column: Some(column), message, fix });
    }

    /// `key` is where the value's key stands: the better place for what is wrong with a whole mapping.
    fn value(&mut self, tree: &Tree, key: Place, schema: &Value, path: &str) {
        if let Some(allowed) = schema["enum"].as_array() {
            let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            match &tree.node {
                Node::Scalar(_, text) if allowed.contains(&text.as_str()) => {}
                Node::Null if permits(schema, "null") => {}
                node => {
                    let near = as_text(node).and_then(|text| nearest(text, allowed.iter().copied()));
                    let fix = near.map_or_else(
                        || format!("choose one of {}", allowed.join(", ")),
                        |near| format!("did you mean {near}? Known are {}", allowed.join(", ")),
                    );
                    self.complain(path, tree.at, format!("cannot be {}", describe(node)), fix);
                }
            }
            return;
        }
        match &tree.node {
            Node::Null if permits(schema, "null") => {}
            Node::Map(entries) if permits(schema, "object") => self.mapping(entries, key, schema, path),
            Node::Seq(items) if permits(schema, "array") => {
                if (items.len() as u64) < schema["minItems"].as_u64().unwrap_or(0) {
                    self.complain(path, key, "is an empty list".into(), "give at least one".into());
                }
                for (index, item) in items.iter().enumerate() {
                    if !schema["items"].is_null() {
                        self.value(item, item.at, &schema["items"], &element(path, index));
                    }
                }
            }
            Node::Scalar(Kind::Bool, _) if permits(schema, "boolean") => {}
            Node::Scalar(Kind::Integer, text) if permits(schema, "integer") => {
                self.integer(text, tree.at, schema, path);
            }
            Node::Scalar(_, text) if permits(schema, "string") => self.form(text, tree.at, schema, path),
            node => {
                let at = if matches!(node, Node::Scalar(..)) { tree.at } else { key };
                self.complain(path, at, format!("cannot be {}", describe(node)), format!("give {}", wanted(schema)));
            }
        }
    }

    fn integer(&mut self, text: &str, at: Place, schema: &Value, path: &str) {
        if permits(schema, "string") {
            return self.form(text, at, schema, path);
        }
        let (low, high) = (schema["minimum"].as_u64().unwrap_or(0), schema["maximum"].as_u64().unwrap_or(u64::MAX));
        if !text.parse::<u64>().is_ok_and(|number| (low..=high).contains(&number)) {
            let fix = if high == u64::MAX { format!("give at least {low}") } else { format!("give {low} to {high}") };
            self.complain(path, at, format!("cannot be {text}"), fix);
        }
    }

    fn form(&mut self, text: &str, at: Place, schema: &Value, path: &str) {
        if let Some((message, fix)) = schema["format"].as_str().and_then(|format| forms::complaint(format, text)) {
            self.complain(path, at, message, fix);
        }
    }

    fn mapping(&mut self, entries: &[(String, Place, Tree)], key: Place, schema: &Value, path: &str) {
        let Some(properties) = schema["properties"].as_object() else { return };
        let mut meant = Vec::new();
        for (name, at, value) in entries {
            match properties.get(name) {
                Some(schema) => self.value(value, *at, schema, &member(path, name)),
                None => meant.extend(self.unknown(name, *at, properties, path)),
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            // A key that is there with a typing error is told once.
            if !entries.iter().any(|(key, ..)| key == name) && !meant.contains(&name) {
                let like = wanted(&properties[name]);
                self.complain(&member(path, name), key, "is missing".into(), format!("give {like}"));
            }
        }
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let given = entries.iter().filter(|(name, ..)| properties.contains_key(name)).count() as u64;
        if given > schema["maxProperties"].as_u64().unwrap_or(u64::MAX) {
            let given: Vec<&str> = entries.iter().map(|(name, ..)| name.as_str()).collect();
            self.complain(path, key, format!("has {} together", given.join(" and ")), "keep one of them".into());
        }
        if (entries.len() as u64) < schema["minProperties"].as_u64().unwrap_or(0) {
            self.complain(path, key, "is empty".into(), format!("give one of {}", names.join(", ")));
        }
    }

    /// A key that no field has: the nearest sibling, or the place where a key of that name does exist.
    /// Answers with the sibling that was meant.
    fn unknown<'a>(&mut self, name: &str, at: Place, siblings: &'a Map<String, Value>, path: &str) -> Option<&'a str> {
        let near = nearest(name, siblings.keys().map(String::as_str));
        let fix = if let Some(near) = near {
            format!("did you mean {near}?")
        } else if let Some(elsewhere) = find(self.root, name, "") {
            format!("it belongs to {elsewhere}")
        } else {
            format!("known here are {}", siblings.keys().cloned().collect::<Vec<_>>().join(", "))
        };
        self.complain(&member(path, name), at, "is no key of a profile".into(), fix);
        near
    }
}

/// The path of the first key `name` anywhere in the schema.
fn find(schema: &Value, name: &str, path: &str) -> Option<String> {
    let properties = schema["properties"].as_object()?;
    if properties.contains_key(name) {
        return Some(member(path, name));
    }
    properties.iter().find_map(|(key, inner)| find(inner, name, &member(path, key)))
}

fn permits(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::String(one) => one == kind,
        Value::Array(many) => many.iter().any(|one| one == kind),
        _ => false,
    }
}

fn as_text(node: &Node) -> Option<&str> {
    match node {
        Node::Scalar(_, text) => Some(text),
        _ => None,
    }
}

fn describe(node: &Node) -> String {
    match node {
        Node::Null => "empty".into(),
        Node::Scalar(Kind::Text, text) => format!("the text {text:?}"),
        Node::Scalar(_, text) => text.clone(),
        Node::Seq(_) => "a list".into(),
        Node::Map(_) => "a mapping".into(),
    }
}

/// What the schema asks for, in words.
fn wanted(schema: &Value) -> String {
    if let Some(allowed) = schema["enum"].as_array() {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", allowed.join(", "));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        return format!("a mapping of {}", names.join(", "));
    }
    if let Some(form) = schema["format"].as_str().and_then(forms::wanted) {
        return form;
    }
    let words = [
        ("integer", "a whole number"),
        ("boolean", "true or false"),
        ("array", "a list"),
        ("object", "a mapping"),
        ("string", "text"),
    ];
    let kinds: Vec<&str> = words.iter().filter(|(kind, _)| permits(schema, kind)).map(|(_, word)| *word).collect();
    kinds.join(" or ")
}

#[cfg(test)]
mod tests;
