//! Files on storages: their names, their checks, and how they get there.

use bytes::Bytes;

use super::answer::{Failure, Reply};
use super::call::Call;
use super::disks;
use super::volume::{self, Volume};
use super::work::{Job, Work};
use crate::lab::world::World;

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
pub fn normalise(name: &str) -> String {
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
    let name = normalise(call.text("filename"));
    check_name(&content, &name)?;
    if !definition.content.contains(&content) {
        return Err(Failure::die(format!("storage '{storage}' does not support '{content}' content")));
    }
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
    let volume =
        Volume { content: kind, format: format.to_owned(), bytes, used, ctime: now, parent: None, vmid: None, data };
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
