//! The script of what goes wrong, and the log of what was asked.
//!
//! Every face reports each call here before it acts, and obeys the answer. One
//! vocabulary serves all faces, files (`lab start --faults`) and tests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which server was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Face {
    Pve,
    Factory,
    Talos,
    Kube,
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
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Does nothing and says so: HTTP status and text, or gRPC code and text.
    Refuse { code: u16, text: String },
    /// Does it, then says that it failed. For calls that return a task, the task does the work and ends in error.
    ActThenFail { code: u16, text: String },
    /// Does it, then closes the connection without an answer.
    LoseReply,
    /// Closes the connection without doing anything.
    LoseRequest,
    /// Waits, then does it.
    Delay { millis: u64 },
    /// Never answers and does nothing.
    Silent,
}

/// One line of the script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub face: Face,
    /// Matches when the call's name contains this.
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

/// Script and log. Part of the world, so that reading it is reading the world.
#[derive(Debug, Default)]
pub struct Faults {
    pub script: Vec<Fault>,
    pub log: Vec<Call>,
    label: String,
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
        let mut counts = BTreeMap::new();
        for call in &self.log {
            let face = match call.face {
                Face::Pve => "pve",
                Face::Factory => "factory",
                Face::Talos => "talos",
                Face::Kube => "kube",
            };
            *counts.entry(format!("{face} {}", call.name)).or_default() += 1;
        }
        counts
    }

    /// Logs the call and says what to do with it: `None` is to serve it.
    pub(super) fn observe(&mut self, call: Call) -> Option<Effect> {
        let hit = self.script.iter_mut().find(|fault| {
            fault.times > 0
                && fault.face == call.face
                && call.name.contains(&fault.call)
                && fault.subject.as_ref().is_none_or(|wanted| *wanted == call.subject)
                && fault.label.as_ref().is_none_or(|wanted| *wanted == call.label)
        });
        self.log.push(call);
        let fault = hit?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        Some(fault.effect.clone())
    }
}
