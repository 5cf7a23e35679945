//! What pve-http-server writes that hyper would not.
//!
//! hyper always says how long an answer is, answers a head that it cannot read in
//! its own words, and tells a client that its head is too large. Proxmox leaves
//! the length out where there is no body, has other words, and says nothing at
//! all. The filter sits under hyper, on the bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The header that asks for an answer without Content-Length.
pub(super) const NO_LENGTH: &str = "x-lab-no-length";

/// A stream that writes as pve-http-server does.
pub(super) struct Wire<S> {
    stream: S,
    /// The beginning of what came since the last answer: its first line.
    first: Vec<u8>,
    /// Rewritten bytes that the stream has not taken yet.
    pending: Vec<u8>,
    /// Nothing more is written.
    mute: bool,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, first: Vec::new(), pending: Vec::new(), mute: false }
    }

    /// The bytes to write for one head (or a piece of a body) of hyper's.
    fn rewritten(&mut self, bytes: &[u8]) -> Vec<u8> {
        if bytes.starts_with(b"HTTP/1.1 431 ") || bytes.starts_with(b"HTTP/1.1 414 ") {
            self.mute = true;
            return Vec::new();
        }
        // Expect has no special support: nobody is told to continue.
        if bytes.starts_with(b"HTTP/1.1 100 ") {
            return Vec::new();
        }
        // Ours never has hyper's own reason phrase.
        if bytes.starts_with(b"HTTP/1.1 400 Bad Request\r\n") && !contains(bytes, b"Server: ") {
            return malformed(&self.first);
        }
        if bytes.starts_with(b"HTTP/1.") {
            self.first.clear();
            if String::from_utf8_lossy(bytes).to_ascii_lowercase().contains(NO_LENGTH) {
                return without_length(bytes);
            }
        }
        bytes.to_vec()
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn without_length(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lines = text.split("\r\n").filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("content-length:") && !line.starts_with(NO_LENGTH)
    });
    lines.collect::<Vec<_>>().join("\r\n").into_bytes()
}

/// The answer to a first line that is no HTTP/1 request.
fn malformed(first: &[u8]) -> Vec<u8> {
    let line = String::from_utf8_lossy(first).into_owned();
    let line = line.lines().next().unwrap_or_default();
    let version = line.rsplit_once(" HTTP/").map(|(_, version)| version).filter(|version| !version.starts_with("1."));
    let (status, text) = match version {
        Some(version) => (506, format!("http protocol version {version} not supported")),
        None => (400, "bad request".to_owned()),
    };
    let common = "Cache-Control: max-age=0\r\nConnection: close\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0";
    format!("HTTP/1.1 {status} {text}\r\n{common}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let room = 1024_usize.saturating_sub(self.first.len());
        let new = &buf.filled()[before..];
        self.first.extend_from_slice(&new[..new.len().min(room)]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.pending))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.drain(cx))?;
        if !self.mute {
            let rewritten = self.rewritten(bytes);
            self.pending = rewritten;
        }
        // The bytes are ours now, whether or not the stream takes them at once.
        if let Poll::Ready(Err(error)) = self.drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_that_are_no_request_have_their_own_answers() {
        let text = |line: &[u8]| String::from_utf8(malformed(line)).unwrap();
        assert!(text(b"GET / HTTP/2.0\r\n").starts_with("HTTP/1.1 506 http protocol version 2.0 not supported\r\n"));
        assert!(text(b"FOO\r\n").ends_with("\r\n\r\nbad request"));
    }

    #[test]
    fn the_length_goes_with_the_header_that_asks_for_it() {
        let head = b"HTTP/1.1 401 No ticket\r\nX-Lab-No-Length: 1\r\nContent-Length: 0\r\nDate: x\r\n\r\n";
        assert_eq!(without_length(head), b"HTTP/1.1 401 No ticket\r\nDate: x\r\n\r\n");
    }
}
