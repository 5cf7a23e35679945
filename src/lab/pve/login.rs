//! Logging in with a password: tickets, and the token against forged requests that goes with them.
//!
//! A ticket is what browsers and password clients show as a cookie; it lives for
//! two hours and can be renewed with itself as the password. A request that
//! writes must also show the token, which a foreign page could not read
//! (pve-access-control 9.1: src/PVE/API2/AccessControl.pm, pve-manager 9.2:
//! PVE/HTTPServer.pm).

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::auth::Identity;
use super::call::Call;
use super::formats::split_list;
use crate::lab::site::Site;

/// Seconds that a ticket is good for.
const LIFETIME: i64 = 7200;

/// What was given out. The real ones carry a signature, so nobody needs to remember them.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Ticket or token to its user and the epoch second of its birth.
    given: BTreeMap<String, (String, i64)>,
}

impl Sessions {
    /// The user whom `text` stands for, if it is not too old.
    pub(super) fn user(&self, text: &str, now: i64) -> Option<&str> {
        let (user, born) = self.given.get(text)?;
        (now - born < LIFETIME).then_some(user)
    }

    fn give(&mut self, head: &str, user: &str, now: i64) -> String {
        let signature: Vec<u8> =
            std::iter::repeat_with(|| *uuid::Uuid::new_v4().as_bytes()).take(2).flatten().collect();
        let text = format!("{head}{now:08X}{}", base64::prelude::BASE64_STANDARD.encode(signature));
        self.given.insert(text.clone(), (user.to_owned(), now));
        text
    }
}

/// Whether the user is there and may come in.
pub(super) fn is_enabled(site: &Site, user: &str, now: i64) -> bool {
    site.users.get(user).is_some_and(|user| user.enable && (user.expire == 0 || user.expire >= now))
}

/// `POST /access/ticket`. Why it fails is nobody's business.
pub(super) fn ticket(call: &mut Call) -> Result<Reply, Failure> {
    let failed = || Failure::with(401, "authentication failure");
    let mut user = call.text("username").to_owned();
    if let Some(realm) = call.opt("realm").filter(|realm| !realm.is_empty()) {
        user = format!("{user}@{realm}");
    }
    let (password, now) = (call.text("password").to_owned(), call.now);
    let world = &mut *call.world;
    let by_password = world.site.users.get(&user).and_then(|known| known.password.as_deref()) == Some(&password);
    let by_ticket = world.pve.sessions.user(&password, now).is_some_and(|owner| owner == "root@pam" || owner == user);
    if !is_enabled(&world.site, &user, now) || !(by_password || by_ticket) {
        return Err(failed());
    }
    let who = Identity { user: user.clone(), token: None, separate: false };
    let mut answer = Map::from_iter([("username".to_owned(), user.as_str().into())]);
    if let (Some(path), Some(wanted)) = (call.opt("path"), call.opt("privs")) {
        acl::require(call.world, &who, path, &split_list(wanted)).map_err(|_| failed())?;
    } else {
        let sessions = &mut call.world.pve.sessions;
        let ticket = sessions.give(&format!("PVE:{user}:"), &user, now);
        answer.insert("ticket".into(), ticket.into());
        answer.insert("CSRFPreventionToken".into(), sessions.give("", &user, now).into());
    }
    answer.insert("cap".into(), capabilities(call, &who));
    let clustered = call.world.site.nodes.len() > 1;
    if clustered && acl::may(call.world, &who, "/", "Sys.Audit") {
        answer.insert("clustername".into(), super::cluster::NAME.into());
    }
    Ok(Reply::Data(answer.into()))
}

/// What the interface should offer to the user.
fn capabilities(call: &Call, who: &Identity) -> Value {
    let mut found = json!({ "vms": {}, "access": {}, "storage": {}, "nodes": {}, "sdn": {}, "dc": {}, "mapping": {} });
    let mut note = |kind: &str, privilege: &str| found[kind][privilege] = 1.into();
    let mut paths = acl::known_paths(call.world);
    paths.insert("/mapping".into());
    for path in paths {
        let kind = path.split('/').nth(1).filter(|kind| !kind.is_empty()).unwrap_or("dc").to_owned();
        for privilege in acl::privileges(call.world, who, &path).keys() {
            let starts = |heads: &[&str]| heads.iter().any(|head| privilege.starts_with(head));
            let permissions = privilege == "Permissions.Modify";
            match kind.as_str() {
                "vms" if permissions || starts(&["VM."]) => note("vms", privilege),
                "access" if permissions || starts(&["User.", "Group."]) => note("access", privilege),
                "storage" if permissions || starts(&["Datastore."]) => note("storage", privilege),
                "nodes" if permissions || starts(&["Sys."]) => note("nodes", privilege),
                "sdn" if permissions || starts(&["SDN."]) => note("sdn", privilege),
                "mapping" if permissions || starts(&["Mapping."]) => note("mapping", privilege),
                "dc" if starts(&["Sys.Audit", "Sys.Modify", "SDN."]) => note("dc", privilege),
                "pool" => {
                    if permissions || starts(&["VM."]) {
                        note("vms", privilege);
                    }
                    if permissions || starts(&["Datastore."]) {
                        note("storage", privilege);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// `PUT /access/password`
pub(super) fn password(call: &mut Call) -> Result<Reply, Failure> {
    let user = call.text("userid").to_owned();
    super::users::known(&call.world.site, &user)?;
    let refused = || Failure::with(403, "Permission check failed");
    if !call.who.is_root() {
        if user == "root@pam" {
            return Err(refused());
        }
        let Some(confirmed) = call.opt("confirmation-password") else {
            return Err(Failure::param("confirmation-password", "password is required to modify user"));
        };
        let own = call.world.site.users.get(&call.who.user).and_then(|own| own.password.as_deref());
        if own != Some(confirmed) {
            return Err(Failure::die("invalid credentials"));
        }
        if user != call.who.user && user.ends_with("@pam") {
            return Err(refused());
        }
    }
    let password = call.text("password").to_owned();
    if let Some(known) = call.world.site.users.get_mut(&user) {
        known.password = Some(password);
    }
    Ok(Reply::Data(Value::Null))
}
