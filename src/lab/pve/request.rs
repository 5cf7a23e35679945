//! The request as it came: head, then body.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderValue, TRANSFER_ENCODING};
use percent_encoding::percent_decode_str;

use super::answer::{self, Envelope};
use super::auth::{self, Identity, Shown};
use super::body;
use super::routes::{self, Route};
use super::upload;
use super::verify::Raw;
use super::websocket::Knock;
use crate::lab::http::{self as server, Peer, Request, Response};
use crate::lab::world::Shared;

/// pve-http-server 6.0: what a form may weigh.
const FORM_LIMIT: usize = 512 * 1024;
/// A header line that is longer is never answered; the request line does not count.
const HEADER_LIMIT: usize = 8 * 1024;
/// What a lab holds in memory of one upload.
const UPLOAD_LIMIT: usize = 256 << 20;

/// A request whose head was understood.
pub(super) struct Asked {
    pub method: String,
    /// Decoded, without prefix and format, as messages show it.
    pub path: String,
    pub envelope: Envelope,
    pub query: Raw,
    pub who: Result<Identity, &'static str>,
    /// A token was shown, even to a call that asks nobody who they are.
    pub shows_token: bool,
    pub route: Option<Route>,
    pub multipart: Option<String>,
    /// It wants to become a websocket.
    pub knock: Option<Knock>,
}

/// What the body held.
pub(super) struct Sent {
    pub raw: Raw,
    pub file: Option<Bytes>,
}

/// A header line is too long for any answer.
pub(super) fn is_overlong(request: &Request) -> bool {
    request.headers().iter().any(|(name, value)| name.as_str().len() + value.len() > HEADER_LIMIT)
}

/// Everything that the head alone decides.
pub(super) fn head(shared: &Shared, request: &Request, peer: &Peer) -> Result<Asked, Box<Response>> {
    let refuse = |status: u16, text: String| Err(Box::new(answer::plain(status, &text)));
    let method = request.method().as_str().to_owned();
    if !["GET", "POST", "PUT", "DELETE"].contains(&method.as_str()) {
        let reason = format!("method '{method}' not available");
        return Err(Box::new(answer::bare(501, &reason)));
    }
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if request.headers().contains_key(TRANSFER_ENCODING) {
        return refuse(501, "chunked transfer encoding not supported".into());
    }
    let length: usize = text(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
    if length > 0 && (method == "GET" || method == "DELETE") {
        return refuse(501, format!("Unexpected content for method '{method}'"));
    }
    let full = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    if full.trim_end_matches('/') == "/api2" {
        return refuse(501, "no such uri".into());
    }
    let Some(rest) = full.strip_prefix("/api2/") else {
        let text = format!("no such file '{full}'");
        return Err(Box::new(answer::dress(server::answer(500, &text, "", format!("{text}\n")))));
    };
    let (format, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let path = format!("/{}", segments.join("/"));
    let envelope = match format {
        "json" => Envelope::Json,
        "extjs" => Envelope::ExtJs,
        _ => return refuse(501, format!("no formatter for uri {path}, {format}")),
    };
    let world = shared.lock();
    let route = routes::find(world.pve.release.schema(), &method, &path);
    // White space at the end of a header belongs to its value here, and not to hyper's.
    let untrimmed = peer.raw_header(AUTHORIZATION.as_str());
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let authorization = untrimmed.as_deref().filter(|_| authorization.is_some()).or(authorization);
    let upload = route.as_ref().is_some_and(|route| route.endpoint.path.ends_with("/upload"));
    let shown = Shown {
        cookie: text(COOKIE),
        authorization,
        csrf: request.headers().get("csrfpreventiontoken").and_then(|value| value.to_str().ok()),
        // Uploads come from plain forms, which cannot send headers.
        writes: method != "GET" && !upload,
    };
    let shows_token = auth::shows_token(&shown);
    let who = auth::caller(&world.site, &world.pve.sessions, &shown, super::now());
    let multipart = text(CONTENT_TYPE).filter(|_| upload).and_then(upload::boundary).map(str::to_owned);
    let mut query = body::form(request.uri().query().unwrap_or_default().as_bytes());
    // What browsers' clients add against caches.
    query.remove("_dc");
    Ok(Asked { method, path, envelope, query, who, shows_token, route, multipart, knock: Knock::of(request) })
}

/// Why there is no body.
pub(super) enum Unread {
    Answer(Box<Response>),
    Hangup,
}

/// Reads and decodes the body.
pub(super) async fn read(asked: &Asked, request: Request) -> Result<Sent, Unread> {
    let refuse = |status: u16, text: &str| Err(Unread::Answer(Box::new(answer::plain(status, text))));
    if asked.method == "GET" || asked.method == "DELETE" {
        return Ok(Sent { raw: Raw::new(), file: None });
    }
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let kind = text(CONTENT_TYPE);
    let length: usize = text(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
    let upload = asked.route.as_ref().is_some_and(|route| route.endpoint.path.ends_with("/upload"));
    if let Some(boundary) = &asked.multipart {
        let body = server::body(request.into_body(), UPLOAD_LIMIT).await.ok_or(Unread::Hangup)?;
        return match upload::parse(&body, boundary) {
            Ok(parts) => Ok(Sent { raw: parts.fields, file: Some(parts.file) }),
            Err(upload::Broken::BadRequest) => Err(Unread::Answer(Box::new(answer::bare(400, "Bad Request")))),
            Err(upload::Broken::Died(text)) => Err(Unread::Answer(Box::new(answer::plain(500, &text)))),
        };
    }
    if upload && length > 0 {
        return Err(Unread::Hangup);
    }
    let json = kind.as_deref().is_some_and(|kind| kind.starts_with("application/json"));
    let form =
        kind.as_deref().is_none_or(|kind| kind.is_empty() || kind.starts_with("application/x-www-form-urlencoded"));
    if !json && !form && length > 0 {
        let kind = kind.unwrap_or_default();
        return refuse(506, &format!("upload 'Content-Type '{kind}' not implemented"));
    }
    if length > FORM_LIMIT {
        return refuse(501, "for data too large");
    }
    let body = server::body(request.into_body(), FORM_LIMIT).await.ok_or(Unread::Hangup)?;
    if json {
        return match body::json(&body) {
            Ok(raw) => Ok(Sent { raw, file: None }),
            Err(body::Unreadable(status, text)) => refuse(status, &text),
        };
    }
    Ok(Sent { raw: body::form(&body), file: None })
}
