//! The one task that lets time pass and keeps the machines' sockets as the fleet wishes.
//!
//! The fleet says which sockets should be open; this opens what is missing and
//! ends what is not wished for any more. It sleeps until something changes or
//! falls due, so a lab on the instant clock never sleeps at all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::fleet::applied::Authority;
use super::fleet::{Listener, Port};
use super::http::ServerHandle;
use super::kube;
use super::talos::pki::{self, Clients, Names};
use super::talos::server::Server;
use super::talos::{Face, pki::BadAuthority};
use super::world::{Shared, World};
use crate::reach::Reach;

/// One open socket. Dropping it ends it.
enum Open {
    Talos(Server, u64),
    Kube(#[expect(dead_code, reason = "it lives as long as this does")] ServerHandle),
    /// It could not be opened, which is not tried again before something about it changes.
    Failed(u64),
}

/// What names a socket: everything but the revision, which only changes its certificate.
type Key = (std::net::Ipv4Addr, Port, u32, u64);

/// Runs until it is dropped.
pub async fn run(shared: Shared, reach: Reach) {
    let mut changes = shared.subscribe();
    let mut open: BTreeMap<Key, Open> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        let (moved, wishes, due) = {
            let mut world = shared.lock();
            let moved = world.advance();
            let due = world.fleet.next_due().map(|due| due.saturating_sub(world.now()));
            (moved, world.fleet.listeners(), due)
        };
        reconcile(&shared, reach, &mut open, &wishes).await;
        if moved {
            // For those who wait for a machine. It wakes this loop once more, which then finds nothing.
            shared.wake();
        }
        tokio::select! {
            woken = changes.changed() => {
                if woken.is_err() {
                    return;
                }
            }
            () = pause(due) => {}
        }
    }
}

/// Until something falls due; forever if nothing will.
#[expect(clippy::disallowed_methods, reason = "the lab's clock")]
async fn pause(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

async fn reconcile(shared: &Shared, reach: Reach, open: &mut BTreeMap<Key, Open>, wishes: &[Listener]) {
    let key = |wish: &Listener| (wish.ip, wish.port, wish.vmid, wish.boot);
    let gone: Vec<Key> = open.keys().filter(|known| !wishes.iter().any(|wish| key(wish) == **known)).copied().collect();
    for known in gone {
        if let Some(Open::Talos(server, _)) = open.remove(&known) {
            server.end();
        }
    }
    for wish in wishes {
        let shown = match open.get(&key(wish)) {
            Some(Open::Talos(_, revision) | Open::Failed(revision)) => Some(*revision),
            // Its certificate names everything that the machine may ever be called.
            Some(Open::Kube(_)) => continue,
            None => None,
        };
        if shown == Some(wish.revision) {
            continue;
        }
        let recipe = recipe(&shared.lock(), reach, wish);
        let Some(Ok(config)) = recipe.map(Recipe::make) else {
            open.insert(key(wish), Open::Failed(wish.revision));
            continue;
        };
        if let Some(Open::Talos(server, revision)) = open.get_mut(&key(wish)) {
            server.show(Arc::new(config));
            *revision = wish.revision;
            continue;
        }
        let opened = match bind(reach, wish).await {
            Some(listener) => start(shared, listener, config, wish),
            None => Open::Failed(wish.revision),
        };
        open.insert(key(wish), opened);
    }
}

fn start(shared: &Shared, listener: TcpListener, mut config: ServerConfig, wish: &Listener) -> Open {
    let name = shared.lock().fleet.machine(wish.vmid).map(|machine| machine.hardware.name.clone());
    let name = name.unwrap_or_default();
    if wish.port == Port::Kubernetes {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        return Open::Kube(kube::serve(shared, listener, Arc::new(config), wish.vmid, name));
    }
    config.alpn_protocols = vec![b"h2".to_vec()];
    let face = Face { shared: shared.clone(), vmid: wish.vmid, boot: wish.boot, name, port: wish.port };
    Open::Talos(Server::start(listener, Arc::new(config), face), wish.revision)
}

/// The socket. One that was just closed may need a moment to be free again.
async fn bind(reach: Reach, wish: &Listener) -> Option<TcpListener> {
    let address = reach.socket(IpAddr::V4(wish.ip), wish.port.number());
    if !address.ip().is_loopback() {
        // An address outside the site's network: it exists, and nobody reaches it.
        return None;
    }
    for _ in 0..200 {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => pause(Some(Duration::from_millis(2))).await,
            Err(_) => return None,
        }
    }
    None
}

/// What a socket's certificate is made from: taken from the world under its lock, made outside of it.
enum Recipe {
    Maintenance(Names),
    Mutual { authority: Authority, names: Names, clients: Clients },
}

impl Recipe {
    fn make(self) -> Result<ServerConfig, BadAuthority> {
        match self {
            Self::Maintenance(names) => Ok(pki::maintenance(&names)),
            Self::Mutual { authority, names, clients } => pki::mutual(&authority, &names, clients),
        }
    }
}

/// `None` when the machine is gone, or nobody has the authority's key.
fn recipe(world: &World, reach: Reach, wish: &Listener) -> Option<Recipe> {
    let system = world.fleet.machine(wish.vmid)?.system.as_ref()?;
    let mut ips: Vec<IpAddr> = system.addresses.iter().map(|address| address.ip.into()).collect();
    ips.extend(system.vips.iter().map(|ip| IpAddr::from(*ip)));
    let mut dns = vec![system.hostname.clone()];
    let config = system.config.as_ref().filter(|_| wish.port != Port::Maintenance);
    let mut common_name = system.hostname.clone();
    if let Some(config) = config {
        let mut extra = config.cert_sans.clone();
        if wish.port == Port::Kubernetes {
            "kube-apiserver".clone_into(&mut common_name);
            ips.extend(config.vips.iter().map(|ip| IpAddr::from(*ip)));
            extra.extend(config.endpoint_host());
            dns.extend(["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"].map(str::to_owned));
        }
        for name in extra {
            match name.parse() {
                Ok(ip) => ips.push(ip),
                Err(_) => dns.push(name),
            }
        }
    } else {
        "maintenance-service.talos.dev".clone_into(&mut common_name);
    }
    // Each address, and the loopback address that stands for it.
    let mut all = vec![IpAddr::from([127, 0, 0, 1])];
    for ip in ips.into_iter().flat_map(|ip| [ip, reach.ip(ip)]) {
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    let names = Names { common_name, dns, ips: all };
    let Some(config) = config else { return Some(Recipe::Maintenance(names)) };
    Some(match wish.port {
        Port::Kubernetes => Recipe::Mutual { authority: config.cluster_ca.clone(), names, clients: Clients::Optional },
        Port::Talos | Port::Maintenance => {
            let key = world.fleet.signing_key(config)?;
            let authority = Authority { cert: config.machine_ca.cert.clone(), key };
            Recipe::Mutual { authority, names, clients: Clients::Exact }
        }
    })
}
