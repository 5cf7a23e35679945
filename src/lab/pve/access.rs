//! Users, roles and permissions, as far as a caller may ask about them.

use serde_json::{Map, Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::auth::Identity;
use super::call::Call;

/// `GET /access/permissions`: the caller's own, or with Sys.Audit on `/access` somebody else's.
pub(super) fn permissions(call: &mut Call) -> Result<Reply, Failure> {
    let who = match call.opt("userid").filter(|userid| *userid != call.who.id()) {
        None => call.who.clone(),
        Some(userid) => {
            call.require("/access", &["Sys.Audit"])?;
            identity(call, userid)
        }
    };
    let at = |path: &str| {
        let privileges = acl::privileges(call.world, &who, path);
        privileges.into_iter().map(|(name, propagate)| (name, i32::from(propagate).into())).collect::<Map<_, _>>()
    };
    if let Some(path) = call.opt("path") {
        return Ok(Reply::Data(json!({ path: at(path) })));
    }
    let paths = acl::known_paths(call.world).into_iter().map(|path| (path.clone(), at(&path)));
    let held: Map<String, Value> =
        paths.filter(|(_, held)| !held.is_empty()).map(|(path, held)| (path, held.into())).collect();
    Ok(Reply::Data(held.into()))
}

fn identity(call: &Call, userid: &str) -> Identity {
    let (user, token) = userid.split_once('!').map_or((userid, None), |(user, token)| (user, Some(token)));
    let separate = call.world.site.tokens.get(userid).is_some_and(|token| token.privsep);
    Identity { user: user.to_owned(), token: token.map(str::to_owned), separate }
}

/// `GET /access/acl`: entries on paths that the caller may modify, or all with Sys.Audit on `/access`.
pub(super) fn acl_list(call: &mut Call) -> Reply {
    let world = &*call.world;
    let audit = acl::may(world, call.who, "/access", "Sys.Audit");
    let mut rows = Vec::new();
    for entry in &world.site.acl {
        if !audit && !acl::may(world, call.who, &entry.path, "Permissions.Modify") {
            continue;
        }
        for to in &entry.to {
            rows.push(json!({
                "path": entry.path, "ugid": to, "roleid": entry.role, "propagate": i32::from(entry.propagate),
                "type": if to.contains('!') { "token" } else { "user" },
            }));
        }
    }
    Reply::Data(rows.into())
}

fn role_map<'a>(privileges: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    privileges.map(|privilege| (privilege.to_owned(), 1.into())).collect()
}

/// `GET /access/roles`
pub(super) fn roles(call: &mut Call) -> Reply {
    let builtin = call.schema().roles.iter().map(|(name, privileges)| (name, privileges.join(","), 1));
    let custom = call.world.site.roles.iter();
    let custom = custom.map(|(name, text)| (name, text.split_whitespace().collect::<Vec<_>>().join(","), 0));
    let rows: Vec<Value> = builtin
        .chain(custom)
        .map(|(name, privs, special)| json!({ "roleid": name, "privs": privs, "special": special }))
        .collect();
    Reply::Data(rows.into())
}

/// `GET /access/roles/{roleid}`
pub(super) fn role(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("roleid");
    if let Some(text) = call.world.site.roles.get(name) {
        return Ok(Reply::Data(role_map(text.split_whitespace()).into()));
    }
    match call.schema().roles.get(name) {
        Some(privileges) => Ok(Reply::Data(role_map(privileges.iter().map(String::as_str)).into())),
        None => Err(Failure::die(format!("role '{name}' does not exist"))),
    }
}

/// `GET /access/users/{userid}/token/{tokenid}`
pub(super) fn token(call: &mut Call) -> Result<Reply, Failure> {
    let id = format!("{}!{}", call.text("userid"), call.text("tokenid"));
    let missing =
        || Failure::die(format!("no such token '{}' for user '{}'", call.text("tokenid"), call.text("userid")));
    let token = call.world.site.tokens.get(&id).ok_or_else(missing)?;
    Ok(Reply::Data(json!({ "privsep": i32::from(token.privsep), "expire": token.expire })))
}

/// `GET /access/domains`
pub(super) fn domains(_: &mut Call) -> Reply {
    Reply::Data(json!([
        { "realm": "pam", "type": "pam", "comment": "Linux PAM" },
        { "realm": "pve", "type": "pve", "comment": "PVE" },
    ]))
}

/// `POST /access/ticket`: the lab's users have no passwords.
pub(super) fn ticket(_: &mut Call) -> Result<Reply, Failure> {
    Err(Failure::with(401, "authentication failure"))
}
