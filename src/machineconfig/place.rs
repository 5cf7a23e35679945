//! Where in somebody's text something is wrong: the line, and the path in the document.
//!
//! Talos names a line in some of its errors and a path in others; a person looks for both.

use std::fmt;

use super::yaml::{self, Data, Node};

/// One place in a patch or a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 1; 0 where only the path is known.
    pub line: usize,
    /// `machine.network.interfaces[0].dhcp`; empty for a whole document.
    pub path: String,
    /// In a JSON patch: the operation, from 0.
    pub operation: Option<usize>,
}

impl Place {
    pub(super) fn line(line: usize) -> Self {
        Self { line, ..Self::default() }
    }

    /// A value that is a block begins below its key; this goes up to the key, which is what people look for.
    pub(super) fn at_key(self, text: &str) -> Self {
        let key = self.path.rsplit(['.', ']']).next().unwrap_or_default();
        if key.is_empty() || self.line == 0 {
            return self;
        }
        let above: Vec<&str> = text.lines().take(self.line).collect();
        let line = above.iter().rposition(|line| line.contains(key)).map_or(self.line, |at| at + 1);
        Self { line, ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.path.as_str()) {
            (0, path) => write!(f, " ({path})"),
            (line, "") => write!(f, ":{line}"),
            (line, path) => write!(f, ":{line} ({path})"),
        }
    }
}

/// Keys and `[0]` as one path.
pub(super) fn path(parts: &[String]) -> String {
    let mut path = String::new();
    for part in parts {
        if !path.is_empty() && !part.starts_with('[') {
            path.push('.');
        }
        path.push_str(part);
    }
    path
}

/// The place of a path in a text, in whichever document has it.
pub(super) fn find(text: &str, path: &str) -> Place {
    let documents = yaml::documents(text).unwrap_or_default();
    let line = documents.iter().find_map(|document| below(document, path));
    let place = Place { line: line.unwrap_or_default(), path: path.to_owned(), operation: None };
    if line.is_some() { place.at_key(text) } else { place }
}

/// Where the last document of a kind and a name begins.
pub(super) fn document(text: &str, kind: &str, name: Option<&str>) -> Option<Place> {
    let documents = yaml::documents(text).unwrap_or_default();
    let is = |node: &&Node| {
        let word = |key| node.get(key).and_then(Node::text).unwrap_or_default();
        word("kind") == kind && name.is_none_or(|name| word("name") == name)
    };
    documents.iter().rfind(is).map(|node| Place::line(node.line))
}

/// Keys may hold dots, so they are tried one by one instead of being split off.
fn below(node: &Node, path: &str) -> Option<usize> {
    if path.is_empty() {
        return Some(node.line);
    }
    match &node.data {
        Data::Map(entries) => entries.iter().find_map(|(key, value)| {
            let rest = path.strip_prefix('.').unwrap_or(path).strip_prefix(key.as_str())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then(|| below(value, rest))?
        }),
        Data::List(items) => items.iter().enumerate().find_map(|(at, item)| {
            // The paths of a merge leave elements of lists out: it is whichever has the rest.
            below(item, path.strip_prefix(&format!("[{at}]")).or((!path.starts_with('[')).then_some(path))?)
        }),
        Data::Scalar { .. } => None,
    }
}

/// The place of an operation of a JSON patch, with its path spelled like the others.
pub(super) fn operation(text: &str, at: usize, pointer: &str) -> Place {
    let documents = yaml::documents(text).unwrap_or_default();
    let line = documents.first().and_then(|document| below(document, &format!("[{at}]")));
    let parts: Vec<String> =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    Place { line: line.unwrap_or_default(), path: path(&parts), operation: Some(at) }
}
