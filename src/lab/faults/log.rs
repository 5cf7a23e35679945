//! What was asked of the faces.
//!
//! A lab that serves people runs for weeks, and is polled by status pages all the
//! while: it remembers the last thousand calls and counts the rest. A test asks
//! for everything.

use std::collections::{BTreeMap, VecDeque};

use super::Call;

/// How many calls are remembered unless somebody asks for more.
const REMEMBERED: usize = 1_000;

/// Kinds of call that are counted by name. There are a few hundred; only somebody who tries paths out makes more.
const KINDS: usize = 1_000;

/// The calls, oldest first.
#[derive(Debug)]
pub struct Log {
    calls: VecDeque<Call>,
    counts: BTreeMap<String, usize>,
    limit: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self { calls: VecDeque::new(), counts: BTreeMap::new(), limit: REMEMBERED }
    }
}

impl Log {
    /// Remembers every call from now on, until [`Log::take`].
    pub fn keep_all(&mut self) {
        self.limit = usize::MAX;
    }

    pub fn iter(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    /// The calls since the last time, and forgets them.
    pub fn take(&mut self) -> Vec<Call> {
        self.calls.drain(..).collect()
    }

    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        self.counts.clone()
    }

    pub(super) fn push(&mut self, call: Call) {
        let kind = format!("{} {}", call.face.word(), call.name);
        let known = self.counts.contains_key(&kind) || self.counts.len() < KINDS;
        *self.counts.entry(if known { kind } else { "other".to_owned() }).or_default() += 1;
        if self.calls.len() >= self.limit {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Face;
    use super::*;

    #[test]
    fn a_log_that_nobody_reads_stays_small_and_counts_on() {
        let mut log = Log::default();
        for number in 0..5_000 {
            let name = format!("GET /{}", if number % 2 == 0 { 0 } else { number });
            log.push(Call { face: Face::Kube, name, subject: String::new(), label: String::new() });
        }
        assert_eq!(log.iter().count(), REMEMBERED);
        assert_eq!(log.iter().last().map(|call| call.name.as_str()), Some("GET /4999"));
        let counts = log.counts();
        assert_eq!(counts["kube GET /0"], 2_500);
        assert!(counts.len() <= KINDS + 1 && counts.values().sum::<usize>() == 5_000);
    }
}
