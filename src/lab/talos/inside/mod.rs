//! What goes on inside a machine, as far as people look at it: `talosctl dashboard`, `processes`, `mounts`, …
//!
//! Figures follow from the hardware and from the time since the boot, so that two
//! looks at one machine agree and a difference of two looks is a rate.

mod archive;
mod containers;
mod control;
mod cpu;
mod files;
mod traffic;

pub(super) use archive::{copy, usage};
pub(super) use containers::{containers, images, images_of, log_names, processes, stats};
pub(super) use control::{restart, start, stop};
pub(super) use cpu::{cpus, frequencies, load, meminfo, memory, system};
pub(super) use files::{list, read};
pub(super) use traffic::{connections, disks, mounts, network};

use std::time::Duration;

use tonic::Status;

use super::Face;
use crate::lab::world::World;

/// How long the machine has been up.
fn uptime(face: &Face, world: &World) -> Result<Duration, Status> {
    Ok(world.now().saturating_sub(face.system(world)?.began))
}
