//! Where a patch comes from, and how an error says so: the patch, its file and line, and the path there. People have
//! many patches, and what Talos says names none of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::machineconfig::minor::Minor;
use crate::machineconfig::place::Place;

/// Where a patch comes from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchSource {
    /// The path as the user wrote it.
    File(String),
    /// Given in place: `--config-patch 1`.
    Inline(String),
    /// Written inside another file.
    Within(Box<Within>),
    /// Made by the product: `hostname`.
    Native(&'static str),
}

impl fmt::Display for PatchSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "patch {path}"),
            Self::Inline(place) => write!(f, "patch of {place}"),
            Self::Within(within) => write!(f, "patch {}", within.file),
            Self::Native(what) => write!(f, "pvetalos's own {what} patch"),
        }
    }
}

/// A patch that stands in another file, such as a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    pub file: String,
    /// The line at which it begins there.
    pub line: usize,
    /// The line of every path in it. Empty for a block of text, whose own first line is the next one.
    pub lines: BTreeMap<String, usize>,
}

impl Within {
    /// A place in the patch as a place in the file.
    fn place(&self, place: &Place) -> Place {
        let line = if self.lines.is_empty() {
            self.line + place.line
        } else {
            let operation = place.operation.map(|at| format!("[{at}]"));
            let mut path = operation.as_deref().unwrap_or(&place.path);
            while !self.lines.contains_key(path) && !path.is_empty() {
                path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
            }
            self.lines.get(path).copied().unwrap_or(self.line)
        };
        Place { line, ..place.clone() }
    }
}

/// A patch failed to load or to apply. `text` is what Talos says about it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {text}", self.place())]
pub struct PatchError {
    pub patch: PatchSource,
    /// Where in the patch, as far as that is known.
    pub places: Vec<Place>,
    pub text: String,
}

impl PatchError {
    /// Which patch, at which line of which file, and the path there: `patch net.yaml:3 (machine.network.mtu)`.
    pub fn place(&self) -> String {
        /// More of them are in the text.
        const SHOWN: usize = 5;
        let places = self.places.iter().map(|place| match &self.patch {
            PatchSource::Within(within) => within.place(place),
            PatchSource::File(_) | PatchSource::Inline(_) | PatchSource::Native(_) => place.clone(),
        });
        let inline = matches!(self.patch, PatchSource::Inline(_));
        let text = |place: Place| {
            let text = place.to_string();
            text.strip_prefix(':').filter(|_| inline).map(|line| format!(", line {line}")).unwrap_or(text)
        };
        let places: Vec<String> = places.map(text).collect();
        match (&self.patch, places.as_slice()) {
            (PatchSource::Within(within), []) => format!("patch {}:{}", within.file, within.line),
            (patch, places) => {
                format!("{patch}{}", places[..places.len().min(SHOWN)].join(if inline { "" } else { ", " }))
            }
        }
    }
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
