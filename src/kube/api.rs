//! GET, over a connection of its own.
//!
//! Dialled by ourselves rather than through reqwest: the lab is reached at
//! another address than the one that the certificate speaks of, and reqwest cannot map
//! a URL whose host is an address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use super::access::Access;
use super::objects::{List, NodeObject, PodObject};
use super::{KubeError, KubeNode, Pod};
use crate::reach::Reach;
use crate::secrets::Secret;

/// For connecting and for one question each.
const DEADLINE: Duration = Duration::from_secs(5);

/// A list of nodes or system pods of any cluster that this program makes is far below.
const MAX_BODY: usize = 32 << 20;

/// A cluster's API, as its administrator.
pub struct Api {
    access: Access,
    reach: Reach,
}

impl Api {
    /// From a kubeconfig's current context. Its certificate is verified for the server's name or address in the
    /// kubeconfig, also when `reach` leads elsewhere.
    pub fn from_kubeconfig(kubeconfig: &Secret, reach: &Reach) -> Result<Self, KubeError> {
        Ok(Self { access: Access::read(kubeconfig)?, reach: *reach })
    }

    /// Whether the API server calls itself ready. The reason fits after "not yet: ".
    pub async fn ready(&self) -> Result<(), String> {
        self.get("/readyz").await.map(drop).map_err(|error| error.chain())
    }

    pub async fn nodes(&self) -> Result<Vec<KubeNode>, KubeError> {
        let list: List<NodeObject> = self.object("/api/v1/nodes").await?;
        Ok(list.items.into_iter().map(KubeNode::from).collect())
    }

    /// All pods of kube-system.
    pub async fn system_pods(&self) -> Result<Vec<Pod>, KubeError> {
        let list: List<PodObject> = self.object("/api/v1/namespaces/kube-system/pods").await?;
        Ok(list.items.into_iter().map(Pod::from).collect())
    }

    /// The static pods of the control planes: API server, controller manager and scheduler of each.
    pub async fn control_plane_pods(&self) -> Result<Vec<Pod>, KubeError> {
        let mut pods = self.system_pods().await?;
        pods.retain(Pod::is_control_plane);
        Ok(pods)
    }

    async fn object<T: DeserializeOwned>(&self, path: &str) -> Result<T, KubeError> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body).map_err(|source| KubeError::Nonsense {
            server: self.access.server.to_string(),
            path: path.to_owned(),
            source,
        })
    }

    async fn get(&self, path: &str) -> Result<Bytes, KubeError> {
        let late = || KubeError::Timeout {
            server: self.access.server.to_string(),
            path: path.to_owned(),
            seconds: DEADLINE.as_secs(),
        };
        let stream = timeout(DEADLINE, self.connect()).await.map_err(|_| late())?;
        let stream =
            stream.map_err(|source| KubeError::Unreachable { server: self.access.server.to_string(), source })?;
        timeout(DEADLINE, self.ask(stream, path)).await.map_err(|_| late())?
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let server = &self.access.server;
        let host = server.host().ok_or_else(|| io::Error::other("the URL has no host"))?;
        let port = server.port_or_known_default().unwrap_or(443);
        let ip: IpAddr = match host {
            Host::Ipv4(ip) => ip.into(),
            Host::Ipv6(ip) => ip.into(),
            Host::Domain(name) => {
                let mut found = lookup_host((name, port)).await?;
                found.next().map(|address: SocketAddr| address.ip()).ok_or_else(|| io::Error::other("no such name"))?
            }
        };
        let name = match &self.access.tls_name {
            Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            None => name_of(server)?,
        };
        let tcp = TcpStream::connect(self.reach.socket(ip, port)).await?;
        // The end of the handshake and the request are two small writes: the second would wait for the first one's
        // acknowledgement, which the other side delays by 40 ms.
        tcp.set_nodelay(true)?;
        TlsConnector::from(self.access.tls.clone()).connect(name, tcp).await
    }

    async fn ask(&self, stream: TlsStream<TcpStream>, path: &str) -> Result<Bytes, KubeError> {
        let server = || self.access.server.to_string();
        let broken = |source| KubeError::Broken { server: server(), path: path.to_owned(), source };
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = http::Request::get(path)
            .header(http::header::HOST, self.access.server.authority())
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .expect("a path and three headers make a request");
        let exchange = async move {
            let reply = sender.send_request(request).await.map_err(broken)?;
            let status = reply.status();
            let body = Limited::new(reply.into_body(), MAX_BODY).collect().await;
            Ok((status, body.map(http_body_util::Collected::to_bytes)))
        };
        // The connection moves the bytes for the exchange, and ends when that is done. Its own end says nothing that
        // the exchange does not.
        let (answer, _) = futures_util::future::join(exchange, connection).await;
        let (status, body) = answer?;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(source) => broken(*source),
            Err(error) => KubeError::Unreachable { server: server(), source: io::Error::other(error) },
        })?;
        if status.is_success() {
            return Ok(body);
        }
        Err(KubeError::Refused {
            server: server(),
            path: path.to_owned(),
            status: status.as_u16(),
            message: explanation(&body),
        })
    }
}

fn name_of(server: &Url) -> io::Result<ServerName<'static>> {
    match server.host() {
        Some(Host::Ipv4(ip)) => Ok(ServerName::from(IpAddr::from(ip))),
        Some(Host::Ipv6(ip)) => Ok(ServerName::from(IpAddr::from(ip))),
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(io::Error::other),
        None => Err(io::Error::other("the URL has no host")),
    }
}

/// The message of a Kubernetes Status, or of `/readyz` the checks that failed, or the beginning of whatever came.
fn explanation(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Status {
        message: String,
    }
    if let Ok(status) = serde_json::from_slice::<Status>(body) {
        return status.message;
    }
    let text = String::from_utf8_lossy(body);
    let failed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("[-]")).collect();
    if failed.is_empty() { text.trim().chars().take(200).collect() } else { failed.join(", ") }
}

#[cfg(test)]
mod tests;
