//! API tokens, as clients manage them (pve-access-control 9.1: src/PVE/API2/User.pm).

use serde_json::{Map, Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::formats::split_list;
use super::users;
use crate::lab::site::{Site, Token};

/// The tokens of a user, by their name within it.
pub(super) fn of<'s>(site: &'s Site, user: &str) -> Vec<(&'s str, &'s Token)> {
    let own = site.tokens.iter().filter_map(|(id, token)| Some((id.strip_prefix(user)?.strip_prefix('!')?, token)));
    own.collect()
}

pub(super) fn shown(token: &Token) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("privsep".into(), i32::from(token.privsep).into());
    row.insert("expire".into(), token.expire.into());
    if let Some(comment) = &token.comment {
        row.insert("comment".into(), comment.as_str().into());
    }
    row
}

fn id(call: &Call) -> String {
    format!("{}!{}", call.text("userid"), call.text("tokenid"))
}

fn known<'c>(call: &'c Call) -> Result<&'c Token, Failure> {
    users::known(&call.world.site, call.text("userid"))?;
    let missing = || format!("no such token '{}' for user '{}'", call.text("tokenid"), call.text("userid"));
    call.world.site.tokens.get(&id(call)).ok_or_else(|| Failure::die(missing()))
}

/// `GET /access/users/{userid}/token`
pub(super) fn list(call: &mut Call) -> Result<Reply, Failure> {
    users::known(&call.world.site, call.text("userid"))?;
    let rows = of(&call.world.site, call.text("userid")).into_iter().map(|(name, token)| {
        let mut row = shown(token);
        row.insert("tokenid".into(), name.into());
        Value::Object(row)
    });
    Ok(Reply::Data(rows.collect()))
}

/// `GET /access/users/{userid}/token/{tokenid}`
pub(super) fn read(call: &mut Call) -> Result<Reply, Failure> {
    Ok(Reply::Data(shown(known(call)?).into()))
}

/// What was given comes back as the text that it was.
fn echoed(call: &Call, row: &mut Map<String, Value>) {
    for name in ["privsep", "expire"] {
        if let Some(text) = call.opt(name) {
            row.insert(name.into(), text.into());
        }
    }
}

/// `POST /access/users/{userid}/token/{tokenid}`: the secret is shown this once.
pub(super) fn create(call: &mut Call) -> Result<Reply, Failure> {
    let id = id(call);
    users::known(&call.world.site, call.text("userid"))?;
    if call.world.site.tokens.contains_key(&id) {
        return Err(Failure::param("tokenid", "Token already exists."));
    }
    let token = Token {
        secret: uuid::Uuid::new_v4().to_string(),
        privsep: call.opt("privsep") != Some("0"),
        expire: call.number("expire").unwrap_or(0),
        comment: call.opt("comment").filter(|text| !matches!(*text, "" | "0")).map(str::to_owned),
    };
    let mut info = shown(&token);
    info.remove("expire");
    echoed(call, &mut info);
    let answer = json!({ "full-tokenid": id, "value": token.secret, "info": info });
    call.world.site.tokens.insert(id, token);
    Ok(Reply::Data(answer))
}

/// `PUT /access/users/{userid}/token/{tokenid}`
pub(super) fn update(call: &mut Call) -> Result<Reply, Failure> {
    let mut token = known(call)?.clone();
    token.privsep = call.opt("privsep").map_or(token.privsep, |flag| flag == "1");
    token.expire = call.number("expire").unwrap_or(token.expire);
    token.comment = call.opt("comment").map(str::to_owned).or(token.comment).filter(|text| !text.is_empty());
    for option in split_list(call.text("delete")) {
        if option != "comment" {
            let text = "updating token info failed: 400 Parameter verification failed.";
            return Err(Failure::die(format!("{text}\ndelete: unknown option '{option}'")));
        }
        token.comment = None;
    }
    let mut row = shown(&token);
    echoed(call, &mut row);
    let id = id(call);
    if call.flag("regenerate") {
        token.secret = uuid::Uuid::new_v4().to_string();
        row.insert("value".into(), token.secret.as_str().into());
        row.insert("full-tokenid".into(), id.as_str().into());
    }
    call.world.site.tokens.insert(id, token);
    Ok(Reply::Data(row.into()))
}

/// `DELETE /access/users/{userid}/token/{tokenid}`
pub(super) fn delete(call: &mut Call) -> Result<Reply, Failure> {
    known(call)?;
    let id = id(call);
    call.world.site.tokens.remove(&id);
    for entry in &mut call.world.site.acl {
        entry.to.retain(|to| *to != id);
    }
    Ok(Reply::Data(Value::Null))
}
