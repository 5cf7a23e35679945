//! The permission expressions that calls are registered with.
//!
//! They are evaluated with raw, unverified parameters, before anything else is
//! looked at (pve-access-control: src/PVE/RPCEnvironment.pm,
//! `exec_api2_perm_check`).

use serde_json::Value;

use super::acl;
use super::answer::Failure;
use super::auth::Identity;
use super::formats::{self, split_list};
use super::schema::Endpoint;
use crate::lab::world::World;

/// What an expression is evaluated for.
pub(super) struct Asker<'a> {
    pub world: &'a World,
    pub who: &'a Identity,
    /// Raw parameters, those of the path included.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Asker<'_> {
    /// Whether the caller may make the call at all. Root himself may always, a token of his may not.
    pub(super) fn admit(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        match &endpoint.check {
            Some(check) if !self.who.is_root() => self.check(check),
            _ => Ok(()),
        }
    }

    fn check(&self, expression: &Value) -> Result<(), Failure> {
        let Some((kind, rest)) = expression.as_array().and_then(|items| items.split_first()) else { return Ok(()) };
        match kind.as_str().unwrap_or_default() {
            "and" => rest.iter().try_for_each(|part| self.check(part)),
            "or" => self.any(rest),
            "perm" => self.privileges(rest),
            "perm-modify" => self.modify(&self.filled(rest)),
            "userid-param" => self.userid(rest),
            "userid-group" => self.group(rest),
            "user" => Err(Failure::forbidden(&format!("user != {}", text(rest.first())))),
            _ => Err(refused()),
        }
    }

    /// A part that is an `and` fails for good, and so does what is no refusal.
    fn any(&self, parts: &[Value]) -> Result<(), Failure> {
        for part in parts {
            // Of a user who is not there nothing else is said.
            let stranger = part[0] == "userid-group" && !self.world.site.users.contains_key(&self.user()?);
            match if stranger { Err(refused()) } else { self.check(part) } {
                Ok(()) => return Ok(()),
                Err(failure) if part[0] == "and" || failure.status != 403 => return Err(failure),
                Err(_) => {}
            }
        }
        Err(refused())
    }

    fn filled(&self, rest: &[Value]) -> String {
        let path = fill(text(rest.first()), self.lookup);
        normal(&path).unwrap_or_default()
    }

    fn privileges(&self, rest: &[Value]) -> Result<(), Failure> {
        let option = |name: &str| rest.iter().skip(2).skip_while(|item| *item != name).nth(1);
        if option("require_param").is_some_and(|name| (self.lookup)(text(Some(name))).is_none()) {
            return Err(refused());
        }
        let (path, wanted) = (self.filled(rest), texts(rest.get(1)));
        if option("any").is_some() {
            acl::require_any(self.world, self.who, &path, &wanted)
        } else {
            acl::require(self.world, self.who, &path, &wanted)
        }
    }

    /// Below storages, VMs and pools, who may make them may give rights on them. An impossible path is not our matter.
    fn modify(&self, path: &str) -> Result<(), Failure> {
        if path.is_empty() {
            return Ok(());
        }
        let may_modify = modifiers(path);
        acl::require_any(self.world, self.who, path, &may_modify)
    }

    /// The user whom the call is about, if that can be one's name.
    fn user(&self) -> Result<String, Failure> {
        let (userid, schema) = ((self.lookup)("userid").unwrap_or_default(), self.world.pve.release.schema());
        formats::check(schema, "pve-userid", &userid).map_err(Failure::die)?;
        Ok(userid)
    }

    fn userid(&self, rest: &[Value]) -> Result<(), Failure> {
        let (world, userid) = (self.world, self.user()?);
        if text(rest.first()) == "self" {
            let own = world.site.users.contains_key(&userid) && self.who.id() == userid;
            return own.then_some(()).ok_or_else(refused);
        }
        let realm = userid.rsplit_once('@').map_or("", |(_, realm)| realm);
        acl::require(world, self.who, &format!("/access/realm/{realm}"), &["Realm.AllocateUser"])
    }

    /// All users, or those of the groups on which the caller has the right.
    fn group(&self, rest: &[Value]) -> Result<(), Failure> {
        let (world, userid) = (self.world, (self.lookup)("userid").unwrap_or_default());
        let groups_param = rest.iter().skip_while(|item| *item != "groups_param").nth(1);
        let existing = groups_param.is_none_or(|when| when != "create");
        self.user().map(drop).or_else(|failure| if existing { Err(failure) } else { Ok(()) })?;
        if existing && !world.site.users.contains_key(&userid) {
            return Err(Failure::die(format!("no such user ('{userid}')")));
        }
        let wanted = texts(rest.first());
        if acl::may_any(world, self.who, "/access/groups", &wanted) {
            return Ok(());
        }
        let any = wanted.join("|");
        let mine = |group: &str| {
            world.site.groups.contains_key(group)
                && acl::may_any(world, self.who, &format!("/access/groups/{group}"), &wanted)
        };
        if groups_param.is_some() {
            let given = (self.lookup)("groups").unwrap_or_default();
            let given = split_list(&given);
            if given.is_empty() {
                return Err(Failure::forbidden(&format!("/access/groups, {any}")));
            }
            if let Some(other) = given.into_iter().find(|group| !mine(group)) {
                return Err(Failure::forbidden(&format!("/access/groups/{other}, {any}")));
            }
        }
        let mut with_user = world.site.groups.iter().filter(|(_, group)| group.users.contains(&userid));
        if existing && !with_user.any(|(name, _)| mine(name)) {
            return Err(refused());
        }
        Ok(())
    }
}

fn refused() -> Failure {
    Failure::with(403, "Permission check failed")
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Privileges that allow to change the entries of `path`.
pub(super) fn modifiers(path: &str) -> Vec<&'static str> {
    let allocate = match path.split('/').collect::<Vec<_>>()[..] {
        ["", "storage", _, ..] => Some("Datastore.Allocate"),
        ["", "vms", _, ..] => Some("VM.Allocate"),
        ["", "pool", _, ..] => Some("Pool.Allocate"),
        _ => None,
    };
    std::iter::once("Permissions.Modify").chain(allocate).collect()
}

/// An ACL path in its one form: slashes single, one in front, none behind. `None` for letters that no path has.
pub(super) fn normal(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "./-_".contains(letter);
    (!path.is_empty() && path.chars().all(fine)).then(|| format!("/{}", parts.join("/")))
}

/// `/vms/{vmid}` with its variables filled in; a dash for those that are not there.
fn fill(path: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(&lookup(name).filter(|value| !value.is_empty()).unwrap_or_else(|| "-".to_owned()));
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (path, form) in [("vms//100/", Some("/vms/100")), ("/", Some("/")), ("", None), ("/a b", None)] {
            assert_eq!(normal(path).as_deref(), form, "{path}");
        }
    }

    #[test]
    fn allocators_may_give_rights_on_what_they_may_make() {
        assert_eq!(modifiers("/vms/100"), ["Permissions.Modify", "VM.Allocate"]);
        assert_eq!(modifiers("/vms"), ["Permissions.Modify"]);
    }
}
