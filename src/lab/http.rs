//! The HTTPS server under every HTTP face of the lab.
//!
//! hyper does the protocol; what it lacks is here: answers that never come
//! ([`Hangup`]), keep-alive with Proxmox's bounds, and a server that is gone as
//! soon as its [`ServerHandle`] is dropped, with all its connections.

pub mod line;
pub mod stream;
mod wire;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::address::Socket;
use line::{Fray, Line, Plug};

pub type Request = http::Request<Incoming>;
pub type Response = http::Response<Full<Bytes>>;

/// The connection ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed without an answer")]
pub struct Hangup;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// What the client proved to own, leaf first; empty unless the server asked.
    pub certificates: Vec<CertificateDer<'static>>,
    /// What came since the last answer, as far as the wire keeps it.
    head: wire::Head,
    /// The connection itself.
    pub line: Line,
}

impl Peer {
    /// A header's value with the white space at its end; `None` where the wire keeps no heads.
    pub fn raw_header(&self, name: &str) -> Option<Vec<u8>> {
        self.head.value(name)
    }
}

/// What a connection is after a 101.
pub type Session = Box<dyn FnOnce(Stream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;
/// The bytes of such a connection.
pub type Stream = TokioIo<hyper::upgrade::Upgraded>;

/// Carries a [`Session`] from the handler to its connection.
#[derive(Clone)]
struct Upgrade(Arc<Mutex<Option<Session>>>);

/// Lets the connection go on as `session` when this answer is out. Only for a 101.
pub fn become_session(response: &mut Response, session: Session) {
    response.extensions_mut().insert(Upgrade(Arc::new(Mutex::new(Some(session)))));
}

/// How long a connection may live.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub idle: Duration,
    /// Requests that one connection may carry.
    pub requests: u32,
    /// Close after every status of 400 and above.
    pub close_on_error: bool,
    /// Heads that are malformed or too large are answered (or not) as pve-http-server does.
    pub proxmox: bool,
    /// How long a connection stays open whose head is too large for any answer.
    pub silence: Duration,
}

impl Limits {
    /// pve-http-server 6.0: 5 s idle, 100 requests, and every error closes.
    pub const PVE: Self = Self {
        idle: Duration::from_secs(5),
        requests: 100,
        close_on_error: true,
        proxmox: true,
        silence: Duration::ZERO,
    };
    /// An ordinary server.
    pub const PLAIN: Self = Self {
        idle: Duration::from_secs(60),
        requests: u32::MAX,
        close_on_error: false,
        proxmox: false,
        silence: Duration::ZERO,
    };
}

/// A running server. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl ServerHandle {
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        // The task owns the set of its connections, so aborting it ends them all.
        self.accepting.abort();
    }
}

/// Serves `handler` on `socket`: over TLS when a configuration is given, else in plain text.
///
/// The handler may run many times at once. It gets the request with its body
/// unread, and answers or hangs up.
pub fn serve<H, F>(
    socket: impl Into<Socket>,
    tls: Option<Arc<rustls::ServerConfig>>,
    limits: Limits,
    handler: H,
) -> ServerHandle
where
    H: Fn(Request, Arc<Peer>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Hangup>> + Send + 'static,
{
    let socket = socket.into();
    let address = socket.local_addr().expect("a bound listener has an address");
    let acceptor = tls.map(TlsAcceptor::from);
    #[expect(clippy::disallowed_methods, reason = "a server of the lab runs beside its clients")]
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = socket.accept() => {
                    // An accept error is about one connection (or about too many): the next may do.
                    let Ok((stream, address)) = accepted else {
                        #[expect(clippy::disallowed_methods, reason = "nothing tells when there are sockets again")]
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    connections.spawn(connection(stream, address, acceptor.clone(), limits, handler.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    ServerHandle { address, accepting }
}

async fn connection<H, F>(stream: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>, limits: Limits, handler: H)
where
    H: Fn(Request, Arc<Peer>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Hangup>> + Send + 'static,
{
    // Answers are small and waited for.
    drop(stream.set_nodelay(true));
    let line = Line::default();
    let stranger = Peer { address, certificates: Vec::new(), head: wire::Head::default(), line: line.clone() };
    let mut first = [0];
    if limits.proxmox && tls.is_some() && matches!(stream.peek(&mut first).await, Ok(1) if first[0] != TLS_HANDSHAKE) {
        return converse(stream, stranger, limits, |request, _| async move { Ok(to_https(&request)) }).await;
    }
    let stream = Plug::new(stream, line.clone());
    let Some(acceptor) = tls else {
        return converse(Fray::new(stream, line), stranger, limits, handler).await;
    };
    let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await else { return };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let peer = Peer { certificates, ..stranger };
    let stream = Fray::new(stream, line);
    if limits.proxmox {
        converse(wire::Wire::new(stream, peer.head.clone()), peer, limits, handler).await;
    } else {
        converse(stream, peer, limits, handler).await;
    }
}

/// The first byte of every TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

/// The answer to a plain request on a TLS port: reads are sent elsewhere, writes have to be sent again as they are.
fn to_https(request: &Request) -> Response {
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let (status, text) = if matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
        (301, "Moved Permanently")
    } else {
        (308, "Permanent Redirect")
    };
    let mut response = answer(status, text, "", text);
    if let Ok(location) = HeaderValue::try_from(format!("https://{host}{path}")) {
        response.headers_mut().insert(http::header::LOCATION, location);
    }
    response
}

async fn converse<S, H, F>(stream: S, peer: Peer, limits: Limits, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request, Arc<Peer>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Hangup>> + Send + 'static,
{
    let (head, peer) = (peer.head.clone(), Arc::new(peer));
    let served = Arc::new(AtomicU32::new(0));
    let upgraded = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&upgraded);
    let service = service_fn(move |mut request: Request| {
        let slot = Arc::clone(&slot);
        let becoming = hyper::upgrade::on(&mut request);
        let count = served.fetch_add(1, Ordering::Relaxed) + 1;
        let asked =
            request.headers().get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        let ends = asked || request.version() == http::Version::HTTP_10;
        let answer = handler(request, Arc::clone(&peer));
        async move {
            let mut response = answer.await?;
            if let Some(Upgrade(session)) = response.extensions_mut().remove() {
                let session = session.lock().unwrap_or_else(PoisonError::into_inner).take();
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = session.map(|session| (becoming, session));
            }
            let last = ends || count >= limits.requests || (limits.close_on_error && response.status().as_u16() >= 400);
            let says = if last { "close" } else { "Keep-Alive" };
            response.headers_mut().entry(CONNECTION).or_insert(HeaderValue::from_static(says));
            Ok::<_, Hangup>(stream::sent(response))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.idle).title_case_headers(true);
    if limits.proxmox {
        // One write for the head, so that the filter sees it whole.
        builder.max_headers(63).writev(false);
    }
    // Whatever ended it, the connection is over and its client knows.
    {
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        drop(connection.as_mut().await);
        if head.is_mute() {
            #[expect(clippy::disallowed_methods, reason = "the server lets such a client wait")]
            tokio::time::sleep(limits.silence).await;
        }
    }
    // Here, and not in a task of its own, so that it ends with the server.
    let becomes = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((becoming, session)) = becomes
        && let Ok(stream) = becoming.await
    {
        session(TokioIo::new(stream)).await;
    }
}

/// An answer with a status line of its own. Reason phrases end at the first line break.
pub fn answer(status: u16, reason: &str, content_type: &str, body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(Full::new(body.into()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let line: Vec<u8> = reason.bytes().take_while(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let line = line.into_iter().filter(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f).collect::<Vec<_>>();
    if let Ok(phrase) = ReasonPhrase::try_from(line) {
        response.extensions_mut().insert(phrase);
    }
    if let Ok(value) = HeaderValue::from_str(content_type)
        && !content_type.is_empty()
    {
        response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    }
    response
}

/// The same answer without Content-Length: the end of the connection ends it.
pub fn without_length(mut response: Response) -> Response {
    response.headers_mut().insert(wire::NO_LENGTH, HeaderValue::from_static("1"));
    response
}

/// The same answer with another body.
pub async fn rewritten(response: Response, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    Response::from_parts(parts, Full::new(change(&body.to_bytes()).into()))
}

/// The request's whole body, or `None` if it is longer than `limit` bytes or breaks off.
pub async fn body(request: Incoming, limit: usize) -> Option<Bytes> {
    Limited::new(request, limit).collect().await.ok().map(http_body_util::Collected::to_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::tls::SiteCa;

    async fn get(client: &reqwest::Client, address: SocketAddr, path: &str) -> Result<reqwest::Response, String> {
        client.get(format!("https://{address}{path}")).send().await.map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn answers_over_tls_hangs_up_and_stops_with_its_handle() {
        let ca = SiteCa::new("lab");
        let leaf = ca.leaf(&[], &["127.0.0.1".parse().unwrap()]);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = serve(listener, Some(leaf.server_config()), Limits::PVE, |request, _| async move {
            match request.uri().path() {
                "/hangup" => Err(Hangup),
                "/bad" => Ok(answer(500, "no such thing\nor so", "text/plain", "no")),
                _ => Ok(answer(200, "OK", "", "yes")),
            }
        });
        let root = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();

        let good = get(&client, server.address(), "/").await.unwrap();
        assert_eq!(good.headers()["connection"], "Keep-Alive");
        assert_eq!(good.text().await.unwrap(), "yes");
        let bad = get(&client, server.address(), "/bad").await.unwrap();
        assert_eq!(bad.headers()["connection"], "close");
        let phrase = bad.extensions().get::<ReasonPhrase>().expect("a reason of its own").as_bytes().to_vec();
        assert_eq!(phrase, b"no such thing");
        assert!(get(&client, server.address(), "/hangup").await.is_err());

        let address = server.address();
        drop(server);
        tokio::task::yield_now().await;
        assert!(get(&client, address, "/").await.is_err());
    }
}
