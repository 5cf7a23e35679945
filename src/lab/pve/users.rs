//! Users, as clients manage them (pve-access-control 9.1: src/PVE/API2/User.pm).

use serde_json::{Map, Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::formats::split_list;
use super::{acl, api_tokens};
use crate::lab::site::{Site, User};

/// What is kept about a user as text.
const DETAILS: [&str; 5] = ["firstname", "lastname", "email", "comment", "keys"];

/// `GET /access/users`: oneself, and everybody, or the members of those groups, that the caller may look after.
pub(super) fn list(call: &mut Call) -> Reply {
    let (world, who) = (&*call.world, call.who);
    let any = ["User.Modify", "Sys.Audit"];
    let all = acl::may_any(world, who, "/access/groups", &any);
    let groups = world.site.groups.iter();
    let mine = groups.filter(|(name, _)| acl::may_any(world, who, &format!("/access/groups/{name}"), &any));
    let members: Vec<&String> = mine.flat_map(|(_, group)| &group.users).collect();
    let enabled = call.opt("enabled").map(|flag| flag == "1");
    let seen = world.site.users.iter().filter(|(name, user)| {
        (all || **name == who.id() || members.contains(name)) && enabled.is_none_or(|enabled| user.enable == enabled)
    });
    let rows = seen.map(|(name, user)| {
        let mut row = shown(user);
        row.insert("userid".into(), name.as_str().into());
        let realm = name.rsplit_once('@').map_or("", |(_, realm)| realm);
        if is_realm(realm) {
            row.insert("realm-type".into(), realm.into());
        }
        if call.flag("full") {
            row.insert("groups".into(), groups_of(&world.site, name).join(",").into());
            let tokens = api_tokens::of(&world.site, name);
            let list = tokens.iter().map(|(id, token)| {
                let mut row = api_tokens::shown(token);
                row.insert("tokenid".into(), (*id).into());
                Value::Object(row)
            });
            row.insert("tokens".into(), if tokens.is_empty() { Value::Null } else { list.collect() });
        }
        Value::Object(row)
    });
    Reply::Data(rows.collect())
}

fn shown(user: &User) -> Map<String, Value> {
    let mut row: Map<String, Value> =
        user.details.iter().map(|(name, text)| (name.clone(), text.as_str().into())).collect();
    // The line in the file ends with the last of these that is given, and those before it are then empty, not missing.
    if !row.contains_key("email") && ["comment", "keys"].iter().any(|later| row.contains_key(*later)) {
        row.insert("email".into(), "".into());
    }
    row.insert("enable".into(), i32::from(user.enable).into());
    row.insert("expire".into(), user.expire.into());
    row
}

fn groups_of(site: &Site, user: &str) -> Vec<String> {
    let groups = site.groups.iter().filter(|(_, group)| group.users.contains(user));
    groups.map(|(name, _)| name.clone()).collect()
}

/// The realms that every site has.
pub(super) fn is_realm(realm: &str) -> bool {
    ["pam", "pve"].contains(&realm)
}

pub(super) fn known(site: &Site, user: &str) -> Result<(), Failure> {
    let found = site.users.contains_key(user);
    found.then_some(()).ok_or_else(|| Failure::die(format!("no such user ('{user}')")))
}

/// `GET /access/users/{userid}`
pub(super) fn read(call: &mut Call) -> Result<Reply, Failure> {
    let (site, name) = (&call.world.site, call.text("userid"));
    known(site, name)?;
    let mut row = shown(&site.users[name]);
    let tokens = api_tokens::of(site, name);
    let by_name: Map<String, Value> =
        tokens.iter().map(|(id, token)| ((*id).to_owned(), api_tokens::shown(token).into())).collect();
    row.insert("tokens".into(), if by_name.is_empty() { Value::Null } else { by_name.into() });
    row.insert("groups".into(), groups_of(site, name).into());
    Ok(Reply::Data(row.into()))
}

/// `POST /access/users`
pub(super) fn create(call: &mut Call) -> Result<Reply, Failure> {
    let failed = |text: String| Failure::die(format!("create user failed: {text}"));
    let name = call.text("userid").to_owned();
    if call.world.site.users.contains_key(&name) {
        return Err(failed(format!("user '{name}' already exists")));
    }
    let realm = name.rsplit_once('@').map_or("", |(_, realm)| realm);
    if call.opt("password").is_some() && !is_realm(realm) {
        return Err(failed(format!("auth domain '{realm}' does not exist")));
    }
    let groups = groups_asked(call).map_err(failed)?;
    let given = |detail: &str| call.opt(detail).filter(|text| !matches!(*text, "" | "0"));
    let details = DETAILS.iter().filter_map(|detail| Some(((*detail).to_owned(), given(detail)?.to_owned())));
    let user = User {
        enable: call.opt("enable") != Some("0"),
        expire: call.number("expire").unwrap_or(0),
        details: details.collect(),
        password: call.opt("password").map(str::to_owned),
    };
    join(&mut call.world.site, &name, &groups);
    call.world.site.users.insert(name, user);
    Ok(Reply::Data(Value::Null))
}

/// `PUT /access/users/{userid}`
pub(super) fn update(call: &mut Call) -> Result<Reply, Failure> {
    let failed = |text: String| Failure::die(format!("update user failed: {text}"));
    let name = call.text("userid").to_owned();
    known(&call.world.site, &name).map_err(|failure| failed(failure.text()))?;
    let groups = groups_asked(call).map_err(failed)?;
    let (enable, expire) = (call.opt("enable").map(|flag| flag == "1"), call.number("expire"));
    let given = DETAILS.iter().filter_map(|detail| Some((*detail, call.opt(detail)?.to_owned())));
    let given: Vec<(&str, String)> = given.collect();
    let anew = call.opt("groups").is_some() && !call.flag("append");
    let site = &mut call.world.site;
    if anew {
        leave(site, &name);
    }
    join(site, &name, &groups);
    if let Some(user) = site.users.get_mut(&name) {
        user.enable = enable.unwrap_or(user.enable);
        user.expire = expire.unwrap_or(user.expire);
        for (detail, text) in given {
            user.details.insert(detail.to_owned(), text);
        }
        // What is empty is not written, and so not read again.
        user.details.retain(|_, text| !text.is_empty());
    }
    Ok(Reply::Data(Value::Null))
}

/// The groups that a request names. All of them must be there.
fn groups_asked(call: &Call) -> Result<Vec<String>, String> {
    let groups: Vec<String> = split_list(call.text("groups")).into_iter().map(str::to_owned).collect();
    match groups.iter().find(|group| !call.world.site.groups.contains_key(*group)) {
        Some(group) => Err(format!("no such group '{group}'")),
        None => Ok(groups),
    }
}

fn join(site: &mut Site, user: &str, groups: &[String]) {
    for (_, group) in site.groups.iter_mut().filter(|(name, _)| groups.contains(name)) {
        group.users.insert(user.to_owned());
    }
}

fn leave(site: &mut Site, user: &str) {
    for group in site.groups.values_mut() {
        group.users.remove(user);
    }
}

/// `DELETE /access/users/{userid}`: tokens, memberships and entries of the user go with it.
pub(super) fn delete(call: &mut Call) -> Reply {
    let name = call.text("userid").to_owned();
    let site = &mut call.world.site;
    site.users.remove(&name);
    leave(site, &name);
    let tokens = format!("{name}!");
    site.tokens.retain(|id, _| !id.starts_with(&tokens));
    for entry in &mut site.acl {
        entry.to.retain(|to| *to != name && !to.starts_with(&tokens));
    }
    Reply::Data(Value::Null)
}

/// `GET /access/domains/{realm}`
pub(super) fn realm(call: &mut Call) -> Result<Reply, Failure> {
    match call.text("realm") {
        "pam" => Ok(Reply::Data(
            json!({ "type": "pam", "comment": "Linux PAM", "plugin": "PVE::Auth::PAM", "digest": DIGEST }),
        )),
        "pve" => Ok(Reply::Data(json!({ "type": "pve", "comment": "PVE", "digest": DIGEST }))),
        other => Err(Failure::die(format!("domain '{other}' does not exist"))),
    }
}

/// Of the realms' file, which nothing changes.
const DIGEST: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
