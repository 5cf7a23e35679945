//! Roles, as clients manage them (pve-access-control 9.1: src/PVE/API2/Role.pm).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::formats::split_list;

/// `GET /access/roles`
pub(super) fn list(call: &mut Call) -> Reply {
    let builtin = call.schema().roles.iter().map(|(name, privileges)| (name, privileges.join(","), 1));
    let custom = call.world.site.roles.iter().map(|(name, text)| (name, sorted(text).join(","), 0));
    let rows = builtin
        .chain(custom)
        .map(|(name, privs, special)| json!({ "roleid": name, "privs": privs, "special": special }));
    Reply::Data(rows.collect())
}

fn sorted(privileges: &str) -> Vec<&str> {
    privileges.split_whitespace().collect::<BTreeSet<_>>().into_iter().collect()
}

/// `GET /access/roles/{roleid}`
pub(super) fn read(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("roleid");
    let map = |privileges: Vec<&str>| -> Map<String, Value> {
        privileges.into_iter().map(|privilege| (privilege.to_owned(), 1.into())).collect()
    };
    if let Some(text) = call.world.site.roles.get(name) {
        return Ok(Reply::Data(map(sorted(text)).into()));
    }
    match call.schema().roles.get(name) {
        Some(privileges) => Ok(Reply::Data(map(privileges.iter().map(String::as_str).collect()).into())),
        None => Err(Failure::die(format!("role '{name}' does not exist"))),
    }
}

/// `POST /access/roles`
pub(super) fn create(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("roleid").to_owned();
    if name.to_lowercase().starts_with("pve") {
        let text = "cannot use role ID starting with the (case-insensitive) 'PVE' namespace";
        return Err(Failure::param("roleid", text));
    }
    if call.schema().roles.contains_key(&name) || call.world.site.roles.contains_key(&name) {
        return Err(Failure::die(format!("create role failed: role '{name}' already exists")));
    }
    let privileges = split_list(call.text("privs")).join(" ");
    call.world.site.roles.insert(name, privileges);
    Ok(Reply::Data(Value::Null))
}

/// `PUT /access/roles/{roleid}`: without `append`, what is not named is taken away.
pub(super) fn update(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("roleid").to_owned();
    not_builtin(call, &name, "modified")?;
    let (append, privileges) = (call.flag("append"), split_list(call.text("privs")).join(" "));
    let missing = || Failure::die(format!("update role failed: role '{name}' does not exist"));
    let role = call.world.site.roles.get_mut(&name).ok_or_else(missing)?;
    *role = if append { format!("{role} {privileges}") } else { privileges };
    Ok(Reply::Data(Value::Null))
}

/// `DELETE /access/roles/{roleid}`: entries with a role that is not there say nothing.
pub(super) fn delete(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("roleid").to_owned();
    not_builtin(call, &name, "deleted")?;
    if call.world.site.roles.remove(&name).is_none() {
        return Err(Failure::die(format!("delete role failed: role '{name}' does not exist")));
    }
    call.world.site.acl.retain(|entry| entry.role != name);
    Ok(Reply::Data(Value::Null))
}

fn not_builtin(call: &Call, name: &str, done: &str) -> Result<(), Failure> {
    if call.schema().roles.contains_key(name) {
        return Err(Failure::die(format!("auto-generated role '{name}' cannot be {done}")));
    }
    Ok(())
}
