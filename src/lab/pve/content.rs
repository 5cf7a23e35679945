//! What lies on a storage: lists, attributes, allocation, deletion, uploads.

use bytes::Bytes;
use serde_json::{Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::size;
use super::sources;
use super::volume::{self, Place, Volume};
use super::work::{Job, Work};
use crate::lab::site::Storage;
use crate::lab::world::World;

/// Roots of what a caller must have to see a storage.
const SEE: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];

/// `GET /storage`
pub(super) fn definitions(call: &mut Call) -> Reply {
    let world = &*call.world;
    let seen = world.site.storages.iter();
    let seen = seen.filter(|(name, _)| acl::may_any(world, call.who, &format!("/storage/{name}"), SEE));
    let seen = seen.filter(|(_, storage)| call.opt("type").is_none_or(|kind| kind == storage.kind));
    let rows: Vec<Value> = seen.map(|(name, _)| definition(world, name)).collect();
    Reply::Data(rows.into())
}

/// `GET /storage/{storage}`
pub(super) fn one_definition(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("storage");
    volume::definition(&call.world.site, name).map_err(Failure::die)?;
    Ok(Reply::Data(definition(call.world, name)))
}

fn definition(world: &World, name: &str) -> Value {
    let Some(storage) = world.site.storages.get(name) else { return Value::Null };
    let digest = hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{:?}", world.site.storages).as_bytes(),
    ));
    let mut row =
        json!({ "storage": name, "type": storage.kind, "content": storage.content.join(","), "digest": digest });
    if let Some(path) = &storage.path {
        row["path"] = path.as_str().into();
    }
    if storage.shared {
        row["shared"] = 1.into();
    }
    if storage.disabled {
        row["disable"] = 1.into();
    }
    if !storage.nodes.is_empty() {
        row["nodes"] = storage.nodes.join(",").into();
    }
    row
}

fn status_of(world: &World, node: &str, name: &str) -> Value {
    let Some(storage) = world.site.storages.get(name) else { return Value::Null };
    let on = !storage.disabled;
    let (total, used, avail) = if on { volume::space(&world.site, &world.pve.volumes, node, name) } else { (0, 0, 0) };
    json!({
        "type": storage.kind, "content": storage.content.join(","), "shared": i32::from(storage.shared),
        "active": i32::from(on), "enabled": i32::from(on), "total": total, "used": used, "avail": avail,
    })
}

/// `GET /nodes/{node}/storage`
pub(super) fn storages(call: &mut Call) -> Result<Reply, Failure> {
    let world = &*call.world;
    let content: Vec<&str> = super::formats::split_list(call.text("content"));
    let fits = |storage: &Storage| {
        let wanted = content.iter().any(|wanted| storage.content.iter().any(|own| own == wanted));
        // A filter by content leaves out what is disabled, as `enabled=1` does.
        call.opt("content").is_none() || (wanted && !storage.disabled)
    };
    if let Some(wanted) = call.opt("storage").filter(|wanted| !wanted.is_empty())
        && !world.site.storages.get(wanted).is_some_and(&fits)
    {
        return Err(Failure::param("storage", "No such storage."));
    }
    let other = call.opt("target").filter(|target| !["", "localhost", call.node()].contains(target));
    let reached = |storage: &Storage| other.is_none_or(|other| storage.shared && volume::is_on(storage, other));
    let mut rows = Vec::new();
    for (name, storage) in world.site.storages.iter().filter(|(_, storage)| volume::is_on(storage, call.node())) {
        let seen = acl::may_any(world, call.who, &format!("/storage/{name}"), SEE);
        let named = call.opt("storage").is_none_or(|wanted| wanted == name);
        let enabled = !(storage.disabled && call.flag("enabled"));
        if !(fits(storage) && reached(storage) && seen && named && enabled) {
            continue;
        }
        let mut row = status_of(world, call.node(), name);
        row["storage"] = name.as_str().into();
        if !storage.disabled {
            let part = |name: &str| row[name].as_f64().unwrap_or(0.0);
            row["used_fraction"] = (part("used") / part("total").max(1.0)).into();
            if call.flag("format") {
                formats(call, storage, &mut row);
            }
        }
        rows.push(row);
    }
    Ok(Reply::Data(rows.into()))
}

/// What images on the storage can be; 8.4 tells it in one way, 9.2 in two.
fn formats(call: &Call, storage: &Storage, row: &mut Value) {
    let known: &[&str] =
        if volume::is_file_based(storage) { &["qcow2", "raw", "subvol", "vmdk"] } else { &["raw", "subvol"] };
    let valid: serde_json::Map<String, Value> = known.iter().map(|format| ((*format).to_owned(), 1.into())).collect();
    row["format"] = json!([valid, "raw"]);
    if call.release().nine() {
        row["formats"] = json!({ "default": "raw", "supported": known });
    }
}

/// `GET /nodes/{node}/storage/{storage}/status`
pub(super) fn status(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("storage");
    if !call.world.site.storages.contains_key(name) {
        return Err(Failure::param("storage", "No such storage."));
    }
    Ok(Reply::Data(status_of(call.world, call.node(), name)))
}

/// `GET /nodes/{node}/storage/{storage}/content`
pub(super) fn list(call: &mut Call) -> Result<Reply, Failure> {
    let world = &*call.world;
    let (node, name) = (call.node(), call.text("storage"));
    let definition = volume::usable(&world.site, node, name).map_err(Failure::die)?;
    let here = |place: &&Place| place.storage == name && place.node.as_deref().is_none_or(|at| at == node);
    let mut rows = Vec::new();
    for (place, volume) in world.pve.volumes.iter().filter(|(place, _)| here(place)) {
        let vmid: Option<u32> = call.number("vmid");
        let wanted = call.opt("content").is_none_or(|content| content == volume.content)
            && vmid.is_none_or(|vmid| volume.vmid == Some(vmid))
            // What lies there of a kind that the storage is not for is not looked at.
            && definition.content.iter().any(|content| content == volume.content);
        let volid = format!("{name}:{}", place.name);
        if !wanted || sources::volume_access(world, call.who, None, &volid, None).is_err() {
            continue;
        }
        let mut row = json!({
            "volid": volid, "content": volume.content, "ctime": volume.ctime, "size": volume.bytes,
            "format": if volume.content == "iso" { "iso" } else { volume.format.as_str() },
        });
        if let Some(vmid) = volume.vmid {
            row["vmid"] = vmid.into();
            row["used"] = volume.used.into();
            row["parent"] = volume.parent.as_ref().map_or(Value::Null, |base| format!("../{base}").into());
        } else if volume.content == "import" {
            row["size"] = volume.used.into();
        }
        rows.push(row);
    }
    Ok(Reply::Data(rows.into()))
}

/// The volume that a path names: the storage's name may stand before it and must then be the path's.
fn named(call: &Call) -> Result<(String, String), Failure> {
    let (storage, volume) = (call.text("storage"), call.text("volume"));
    match volume.split_once(':') {
        Some((other, _)) if other != storage => {
            Err(Failure::param("volume", format!("storage ID mismatch ({other} != {storage})\n")))
        }
        Some((_, name)) => Ok((storage.to_owned(), name.to_owned())),
        None => Ok((storage.to_owned(), volume.to_owned())),
    }
}

/// `GET .../content/{volume}`
pub(super) fn attributes(call: &mut Call) -> Result<Reply, Failure> {
    let (storage, name) = named(call)?;
    let volid = format!("{storage}:{name}");
    sources::volume_access(call.world, call.who, None, &volid, None)?;
    let place = volume::place(&call.world.site, call.node(), &volid);
    let found = place.and_then(|place| call.world.pve.volumes.get(&place));
    let found = found.ok_or_else(|| Failure::die(format!("volume_size_info on '{volid}' failed - no format")))?;
    let definition = volume::definition(&call.world.site, &storage).map_err(Failure::die)?;
    let file = found.vmid.is_none();
    Ok(Reply::Data(json!({
        "path": volume::path(definition, &name), "format": found.format,
        // The image tool counts sectors, the file system blocks.
        "size": if file { found.bytes.next_multiple_of(512) } else { found.bytes },
        "used": found.used.next_multiple_of(4096),
    })))
}

/// `POST .../content`: a disk without a VM.
pub(super) fn allocate(call: &mut Call) -> Result<Reply, Failure> {
    let (node, name) = (call.node().to_owned(), call.text("storage").to_owned());
    let storage = volume::usable(&call.world.site, &node, &name).map_err(Failure::die)?;
    let (vmid, file) = (call.vmid(), call.text("filename").to_owned());
    let bytes = match call.text("size") {
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => size::scaled(text, 1024),
        text => size::parse(text),
    };
    let bytes = bytes.ok_or_else(|| Failure::param("size", "unable to parse size"))?;
    let told = volume::image_format(&file);
    if let (Some(asked), Some(told)) = (call.opt("format"), told)
        && asked != told
    {
        return Err(Failure::param("format", format!("different storage formats ({asked} != {told})")));
    }
    let format = call.opt("format").or(told).unwrap_or("raw").to_owned();
    let full = if volume::is_file_based(storage) { format!("{vmid}/{file}") } else { file };
    if volume::is_file_based(storage) && volume::image_format(&full).is_none() {
        return Err(Failure::die(format!("unable to parse volume filename '{}'", call.text("filename"))));
    }
    let volid = format!("{name}:{full}");
    let Some(place) = volume::place(&call.world.site, &node, &volid) else {
        return Err(Failure::die(format!("unable to parse volume ID '{volid}'")));
    };
    if call.world.pve.volumes.contains_key(&place) {
        return Err(Failure::die(format!("disk image '{}' already exists", volume::path(storage, &full))));
    }
    let volume = Volume {
        content: "images",
        format,
        bytes,
        used: 4096,
        ctime: call.now,
        parent: None,
        vmid: Some(vmid),
        data: Bytes::new(),
    };
    call.world.pve.volumes.insert(place, volume);
    Ok(Reply::Data(volid.into()))
}

/// `DELETE .../content/{volume}`
pub(super) fn delete(call: &mut Call) -> Result<Reply, Failure> {
    let (storage, name) = named(call)?;
    let definition = volume::definition(&call.world.site, &storage).map_err(Failure::die)?;
    let (_, owner) = volume::parse_name(definition, &name).map_err(Failure::die)?;
    call.require(&format!("/storage/{storage}"), &["Datastore.Allocate"])?;
    let id = owner.map_or_else(|| storage.clone(), |vmid| format!("{vmid}@{storage}"));
    let work = Work::DeleteVolume { volid: format!("{storage}:{name}") };
    let mut job = Job::plain("imgdel", call.node(), id, work);
    job.patience = call.number("delay");
    Ok(Reply::Task(job))
}

/// Deleting what is not there is well: the end is the same.
pub(super) fn delete_work(world: &mut World, upid: &str, node: &str, volid: &str) -> Result<(), String> {
    let (storage, name) = volid.split_once(':').unwrap_or_default();
    let path = volume::path(volume::usable(&world.site, node, storage)?, name);
    if let Some(place) = volume::place(&world.site, node, volid)
        && volume::is_used_base(&world.pve.volumes, &place)
    {
        return Err(format!("base volume '{name}' is still in use by linked clones"));
    }
    if !super::free(world, node, volid) {
        world.pve.tasks.log(upid, format!("disk image '{path}' does not exist"));
    }
    world.pve.tasks.log(upid, format!("Removed volume '{volid}'"));
    Ok(())
}
