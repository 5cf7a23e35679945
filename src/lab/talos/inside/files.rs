//! The few files that clients read, in a tree that can be listed.

use std::collections::BTreeMap;

use tonic::Status;

use super::uptime;
use crate::inventory::Role;
use crate::lab::talos::server::Peer;
use crate::lab::talos::{Face, Replies, replies};
use crate::lab::world::World;
use crate::talos::wire::common::Data;
use crate::talos::wire::machine::list_request::Type;
use crate::talos::wire::machine::{FileInfo, ListRequest, ReadRequest};

/// Go's `fs.ModeDir`, which is what goes over the wire.
const GO_DIR: u32 = 1 << 31;

/// Every regular file by its path.
pub(super) fn all(face: &Face, world: &World) -> Result<BTreeMap<String, String>, Status> {
    let (machine, system) = (face.machine(world)?, face.system(world)?);
    let up = uptime(face, world)?.as_secs_f64();
    let mut files = BTreeMap::from(
        [
            ("/etc/hostname", format!("{}\n", system.hostname)),
            ("/etc/hosts", format!("127.0.0.1 localhost\n127.0.0.1 {}\n", system.hostname)),
            (
                "/etc/os-release",
                format!(
                    "NAME=\"Talos\"\nID=talos\nVERSION_ID={version}\nPRETTY_NAME=\"Talos ({version})\"\n",
                    version = system.image.version
                ),
            ),
            ("/etc/resolv.conf", "nameserver 127.0.0.53\n".to_owned()),
            ("/proc/cmdline", format!("{}\n", system.cmdline())),
            ("/proc/sys/kernel/random/boot_id", format!("{}\n", system.boot_id)),
            ("/proc/uptime", format!("{up:.2} {:.2}\n", up * f64::from(machine.hardware.cores) * 0.9)),
            ("/proc/version", format!("Linux version {} (lab)\n", crate::lab::fleet::KERNEL)),
        ]
        .map(|(path, text)| (path.to_owned(), text)),
    );
    if let (Some(_), Some(config)) = (&system.disk, &system.config) {
        files.insert("/system/state/config.yaml".into(), config.text.clone());
    }
    if machine.role() == Some(Role::ControlPlane) && world.fleet.etcd_of(face.vmid).is_some() {
        files.insert("/var/lib/etcd/member/snap/db".into(), String::new());
    }
    Ok(files)
}

pub(in crate::lab::talos) fn read(
    face: &Face,
    world: &mut World,
    request: &ReadRequest,
    _: &Peer,
) -> Result<Replies<Data>, Status> {
    let files = all(face, world)?;
    let path = &request.path;
    if let Some(text) = files.get(path) {
        return Ok(replies(vec![Data { metadata: None, bytes: text.clone().into_bytes() }]));
    }
    let below = format!("{}/", path.trim_end_matches('/'));
    Err(if files.keys().any(|file| file.starts_with(&below)) {
        Status::unknown("path must be a regular file")
    } else {
        Status::not_found(format!("stat {path}: no such file or directory"))
    })
}

pub(in crate::lab::talos) fn list(
    face: &Face,
    world: &mut World,
    request: &ListRequest,
    _: &Peer,
) -> Result<Replies<FileInfo>, Status> {
    let files = all(face, world)?;
    let root = format!("/{}", request.root.trim_matches('/'));
    let below = if root == "/" { "/".to_owned() } else { format!("{root}/") };
    let depth = match (request.recurse, usize::try_from(request.recursion_depth)) {
        (false, _) => 1,
        (true, Ok(0) | Err(_)) => usize::MAX,
        (true, Ok(depth)) => depth.saturating_add(1),
    };
    let found = tree(&files, &root, depth);
    if found.is_empty() {
        return Err(Status::unknown(format!("lstat {root}: no such file or directory")));
    }
    let wanted = |directory: bool| {
        let kind = i32::from(if directory { Type::Directory } else { Type::Regular });
        request.types.is_empty() || request.types.contains(&kind)
    };
    let infos = found.into_iter().filter(|(_, size)| wanted(size.is_none())).map(|(relative, size)| FileInfo {
        name: if relative == "." { root.clone() } else { format!("{below}{relative}") },
        size: size.map_or(4096, |size| i64::try_from(size).unwrap_or(i64::MAX)),
        mode: if size.is_none() { GO_DIR | 0o755 } else { 0o644 },
        is_dir: size.is_none(),
        relative_name: relative,
        ..FileInfo::default()
    });
    Ok(replies(infos.collect()))
}

/// What is below `root`: relative path to size; a directory has none.
pub(super) fn tree(files: &BTreeMap<String, String>, root: &str, depth: usize) -> BTreeMap<String, Option<usize>> {
    let below = if root == "/" { "/".to_owned() } else { format!("{root}/") };
    let mut found = BTreeMap::new();
    if let Some(text) = files.get(root) {
        found.insert(root.rsplit('/').next().unwrap_or_default().to_owned(), Some(text.len()));
    }
    for (path, text) in files {
        let Some(relative) = path.strip_prefix(&below) else { continue };
        found.insert(".".into(), None);
        let parts: Vec<&str> = relative.split('/').collect();
        for end in 1..=parts.len().min(depth) {
            found.insert(parts[..end].join("/"), (end == parts.len()).then_some(text.len()));
        }
    }
    found
}
