//! Users, roles and permissions, as far as a caller may ask about them.

use serde_json::{Map, Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::auth::Identity;
use super::call::Call;

/// `GET /access/permissions`: the caller's own, or with Sys.Audit on `/access` somebody else's.
pub(super) fn permissions(call: &mut Call) -> Result<Reply, Failure> {
    let who = match call.opt("userid").filter(|userid| *userid != call.who.id()) {
        None => Some(call.who.clone()),
        Some(userid) => {
            // Who is no token may look at the tokens that are theirs.
            let own = userid.split_once('!').is_some_and(|(user, _)| user == call.who.id());
            if !own {
                call.require("/access", &["Sys.Audit"])?;
            }
            identity(call, userid)
        }
    };
    let at = |path: &str| {
        let Some(who) = &who else { return Map::new() };
        let privileges = acl::privileges(call.world, who, path);
        privileges.into_iter().map(|(name, propagate)| (name, i32::from(propagate).into())).collect::<Map<_, _>>()
    };
    if let Some(path) = call.opt("path").filter(|path| !path.is_empty() && *path != "0") {
        return Ok(Reply::Data(json!({ path: at(path) })));
    }
    let paths = acl::known_paths(call.world).into_iter().map(|path| (path.clone(), at(&path)));
    let held: Map<String, Value> =
        paths.filter(|(_, held)| !held.is_empty()).map(|(path, held)| (path, held.into())).collect();
    Ok(Reply::Data(held.into()))
}

/// A token that is not there has nothing.
fn identity(call: &Call, userid: &str) -> Option<Identity> {
    let Some((user, token)) = userid.split_once('!') else {
        return Some(Identity { user: userid.to_owned(), token: None, separate: false });
    };
    let separate = call.world.site.tokens.get(userid)?.privsep;
    Some(Identity { user: user.to_owned(), token: Some(token.to_owned()), separate })
}

/// `GET /access/domains`
pub(super) fn domains(_: &mut Call) -> Reply {
    Reply::Data(json!([
        { "realm": "pam", "type": "pam", "comment": "Linux PAM" },
        { "realm": "pve", "type": "pve", "comment": "PVE" },
    ]))
}
