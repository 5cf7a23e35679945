//! Everything may be done twice: after a crash nobody knows how far the last attempt came.

use std::cell::RefCell;

use pvetalos::engine::{End, Journal};
use pvetalos::event::Record;
use pvetalos::inventory::{Fact, Inventory};
use pvetalos::steps::{Context, Step, StepError, Toolbox};

use crate::harness::{Bench, Shape, assert_none, changes, report};

#[tokio::test(start_paused = true)]
async fn a_committed_plan_run_again_changes_nothing() {
    let bench = Bench::of(&Shape::of(3, 1)).await;
    let plan = bench.plan().await;
    assert!(matches!(bench.run_wide(&plan).await, End::Committed));
    let files = || [bench.kubeconfig(), bench.talosconfig(), bench.secrets()].map(|path| std::fs::read(path).ok());
    let (before, written) = (files(), bench.journal(&plan).lines().len());
    bench.take_log();
    assert!(matches!(bench.run_wide(&plan).await, End::Committed));
    let log = bench.take_log();
    let changed: Vec<_> = log.iter().filter(|call| changes(call)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert!(files() == before, "a file was rewritten");
    assert_none(&bench.ills(&plan).await);
    let more = bench.journal(&plan).lines().len() - written;
    report(&format!("the second run only looked: {} calls, {more} records", log.len()));
    assert!(bench.unwind(&plan).await.is_empty());
    assert_none(&bench.blemishes());
}

/// Runs one step as the engine does, and keeps what it notes on the way.
async fn run(step: &Step, tools: &Toolbox, inventory: &Inventory, journal: &RefCell<Journal>) -> Vec<Fact> {
    let id = step.id();
    let append = |record| journal.borrow_mut().append(record).expect("the journal can be written");
    append(Record::Started { step: id.clone() });
    let durable = |fact: Fact| -> Result<(), StepError> {
        append(Record::Noted { step: id.clone(), fact });
        Ok(())
    };
    let context = Context { tools, inventory, step: id.clone(), tick: &|_| {}, durable: &durable };
    step.run(&context).await.unwrap_or_else(|error| panic!("{id}: {error}"))
}

/// Each step runs, is cut off before anything it learned is written, and runs again.
#[tokio::test(start_paused = true)]
async fn every_step_runs_twice() {
    let bench = Bench::of(&Shape::of(1, 1)).await;
    let plan = bench.plan().await;
    let journal = RefCell::new(bench.journal(&plan));
    for step in plan.steps() {
        let inventory = || journal.borrow().state().inventory.clone();
        run(step, &bench.tools(&plan), &inventory(), &journal).await;
        let facts = run(step, &bench.tools(&plan), &inventory(), &journal).await;
        let finished = Record::Finished { step: step.id(), facts };
        journal.borrow_mut().append(finished).expect("the journal can be written");
    }
    drop(journal);
    assert_none(&bench.ills(&plan).await);
    assert!(bench.unwind(&plan).await.is_empty());
    assert_none(&bench.blemishes());
    report(&format!("{} steps ran twice", plan.steps().count()));
}

#[tokio::test(start_paused = true)]
async fn every_undo_runs_twice() {
    let bench = Bench::of(&Shape::of(1, 1)).await;
    let plan = bench.plan().await;
    assert!(matches!(bench.run(&plan).await, End::Committed));
    let inventory = bench.journal(&plan).state().inventory.clone();
    let mut undone = 0;
    for step in plan.steps().collect::<Vec<_>>().into_iter().rev() {
        for round in ["first", "second"] {
            let tools = bench.tools(&plan);
            let context =
                Context { tools: &tools, inventory: &inventory, step: step.id(), tick: &|_| {}, durable: &|_| Ok(()) };
            step.undo(&context).await.unwrap_or_else(|error| panic!("{round} undo of {}: {error}", step.id()));
            undone += 1;
        }
    }
    assert_none(&bench.blemishes());
    assert!(bench.unwind(&plan).await.is_empty(), "a third time, by the engine");
    assert_none(&bench.blemishes());
    report(&format!("{undone} undos"));
}
