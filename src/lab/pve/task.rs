//! Tasks: what workers leave behind, and the calls that read it.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::formats::split_list;
use super::release::Release;

/// A worker and its log. Kept for as long as the lab lives.
#[derive(Debug)]
pub struct Task {
    pub upid: String,
    pub node: String,
    pid: u32,
    pstart: u32,
    starttime: i64,
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
    /// Wakes the worker when the task is to be aborted.
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
            task.log.push(line.into());
        }
    }

    /// A line that makes the task end with `WARNINGS`.
    pub(super) fn warn(&mut self, upid: &str, line: &str) {
        if let Some(task) = self.get_mut(upid) {
            task.warnings += 1;
            task.log.push(format!("WARN: {line}"));
        }
    }

    /// The worker is killed from outside, as when its node loses power: it leaves no last line, and whatever it held
    /// or had half made stays as it is.
    pub fn kill(&mut self, upid: &str, release: Release, now: i64) {
        let Some(task) = self.get_mut(upid).filter(|task| task.end.is_none()) else { return };
        let silent = task.log.is_empty() && !release.nine();
        let status = if silent { "unable to read tail (got 0 bytes)" } else { "unexpected status" };
        task.end = Some((now, status.to_owned()));
        task.abort.notify_waiters();
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

    fn status(&self) -> Value {
        let mut map = self.common();
        self.owners(&mut map);
        map.insert("status".into(), if self.end.is_some() { "stopped" } else { "running" }.into());
        if let Some((_, exit)) = &self.end {
            map.insert("exitstatus".into(), exit.as_str().into());
        }
        Value::Object(map)
    }

    /// Lists show running tasks in another way than finished ones.
    fn listed(&self) -> Value {
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

/// Whether `text` has a UPID's form: `UPID:NODE:PID:PSTART:START:TYPE:ID:USER:`.
fn is_upid(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let hex = |part: &str, from: usize, to: usize| {
        (from..=to).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    parts.len() == 9
        && parts[0] == "UPID"
        && !parts[1].is_empty()
        && hex(parts[2], 8, 8)
        && hex(parts[3], 8, 9)
        && hex(parts[4], 8, 8)
        && !parts[5].is_empty()
        && !parts[7].is_empty()
        && parts[8].is_empty()
}

fn owner_of(upid: &str) -> &str {
    upid.split(':').nth(7).unwrap_or_default()
}

/// Checks form and permission; the owner (same user and same token) needs no privilege.
fn readable(call: &Call, privilege: &str) -> Result<(), Failure> {
    let upid = call.text("upid");
    if !is_upid(upid) {
        return Err(Failure::param("upid", "unable to parse worker upid"));
    }
    if owner_of(upid) == call.who.id() {
        return Ok(());
    }
    acl::require(call.world, call.who, &format!("/nodes/{}", call.node()), &[privilege])
}

fn found<'a>(call: &'a Call, upid: &str) -> Result<&'a Task, Failure> {
    let task = call.world.pve.tasks.get(upid);
    task.filter(|task| task.node == call.node()).ok_or_else(|| Failure::param("upid", "no such task"))
}

pub(super) fn status(call: &mut Call) -> Result<Reply, Failure> {
    readable(call, "Sys.Audit")?;
    Ok(Reply::Data(found(call, call.text("upid"))?.status()))
}

pub(super) fn log(call: &mut Call) -> Result<Reply, Failure> {
    readable(call, "Sys.Audit")?;
    let empty = vec!["no content".to_owned()];
    let lines = match found(call, call.text("upid")) {
        Err(_) => return Ok(no_log(call)),
        Ok(task) if task.log.is_empty() => &empty,
        Ok(task) => &task.log,
    };
    if call.flag("download") {
        return Ok(Reply::Text(lines.join("\n") + "\n"));
    }
    let start: usize = call.number("start").unwrap_or(0);
    let limit = match call.number("limit").unwrap_or(50) {
        0 => usize::MAX,
        limit => limit,
    };
    let numbered = lines.iter().enumerate().skip(start).take(limit);
    let data: Vec<Value> = numbered.map(|(at, line)| json!({ "n": at + 1, "t": line })).collect();
    Ok(Reply::Paged { data: data.into(), total: lines.len() })
}

/// The log of a task that nobody knows. pve-manager 8.4 shows one line, not a list of one.
fn no_log(call: &Call) -> Reply {
    let line = json!({ "n": 1, "t": "unable to open file - No such file or directory" });
    let data = if call.release().nine() { json!([line]) } else { line };
    Reply::Paged { data, total: 1 }
}

/// `DELETE`: aborts a running task; of a finished one it says nothing.
pub(super) fn abort(call: &mut Call) -> Result<Reply, Failure> {
    readable(call, "Sys.Modify")?;
    found(call, call.text("upid"))?.abort.notify_waiters();
    Ok(Reply::Data(Value::Null))
}

pub(super) fn list(call: &mut Call) -> Reply {
    let everything = acl::may(call.world, call.who, &format!("/nodes/{}", call.node()), "Sys.Audit");
    let who = call.who.id();
    let filters: Vec<String> = split_list(call.text("statusfilter")).into_iter().map(str::to_lowercase).collect();
    let wanted = |task: &&Task| {
        let status = task.end.as_ref().map(|(_, status)| status.as_str());
        let class = match status {
            Some("OK") => "ok",
            Some(text) if text.starts_with("WARNINGS") => "warning",
            Some("unexpected status") | None => "unknown",
            Some(_) => "error",
        };
        task.node == call.node()
            && (everything || task.owner == who)
            && call.opt("vmid").is_none_or(|vmid| task.id == vmid)
            && call.opt("typefilter").is_none_or(|kind| task.kind == kind)
            && call.opt("userfilter").is_none_or(|user| task.owner.to_lowercase().contains(&user.to_lowercase()))
            && call.number("since").is_none_or(|since: i64| task.starttime >= since)
            && call.number("until").is_none_or(|until: i64| task.starttime <= until)
            && (!call.flag("errors") || status.is_some_and(|status| status != "OK"))
            && (filters.is_empty() || filters.iter().any(|filter| filter == class))
    };
    let source = call.opt("source").unwrap_or("archive");
    let of_source = |task: &&Task| match source {
        "active" => task.end.is_none(),
        "all" => true,
        _ => task.end.is_some(),
    };
    let tasks: Vec<&Task> = call.world.pve.tasks.all.iter().rev().filter(wanted).filter(of_source).collect();
    let (start, limit) = (call.number("start").unwrap_or(0), call.number("limit").unwrap_or(50));
    let data: Vec<Value> = tasks.iter().skip(start).take(limit).map(|task| task.listed()).collect();
    Reply::Paged { data: data.into(), total: tasks.len() }
}

/// `/cluster/tasks`: without Sys.Audit on `/` the owner is compared with the bare user, so a token sees nothing.
pub(super) fn of_cluster(call: &mut Call) -> Reply {
    let everything = acl::may(call.world, call.who, "/", "Sys.Audit");
    let tasks = call.world.pve.tasks.all.iter().rev().take(50);
    let data: Vec<Value> = tasks
        .filter(|task| everything || task.owner == call.who.user)
        .map(|task| {
            let mut value = task.listed();
            if let Some(map) = value.as_object_mut().filter(|_| task.end.is_some()) {
                map.insert("saved".into(), "1".into());
            }
            value
        })
        .collect();
    Reply::Data(data.into())
}
