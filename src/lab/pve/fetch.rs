//! Fetching on the node's behalf.
//!
//! The lab never leaves loopback: the factory's host names are reached at the
//! lab's own factory, addresses of loopback are reached as they are, and no
//! other name resolves.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use url::{Host, Url};

use crate::lab::fixture::Served;
use crate::lab::world::World;

/// Where the site's names of the Image Factory lead.
#[derive(Clone, Debug)]
pub struct FactoryEndpoint {
    pub hosts: Vec<String>,
    pub address: SocketAddr,
    /// What its certificate is checked with.
    pub ca_pem: String,
}

/// What a node can reach.
#[derive(Clone, Debug)]
pub(super) struct Internet {
    factory: Option<FactoryEndpoint>,
    served: Option<Served>,
    own: Option<SocketAddr>,
}

impl Internet {
    pub(super) fn of(world: &World) -> Self {
        let pve = &world.pve;
        Self { factory: pve.factory_endpoint.clone(), served: pve.served, own: pve.own }
    }

    /// The file comes from an Image Factory, and not from a server beside the node.
    pub(super) fn is_far(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        self.factory.as_ref().is_some_and(|factory| factory.hosts.iter().any(|known| known == host))
    }
}

/// The port on which every node serves its API.
const API_PORT: u16 = 8006;
/// The port of the recordings' download server.
const SERVED_PORT: u16 = 8099;

/// A response, or the headers of one.
pub(super) struct Fetched {
    pub status: u16,
    pub reason: String,
    pub body: Bytes,
    pub length: Option<u64>,
    pub mime: Option<String>,
    pub disposition: Option<String>,
}

/// Why nothing came back.
pub(super) enum Unreachable {
    Name(String),
    Refused { host: String, port: u16 },
    Untrusted { host: String, port: u16 },
    Broken(String),
}

/// What is too long for a lab's image.
const LIMIT: usize = 256 << 20;

/// Fetches `url`; only its headers when `head` is set.
pub(super) async fn fetch(url: &Url, head: bool, verify: bool, internet: &Internet) -> Result<Fetched, Unreachable> {
    let factory = internet.factory.as_ref();
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let ours = factory.filter(|factory| factory.hosts.contains(&host));
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain("localhost")) => true,
        _ => false,
    };
    if ours.is_none() && !loopback {
        return Err(Unreachable::Name(host));
    }
    let broken = |error: reqwest::Error| Unreachable::Broken(error.to_string());
    // The download tool of a node trusts public authorities, of which the factory's is one here. It does not know the
    // cluster's own.
    let roots = ours.and_then(|factory| reqwest::Certificate::from_pem(factory.ca_pem.as_bytes()).ok());
    let mut builder = reqwest::Client::builder().no_proxy().tls_certs_only(roots);
    if !verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(factory) = ours {
        builder = builder.resolve(&host, factory.address);
    }
    let client = builder.build().map_err(broken)?;
    let mut target = url.clone();
    if let Some(factory) = ours {
        // The name stays for the certificate; only the port is the lab's.
        target.set_port(Some(factory.address.port())).map_err(|()| Unreachable::Name(host.clone()))?;
    }
    if let (true, API_PORT, Some(own)) = (loopback, port, internet.own) {
        // Nobody but a test can give the lab's face the port that a node's has.
        target.set_port(Some(own.port())).map_err(|()| Unreachable::Name(host.clone()))?;
    }
    let request = if head { client.head(target) } else { client.get(target) };
    let response = match request.send().await.map_err(|error| classify(&error, host.clone(), port)) {
        Err(Unreachable::Refused { .. }) if loopback && port == SERVED_PORT && internet.served.is_some() => {
            return Ok(instead(url.path(), head, internet.served));
        }
        other => other?,
    };
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (mime, disposition) = (text(CONTENT_TYPE), text(CONTENT_DISPOSITION));
    let length = text(reqwest::header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let status = response.status();
    let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let phrase = phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned());
    let reason = phrase.or_else(|| status.canonical_reason().map(str::to_owned)).unwrap_or_default();
    let body = if head { Bytes::new() } else { response.bytes().await.map_err(broken)? };
    if body.len() > LIMIT {
        return Err(Unreachable::Broken("the file is too long for the lab".into()));
    }
    Ok(Fetched { status: status.as_u16(), reason, body, length, mime, disposition })
}

/// The answer of the recordings' download server, which is part of their site.
fn instead(path: &str, head: bool, served: Option<Served>) -> Fetched {
    let Some((data, mime)) = served.and_then(|served| served.file(path)) else {
        let body = Bytes::new();
        return Fetched {
            status: 404,
            reason: "File not found".into(),
            body,
            length: None,
            mime: None,
            disposition: None,
        };
    };
    let (length, mime) = (Some(data.len() as u64), Some(mime.to_owned()));
    let body = if head { Bytes::new() } else { data.into() };
    Fetched { status: 200, reason: "OK".into(), body, length, mime, disposition: None }
}

fn classify(error: &reqwest::Error, host: String, port: u16) -> Unreachable {
    let text = format!("{error:?}");
    if text.contains("ConnectionRefused") {
        Unreachable::Refused { host, port }
    } else if text.contains("Certificate") || text.contains("UnknownIssuer") {
        Unreachable::Untrusted { host, port }
    } else {
        Unreachable::Broken(error.to_string())
    }
}
