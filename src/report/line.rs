//! Plain time-stamped lines: what a log file or a CI page shows.
//!
//! `+12.3s lab-cp-1 create_vm done (1.2s): VM 7001 on vs01`
//!
//! Progress is thinned out: a step says why it waits, or how far it is, only
//! when it has something new to say, and at most every five seconds.

use std::collections::HashMap;
use std::time::Duration;

use super::text;
use super::timeline::Timeline;
use crate::event::{Event, Record, StepId, Tick};

const QUIET: Duration = Duration::from_secs(5);

/// When each step last said something about its progress, and what.
pub(super) struct Lines(HashMap<StepId, (Duration, String)>);

impl Lines {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// The line for `event`, if it deserves one. `timeline` has heard it already.
    pub(super) fn hear(&mut self, at: Duration, event: &Event, timeline: &Timeline) -> Option<String> {
        let line = match event {
            Event::Record(record) => self.record(at, record, timeline)?,
            Event::Tick(tick) => self.tick(at, tick, timeline)?,
        };
        Some(format!("+{} {line}", text::span(at)))
    }

    fn record(&mut self, at: Duration, record: &Record, timeline: &Timeline) -> Option<String> {
        let took = |step, undo| text::span(timeline.last(step, undo).map_or(Duration::ZERO, super::Span::took));
        Some(match record {
            Record::Started { step } => {
                // The five seconds count from here: a step that is done sooner needs no explaining.
                self.0.insert(step.clone(), (at, String::new()));
                format!("{} …", name(step))
            }
            Record::Noted { .. } => return None,
            Record::Finished { step, facts } => {
                let learned = text::facts(facts).map(|facts| format!(": {facts}")).unwrap_or_default();
                format!("{} done ({}){learned}", name(step), took(step, false))
            }
            Record::Failed { step, error, leftovers } => {
                let (error, left) = (text::one_line(error), text::leftovers(*leftovers));
                format!("{} FAILED ({}): {error} ({left})", name(step), took(step, false))
            }
            Record::UndoStarted { step } => {
                self.0.insert(step.clone(), (at, String::new()));
                format!("{} undo …", name(step))
            }
            Record::UndoFinished { step } => format!("{} undone ({})", name(step), took(step, true)),
            Record::UndoFailed { step, error } => {
                format!("{} undo FAILED ({}): {}", name(step), took(step, true), text::one_line(error))
            }
            Record::Committed => "committed: every health gate passed".to_owned(),
            Record::Destroyed => "destroyed: nothing of ours is left".to_owned(),
        })
    }

    fn tick(&mut self, at: Duration, tick: &Tick, timeline: &Timeline) -> Option<String> {
        match tick {
            Tick::Waiting { step, what, reason } => {
                let said = format!("waits for {}: {}", text::one_line(what), text::one_line(reason));
                self.say(at, step, said)
            }
            Tick::Bytes { step, done, total } => {
                let started = timeline.last(step, false).map_or(at, |span| span.started);
                self.say(at, step, text::transfer(*done, *total, at.saturating_sub(started)))
            }
            Tick::Warning { step, text } => {
                let about = step.as_ref().map(|step| name(step) + " ").unwrap_or_default();
                Some(format!("{about}warning: {}", text::one_line(text)))
            }
        }
    }

    fn say(&mut self, at: Duration, step: &StepId, said: String) -> Option<String> {
        let (last, before) = self.0.entry(step.clone()).or_insert_with(|| (at, String::new()));
        if *before == said || at.saturating_sub(*last) < QUIET {
            return None;
        }
        let line = format!("{} {said}", name(step));
        (*last, *before) = (at, said);
        Some(line)
    }
}

/// `lab-cp-1 create_vm`: the subject first, as that is what the eye looks for.
fn name(step: &StepId) -> String {
    match step.subject() {
        Some(subject) => format!("{subject} {}", step.verb()),
        None => step.verb().to_owned(),
    }
}
