//! How a step fails: what was attempted, why, and what may be left.

use std::error::Error;
use std::fmt;

use crate::event::Leftovers;

/// A step's failure. `Display` gives the whole chain once, since it goes into the journal as one text.
#[derive(Debug)]
pub struct StepError {
    attempted: String,
    cause: Box<dyn Error + Send + Sync>,
    pub leftovers: Leftovers,
    /// The thing did not come in time, as opposed to being refused.
    pub timed_out: bool,
}

impl StepError {
    /// Nothing was made.
    pub fn clean(attempted: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { attempted: attempted.into(), cause: cause.into(), leftovers: Leftovers::None, timed_out: false }
    }

    /// Something was made, and it carries our mark.
    pub fn marked(attempted: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { leftovers: Leftovers::Marked, ..Self::clean(attempted, cause) }
    }

    /// Nobody knows whether something was made.
    pub fn unknown(attempted: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { leftovers: Leftovers::Unknown, ..Self::clean(attempted, cause) }
    }

    /// Marks the failure as a deadline that passed.
    #[must_use]
    pub fn late(self) -> Self {
        Self { timed_out: true, ..self }
    }
}

/// A failure of Proxmox's: a task that did not end in time is a time-out.
pub(super) fn of_pve(attempted: impl Into<String>, leftovers: Leftovers, error: crate::pve::PveError) -> StepError {
    let timed_out = matches!(error, crate::pve::PveError::TaskUnfinished { .. });
    StepError { leftovers, timed_out, ..StepError::clean(attempted, error) }
}

/// The error with its causes on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.attempted, chain(self.cause.as_ref()))
    }
}

impl Error for StepError {}

/// A wait inside a step that did not end well.
pub(crate) trait Late<T> {
    /// Turns the wait's end into a step's: a deadline counts as a time-out.
    fn or_late(self, attempted: impl Into<String>, leftovers: Leftovers) -> Result<T, StepError>;
}

impl<T, E: Error + Send + Sync + 'static> Late<T> for Result<T, crate::wait::WaitError<E>> {
    fn or_late(self, attempted: impl Into<String>, leftovers: Leftovers) -> Result<T, StepError> {
        self.map_err(|error| {
            let timed_out = matches!(error, crate::wait::WaitError::TimedOut { .. });
            StepError { leftovers, timed_out, ..StepError::clean(attempted, error) }
        })
    }
}
