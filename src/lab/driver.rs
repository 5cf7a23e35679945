//! The one task that lets time pass and keeps the machines' sockets as the fleet wishes.
//!
//! The fleet says which sockets should be open; this opens what is missing and
//! ends what is not wished for any more. It sleeps until something changes or
//! falls due, so a lab on the instant clock never sleeps at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::time::Instant;

use super::address::{Block, Socket};
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
type Key = (Ipv4Addr, Port, u32, u64);

/// What a certificate is made for: all addresses of a machine show the same one.
type Shown = (u32, u64, u64, Port);

struct Driver {
    shared: Shared,
    block: Block,
    reach: Reach,
    open: BTreeMap<Key, Open>,
    /// With the time of their making.
    certificates: BTreeMap<Shown, (Arc<ServerConfig>, Instant)>,
}

/// Talos makes the certificate of its API anew this often, with another key.
const ROTATION: Duration = Duration::from_secs(12 * 3600);

/// How soon an address is tried again that somebody still holds.
const HELD: Duration = Duration::from_millis(5);

/// Runs until it is dropped.
pub async fn run(shared: Shared, block: Block, reach: Reach) {
    let mut changes = shared.subscribe();
    let mut driver =
        Driver { shared: shared.clone(), block, reach, open: BTreeMap::new(), certificates: BTreeMap::new() };
    let (mut looks, mut held) = (None, false);
    loop {
        changes.borrow_and_update();
        let (moved, wishes, due) = {
            let mut world = shared.lock();
            let moved = world.advance();
            // Sockets can only have to change when the fleet was looked through, or one could not be had before.
            let stale = looks != Some(world.looks()) || held || driver.rotation().is_some_and(|due| due.is_zero());
            looks = Some(world.looks());
            (moved, stale.then(|| world.fleet.listeners()), world.due())
        };
        if let Some(wishes) = wishes {
            held = driver.reconcile(&wishes).await;
        }
        if moved {
            // For those who wait for a machine. It wakes this loop once more, which then finds nothing.
            shared.wake();
        }
        let due = [due, driver.rotation(), held.then_some(HELD)].into_iter().flatten().min();
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

impl Driver {
    /// When the oldest certificate has to be made anew, as a span from now.
    fn rotation(&self) -> Option<Duration> {
        let rotating = self.certificates.iter().filter(|(known, _)| known.3 != Port::Kubernetes);
        rotating.map(|(_, (_, made))| ROTATION.saturating_sub(made.elapsed())).min()
    }

    /// Answers whether an address is still held by a socket that is about to go.
    async fn reconcile(&mut self, wishes: &[Listener]) -> bool {
        let key = |wish: &Listener| (wish.ip, wish.port, wish.vmid, wish.boot);
        let wanted: BTreeSet<Key> = wishes.iter().map(key).collect();
        let gone: Vec<Key> = self.open.keys().filter(|known| !wanted.contains(*known)).copied().collect();
        for known in gone {
            if let Some(Open::Talos(server, _)) = self.open.remove(&known) {
                server.end();
            }
        }
        let wished: BTreeSet<Shown> = wishes.iter().map(shown).collect();
        let aged = |known: &Shown, made: &Instant| known.3 != Port::Kubernetes && made.elapsed() >= ROTATION;
        let old: BTreeSet<Shown> =
            self.certificates.iter().filter(|(known, (_, made))| aged(known, made)).map(|(known, _)| *known).collect();
        self.certificates.retain(|known, _| wished.contains(known) && !old.contains(known));
        let mut held = false;
        for wish in wishes {
            match self.open.get(&key(wish)) {
                Some(Open::Talos(_, revision) | Open::Failed(revision))
                    if *revision == wish.revision && !old.contains(&shown(wish)) =>
                {
                    continue;
                }
                // Its certificate names everything that the machine may ever be called.
                Some(Open::Kube(_)) => continue,
                Some(Open::Talos(..) | Open::Failed(_)) | None => {}
            }
            let Some(config) = self.certificate(wish) else {
                self.open.insert(key(wish), Open::Failed(wish.revision));
                continue;
            };
            if let Some(Open::Talos(server, revision)) = self.open.get_mut(&key(wish)) {
                server.show(config);
                *revision = wish.revision;
                continue;
            }
            let address = self.reach.socket(IpAddr::V4(wish.ip), wish.port.number());
            // An address outside the site's network exists, and nobody reaches it.
            let bound = if address.ip().is_loopback() { Some(self.block.listen(address).await) } else { None };
            let opened = match bound {
                Some(Ok(socket)) => self.start(socket, config, wish),
                Some(Err(error)) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    held = true;
                    continue;
                }
                Some(Err(_)) | None => Open::Failed(wish.revision),
            };
            self.open.insert(key(wish), opened);
        }
        held
    }

    fn start(&self, socket: Socket, config: Arc<ServerConfig>, wish: &Listener) -> Open {
        let name = self.shared.lock().fleet.machine(wish.vmid).map(|machine| machine.hardware.name.clone());
        let name = name.unwrap_or_default();
        if wish.port == Port::Kubernetes {
            return Open::Kube(kube::serve(&self.shared, socket, config, wish.vmid, name));
        }
        let shared = self.shared.clone();
        let face = Face { shared, vmid: wish.vmid, boot: wish.boot, name, port: wish.port, reach: self.reach };
        Open::Talos(Server::start(socket, config, face), wish.revision)
    }

    fn certificate(&mut self, wish: &Listener) -> Option<Arc<ServerConfig>> {
        if let Some(known) = self.certificates.get(&shown(wish)) {
            return Some(Arc::clone(&known.0));
        }
        let recipe = recipe(&self.shared.lock(), self.reach, wish)?;
        let (mut config, fingerprint) = recipe.make().ok()?;
        if let Some(fingerprint) = fingerprint {
            self.shared.lock().fleet.announce(wish.vmid, &fingerprint);
        }
        let protocol: &[u8] = if wish.port == Port::Kubernetes { b"http/1.1" } else { b"h2" };
        config.alpn_protocols = vec![protocol.to_vec()];
        let config = Arc::new(config);
        self.certificates.insert(shown(wish), (Arc::clone(&config), Instant::now()));
        Some(config)
    }
}

fn shown(wish: &Listener) -> Shown {
    (wish.vmid, wish.boot, wish.revision, wish.port)
}

/// What a socket's certificate is made from: taken from the world under its lock, made outside of it.
enum Recipe {
    Maintenance(Names),
    Mutual { authority: Authority, names: Names, clients: Clients },
}

impl Recipe {
    /// With the fingerprint that the machine tells its console.
    fn make(self) -> Result<(ServerConfig, Option<String>), BadAuthority> {
        match self {
            Self::Maintenance(names) => {
                let (config, fingerprint) = pki::maintenance(&names);
                Ok((config, Some(fingerprint)))
            }
            Self::Mutual { authority, names, clients } => {
                pki::mutual(&authority, &names, clients).map(|config| (config, None))
            }
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
            extra.extend(config.endpoint_host().map(str::to_owned));
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
    let names = Names { common_name, dns, ips: all, ahead: world.fleet.ahead() };
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
