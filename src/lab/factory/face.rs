//! The factory over HTTPS. Texts and statuses are the real one's; errors are plain text with a newline.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use serde_json::json;
use tokio::net::TcpListener;

use super::Refusal;
use crate::lab::faults::Face;
use crate::lab::faults::gate::{self, Fate};
use crate::lab::http::{self as server, Hangup, Limits, Peer, Request, Response, ServerHandle};
use crate::lab::image::Image;
use crate::lab::tls::Leaf;
use crate::lab::world::{Shared, World};

/// What a schematic may weigh.
const BODY: usize = 1 << 20;

/// Serves the factory on `listener` with this certificate.
pub fn serve(shared: &Shared, listener: TcpListener, leaf: &Leaf) -> ServerHandle {
    let shared = shared.clone();
    server::serve(listener, Some(leaf.server_config()), Limits::PLAIN, move |request, peer| {
        let shared = shared.clone();
        async move { answer(&shared, request, &peer).await }
    })
}

/// What a request came to: an answer now, or bytes when they are built.
enum Outcome {
    Now(Response),
    Built { image: Image, file: String, ready: Duration },
    Manifest { image: Image, ready: Duration },
}

async fn answer(shared: &Shared, request: Request, peer: &Peer) -> Result<Response, Hangup> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (pattern, subject) = name(&parts);
    let spoil = match gate::enter(shared, Face::Factory, &format!("{method} {pattern}"), &subject).await {
        Ok(spoil) => spoil,
        Err(Fate::Refused { code, text }) => return Ok(plain(code, &text)),
        Err(Fate::Ended(ending)) => return Err(peer.end(ending)),
    };
    let body = if method == Method::POST {
        server::body(request.into_body(), BODY).await.unwrap_or_default()
    } else {
        Bytes::new()
    };
    let outcome = {
        let mut world = shared.lock();
        route(&mut world, &method, &parts, &body)
    };
    let response = match outcome {
        Err(refusal) => plain(refusal.status, &refusal.text),
        Ok(Outcome::Now(response)) => response,
        Ok(Outcome::Built { image, file, ready }) => {
            wait(shared, ready).await;
            asset(&image, &file)
        }
        Ok(Outcome::Manifest { image, ready }) => {
            wait(shared, ready).await;
            manifest(&image)
        }
    };
    spoil.http(peer, response, plain).await
}

/// The pattern of a path, and what it is about, as faults name them.
fn name(parts: &[&str]) -> (String, String) {
    match parts {
        ["schematics", id] => ("/schematics/{id}".into(), (*id).to_owned()),
        ["version", version, "extensions", "official"] => {
            ("/version/{version}/extensions/official".into(), (*version).to_owned())
        }
        ["image", _, _, file] => ("/image/{id}/{version}/{file}".into(), (*file).to_owned()),
        ["v2", name, _, "manifests", _] => ("/v2/{name}/{id}/manifests/{version}".into(), (*name).to_owned()),
        _ => (format!("/{}", parts.join("/")), String::new()),
    }
}

fn route(world: &mut World, method: &Method, parts: &[&str], body: &[u8]) -> Result<Outcome, Refusal> {
    let (now, speed) = (world.now(), world.site.clock);
    let known = &mut world.factory;
    let fetches = method == Method::GET || method == Method::HEAD;
    match parts {
        ["healthz" | "readyz" | "v2"] if fetches => Ok(Outcome::Now(plain(200, ""))),
        ["schematics"] if method == Method::POST => {
            let text = String::from_utf8_lossy(body);
            let id = known.post(&text)?;
            let answer = json!({"id": id, "schematic": known.schematic(&id)?.text});
            Ok(Outcome::Now(server::answer(201, "Created", "application/json", answer.to_string())))
        }
        ["schematics", id] if method == Method::GET => {
            let text = known.schematic(id).map_err(|_| Refusal::new(404, "schematic not found"))?.text.clone();
            Ok(Outcome::Now(server::answer(200, "OK", "application/yaml", text)))
        }
        ["versions"] if method == Method::GET => Ok(Outcome::Now(json_answer(&json!(known.versions())))),
        ["version", version, "extensions", "official"] if method == Method::GET => {
            let version = format!("v{}", version.trim_start_matches('v'));
            if !known.versions().contains(&version) {
                return Err(Refusal::new(404, format!("version {version:?} is not available")));
            }
            let list = known.extensions().iter().map(|name| {
                json!({
                    "name": name, "ref": format!("ghcr.io/{name}:{version}"), "digest": format!("sha256:{}", "0".repeat(64)),
                    "author": "Sidero Labs, Inc.", "description": format!("[core] the lab's {name}"),
                })
            });
            Ok(Outcome::Now(json_answer(&list.collect())))
        }
        ["image", id, version, file] if fetches => {
            let (contents, ready) = known.image(id, version, file, now, speed)?;
            Ok(Outcome::Built { image: contents, file: (*file).to_owned(), ready })
        }
        ["v2", name, id, "manifests", version] if fetches => {
            let (contents, ready) = known.installer_manifest(name, id, version, now, speed)?;
            Ok(Outcome::Manifest { image: contents, ready })
        }
        _ => Err(Refusal::new(404, "404 page not found")),
    }
}

async fn wait(shared: &Shared, ready: Duration) {
    let left = ready.saturating_sub(shared.lock().now());
    if !left.is_zero() {
        pause(left).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the time that a build takes")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

fn asset(image: &Image, file: &str) -> Response {
    let kind = match file.rsplit('.').next() {
        Some("iso") => "application/x-iso9660-image",
        Some("xz") => "application/x-xz",
        Some("qcow2") => "application/x-qemu-disk",
        _ => "application/octet-stream",
    };
    let mut response = server::answer(200, "OK", kind, image.to_bytes());
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{file}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    response
}

fn manifest(image: &Image) -> Response {
    let body = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1, "digest": format!("sha256:{}", image.schematic),
            "platform": {"architecture": image.arch, "os": "linux"},
        }],
    });
    let mut response = json_answer(&body);
    let kind = HeaderValue::from_static("application/vnd.oci.image.index.v1+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn json_answer(value: &serde_json::Value) -> Response {
    server::answer(200, "OK", "application/json", value.to_string())
}

fn plain(status: u16, text: &str) -> Response {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("");
    server::answer(status, reason, "text/plain; charset=utf-8", format!("{text}\n"))
}
