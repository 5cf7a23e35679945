//! What lies on a storage: lists, attributes, allocation, deletion, uploads.

use bytes::Bytes;
use serde_json::{Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::disks;
use super::rights;
use super::size;
use super::volume::{self, Place, Volume};
use super::work::{Job, Work};
use crate::lab::world::World;

/// Roots of what a caller must have to see a storage.
const SEE: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];

/// `GET /storage`
pub(super) fn definitions(call: &mut Call) -> Reply {
    let world = &*call.world;
    let seen = world.site.storages.iter();
    let seen = seen.filter(|(name, _)| acl::may_any(world, call.who, &format!("/storage/{name}"), SEE));
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
pub(super) fn storages(call: &mut Call) -> Reply {
    let world = &*call.world;
    let content: Vec<&str> = super::formats::split_list(call.text("content"));
    let mut rows = Vec::new();
    for (name, storage) in world.site.storages.iter().filter(|(_, storage)| volume::is_on(storage, call.node())) {
        let fits = content.is_empty() || content.iter().any(|wanted| storage.content.iter().any(|own| own == wanted));
        let seen = acl::may_any(world, call.who, &format!("/storage/{name}"), SEE);
        let named = call.opt("storage").is_none_or(|wanted| wanted == name);
        // A filter by content leaves out what is disabled, as `enabled=1` does.
        let enabled = !storage.disabled || (content.is_empty() && !call.flag("enabled"));
        if !(fits && seen && named && enabled) {
            continue;
        }
        let mut row = status_of(world, call.node(), name);
        row["storage"] = name.as_str().into();
        if !storage.disabled {
            let part = |name: &str| row[name].as_f64().unwrap_or(0.0);
            row["used_fraction"] = (part("used") / part("total").max(1.0)).into();
        }
        rows.push(row);
    }
    Reply::Data(rows.into())
}

/// `GET /nodes/{node}/storage/{storage}/status`
pub(super) fn status(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("storage");
    volume::usable(&call.world.site, call.node(), name).map_err(Failure::die)?;
    Ok(Reply::Data(status_of(call.world, call.node(), name)))
}

/// `GET /nodes/{node}/storage/{storage}/content`
pub(super) fn list(call: &mut Call) -> Result<Reply, Failure> {
    let world = &*call.world;
    let (node, name) = (call.node(), call.text("storage"));
    volume::usable(&world.site, node, name).map_err(Failure::die)?;
    let here = |place: &&Place| place.storage == name && place.node.as_deref().is_none_or(|at| at == node);
    let mut rows = Vec::new();
    for (place, volume) in world.pve.volumes.iter().filter(|(place, _)| here(place)) {
        let vmid: Option<u32> = call.number("vmid");
        let wanted = call.opt("content").is_none_or(|content| content == volume.content)
            && vmid.is_none_or(|vmid| volume.vmid == Some(vmid));
        let volid = format!("{name}:{}", place.name);
        if !wanted || rights::volume_access(world, call.who, vmid, &volid).is_err() {
            continue;
        }
        let mut row = json!({
            "volid": volid, "content": volume.content, "ctime": volume.ctime, "size": volume.bytes,
            "format": if volume.content == "iso" { "iso" } else { volume.format.as_str() },
        });
        if let Some(vmid) = volume.vmid {
            row["vmid"] = vmid.into();
            row["used"] = volume.used.into();
            row["parent"] = Value::Null;
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
            Err(Failure::param("volume", format!("storage ID mismatch ({other} != {storage})")))
        }
        Some((_, name)) => Ok((storage.to_owned(), name.to_owned())),
        None => Ok((storage.to_owned(), volume.to_owned())),
    }
}

/// `GET .../content/{volume}`
pub(super) fn attributes(call: &mut Call) -> Result<Reply, Failure> {
    let (storage, name) = named(call)?;
    let volid = format!("{storage}:{name}");
    rights::volume_access(call.world, call.who, None, &volid)?;
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
    let format = call.opt("format").or_else(|| volume::image_format(&file)).unwrap_or("raw").to_owned();
    let full = if volume::is_file_based(storage) { format!("{vmid}/{file}") } else { file };
    let volid = format!("{name}:{full}");
    let Some(place) = volume::place(&call.world.site, &node, &volid) else {
        return Err(Failure::die(format!("unable to parse volume ID '{volid}'")));
    };
    if call.world.pve.volumes.contains_key(&place) {
        return Err(Failure::die(format!("disk image '{}' already exists", volume::path(storage, &full))));
    }
    let volume =
        Volume { content: "images", format, bytes, used: 4096, ctime: call.now, vmid: Some(vmid), data: Bytes::new() };
    call.world.pve.volumes.insert(place, volume);
    Ok(Reply::Data(volid.into()))
}

/// `DELETE .../content/{volume}`
pub(super) fn delete(call: &mut Call) -> Result<Reply, Failure> {
    let (storage, name) = named(call)?;
    call.require(&format!("/storage/{storage}"), &["Datastore.Allocate"])?;
    let definition = volume::usable(&call.world.site, call.node(), &storage).map_err(Failure::die)?;
    let (_, owner) = volume::parse_name(definition, &name).map_err(Failure::die)?;
    let id = owner.map_or_else(|| storage.clone(), |vmid| format!("{vmid}@{storage}"));
    let work = Work::DeleteVolume { volid: format!("{storage}:{name}") };
    let mut job = Job::plain("imgdel", call.node(), id, work);
    job.patience = call.number("delay");
    Ok(Reply::Task(job))
}

/// Deleting what is not there is well: the end is the same.
pub(super) fn delete_work(world: &mut World, upid: &str, node: &str, volid: &str) -> Result<(), String> {
    let (storage, name) = volid.split_once(':').unwrap_or_default();
    let path = volume::path(volume::definition(&world.site, storage)?, name);
    if !super::free(world, node, volid) {
        world.pve.tasks.log(upid, format!("disk image '{path}' does not exist"));
    }
    world.pve.tasks.log(upid, format!("Removed volume '{volid}'"));
    Ok(())
}

/// A file that was received whole.
pub(super) struct Upload {
    storage: String,
    content: String,
    name: String,
    checksum: Option<(String, String)>,
    data: Bytes,
    /// `/var/tmp/pveupload-HEX`
    temporary: String,
}

/// Drops directories, and replaces what a file name on a storage may not hold.
pub(super) fn normalise(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    base.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "_.-".contains(letter) { letter } else { '_' })
        .collect()
}

/// Whether `name` may hold `content`; the error is about the parameter `filename`.
pub(super) fn check_name(content: &str, name: &str) -> Result<(), Failure> {
    let archive = [".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"].iter().any(|end| name.ends_with(end));
    match content {
        "import" if !volume::is_import_name(name) => {
            Err(Failure::param("filename", "invalid filename or wrong extension"))
        }
        "iso" if !volume::is_iso_name(name) => Err(Failure::param("filename", "wrong file extension")),
        "vztmpl" if !archive => Err(Failure::param("filename", "wrong file extension")),
        _ => Ok(()),
    }
}

/// `POST .../upload`, after the file was read.
pub(super) fn upload(call: &mut Call, data: Bytes) -> Result<Reply, Failure> {
    let (node, storage) = (call.node().to_owned(), call.text("storage").to_owned());
    let definition = volume::usable(&call.world.site, &node, &storage).map_err(Failure::die)?;
    let content = call.text("content").to_owned();
    if !volume::is_file_based(definition) {
        return Err(Failure::die(format!("can't upload to storage type '{}'", definition.kind)));
    }
    if !definition.content.contains(&content) {
        return Err(Failure::die(format!("storage '{storage}' does not support '{content}' content")));
    }
    let name = normalise(call.text("filename"));
    check_name(&content, &name)?;
    let checksum = call.opt("checksum").map(|sum| (call.text("checksum-algorithm").to_owned(), sum.to_owned()));
    let temporary = format!("/var/tmp/pveupload-{}", uuid::Uuid::new_v4().simple());
    let upload = Upload { storage, content, name, checksum, data, temporary };
    Ok(Reply::Task(Job::plain("imgcopy", &node, String::new(), Work::Upload(upload))))
}

pub(super) fn upload_work(world: &mut World, upid: &str, node: &str, upload: &Upload, now: i64) -> Result<(), String> {
    let temporary = &upload.temporary;
    let log = |world: &mut World, line: String| world.pve.tasks.log(upid, line);
    log(world, format!("starting file import from: {temporary}"));
    if let Some((algorithm, wanted)) = &upload.checksum {
        let got = checksum(algorithm, &upload.data);
        if !got.eq_ignore_ascii_case(wanted) {
            log(world, "calculating checksum...".to_owned());
            return Err(format!("checksum mismatch: got '{got}' != expect '{wanted}'"));
        }
        log(world, "calculating checksum...OK, checksum verified".to_owned());
    }
    if let Err((line, text)) = verify_image(&upload.content, &upload.name, &upload.data, temporary) {
        log(world, line);
        return Err(text);
    }
    let definition = volume::usable(&world.site, node, &upload.storage)?;
    let name = format!("{}/{}", upload.content, upload.name);
    let path = volume::path(definition, &name);
    log(world, format!("target node: {node}"));
    log(world, format!("target file: {path}"));
    log(world, format!("file size is: {}", upload.data.len()));
    log(world, format!("command: cp -- {temporary} {path}"));
    store(world, node, &upload.storage, &upload.content, &upload.name, upload.data.clone(), now)
        .map_err(|_| "import failed: exit code 1".to_owned())?;
    log(world, "finished file import successfully".to_owned());
    Ok(())
}

/// Images for import must be what their extension says; the two texts are the log line and the cause.
pub(super) fn verify_image(content: &str, name: &str, data: &[u8], path: &str) -> Result<(), (String, String)> {
    if content == "import" && volume::image_format(name) == Some("qcow2") && disks::qcow2_size(data).is_none() {
        let command = format!("command '/usr/bin/qemu-img info '--output=json' {path} -f qcow2' failed: exit code 1");
        return Err((command, format!("qemu-img: Could not open '{path}': Image is not in qcow2 format")));
    }
    Ok(())
}

/// Puts a file in its place, over whatever was there. The error says that the storage is full.
pub(super) fn store(
    world: &mut World,
    node: &str,
    storage: &str,
    content: &str,
    name: &str,
    data: Bytes,
    now: i64,
) -> Result<(), String> {
    let kind = ["iso", "import", "vztmpl"].into_iter().find(|kind| *kind == content).unwrap_or("snippets");
    let volid = format!("{storage}:{kind}/{name}");
    let used = data.len() as u64;
    let Some(place) = volume::place(&world.site, node, &volid) else { return Err("no such storage".into()) };
    let (_, _, free) = volume::space(&world.site, &world.pve.volumes, node, storage);
    let before = world.pve.volumes.get(&place).map_or(0, |volume| volume.used);
    if used > free + before {
        return Err("No space left on device".into());
    }
    let format = volume::image_format(name).filter(|_| kind == "import").unwrap_or("raw");
    let disk = match (kind, format) {
        ("import", "qcow2") => disks::qcow2_size(&data),
        ("import", _) => disks::lab_image_size(&data),
        _ => None,
    };
    let bytes = disk.unwrap_or(used);
    let volume = Volume { content: kind, format: format.to_owned(), bytes, used, ctime: now, vmid: None, data };
    world.pve.volumes.insert(place, volume);
    Ok(())
}

/// The digest of a file in lower-case hexadecimal; empty for an algorithm that the lab does not have (md5, sha224).
pub(super) fn checksum(algorithm: &str, data: &[u8]) -> String {
    use aws_lc_rs::digest;
    let algorithm = match algorithm {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha224" => &digest::SHA224,
        "sha256" => &digest::SHA256,
        "sha384" => &digest::SHA384,
        "sha512" => &digest::SHA512,
        _ => return String::new(),
    };
    hex::encode(digest::digest(algorithm, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_normalised_and_checked() {
        for (given, normal) in [
            ("talos v1.8.raw.xz", "talos_v1.8.raw.xz"),
            ("dir/x.iso", "x.iso"),
            (r"C:\a\b.img", "b.img"),
            ("a:b.iso", "a_b.iso"),
            ("talos~1.qcow2", "talos_1.qcow2"),
        ] {
            assert_eq!(normalise(given), normal);
        }
        for (content, name, good) in [
            ("iso", "a.ISO", true),
            ("iso", "a.raw", false),
            ("import", "a.RAW", false),
            ("import", "a.raw.xz", false),
            ("vztmpl", "a.tar.zst", true),
        ] {
            assert_eq!(check_name(content, name).is_ok(), good, "{name}");
        }
    }
}
