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

/// A cloud-init image, allocated or still to be.
pub(super) fn holds_cloudinit(drive: &Properties) -> bool {
    let file = drive.get("file").map_or("", String::as_str);
    is_cloudinit(file) || matches!(source(file), Source::CloudInit { .. })
}

/// Whether members that are right by themselves go together (qemu-server 9.2: src/PVE/QemuServer/Drive.pm,
/// `parse_drive`).
pub(super) fn is_consistent(name: &str, drive: &Properties) -> bool {
    let has = |key: &str| drive.get(key).is_some_and(|value| !value.is_empty() && value != "0");
    let needs = [
        ("mbps_max", "mbps"),
        ("mbps_rd_max", "mbps_rd"),
        ("mbps_wr_max", "mbps_wr"),
        ("bps_max_length", "mbps_max"),
        ("bps_rd_max_length", "mbps_rd_max"),
        ("bps_wr_max_length", "mbps_wr_max"),
        ("iops_max_length", "iops_max"),
        ("iops_rd_max_length", "iops_rd_max"),
        ("iops_wr_max_length", "iops_wr_max"),
    ];
    let apart = [("mbps_rd", "mbps"), ("mbps_wr", "mbps"), ("iops_rd", "iops"), ("iops_wr", "iops")];
    let cdrom = has("snapshot") || has("format") || name.starts_with("virtio");
    let lacks = needs.iter().any(|(key, needed)| has(key) && !has(needed));
    let clashes = apart.iter().any(|(one, other)| has(one) && has(other));
    let sized = drive.get("size").is_none_or(|text| super::size::parse(text).is_some());
    let impossible = is_cdrom(drive) && cdrom;
    sized && !lacks && !clashes && !impossible
}

/// What a request asks a drive to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// `none`
    Nothing,
    /// The node's own drive: `cdrom`.
    Physical,
    /// `STORAGE:SIZE`, in GiB, perhaps with a fraction; the storage is empty when only the size is given.
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
        (size, None) if is_decimal(size) => Source::New { storage: "", gib: size },
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
