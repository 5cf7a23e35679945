//! A client that hides nothing: raw bytes out, status line, headers and body in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// An answer as it was on the wire.
#[derive(Debug)]
pub(in crate::lab::pve) struct Answer {
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub(in crate::lab::pve) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

pub(in crate::lab::pve) struct Connection {
    stream: TlsStream<TcpStream>,
    /// What came behind the last answer.
    ahead: Vec<u8>,
}

impl Connection {
    pub(in crate::lab::pve) async fn open(address: SocketAddr, ca: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pem::parse(ca).unwrap().into_contents().into()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::from(address.ip());
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        Self { stream: connector.connect(name, stream).await.unwrap(), ahead: Vec::new() }
    }

    pub(in crate::lab::pve) async fn send(&mut self, bytes: &[u8]) {
        // A server that refuses early may close while we still send.
        drop(self.stream.write_all(bytes).await);
        drop(self.stream.flush().await);
    }

    /// Sends a whole request and reads one answer; `None` when the server closes without any.
    pub(in crate::lab::pve) async fn exchange(&mut self, request: &[u8]) -> Option<Answer> {
        self.send(request).await;
        self.answer().await
    }

    pub(in crate::lab::pve) async fn answer(&mut self) -> Option<Answer> {
        let mut bytes = std::mem::take(&mut self.ahead);
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more(&mut bytes).await {
                return None;
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let mut lines = text.split("\r\n");
        let mut status = lines.next()?.splitn(3, ' ');
        assert!(status.next()?.starts_with("HTTP/1."), "{text}");
        let (status, reason) = (status.next()?.parse().ok()?, status.next().unwrap_or_default().to_owned());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut answer = Answer { status, reason, headers, body: bytes.split_off(head) };
        if status == 101 {
            self.ahead = std::mem::take(&mut answer.body);
            return Some(answer);
        }
        // What was read ahead of one answer is the next one's beginning.
        match answer.header("content-length").map(|length| length.parse::<usize>().unwrap()) {
            Some(length) => {
                while answer.body.len() < length && self.more(&mut answer.body).await {}
                self.ahead = answer.body.split_off(length.min(answer.body.len()));
            }
            None => while self.more(&mut answer.body).await {},
        }
        Some(answer)
    }

    /// The next `count` bytes, whatever they are.
    pub(in crate::lab::pve) async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.ahead);
        while bytes.len() < count {
            if !self.more(&mut bytes).await {
                return None;
            }
        }
        self.ahead = bytes.split_off(count);
        Some(bytes)
    }

    /// Whether the server ends the connection by itself.
    pub(in crate::lab::pve) async fn is_closed_by_server(&mut self) -> bool {
        !self.more(&mut Vec::new()).await
    }

    async fn more(&mut self, bytes: &mut Vec<u8>) -> bool {
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(bytes)).await;
        matches!(read, Ok(Ok(count)) if count > 0)
    }
}
