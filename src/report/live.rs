//! The screen of a terminal: one redrawn line per machine, per image, and per step of no machine.
//!
//! ```text
//! ⠹ image vs01     4s 84.00 MiB of 210.00 MiB, 21.00 MiB/s
//! ✓ lab-cp-1          done (1m12s): 192.168.22.101
//! ⠹ lab-wrkr-1    31s await_install waits for the installed system: connection refused
//! ```
//!
//! The figure is how long the thing that is named has been waited for, or else
//! how long the step has run. Lines appear when their first step starts and keep
//! the plan's order, so nothing jumps about. What must not be overwritten
//! (failures, warnings) is printed above them.

use std::time::Duration;

use console::{Alignment, StyledObject, measure_text_width, pad_str, style};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::terminal::LogWriter;
use super::text;
use super::timeline::Timeline;
use crate::event::{Event, Record, StepId, Tick};

pub(super) struct Live {
    bars: MultiProgress,
    /// Whether the figures run on between events. Tests stand still.
    ticking: bool,
    rows: Vec<Row>,
    width: usize,
    log: Option<LogWriter>,
}

struct Row {
    name: String,
    bar: Option<ProgressBar>,
    /// Steps that the plan has for this row, and how many of them are done.
    planned: usize,
    done: usize,
    began: Duration,
    /// What is being waited for: when it changes, the figure starts anew.
    what: String,
    /// The last thing learned that is worth repeating at the end.
    learned: Option<String>,
}

impl Live {
    pub(super) fn new(bars: MultiProgress, ticking: bool, steps: &[StepId]) -> Self {
        let mut live = Self { bars, ticking, rows: Vec::new(), width: 0, log: None };
        for step in steps {
            let index = live.index(step);
            live.rows[index].planned += 1;
        }
        live
    }

    pub(super) fn attach(&mut self, log: &LogWriter) {
        log.attach(&self.bars);
        self.log = Some(log.clone());
    }

    /// `timeline` has heard the event already.
    pub(super) fn hear(&mut self, at: Duration, event: &Event, timeline: &Timeline) {
        match event {
            Event::Record(record) => self.record(at, record),
            Event::Tick(Tick::Waiting { step, what, reason }) => {
                let (row, bar) = self.row(at, step);
                if row.what != *what {
                    bar.reset_elapsed();
                    row.what.clone_from(what);
                }
                show(&bar, &format!("{} waits for {what}: {reason}", step.verb()));
            }
            Event::Tick(Tick::Bytes { step, done, total }) => {
                let started = timeline.last(step, false).map_or(at, |span| span.started);
                show(&self.row(at, step).1, &text::transfer(*done, *total, at.saturating_sub(started)));
            }
            Event::Tick(Tick::Warning { step, text }) => {
                let about = step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
                self.print(&style("warning").for_stderr().yellow(), &format!("{about}{text}"));
            }
        }
    }

    fn record(&mut self, at: Duration, record: &Record) {
        match record {
            Record::Started { step } => self.start(at, step, step.verb()),
            Record::UndoStarted { step } => self.start(at, step, &format!("undo {}", step.verb())),
            Record::Finished { step, facts } => {
                let (row, bar) = self.row(at, step);
                row.done += 1;
                row.learned = text::facts(facts).or(row.learned.take());
                if row.done < row.planned {
                    show(&bar, &format!("{} done", step.verb()));
                } else {
                    let learned = row.learned.as_ref().map(|learned| format!(": {learned}")).unwrap_or_default();
                    let took = text::span(at.saturating_sub(row.began));
                    stop(&bar, style("✓").for_stderr().green(), &format!("done ({took}){learned}"));
                }
            }
            Record::Failed { step, error, leftovers } => {
                stop(&self.row(at, step).1, style("✗").for_stderr().red(), &format!("{} failed", step.verb()));
                let left = text::leftovers(*leftovers);
                self.print(&style("failed").for_stderr().red(), &format!("{step}: {error} ({left})"));
            }
            Record::UndoFinished { step } => {
                stop(&self.row(at, step).1, style("-").for_stderr(), &format!("undone {}", step.verb()));
            }
            Record::UndoFailed { step, error } => {
                stop(&self.row(at, step).1, style("✗").for_stderr().red(), &format!("undo {} failed", step.verb()));
                self.print(&style("failed").for_stderr().red(), &format!("undo {step}: {error}"));
            }
            // Committed and destroyed are the summary's to say.
            Record::Noted { .. } | Record::Committed | Record::Destroyed => {}
        }
    }

    fn start(&mut self, at: Duration, step: &StepId, message: &str) {
        let ticking = self.ticking;
        let (row, bar) = self.row(at, step);
        row.what.clear();
        bar.set_style(running());
        bar.reset_elapsed();
        show(&bar, message);
        if ticking {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
    }

    /// The row of `step`, on the screen.
    fn row(&mut self, at: Duration, step: &StepId) -> (&mut Row, ProgressBar) {
        let index = self.index(step);
        let above = self.rows[..index].iter().filter(|row| row.bar.is_some()).count();
        let (bars, width) = (&self.bars, self.width);
        let row = &mut self.rows[index];
        let bar = row.bar.get_or_insert_with(|| {
            row.began = at;
            let prefix = pad_str(&row.name, width, Alignment::Left, None).into_owned();
            bars.insert(above, ProgressBar::no_length().with_style(running()).with_prefix(prefix))
        });
        let bar = bar.clone();
        (row, bar)
    }

    /// Finds the row of `step`; one that the plan did not foresee comes last.
    fn index(&mut self, step: &StepId) -> usize {
        let name = match step.subject() {
            Some(node) if step.verb() == "fetch_image" => format!("image {node}"),
            Some(machine) => machine.to_owned(),
            None => step.verb().to_owned(),
        };
        if let Some(index) = self.rows.iter().position(|row| row.name == name) {
            return index;
        }
        self.width = self.width.max(measure_text_width(&name));
        let (began, what, learned) = (Duration::ZERO, String::new(), None);
        self.rows.push(Row { name, bar: None, planned: 0, done: 0, began, what, learned });
        self.rows.len() - 1
    }

    fn print(&self, label: &StyledObject<&str>, text: &str) {
        // Fails only when stderr is gone, and then there is nobody to tell.
        drop(self.bars.println(format!("{label} {}", text::one_line(text))));
    }
}

/// Leaves the lines on the screen as they are.
impl Drop for Live {
    fn drop(&mut self) {
        for bar in self.rows.iter().filter_map(|row| row.bar.as_ref()) {
            bar.disable_steady_tick();
            bar.abandon();
        }
        if let Some(log) = &self.log {
            log.detach();
        }
    }
}

fn running() -> ProgressStyle {
    let since = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // Writing into a string cannot fail, and a missing figure would be no reason to stop.
        let _ = write!(out, "{:>6}", text::running(state.elapsed()));
    };
    ProgressStyle::with_template("{spinner} {prefix} {since} {wide_msg}")
        .expect("a template of known keys")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
        .with_key("since", since)
}

/// The line stands still, with `mark` in place of the spinner.
fn stop(bar: &ProgressBar, mark: StyledObject<&'static str>, message: &str) {
    bar.disable_steady_tick();
    let mark = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{mark}");
    };
    let style = ProgressStyle::with_template("{mark} {prefix}        {wide_msg}");
    bar.set_style(style.expect("a template of known keys").with_key("mark", mark));
    show(bar, message);
}

fn show(bar: &ProgressBar, message: &str) {
    bar.set_message(text::one_line(message));
}
