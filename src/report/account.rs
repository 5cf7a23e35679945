//! Who the time went to.
//!
//! Lanes overlap, so adding up the steps gives more than the clock showed. What
//! a user wants to know is what held up the end. The rule: walk back from the
//! end. The step that ended last held it up, and its whole span goes to its
//! account; what held up its start is the step that had ended last by then; and
//! so on to the beginning. Where no step ended, the time is ours. Every instant
//! is counted once, so the accounts add up to the time on the clock.
//!
//! What this does not say: a slow step that another lane's slower one hides is
//! not seen. Making it faster would not have made the run faster either.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::text;
use super::timeline::Timeline;
use crate::event::StepId;

/// Who a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    Proxmox,
    Factory,
    /// From power-on to a machine that runs from its own disk.
    Talos,
    Kubernetes,
    Ourselves,
}

impl Account {
    const ALL: [Self; 5] = [Self::Proxmox, Self::Factory, Self::Talos, Self::Kubernetes, Self::Ourselves];

    /// The account of a step, run or undone. A verb that is not listed waits for nobody but us.
    fn of(step: &StepId) -> Self {
        match step.verb() {
            "create_vm" | "start_vm" | "eject_iso" => Self::Proxmox,
            "fetch_image" | "warm_installer" => Self::Factory,
            "find_address" | "apply_config" | "await_install" => Self::Talos,
            "bootstrap_etcd" | "check_health" => Self::Kubernetes,
            _ => Self::Ourselves,
        }
    }

    /// The name that people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Proxmox => "Proxmox",
            Self::Factory => "factory",
            Self::Talos => "firmware and Talos",
            Self::Kubernetes => "etcd and Kubernetes",
            Self::Ourselves => "ourselves",
        }
    }
}

/// The five accounts, which add up to [`Timeline::wall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts([Duration; 5]);

impl Accounts {
    /// Walks `timeline` back from its end.
    pub fn of(timeline: &Timeline) -> Self {
        let mut sums = [Duration::ZERO; 5];
        let mut now = timeline.wall;
        while !now.is_zero() {
            // `started < now` makes every round go back in time; of two that ended together the longer one held us up.
            let held_up = timeline
                .spans
                .iter()
                .filter_map(|span| Some((span.ended?, span)))
                .filter(|(ended, span)| *ended <= now && span.started < now)
                .max_by_key(|(ended, span)| (*ended, Reverse(span.started)));
            let Some((ended, span)) = held_up else { break };
            sums[Account::Ourselves as usize] += now.saturating_sub(ended);
            sums[Account::of(&span.step) as usize] += span.took();
            now = span.started;
        }
        sums[Account::Ourselves as usize] += now;
        Self(sums)
    }

    /// Each account and its share, always all five, in the order of the flow.
    pub fn iter(&self) -> impl Iterator<Item = (Account, Duration)> {
        Account::ALL.into_iter().zip(self.0)
    }

    /// The time on the clock.
    pub fn wall(&self) -> Duration {
        self.0.iter().sum()
    }
}

/// An object: account to seconds.
impl Serialize for Accounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(account, share)| (account, text::as_seconds(share))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::timeline::Span;

    fn timeline(wall: u64, spans: &[(&str, u64, u64)]) -> Timeline {
        let seconds = Duration::from_secs;
        let span = |(verb, started, ended): &(&str, u64, u64)| Span {
            step: StepId::of(verb, "m"),
            undo: false,
            started: seconds(*started),
            ended: Some(seconds(*ended)),
            error: None,
        };
        Timeline { spans: spans.iter().map(span).collect(), wall: seconds(wall) }
    }

    fn shares(timeline: &Timeline) -> [u64; 5] {
        let accounts = Accounts::of(timeline);
        assert_eq!(accounts.wall(), timeline.wall, "the accounts must add up to the clock");
        accounts.0.map(|share| share.as_secs())
    }

    #[test]
    fn a_single_lane_is_told_as_it_was_and_gaps_are_ours() {
        let lane = [("fetch_image", 1, 11), ("create_vm", 11, 14), ("find_address", 15, 40), ("check_health", 40, 90)];
        assert_eq!(shares(&timeline(92, &lane)), [3, 10, 25, 50, 4]);
    }

    #[test]
    fn what_a_slower_lane_hides_is_not_counted() {
        let lanes = [("create_vm", 0, 5), ("create_vm", 0, 3), ("find_address", 3, 9), ("find_address", 5, 30)];
        assert_eq!(shares(&timeline(30, &lanes)), [5, 0, 25, 0, 0]);
    }

    #[test]
    fn steps_without_length_and_runs_without_steps_are_no_trap() {
        assert_eq!(shares(&timeline(0, &[("create_vm", 0, 0)])), [0; 5]);
        assert_eq!(shares(&timeline(7, &[("create_vm", 7, 7), ("create_vm", 3, 3)])), [0, 0, 0, 0, 7]);
        assert_eq!(shares(&timeline(7, &[])), [0, 0, 0, 0, 7]);
    }
}
