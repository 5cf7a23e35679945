//! `$patch: delete`: taken out of a patch before it decodes, applied before the rest of it merges.
//!
//! A selector addresses a whole document, a field or key by its path, or the first element of a list whose field has
//! a value. Nothing can be deleted *inside* an element of a list.

use serde_json::{Map, Value};

use crate::machineconfig::decode::{DecodeError, Header};
use crate::machineconfig::documents::Documents;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::place;
use crate::machineconfig::schema::{Struct, Text, Type};
use crate::machineconfig::yaml::{Data, Node};

const PATCH: &str = "$patch";

/// What one `$patch: delete` asks for.
#[derive(Clone)]
pub(super) struct Selector {
    header: Header,
    /// Empty: the document itself. Elements of lists are `[0]`.
    path: Vec<String>,
    /// For an element of a list: the field that identifies it, and that field's text if it is a scalar.
    element: Option<(String, Option<String>)>,
}

/// Takes every deletion out of a document; what is left is `None` when the deletions were all of it.
pub(super) fn extract(node: Node, minor: &Minor) -> Result<(Vec<Selector>, Option<Node>), DecodeError> {
    let line = node.line;
    let fail = |what: String, path: &[String]| {
        let path = place::path(path);
        if minor.errors_name_document {
            DecodeError::Delete { line, path, what }
        } else {
            DecodeError::DeletePlain { line, path, what }
        }
    };
    let mut walk = Walk { header: Header::of(&node), path: Vec::new(), found: Vec::new() };
    if is_hit(&node) {
        for (key, word) in [("apiVersion", &walk.header.api_version), ("kind", &walk.header.kind)] {
            if word.is_empty() {
                return Err(fail(format!("missing {key} in document for which $patch: delete is used"), &[]));
            }
        }
        let selector = Selector { header: walk.header, path: Vec::new(), element: None };
        return Ok((vec![selector], None));
    }
    // Where it failed, the walk has stopped.
    let left = walk.node(node, false).map_err(|what| fail(what, &walk.path))?;
    Ok((walk.found, left))
}

fn is_hit(node: &Node) -> bool {
    node.get(PATCH).and_then(Node::text) == Some("delete")
}

struct Walk {
    header: Header,
    path: Vec<String>,
    found: Vec<Selector>,
}

impl Walk {
    /// The node without its deletions; `None` when that leaves nothing of what was something.
    fn node(&mut self, node: Node, in_list: bool) -> Result<Option<Node>, String> {
        let Node { line, flow, alias, data } = node;
        let data = match data {
            Data::Map(entries) => {
                let had = !entries.is_empty();
                let mut kept = Vec::new();
                for (key, value) in entries {
                    self.path.push(key.clone());
                    if is_hit(&value) {
                        self.hit(in_list)?;
                    } else if let Some(value) = self.node(value, in_list)? {
                        kept.push((key, value));
                    }
                    self.path.pop();
                }
                if had && kept.is_empty() {
                    return Ok(None);
                }
                Data::Map(kept)
            }
            Data::List(items) => {
                let had = !items.is_empty();
                let mut kept = Vec::new();
                for (at, item) in items.into_iter().enumerate() {
                    self.path.push(format!("[{at}]"));
                    if is_hit(&item) {
                        self.element(&item)?;
                    } else if let Some(item) = self.node(item, true)? {
                        kept.push(item);
                    }
                    self.path.pop();
                }
                if had && kept.is_empty() {
                    return Ok(None);
                }
                Data::List(kept)
            }
            scalar @ Data::Scalar { .. } => scalar,
        };
        Ok(Some(Node { line, flow, alias, data }))
    }

    fn hit(&mut self, in_list: bool) -> Result<(), String> {
        if in_list {
            return Err(format!("cannot delete an inner key in '{}'", self.path.join(".")));
        }
        if self.header.kind.is_empty() != self.header.api_version.is_empty() {
            return Err(format!("kind and apiVersion must be both set for path {}", self.path.join(".")));
        }
        self.found.push(Selector { header: self.header.clone(), path: self.path.clone(), element: None });
        Ok(())
    }

    fn element(&mut self, item: &Node) -> Result<(), String> {
        let mut keys = item.as_map().unwrap_or_default().iter().filter(|(key, _)| key != PATCH);
        let Some((key, value)) = keys.next() else {
            return Err(format!("no key:val found in sequence node for path {}", self.path.join(".")));
        };
        let text = match &value.data {
            Data::Scalar { text, .. } => Some(text.clone()),
            _ => None,
        };
        let element = Some((key.clone(), text));
        self.found.push(Selector { header: self.header.clone(), path: self.path.clone(), element });
        Ok(())
    }
}

const LOOKUP: &str = "lookup failed";

impl Selector {
    /// The one document of a kind that has no name.
    pub(super) fn document(kind: &str) -> Self {
        let header = Header { api_version: "v1alpha1".to_owned(), kind: kind.to_owned(), name: String::new() };
        Self { header, path: Vec::new(), element: None }
    }

    /// What is selected, for messages.
    pub(super) fn path(&self) -> String {
        place::path(&self.path)
    }

    /// Deletes what is selected. A document that is not there is skipped, as 1.14 does (earlier Talos crashes).
    pub(super) fn apply(&self, documents: &mut Documents, minor: &Minor) -> Result<(), String> {
        let same = |document: &crate::machineconfig::Document| {
            let name = document.name();
            document.kind() == self.header.kind && name.is_none_or(|name| name == self.header.name)
        };
        let Some(at) = documents.list.iter().position(same) else { return Ok(()) };
        if self.path.is_empty() {
            documents.list.remove(at);
            return Ok(());
        }
        let document = &mut documents.list[at];
        let (root, body) = (&document.schema().root, &mut document.body);
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        self.in_struct(root, body, &path, minor).map_err(|why| self.explain(why))
    }

    fn explain(&self, why: &str) -> String {
        let path = self.path.join(".");
        let Header { api_version, kind, name } = &self.header;
        let id = if kind.is_empty() { format!("{api_version}/v1alpha1") } else { format!("{api_version}/{kind}") };
        if name.is_empty() {
            format!("patch delete: path '{path}' in document '{id}': failed to delete path '{path}': {why}")
        } else {
            format!("named patch delete: document {id}: failed to delete path '{path}': {why}")
        }
    }

    fn in_struct(
        &self,
        root: &Struct,
        body: &mut Map<String, Value>,
        path: &[&str],
        minor: &Minor,
    ) -> Result<(), &'static str> {
        let (first, rest) = path.split_first().ok_or(LOOKUP)?;
        let field = root.field(first).ok_or(LOOKUP)?;
        if rest.is_empty() {
            body.shift_remove(*first);
            return Ok(());
        }
        let Some(value) = body.get_mut(*first) else {
            // A struct that is no pointer is always there, and deleting a zero field of it is no lookup.
            let plain = matches!(&field.kind, Type::Struct(inner) if !field.pointer && inner.field(rest[0]).is_some());
            return if plain && rest.len() == 1 { Ok(()) } else { Err(LOOKUP) };
        };
        self.below(&field.kind, value, rest, minor)
    }

    fn below(&self, kind: &Type, value: &mut Value, path: &[&str], minor: &Minor) -> Result<(), &'static str> {
        let (first, rest) = path.split_first().ok_or(LOOKUP)?;
        match (kind, value) {
            (Type::Struct(root), Value::Object(body)) => self.in_struct(root, body, path, minor),
            (Type::Map(_) | Type::Args, Value::Object(map)) if rest.is_empty() => {
                map.shift_remove(*first).map(drop).ok_or(LOOKUP)
            }
            (Type::Map(item), Value::Object(map)) => self.below(item, map.get_mut(*first).ok_or(LOOKUP)?, rest, minor),
            (Type::Free, Value::Object(map)) => {
                if rest.is_empty() {
                    map.shift_remove(*first).map(drop).ok_or(LOOKUP)
                } else if minor.deletes_in_free_form {
                    self.below(&Type::Free, map.get_mut(*first).ok_or(LOOKUP)?, rest, minor)
                } else {
                    Err(LOOKUP)
                }
            }
            (Type::List(item), Value::Array(list)) => {
                if !rest.is_empty() {
                    return Err("searching for complex paths in slices is not supported");
                }
                let Type::Struct(root) = &**item else { return Err(LOOKUP) };
                let Some((key, Some(text))) = &self.element else { return Err(LOOKUP) };
                let by_text = match root.field(key).map(|field| &field.kind) {
                    Some(Type::Text(Text::Any)) => true,
                    // Types with a textual form of their own, from 1.12 on.
                    Some(Type::Text(_)) => minor.errors_name_document,
                    _ => false,
                };
                let found = list.iter().position(|item| item.get(key).and_then(Value::as_str) == Some(text));
                list.remove(found.filter(|_| by_text).ok_or(LOOKUP)?);
                Ok(())
            }
            _ => Err(LOOKUP),
        }
    }
}
