//! Patches: what the user, and the product itself, changes in a generated configuration.
//!
//! Two kinds, told apart as talosctl does: *strategic* ones look like a configuration and merge; *JSON patches*
//! (RFC 6902) are lists of operations, and work on configurations of a single document only, which from contract 1.12
//! on none is. They apply strictly in order. Where Talos would crash, this reports an error instead; where it differs
//! between versions, the machine's [`Minor`] decides.

mod delete;
mod form;
pub(super) mod json6902;

use std::fmt;

use serde_json::Value;

use self::delete::Selector;
use self::json6902::Operation;
use super::decode::DecodeError;
use super::documents::{Document, Documents};
use super::minor::Minor;
use super::{exclude, merge, yaml};

/// Where a patch comes from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchSource {
    /// The path as the user wrote it.
    File(String),
    /// Given in place: `talos.patches.all[0]`.
    Inline(String),
    /// Made by the product: `hostname`.
    Native(&'static str),
}

impl fmt::Display for PatchSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "patch {path}"),
            Self::Inline(place) => write!(f, "patch at {place}"),
            Self::Native(what) => write!(f, "pvetalos's own {what} patch"),
        }
    }
}

/// A patch failed to load or to apply. `text` is what Talos says about it.
#[derive(Debug, thiserror::Error)]
#[error("{patch}: {text}")]
pub struct PatchError {
    pub patch: PatchSource,
    pub text: String,
}

/// What a patch argument on a talosctl command line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// Read this file, and load its content.
    File(&'a str),
    Content(&'a str),
}

/// Tells file names from content: `@file`; from 1.12 on also one bare word.
pub fn argument<'a>(text: &'a str, minor: &Minor) -> Argument<'a> {
    if let Some(path) = text.strip_prefix('@') {
        return Argument::File(path);
    }
    let bare_word = !text.contains(['\n', ' ']) && !text.starts_with(['[', '{']);
    if bare_word && minor.bare_word_is_file { Argument::File(text) } else { Argument::Content(text) }
}

/// One loaded patch.
#[derive(Clone)]
pub struct Patch {
    source: PatchSource,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Strategic(Vec<Item>),
    Json(Vec<Operation>),
}

/// One thing that a strategic patch does, in order.
#[derive(Clone)]
enum Item {
    Delete(Selector),
    Merge(Document),
}

impl Patch {
    /// Loads a patch for machines of this Talos minor: unknown kinds and keys are errors here already.
    pub fn load(text: &str, source: PatchSource, minor: &Minor) -> Result<Self, PatchError> {
        let fail = |text: String| PatchError { patch: source.clone(), text };
        let strategic = match strategic(text, minor) {
            Ok(items) => return Ok(Self { source, body: Body::Strategic(items) }),
            Err(error) => error,
        };
        let operations = match json6902::parse(text, minor) {
            Ok(operations) => operations,
            Err(json) if text.trim_start().starts_with('[') => return Err(fail(json)),
            Err(_) => return Err(fail(strategic.to_string())),
        };
        Ok(Self { source, body: Body::Json(operations) })
    }

    /// A strategic patch made of trees, for what the product adds itself.
    pub(super) fn native(what: &'static str, trees: &[Value]) -> Self {
        let documents = trees.iter().map(|tree| {
            super::decode::document(&yaml::Node::of_value(tree), &Minor::NEWEST)
                .unwrap_or_else(|error| panic!("the product's own {what} patch decodes: {error}"))
        });
        Self { source: PatchSource::Native(what), body: Body::Strategic(documents.map(Item::Merge).collect()) }
    }

    /// A patch that deletes the one document of a kind, if it is there.
    pub(super) fn native_delete(what: &'static str, kind: &str) -> Self {
        let items = vec![Item::Delete(Selector::document(kind))];
        Self { source: PatchSource::Native(what), body: Body::Strategic(items) }
    }

    /// Whether it merges a document of this kind.
    pub(super) fn brings(&self, kind: &str) -> bool {
        match &self.body {
            Body::Strategic(items) => {
                items.iter().any(|item| matches!(item, Item::Merge(document) if document.kind() == kind))
            }
            Body::Json(_) => false,
        }
    }

    pub fn source(&self) -> &PatchSource {
        &self.source
    }

    /// For a JSON patch a strategic one of the same fields, as YAML to show where no configuration is at hand; `None`
    /// where there is none: moves, tests, and anything inside a list. Where the second is set, a list or an object that
    /// the JSON patch puts in the place of another merges instead: see [`Self::strategic_form`].
    pub fn strategic_sketch(&self) -> Option<(String, bool)> {
        let Body::Json(operations) = &self.body else { return None };
        let tree = json6902::strategic(operations)?;
        Some((yaml::emit(&tree), json6902::replaces(operations)))
    }

    /// Refuses what the machine would pass over without a word: Talos 1.11 takes a text that begins with an empty
    /// document for an empty list of operations, whatever comes after.
    pub fn heard(self, text: &str) -> Result<Self, PatchError> {
        let says =
            |line: &str| !matches!(line.trim(), "" | "---" | "null" | "~" | "[]") && !line.trim().starts_with('#');
        if matches!(&self.body, Body::Json(operations) if operations.is_empty()) && text.lines().any(says) {
            let text = "Talos would ignore all of this, because its first document is empty: remove the leading `---`";
            return Err(PatchError { patch: self.source, text: text.to_owned() });
        }
        Ok(self)
    }

    /// Whether this is a list of RFC 6902 operations, which no configuration of several documents takes.
    pub fn is_json6902(&self) -> bool {
        matches!(self.body, Body::Json(_))
    }
}

fn strategic(text: &str, minor: &Minor) -> Result<Vec<Item>, DecodeError> {
    let nodes = yaml::documents(text)?;
    let mut items = Vec::new();
    let mut rest = Vec::new();
    // Selectors and the documents left over are decoded apart, so remember which selectors come before which.
    let mut order = Vec::new();
    for node in nodes {
        if node.is_null() && !minor.null_documents_fail {
            continue;
        }
        let (selectors, left) = delete::extract(node, minor)?;
        let kept = left.into_iter().filter(|node| node.as_map().is_none_or(|map| !super::documents::is_bare(map)));
        let before = rest.len();
        rest.extend(kept);
        order.push((selectors, rest.len() > before));
    }
    let any = order.iter().any(|(selectors, _)| !selectors.is_empty());
    let documents = match Documents::decode(&rest, minor, true) {
        Err(DecodeError::Empty) if any => Vec::new(),
        decoded => decoded?.list,
    };
    let mut documents = documents.into_iter();
    for (selectors, has_document) in order {
        items.extend(selectors.into_iter().map(Item::Delete));
        if has_document {
            items.extend(documents.next().map(Item::Merge));
        }
    }
    Ok(items)
}

/// Applies patches in order. The input is untouched; a failure names the patch.
pub fn apply(documents: &Documents, patches: &[Patch], minor: &Minor) -> Result<Documents, PatchError> {
    let mut state = State::Documents(documents.clone());
    for patch in patches {
        let next = match &patch.body {
            Body::Strategic(items) => state.documents(minor).and_then(|documents| merged(documents, items, minor)),
            Body::Json(operations) => state.tree().and_then(|tree| json6902::apply(tree, operations)).map(State::Tree),
        };
        state = next.map_err(|text| PatchError { patch: patch.source.clone(), text })?;
    }
    let last = patches.last().map_or(PatchSource::Native("empty"), |patch| patch.source.clone());
    state.documents(minor).map_err(|text| PatchError { patch: last, text })
}

/// Between patches a configuration is documents, or after a JSON patch a tree that nobody has decoded yet.
enum State {
    Documents(Documents),
    Tree(Value),
}

impl State {
    fn documents(self, minor: &Minor) -> Result<Documents, String> {
        match self {
            Self::Documents(documents) => Ok(documents),
            Self::Tree(tree) => Documents::from_trees(&[tree], minor).map_err(|error| error.to_string()),
        }
    }

    fn tree(self) -> Result<Value, String> {
        match self {
            Self::Documents(documents) if documents.len() == 1 => Ok(documents.trees().remove(0)),
            Self::Documents(_) => {
                Err("JSON6902 patches are not supported for multi-document machine configuration".to_owned())
            }
            Self::Tree(tree) => Ok(tree),
        }
    }
}

fn merged(mut documents: Documents, items: &[Item], minor: &Minor) -> Result<State, String> {
    for item in items {
        match item {
            Item::Delete(selector) => selector.apply(&mut documents, minor)?,
            Item::Merge(right) => match documents.list.iter_mut().find(|left| left.same_as(right)) {
                Some(left) => merge::documents(left.schema(), &mut left.body, &right.body, minor)
                    .map_err(|error| error.to_string())?,
                None => documents.list.push(right.clone()),
            },
        }
    }
    exclude::check(&documents.list)?;
    documents.list.sort_by_key(|document| !document.kind().is_empty());
    Ok(State::Documents(documents))
}
