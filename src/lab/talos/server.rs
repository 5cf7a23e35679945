//! One socket of a machine: TLS, HTTP/2, and an end that may come at any moment.
//!
//! A machine that loses power takes its connections with it; one that reboots
//! or reconfigures ends them politely first. tonic offers only the polite way,
//! so every connection carries a `Cut` that ends it from outside.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::metadata::MetadataMap;
use tonic::transport::server::Connected;

use super::Face;
use super::frames::Frames;
use super::gate;
use super::pki::organisations;
use crate::lab::address::Socket;
use crate::lab::faults::gate::Ending;
use crate::lab::http::line::{Line, Plug};
use crate::talos::wire;

/// What Talos takes and sends at most.
const MESSAGE: usize = 32 << 20;

/// How long calls in flight may go on after a polite end.
const GRACE: Duration = Duration::from_secs(2);

/// TLS settings that may be exchanged while the socket stays open.
pub type Tls = Arc<Mutex<Arc<rustls::ServerConfig>>>;

/// A socket that answers. Dropping it ends everything at once.
pub struct Server {
    tls: Tls,
    accepting: tokio::task::JoinHandle<()>,
    polite: Option<oneshot::Sender<()>>,
    cuts: Cuts,
}

impl Server {
    /// Serves `face` on `socket`.
    #[expect(clippy::disallowed_methods, reason = "a server of the lab runs beside its clients")]
    pub fn start(socket: Socket, config: Arc<rustls::ServerConfig>, face: Face) -> Self {
        let tls: Tls = Arc::new(Mutex::new(config));
        let cuts = Cuts::default();
        let (sender, receiver) = mpsc::channel::<Result<Conn, std::io::Error>>(16);
        let (polite, ends) = oneshot::channel::<()>();
        let incoming = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|conn| (conn, receiver))
        });
        let machine = wire::machine::machine_service_server::MachineServiceServer::new(face.clone());
        let storage = wire::storage::storage_service_server::StorageServiceServer::new(face.clone());
        let cluster = wire::cluster::cluster_service_server::ClusterServiceServer::new(face.clone());
        let time = wire::time::time_service_server::TimeServiceServer::new(face.clone());
        let lifecycle = wire::machine::lifecycle_service_server::LifecycleServiceServer::new(face.clone());
        let images = wire::machine::image_service_server::ImageServiceServer::new(face.clone());
        let state = wire::cosi::state_server::StateServer::new(face.clone());
        let router = tonic::transport::Server::builder()
            .layer(gate::layer(face))
            .add_service(machine.max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE))
            .add_service(storage)
            .add_service(cluster)
            .add_service(time)
            .add_service(lifecycle)
            .add_service(images)
            .add_service(state.max_encoding_message_size(MESSAGE));
        tokio::spawn(async move {
            let ended = async move { drop(ends.await) };
            drop(router.serve_with_incoming_shutdown(incoming, ended).await);
        });
        let accepting = tokio::spawn(accept(socket, Arc::clone(&tls), sender, cuts.clone()));
        Self { tls, accepting, polite: Some(polite), cuts }
    }

    /// New connections see this certificate.
    pub fn show(&self, config: Arc<rustls::ServerConfig>) {
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Closes the socket now, and its connections when their calls are done, at the latest after two seconds.
    #[expect(clippy::disallowed_methods, reason = "the grace period of a server that nobody waits for")]
    pub fn end(mut self) {
        self.accepting.abort();
        drop(self.polite.take());
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            drop(self);
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cuts.cut();
    }
}

async fn accept(socket: Socket, tls: Tls, sender: mpsc::Sender<Result<Conn, std::io::Error>>, cuts: Cuts) {
    let mut shaking = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => {
                let Ok((stream, address)) = accepted else { tokio::task::yield_now().await; continue };
                let config = Arc::clone(&tls.lock().unwrap_or_else(PoisonError::into_inner));
                shaking.spawn(shake(stream, address, config, sender.clone(), cuts.clone()));
            }
            Some(_) = shaking.join_next() => {}
        }
    }
}

async fn shake(
    stream: TcpStream,
    address: SocketAddr,
    config: Arc<rustls::ServerConfig>,
    sender: mpsc::Sender<Result<Conn, std::io::Error>>,
    cuts: Cuts,
) {
    drop(stream.set_nodelay(true));
    let line = Line::default();
    let hello = TlsAcceptor::from(config).accept(Plug::new(stream, line.clone()));
    let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), hello).await else { return };
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = Peer { address, roles: leaf.map(organisations).unwrap_or_default(), cut: cuts.new_cut(), line };
    drop(sender.send(Ok(Conn { stream, peer, frames: Frames::default() })).await);
}

/// Who calls, as every request carries it.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// The organisations of the client's certificate.
    pub roles: Vec<String>,
    cut: Arc<Cut>,
    line: Line,
}

impl Peer {
    /// The same, with the roles that a call states if the certificate may speak for others: that is how one
    /// machine's API forwards to another's (Talos: pkg/grpc/middleware/authz/injector.go).
    #[must_use]
    pub fn speaking_for(&self, metadata: &MetadataMap) -> Self {
        let stated: Vec<String> =
            metadata.get_all("talos-role").iter().filter_map(|role| role.to_str().ok()).map(str::to_owned).collect();
        let may = self.roles.iter().any(|role| role == "os:impersonator");
        Self { roles: if may && !stated.is_empty() { stated } else { self.roles.clone() }, ..self.clone() }
    }

    /// Ends the connection that the call came over; the call is never answered.
    pub(in crate::lab) async fn hang_up<T>(&self, ending: Ending) -> T {
        if ending == Ending::Reset {
            self.line.reset();
        }
        self.cut.cut();
        std::future::pending().await
    }

    /// The connection ends in the middle of what is written next.
    pub fn break_off(&self) {
        self.line.break_off();
    }

    /// The next message has other bytes.
    pub fn garble(&self) {
        self.cut.garble.store(true, Ordering::SeqCst);
    }
}

/// Ends one connection.
#[derive(Debug, Default)]
struct Cut {
    done: AtomicBool,
    garble: AtomicBool,
    waker: AtomicWaker,
}

impl Cut {
    fn cut(&self) {
        self.done.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    fn check(&self, cx: &Context<'_>) -> std::io::Result<()> {
        self.waker.register(cx.waker());
        if self.done.load(Ordering::SeqCst) { Err(std::io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

/// All connections of a socket.
#[derive(Clone, Default)]
struct Cuts(Arc<Mutex<Vec<Weak<Cut>>>>);

impl Cuts {
    fn new_cut(&self) -> Arc<Cut> {
        let cut = Arc::new(Cut::default());
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.retain(|known| known.strong_count() > 0);
        cuts.push(Arc::downgrade(&cut));
        cut
    }

    fn cut(&self) {
        for cut in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(cut) = cut.upgrade() {
                cut.cut();
            }
        }
    }
}

/// A connection after its handshake.
struct Conn {
    stream: TlsStream<Plug>,
    peer: Peer,
    frames: Frames,
}

impl Connected for Conn {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        self.peer.cut.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.peer.cut.check(cx)?;
        let allowed = self.peer.line.allows(buf.len())?;
        let this = &mut *self;
        let armed = this.peer.cut.garble.load(Ordering::SeqCst);
        let other = if armed { this.frames.garbled(&buf[..allowed]) } else { None };
        let told = other.as_deref().unwrap_or(&buf[..allowed]);
        let written = std::task::ready!(Pin::new(&mut this.stream).poll_write(cx, told))?;
        if other.is_some() {
            this.peer.cut.garble.store(false, Ordering::SeqCst);
        }
        this.frames.advance(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.peer.cut.done.load(Ordering::SeqCst) {
            // No goodbye: the client sees what it would see of a machine without power.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
