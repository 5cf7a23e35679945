//! Uploading an image from here.
//!
//! The server's multipart parser is its own: it wants the fields before the
//! file, the file's `Content-Disposition` to the letter and before any other header,
//! the boundary unquoted, a length and no chunks, and it appends whatever follows the
//! file to the file (pve-http-server 6.0: src/PVE/APIServer/AnyEvent.pm). reqwest's own
//! forms quote and order differently, so the few bytes around the stream are written here.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use uuid::Uuid;

use super::error::PveError;
use super::reply::decode;
use super::task::Upid;
use super::{Pve, names};

/// The slowest link that an upload is meant to finish on, in bytes per second.
const SLOWEST: u64 = 256 * 1024;

impl Pve {
    /// Sends an ISO image of `length` bytes to `storage`, as `filename`; with `sha256` (hexadecimal) the server checks it.
    ///
    /// An existing file of that name is overwritten. Sent once: the stream cannot be rewound.
    pub async fn upload<E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static>(
        &self,
        node: &str,
        storage: &str,
        filename: &str,
        length: u64,
        sha256: Option<&str>,
        body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Result<Upid, PveError> {
        let (node, storage) = (names::node(node)?, names::storage(storage)?);
        let filename = names::checked("file", filename)?;
        let path = format!("/nodes/{node}/storage/{storage}/upload");
        let boundary = Uuid::new_v4().simple().to_string();
        let (head, tail) = frame(&boundary, filename, sha256);
        let whole = head.len() as u64 + length + tail.len() as u64;
        let body = stream::iter([Ok(Bytes::from(head))])
            .chain(exactly(length, body.map_err(Into::into)))
            .chain(stream::iter([Ok(Bytes::from(tail))]));
        let patience = Duration::from_secs(120) + Duration::from_secs(length / SLOWEST);
        let sent = self.send_once(&path, patience, |request| {
            request
                .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
                // A body of known length is not chunked, which the server refuses.
                .header(CONTENT_LENGTH, whole)
                .body(reqwest::Body::wrap_stream(body))
        });
        match sent.await {
            Ok(text) => Upid::started(&decode::<String>(&format!("POST {path}"), &text)?),
            Err(lost @ PveError::PerhapsDone { .. }) => Err(self.why_cut_off(storage, lost).await),
            Err(error) => Err(error),
        }
    }

    /// A refused upload is answered while we still send, and the answer can drown in the reset that follows.
    /// The token and its privileges are then asked for by a request that gets its answer through.
    async fn why_cut_off(&self, storage: &str, lost: PveError) -> PveError {
        let acl = format!("/storage/{storage}");
        let needed = "Datastore.AllocateTemplate";
        match self.permissions(Some(&acl)).await {
            Ok(rights) if rights.get(&acl).is_some_and(|rights| rights.contains(needed)) => lost,
            Ok(_) => super::Refusal {
                request: format!("POST upload to {storage}"),
                status: 403,
                reason: format!("Permission check failed ({acl}, {needed})"),
                message: String::new(),
                errors: std::collections::BTreeMap::new(),
            }
            .into(),
            Err(refused @ PveError::Unauthorized(_)) => refused,
            Err(_) => lost,
        }
    }
}

/// What goes before and after the file.
pub(super) fn frame(boundary: &str, filename: &str, sha256: Option<&str>) -> (String, String) {
    let mut fields = vec![("content", "iso")];
    if let Some(digest) = sha256 {
        fields.extend([("checksum-algorithm", "sha256"), ("checksum", digest)]);
    }
    let part =
        |(name, value)| format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let fields: String = fields.into_iter().map(part).collect();
    let head = format!(
        "{fields}--{boundary}\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"{filename}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    (head, format!("\r\n--{boundary}--\r\n"))
}

type Chunk = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Passes `body` on and fails when it is not `length` bytes: the frame promised exactly that many, and
/// bytes too many would push the end mark into the file.
fn exactly(
    length: u64,
    body: impl Stream<Item = Chunk> + Send + 'static,
) -> impl Stream<Item = Chunk> + Send + 'static {
    let wrong = move |what: &str| -> Chunk { Err(format!("the image is {what} than its {length} bytes").into()) };
    let end = stream::iter([None]);
    body.map(Some).chain(end).scan(length, move |left, chunk| {
        let passed = match chunk {
            Some(Ok(bytes)) if bytes.len() as u64 > *left => wrong("longer"),
            Some(Ok(bytes)) => {
                *left -= bytes.len() as u64;
                Ok(bytes)
            }
            Some(Err(error)) => Err(error),
            None if *left > 0 => wrong("shorter"),
            None => Ok(Bytes::new()),
        };
        std::future::ready(Some(passed))
    })
}
