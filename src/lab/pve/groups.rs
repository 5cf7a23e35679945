//! Groups of users, as clients manage them (pve-access-control 9.1: src/PVE/API2/Group.pm).

use serde_json::{Map, Value};

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use crate::lab::site::Group;

/// `GET /access/groups`: those on which the caller has a say.
pub(super) fn list(call: &mut Call) -> Reply {
    let any = ["User.Modify", "Sys.Audit", "Group.Allocate"];
    let groups = call.world.site.groups.iter();
    let seen = groups.filter(|(name, _)| acl::may_any(call.world, call.who, &format!("/access/groups/{name}"), &any));
    let rows = seen.map(|(name, group)| {
        let mut row = with_comment(group);
        row.insert("groupid".into(), name.as_str().into());
        let users: Vec<&str> = group.users.iter().map(String::as_str).collect();
        row.insert("users".into(), users.join(",").into());
        Value::Object(row)
    });
    Reply::Data(rows.collect())
}

fn with_comment(group: &Group) -> Map<String, Value> {
    group.comment.iter().map(|text| ("comment".to_owned(), text.as_str().into())).collect()
}

/// `GET /access/groups/{groupid}`
pub(super) fn read(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("groupid");
    let group = call.world.site.groups.get(name).ok_or_else(|| Failure::die(missing(name)))?;
    let mut row = with_comment(group);
    row.insert("members".into(), group.users.iter().map(String::as_str).collect());
    Ok(Reply::Data(row.into()))
}

fn missing(name: &str) -> String {
    format!("group '{name}' does not exist")
}

/// `POST /access/groups`
pub(super) fn create(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("groupid").to_owned();
    if call.world.site.groups.contains_key(&name) {
        return Err(Failure::die(format!("create group failed: group '{name}' already exists")));
    }
    let comment = call.opt("comment").filter(|text| !text.is_empty()).map(str::to_owned);
    call.world.site.groups.insert(name, Group { comment, ..Group::default() });
    Ok(Reply::Data(Value::Null))
}

/// `PUT /access/groups/{groupid}`
pub(super) fn update(call: &mut Call) -> Result<Reply, Failure> {
    let (name, comment) = (call.text("groupid").to_owned(), call.opt("comment").map(str::to_owned));
    let failed = || Failure::die(format!("update group failed: {}", missing(&name)));
    let group = call.world.site.groups.get_mut(&name).ok_or_else(failed)?;
    group.comment = comment.or(group.comment.take()).filter(|text| !text.is_empty());
    Ok(Reply::Data(Value::Null))
}

/// `DELETE /access/groups/{groupid}`: its entries go with it.
pub(super) fn delete(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("groupid").to_owned();
    if call.world.site.groups.remove(&name).is_none() {
        return Err(Failure::die(format!("delete group failed: {}", missing(&name))));
    }
    let subject = format!("@{name}");
    for entry in &mut call.world.site.acl {
        entry.to.retain(|to| *to != subject);
    }
    Ok(Reply::Data(Value::Null))
}
