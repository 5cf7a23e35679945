//! What the user is shown while the engine works, and what is left on the screen afterwards.
//!
//! Reporters listen. They get every [`Event`] and can neither fail nor hold up
//! the work: a broken pipe ends the showing, not the run; text for a reader that
//! does not read queues in memory, behind a thread of its own. They know no
//! engine, no plan and no client, so they are tested by replaying events.
//!
//! One stream, three faces: [`Style::Live`] redraws one line per machine,
//! [`Style::Lines`] appends plain lines, [`Style::Json`] writes one object per
//! line. Beside whichever face is shown the [`Timeline`] remembers when each
//! step ran; the [`Summary`] and the [`junit`] report are made from it.
//!
//! Events carry no time. They are stamped here, on arrival, in whole
//! milliseconds since the reporter was made; so all sums of times are exact.

mod account;
mod json;
pub mod junit;
mod line;
mod live;
mod summary;
mod terminal;
mod text;
mod timeline;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use account::{Account, Accounts};
pub use summary::{Place, Summary, columns};
pub use terminal::LogWriter;
pub use timeline::{Span, Timeline};

use crate::event::{Event, StepId};
use line::Lines;
use live::Live;
use terminal::Outlet;

/// How the work is shown. The command line chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One redrawn line per machine, on stderr. For a terminal.
    Live,
    /// Plain time-stamped lines, on stderr. For a log.
    Lines,
    /// One event per line, on stdout. For programs.
    Json,
}

/// Hears events and shows them.
pub struct Reporter {
    born: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    face: Face,
    timeline: Timeline,
}

/// Dropping a face ends its showing, so that a reporter lost to an early return still shows what it heard.
enum Face {
    Live(Live),
    Lines(Lines, Outlet),
    Json(Outlet),
}

impl Reporter {
    /// A reporter for the steps that are still to run, in the plan's order; the order of the live lines follows it.
    /// A machine's line is done when all of its steps that are named here are.
    pub fn new(style: Style, steps: &[StepId]) -> Self {
        Self::with_face(match style {
            Style::Live => Face::Live(Live::new(terminal::bars(), true, steps)),
            Style::Lines => Face::Lines(Lines::new(), Outlet::new(Box::new(std::io::stderr()))),
            Style::Json => Face::Json(Outlet::new(Box::new(std::io::stdout()))),
        })
    }

    fn with_face(face: Face) -> Self {
        Self { born: Instant::now(), inner: Mutex::new(Inner { face, timeline: Timeline::default() }) }
    }

    /// Takes `event` in. `&self`, because the lanes of a stage report from several futures of one task.
    pub fn hear(&self, event: &Event) {
        self.hear_at(self.now(), event);
    }

    fn hear_at(&self, at: Duration, event: &Event) {
        let mut inner = self.lock();
        let Inner { face, timeline } = &mut *inner;
        if let Event::Record(record) = event {
            timeline.hear(at, record);
        }
        match face {
            Face::Live(live) => live.hear(at, event, timeline),
            Face::Lines(lines, outlet) => outlet.send(lines.hear(at, event, timeline)),
            Face::Json(outlet) => outlet.send(Some(json::event(at, event))),
        }
    }

    /// Lets `log` write above the live lines instead of through them, until [`Self::finish`].
    pub fn attach(&self, log: &LogWriter) {
        if let Face::Live(live) = &mut self.lock().face {
            live.attach(log);
        }
    }

    /// Ends the showing: draws the last state or writes out what is queued, and hands over what was timed.
    pub fn finish(self) -> Timeline {
        let now = self.now();
        self.finish_at(now)
    }

    fn finish_at(self, at: Duration) -> Timeline {
        let Inner { face, mut timeline } = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        timeline.close(at);
        drop(face);
        timeline
    }

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
