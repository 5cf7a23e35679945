//! What the drives of a request name: storages, volumes, paths, images to import.
//!
//! Two questions, in upstream's words and order: is it well said
//! (`check_drive_param`), and may this caller use it (`check_storage_access`,
//! both in qemu-server 9.2: src/PVE/API2/Qemu.pm)? A change asks the first one
//! first, a creation the second.

use super::acl;
use super::answer::Failure;
use super::auth::Identity;
use super::drive::{self, Source};
use super::property::Properties;
use super::size;
use super::verify::Params;
use super::volume;
use crate::lab::world::World;

/// Checks how the drives are written, and writes them as they are stored.
pub(super) fn drive_params(world: &World, params: &mut Params) -> Result<(), Failure> {
    let schema = world.pve.release.schema();
    for (option, text) in params.iter_mut().filter(|(option, _)| drive::is_name(option)) {
        let drive = drive::parse(schema, option, text).filter(|drive| drive::is_consistent(option, drive));
        let mut drive = drive.ok_or_else(|| Failure::param(option, "unable to parse drive options"))?;
        if drive.contains_key("import-from") {
            import_form(option, &drive)?;
        }
        name_of_path(world, option, &mut drive)?;
        let file = drive.get("file").map_or("", String::as_str);
        if let Source::Volume(volid) = drive::source(file)
            && volid.contains(':')
            && volume_kind(world, volid)?.0 == "iso"
            && !drive::is_cdrom(&drive)
        {
            return Err(Failure::param(option, "explicit 'media=cdrom' is required for iso images"));
        }
        if let Some(bytes) = drive.get("size").and_then(|text| size::parse(text)) {
            drive.insert("size".into(), size::print(bytes));
        }
        *text = drive::print(schema, option, &drive);
    }
    Ok(())
}

fn import_form(option: &str, drive: &Properties) -> Result<(), Failure> {
    let file = drive.get("file").map_or("", String::as_str);
    let zero = |gib: &str| gib.parse::<f64>().is_ok_and(|gib| gib == 0.0);
    if !matches!(drive::source(file), Source::New { gib, .. } if zero(gib)) {
        let text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>";
        return Err(Failure::param(option, text));
    }
    let needed: &[&str] = match option {
        "efidisk0" => &["efitype", "pre-enrolled-keys"],
        "tpmstate0" => &["version"],
        _ => &[],
    };
    match needed.iter().find(|needed| !drive.contains_key(**needed)) {
        Some(missing) => Err(Failure::param(option, format!("need to specify '{missing}' when using 'import-from'"))),
        None => Ok(()),
    }
}

/// A path becomes the volume that it leads to; what holds no disk is a CD-ROM.
fn name_of_path(world: &World, option: &str, drive: &mut Properties) -> Result<(), Failure> {
    let file = drive.get("file").cloned().unwrap_or_default();
    let media = drive.get("media").cloned();
    if file.starts_with('/') && !file.starts_with("/dev/") {
        let found = volume_at(world, &file);
        let (content, volid) =
            found.ok_or_else(|| Failure::param(option, format!("unable to associate path '{file}' to any storage")))?;
        let media = media.or_else(|| (content == "iso").then(|| "cdrom".to_owned()));
        let wanted = media.as_deref().map(|media| if media == "disk" { "images" } else { "iso" });
        if let Some(wanted) = wanted.filter(|wanted| *wanted != content) {
            return Err(Failure::param(option, format!("unexpected media type ({content} != {wanted})")));
        }
        drive.extend(media.map(|media| ("media".to_owned(), media)));
        drive.insert("file".into(), volid);
    } else if matches!(file.as_str(), "cdrom" | "none") {
        drive.entry("media".into()).or_insert_with(|| "cdrom".into());
    }
    Ok(())
}

/// The volume whose path on its node is `path`.
fn volume_at(world: &World, path: &str) -> Option<(&'static str, String)> {
    let found = world.pve.volumes.iter().find(|(place, _)| {
        world.site.storages.get(&place.storage).is_some_and(|storage| volume::path(storage, &place.name) == path)
    });
    found.map(|(place, volume)| (volume.content, format!("{}:{}", place.storage, place.name)))
}

/// Checks access to the storages and volumes that the drives of a request name. `default` is the storage of disks
/// that name none.
pub(super) fn access(
    world: &World,
    who: &Identity,
    vmid: u32,
    params: &Params,
    default: Option<&str>,
) -> Result<(), Failure> {
    let schema = world.pve.release.schema();
    for (option, text) in params.iter().filter(|(option, _)| drive::is_name(option)) {
        let drive = drive::parse(schema, option, text).filter(|drive| drive::is_consistent(option, drive));
        let Some(drive) = drive else { continue };
        let file = drive.get("file").map_or("", String::as_str);
        match drive::source(file) {
            Source::Nothing | Source::CloudInit { .. } => {}
            Source::Physical if drive::is_cdrom(&drive) => acl::require(world, who, "/", &["Sys.Console"])?,
            Source::New { storage, .. } if !drive::is_cdrom(&drive) => {
                let named = Some(storage).filter(|storage| !storage.is_empty()).or(default);
                let none = || Failure::die("no storage ID specified (and no default storage)");
                new_disk(world, who, named.ok_or_else(none)?)?;
            }
            _ => {
                let content = volume_access(world, who, Some(vmid), file, None)?;
                if content.is_some_and(|content| content != "images" && content != "iso") {
                    return Err(Failure::param(option, "content type needs to be 'images' or 'iso'"));
                }
            }
        }
        if let Some(from) = drive.get("import-from") {
            import_source(world, who, vmid, option, from)?;
        }
    }
    for (option, text) in params.iter().filter(|(option, _)| drive::is_unused(option)) {
        let file = drive::parse(schema, option, text).and_then(|mut drive| drive.remove("file"));
        let file = file.ok_or_else(|| Failure::param(option, format!("failed to parse value '{text}'")))?;
        if !file.contains(':') {
            return Err(Failure::param(option, format!("not a valid volid: {file}")));
        }
        volume_access(world, who, Some(vmid), &file, Some("images"))?;
    }
    match params.get("vmstatestorage") {
        Some(storage) => acl::require(world, who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"]),
        None => Ok(()),
    }
}

fn new_disk(world: &World, who: &Identity, storage: &str) -> Result<(), Failure> {
    acl::require(world, who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    let definition = volume::definition(&world.site, storage).map_err(Failure::die)?;
    if !definition.content.iter().any(|content| content == "images") {
        return Err(Failure::param("storage", format!("storage '{storage}' does not support vm images")));
    }
    Ok(())
}

fn import_source(world: &World, who: &Identity, vmid: u32, option: &str, from: &str) -> Result<(), Failure> {
    if from.contains(':') && !from.starts_with('/') {
        let (content, owner) = volume_kind(world, from)?;
        if content != "images" && content != "import" {
            let text = format!("{from} has wrong type '{content}' - needs to be 'images' or 'import'");
            return Err(Failure::param(option, text));
        }
        if let Some(owner) = owner {
            return acl::require(world, who, &format!("/vms/{owner}"), &["VM.Clone"]);
        }
    }
    volume_access(world, who, Some(vmid), from, None).map(|_| ())
}

/// Content type and owner, as the name tells them.
fn volume_kind(world: &World, volid: &str) -> Result<(&'static str, Option<u32>), Failure> {
    let (storage, name) =
        volid.split_once(':').ok_or_else(|| Failure::die(format!("unable to parse volume ID '{volid}'")))?;
    let definition = volume::definition(&world.site, storage).map_err(Failure::die)?;
    volume::parse_name(definition, name).map_err(Failure::die)
}

/// Whether the caller may use an existing volume; its content type if so, `None` for a path, which only root may
/// pass. `wanted` is the only content type that will do.
pub(super) fn volume_access(
    world: &World,
    who: &Identity,
    vmid: Option<u32>,
    volid: &str,
    wanted: Option<&str>,
) -> Result<Option<&'static str>, Failure> {
    if !volid.contains(':') || volid.starts_with('/') {
        if who.is_root() {
            return Ok(None);
        }
        let at = "at /usr/share/perl5/PVE/Storage.pm line 651.";
        return Err(Failure::die(format!("Only root can pass arbitrary filesystem paths. {at}")));
    }
    let (content, owner) = volume_kind(world, volid)?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != content) {
        return Err(Failure::die(format!("unable to use volume {volid} - content type needs to be '{wanted}'")));
    }
    let path = format!("/storage/{}", volume::storage_of(volid));
    if acl::may(world, who, &path, "Datastore.Allocate") {
        return Ok(Some(content));
    }
    match (content, owner) {
        ("iso" | "vztmpl" | "import", _) => {
            acl::require_any(world, who, &path, &["Datastore.AllocateSpace", "Datastore.Audit"])?;
        }
        (_, Some(owner)) if vmid == Some(owner) => {}
        ("backup", Some(owner)) => {
            acl::require(world, who, &path, &["Datastore.AllocateSpace"])?;
            acl::require(world, who, &format!("/vms/{owner}"), &["VM.Backup"])?;
        }
        ("images", Some(owner)) => {
            acl::require(world, who, &path, &["Datastore.Audit"])?;
            acl::require(world, who, &format!("/vms/{owner}"), &["VM.Config.Disk"])?;
        }
        _ => return Err(Failure::die(format!("missing privileges to access {volid}"))),
    }
    Ok(Some(content))
}
