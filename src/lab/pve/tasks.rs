//! The calls that read and abort tasks.

use serde_json::{Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::formats::split_list;
use super::task::Task;

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
    let upid = call.text("upid");
    if is_upid(upid) {
        // Whether there is such a task is told to everybody.
        found(call, upid)?;
    }
    readable(call, "Sys.Modify")?;
    found(call, upid)?.abort.notify_one();
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
