//! The lab: a simulated site inside the binary.
//!
//! One world, several faces. [`pve`] is Proxmox's HTTPS API over its own state,
//! [`fleet`] the machines that its VMs boot, [`talos`] and [`kube`] what those
//! machines answer, [`factory`] the Image Factory. Faces translate; the states
//! decide. Nothing here may look at the product's profile, plan or journal: the
//! lab obeys only what arrives on the wire.

pub mod address;
pub mod cidata;
pub mod clock;
pub mod driver;
pub mod factory;
pub mod faults;
pub mod fixture;
pub mod fleet;
pub mod hardware;
pub mod http;
pub mod image;
pub mod kube;
pub mod pve;
pub mod site;
pub mod sites;
pub mod talos;
pub mod tls;
mod vfat;
mod watched;
pub mod world;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::reach::Reach;
use crate::secrets::Secret;
use address::Block;
use fixture::Fixture;
use site::{Site, TOKEN_ID, Token};
use tls::SiteCa;
use world::Shared;

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct LabOptions {
    pub site: Site,
    /// Port of the Proxmox API on 127.0.0.1; 0 is any.
    pub port: u16,
    /// What a recording says beyond the site's description, which is its [`Fixture::site`].
    pub fixture: Option<Fixture>,
}

/// Why a lab does not start.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error(
        "find a free loopback network 127.64.0.0 to 127.250.0.0: this platform does not route 127.0.0.0/8, or 187 labs are running"
    )]
    NoNetwork,
    #[error("the site's network {0} does not fit into a loopback network: it has to be a /16 or smaller")]
    NetworkTooLarge(ipnet::Ipv4Net),
    #[error("listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Where a lab answers, and how to be let in.
#[derive(Clone)]
pub struct Endpoints {
    pub pve: Url,
    /// The authority behind `pve` and `factory`.
    pub ca_pem: String,
    /// SHA-256 of the Proxmox certificate, `AB:CD:…`.
    pub fingerprint: String,
    /// `user@realm!name`.
    pub token_id: String,
    pub token_secret: Secret,
    pub factory: Url,
    /// How addresses of the site's network are dialled.
    pub reach: Reach,
}

/// A running lab. It stops when it is dropped.
pub struct Lab {
    shared: Shared,
    endpoints: Endpoints,
    driver: JoinHandle<()>,
    _pve: http::ServerHandle,
    _factory: http::ServerHandle,
}

impl Lab {
    /// Starts every face of the site.
    pub async fn start(options: LabOptions) -> Result<Self, LabError> {
        let LabOptions { mut site, port, fixture } = options;
        if site.network.cidr.prefix_len() < 16 {
            return Err(LabError::NetworkTooLarge(site.network.cidr));
        }
        let block = Block::claim().ok_or(LabError::NoNetwork)?;
        let reach = block.reach(site.network.cidr);
        let (pve_listener, pve_address) = listen(port).await?;
        let (factory_listener, factory_address) = listen(0).await?;
        let ca = SiteCa::new("pvetalos lab");
        let nodes = site.nodes.iter().map(|node| node.name.clone());
        let names: Vec<String> =
            site.factory.hosts.iter().cloned().chain(["localhost".to_owned()]).chain(nodes).collect();
        let leaf = ca.leaf(&names, &[Ipv4Addr::LOCALHOST.into()]);
        let token = token(&mut site);
        let known =
            pve::FactoryEndpoint { hosts: site.factory.hosts.clone(), address: factory_address, ca_pem: ca.pem() };
        // Installer references name the factory by the address under which the workstation knows it.
        site.factory.hosts.insert(0, factory_address.to_string());

        let shared = Shared::new(site);
        shared.lock().pve.factory_endpoint = Some(known);
        if let Some(fixture) = &fixture {
            fixture.dress(&mut shared.lock());
            shared.lock().pve.served = Some(fixture.served());
        }
        let factory = factory::serve(&shared, factory_listener, &leaf);
        let pve = pve::serve(shared.clone(), pve_listener, &ca, &leaf);
        #[expect(clippy::disallowed_methods, reason = "the site lives beside its clients")]
        let driver = tokio::spawn(driver::run(shared.clone(), block, reach));
        let url = |address: SocketAddr| Url::parse(&format!("https://{address}")).expect("an address makes a URL");
        let endpoints = Endpoints {
            pve: url(pve_address),
            ca_pem: ca.pem(),
            fingerprint: leaf.fingerprint(),
            token_id: TOKEN_ID.to_owned(),
            token_secret: Secret::new(token),
            factory: url(factory_address),
            reach,
        };
        Ok(Self { shared, endpoints, driver, _pve: pve, _factory: factory })
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The world itself: for tests, and for `lab status`.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Ends every server. The same as dropping it.
    pub fn stop(self) {}
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The task owns the machines' sockets.
        self.driver.abort();
    }
}

async fn listen(port: u16) -> Result<(TcpListener, SocketAddr), LabError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let failed = |source| LabError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// The secret of the lab's own token, which is described unless the site describes one.
fn token(site: &mut Site) -> String {
    let described = site.tokens.entry(TOKEN_ID.to_owned()).or_insert_with(|| Token {
        secret: uuid::Uuid::new_v4().to_string(),
        privsep: false,
        expire: 0,
        comment: None,
    });
    described.secret.clone()
}
