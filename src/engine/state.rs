//! What the journal adds up to: the inventory, and each step's last word.
//!
//! One small state machine accepts or refuses every line, when it is written and
//! again when it is read, so a corrupt journal is found on load and a defect of
//! the engine on the spot.

use std::collections::BTreeMap;

use crate::event::{Leftovers, Record, StepId};
use crate::inventory::Inventory;

/// A step's last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    Started,
    Finished,
    Failed { error: String, leftovers: Leftovers },
    UndoStarted,
    UndoFinished,
    UndoFailed { error: String },
}

/// The journal so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub inventory: Inventory,
    pub committed: bool,
    pub destroyed: bool,
    steps: BTreeMap<StepId, Last>,
}

/// A record that cannot follow.
#[derive(Debug, thiserror::Error)]
pub enum Impossible {
    #[error("{step}: {what} after {last:?}")]
    Step { step: StepId, what: &'static str, last: Option<Last> },
    #[error("{0} after the cluster was destroyed")]
    AfterTheEnd(&'static str),
}

impl State {
    /// The last word about `step`.
    pub fn last(&self, step: &StepId) -> Option<&Last> {
        self.steps.get(step)
    }

    /// Whether anything was ever undone, or nothing is left: such a run is taken to its end before anything is made
    /// again.
    pub fn unwinding(&self) -> bool {
        self.destroyed
            || self
                .steps
                .values()
                .any(|last| matches!(last, Last::UndoStarted | Last::UndoFinished | Last::UndoFailed { .. }))
    }

    /// Steps that started and whose undo has not finished: what is perhaps still there.
    pub fn standing(&self) -> impl Iterator<Item = &StepId> {
        self.steps.iter().filter(|(_, last)| **last != Last::UndoFinished).map(|(step, _)| step)
    }

    /// Takes one record in.
    pub fn apply(&mut self, record: &Record) -> Result<(), Impossible> {
        if self.destroyed {
            return Err(Impossible::AfterTheEnd(name(record)));
        }
        match record {
            Record::Committed => self.committed = true,
            Record::Destroyed => self.destroyed = true,
            Record::Noted { step, fact } => {
                self.expect(step, record, |last| matches!(last, Some(Last::Started)))?;
                self.inventory.fold(fact);
            }
            Record::Started { step } => {
                let fresh = |last: Option<&Last>| !matches!(last, Some(Last::UndoStarted | Last::UndoFailed { .. }));
                self.expect(step, record, fresh)?;
                self.steps.insert(step.clone(), Last::Started);
            }
            Record::Finished { step, facts } => {
                self.expect(step, record, |last| matches!(last, Some(Last::Started)))?;
                for fact in facts {
                    self.inventory.fold(fact);
                }
                self.steps.insert(step.clone(), Last::Finished);
            }
            Record::Failed { step, error, leftovers } => {
                self.expect(step, record, |last| matches!(last, Some(Last::Started)))?;
                self.steps.insert(step.clone(), Last::Failed { error: error.clone(), leftovers: *leftovers });
            }
            Record::UndoStarted { step } => {
                self.expect(step, record, |last| last.is_some_and(|last| *last != Last::UndoFinished))?;
                self.steps.insert(step.clone(), Last::UndoStarted);
            }
            Record::UndoFinished { step } => {
                self.expect(step, record, |last| matches!(last, Some(Last::UndoStarted)))?;
                self.steps.insert(step.clone(), Last::UndoFinished);
            }
            Record::UndoFailed { step, error } => {
                self.expect(step, record, |last| matches!(last, Some(Last::UndoStarted)))?;
                self.steps.insert(step.clone(), Last::UndoFailed { error: error.clone() });
            }
        }
        Ok(())
    }

    fn expect(&self, step: &StepId, record: &Record, legal: impl Fn(Option<&Last>) -> bool) -> Result<(), Impossible> {
        let last = self.steps.get(step);
        if legal(last) {
            Ok(())
        } else {
            Err(Impossible::Step { step: step.clone(), what: name(record), last: last.cloned() })
        }
    }
}

fn name(record: &Record) -> &'static str {
    match record {
        Record::Started { .. } => "started",
        Record::Noted { .. } => "noted",
        Record::Finished { .. } => "finished",
        Record::Failed { .. } => "failed",
        Record::UndoStarted { .. } => "undo-started",
        Record::UndoFinished { .. } => "undo-finished",
        Record::UndoFailed { .. } => "undo-failed",
        Record::Committed => "committed",
        Record::Destroyed => "destroyed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> StepId {
        StepId::of("create_vm", "cp-1")
    }

    #[test]
    fn the_life_of_a_step_is_accepted_and_its_death_is_final() {
        let mut state = State::default();
        let error = String::from("HTTP 500");
        for record in [
            Record::Started { step: step() },
            Record::Failed { step: step(), error: error.clone(), leftovers: Leftovers::Unknown },
            Record::Started { step: step() },
            Record::Finished { step: step(), facts: vec![] },
            Record::UndoStarted { step: step() },
            Record::UndoFailed { step: step(), error },
            Record::UndoStarted { step: step() },
            Record::UndoFinished { step: step() },
            Record::Destroyed,
        ] {
            state.apply(&record).unwrap();
        }
        assert!(state.apply(&Record::Started { step: step() }).is_err());
    }

    #[test]
    fn what_was_destroyed_before_anything_was_done_is_not_gone_on_with() {
        let mut state = State::default();
        assert!(!state.unwinding());
        state.apply(&Record::Destroyed).unwrap();
        assert!(state.unwinding());
    }

    #[test]
    fn what_cannot_happen_is_refused() {
        let finished = Record::Finished { step: step(), facts: vec![] };
        let mut state = State::default();
        assert!(state.apply(&finished).is_err(), "finished without a start");
        assert!(state.apply(&Record::UndoStarted { step: step() }).is_err(), "undone without a start");
        state.apply(&Record::Started { step: step() }).unwrap();
        state.apply(&Record::UndoStarted { step: step() }).unwrap();
        assert!(state.apply(&Record::Started { step: step() }).is_err(), "run again in the middle of its undo");
    }
}
