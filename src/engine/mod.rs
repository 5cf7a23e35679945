//! The engine: runs a plan forwards, and backwards when it must.
//!
//! It knows nothing of Proxmox or Talos. Stage after stage, the lanes of a stage
//! side by side as futures of one task: no spawning, no locks, and cancelling is
//! dropping. Before a step acts, *started* is on the disk; when it ends, its facts
//! are. Whatever ever started is undone, in reverse, with every error collected.
//!
//! What happens to a step depends on its last record only:
//!
//! | last record | `create` again | unwind, `destroy` |
//! |---|---|---|
//! | none | run | – |
//! | started | run: it looks first and adopts what carries our mark | undo: it looks first |
//! | finished | skip; steps that only observe run again | undo |
//! | failed | run | undo |
//! | undo-started, undo-failed | the unwinding is finished first | undo again |
//! | undo-finished | run, as a new attempt | – |
//!
//! After every record the engine yields once. So an interrupt takes effect between
//! a record and the action it announces, and a test can stop the world at each.

mod journal;
mod state;

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

pub use journal::{Journal, JournalError, Line};
pub use state::{Last, State};

use crate::event::{Event, Leftovers, Record, StepId, Tick};
use crate::inventory::{Fact, Inventory};
use crate::plan::{Lane, Plan, Stage};
use crate::steps::{Context, Step, StepError, Toolbox};
use crate::wait::{self, Pace, Probe};

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// Every gate passed.
    Committed,
    Failed(Failure),
    Interrupted,
}

/// The step that ended the run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failure {
    pub step: StepId,
    pub error: String,
    pub leftovers: Leftovers,
    /// It waited for something that did not come, as opposed to being refused.
    pub timed_out: bool,
}

/// Something that undo could not take away.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Leftover {
    pub step: StepId,
    pub error: String,
}

/// One plan, one journal, one listener.
pub struct Engine<'a> {
    tools: &'a Toolbox,
    plan: &'a Plan,
    journal: RefCell<Journal>,
    listener: &'a dyn Fn(&Event),
    /// Lanes of one stage that may run side by side.
    width: usize,
}

/// Why a lane stopped before its end.
enum Stop {
    Failed(Failure),
    Journal(JournalError),
}

impl<'a> Engine<'a> {
    pub fn new(tools: &'a Toolbox, plan: &'a Plan, journal: Journal, listener: &'a dyn Fn(&Event)) -> Self {
        Self { tools, plan, journal: RefCell::new(journal), listener, width: usize::MAX }
    }

    /// At most `width` lanes of a stage at a time; with 1 the order of everything is that of the plan.
    #[must_use]
    pub fn with_width(self, width: usize) -> Self {
        Self { width: width.max(1), ..self }
    }

    /// The inventory as the journal has it now.
    pub fn inventory(&self) -> Inventory {
        self.journal.borrow().state().inventory.clone()
    }

    /// Gives the journal back.
    pub fn into_journal(self) -> Journal {
        self.journal.into_inner()
    }

    /// Runs the plan to its end, its first failure, or the interrupt, whichever comes first.
    ///
    /// On a failure the other lanes are dropped where they are: undo looks for what they did.
    pub async fn run(&self, interrupt: impl Future<Output = ()>) -> Result<End, JournalError> {
        let mut interrupt = pin!(interrupt);
        for stage in &self.plan.stages {
            let stopped = tokio::select! {
                biased;
                () = &mut interrupt => return Ok(End::Interrupted),
                stopped = self.forward(stage) => stopped,
            };
            match stopped {
                Ok(()) => {}
                Err(Stop::Failed(failure)) => return Ok(End::Failed(failure)),
                Err(Stop::Journal(error)) => return Err(error),
            }
        }
        if !self.journal.borrow().state().committed {
            self.record(Record::Committed).await?;
        }
        Ok(End::Committed)
    }

    async fn forward(&self, stage: &Stage) -> Result<(), Stop> {
        let base = self.inventory();
        let mut waiting = stage.lanes.iter();
        let mut running: FuturesUnordered<_> =
            waiting.by_ref().take(self.width).map(|lane| self.lane(lane, base.clone())).collect();
        while let Some(ended) = running.next().await {
            ended?;
            running.extend(waiting.next().map(|lane| self.lane(lane, base.clone())));
        }
        Ok(())
    }

    /// One lane, over the inventory that its stage began with: lanes of a stage do not know of each other.
    async fn lane(&self, lane: &Lane, mut inventory: Inventory) -> Result<(), Stop> {
        for step in &lane.steps {
            let facts = self.step(step, &inventory).await?;
            for fact in &facts {
                inventory.fold(fact);
            }
        }
        Ok(())
    }

    async fn step(&self, step: &Step, inventory: &Inventory) -> Result<Vec<Fact>, Stop> {
        let id = step.id();
        if matches!(self.journal.borrow().state().last(&id), Some(Last::Finished)) && !step.observes() {
            return Ok(Vec::new());
        }
        self.record(Record::Started { step: id.clone() }).await.map_err(Stop::Journal)?;
        let outcome = self.with_context(&id, inventory, async |context| step.run(context).await).await;
        match outcome {
            Ok(facts) => {
                self.record(Record::Finished { step: id, facts: facts.clone() }).await.map_err(Stop::Journal)?;
                Ok(facts)
            }
            Err(error) => {
                let failure = Failure {
                    step: id.clone(),
                    error: error.to_string(),
                    leftovers: error.leftovers,
                    timed_out: error.timed_out,
                };
                let record = Record::Failed { step: id, error: failure.error.clone(), leftovers: failure.leftovers };
                self.record(record).await.map_err(Stop::Journal)?;
                Err(Stop::Failed(failure))
            }
        }
    }

    /// Undoes every step that ever started: stages backwards, lanes side by side, steps of a lane backwards.
    ///
    /// Goes on after an error; what could not be taken away is returned, and an empty list means that nothing is left.
    pub async fn unwind(&self) -> Result<Vec<Leftover>, JournalError> {
        // A process that died between its last line and the journal's stepping aside left nothing to do.
        if self.journal.borrow().state().destroyed {
            return Ok(Vec::new());
        }
        let mut leftovers = Vec::new();
        for stage in self.plan.stages.iter().rev() {
            let mut waiting = stage.lanes.iter();
            let mut running: FuturesUnordered<_> =
                waiting.by_ref().take(self.width).map(|lane| self.unwind_lane(lane)).collect();
            while let Some(ended) = running.next().await {
                leftovers.extend(ended?);
                running.extend(waiting.next().map(|lane| self.unwind_lane(lane)));
            }
        }
        if leftovers.is_empty() {
            self.record(Record::Destroyed).await?;
        }
        Ok(leftovers)
    }

    async fn unwind_lane(&self, lane: &Lane) -> Result<Vec<Leftover>, JournalError> {
        let mut leftovers = Vec::new();
        for step in lane.steps.iter().rev() {
            let id = step.id();
            let standing = {
                let journal = self.journal.borrow();
                step.leaves() && journal.state().last(&id).is_some_and(|last| *last != Last::UndoFinished)
            };
            if !standing {
                continue;
            }
            self.record(Record::UndoStarted { step: id.clone() }).await?;
            match self.undo(step, &id).await {
                Ok(()) => self.record(Record::UndoFinished { step: id }).await?,
                Err(error) => {
                    self.record(Record::UndoFailed { step: id.clone(), error: error.clone() }).await?;
                    leftovers.push(Leftover { step: id, error });
                }
            }
        }
        Ok(leftovers)
    }

    /// Three attempts: a failed undo needs a person, so it had better not be a hiccup.
    async fn undo(&self, step: &Step, id: &StepId) -> Result<(), String> {
        let inventory = self.inventory();
        let attempts = std::cell::Cell::new(0);
        let what = format!("undo of {id}");
        let pace = Pace { first: Duration::from_millis(200), max: Duration::from_secs(2) };
        let deadline = self.plan.deadlines.task * 4;
        let waiting = |reason: &str| {
            let (step, what) = (id.clone(), String::from("another attempt"));
            self.emit(&Event::Tick(Tick::Waiting { step, what, reason: reason.to_owned() }));
        };
        wait::until(&what, pace, deadline, waiting, async || {
            attempts.set(attempts.get() + 1);
            match self.with_context(id, &inventory, async |context| step.undo(context).await).await {
                Ok(()) => Probe::Ready(()),
                Err(error) if attempts.get() < 3 => Probe::NotYet(error.to_string()),
                Err(error) => Probe::Never(error),
            }
        })
        .await
        .map_err(|error| error.to_string())
    }

    async fn with_context<T>(
        &self,
        id: &StepId,
        inventory: &Inventory,
        work: impl AsyncFnOnce(&Context<'_>) -> T,
    ) -> T {
        let tick = |tick: Tick| self.emit(&Event::Tick(tick));
        let durable = |fact: Fact| {
            self.append(Record::Noted { step: id.clone(), fact })
                .map_err(|error| StepError::clean("write the journal", error))
        };
        let context = Context { tools: self.tools, inventory, step: id.clone(), tick: &tick, durable: &durable };
        work(&context).await
    }

    fn append(&self, record: Record) -> Result<(), JournalError> {
        self.journal.borrow_mut().append(record.clone())?;
        self.emit(&Event::Record(record));
        Ok(())
    }

    async fn record(&self, record: Record) -> Result<(), JournalError> {
        self.append(record)?;
        tokio::task::yield_now().await;
        Ok(())
    }

    fn emit(&self, event: &Event) {
        (self.listener)(event);
    }
}
