//! A server that can do what real ones do wrong: odd reason phrases, answers too early, none at all.
//!
//! By hand and not by hyper, so that a test sees the exact bytes of a body and decides when the connection ends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::pve::{Fingerprint, Options, Pve, Trust};
use crate::secrets::{Secret, Token};

pub(super) const TOKEN: &str = "talos@pve!ci=00000000-0000-4000-8000-000000000012";

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// `GET /version`: without the `/api2/json` that all share, percent-encoding as it was.
    pub(super) request: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("this body is text")
    }
}

#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Status, reason phrase as raw bytes, body.
    Answer(u16, Vec<u8>, String),
    /// The connection ends without a word.
    Hangup,
    /// The body breaks off.
    Torn,
}

/// 200 with `data`, given as JSON.
pub(super) fn data(json: &str) -> Reply {
    Reply::Answer(200, b"OK".into(), format!("{{\"data\":{json}}}"))
}

pub(super) fn refuse(status: u16, reason: &str, body: &str) -> Reply {
    Reply::Answer(status, reason.into(), body.into())
}

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Handler = Arc<dyn Fn(Seen) -> Answering + Send + Sync>;

/// Serves until it is dropped.
pub(super) struct Server {
    pub(super) url: Url,
    pub(super) fingerprint: Fingerprint,
    /// PEM of the CA that signed the server's certificate.
    pub(super) ca: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One certificate authority and one leaf for 127.0.0.1, as a node has them.
struct Identity {
    ca: String,
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn identity() -> Identity {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address is a good name");
    let leaf = params.signed_by(&key, &ca).expect("a certificate");
    Identity { ca: ca.pem(), leaf: leaf.der().clone(), key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
}

impl Server {
    /// Answers `GET /version` as PVE 9 does and everything else by `handler`.
    pub(super) async fn start<F: Future<Output = Reply> + Send + 'static>(
        handler: impl Fn(Seen) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::start_as(identity(), handler).await
    }

    /// Shows a certificate whose key it does not have, as anybody can who has seen a handshake.
    pub(super) async fn start_impostor() -> Self {
        let identity = Identity { key: identity().key, ..identity() };
        Self::start_as(identity, async |_| data("null")).await
    }

    async fn start_as<F: Future<Output = Reply> + Send + 'static>(
        identity: Identity,
        handler: impl Fn(Seen) -> F + Send + Sync + 'static,
    ) -> Self {
        let fingerprint = Fingerprint::of(&identity.leaf);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // Not `with_single_cert`: that notices when key and certificate do not belong together.
        let key = provider.key_provider.load_private_key(identity.key).expect("a key of a kind we know");
        let certified = rustls::sign::CertifiedKey::new(vec![identity.leaf], key);
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the usual versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        let task = spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), handler, Arc::clone(&seen)));
        let url = format!("https://{address}").parse().expect("an address makes a URL");
        Self { url, fingerprint, ca: identity.ca, seen, task }
    }

    pub(super) fn options(&self) -> Options {
        Options { endpoints: vec![self.url.clone()], token: token(), trust: Trust::Fingerprint(self.fingerprint) }
    }

    pub(super) async fn connect(&self) -> Pve {
        Pve::connect(self.options()).await.expect("the server serves")
    }

    /// All requests after the one that the connection began with.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|seen| seen.request != "GET /version").cloned().collect()
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.request).collect()
    }
}

pub(super) fn token() -> Token {
    Token::parse(&Secret::new(TOKEN)).expect("this is a token")
}

#[expect(clippy::disallowed_methods, reason = "the server of a test has to run beside the test")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(future)
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, handler: Handler, seen: Arc<Mutex<Vec<Seen>>>) {
    // Dropped with this future, so that a server that goes away takes its connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (tls, handler, seen) = (tls.clone(), Arc::clone(&handler), Arc::clone(&seen));
        connections.spawn(async move {
            // A client that refuses our certificate ends here, as it should.
            let Ok(stream) = tls.accept(socket).await else { return };
            let mut stream = BufReader::new(stream);
            while let Some(request) = receive(&mut stream).await {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                let reply = match request.request.as_str() {
                    "GET /version" => data(r#"{"version":"9.2.11","release":"9.2","repoid":"0"}"#),
                    _ => handler(request).await,
                };
                let (status, reason, body, length) = match reply {
                    Reply::Hangup => return,
                    Reply::Torn => (200, b"OK".to_vec(), "{\"data\":".to_owned(), 100),
                    Reply::Answer(status, reason, body) => (status, reason, body.clone(), body.len()),
                };
                let mut bytes = format!("HTTP/1.1 {status} ").into_bytes();
                bytes.extend(reason);
                bytes.extend(format!("\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes());
                let sent = stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok();
                if !sent || status >= 400 || length != body.len() {
                    return;
                }
            }
        });
    }
}

/// An upload is answered by its head alone where its path says so: a refusal does not wait for the body.
async fn receive(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let request = line.trim_end().strip_suffix(" HTTP/1.1")?.replacen(" /api2/json", " ", 1);
    let mut seen = Seen { request, ..Seen::default() };
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => seen.headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let length = seen.header("content-length").map_or(0, |length| length.parse().expect("a length is a number"));
    if !seen.request.contains("/refusing/") {
        seen.body = vec![0; length];
        stream.read_exact(&mut seen.body).await.ok()?;
    }
    Some(seen)
}
