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

/// `GET /access/domains`
pub(super) fn domains(_: &mut Call) -> Reply {
    Reply::Data(json!([
        { "realm": "pam", "type": "pam", "comment": "Linux PAM" },
        { "realm": "pve", "type": "pve", "comment": "PVE" },
    ]))
}
