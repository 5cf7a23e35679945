//! Lives that end at a call: the process dies before its request is served, or after it was and before it hears.

use std::sync::atomic::{AtomicUsize, Ordering};

use pvetalos::engine::{End, Engine, Leftover};
use pvetalos::lab::faults::{Call, Effect, Fault};
use pvetalos::lab::world::World;
use pvetalos::plan::Plan;

use super::Bench;

/// On which side of a call a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    /// Nothing was done.
    Before,
    /// It was done, and nobody heard.
    After,
}

impl Dies {
    pub(crate) const BOTH: [Self; 2] = [Self::Before, Self::After];
}

impl Bench {
    /// Does `effect` to the call number `at` from now, counted from 0: every call that a step or an undo makes.
    pub(crate) fn strike(&self, at: usize, effect: Effect) {
        let (seen, mut effect) = (AtomicUsize::new(0), Some(effect));
        let strike = move |world: &mut World, call: &Call| {
            if call.label.is_empty() || seen.fetch_add(1, Ordering::Relaxed) != at {
                return;
            }
            let Some(effect) = effect.take() else { return };
            let Call { face, name, subject, label } = call.clone();
            let (subject, label) = (Some(subject), Some(label));
            world.faults.script.insert(0, Fault { face, call: name, subject, label, skip: 0, times: 1, effect });
        };
        self.lab.shared().lock().rival = Some(Box::new(strike));
    }

    /// The process will die at the call number `at` from now.
    pub(crate) fn die_at(&self, at: usize, dies: Dies) {
        self.lab.shared().lock().faults.silenced = 0;
        self.strike(at, if dies == Dies::Before { Effect::Silent } else { Effect::ActThenSilent });
    }

    /// Completes when a call has come that will not be answered.
    async fn silence(&self) {
        let shared = self.lab.shared();
        let mut changes = shared.subscribe();
        while shared.lock().faults.silenced == 0 {
            changes.changed().await.expect("the lab lives");
        }
    }

    /// [`Bench::run`] of a process that dies when the site falls silent. `None`: it did.
    pub(crate) async fn run_mortal(&self, plan: &Plan) -> Option<End> {
        let (tools, listener) = (self.tools(plan), self.labeller());
        let engine = Engine::new(&tools, plan, self.journal(plan), &listener).with_width(1);
        let end = tokio::select! {
            biased;
            () = self.silence() => None,
            end = engine.run(std::future::pending()) => Some(end.expect("the journal can be written")),
        };
        self.look_from_outside();
        end
    }

    /// [`Bench::unwind`] of a process that dies when the site falls silent.
    pub(crate) async fn unwind_mortal(&self, plan: &Plan) -> Option<Vec<Leftover>> {
        tokio::select! {
            biased;
            () = self.silence() => None,
            left = self.unwind(plan) => Some(left),
        }
    }

    /// Every call that steps and undos make in a clean life, there and back.
    pub(crate) async fn clean_life(&self) -> (Plan, Vec<Call>, Vec<Call>) {
        let plan = self.plan().await;
        self.take_log();
        let end = self.run(&plan).await;
        assert!(matches!(end, End::Committed), "{end:?}");
        let there = self.take_log();
        let left = self.unwind(&plan).await;
        assert!(left.is_empty(), "{left:?}");
        super::assert_none(&self.blemishes());
        let labelled = |calls: Vec<Call>| calls.into_iter().filter(|call| !call.label.is_empty()).collect();
        (plan, labelled(there), labelled(self.take_log()))
    }
}
