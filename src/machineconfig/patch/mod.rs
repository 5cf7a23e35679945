//! Patches: what the user, and the product itself, changes in a generated configuration.
//!
//! Two kinds, told apart as talosctl does: *strategic* ones look like a configuration and merge; *JSON patches*
//! (RFC 6902) are lists of operations, and work on configurations of a single document only, which from contract 1.12
//! on none is. They apply strictly in order. Where Talos would crash, this reports an error instead; where it differs
//! between versions, the machine's [`Minor`] decides.

mod delete;
mod form;
pub(super) mod json6902;
mod source;

use std::sync::Arc;

use serde_json::Value;

pub(super) use self::delete::Selector;
use self::json6902::Operation;
pub use self::source::{Argument, PatchError, PatchSource, Within, argument};
use super::decode::DecodeError;
use super::documents::{Document, Documents};
use super::minor::Minor;
use super::place::{self, Place};
use super::{exclude, merge, yaml};

/// One loaded patch.
#[derive(Clone)]
pub struct Patch {
    source: PatchSource,
    /// As it was written, to find places in.
    text: Arc<str>,
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
        let whole: Arc<str> = text.into();
        let strategic = match strategic(text, minor) {
            Ok(items) => return Ok(Self { source, text: whole, body: Body::Strategic(items) }),
            Err(error) => error,
        };
        // A deletion knows only where its document begins.
        let exact = |place: Place| match &strategic {
            DecodeError::Delete { path, .. } | DecodeError::DeletePlain { path, .. } => place::find(text, path),
            _ => place.at_key(text),
        };
        let places = strategic.places().into_iter().map(exact).collect();
        match json6902::parse(text, minor) {
            Ok(operations) => Ok(Self { source, text: whole, body: Body::Json(operations) }),
            Err(json) if text.trim_start().starts_with('[') => Err(PatchError { patch: source, places, text: json }),
            Err(_) => Err(PatchError { patch: source, places, text: strategic.to_string() }),
        }
    }

    /// A strategic patch made of trees, for what the product adds itself.
    pub(super) fn native(what: &'static str, trees: &[Value]) -> Self {
        let documents = trees.iter().map(|tree| {
            super::decode::document(&yaml::Node::of_value(tree), &Minor::NEWEST)
                .unwrap_or_else(|error| panic!("the product's own {what} patch decodes: {error}"))
        });
        let body = Body::Strategic(documents.map(Item::Merge).collect());
        Self { source: PatchSource::Native(what), text: "".into(), body }
    }

    /// A patch that deletes the one document of a kind, if it is there.
    pub(super) fn native_delete(what: &'static str, kind: &str) -> Self {
        let items = vec![Item::Delete(Selector::document(kind))];
        Self { source: PatchSource::Native(what), text: "".into(), body: Body::Strategic(items) }
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
            return Err(PatchError { patch: self.source, places: Vec::new(), text: text.to_owned() });
        }
        Ok(self)
    }

    /// Whether this is a list of RFC 6902 operations, which no configuration of several documents takes.
    pub fn is_json6902(&self) -> bool {
        matches!(self.body, Body::Json(_))
    }
}

fn strategic(text: &str, minor: &Minor) -> Result<Vec<Item>, DecodeError> {
    let read = yaml::documents_at(text);
    let mut items = Vec::new();
    let mut rest = Vec::new();
    // Selectors and the documents left over are decoded apart, so remember which selectors come before which.
    let mut order = Vec::new();
    for (line, node) in read.list {
        if node.is_null() && !minor.null_documents_fail {
            continue;
        }
        // Documents are read one after the other, so an error in one before this comes first.
        let (selectors, left) =
            delete::extract(line, node, minor).map_err(|error| match Documents::decode(&rest, minor, true) {
                Err(earlier) if !matches!(earlier, DecodeError::Empty) => earlier,
                _ => error,
            })?;
        let kept = left.into_iter().filter(|node| node.as_map().is_none_or(|map| !super::documents::is_bare(map)));
        let before = rest.len();
        rest.extend(kept);
        order.push((selectors, rest.len() > before));
    }
    let any = order.iter().any(|(selectors, _)| !selectors.is_empty());
    let documents = match (Documents::decode(&rest, minor, true), read.end) {
        (Ok(_) | Err(DecodeError::Empty), Some(end)) => return Err(end.into()),
        (Err(DecodeError::Empty), None) if any => Vec::new(),
        (decoded, _) if minor.patch_may_repeat_document => decoded?.list,
        (decoded, _) => decoded?.checked_in_order(&rest, minor)?.list,
    };
    let mut documents = documents.into_iter();
    for (selectors, has_document) in order {
        items.extend(selectors.into_iter().map(Item::Delete));
        if has_document {
            items.extend(documents.next().map(Item::Merge));
        }
    }
    // Whatever stands where: first what goes from v1alpha1, then what merges into it, then the other documents.
    items.sort_by_key(|item| match item {
        Item::Delete(selector) if selector.is_v1alpha1() => 0,
        Item::Merge(document) if document.kind().is_empty() => 1,
        Item::Delete(_) | Item::Merge(_) => 2,
    });
    Ok(items)
}

/// Applies patches in order. The input is untouched; a failure names the patch.
pub fn apply(documents: &Documents, patches: &[Patch], minor: &Minor) -> Result<Documents, PatchError> {
    let mut state = State::Documents(documents.clone());
    let mut before: Option<&Patch> = None;
    for patch in patches {
        let next = match &patch.body {
            Body::Strategic(items) => match state.documents(minor) {
                Ok(documents) => merged(documents, items, minor),
                // The JSON patch before it is to blame.
                Err(error) => return Err(undecodable(&error, before)),
            },
            Body::Json(operations) => state.tree().map_err(Wrong::from).and_then(|tree| {
                let place = |(at, text): (usize, String)| Wrong { text, operation: Some(at), ..Wrong::default() };
                json6902::apply(tree, operations).map(State::Tree).map_err(place)
            }),
        };
        state = next.map_err(|wrong| patch.wrong(wrong))?;
        before = Some(patch);
    }
    let mut documents = state.documents(minor).map_err(|error| undecodable(&error, before))?;
    // Where Talos crashes when it writes these, 1.14 is followed, which passes over them.
    documents.list.retain(|document| document.leftover().is_none_or(|selector| !selector.is_named()));
    Ok(documents)
}

/// What a JSON patch made of the configuration is none.
fn undecodable(error: &DecodeError, patch: Option<&Patch>) -> PatchError {
    let Some(patch) = patch else {
        return PatchError { patch: PatchSource::Native("empty"), places: Vec::new(), text: error.to_string() };
    };
    let places = error.places().iter().map(|place| patch.operation_at(&place.path)).collect();
    PatchError { patch: patch.source.clone(), places, text: error.to_string() }
}

/// Where the last of these patches sets a field that validation says stands beside the document that replaces it.
pub fn blame(error: &str, patches: &[Patch]) -> Option<String> {
    let fields = super::validate::fields_of(error);
    let place = |patch: &Patch| {
        let places: Vec<Place> = match &patch.body {
            Body::Strategic(_) => fields.iter().map(|field| place::find(&patch.text, field)).collect(),
            Body::Json(_) => fields.iter().map(|field| patch.operation_at(field)).collect(),
        };
        let place = places.into_iter().find(|place| place.line > 0)?;
        Some(PatchError { patch: patch.source.clone(), places: vec![place], text: String::new() }.place())
    };
    patches.iter().rev().find_map(place)
}

/// Why a patch does not apply, and which part of it.
#[derive(Default)]
struct Wrong {
    text: String,
    path: String,
    /// Of a JSON patch, from 0.
    operation: Option<usize>,
    /// Kind and name of the document that is one too many.
    document: Option<(String, Option<String>)>,
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl Patch {
    fn wrong(&self, wrong: Wrong) -> PatchError {
        let places = match (wrong.operation, &self.body) {
            (Some(at), Body::Json(operations)) => vec![place::operation(&self.text, at, operations[at].pointer())],
            _ if wrong.document.is_some() => {
                let (kind, name) = wrong.document.unwrap_or_default();
                place::document(&self.text, &kind, name.as_deref()).into_iter().collect()
            }
            _ if wrong.path.is_empty() => Vec::new(),
            _ => vec![place::find(&self.text, &wrong.path)],
        };
        PatchError { patch: self.source.clone(), places, text: wrong.text }
    }

    /// The place of the last operation that made the value at `path`, or something above it.
    fn operation_at(&self, path: &str) -> Place {
        let Body::Json(operations) = &self.body else { return place::find(&self.text, path) };
        let places = operations.iter().enumerate().map(|(at, one)| place::operation(&self.text, at, one.pointer()));
        let made = places.rev().find(|place| path.starts_with(&place.path));
        Place { path: path.to_owned(), ..made.unwrap_or_default() }
    }
}

/// Between patches a configuration is documents, or after a JSON patch a tree that nobody has decoded yet.
enum State {
    Documents(Documents),
    Tree(Value),
}

impl State {
    fn documents(self, minor: &Minor) -> Result<Documents, DecodeError> {
        match self {
            Self::Documents(documents) => Ok(documents),
            Self::Tree(tree) => Documents::from_trees(&[tree], minor),
        }
    }

    fn tree(self) -> Result<Value, String> {
        match self {
            Self::Documents(documents) if documents.len() == 1 => {
                let mut tree = documents.trees().remove(0);
                yaml::as_texts(&mut tree);
                Ok(tree)
            }
            Self::Documents(_) => {
                Err("JSON6902 patches are not supported for multi-document machine configuration".to_owned())
            }
            Self::Tree(tree) => Ok(tree),
        }
    }
}

fn merged(mut documents: Documents, items: &[Item], minor: &Minor) -> Result<State, Wrong> {
    let list = &mut documents.list;
    // Where deletions are left over, a patch does not see what it appended itself.
    let mut before = list.len();
    for item in items {
        let seen = if minor.deletes_left_over { before } else { list.len() };
        let id = match item {
            Item::Delete(selector) => selector.id(),
            Item::Merge(document) => document.id(),
        };
        match (item, list[..seen].iter().rposition(|document| document.id() == id)) {
            (Item::Delete(selector), Some(at)) if selector.is_whole() => {
                list.remove(at);
                before -= usize::from(at < before);
            }
            (Item::Delete(selector), Some(at)) => selector.apply(&mut list[at], minor).map_err(|text| Wrong {
                text,
                path: selector.path(),
                ..Wrong::default()
            })?,
            (Item::Delete(selector), None) if minor.deletes_left_over => {
                list.push(Document::of_leftover(selector.clone(), *minor));
            }
            (Item::Delete(_), None) => {}
            (Item::Merge(right), Some(at)) => {
                let left = &mut list[at];
                if let Some(selector) = left.leftover() {
                    return Err(merge::onto_leftover(right.kind(), selector.is_named()).into());
                }
                merge::documents(left.schema(), &mut left.body, &right.body, minor).map_err(|error| Wrong {
                    text: error.to_string(),
                    path: error.path().to_owned(),
                    ..Wrong::default()
                })?;
            }
            (Item::Merge(right), None) => list.push(right.clone()),
        }
    }
    exclude::check(list, minor).map_err(|clash| {
        let document = &list[clash.at];
        let document = Some((document.kind().to_owned(), document.name().map(str::to_owned)));
        Wrong { text: clash.text, document, ..Wrong::default() }
    })?;
    list.sort_by_key(|document| !document.kind().is_empty());
    Ok(State::Documents(documents))
}
