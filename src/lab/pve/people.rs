//! Users, tokens, roles and ACL entries, as clients manage them (pve-access-control 9.1: src/PVE/API2/{User,Role,ACL}.pm).

use serde_json::{Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::formats::split_list;
use crate::lab::site::{Acl, Token, User};

/// `GET /access/users`: oneself, and everybody for those who may look after users.
pub(super) fn users(call: &mut Call) -> Reply {
    let world = &*call.world;
    let all = acl::may_any(world, call.who, "/access/groups", &["User.Modify", "Sys.Audit"]);
    let enabled = call.opt("enabled").map(|flag| flag == "1");
    let seen = world.site.users.iter().filter(|(name, user)| {
        (all || **name == call.who.user) && enabled.is_none_or(|enabled| user.enable == enabled)
    });
    let rows = seen.map(|(name, user)| {
        let mut row = shown(user);
        row["userid"] = name.as_str().into();
        row["realm-type"] = name.rsplit_once('@').map_or("", |(_, realm)| realm).into();
        if call.flag("full") {
            row["tokens"] = tokens_of(call, name);
        }
        row
    });
    Reply::Data(rows.collect::<Vec<_>>().into())
}

fn shown(user: &User) -> Value {
    json!({ "enable": i32::from(user.enable), "expire": user.expire })
}

fn tokens_of(call: &Call, user: &str) -> Value {
    let own = call.world.site.tokens.iter().filter_map(|(id, token)| {
        let name = id.strip_prefix(user)?.strip_prefix('!')?;
        Some(json!({ "tokenid": name, "privsep": i32::from(token.privsep), "expire": token.expire }))
    });
    own.collect::<Vec<_>>().into()
}

fn known(call: &Call, user: &str) -> Result<(), Failure> {
    let found = call.world.site.users.contains_key(user);
    found.then_some(()).ok_or_else(|| Failure::die(format!("no such user ('{user}')")))
}

/// `GET /access/users/{userid}`
pub(super) fn user(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("userid");
    known(call, name)?;
    let mut row = shown(&call.world.site.users[name]);
    let tokens = tokens_of(call, name);
    let by_name = tokens.as_array().into_iter().flatten().filter_map(|token| {
        let mut token = token.clone();
        let name = token.as_object_mut()?.remove("tokenid")?;
        Some((name.as_str()?.to_owned(), token))
    });
    row["tokens"] = Value::Object(by_name.collect());
    row["groups"] = json!([]);
    Ok(Reply::Data(row))
}

/// `POST /access/users`
pub(super) fn create_user(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("userid").to_owned();
    if !["pam", "pve"].contains(&name.rsplit_once('@').map_or("", |(_, realm)| realm)) {
        return Err(Failure::die("create user failed: unable to find realm"));
    }
    if call.world.site.users.contains_key(&name) {
        return Err(Failure::die(format!("create user failed: user '{name}' already exists")));
    }
    let user = User { enable: call.opt("enable") != Some("0"), expire: call.number("expire").unwrap_or(0) };
    call.world.site.users.insert(name, user);
    Ok(Reply::Data(Value::Null))
}

/// `DELETE /access/users/{userid}`: tokens and entries of the user go with it.
pub(super) fn delete_user(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("userid").to_owned();
    if call.world.site.users.remove(&name).is_none() {
        return Err(Failure::die(format!("delete user failed: user '{name}' does not exist")));
    }
    let tokens = format!("{name}!");
    call.world.site.tokens.retain(|id, _| !id.starts_with(&tokens));
    for entry in &mut call.world.site.acl {
        entry.to.retain(|to| *to != name && !to.starts_with(&tokens));
    }
    Ok(Reply::Data(Value::Null))
}

/// `GET /access/users/{userid}/token`
pub(super) fn tokens(call: &mut Call) -> Result<Reply, Failure> {
    known(call, call.text("userid"))?;
    Ok(Reply::Data(tokens_of(call, call.text("userid"))))
}

fn token_id(call: &Call) -> String {
    format!("{}!{}", call.text("userid"), call.text("tokenid"))
}

/// `POST /access/users/{userid}/token/{tokenid}`: the secret is shown this once.
pub(super) fn create_token(call: &mut Call) -> Result<Reply, Failure> {
    let id = token_id(call);
    known(call, call.text("userid"))?;
    if call.world.site.tokens.contains_key(&id) {
        return Err(Failure::param("tokenid", "Token already exists."));
    }
    let (privsep, expire) = (call.opt("privsep") != Some("0"), call.number("expire").unwrap_or(0));
    let secret = uuid::Uuid::new_v4().to_string();
    let info = json!({ "privsep": i32::from(privsep).to_string(), "expire": expire });
    let answer = json!({ "full-tokenid": id, "value": secret, "info": info });
    call.world.site.tokens.insert(id, Token { secret, privsep, expire });
    Ok(Reply::Data(answer))
}

/// `DELETE /access/users/{userid}/token/{tokenid}`
pub(super) fn delete_token(call: &mut Call) -> Result<Reply, Failure> {
    let id = token_id(call);
    if call.world.site.tokens.remove(&id).is_none() {
        let text = format!("no such token '{}' for user '{}'", call.text("tokenid"), call.text("userid"));
        return Err(Failure::die(text));
    }
    for entry in &mut call.world.site.acl {
        entry.to.retain(|to| *to != id);
    }
    Ok(Reply::Data(Value::Null))
}

/// `POST /access/roles`
pub(super) fn create_role(call: &mut Call) -> Result<Reply, Failure> {
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

/// `DELETE /access/roles/{roleid}`
pub(super) fn delete_role(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("roleid").to_owned();
    if call.schema().roles.contains_key(&name) {
        return Err(Failure::die(format!("delete role failed: auto-generated role '{name}' cannot be deleted")));
    }
    if call.world.site.roles.remove(&name).is_none() {
        return Err(Failure::die(format!("delete role failed: role '{name}' does not exist")));
    }
    call.world.site.acl.retain(|entry| entry.role != name);
    Ok(Reply::Data(Value::Null))
}

/// `PUT /access/acl`
pub(super) fn modify_acl(call: &mut Call) -> Result<Reply, Failure> {
    let list = |name: &str| split_list(call.text(name)).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (path, roles) = (call.text("path").to_owned(), list("roles"));
    let mut to = list("users");
    to.extend(list("tokens"));
    call.require(&path, &["Permissions.Modify"])?;
    if to.is_empty() {
        return Err(Failure::param("users", "either 'users', 'groups' or 'tokens' is required."));
    }
    let fail = |text: String| Failure::die(format!("ACL update failed: {text}"));
    let site = &call.world.site;
    if let Some(role) = roles.iter().find(|r| !site.roles.contains_key(*r) && !call.schema().roles.contains_key(*r)) {
        return Err(fail(format!("role '{role}' does not exist")));
    }
    for subject in &to {
        let there =
            if subject.contains('!') { site.tokens.contains_key(subject) } else { site.users.contains_key(subject) };
        if !there {
            let kind = if subject.contains('!') { "token" } else { "user" };
            return Err(fail(format!("{kind} '{subject}' does not exist")));
        }
    }
    let (delete, propagate) = (call.flag("delete"), call.opt("propagate") != Some("0"));
    for role in roles {
        for subject in &to {
            let entries = &mut call.world.site.acl;
            for entry in entries.iter_mut().filter(|entry| entry.path == path && entry.role == role) {
                entry.to.retain(|known| known != subject);
            }
            if !delete {
                entries.push(Acl { path: path.clone(), to: vec![subject.clone()], role: role.clone(), propagate });
            }
        }
    }
    call.world.site.acl.retain(|entry| !entry.to.is_empty());
    Ok(Reply::Data(Value::Null))
}
