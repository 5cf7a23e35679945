//! What can be wrong with a configuration before any rule looks at it.

use crate::machineconfig::go;
use crate::machineconfig::go::quoted;
use crate::machineconfig::place::Place;
use crate::machineconfig::yaml::SyntaxError;

/// A text that is no configuration for the Talos minor asked about.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("config not found")]
    Empty,
    /// A document that is no mapping.
    #[error("{text}")]
    NoMapping { text: String, line: usize },
    #[error("duplicate document {id} is not allowed{at}")]
    Duplicate { id: String, at: String, line: usize },
    /// `at` names the document and its line; Talos 1.11 and earlier leave it out.
    #[error("{at}{what}")]
    Document { at: String, line: usize, what: Fault },
    /// The documents exclude one another: `conflicting documents: A and B`, `duplicate document: A`.
    #[error("{text}")]
    Conflict { text: String, line: usize },
    #[error("error processing patch delete statements at line {line}: {what}")]
    Delete { line: usize, path: String, what: String },
    #[error("{what}")]
    DeletePlain { line: usize, path: String, what: String },
}

impl DecodeError {
    /// Every place that is wrong, as far as it is known.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Self::Document { what: Fault::UnknownKeys { places, .. }, .. } => places.clone(),
            Self::Document { what: Fault::Construct { problems, .. }, .. } => {
                problems.iter().map(|(place, _)| place.clone()).collect()
            }
            Self::Document { what: Fault::Own { place, .. }, .. } => vec![(**place).clone()],
            Self::Syntax(
                SyntaxError::Scan { line, .. }
                | SyntaxError::DuplicateKey { line, .. }
                | SyntaxError::Refused { line, .. },
            )
            | Self::NoMapping { line, .. }
            | Self::Duplicate { line, .. }
            | Self::Conflict { line, .. }
            | Self::Document { line, .. } => vec![Place::line(*line)],
            Self::Delete { line, path, .. } | Self::DeletePlain { line, path, .. } => {
                vec![Place { line: *line, path: path.clone(), operation: None }]
            }
            Self::Empty => Vec::new(),
        }
    }
}

/// What is wrong with one document.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("missing kind")]
    MissingKind,
    #[error("missing apiVersion")]
    MissingApiVersion,
    /// The key of a kind or a version is the last word of its document.
    #[error("recovered: runtime error: index out of range [{0}] with length {0}")]
    NothingBehind(usize),
    #[error("{} {}: not registered", quoted(.kind), quoted(.api_version))]
    NotRegistered { kind: String, api_version: String },
    #[error("unknown keys found during decoding:\n{shown}")]
    UnknownKeys { shown: String, places: Vec<Place> },
    /// A type's own decoder, in its own words.
    #[error("error decoding {kind} to {}: {what}", go::types::of_document(kind))]
    Own { kind: String, what: String, place: Box<Place> },
    #[error("error decoding {kind} to {}: yaml: construct errors: {}", go::types::of_document(kind), joined(problems))]
    Construct { kind: String, problems: Vec<(Place, String)> },
}

fn joined(problems: &[(Place, String)]) -> String {
    let texts: Vec<&str> = problems.iter().map(|(_, text)| text.as_str()).collect();
    texts.join("; ")
}
