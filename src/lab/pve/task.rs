//! Tasks: what workers leave behind.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::release::Release;

/// A worker and its log. Kept for as long as the lab lives.
#[derive(Debug)]
pub struct Task {
    pub upid: String,
    pub node: String,
    pid: u32,
    pstart: u32,
    pub(super) starttime: i64,
    /// `qmcreate`, `qmstart`, …
    pub kind: String,
    /// What it is about, decoded: a VMID, a storage, a file name.
    pub id: String,
    /// `user@realm` or `user@realm!token`.
    pub owner: String,
    pub log: Vec<String>,
    pub warnings: u32,
    /// End time and exit status; absent while it runs.
    pub end: Option<(i64, String)>,
    /// Wakes the worker when the task is to be aborted. By `notify_one`, which is kept for a worker that has not begun
    /// to listen; `notify_waiters` would be lost on it.
    pub(super) abort: Arc<Notify>,
}

/// All tasks, oldest first.
#[derive(Debug, Default)]
pub struct Tasks {
    pub all: Vec<Task>,
    pid: u32,
}

impl Tasks {
    /// Registers a running task and returns its UPID.
    pub(super) fn begin(&mut self, node: &str, kind: &str, id: &str, owner: &str, now: i64) -> String {
        self.pid += 1;
        let (pid, pstart) = (2000 + self.pid, 0x000A_0000 + self.pid * 7);
        let escaped = id.bytes().fold(String::new(), |mut text, byte| {
            if byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
            text
        });
        let upid = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{now:08X}:{kind}:{escaped}:{owner}:");
        self.all.push(Task {
            upid: upid.clone(),
            node: node.to_owned(),
            pid,
            pstart,
            starttime: now,
            kind: kind.to_owned(),
            id: id.to_owned(),
            owner: owner.to_owned(),
            log: Vec::new(),
            warnings: 0,
            end: None,
            abort: Arc::new(Notify::new()),
        });
        upid
    }

    pub(super) fn get(&self, upid: &str) -> Option<&Task> {
        self.all.iter().rev().find(|task| task.upid == upid)
    }

    pub(super) fn get_mut(&mut self, upid: &str) -> Option<&mut Task> {
        self.all.iter_mut().rev().find(|task| task.upid == upid)
    }

    pub(super) fn log(&mut self, upid: &str, line: impl Into<String>) {
        if let Some(task) = self.get_mut(upid) {
            // A line's end is one, whoever wrote it.
            task.log.extend(line.into().split('\n').map(str::to_owned));
        }
    }

    /// A line that makes the task end with `WARNINGS`.
    pub(super) fn warn(&mut self, upid: &str, line: &str) {
        if let Some(task) = self.get_mut(upid) {
            task.warnings += 1;
            task.log.push(format!("WARN: {line}"));
        }
    }

    /// The worker is killed from outside: it leaves no last line, and whatever it had half made stays as it is. Its
    /// lock file is free again.
    pub fn kill(&mut self, upid: &str, release: Release, now: i64) {
        let Some(task) = self.get_mut(upid).filter(|task| task.end.is_none()) else { return };
        let silent = task.log.is_empty() && !release.nine();
        let status = if silent { "unable to read tail (got 0 bytes)" } else { "unexpected status" };
        task.end = Some((now, status.to_owned()));
        task.abort.notify_one();
    }

    pub(super) fn finish(&mut self, upid: &str, result: Result<(), String>, now: i64) {
        let Some(task) = self.get_mut(upid).filter(|task| task.end.is_none()) else { return };
        let (line, status) = match result {
            Ok(()) if task.warnings > 0 => {
                (format!("TASK WARNINGS: {}", task.warnings), format!("WARNINGS: {}", task.warnings))
            }
            Ok(()) => ("TASK OK".to_owned(), "OK".to_owned()),
            Err(text) => (format!("TASK ERROR: {text}"), text.replace('\n', " ")),
        };
        task.log.push(line);
        task.end = Some((now, status));
    }
}

impl Task {
    /// User and token of the owner, as finished tasks show them.
    fn owners(&self, map: &mut Map<String, Value>) {
        match self.owner.split_once('!') {
            Some((user, token)) => {
                map.insert("user".into(), user.into());
                map.insert("tokenid".into(), token.into());
            }
            None => {
                map.insert("user".into(), self.owner.as_str().into());
            }
        }
    }

    fn common(&self) -> Map<String, Value> {
        let value = json!({
            "upid": self.upid, "node": self.node, "pid": self.pid, "pstart": self.pstart,
            "starttime": self.starttime, "type": self.kind, "id": self.id,
        });
        let Value::Object(map) = value else { return Map::new() };
        map
    }

    pub(super) fn status(&self) -> Value {
        let mut map = self.common();
        self.owners(&mut map);
        map.insert("status".into(), if self.end.is_some() { "stopped" } else { "running" }.into());
        if let Some((_, exit)) = &self.end {
            map.insert("exitstatus".into(), exit.as_str().into());
        }
        Value::Object(map)
    }

    /// Lists show running tasks in another way than finished ones.
    pub(super) fn listed(&self) -> Value {
        let mut map = self.common();
        if let Some((time, exit)) = &self.end {
            self.owners(&mut map);
            map.insert("endtime".into(), (*time).into());
            map.insert("status".into(), exit.as_str().into());
        } else {
            map.insert("user".into(), self.owner.as_str().into());
            map.insert("status".into(), "RUNNING".into());
            map.insert("saved".into(), "0".into());
        }
        Value::Object(map)
    }
}
