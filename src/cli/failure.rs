//! How a command fails: a text, hints, and one of the documented exit codes.

use std::error::Error;

use crate::engine::{End, JournalError};

/// Exit codes. They are part of the outside contract: README, "Exit codes".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Done = 0,
    /// A defect of ours.
    Defect = 1,
    /// Wrong usage or profile.
    Usage = 2,
    /// Refused before anything was created.
    Refused = 3,
    /// Failed, everything removed.
    Removed = 4,
    /// Failed, something is left, and was named.
    Left = 5,
    /// Failed, kept on request.
    Kept = 6,
    /// Timed out waiting, everything removed.
    TimedOut = 7,
    /// Interrupted, everything removed.
    Interrupted = 130,
}

impl Code {
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Defect,
        Self::Usage,
        Self::Refused,
        Self::Removed,
        Self::Left,
        Self::Kept,
        Self::TimedOut,
        Self::Interrupted,
    ];

    /// What a create that ended as `end` exits with; `emptied`, when the unwinding that followed left nothing.
    pub fn of_run(end: &End, emptied: bool) -> Self {
        match end {
            End::Committed => Self::Done,
            _ if !emptied => Self::Left,
            End::Failed(failure) if failure.timed_out => Self::TimedOut,
            End::Failed(_) => Self::Removed,
            End::Interrupted => Self::Interrupted,
        }
    }
}

/// A command's failure.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    pub hints: Vec<String>,
    /// Stdout has the failure already, as the command's result.
    pub told: bool,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hints: Vec::new(), told: false }
    }

    /// With the whole chain of causes, once.
    pub fn of(code: Code, error: &dyn Error) -> Self {
        Self::new(code, chain(error))
    }

    /// Says that the command's result on stdout tells the failure already.
    #[must_use]
    pub fn told(self) -> Self {
        Self { told: true, ..self }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// The error and its sources, separated by colons.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<crate::profile::ProfileError> for Failure {
    fn from(error: crate::profile::ProfileError) -> Self {
        Self::of(Code::Usage, &error)
    }
}

/// Of a command that has not done anything yet. Whoever has says what is left.
impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let code = match error {
            JournalError::Locked { .. } | JournalError::Begun { .. } | JournalError::Io { .. } => Code::Refused,
            JournalError::Format { .. } | JournalError::Line { .. } | JournalError::Order { .. } => Code::Defect,
        };
        Self::of(code, &error)
    }
}

impl From<crate::pve::PveError> for Failure {
    fn from(error: crate::pve::PveError) -> Self {
        let failure = Self::of(Code::Refused, &error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
