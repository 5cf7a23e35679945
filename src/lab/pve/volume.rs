//! Storages and what lies on them.
//!
//! The kinds of storage differ in how they name volumes, where a file can go
//! and when they are full; the rest is the same (pve-storage: src/PVE/Storage/*Plugin.pm).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::lab::site::{Site, Storage};

/// A disk image or a file.
#[derive(Clone, Debug)]
pub struct Volume {
    /// `images`, `iso`, `import`, `vztmpl`, `snippets`.
    pub content: &'static str,
    pub format: String,
    /// What a guest sees.
    pub bytes: u64,
    /// What it takes on the storage.
    pub used: u64,
    pub ctime: i64,
    /// The base volume that it stands on, as a [`Place::name`].
    pub parent: Option<String>,
    /// The VM that owns it, for images.
    pub vmid: Option<u32>,
    /// The beginning of it; the rest is zeroes.
    pub data: Bytes,
}

/// Where a volume is: on one node's storage, or on a shared one (then without node).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub node: Option<String>,
    pub storage: String,
    /// The volume id behind the colon: `iso/talos.iso`, `100/vm-100-disk-0.raw`, `vm-100-disk-0`.
    pub name: String,
}

/// All volumes of the site.
pub type Volumes = BTreeMap<Place, Volume>;

/// How a storage plugin names and charges its volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    /// Files in directories: can hold isos and imports; images are sparse.
    Directory,
    /// Logical volumes or datasets; `thick` ones reserve their whole size.
    Block { word: &'static str, thick: bool },
}

fn plugin(storage: &Storage) -> Plugin {
    match storage.kind.as_str() {
        "lvm" => Plugin::Block { word: "lvm", thick: true },
        "lvmthin" => Plugin::Block { word: "lvm", thick: false },
        "zfspool" | "zfs" => Plugin::Block { word: "zfs", thick: true },
        "rbd" => Plugin::Block { word: "rbd", thick: false },
        _ => Plugin::Directory,
    }
}

/// Isos and imports can be stored.
pub(super) fn is_file_based(storage: &Storage) -> bool {
    plugin(storage) == Plugin::Directory
}

/// The definition of a storage.
pub(super) fn definition<'s>(site: &'s Site, name: &str) -> Result<&'s Storage, String> {
    site.storages.get(name).ok_or_else(|| format!("storage '{name}' does not exist"))
}

/// The definition of a storage that can be used on `node`.
pub(super) fn usable<'s>(site: &'s Site, node: &str, name: &str) -> Result<&'s Storage, String> {
    let storage = definition(site, name)?;
    if storage.disabled {
        return Err(format!("storage '{name}' is disabled"));
    }
    if !is_on(storage, node) {
        return Err(format!("storage '{name}' is not available on node '{node}'"));
    }
    Ok(storage)
}

pub(super) fn is_on(storage: &Storage, node: &str) -> bool {
    storage.nodes.is_empty() || storage.nodes.iter().any(|known| known == node)
}

/// What the name of a volume says: its content type and the VM that owns it.
pub(super) fn parse_name(storage: &Storage, name: &str) -> Result<(&'static str, Option<u32>), String> {
    let owner_of = |image: &str| {
        let rest = image.strip_prefix("vm-").or_else(|| image.strip_prefix("base-"))?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        rest[digits.len()..].starts_with('-').then(|| digits.parse().ok()).flatten()
    };
    let known = match plugin(storage) {
        Plugin::Block { .. } => owner_of(own_part(name)).map(|vmid| ("images", Some(vmid))),
        Plugin::Directory => match own_part(name).split_once('/') {
            Some(("iso", file)) if is_iso_name(file) => Some(("iso", None)),
            Some(("import", file)) if is_import_name(file) => Some(("import", None)),
            Some(("vztmpl", file)) if !file.is_empty() => Some(("vztmpl", None)),
            Some(("snippets", file)) if !file.is_empty() => Some(("snippets", None)),
            Some((vmid, file)) if !file.is_empty() && image_format(file).is_some() => {
                vmid.parse().ok().map(|vmid| ("images", Some(vmid)))
            }
            _ => None,
        },
    };
    known.ok_or_else(|| match plugin(storage) {
        Plugin::Directory => format!("unable to parse directory volume name '{name}'"),
        Plugin::Block { word, .. } => format!("unable to parse {word} volume name '{name}'"),
    })
}

/// The name without the base that it stands on.
fn own_part(name: &str) -> &str {
    let parts: Vec<usize> = name.match_indices('/').map(|(at, _)| at).collect();
    match parts[..] {
        [_, second, _] => &name[second + 1..],
        [first] if name.starts_with("base-") => &name[first + 1..],
        _ => name,
    }
}

/// Whether others may stand on it.
pub(super) fn is_base(volid: &str) -> bool {
    let name = volid.split_once(':').map_or("", |(_, name)| own_part(name));
    name.rsplit('/').next().is_some_and(|file| file.starts_with("base-"))
}

/// The storage of a volume id.
pub(super) fn storage_of(volid: &str) -> &str {
    volid.split(':').next().unwrap_or_default()
}

/// The name of a disk that stands on `base`; `own` is its own. Logical volumes do not tell.
pub(super) fn linked_name(site: &Site, base: &Place, own: &str) -> String {
    match site.storages.get(&base.storage).map(plugin) {
        Some(Plugin::Block { word: "lvm", .. }) => own.to_owned(),
        _ => format!("{}/{own}", own_part(&base.name)),
    }
}

/// Whether a disk stands on it.
pub(super) fn is_used_base(volumes: &Volumes, place: &Place) -> bool {
    let stands = |(other, volume): (&Place, &Volume)| {
        other.storage == place.storage && other.node == place.node && volume.parent.as_deref() == Some(&place.name)
    };
    volumes.iter().any(stands)
}

/// The next free name of a disk of `vmid`.
pub(super) fn next_name(site: &Site, volumes: &Volumes, storage: &str, vmid: u32, format: &str) -> String {
    let kind = site.storages.get(storage).map_or(Plugin::Directory, plugin);
    let bare = |name: &str| name.rsplit('/').next().and_then(|file| file.split('.').next()).map(str::to_owned);
    let taken: Vec<Option<String>> =
        volumes.keys().filter(|place| place.storage == storage).map(|place| bare(&place.name)).collect();
    let names = (0..10_000).map(|index| format!("vm-{vmid}-disk-{index}"));
    let base = |name: &str| name.replacen("vm-", "base-", 1);
    let free = |name: &String| !taken.contains(&Some(name.clone())) && !taken.contains(&Some(base(name)));
    let free = names.into_iter().find(free).unwrap_or_default();
    match kind {
        Plugin::Directory => format!("{vmid}/{free}.{format}"),
        Plugin::Block { .. } => free,
    }
}

/// `.iso` or `.img` in any case.
pub(super) fn is_iso_name(file: &str) -> bool {
    let end = file.rsplit_once('.').map(|(stem, end)| (stem.is_empty(), end.to_ascii_lowercase()));
    matches!(end, Some((false, end)) if end == "iso" || end == "img")
}

/// An importable image: lower-case extensions and a narrow alphabet.
pub(super) fn is_import_name(file: &str) -> bool {
    let known = [".ova", ".qcow2", ".raw", ".vmdk"].iter().any(|end| file.len() > end.len() && file.ends_with(end));
    known && file.chars().all(|letter| letter.is_ascii_alphanumeric() || ".+=_-".contains(letter))
}

/// The format that an image's file name tells.
pub(super) fn image_format(file: &str) -> Option<&'static str> {
    ["raw", "qcow2", "vmdk"].into_iter().find(|format| file.ends_with(&format!(".{format}")))
}

/// Where `volid` is, seen from `node`; `None` when its storage is not defined.
pub(super) fn place(site: &Site, node: &str, volid: &str) -> Option<Place> {
    let (storage, name) = volid.split_once(':')?;
    let shared = site.storages.get(storage)?.shared;
    Some(Place { node: (!shared).then(|| node.to_owned()), storage: storage.to_owned(), name: name.to_owned() })
}

/// The path of a volume on its node.
pub(super) fn path(storage: &Storage, name: &str) -> String {
    let root = storage.path.clone().unwrap_or_else(|| "/dev/pve".to_owned());
    match (plugin(storage), name.split_once('/')) {
        (Plugin::Block { .. }, _) | (_, Some(("import" | "snippets", _))) => format!("{root}/{name}"),
        (_, Some(("iso", file))) => format!("{root}/template/iso/{file}"),
        (_, Some(("vztmpl", file))) => format!("{root}/template/cache/{file}"),
        _ => format!("{root}/images/{}", own_part(name)),
    }
}

/// Bytes in all, used, and free.
pub(super) fn space(site: &Site, volumes: &Volumes, node: &str, name: &str) -> (u64, u64, u64) {
    const GIB: u64 = 1 << 30;
    let Some(storage) = site.storages.get(name) else { return (0, 0, 0) };
    let here = |place: &Place| place.storage == name && place.node.as_deref().is_none_or(|at| at == node);
    let taken: u64 = volumes.iter().filter(|(place, _)| here(place)).map(|(_, volume)| volume.used).sum();
    let (total, used) = (storage.total * GIB, storage.used * GIB + taken);
    (total, used, total.saturating_sub(used))
}

/// A request for a new image.
pub(super) struct Wanted<'a> {
    pub vmid: u32,
    pub storage: &'a str,
    pub format: Option<&'a str>,
    pub bytes: u64,
    /// `vm-ID-cloudinit` instead of the next `vm-ID-disk-N`.
    pub cloudinit: bool,
}

/// Allocates an image and returns its volume id and what the image tool prints.
pub(super) fn allocate(
    site: &Site,
    volumes: &mut Volumes,
    node: &str,
    wanted: &Wanted,
    now: i64,
) -> Result<(String, String), String> {
    let storage = usable(site, node, wanted.storage)?;
    let kind = plugin(storage);
    let (_, _, free) = space(site, volumes, node, wanted.storage);
    let format = match (kind, wanted.format) {
        (Plugin::Directory, Some(format)) => format,
        (Plugin::Directory, None) if wanted.cloudinit => "qcow2",
        (Plugin::Directory, None) | (Plugin::Block { .. }, None | Some("raw")) => "raw",
        (Plugin::Block { word, .. }, Some(other)) => return Err(format!("unsupported format '{other}' for {word}")),
    };
    let name = match kind {
        Plugin::Directory if wanted.cloudinit => format!("{vmid}/vm-{vmid}-cloudinit.{format}", vmid = wanted.vmid),
        Plugin::Block { .. } if wanted.cloudinit => format!("vm-{}-cloudinit", wanted.vmid),
        _ => next_name(site, volumes, wanted.storage, wanted.vmid, format),
    };
    let charge = match kind {
        Plugin::Block { thick: true, .. } => wanted.bytes,
        _ => wanted.bytes.min(4096),
    };
    if charge > free || free == 0 {
        return Err(full(kind, &name, wanted.bytes, free));
    }
    let line = match (kind, format) {
        (Plugin::Directory, "qcow2") => format!(
            "Formatting '{}', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib \
             size={} lazy_refcounts=off refcount_bits=16",
            path(storage, &name),
            wanted.bytes
        ),
        (Plugin::Directory, _) => {
            format!("Formatting '{}', fmt={format} size={} preallocation=off", path(storage, &name), wanted.bytes)
        }
        (Plugin::Block { .. }, _) => format!("  Logical volume \"{name}\" created."),
    };
    let volid = format!("{}:{name}", wanted.storage);
    let volume = Volume {
        content: "images",
        format: format.to_owned(),
        bytes: wanted.bytes,
        used: charge,
        ctime: now,
        parent: None,
        vmid: Some(wanted.vmid),
        data: Bytes::new(),
    };
    if let Some(place) = place(site, node, &volid) {
        volumes.insert(place, volume);
    }
    Ok((volid, line))
}

/// What the plugins say when there is no room.
fn full(kind: Plugin, name: &str, bytes: u64, free: u64) -> String {
    const EXTENT: u64 = 4 << 20;
    match kind {
        Plugin::Directory => "unable to create image: qemu-img: No space left on device".to_owned(),
        Plugin::Block { word: "zfs", .. } => {
            format!("zfs error: cannot create 'rpool/data/{name}': out of space")
        }
        Plugin::Block { thick: true, .. } => format!(
            "lvcreate 'pve/{name}' error:   Volume group \"pve\" has insufficient free space ({} extents): {} required.",
            free / EXTENT,
            bytes.div_ceil(EXTENT)
        ),
        Plugin::Block { .. } => format!(
            "lvcreate 'pve/{name}' error:   Cannot create new thin volume, free space in thin pool pve/data reached threshold."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_content_and_owner() {
        let site = Site::default();
        let (local, lvm) = (&site.storages["local"], &site.storages["local-lvm"]);
        assert_eq!(parse_name(local, "iso/a.ISO"), Ok(("iso", None)));
        assert_eq!(parse_name(local, "100/vm-100-disk-0.raw"), Ok(("images", Some(100))));
        assert_eq!(parse_name(local, "32G"), Err("unable to parse directory volume name '32G'".into()));
        assert_eq!(parse_name(lvm, "vm-100-disk-0"), Ok(("images", Some(100))));
        assert_eq!(parse_name(lvm, "32G"), Err("unable to parse lvm volume name '32G'".into()));
    }

    #[test]
    fn a_thick_storage_is_full_when_its_sizes_say_so() {
        let mut site = Site::default();
        let thick = Storage { kind: "zfspool".into(), total: 10, ..site.storages["local-lvm"].clone() };
        site.storages.insert("tank".into(), thick);
        let mut volumes = Volumes::new();
        let mut wanted = Wanted { vmid: 100, storage: "tank", format: None, bytes: 6 << 30, cloudinit: false };
        let (volid, _) = allocate(&site, &mut volumes, "lab1", &wanted, 0).unwrap();
        assert_eq!(volid, "tank:vm-100-disk-0");
        let error = allocate(&site, &mut volumes, "lab1", &wanted, 0).unwrap_err();
        assert_eq!(error, "zfs error: cannot create 'rpool/data/vm-100-disk-1': out of space");
        wanted.storage = "local-lvm";
        assert_eq!(allocate(&site, &mut volumes, "lab1", &wanted, 0).unwrap().0, "local-lvm:vm-100-disk-0");
    }
}
