//! Drives of a VM: names, property strings, and what counts as what.

use super::property::{self, Properties};
use super::schema::{Members, Schema};

/// Drive names in the order in which upstream walks them.
pub(super) fn names() -> impl Iterator<Item = String> {
    let range = |bus: &'static str, count: u32| (0..count).map(move |index| format!("{bus}{index}"));
    let disks = range("ide", 4).chain(range("scsi", 31)).chain(range("virtio", 16)).chain(range("sata", 6));
    disks.chain(["efidisk0".to_owned(), "tpmstate0".to_owned()])
}

pub(super) fn is_name(option: &str) -> bool {
    names().any(|name| name == option)
}

pub(super) fn is_unused(option: &str) -> bool {
    indexed(option, "unused")
}

/// `net0` is `net` with an index.
pub(super) fn indexed(option: &str, stem: &str) -> bool {
    option.strip_prefix(stem).is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The members of an option of `PUT config` that is a property string.
pub(super) fn members<'s>(schema: &'s Schema, option: &str) -> Option<&'s Members> {
    let params = &schema.endpoint("PUT", "/nodes/{node}/qemu/{vmid}/config")?.params;
    schema.members(schema.parameter(params, option)?.format.as_ref()?)
}

/// A drive's (or unused volume's) properties; `None` for any other option.
pub(super) fn parse(schema: &Schema, option: &str, text: &str) -> Option<Properties> {
    if !is_name(option) && !is_unused(option) {
        return None;
    }
    property::split(members(schema, option)?, text).ok()
}

/// Canonical text of any option that is a property string.
pub(super) fn print(schema: &Schema, option: &str, properties: &Properties) -> String {
    members(schema, option).map_or_else(String::new, |members| property::print(members, properties))
}

pub(super) fn is_cdrom(drive: &Properties) -> bool {
    drive.get("media").is_some_and(|media| media == "cdrom")
}

/// An allocated cloud-init image.
pub(super) fn is_cloudinit(volid: &str) -> bool {
    let name = volid.rsplit(['/', ':']).next().unwrap_or_default();
    name.starts_with("vm-") && name.split('.').next().is_some_and(|stem| stem.ends_with("-cloudinit"))
}

/// What a request asks a drive to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// `none`
    Nothing,
    /// The node's own drive: `cdrom`.
    Physical,
    /// `STORAGE:SIZE`, in GiB, perhaps with a fraction.
    New { storage: &'a str, gib: &'a str },
    /// `STORAGE:cloudinit`
    CloudInit { storage: &'a str },
    /// A volume id that exists or not.
    Volume(&'a str),
    /// An absolute path.
    Path,
}

pub(super) fn source(file: &str) -> Source<'_> {
    if file.starts_with('/') {
        return Source::Path;
    }
    match (file, file.split_once(':')) {
        ("none", _) => Source::Nothing,
        ("cdrom", _) => Source::Physical,
        (_, Some((storage, "cloudinit"))) => Source::CloudInit { storage },
        (_, Some((storage, size))) if is_decimal(size) => Source::New { storage, gib: size },
        _ => Source::Volume(file),
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::schema;
    use super::*;

    #[test]
    fn a_size_is_a_bare_decimal_and_nothing_else() {
        assert_eq!(source("data:10.5"), Source::New { storage: "data", gib: "10.5" });
        assert_eq!(source("data:32G"), Source::Volume("data:32G"));
        assert_eq!(source("data:-1"), Source::Volume("data:-1"));
        assert_eq!(source("data:cloudinit"), Source::CloudInit { storage: "data" });
        assert!(is_cloudinit("data:100/vm-100-cloudinit.qcow2") && !is_cloudinit("data:vm-100-disk-0"));
    }

    #[test]
    fn drives_print_their_volume_first() {
        let schema = schema(9);
        let drive = parse(schema, "scsi0", "ssd=true,file=data:1,discard=on").unwrap();
        assert_eq!(print(schema, "scsi0", &drive), "data:1,discard=on,ssd=1");
        let net =
            property::split(members(schema, "net0").unwrap(), "bridge=vmbr0,tag=7,virtio=bc:24:11:00:00:01").unwrap();
        assert_eq!(print(schema, "net0", &net), "virtio=bc:24:11:00:00:01,bridge=vmbr0,tag=7");
    }
}
