//! Method *sweep*: knock at every address of the network.
//!
//! Meant for networks up to a /22. On a larger one that is directly attached, Linux's
//! neighbour table (`gc_thresh3`, 1024 entries by default) overflows with silent
//! addresses, and the kernel then drops first packets without a word: such a network
//! needs static addresses, or a router in between.

use std::io;
use std::net::IpAddr;

use futures_util::StreamExt;
use futures_util::stream;
use ipnet::Ipv4Net;

use super::DiscoveryError;
use super::knock::{Heard, knock};
use crate::reach::Reach;

/// What every system grants.
const LEAST: usize = 512;

/// Beyond this, this computer is busier with its sockets than with waiting.
const MOST: usize = 4096;

/// For the journal, the log, connections to Proxmox and to the machines found.
const KEPT_BACK: usize = 128;

/// The addresses of `network` that have Talos's port open, in ascending order.
///
/// Network and broadcast address are left out. Silent addresses cost time, measured in a debug build on two cores: a
/// /22 takes 0.3 s and a /16 4 s, or 0.5 s and 19 s where only 1024 files may be open.
pub async fn sweep(reach: &Reach, network: Ipv4Net) -> Result<Vec<IpAddr>, DiscoveryError> {
    sweep_with(network, in_flight(), |ip| knock(reach, ip)).await
}

pub(super) async fn sweep_with<F>(
    network: Ipv4Net,
    in_flight: usize,
    knock: impl Fn(IpAddr) -> F,
) -> Result<Vec<IpAddr>, DiscoveryError>
where
    F: Future<Output = Heard>,
{
    let hosts = network.hosts().map(IpAddr::from);
    let (mut open, failed) = pass(hosts, in_flight, &knock).await;
    if !failed.is_empty() {
        // Sockets or neighbour entries ran out. Looking more slowly helps with both, and if not, say so: an address
        // that could not be looked at must not count as empty.
        let again: Vec<IpAddr> = failed.into_iter().map(|(ip, _)| ip).collect();
        let (late, failed) = pass(again.into_iter(), LEAST / 8, &knock).await;
        open.extend(late);
        if let Some((address, source)) = failed.into_iter().next() {
            return Err(DiscoveryError::Sweep { network, address, source });
        }
    }
    open.sort_unstable();
    Ok(open)
}

async fn pass<F>(
    hosts: impl Iterator<Item = IpAddr>,
    in_flight: usize,
    knock: impl Fn(IpAddr) -> F,
) -> (Vec<IpAddr>, Vec<(IpAddr, io::Error)>)
where
    F: Future<Output = Heard>,
{
    let mut heard = std::pin::pin!(
        stream::iter(hosts.map(|ip| {
            let knocking = knock(ip);
            async move { (ip, knocking.await) }
        }))
        .buffer_unordered(in_flight)
    );
    let (mut open, mut failed) = (Vec::new(), Vec::new());
    while let Some((ip, heard)) = heard.next().await {
        match heard {
            Heard::Open => open.push(ip),
            Heard::Nothing => {}
            Heard::Failed(error) => failed.push((ip, error)),
        }
    }
    (open, failed)
}

/// How many knocks may wait at a time: as many as the limit on open files allows, within reason.
pub(super) fn in_flight() -> usize {
    // Linux tells without a system call of our own; elsewhere the least is what we take.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    open_files(&limits).map_or(LEAST, |limit| limit.saturating_sub(KEPT_BACK).clamp(LEAST, MOST))
}

/// The soft limit in `Max open files            1024                 524288               files`.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}
