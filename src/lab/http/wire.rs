//! What pve-http-server writes that hyper would not.
//!
//! hyper always says how long an answer is, answers a head that it cannot read in
//! its own words, and tells a client that its head is too large. Proxmox leaves
//! the length out where there is no body, has other words, and says nothing at
//! all. The filter sits under hyper, on the bytes.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The header that asks for an answer without Content-Length.
pub(super) const NO_LENGTH: &str = "x-lab-no-length";

/// The beginning of what came since the last answer, shared with whoever serves it.
#[derive(Clone, Debug, Default)]
pub(super) struct Head(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

impl Head {
    /// More than any head that is answered.
    const MOST: usize = 1 << 19;

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was too large for any answer.
    pub(super) fn is_mute(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    fn clear(&self) {
        self.lock().clear();
    }

    /// Keeps what came, up to the end of the head: bodies are nobody's business here.
    fn extend(&self, new: &[u8]) {
        let mut known = self.lock();
        if known.len() < Self::MOST && !contains(&known, b"\r\n\r\n") {
            known.extend_from_slice(new);
        }
    }

    /// The value of a header, with the blanks at its end.
    pub(super) fn value(&self, name: &str) -> Option<Vec<u8>> {
        let known = self.lock();
        let lines = known.split(|byte| *byte == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        for line in lines.take_while(|line| !line.is_empty()) {
            let colon = line.iter().position(|byte| *byte == b':')?;
            if line[..colon].eq_ignore_ascii_case(name.as_bytes()) {
                return Some(line[colon + 1..].trim_ascii_start().to_vec());
            }
        }
        None
    }
}

/// A stream that writes as pve-http-server does.
pub(super) struct Wire<S> {
    stream: S,
    head: Head,
    /// Rewritten bytes that the stream has not taken yet.
    pending: Vec<u8>,
    /// Nothing more is written.
    mute: bool,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, head: Head) -> Self {
        Self { stream, head, pending: Vec::new(), mute: false }
    }

    /// The bytes to write for one head (or a piece of a body) of hyper's.
    fn rewritten(&mut self, bytes: &[u8]) -> Vec<u8> {
        if bytes.starts_with(b"HTTP/1.1 431 ") || bytes.starts_with(b"HTTP/1.1 414 ") {
            self.mute = true;
            self.head.1.store(true, Ordering::Relaxed);
            return Vec::new();
        }
        // Expect has no special support: nobody is told to continue.
        if bytes.starts_with(b"HTTP/1.1 100 ") {
            return Vec::new();
        }
        // Ours never has hyper's own reason phrase.
        if bytes.starts_with(b"HTTP/1.1 400 Bad Request\r\n") && !contains(bytes, b"Server: ") {
            return malformed(&self.head.bytes());
        }
        if bytes.starts_with(b"HTTP/1.") {
            self.head.clear();
            if bytes.starts_with(b"HTTP/1.1 101 ") {
                return switching(bytes);
            }
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

/// A 101 has none of the usual headers, and writes WebSocket as the standard does.
fn switching(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).replace("Sec-Websocket-", "Sec-WebSocket-");
    let lines = text.split("\r\n").filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("date:") && !line.starts_with("content-length:")
    });
    lines.collect::<Vec<_>>().join("\r\n").into_bytes()
}

/// The answer to a first line that is no HTTP/1 request.
fn malformed(first: &[u8]) -> Vec<u8> {
    let line = String::from_utf8_lossy(first).into_owned();
    let line = line.lines().next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let stranger = |version: &&str| {
        version.split_once('.').is_some_and(|(major, minor)| major != "1" && digits(major) && digits(minor))
    };
    let version = line.rsplit_once(" HTTP/").map(|(_, version)| version).filter(stranger);
    let (status, text) = match version {
        Some(version) => (506, format!("http protocol version {version} not supported")),
        None => (400, "bad request".to_owned()),
    };
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let common = "Cache-Control: max-age=0\r\nConnection: close\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0";
    format!("HTTP/1.1 {status} {text}\r\n{common}\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n{text}", text.len())
        .into_bytes()
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.head.extend(&buf.filled()[before..]);
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
        if self.mute {
            // The connection stays open for a while: who dropped it decides.
            return Poll::Ready(Ok(()));
        }
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
        for line in [&b"FOO\r\n"[..], b"GET / HTTP/1\r\n"] {
            assert!(text(line).ends_with("\r\n\r\nbad request"));
        }
    }

    #[test]
    fn blanks_at_the_end_of_a_header_are_kept_and_bodies_are_not() {
        let head = Head::default();
        head.extend(b"GET / HTTP/1.1\r\nHost: x\r\nauthorization:  a b \r\n");
        head.extend(b"\r\nbody: x");
        head.extend(b"more");
        assert_eq!(head.value("Authorization").as_deref(), Some(&b"a b "[..]));
        assert_eq!((head.value("body"), head.bytes().ends_with(b"more")), (None, false));
    }

    #[test]
    fn the_length_goes_with_the_header_that_asks_for_it() {
        let head = b"HTTP/1.1 401 No ticket\r\nX-Lab-No-Length: 1\r\nContent-Length: 0\r\nDate: x\r\n\r\n";
        assert_eq!(without_length(head), b"HTTP/1.1 401 No ticket\r\nDate: x\r\n\r\n");
    }
}
