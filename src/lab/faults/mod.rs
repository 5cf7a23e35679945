//! The script of what goes wrong, and the log of what was asked.
//!
//! Every face reports each call to [`gate::enter`] before it acts, and obeys the
//! answer. One vocabulary serves all faces, files (`lab start --faults`) and
//! tests. What happens on the site by itself or by somebody else's hand is a line
//! of the same script: it, too, is set off by a call, because "between these two
//! calls" is the only time that can be named exactly.
//!
//! - [`Effect`]: what becomes of the call
//! - [`Event`]: what happens on the site just before it
//! - `gate`: how the faces obey
//! - [`log::Log`]: what was asked, as far as somebody wants to know

pub mod event;
pub(in crate::lab) mod gate;
pub mod log;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use event::Foreign;
pub use event::{Deed, Event, Lacks};
use log::Log;

/// Which server was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Face {
    Pve,
    Factory,
    Talos,
    Kube,
}

impl Face {
    /// As scripts write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pve => "pve",
            Self::Factory => "factory",
            Self::Talos => "talos",
            Self::Kube => "kube",
        }
    }
}

/// One call as a face saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub face: Face,
    /// Method and path pattern (`POST /nodes/{node}/qemu`) or gRPC method (`machine.MachineService/Bootstrap`).
    pub name: String,
    /// What it was about: a VMID, a volume, the machine's name or address; empty where there is no such thing.
    pub subject: String,
    /// Whatever the test wrote beside it with [`Faults::label`]: the step that was running.
    pub label: String,
}

/// What the lab does with a call that a [`Fault`] matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Does nothing and says so: HTTP status and text, or gRPC code and text.
    Refuse { code: u16, text: String },
    /// Does it, then says that it failed. For calls that return a task, the task does the work and ends in error.
    ActThenFail { code: u16, text: String },
    /// Does it, then closes the connection without an answer.
    LoseReply,
    /// Closes the connection without doing anything.
    LoseRequest,
    /// Resets the connection (TCP RST) without doing anything.
    Reset,
    /// Does it, then resets the connection.
    ActThenReset,
    /// Waits, then does it.
    Delay { millis: u64 },
    /// Never answers and does nothing.
    Silent,
    /// Does it and never answers.
    ActThenSilent,
    /// Does it, and the answer is damaged on its way.
    Corrupt(Damage),
    /// Treats the first, third, fifth, … of the calls that it hits like this, and lets the others through.
    Flap(Box<Effect>),
    /// Something happens on the site first; then the call is served as if nothing had happened.
    Event(Event),
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// As long as it was, but other bytes.
    Garbled,
    /// The first half of it, as if that were all. An answer of gRPC says how long it is, and breaks off instead.
    Halved,
    /// The connection ends in the middle of it.
    Broken,
}

/// One line of the script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub face: Face,
    /// Matches when the call's name contains this; any name when absent.
    #[serde(default)]
    pub call: String,
    /// Matches when the call's subject is this; any subject when absent.
    #[serde(default)]
    pub subject: Option<String>,
    /// Matches when the call's label is this; any label when absent.
    #[serde(default)]
    pub label: Option<String>,
    /// Lets this many matching calls through first.
    #[serde(default)]
    pub skip: u32,
    /// How many calls it then hits.
    #[serde(default = "once")]
    pub times: u32,
    pub effect: Effect,
}

fn once() -> u32 {
    1
}

impl Fault {
    fn matches(&self, call: &Call) -> bool {
        self.times > 0
            && self.face == call.face
            && call.name.contains(&self.call)
            && self.subject.as_ref().is_none_or(|wanted| *wanted == call.subject)
            && self.label.as_ref().is_none_or(|wanted| *wanted == call.label)
    }

    /// Counts a call that matches; what is done to it, if anything.
    fn hit(&mut self) -> Option<Effect> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        match &mut self.effect {
            Effect::Flap(effect) => {
                let now = (**effect).clone();
                // The next one is let through: it counts as skipped, and not as hit.
                self.skip = 1;
                Some(now)
            }
            effect => Some(effect.clone()),
        }
    }
}

/// Script and log. Part of the world, so that reading it is reading the world.
#[derive(Debug, Default)]
pub struct Faults {
    /// Of the lines that match a call, every event happens, and the first of the others decides what becomes of it.
    pub script: Vec<Fault>,
    pub log: Log,
    /// What somebody else brought onto the site, as it was left.
    pub foreign: BTreeMap<u32, Foreign>,
    /// Calls that are not answered and never will be.
    pub silenced: usize,
    /// Storages that an event filled, and what was used of them before: GiB.
    filled: BTreeMap<String, u64>,
    label: String,
}

/// What the script wants of a call.
pub(super) struct Orders {
    pub events: Vec<Event>,
    pub effect: Option<Effect>,
}

impl Faults {
    /// Names what the following calls belong to.
    pub fn label(&mut self, label: impl Into<String>) {
        self.label = label.into();
    }

    /// The call with the label that belongs to it now.
    pub(super) fn call(&self, face: Face, name: &str, subject: &str) -> Call {
        Call { face, name: name.to_owned(), subject: subject.to_owned(), label: self.label.clone() }
    }

    /// How often each call came, by face and name: `pve POST /nodes/{node}/qemu`.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.log.counts()
    }

    /// Logs the call and says what to do with it.
    pub(super) fn observe(&mut self, call: Call) -> Orders {
        let mut orders = Orders { events: Vec::new(), effect: None };
        for fault in self.script.iter_mut().filter(|fault| fault.matches(&call)) {
            match &fault.effect {
                Effect::Event(_) => {
                    orders.events.extend(fault.hit().and_then(|effect| match effect {
                        Effect::Event(event) => Some(event),
                        _ => None,
                    }));
                }
                // A line hits nothing while another one does.
                _ if orders.effect.is_none() => orders.effect = fault.hit(),
                _ => {}
            }
        }
        self.log.push(call);
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(effect: Effect, skip: u32, times: u32) -> Fault {
        Fault { face: Face::Talos, call: "Disks".into(), subject: None, label: None, skip, times, effect }
    }

    fn heard(faults: &mut Faults) -> Orders {
        let call = faults.call(Face::Talos, "storage.StorageService/Disks", "cp-1");
        faults.observe(call)
    }

    fn hits(fault: Fault, calls: usize) -> Vec<bool> {
        let mut faults = Faults { script: vec![fault], ..Faults::default() };
        (0..calls).map(|_| heard(&mut faults).effect.is_some()).collect()
    }

    #[test]
    fn a_line_lets_some_through_hits_some_and_is_spent() {
        assert_eq!(hits(fault(Effect::Silent, 2, 2), 6), [false, false, true, true, false, false]);
        assert_eq!(
            hits(fault(Effect::Flap(Box::new(Effect::Silent)), 1, 3), 7),
            [false, true, false, true, false, true, false]
        );
    }

    #[test]
    fn every_event_happens_and_one_other_line_decides() {
        let event = || fault(Effect::Event(Event::NewLeases), 0, 1);
        let script = vec![fault(Effect::LoseReply, 0, 1), event(), fault(Effect::Silent, 0, 1), event()];
        let mut faults = Faults { script, ..Faults::default() };
        let orders = heard(&mut faults);
        assert_eq!((orders.events.len(), orders.effect), (2, Some(Effect::LoseReply)));
        let orders = heard(&mut faults);
        assert_eq!((orders.events.len(), orders.effect), (0, Some(Effect::Silent)));
    }

    #[test]
    fn a_script_that_means_nothing_is_refused() {
        for text in [
            r#"{"face":"pve","effect":"explode"}"#,
            r#"{"face":"pve","effect":"silent","tiems":2}"#,
            r#"{"face":"pve","effect":{"refuse":{"code":500}}}"#,
            r#"{"face":"moon","effect":"silent"}"#,
        ] {
            assert!(serde_json::from_str::<Fault>(text).is_err(), "{text}");
        }
    }
}
