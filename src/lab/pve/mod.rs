//! Proxmox VE's half of the lab: its state, and the HTTPS face of it.
//!
//! ```ignore
//! let ca = SiteCa::new("lab");
//! let leaf = ca.leaf(&names, &addresses);
//! site.tokens.insert(TOKEN_ID.into(), Token { secret, privsep: false, expire: 0, comment: None });
//! let shared = Shared::new(site);
//! shared.lock().pve.factory_endpoint = Some(FactoryEndpoint { hosts, address, ca_pem: ca.pem() });
//! let server = pve::serve(shared.clone(), listener, &ca, &leaf); // gone when dropped
//! ```
//!
//! A request goes through [`server`](self) in Proxmox's own order: head and
//! authentication, the script of faults, path, permission, parameters (all
//! driven by `schema-8.json` and `schema-9.json`), handler. What takes time is a
//! worker in `work`. The answers are compared with recorded ones by the replay
//! test, on both releases.

mod access;
mod acl;
mod agent;
mod answer;
mod api_tokens;
mod apply;
mod auth;
mod body;
mod call;
mod certificates;
mod change;
mod checks;
mod clone;
mod cluster;
mod config;
mod config_lock;
mod console;
mod content;
mod create;
mod destroy;
mod disks;
mod dispatch;
mod download;
mod drive;
mod entries;
mod fetch;
mod file;
mod formats;
mod groups;
mod ha;
pub mod hypervisor;
mod incident;
mod json_fault;
mod login;
mod machine;
mod migrate;
mod migration;
mod network;
mod nodes;
mod options;
mod past;
mod plug;
mod pools;
mod power;
mod property;
mod release;
mod relocate;
#[cfg(test)]
mod replay;
mod request;
mod resize;
mod rights;
mod roles;
mod routes;
mod schema;
mod sdn;
mod seed;
mod server;
mod size;
mod snapshots;
mod sources;
mod start;
mod status;
mod task;
mod tasks;
mod template;
#[cfg(test)]
mod tests;
mod upload;
mod users;
mod verify;
mod vm;
mod volume;
mod websocket;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;

pub use auth::Identity;
pub use cluster::Broadcast;
pub use fetch::FactoryEndpoint;
pub use file::normalise as file_name;
pub use incident::Incidents;
pub use past::{Past, put_file, put_image, put_task, speak};
pub use pools::Pool;
pub use release::Release;
pub use sdn::Ipam;
pub use task::{Task, Tasks};
pub use vm::{Config, Vm};
pub use volume::{Place, Volume, Volumes};

use super::fixture::Served;
use super::http::{Limits, ServerHandle};
use super::site::{Guest, Site};
use super::tls::{Leaf, SiteCa};
use super::world::{Shared, World};
use disks::Workshop;
use hypervisor::Hypervisor;
use verify::Params;

/// VMs, volumes, tasks, pools: everything that the Proxmox API shows and that the site's description does not fix.
pub struct State {
    pub release: Release,
    pub vms: BTreeMap<u32, Vm>,
    pub volumes: Volumes,
    pub tasks: Tasks,
    pub pools: BTreeMap<String, Pool>,
    pub hypervisor: Hypervisor,
    /// Where downloads from the factory's host names go.
    pub factory_endpoint: Option<FactoryEndpoint>,
    /// A cluster without quorum refuses writes.
    pub quorate: bool,
    /// Storages whose lock somebody else holds: nothing can be allocated there.
    pub locked_storages: BTreeSet<String>,
    pub broadcast: Broadcast,
    pub incidents: Incidents,
    /// Addresses that are reserved on vnets.
    pub ipam: Ipam,
    /// By VMID.
    ha: BTreeMap<u32, ha::Resource>,
    /// Where the recordings' download server answers, when there is none of its own.
    pub served: Option<Served>,
    /// Where this face answers: its clients may know it under another port than the site's own 8006.
    pub own: Option<SocketAddr>,
    /// By node: address with prefix length, and gateway, of its first bridge.
    pub addresses: BTreeMap<String, (String, String)>,
    /// By node: its own certificate and the authority's.
    certificates: BTreeMap<String, Vec<certificates::Shown>>,
    sessions: login::Sessions,
    consoles: u16,
    terminals: Vec<console::Terminal>,
    pids: u32,
    began: Instant,
}

impl State {
    /// The site as somebody left it: pools, and guests with their disks.
    pub fn new(site: &Site) -> Self {
        let mut state = Self {
            release: Release::of(&site.pve),
            vms: BTreeMap::new(),
            volumes: Volumes::new(),
            tasks: Tasks::default(),
            pools: site.pools.iter().map(|pool| (pool.clone(), Pool::default())).collect(),
            hypervisor: Hypervisor::default(),
            factory_endpoint: None,
            quorate: true,
            locked_storages: BTreeSet::new(),
            broadcast: Broadcast::default(),
            incidents: Incidents::default(),
            ipam: Ipam::default(),
            ha: BTreeMap::new(),
            served: None,
            own: None,
            addresses: BTreeMap::new(),
            certificates: BTreeMap::new(),
            sessions: login::Sessions::default(),
            consoles: 0,
            terminals: Vec::new(),
            pids: 0,
            began: Instant::now(),
        };
        for guest in &site.guests {
            state.adopt(site, guest);
        }
        state
    }

    /// A VM that was there before the lab began. What its description gets wrong stays out of its configuration.
    fn adopt(&mut self, site: &Site, guest: &Guest) {
        let schema = self.release.schema();
        let mut options: Params = guest.config.clone();
        options.insert("name".into(), guest.name.clone());
        if !guest.tags.is_empty() {
            options.insert("tags".into(), guest.tags.clone());
        }
        for (option, text) in options.iter_mut().filter(|(option, _)| !drive::is_name(option)) {
            *text = options::canonical(schema, option, text);
        }
        let mut shop = Workshop::new(
            site,
            &mut self.volumes,
            &self.locked_storages,
            self.release,
            (&guest.node, guest.vmid),
            now(),
        );
        for option in options.keys().filter(|option| drive::is_name(option)).cloned().collect::<Vec<_>>() {
            let asked = options.remove(&option).map(|text| Params::from([(option, text)])).unwrap_or_default();
            options.extend(shop.drives(&asked).unwrap_or_default());
        }
        if !options.contains_key("boot") {
            options.insert("boot".into(), options::default_boot(schema, &options));
        }
        options.entry("smbios1".into()).or_insert_with(|| format!("uuid={}", uuid::Uuid::new_v4()));
        options.entry("vmgenid".into()).or_insert_with(|| uuid::Uuid::new_v4().to_string());
        options.insert("meta".into(), format!("creation-qemu={},ctime={}", self.release.qemu(), now()));
        for (_, card) in start::nets(schema, &options) {
            // Whoever made it was told when there was no address; the lab has nobody to tell.
            drop(self.ipam.reserve((site, self.release), &card, (guest.vmid, Some(&guest.name))));
        }
        self.vms.insert(guest.vmid, Vm { node: guest.node.clone(), config: options, ..Vm::default() });
    }

    /// The VM `vmid`, if it lives on `node`.
    pub fn vm_on(&self, node: &str, vmid: u32) -> Option<&Vm> {
        self.vms.get(&vmid).filter(|vm| vm.node == node)
    }

    /// Address with prefix length, and gateway, of a node.
    fn address_of(&self, node: &str) -> (&str, &str) {
        self.addresses.get(node).map_or(("192.0.2.10/24", "192.0.2.1"), |(cidr, gateway)| (cidr, gateway))
    }

    fn next_pid(&mut self) -> u32 {
        self.pids += 1;
        3000 + self.pids
    }
}

/// Serves the face over TLS with `leaf`, and powers on the guests that the site says are running.
///
/// Dropping the handle ends the server and its connections; workers that are
/// under way end by themselves.
pub fn serve(shared: Shared, listener: TcpListener, ca: &SiteCa, leaf: &Leaf) -> ServerHandle {
    {
        let mut world = shared.lock();
        world.pve.own = listener.local_addr().ok();
        let nodes = world.site.nodes.iter().enumerate().filter(|(index, node)| *index == 0 || node.trusted);
        let shown = nodes.map(|(index, node)| {
            let own = if index == 0 { leaf.clone() } else { ca.leaf(std::slice::from_ref(&node.name), &[]) };
            let both = [("pve-ssl.pem", own.pem()), ("pve-root-ca.pem", &ca.pem())];
            (node.name.clone(), both.map(|(file, pem)| certificates::shown(file, pem)).into())
        });
        world.pve.certificates = shown.collect();
        let running = world.site.guests.iter().filter(|guest| guest.running).map(|guest| guest.vmid);
        for vmid in running.collect::<Vec<_>>() {
            power_on(&mut world, vmid);
        }
        // The site was there before its clients: what they make is news to the status daemons.
        if !world.pve.broadcast.by_hand {
            speak(&mut world);
        }
    }
    shared.wake();
    let silence = shared.lock().site.clock.span(server::SILENCE);
    super::http::serve(listener, Some(leaf.server_config()), Limits { silence, ..Limits::PVE }, move |request, peer| {
        server::handle(shared.clone(), request, peer)
    })
}

/// Starts a VM as its node would.
pub(in crate::lab) fn power_on(world: &mut World, vmid: u32) {
    if hypervisor::is_running(world, vmid) {
        return;
    }
    let Some(hardware) = start::hardware(world, vmid) else { return };
    if hypervisor::power_on(world, hardware).is_ok()
        && let Some(vm) = world.pve.vms.get_mut(&vmid)
    {
        vm.started = Some(Instant::now());
    }
}

/// Frees a volume, and with it whatever a machine wrote there. False if there was none.
fn free(world: &mut World, node: &str, volid: &str) -> bool {
    let Some(place) = volume::place(&world.site, node, volid) else { return false };
    let was = world.pve.volumes.remove(&place).is_some();
    if was {
        world.fleet.erase(volid);
    }
    was
}

/// Epoch seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
