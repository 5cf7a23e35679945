//! The websocket in front of a terminal: handshake and frames, as pve-http-server has them.
//!
//! It is RFC 6455 with less: no fragments, no frame over 128 KiB, and a close is
//! answered by closing the connection, without a close frame (pve-http-server
//! 6.0: src/PVE/APIServer/AnyEvent.pm, `websocket_proxy`).

use aws_lc_rs::digest;
use base64::Engine;
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::formats::split_list;
use crate::lab::http::{Request, Response, Session, answer, become_session};

const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
/// RFC 6455, section 1.3.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MOST: u64 = 128 * 1024;

/// A request that wants to become something else.
pub(super) struct Knock {
    upgrade: String,
    version: Option<String>,
    key: Option<String>,
    protocol: Option<String>,
}

impl Knock {
    /// What the head asks; `None` for an ordinary request.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let upgrade = text(UPGRADE).filter(|_| request.uri().path().ends_with("websocket"))?;
        let upgrade = upgrade.to_lowercase();
        Some(Self { upgrade, version: text(VERSION), key: text(KEY), protocol: text(PROTOCOL) })
    }

    /// What is wrong with it, as the server says.
    pub(super) fn check(&self) -> Result<(), String> {
        let version = self.version.as_deref().unwrap_or_default();
        if self.upgrade != "websocket" {
            return Err(format!("unable to upgrade to protocol '{}'\n", self.upgrade));
        }
        if version != "13" {
            return Err(format!("unsupported websocket-version '{version}'\n"));
        }
        if let Some(protocol) = &self.protocol
            && !split_list(protocol).contains(&"binary")
        {
            return Err(format!("unsupported websocket-protocol protocol '{protocol}'\n"));
        }
        if self.key.is_none() { Err("missing websocket-key\n".to_owned()) } else { Ok(()) }
    }

    /// 101, and `session` from then on.
    pub(super) fn answer(&self, session: Session) -> Response {
        let key = self.key.as_deref().unwrap_or_default();
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{MAGIC}").as_bytes());
        let accept = base64::engine::general_purpose::STANDARD.encode(hash);
        let mut response = answer(101, "Switching Protocols", "", "");
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(accept) = HeaderValue::try_from(accept) {
            headers.insert(ACCEPT, accept);
        }
        if self.protocol.is_some() {
            headers.insert(PROTOCOL, HeaderValue::from_static("binary"));
        }
        become_session(&mut response, session);
        response
    }
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    /// An answer to a ping of ours; there are none, so it says nothing.
    Pong,
    Close,
}

/// The next frame; `None` at the end, or when what came is none that this server takes.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let [first, second] = head;
    let (whole, reserved, masked) = (first & 0x80 != 0, first & 0x70 != 0, second & 0x80 != 0);
    if !whole || reserved || !masked {
        return None;
    }
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await.ok()?),
        127 => stream.read_u64().await.ok()?,
        short => u64::from(short),
    };
    if length > MOST {
        return None;
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await.ok()?;
    let mut payload = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut payload).await.ok()?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    match first & 0x0f {
        1 | 2 => Some(Frame::Data(payload)),
        8 => Some(Frame::Close),
        9 => Some(Frame::Ping(payload)),
        10 => Some(Frame::Pong),
        _ => None,
    }
}

/// What a server's frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Binary = 2,
    Pong = 10,
}

/// Writes one frame, unmasked. False when the client is gone.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), kind: Kind, payload: &[u8]) -> bool {
    let mut frame = vec![0x80 | kind as u8];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(middle)) => {
            frame.push(126);
            frame.extend(middle.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await.is_ok() && stream.flush().await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 7, 7, 7, 7];
        frame.extend(payload.iter().map(|byte| byte ^ 7));
        frame
    }

    #[tokio::test]
    async fn frames_are_read_unmasked_and_what_is_none_ends_it() {
        for (bytes, frame) in [
            (masked(0x82, b"hi"), Some(Frame::Data(b"hi".to_vec()))),
            (masked(0x81, b"hi"), Some(Frame::Data(b"hi".to_vec()))),
            (masked(0x89, b"p"), Some(Frame::Ping(b"p".to_vec()))),
            (masked(0x88, &[3, 232]), Some(Frame::Close)),
            // A fragment, a reserved flag, an unknown kind, no mask, too long.
            (masked(0x02, b"hi"), None),
            (masked(0xc2, b"hi"), None),
            (masked(0x83, b"hi"), None),
            (vec![0x82, 2, b'h', b'i'], None),
            (vec![0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 1], None),
        ] {
            assert_eq!(read(&mut bytes.as_slice()).await, frame, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn frames_are_written_with_the_shortest_length() {
        for (length, head) in
            [(2, vec![0x82, 2]), (126, vec![0x82, 126, 0, 126]), (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0])]
        {
            let mut out = Vec::new();
            assert!(write(&mut out, Kind::Binary, &vec![0; length]).await);
            assert_eq!((&out[..head.len()], out.len()), (head.as_slice(), head.len() + length));
        }
    }
}
