//! What a caller may do, and where.
//!
//! The walk goes from `/` down; at each level with an entry for the subject the
//! roles found so far are *replaced* (pve-access-control:
//! src/PVE/AccessControl.pm, `roles`). Pool membership adds the roles of the
//! pool, and a separated token has the intersection with its user.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Failure;
use super::auth::Identity;
use crate::lab::world::World;

/// The role that takes everything.
const NO_ACCESS: &str = "NoAccess";

/// Privilege to whether it propagates below the path.
pub(super) type Privileges = BTreeMap<String, bool>;

/// The caller's privileges at `path`.
pub(super) fn privileges(world: &World, who: &Identity, path: &str) -> Privileges {
    // Where no path can be, nobody may do anything.
    if path.is_empty() {
        return Privileges::new();
    }
    let user = of_subject(world, &who.user, path);
    if !who.separate {
        return user;
    }
    let token = of_subject(world, &who.id(), path);
    user.into_iter()
        .filter_map(|(privilege, propagate)| token.get(&privilege).map(|own| (privilege, propagate && *own)))
        .collect()
}

fn of_subject(world: &World, subject: &str, path: &str) -> Privileges {
    let own = roles(world, subject, path);
    let pools = world.pve.pools.iter().filter(|(_, pool)| pool.holds(path));
    let by_pool: BTreeMap<String, bool> =
        pools.flat_map(|(name, _)| roles(world, subject, &format!("/pool/{name}"))).collect();
    // No access, however it came, is not made up for.
    if own.contains_key(NO_ACCESS) || by_pool.contains_key(NO_ACCESS) {
        return Privileges::new();
    }
    let mut found = with_roles(world, &own);
    // Rights by membership go no further than the member.
    for (privilege, _) in with_roles(world, &by_pool) {
        found.entry(privilege).or_insert(false);
    }
    found
}

fn with_roles(world: &World, roles: &BTreeMap<String, bool>) -> Privileges {
    let mut found = Privileges::new();
    for (role, propagate) in roles {
        let builtin = world.pve.release.schema().roles.get(role);
        let custom = world.site.roles.get(role).map(|text| text.split_whitespace().map(str::to_owned).collect());
        for privilege in custom.as_ref().or(builtin).into_iter().flatten() {
            *found.entry(privilege.clone()).or_insert(false) |= *propagate;
        }
    }
    found
}

/// Roles at `path` and whether each propagates.
fn roles(world: &World, subject: &str, path: &str) -> BTreeMap<String, bool> {
    if subject == "root@pam" {
        return BTreeMap::from([("Administrator".to_owned(), true)]);
    }
    let groups = groups_of(world, subject);
    let mut roles = BTreeMap::new();
    let levels = levels(path);
    for level in &levels {
        let here = |subjects: &[String]| -> BTreeMap<String, bool> {
            let entries = world.site.acl.iter().filter(|entry| entry.path == *level);
            entries
                .filter(|entry| entry.to.iter().any(|to| subjects.contains(to)))
                .filter(|entry| entry.propagate || Some(level) == levels.last())
                .map(|entry| (entry.role.clone(), entry.propagate))
                .collect()
        };
        let own = here(&[subject.to_owned()]);
        // What is said about a user beats what is said about their groups.
        let found = if own.is_empty() { here(&groups) } else { own };
        if !found.is_empty() {
            roles = found;
        }
    }
    roles
}

/// The groups of a user, as ACL entries name them. Tokens are in none.
fn groups_of(world: &World, user: &str) -> Vec<String> {
    let groups = world.site.groups.iter().filter(|(_, group)| group.users.contains(user));
    groups.map(|(name, _)| format!("@{name}")).collect()
}

/// `/`, `/vms`, `/vms/100`. A path that does not begin at the root misses what is said there.
fn levels(path: &str) -> Vec<String> {
    let mut levels: Vec<String> = path.starts_with('/').then(|| "/".to_owned()).into_iter().collect();
    let mut level = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        level = format!("{level}/{part}");
        levels.push(level.clone());
    }
    levels
}

pub(super) fn may(world: &World, who: &Identity, path: &str, privilege: &str) -> bool {
    privileges(world, who, path).contains_key(privilege)
}

pub(super) fn may_any(world: &World, who: &Identity, path: &str, any: &[&str]) -> bool {
    let have = privileges(world, who, path);
    any.iter().any(|privilege| have.contains_key(*privilege))
}

/// Whether a bridge, or a vnet, is shown: to those with rights on it or on any of its tags that has entries.
pub(super) fn sees_bridge(world: &World, who: &Identity, path: &str) -> bool {
    let tags = world.site.acl.iter().map(|entry| entry.path.as_str());
    let mut tags = tags.filter(|tag| tag.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
    let any = &["SDN.Audit", "SDN.Use"];
    may_any(world, who, path, any) || tags.any(|tag| may_any(world, who, tag, any))
}

/// All of `wanted`, or a 403 that names the first that is missing.
pub(super) fn require(world: &World, who: &Identity, path: &str, wanted: &[&str]) -> Result<(), Failure> {
    let have = privileges(world, who, path);
    match wanted.iter().find(|privilege| !have.contains_key(**privilege)) {
        Some(missing) => Err(Failure::forbidden(&format!("{path}, {missing}"))),
        None => Ok(()),
    }
}

/// Any of `wanted`, or a 403 that names them all.
pub(super) fn require_any(world: &World, who: &Identity, path: &str, wanted: &[&str]) -> Result<(), Failure> {
    if may_any(world, who, path, wanted) {
        return Ok(());
    }
    Err(Failure::forbidden(&format!("{path}, {}", wanted.join("|"))))
}

/// Every path that the caller could have something on: the roots and all that carry an entry.
pub(super) fn known_paths(world: &World) -> BTreeSet<String> {
    let roots = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/sdn/zones", "/storage", "/vms"];
    let mut paths: BTreeSet<String> = roots.into_iter().map(str::to_owned).collect();
    paths.extend(world.site.acl.iter().flat_map(|entry| levels(&entry.path)));
    paths.insert("/sdn/zones/localnetwork".to_owned());
    paths.extend(world.site.bridges.iter().map(|bridge| format!("/sdn/zones/localnetwork/{}", bridge.name)));
    for pool in world.pve.pools.values() {
        paths.extend(pool.vms.iter().map(|vmid| format!("/vms/{vmid}")));
        paths.extend(pool.storages.iter().map(|storage| format!("/storage/{storage}")));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_from_the_root_down() {
        assert_eq!(levels("/sdn/zones/a"), ["/", "/sdn", "/sdn/zones", "/sdn/zones/a"]);
        assert_eq!(levels("/"), ["/"]);
    }
}
