//! What handlers return, and what it looks like on the wire.

use std::collections::BTreeMap;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, HeaderValue, PRAGMA, SERVER};
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};

use super::verify::Errors;
use super::work::Job;
use crate::lab::http::{Response, answer};

const JSON: &str = "application/json;charset=UTF-8";

/// A call that succeeded.
pub(super) enum Reply {
    Data(Value),
    /// A list with the envelope's `total`.
    Paged {
        data: Value,
        total: usize,
    },
    Text(String),
    /// A worker is to be started; the answer is its UPID, or null for a call that waits for it.
    Task(Box<Job>),
}

/// A call that failed. The first line of `message` is the reason phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub status: u16,
    pub message: String,
    pub errors: Errors,
}

impl Failure {
    /// A plain `die`.
    pub(super) fn die(text: impl Into<String>) -> Self {
        Self::with(500, text)
    }

    pub(super) fn with(status: u16, text: impl Into<String>) -> Self {
        let mut message = text.into();
        if !message.ends_with('\n') {
            message.push('\n');
        }
        Self { status, message, errors: Errors::new() }
    }

    /// `raise_perm_exc`: `what` goes between the parentheses.
    pub(super) fn forbidden(what: &str) -> Self {
        Self::with(403, format!("Permission check failed ({what})"))
    }

    /// `raise_param_exc` about one parameter.
    pub(super) fn param(name: &str, text: impl Into<String>) -> Self {
        Self::params(BTreeMap::from([(name.to_owned(), text.into())]))
    }

    pub(super) fn params(errors: Errors) -> Self {
        Self { status: 400, message: "Parameter verification failed.\n".into(), errors }
    }

    /// The text without its final newline, as a task ends with it.
    pub(super) fn text(&self) -> String {
        let text = self.message.trim_end_matches('\n');
        match self.status {
            403 => format!("403 {text}"),
            400 if !self.errors.is_empty() => {
                let lines = self.errors.iter().map(|(name, text)| format!("{name}: {text}"));
                format!("400 {text} {}", lines.collect::<Vec<_>>().join(" "))
            }
            _ => text.to_owned(),
        }
    }
}

/// `/api2/json` or `/api2/extjs`: the same data in another envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    Json,
    ExtJs,
}

impl Envelope {
    /// The answer to a call that returned `reply`.
    pub(super) fn success(self, data: Value, total: Option<usize>) -> Response {
        let mut body = Map::from_iter([("data".to_owned(), data)]);
        if let Some(total) = total {
            body.insert("total".into(), total.into());
        }
        if self == Self::ExtJs {
            body.insert("success".into(), 1.into());
        }
        dress(answer(200, "OK", JSON, Value::Object(body).to_string()))
    }

    pub(super) fn failure(self, failure: &Failure) -> Response {
        if (595..600).contains(&failure.status) {
            // These are the proxy's own, which has no envelope.
            return bare(failure.status, failure.message.trim_end());
        }
        let mut body =
            Map::from_iter([("data".to_owned(), Value::Null), ("message".to_owned(), failure.message.as_str().into())]);
        if !failure.errors.is_empty() {
            body.insert("errors".into(), json!(failure.errors));
        }
        match self {
            Self::ExtJs => {
                body.insert("success".into(), 0.into());
                // pve-http-server 6.0: parameter errors carry their status as a string, others as a number.
                let status = if failure.errors.is_empty() { json!(failure.status) } else { json!("400") };
                body.insert("status".into(), status);
                dress(answer(200, "OK", JSON, Value::Object(body).to_string()))
            }
            Self::Json => dress(answer(failure.status, &failure.message, JSON, Value::Object(body).to_string())),
        }
    }
}

/// An answer of the HTTP layer itself: the text is reason and body.
pub(super) fn plain(status: u16, text: &str) -> Response {
    dress(answer(status, text, "", Bytes::from(text.to_owned())))
}

/// An answer without body and without Content-Length.
pub(super) fn bare(status: u16, reason: &str) -> Response {
    dress(crate::lab::http::without_length(answer(status, reason, "", "")))
}

/// The text of a log that is downloaded.
pub(super) fn download(text: String) -> Response {
    dress(answer(200, "OK", "text/plain", text))
}

/// The headers that every answer carries.
pub(super) fn dress(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("pve-api-daemon/3.0"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=0"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Bodies over 1 KiB are compressed for those who accept it.
pub(super) async fn compress(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    let body = body.to_bytes();
    if body.len() <= 1024 || parts.headers.contains_key(CONTENT_ENCODING) {
        return Response::from_parts(parts, Full::new(body));
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(packed) => {
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Response::from_parts(parts, Full::new(packed.into()))
        }
        Err(_) => Response::from_parts(parts, Full::new(body)),
    }
}
