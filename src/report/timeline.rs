//! When each step ran and how it ended: all that reports about time are made from.

use std::time::Duration;

use crate::event::{Record, StepId};

/// One run or undo of one step. A step that ran twice has two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub step: StepId,
    /// Whether this is the step's reverse.
    pub undo: bool,
    /// Since the reporter was made.
    pub started: Duration,
    /// `None` while it runs. A step that was interrupted ends with the run, and that is its error.
    pub ended: Option<Duration>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl Span {
    /// How long it took; nothing while it runs.
    pub fn took(&self) -> Duration {
        self.ended.map_or(Duration::ZERO, |ended| ended.saturating_sub(self.started))
    }
}

/// All spans, in the order in which they started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    pub spans: Vec<Span>,
    /// From the making of the reporter to its finish.
    pub wall: Duration,
}

impl Timeline {
    pub(super) fn hear(&mut self, at: Duration, record: &Record) {
        match record {
            Record::Started { step } => self.open(at, step, false),
            Record::UndoStarted { step } => self.open(at, step, true),
            Record::Finished { step, .. } => self.end(at, step, false, None),
            Record::Failed { step, error, .. } => self.end(at, step, false, Some(error)),
            Record::UndoFinished { step } => self.end(at, step, true, None),
            Record::UndoFailed { step, error } => self.end(at, step, true, Some(error)),
            Record::Noted { .. } | Record::Committed | Record::Destroyed => {}
        }
    }

    fn open(&mut self, at: Duration, step: &StepId, undo: bool) {
        self.spans.push(Span { step: step.clone(), undo, started: at, ended: None, error: None });
    }

    fn end(&mut self, at: Duration, step: &StepId, undo: bool, error: Option<&String>) {
        let open = |span: &&mut Span| span.step == *step && span.undo == undo && span.ended.is_none();
        if let Some(span) = self.spans.iter_mut().rev().find(open) {
            span.ended = Some(at);
            span.error = error.cloned();
        }
    }

    /// The latest span of `step`.
    pub(super) fn last(&self, step: &StepId, undo: bool) -> Option<&Span> {
        self.spans.iter().rev().find(|span| span.step == *step && span.undo == undo)
    }

    pub(super) fn close(&mut self, at: Duration) {
        self.wall = at;
        for span in self.spans.iter_mut().filter(|span| span.ended.is_none()) {
            span.ended = Some(at);
            span.error = Some("interrupted".to_owned());
        }
    }
}
