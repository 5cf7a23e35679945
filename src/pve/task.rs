//! Tasks: what Proxmox VE does in the background, and how it ends.
//!
//! "stopped" is not success: `exitstatus` decides, where `WARNINGS: n` is
//! success with something to read, and any other text than `OK` names a symptom
//! whose cause is in the log.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::error::PveError;
use super::{Pve, lenient, names};
use crate::wait::{self, Pace, Probe, WaitError};

/// The id of a task: `UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER:`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Upid(String);

/// The text is no task id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no task id: expected UPID:NODE:…:TYPE:ID:USER:")]
pub struct BadUpid(String);

impl FromStr for Upid {
    type Err = BadUpid;

    /// pve-common 9.2, src/PVE/UPID.pm: three hexadecimal numbers (process, its start, time), then type, id and user.
    fn from_str(text: &str) -> Result<Self, BadUpid> {
        let parts: Vec<&str> = text.split(':').collect();
        let hexadecimal = |part: &&str| (8..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
        let whole = parts.len() == 9
            && parts[0] == "UPID"
            && names::node(parts[1]).is_ok()
            && parts[2..5].iter().all(hexadecimal)
            && !parts[5].is_empty()
            && !parts[7].is_empty()
            && parts[8].is_empty();
        if whole { Ok(Self(text.to_owned())) } else { Err(BadUpid(text.to_owned())) }
    }
}

impl TryFrom<String> for Upid {
    type Error = BadUpid;

    fn try_from(text: String) -> Result<Self, BadUpid> {
        text.parse()
    }
}

impl From<Upid> for String {
    fn from(upid: Upid) -> Self {
        upid.0
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Upid {
    /// From the answer of a request that starts a task.
    pub(super) fn started(text: &str) -> Result<Self, PveError> {
        text.parse().map_err(|error: BadUpid| PveError::Decode {
            request: "a request that starts a task".into(),
            shape: "text".into(),
            source: serde::de::Error::custom(error),
        })
    }

    fn part(&self, index: usize) -> &str {
        self.0.split(':').nth(index).unwrap_or("")
    }

    /// Where it runs, and the only node that knows about it.
    pub fn node(&self) -> &str {
        self.part(1)
    }

    /// `qmcreate`, `qmstart`, `qmstop`, `qmdestroy`, `download`, `imgcopy`, …
    pub fn kind(&self) -> &str {
        self.part(5)
    }

    /// What it works on: a VMID, or a file's name percent-encoded; `-` where the id is empty.
    pub fn subject(&self) -> &str {
        match self.part(6) {
            "" => "-",
            id => id,
        }
    }

    fn path(&self, what: &str) -> String {
        format!("/nodes/{}/tasks/{}/{what}", self.node(), utf8_percent_encode(&self.0, NON_ALPHANUMERIC))
    }
}

/// A task that did its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskEnd {
    pub warnings: u32,
    /// The log, when there are warnings in it.
    pub log: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Status {
    #[serde(default, deserialize_with = "lenient::text")]
    status: String,
    #[serde(default, deserialize_with = "lenient::parsed")]
    exitstatus: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "t", default, deserialize_with = "lenient::text")]
    text: String,
}

impl Pve {
    /// Waits for the end of a task. `deadline` is a span from now; `waiting` hears why it has not come yet.
    ///
    /// A poll that gets lost says nothing about the task and is made again. So is one that finds no such
    /// task within the first seconds: on a busy node the list is written a moment after the answer.
    pub async fn wait_task(
        &self,
        upid: &Upid,
        deadline: Duration,
        waiting: impl FnMut(&str),
    ) -> Result<TaskEnd, PveError> {
        let started = Instant::now();
        let seen = Cell::new(false);
        let probe = async || match self.read::<Status>(&upid.path("status")).await {
            Ok(Status { status, .. }) if status != "stopped" => {
                seen.set(true);
                Probe::NotYet(format!("task {} of {} is {status}", upid.kind(), upid.subject()))
            }
            Ok(Status { exitstatus, .. }) => Probe::Ready(exitstatus.unwrap_or_else(|| "unexpected status".into())),
            Err(error) if error.is_passing() => Probe::NotYet(error.to_string()),
            Err(error) if is_unknown(&error) && !seen.get() && started.elapsed() < Duration::from_secs(8) => {
                Probe::NotYet("the node does not list the task yet".into())
            }
            Err(error) => Probe::Never(error),
        };
        let what = format!("task {}", upid.kind());
        match wait::until(&what, Pace::BRISK, deadline, waiting, probe).await {
            Ok(exit) => self.ended(upid, exit).await,
            Err(WaitError::Never(error)) => Err(error),
            Err(WaitError::TimedOut { after, last, .. }) => {
                Err(PveError::TaskUnfinished { upid: upid.clone(), after, last })
            }
        }
    }

    async fn ended(&self, upid: &Upid, exit: String) -> Result<TaskEnd, PveError> {
        if exit == "OK" {
            return Ok(TaskEnd::default());
        }
        // The log explains; that it cannot be had does not change how the task ended.
        let mut log = self.task_log(upid).await.unwrap_or_default();
        if let Some(count) = exit.strip_prefix("WARNINGS: ") {
            return Ok(TaskEnd { warnings: count.trim().parse().unwrap_or(1), log });
        }
        log.drain(..log.len().saturating_sub(20));
        Err(PveError::TaskFailed { upid: upid.clone(), exit, log })
    }

    /// The whole log. pve-common: a limit of 0 means all lines, the default is 50.
    pub async fn task_log(&self, upid: &Upid) -> Result<Vec<String>, PveError> {
        let lines: Vec<Line> = self.query(&upid.path("log"), &[("limit", "0")]).await?;
        Ok(lines.into_iter().map(|line| line.text).filter(|line| line != "no content").collect())
    }

    /// The running tasks of `vmid` on `node` that the token may see: its own, with `Sys.Audit` all.
    pub async fn active_tasks(&self, node: &str, vmid: u32) -> Result<Vec<Upid>, PveError> {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default, deserialize_with = "lenient::parsed")]
            upid: Option<Upid>,
        }
        let path = format!("/nodes/{}/tasks", names::node(node)?);
        let query = [("source", "active"), ("vmid", &vmid.to_string())];
        let entries: Vec<Entry> = self.query(&path, &query).await?;
        Ok(entries.into_iter().filter_map(|entry| entry.upid).collect())
    }
}

/// Status and deletion of a task that the node does not know: 400, parameter `upid`.
fn is_unknown(error: &PveError) -> bool {
    error.refusal().and_then(|refusal| refusal.errors.get("upid")).is_some_and(|text| text.contains("no such task"))
}
