//! A machine configuration: an ordered list of documents.
//!
//! Parsing is strict and decodes by the field table; writing follows the table's order and its rules about zeros.
//! Between the two a document is a `serde_json::Value` tree, so merging and reading need no struct per kind.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::decode::{self, DecodeError, Header};
use super::minor::Minor;
use super::patch::Selector;
use super::schema::{self, Kind};
use super::yaml::{self, Data, Node, Style};
use super::{encode, exclude};

/// One document. No `Debug`: configurations hold keys and tokens.
#[derive(Clone)]
pub struct Document {
    schema: &'static Kind,
    /// The Talos that read it, which is the one that writes it.
    minor: Minor,
    /// A deletion that found nothing, which stands in the list itself. Written it is `{}`, and nothing reads that.
    leftover: Option<Box<Selector>>,
    /// Decoded form: what Go's struct would hold, without `apiVersion` and `kind`.
    pub(super) body: Map<String, Value>,
}

impl Document {
    pub(super) fn new(schema: &'static Kind, minor: Minor, body: Map<String, Value>) -> Self {
        Self { schema, minor, leftover: None, body }
    }

    pub(super) fn of_leftover(selector: Selector, minor: Minor) -> Self {
        Self { leftover: Some(Box::new(selector)), ..Self::new(schema::leftover(), minor, Map::new()) }
    }

    pub(super) fn minor(&self) -> &Minor {
        &self.minor
    }

    pub(super) fn leftover(&self) -> Option<&Selector> {
        self.leftover.as_deref()
    }

    pub(super) fn schema(&self) -> &'static Kind {
        self.schema
    }

    /// `HostnameConfig`; empty for the v1alpha1 document.
    pub fn kind(&self) -> &'static str {
        self.schema.name
    }

    /// The name of a named kind, `EPHEMERAL` of a `VolumeConfig`.
    pub fn name(&self) -> Option<&str> {
        self.schema.is_named().then(|| self.body.get("name").and_then(Value::as_str).unwrap_or_default())
    }

    /// What makes two documents the same one: `v1alpha1/UserVolumeConfig/data`.
    pub(super) fn id(&self) -> String {
        match (&self.leftover, self.name()) {
            (Some(selector), _) => selector.id(),
            _ if self.schema.name.is_empty() => "/v1alpha1".to_owned(),
            (None, Some(name)) => format!("v1alpha1/{}/{name}", self.schema.name),
            (None, None) => format!("v1alpha1/{}", self.schema.name),
        }
    }

    /// The value at `path`, decoded form: `["machine", "network", "hostname"]`. Absent for zero.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.body.get(*first)?, |value, key| value.get(key))
    }

    /// The document as it is written: every field that Go would write, in Go's order.
    pub fn tree(&self) -> Value {
        encode::document(self).to_value()
    }
}

/// An ordered list of documents, v1alpha1 first.
#[derive(Clone, Default)]
pub struct Documents {
    pub(super) list: Vec<Document>,
}

impl Documents {
    /// Reads a configuration as the newest Talos known here would.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        Self::parse_for(text, &Minor::NEWEST)
    }

    /// Reads a configuration as a machine of this Talos minor would: kinds and fields it does not know are errors.
    pub fn parse_for(text: &str, minor: &Minor) -> Result<Self, DecodeError> {
        let nodes = yaml::documents(text)?;
        let documents = Self::decode(&nodes, minor, false)?;
        documents.checked(&nodes, minor)
    }

    /// Decodes every document. In a patch, ids may repeat where the minor allows it.
    pub(super) fn decode(nodes: &[Node], minor: &Minor, patch: bool) -> Result<Self, DecodeError> {
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for node in nodes.iter().filter(|node| minor.null_documents_fail || !node.is_null()) {
            let Data::Map(_) = &node.data else {
                let text = if minor.errors_name_document {
                    format!("expected a YAML document at line {}", node.line)
                } else {
                    "recovered: expected a mapping node".to_owned()
                };
                return Err(DecodeError::NoMapping { text, line: node.line });
            };
            let header = Header::of(node);
            let id = header.id();
            let may_repeat = patch && minor.patch_may_repeat_document;
            if !seen.insert(id.clone()) && !may_repeat {
                let at = if minor.errors_name_document { format!(" (line {})", node.line) } else { String::new() };
                return Err(DecodeError::Duplicate { id, at, line: node.line });
            }
            list.push(decode::document(node, minor)?);
        }
        if list.is_empty() { Err(DecodeError::Empty) } else { Ok(Self { list }) }
    }

    /// Trees that never were text. They are ours or were decoded before, so they pass the same table.
    pub(super) fn from_trees(trees: &[Value], minor: &Minor) -> Result<Self, DecodeError> {
        let nodes: Vec<Node> = trees.iter().map(Node::of_value).collect();
        Self::decode(&nodes, minor, false)?.checked(&nodes, minor)
    }

    /// What documents may not stand beside each other, and v1alpha1 first. The nodes are what they were decoded from.
    pub(super) fn checked(self, nodes: &[Node], minor: &Minor) -> Result<Self, DecodeError> {
        let mut documents = self.checked_in_order(nodes, minor)?;
        documents.list.sort_by_key(|document| !document.kind().is_empty());
        Ok(documents)
    }

    /// As [`Self::checked`], but for the order: patches do what they say one after the other.
    pub(super) fn checked_in_order(self, nodes: &[Node], minor: &Minor) -> Result<Self, DecodeError> {
        exclude::check(&self.list, minor).map_err(|clash| {
            let line = nodes.iter().filter(|node| !node.is_null()).nth(clash.at).map_or(0, |node| node.line);
            DecodeError::Conflict { text: clash.text, line }
        })?;
        Ok(self)
    }

    /// The documents in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Document> {
        self.list.iter()
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The v1alpha1 document.
    pub(super) fn v1alpha1(&self) -> Option<&Document> {
        self.of_kind("").next()
    }

    pub(super) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Document> {
        self.list.iter().filter(move |document| document.kind() == kind)
    }

    pub(super) fn has_kind(&self, kind: &str) -> bool {
        self.of_kind(kind).next().is_some()
    }

    /// Whether a deletion that found nothing stands among the documents: what is written then cannot be read again.
    pub fn has_leftover(&self) -> bool {
        self.list.iter().any(|document| document.leftover.is_some())
    }

    /// Every document as it is written.
    pub fn trees(&self) -> Vec<Value> {
        self.list.iter().map(Document::tree).collect()
    }

    /// The file to send to a machine: documents separated by `---`, Go's key order, no anchors, no comments.
    pub fn to_yaml(&self) -> String {
        yaml::joined(self.list.iter().map(encode::document))
    }
}

impl<'a> IntoIterator for &'a Documents {
    type Item = &'a Document;
    type IntoIter = std::slice::Iter<'a, Document>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

/// A document of nothing but scalars that identify says nothing, and is skipped.
pub(super) fn is_bare(entries: &[(String, Node)]) -> bool {
    entries.iter().all(|(key, node)| {
        let alias = matches!(node.style, Style::Alias(_));
        matches!(key.as_str(), "version" | "kind" | "name") && matches!(node.data, Data::Scalar { .. }) && !alias
    })
}
