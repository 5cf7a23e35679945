//! One TCP connection, its TLS session, and an HTTP/2 channel over it that is never replaced by another.
//!
//! tonic would reconnect behind our back. The channel here is given exactly
//! one stream: when that is gone, calls fail and the caller dials again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::tls::{self, Seen, Trust};
use super::{APID_PORT, Credentials, TalosError};
use crate::reach::Reach;

/// For TCP: long enough for the one repetition of a lost SYN, which comes after a second. Silent addresses are probed
/// often, and whoever probes several in turn waits this long for each.
const CONNECT: Duration = Duration::from_millis(1500);

/// For TLS. A machine that boots may be slow; one that is somebody's tarpit must not hold us.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// A connection that stands.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) channel: Channel,
    /// The site's own address, for messages.
    pub(super) address: SocketAddr,
    pub(super) seen: Seen,
    pub(super) alert: Alert,
}

/// The TLS alert that the other side sent after the handshake, if it did.
///
/// This is how a machine refuses a client certificate under TLS 1.3. The call that runs into it fails as "cancelled"
/// or "unknown", depending on who is first to notice, so the alert is noted where it is read.
#[derive(Clone, Default)]
pub(super) struct Alert(Arc<Mutex<Option<AlertDescription>>>);

impl Alert {
    pub(super) fn get(&self) -> Option<AlertDescription> {
        *self.0.lock().expect("nothing panics while it holds this lock")
    }

    fn note(&self, error: &io::Error) {
        if let Some(rustls::Error::AlertReceived(alert)) = tls_error(error) {
            *self.0.lock().expect("nothing panics while it holds this lock") = Some(*alert);
        }
    }
}

/// A connection that came to nothing, and what was seen of the other side before it did.
pub(super) struct Failed {
    pub(super) error: TalosError,
    pub(super) seen: Seen,
}

impl From<TalosError> for Failed {
    fn from(error: TalosError) -> Self {
        Self { error, seen: Seen::default() }
    }
}

/// Dials `ip` where `reach` says it is; the certificate is checked for `ip` itself.
pub(super) async fn dial(
    reach: &Reach,
    ip: IpAddr,
    trust: Trust,
    credentials: Option<&Credentials>,
) -> Result<Line, Failed> {
    let address = SocketAddr::new(ip, APID_PORT);
    let (config, seen) = tls::config(trust, credentials)?;
    let look = || seen.lock().expect("nothing panics while it holds this lock").clone();
    let late = |doing, after| Failed { error: TalosError::Timeout { address, doing, after }, seen: look() };
    let unreachable = |source| Failed::from(TalosError::Unreachable { address, source });
    let connecting = timeout(CONNECT, TcpStream::connect(reach.socket(ip, APID_PORT)));
    let tcp = connecting.await.map_err(|_| late("connect", CONNECT))?.map_err(unreachable)?;
    // Calls are small and wait for each other: Nagle would only delay them.
    tcp.set_nodelay(true).map_err(unreachable)?;
    let shaking = timeout(HANDSHAKE, TlsConnector::from(Arc::new(config)).connect(ServerName::from(ip), tcp));
    let stream = shaking.await.map_err(|_| late("TLS handshake", HANDSHAKE))?.map_err(|source| {
        let seen = look();
        let meaning = seen.meaning().or_else(|| refused(&source));
        Failed { error: TalosError::Tls { address, meaning, source }, seen }
    })?;
    let alert = Alert::default();
    let channel = channel(Noting { stream, alert: alert.clone() }, address).await?;
    Ok(Line { channel, address, seen: look(), alert })
}

/// With TLS 1.2 our certificate is refused within the handshake.
fn refused(error: &io::Error) -> Option<super::Meaning> {
    match tls_error(error)? {
        rustls::Error::AlertReceived(_) => Some(super::Meaning::OurCertificateRefused),
        _ => None,
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

async fn channel(stream: Noting, address: SocketAddr) -> Result<Channel, TalosError> {
    let only = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = only.lock().expect("nothing panics while it holds this lock").take();
        std::future::ready(stream.ok_or_else(|| io::Error::other("the connection was lost")))
    });
    // `http`, because for `https` tonic insists on TLS of its own.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a valid URL");
    endpoint.connect_with_connector(connector).await.map_err(|error| TalosError::Tls {
        address,
        meaning: None,
        source: io::Error::other(error),
    })
}

/// The TLS stream, with an ear for alerts.
struct Noting {
    stream: TlsStream<TcpStream>,
    alert: Alert,
}

impl AsyncRead for Noting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if let Err(error) = &result {
            self.alert.note(error);
        }
        Poll::Ready(result)
    }
}

impl Noting {
    /// Whoever refuses us sends its alert and hangs up, so that our next write may fail before anybody reads why.
    fn look_for_alert(&mut self, cx: &mut Context<'_>) {
        let mut scratch = [0; 64];
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut scratch));
        if let Poll::Ready(Err(error)) = read {
            self.alert.note(&error);
        }
    }
}

impl AsyncWrite for Noting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        if result.is_err() {
            self.look_for_alert(cx);
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        if result.is_err() {
            self.look_for_alert(cx);
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
