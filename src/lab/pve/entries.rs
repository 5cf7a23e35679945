//! ACL entries, as clients manage them (pve-access-control 9.1: src/PVE/API2/ACL.pm).

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::formats::split_list;
use super::verify::Errors;
use super::{acl, checks, users};
use crate::lab::site::Acl;

/// `GET /access/acl`: entries on paths that the caller may modify, or all with Sys.Audit on `/access`.
pub(super) fn list(call: &mut Call) -> Reply {
    let world = &*call.world;
    let audit = acl::may(world, call.who, "/access", "Sys.Audit");
    let mut rows = Vec::new();
    for entry in &world.site.acl {
        if !audit && !acl::may_any(world, call.who, &entry.path, &checks::modifiers(&entry.path)) {
            continue;
        }
        for to in &entry.to {
            let (kind, name) = match to.strip_prefix('@') {
                Some(group) => ("group", group),
                None if to.contains('!') => ("token", to.as_str()),
                None => ("user", to.as_str()),
            };
            let propagate = i32::from(entry.propagate);
            rows.push(json!({
                "path": entry.path, "ugid": name, "roleid": entry.role, "propagate": propagate, "type": kind,
            }));
        }
    }
    Reply::Data(rows.into())
}

/// Paths that can carry an entry, whether what they name is there or not.
static PATHS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = r"[[:alnum:]._-]+";
    let paths = [
        String::new(),
        format!("access(?:/(?:groups|realm)(?:/{name})?)?"),
        format!("(?:nodes|storage|mapping)(?:/{name})?"),
        format!("mapping/{name}/{name}"),
        format!("pool(?:/{name}){{0,3}}"),
        "sdn(?:/controllers(?:/[[:alnum:]_-]+)?)?".to_owned(),
        "sdn/(?:dns|fabrics|ipams|prefix-lists|route-maps)(?:/[[:alnum:]]+)?".to_owned(),
        format!("sdn/zones(?:/{name}(?:/{name}(?:/[1-9][0-9]{{0,3}})?)?)?"),
        "vms(?:/[1-9][0-9]{2,})?".to_owned(),
    ];
    Regex::new(&format!("^/(?:{})$", paths.join("|"))).ok()
});

fn is_path(path: &str) -> bool {
    PATHS.as_ref().is_some_and(|paths| paths.is_match(path))
}

/// `PUT /access/acl`
pub(super) fn modify(call: &mut Call) -> Result<Reply, Failure> {
    let list = |name: &str| split_list(call.text(name)).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let subjects = ["users", "groups", "tokens"];
    if subjects.iter().all(|name| call.text(name).is_empty()) {
        let text = "either 'users', 'groups' or 'tokens' is required.";
        let errors: Errors = subjects.into_iter().map(|name| (name.to_owned(), text.to_owned())).collect();
        return Err(Failure::params(errors));
    }
    let (delete, propagate) = (call.flag("delete"), call.opt("propagate") != Some("0"));
    let path = checks::normal(call.text("path")).filter(|path| delete || is_path(path));
    let path = path.ok_or_else(|| Failure::param("path", format!("invalid ACL path '{}'", call.text("path"))))?;
    let mut to = list("groups");
    for group in &mut to {
        group.insert(0, '@');
    }
    to.extend(list("users"));
    to.extend(list("tokens"));
    for role in list("roles") {
        permitted(call, &path, &role, delete, propagate)?;
        for subject in &to {
            known(call, subject)?;
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

fn failed(text: &str) -> Failure {
    Failure::die(format!("ACL update failed: {text}"))
}

/// Who may not modify permissions may hand on a role that is no more than what they have themselves.
fn permitted(call: &Call, path: &str, role: &str, delete: bool, propagate: bool) -> Result<(), Failure> {
    let custom = call.world.site.roles.get(role).map(|text| text.split_whitespace().map(str::to_owned).collect());
    let privileges: &Vec<String> = custom
        .as_ref()
        .or(call.schema().roles.get(role))
        .ok_or_else(|| failed(&format!("role '{role}' does not exist")))?;
    let own = acl::privileges(call.world, call.who, path);
    if own.contains_key("Permissions.Modify") {
        return Ok(());
    }
    let verb = if delete { "remove" } else { "add" };
    let refuse = |why: &str| {
        let text = format!("role: Cannot {verb} role '{role}'{why}");
        Err(failed(&format!("400 Parameter verification failed.\n{text}")))
    };
    for privilege in privileges {
        match own.get(privilege) {
            None => return refuse(" - requires 'Permissions.Modify' or superset of privileges."),
            Some(false) if propagate && !delete => {
                return refuse(
                    " with propagation - requires 'Permissions.Modify' or propagated superset of privileges.",
                );
            }
            Some(_) => {}
        }
    }
    if role == "NoAccess" { refuse(" - requires 'Permissions.Modify'") } else { Ok(()) }
}

fn known(call: &Call, subject: &str) -> Result<(), Failure> {
    let site = &call.world.site;
    if let Some(group) = subject.strip_prefix('@') {
        let there = site.groups.contains_key(group);
        return there.then_some(()).ok_or_else(|| failed(&format!("group '{group}' does not exist")));
    }
    let Some((user, token)) = subject.split_once('!') else {
        let there = site.users.contains_key(subject);
        return there.then_some(()).ok_or_else(|| failed(&format!("user '{subject}' does not exist")));
    };
    users::known(site, user).map_err(|failure| failed(&failure.text()))?;
    let there = site.tokens.contains_key(subject);
    there.then_some(()).ok_or_else(|| failed(&format!("no such token '{token}' for user '{user}'")))
}

#[cfg(test)]
mod tests {
    use super::is_path;

    #[test]
    fn entries_stand_on_the_paths_that_upstream_knows() {
        for path in ["/", "/access/realm/pve", "/pool/a/b/c", "/sdn/zones/z/v/100", "/vms/100", "/mapping/pci/x"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["/nope", "/vms/10", "/pool/a/b/c/d", "/sdn/zones/z/v/10000", "/storage/a/b", "/access/x"] {
            assert!(!is_path(path), "{path}");
        }
    }
}
