//! A connection that ends as badly as somebody wants it to.
//!
//! Two layers under a server's protocol, with one switch between them: [`Plug`]
//! is the socket itself, and knows how to reset it; [`Fray`] is above TLS, and
//! knows how to stop in the middle of what is being said.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The switch.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<AtomicU8>);

const RESET: u8 = 1;
const BREAK: u8 = 2;
const BROKEN: u8 = 3;

impl Line {
    /// When the connection ends, it ends with a TCP reset.
    pub fn reset(&self) {
        self.0.store(RESET, Ordering::SeqCst);
    }

    /// The connection ends in the middle of what is written next.
    pub fn break_off(&self) {
        self.0.store(BREAK, Ordering::SeqCst);
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::SeqCst) == state
    }

    /// How many of `length` bytes may be written, or that the connection has broken.
    pub fn allows(&self, length: usize) -> io::Result<usize> {
        if self.is(BROKEN) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.is(BREAK) || length < 2 {
            return Ok(length);
        }
        self.0.store(BROKEN, Ordering::SeqCst);
        Ok(length / 2)
    }
}

/// A socket that may be reset.
pub struct Plug {
    stream: TcpStream,
    line: Line,
}

impl Plug {
    pub fn new(stream: TcpStream, line: Line) -> Self {
        Self { stream, line }
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        if self.line.is(RESET) {
            // A socket that is closed without lingering sends RST instead of FIN.
            drop(self.stream.set_zero_linger());
        }
    }
}

/// A stream that may stop in the middle.
pub struct Fray<S> {
    stream: S,
    line: Line,
}

impl<S> Fray<S> {
    pub fn new(stream: S, line: Line) -> Self {
        Self { stream, line }
    }
}

impl AsyncRead for Plug {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Plug {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Fray<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Fray<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let allowed = self.line.allows(bytes.len())?;
        Pin::new(&mut self.stream).poll_write(cx, &bytes[..allowed])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
