//! What happens, as data: the one vocabulary of journal, log, screen and `--output json`.
//!
//! [`Record`]s are the lifecycle: journalled before and after every action and
//! never lost. [`Tick`]s are progress: only the latest matters, nothing is stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::Fact;

/// A step's name within its plan: the verb, and for the steps of a machine's lane the machine.
///
/// `create_vm/lab-cp-1`, `check_health`. Unique in a plan, stable over versions: journals hold it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// The step `verb` of no particular machine.
    pub fn new(verb: &str) -> Self {
        Self(verb.to_owned())
    }

    /// The step `verb` for `subject`: a machine, or the node that needs the image.
    pub fn of(verb: &str, subject: &str) -> Self {
        Self(format!("{verb}/{subject}"))
    }

    /// `create_vm` of `create_vm/lab-cp-1`.
    pub fn verb(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(verb, _)| verb)
    }

    /// `lab-cp-1` of `create_vm/lab-cp-1`.
    pub fn subject(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, subject)| subject)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a failed action may have left on the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftovers {
    /// Nothing was made.
    None,
    /// Whatever was made carries our mark, so undo finds it.
    Marked,
    /// The reply was lost: something may be there, and undo has to look.
    Unknown,
}

/// One line of the lifecycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// Written and synced before the step acts.
    Started {
        step: StepId,
    },
    /// A fact that must be durable before the step goes on, such as the VMID it is about to ask for.
    Noted {
        step: StepId,
        fact: Fact,
    },
    Finished {
        step: StepId,
        facts: Vec<Fact>,
    },
    Failed {
        step: StepId,
        error: String,
        leftovers: Leftovers,
    },
    UndoStarted {
        step: StepId,
    },
    UndoFinished {
        step: StepId,
    },
    UndoFailed {
        step: StepId,
        error: String,
    },
    /// Every health gate passed: from here on only an explicit `destroy` takes anything away.
    Committed,
    /// Everything is gone, and was seen to be gone.
    Destroyed,
}

impl Record {
    /// The step that this line is about.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::Started { step }
            | Self::Noted { step, .. }
            | Self::Finished { step, .. }
            | Self::Failed { step, .. }
            | Self::UndoStarted { step }
            | Self::UndoFinished { step }
            | Self::UndoFailed { step, .. } => Some(step),
            Self::Committed | Self::Destroyed => None,
        }
    }
}

/// Progress worth showing and not worth keeping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "tick", rename_all = "snake_case")]
pub enum Tick {
    /// The step waits for `what`; `reason` is why it has not come yet.
    Waiting { step: StepId, what: String, reason: String },
    /// Bytes moved, of `total` if that is known.
    Bytes { step: StepId, done: u64, total: Option<u64> },
    /// Something the user should know and that stops nothing.
    Warning { step: Option<StepId>, text: String },
}

/// What a listener is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    Record(Record),
    Tick(Tick),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_id_splits_into_verb_and_subject() {
        let id = StepId::of("create_vm", "lab-cp-1");
        assert_eq!((id.verb(), id.subject()), ("create_vm", Some("lab-cp-1")));
        let id = StepId::new("check_health");
        assert_eq!((id.verb(), id.subject()), ("check_health", None));
    }
}
