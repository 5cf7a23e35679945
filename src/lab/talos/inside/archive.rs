//! Files in bulk: `talosctl copy` and `talosctl usage`.
//!
//! Talos 1.13: pkg/archiver, internal/app/machined/internal/server/v1alpha1 (`Copy`, `DiskUsage`).

use std::collections::BTreeMap;

use flate2::Compression;
use flate2::write::GzEncoder;
use tonic::Status;

use super::files::{all, tree};
use crate::lab::talos::server::Peer;
use crate::lab::talos::{Face, Replies, replies};
use crate::lab::world::World;
use crate::talos::wire::common::{Data, Metadata};
use crate::talos::wire::machine::{CopyRequest, DiskUsageInfo, DiskUsageRequest};

/// As large as Talos's pieces of a stream are.
const CHUNK: usize = 1024;
/// What a directory itself takes.
const DIRECTORY: i64 = 4096;

pub(in crate::lab::talos) fn copy(
    face: &Face,
    world: &mut World,
    request: &CopyRequest,
    _: &Peer,
) -> Result<Replies<Data>, Status> {
    let path = &request.root_path;
    if !path.starts_with('/') {
        return Err(Status::unknown(format!("path is not absolute {path}")));
    }
    let files = all(face, world)?;
    let root = format!("/{}", path.trim_matches('/'));
    let found = tree(&files, &root, usize::MAX);
    if found.is_empty() {
        let error = format!("lstat {root}: no such file or directory");
        if face.system(world)?.minor.status_ends_streams {
            return Err(Status::unknown(error));
        }
        let metadata = Some(Metadata { error, ..Metadata::default() });
        return Ok(replies(vec![Data { metadata, ..Data::default() }]));
    }
    let bytes = archive(&files, &root, &found).map_err(|error| Status::unknown(error.to_string()))?;
    Ok(replies(bytes.chunks(CHUNK).map(|piece| Data { metadata: None, bytes: piece.to_vec() }).collect()))
}

fn archive(
    files: &BTreeMap<String, String>,
    root: &str,
    found: &BTreeMap<String, Option<usize>>,
) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (relative, size) in found {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if size.is_none() { 0o755 } else { 0o644 });
        let text = if size.is_none() {
            header.set_entry_type(tar::EntryType::Directory);
            ""
        } else {
            let path = if files.contains_key(root) {
                root.to_owned()
            } else {
                format!("{}/{relative}", root.trim_end_matches('/'))
            };
            files.get(&path).map_or("", String::as_str)
        };
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, relative, text.as_bytes())?;
    }
    tar.into_inner()?.finish()
}

pub(in crate::lab::talos) fn usage(
    face: &Face,
    world: &mut World,
    request: &DiskUsageRequest,
    _: &Peer,
) -> Result<Replies<DiskUsageInfo>, Status> {
    let files = all(face, world)?;
    let mut infos = Vec::new();
    for path in &request.paths {
        let root = format!("/{}", path.trim_matches('/'));
        let found = tree(&files, &root, usize::MAX);
        if found.is_empty() {
            let error = format!("lstat {root}: no such file or directory");
            infos.push(DiskUsageInfo { name: root.clone(), relative_name: root, error, ..DiskUsageInfo::default() });
            continue;
        }
        measure(&found, &root, request, &mut infos);
        // Talos answers for the first path that there is, and for no other after it.
        break;
    }
    Ok(replies(infos))
}

/// Files as they come, and each directory after what is in it.
fn measure(
    found: &BTreeMap<String, Option<usize>>,
    root: &str,
    request: &DiskUsageRequest,
    infos: &mut Vec<DiskUsageInfo>,
) {
    let parents = |relative: &str| -> Vec<String> {
        let mut all: Vec<String> = relative.match_indices('/').map(|(at, _)| relative[..at].to_owned()).collect();
        all.push(".".to_owned());
        all
    };
    let mut totals: BTreeMap<&str, i64> = found.keys().map(|name| (name.as_str(), 0)).collect();
    for (relative, size) in found {
        let own = size.map_or(DIRECTORY, |size| i64::try_from(size).unwrap_or(i64::MAX));
        for name in parents(relative).iter().map(String::as_str).chain([relative.as_str()]) {
            if let Some(total) = totals.get_mut(name).filter(|_| relative != "." || name == ".") {
                *total += own;
            }
        }
    }
    // "." counts itself as its own parent.
    if let Some(total) = totals.get_mut(".") {
        *total -= DIRECTORY;
    }
    let mut order: Vec<&String> = found.keys().collect();
    order.sort_by_key(|relative| {
        // A directory is where its last file would be: behind all that begins with its name.
        let is_dir = found[*relative].is_none();
        (*relative == ".", if is_dir { format!("{relative}/\u{10ffff}") } else { (*relative).clone() })
    });
    for relative in order {
        let is_dir = found[relative].is_none();
        let depth = if relative == "." { 0 } else { 1 + relative.matches('/').count() };
        let depth = i32::try_from(depth).unwrap_or(i32::MAX);
        let size = totals[relative.as_str()];
        let deep = request.recursion_depth > 0 && depth >= request.recursion_depth;
        let small = request.threshold > 0 && size < request.threshold;
        let large = request.threshold < 0 && size > -request.threshold;
        if deep || small || large || !(is_dir || request.all) {
            continue;
        }
        let name = if relative == "." { root.to_owned() } else { format!("{}/{relative}", root.trim_end_matches('/')) };
        infos.push(DiskUsageInfo { name, size, relative_name: relative.clone(), ..DiskUsageInfo::default() });
    }
}
