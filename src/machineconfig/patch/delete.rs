//! `$patch: delete`: taken out of a patch before it decodes, applied before the rest of it merges.
//!
//! A selector addresses a whole document, a field or key by its path, or the first element of a list whose field has
//! a value. Nothing can be deleted *inside* an element of a list.

use serde_json::{Map, Value};

use crate::machineconfig::decode::{DecodeError, Header};
use crate::machineconfig::documents::Document;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::place;
use crate::machineconfig::schema::{Struct, Text, Type};
use crate::machineconfig::yaml::{Data, Node, Style, SyntaxError};

const PATCH: &str = "$patch";

/// What one `$patch: delete` asks for.
#[derive(Clone)]
pub(in crate::machineconfig) struct Selector {
    header: Header,
    /// Empty: the document itself. Elements of lists are `[0]`.
    path: Vec<String>,
    /// For an element of a list: the field that identifies it, and that field's text; empty for what is no scalar.
    element: Option<(String, String)>,
}

/// Takes every deletion out of a document that begins at `line`; what is left is `None` when the deletions were all of
/// it.
pub(super) fn extract(line: usize, node: Node, minor: &Minor) -> Result<(Vec<Selector>, Option<Node>), DecodeError> {
    let is_map = node.as_map().is_some();
    let missing = ["apiVersion", "kind"].into_iter().find(|key| node.get(key).is_none());
    let mut walk = Walk { header: Header::of(&node), is_map, missing, path: Vec::new(), found: Vec::new() };
    // Where it failed, the walk has stopped.
    match walk.node(node, Above::Nothing) {
        Ok(left) => Ok((walk.found, left)),
        Err(what) => {
            let path = place::path(&walk.path);
            if minor.errors_name_document {
                Err(DecodeError::Delete { line, path, what })
            } else {
                Err(DecodeError::DeletePlain { line, path, what })
            }
        }
    }
}

/// What a node stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    Nothing,
    Map,
    List,
}

struct Walk {
    header: Header,
    /// Whether the document is a mapping: nothing else can say what it is.
    is_map: bool,
    /// The first key that it would need to go as a whole.
    missing: Option<&'static str>,
    path: Vec<String>,
    found: Vec<Selector>,
}

impl Walk {
    /// The node without its deletions; `None` when it is to go itself, or when that leaves nothing of what was
    /// something. Aliases are left alone.
    fn node(&mut self, mut node: Node, above: Above) -> Result<Option<Node>, String> {
        if matches!(node.style, Style::Alias(_)) {
            return Ok(Some(node));
        }
        let data = match std::mem::replace(&mut node.data, Data::List(Vec::new())) {
            Data::Map(entries) => {
                let mut kept: Vec<(String, Node)> = Vec::new();
                let mut entries = entries.into_iter();
                let mut lost = false;
                while let Some((key, value)) = entries.next() {
                    let word = matches!(&value.data, Data::Scalar { text, .. } if text == "delete");
                    if key == PATCH && word && !matches!(value.style, Style::Alias(_)) {
                        kept.extend(entries);
                        self.hit(above, kept.first())?;
                        return Ok(None);
                    }
                    self.path.push(key.clone());
                    match self.node(value, Above::Map)? {
                        Some(value) => kept.push((key, value)),
                        None => lost = true,
                    }
                    self.path.pop();
                }
                if lost && kept.is_empty() {
                    return Ok(None);
                }
                // A key that stood there twice may stand there once now.
                if let Some(SyntaxError::DuplicateKey { key, .. }) = node.wrong.as_deref()
                    && kept.iter().filter(|(name, _)| name == key).count() < 2
                {
                    node.wrong = None;
                }
                Data::Map(kept)
            }
            Data::List(items) => {
                let mut kept = Vec::new();
                let mut lost = false;
                for item in items {
                    // Elements move up when one before them goes.
                    self.path.push(format!("[{}]", kept.len()));
                    match self.node(item, Above::List)? {
                        Some(item) => kept.push(item),
                        None => lost = true,
                    }
                    self.path.pop();
                }
                if lost && kept.is_empty() {
                    return Ok(None);
                }
                Data::List(kept)
            }
            scalar @ Data::Scalar { .. } => scalar,
        };
        Ok(Some(Node { data, ..node }))
    }

    /// Notes a deletion. `first` is the first entry beside it: that is what an element of a list is known by.
    fn hit(&mut self, above: Above, first: Option<&(String, Node)>) -> Result<(), String> {
        let path = self.path.join(".");
        if above != Above::List {
            for part in &self.path {
                if part.is_empty() {
                    return Err("runtime error: index out of range [0] with length 0".to_owned());
                }
                if part.starts_with('[') {
                    return Err(format!("cannot delete an inner key in '{path}'"));
                }
            }
        }
        let element = match (above, first) {
            (Above::List, None) => return Err(format!("no key:val found in sequence node for path {path}")),
            (Above::List, Some((key, value))) => Some((key.clone(), value.source().unwrap_or_default().to_owned())),
            (Above::Nothing | Above::Map, _) => None,
        };
        if !self.is_map {
            return Err("expected a mapping node".to_owned());
        }
        let Header { api_version, kind, .. } = &self.header;
        if let Some(key) = self.missing.filter(|_| self.path.is_empty()) {
            return Err(format!("missing {key} in document for which $patch: delete is used"));
        }
        if kind.is_empty() != api_version.is_empty() {
            return Err(format!("kind and apiVersion must be both set for path {path}"));
        }
        self.found.push(Selector { header: self.header.clone(), path: self.path.clone(), element });
        Ok(())
    }
}

const LOOKUP: &str = "lookup failed";
const COMPLEX: &str = "searching for complex paths in slices is not supported";

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

    /// The document that is meant, as [`Document::id`] has it.
    pub(in crate::machineconfig) fn id(&self) -> String {
        let Header { api_version, kind, name } = &self.header;
        let kind = if kind.is_empty() { "v1alpha1" } else { kind };
        let slash = if name.is_empty() { "" } else { "/" };
        format!("{api_version}/{kind}{slash}{name}")
    }

    /// Whether it has a name. Of these a Talos that leaves them over cannot even write what is left.
    pub(super) fn is_named(&self) -> bool {
        !self.header.name.is_empty()
    }

    /// Whether it is about the document that has no kind.
    pub(super) fn is_v1alpha1(&self) -> bool {
        self.header.kind.is_empty()
    }

    /// Whether the whole document is to go.
    pub(super) fn is_whole(&self) -> bool {
        self.path.is_empty()
    }

    /// Deletes what is selected inside of a document.
    pub(super) fn apply(&self, document: &mut Document, minor: &Minor) -> Result<(), String> {
        if document.leftover().is_some() {
            return Err(self.explain(LOOKUP));
        }
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
        let known = |name: &str, root: &'_ Struct| root.field(name).is_some_and(|field| minor.knows(field.since));
        let field = root.field(first).filter(|field| minor.knows(field.since)).ok_or(LOOKUP)?;
        if rest.is_empty() {
            body.shift_remove(*first);
            return Ok(());
        }
        let Some(value) = body.get_mut(*first) else {
            // A struct that is no pointer is always there, and deleting a zero field of it is no lookup.
            let plain = matches!(&field.kind, Type::Struct(inner) if !field.pointer && known(rest[0], inner));
            return match &field.kind {
                _ if plain && rest.len() == 1 => Ok(()),
                Type::List(_) if rest.len() > 1 => Err(COMPLEX),
                _ => Err(LOOKUP),
            };
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
            (Type::Free, Value::Object(map)) if minor.deletes_in_free_form => {
                if rest.is_empty() {
                    map.shift_remove(*first).map(drop).ok_or(LOOKUP)
                } else {
                    self.below(&Type::Free, map.get_mut(*first).ok_or(LOOKUP)?, rest, minor)
                }
            }
            (Type::List(item), Value::Array(list)) => {
                if !rest.is_empty() {
                    return Err(COMPLEX);
                }
                let Type::Struct(root) = &**item else { return Err(LOOKUP) };
                let Some((key, text)) = &self.element else { return Err(LOOKUP) };
                let by_text = root.field(key).is_some_and(|field| match &field.kind {
                    Type::Text(Text::Any) => !field.pointer,
                    // Types with a textual form of their own, from 1.12 on.
                    Type::Text(_) | Type::Duration | Type::Url => minor.errors_name_document,
                    _ => false,
                });
                let shown = |item: &Value| match item.get(key) {
                    Some(Value::Number(mode)) => format!("0o{:o}", mode.as_u64().unwrap_or_default()),
                    value => value.and_then(Value::as_str).unwrap_or_default().to_owned(),
                };
                let found = list.iter().position(|item| shown(item) == *text);
                list.remove(found.filter(|_| by_text).ok_or(LOOKUP)?);
                Ok(())
            }
            _ => Err(LOOKUP),
        }
    }
}
