//! What was on a site before the lab began: files, images, tasks.

use bytes::Bytes;

use super::volume::{self, Volume};
use super::{cluster, file};
use crate::lab::world::World;

/// A task that ended before the lab began.
#[derive(Clone, Debug)]
pub struct Past {
    pub kind: String,
    pub id: String,
    /// `user@realm` or `user@realm!token`.
    pub owner: String,
    /// How it ended: `OK`, `WARNINGS: 1`, or an error's text.
    pub status: String,
    /// Epoch seconds.
    pub started: i64,
}

/// A task of the first node.
pub fn put_task(world: &mut World, past: &Past) {
    let node = world.site.nodes[0].name.clone();
    let upid = world.pve.tasks.begin(&node, &past.kind, &past.id, &past.owner, past.started);
    let warnings = past.status.strip_prefix("WARNINGS: ").and_then(|count| count.parse().ok());
    if let (Some(task), Some(warnings)) = (world.pve.tasks.get_mut(&upid), warnings) {
        task.warnings = warnings;
    }
    let well = past.status == "OK" || warnings.is_some();
    world.pve.tasks.finish(&upid, if well { Ok(()) } else { Err(past.status.clone()) }, past.started + 1);
}

/// A file of a storage of the first node: `local:iso/talos.iso`. Nothing happens where there is no room for it.
pub fn put_file(world: &mut World, volid: &str, data: Vec<u8>, written: i64) {
    let node = world.site.nodes[0].name.clone();
    let Some((storage, (kind, name))) = volid.split_once(':').and_then(|(s, rest)| Some((s, rest.split_once('/')?)))
    else {
        return;
    };
    file::store(world, &node, storage, kind, name, data.into(), written).ok();
}

/// A raw disk image of a VM.
pub fn put_image(world: &mut World, volid: &str, vmid: u32, bytes: u64) {
    let node = world.site.nodes[0].name.clone();
    let Some(place) = volume::place(&world.site, &node, volid) else { return };
    let volume = Volume {
        content: "images",
        format: volume::image_format(volid).unwrap_or("raw").to_owned(),
        bytes,
        used: bytes.min(4096),
        ctime: super::now(),
        parent: None,
        vmid: Some(vmid),
        data: Bytes::new(),
    };
    world.pve.volumes.insert(place, volume);
}

/// The status daemons have spoken.
pub fn speak(world: &mut World) {
    cluster::speak(world);
}
