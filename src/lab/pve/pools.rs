//! Resource pools.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::cluster;
use super::formats::split_list;

/// VMs and storages under one name.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    pub comment: String,
    pub vms: BTreeSet<u32>,
    pub storages: BTreeSet<String>,
}

impl Pool {
    /// Whether the ACL path `path` is a member's.
    pub(super) fn holds(&self, path: &str) -> bool {
        let vmid = path.strip_prefix("/vms/").and_then(|vmid| vmid.parse().ok());
        vmid.is_some_and(|vmid| self.vms.contains(&vmid))
            || path.strip_prefix("/storage/").is_some_and(|storage| self.storages.contains(storage))
    }
}

fn missing(pool: &str) -> String {
    format!("pool '{pool}' does not exist")
}

/// The pool with the members that the caller may see.
fn shown(call: &Call, name: &str, pool: &Pool) -> Value {
    let world = &*call.world;
    let seen = pool.vms.iter().filter(|vmid| {
        world.pve.vms.contains_key(vmid) && acl::may(world, call.who, &format!("/vms/{vmid}"), "VM.Audit")
    });
    let only = |kind: &str| call.opt("type").is_none_or(|wanted| wanted == kind);
    let mut members: Vec<Value> = seen.filter(|_| only("qemu")).map(|vmid| cluster::member(world, *vmid)).collect();
    if only("storage") {
        members.extend(pool.storages.iter().filter_map(|storage| cluster::storage_member(world, storage)));
    }
    let mut row = named(name, pool);
    row["members"] = members.into();
    row
}

fn named(name: &str, pool: &Pool) -> Value {
    let mut row = json!({ "poolid": name });
    if !pool.comment.is_empty() {
        row["comment"] = pool.comment.as_str().into();
    }
    row
}

/// `GET /pools`: a filtered list, or one pool by name, which everybody may see.
pub(super) fn list(call: &mut Call) -> Result<Reply, Failure> {
    let world = &*call.world;
    if let Some(name) = call.opt("poolid") {
        let pool = world.pve.pools.get(name).ok_or_else(|| Failure::die(missing(name)))?;
        return Ok(Reply::Data(json!([shown(call, name, pool)])));
    }
    let seen = world.pve.pools.iter();
    let seen = seen.filter(|(name, _)| acl::may(world, call.who, &format!("/pool/{name}"), "Pool.Audit"));
    let rows: Vec<Value> = seen.map(|(name, pool)| named(name, pool)).collect();
    Ok(Reply::Data(rows.into()))
}

/// `GET /pools/{poolid}`
pub(super) fn get(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("poolid");
    let pool = call.world.pve.pools.get(name).ok_or_else(|| Failure::die(missing(name)))?;
    Ok(Reply::Data(shown(call, name, pool)))
}

pub(super) fn create(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("poolid").to_owned();
    let comment = call.text("comment").to_owned();
    if call.world.pve.pools.contains_key(&name) {
        return Err(Failure::die(format!("create pool failed: pool '{name}' already exists")));
    }
    if let Some((parent, _)) = name.rsplit_once('/').filter(|(parent, _)| !call.world.pve.pools.contains_key(*parent)) {
        return Err(Failure::die(format!("create pool failed: parent '{parent}' of pool '{name}' does not exist")));
    }
    call.world.pve.pools.insert(name, Pool { comment, ..Pool::default() });
    Ok(Reply::Data(Value::Null))
}

pub(super) fn update(call: &mut Call) -> Result<Reply, Failure> {
    let fail = |text: String| Failure::die(format!("update pools failed: {text}"));
    let name = call.text("poolid").to_owned();
    let (delete, moving) = (call.flag("delete"), call.flag("allow-move"));
    let pool = call.world.pve.pools.get(&name).ok_or_else(|| fail(missing(&name)))?;
    let mut changed = pool.clone();
    if let Some(comment) = call.opt("comment") {
        comment.clone_into(&mut changed.comment);
    }
    let vmids: Vec<u32> = split_list(call.text("vms")).into_iter().filter_map(|vmid| vmid.parse().ok()).collect();
    for vmid in vmids {
        let path = format!("/vms/{vmid}");
        if !acl::may_any(call.world, call.who, &path, &["VM.Allocate", "Permissions.Modify"]) {
            return Err(Failure::forbidden(&format!("{path}, Permissions.Modify")));
        }
        if delete {
            if !changed.vms.remove(&vmid) {
                return Err(fail(format!("VM {vmid} is not a pool member")));
            }
            continue;
        }
        if changed.vms.contains(&vmid) {
            return Err(fail(format!("VM {vmid} is already a pool member")));
        }
        let other =
            call.world.pve.pools.iter().find(|(_, pool)| pool.vms.contains(&vmid)).map(|(name, _)| name.clone());
        match other {
            Some(other) if !moving => {
                return Err(fail(format!("VM {vmid} belongs already to pool '{other}' and 'allow-move' is not set")));
            }
            Some(other) => {
                if let Some(pool) = call.world.pve.pools.get_mut(&other) {
                    pool.vms.remove(&vmid);
                }
            }
            None => {}
        }
        changed.vms.insert(vmid);
    }
    for storage in split_list(call.text("storage")) {
        let path = format!("/storage/{storage}");
        if !acl::may_any(call.world, call.who, &path, &["Datastore.Allocate", "Permissions.Modify"]) {
            return Err(Failure::forbidden(&format!("{path}, Permissions.Modify")));
        }
        if delete && !changed.storages.remove(storage) {
            return Err(fail(format!("Storage '{storage}' is not a pool member")));
        }
        if !delete && !changed.storages.insert(storage.to_owned()) {
            return Err(fail(format!("Storage '{storage}' is already a pool member")));
        }
    }
    call.world.pve.pools.insert(name, changed);
    Ok(Reply::Data(Value::Null))
}

pub(super) fn delete(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("poolid").to_owned();
    let fail = |text: String| Failure::die(format!("delete pool failed: {text}"));
    let pool = call.world.pve.pools.get(&name).ok_or_else(|| fail(missing(&name)))?;
    let below = format!("{name}/");
    let inner =
        call.world.pve.pools.keys().find(|other| other.starts_with(&below)).map(|other| format!("pool '{other}'"));
    let vm = pool.vms.iter().find(|vmid| call.world.pve.vms.contains_key(vmid)).map(|vmid| format!("VM {vmid}"));
    let mut storages = pool.storages.iter().filter(|storage| call.world.site.storages.contains_key(*storage));
    let storage = storages.next().map(|storage| format!("storage '{storage}'"));
    if let Some(member) = inner.or(vm).or(storage) {
        return Err(fail(format!("pool '{name}' is not empty (contains {member})")));
    }
    call.world.pve.pools.remove(&name);
    Ok(Reply::Data(Value::Null))
}
