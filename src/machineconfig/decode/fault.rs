//! What can be wrong with a configuration before any rule looks at it.

use crate::machineconfig::yaml::SyntaxError;

/// A text that is no configuration for the Talos minor asked about.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("config not found")]
    Empty,
    /// A document that is no mapping.
    #[error("{0}")]
    NoMapping(String),
    #[error("duplicate document {id} is not allowed{at}")]
    Duplicate { id: String, at: String },
    /// `at` names the document and its line; Talos 1.11 and earlier leave it out.
    #[error("{at}{what}")]
    Document { at: String, what: Fault },
    /// The documents exclude one another: `conflicting documents: A and B`, `duplicate document: A`.
    #[error("{0}")]
    Conflict(String),
    #[error("error processing patch delete statements at line {line}: {what}")]
    Delete { line: usize, what: String },
    #[error("{0}")]
    DeletePlain(String),
}

/// What is wrong with one document.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("missing kind")]
    MissingKind,
    #[error("missing apiVersion")]
    MissingApiVersion,
    #[error("{kind:?} {api_version:?}: not registered")]
    NotRegistered { kind: String, api_version: String },
    #[error("unknown keys found during decoding:\n{0}")]
    UnknownKeys(String),
    #[error("error decoding {kind} to {target}: yaml: construct errors: {problems}")]
    Construct { kind: String, target: String, problems: String },
}
