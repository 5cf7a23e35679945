//! The factory over HTTPS. Texts and statuses are the real one's; errors are plain text with a newline.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_DISPOSITION, HOST, HeaderValue, LOCATION, SERVER, X_CONTENT_TYPE_OPTIONS};
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
    /// `elsewhere`: where a GET is sent on to, if the factory keeps what it built in a store of its own.
    Built {
        image: Image,
        file: String,
        ready: Duration,
        elsewhere: Option<String>,
    },
    Manifest {
        image: Image,
        ready: Duration,
    },
    Script {
        text: String,
        ready: Duration,
    },
}

async fn answer(shared: &Shared, request: Request, peer: &Peer) -> Result<Response, Hangup> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query: Vec<(String, String)> =
        serde_urlencoded::from_str(request.uri().query().unwrap_or_default()).unwrap_or_default();
    let renamed =
        query.iter().find(|(key, value)| key == "filename" && !value.is_empty()).map(|(_, name)| name.clone());
    let broken = query.iter().any(|(key, value)| key == "broken" && value == "true");
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost").to_owned();
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
        route(&mut world, &method, &parts, &body, &Asked { host, broken })
    };
    let mut response = match outcome {
        Err(refusal) => plain(refusal.status, &refusal.text),
        Ok(Outcome::Now(response)) => response,
        Ok(Outcome::Built { image, file, ready, elsewhere }) => {
            wait(shared, ready).await;
            match elsewhere.filter(|_| method == Method::GET) {
                Some(location) => found(&location),
                None => asset(&image, &file, renamed.as_deref()),
            }
        }
        Ok(Outcome::Manifest { image, ready }) => {
            wait(shared, ready).await;
            manifest(&image)
        }
        Ok(Outcome::Script { text, ready }) => {
            wait(shared, ready).await;
            server::answer(200, "OK", "text/plain; charset=utf-8", text)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        response.headers_mut().insert("x-request-id", id);
    }
    response.headers_mut().insert(SERVER, HeaderValue::from_static("image-factory/lab"));
    spoil.http(peer, response, plain).await
}

/// What else a request says.
struct Asked {
    /// The factory's name, as the client wrote it.
    host: String,
    /// Withdrawn versions, too.
    broken: bool,
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

fn route(world: &mut World, method: &Method, parts: &[&str], body: &[u8], asked: &Asked) -> Result<Outcome, Refusal> {
    let (now, speed, redirects) = (world.now(), world.site.clock, world.site.factory.redirects);
    let known = &mut world.factory;
    let fetches = method == Method::GET || method == Method::HEAD;
    match parts {
        ["healthz" | "readyz" | "v2"] if fetches => Ok(Outcome::Now(plain(200, ""))),
        ["schematics"] if method == Method::POST => {
            let text = String::from_utf8_lossy(body);
            let id = known.post(&text)?;
            let answer = json!({"id": id, "schematic": known.schematic(&id)?.text});
            Ok(Outcome::Now(server::answer(201, "Created", "application/json", format!("{answer}\n"))))
        }
        ["schematics", id] if method == Method::GET => {
            let text = known.schematic(id).map_err(|_| Refusal::new(404, "schematic not found"))?.text.clone();
            Ok(Outcome::Now(server::answer(200, "OK", "application/yaml", text)))
        }
        ["versions"] if method == Method::GET => {
            // No version of the lab's was ever withdrawn.
            let versions = if asked.broken { &[][..] } else { known.versions() };
            Ok(Outcome::Now(json_answer(&json!(versions))))
        }
        ["version", version, "overlays", "official"] if method == Method::GET => {
            known.known_version(version)?;
            Ok(Outcome::Now(json_answer(&json!([]))))
        }
        ["secureboot", "signing-cert.pem"] if method == Method::GET => {
            let pem = known.signing_certificate();
            Ok(Outcome::Now(server::answer(200, "OK", "application/x-pem-file", pem)))
        }
        ["pxe", id, version, stem] if method == Method::GET => {
            let (_, ready) = known.image(id, version, &format!("cmdline-{stem}"), now, speed)?;
            Ok(Outcome::Script { text: script(&asked.host, id, &known.known_version(version)?, stem), ready })
        }
        ["version", version, "extensions", "official"] if method == Method::GET => {
            let version = known.known_version(version)?;
            let list = known.extensions().iter().map(|name| {
                json!({
                    "name": name, "ref": format!("ghcr.io/{name}:{version}"), "digest": format!("sha256:{}", "0".repeat(64)),
                    "author": "Sidero Labs, Inc.", "description": format!("[core] the lab's {name}"),
                })
            });
            Ok(Outcome::Now(json_answer(&list.collect())))
        }
        ["image" | "store", id, version, file] if fetches => {
            let (contents, ready) = known.image(id, version, file, now, speed)?;
            let elsewhere = (redirects && parts[0] == "image")
                .then(|| format!("https://{}/store/{id}/{version}/{file}", asked.host));
            Ok(Outcome::Built { image: contents, file: (*file).to_owned(), ready, elsewhere })
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

/// Sent on to where the bytes are.
fn found(location: &str) -> Response {
    let body = format!("<a href=\"{location}\">Found</a>.\n\n");
    let mut response = server::answer(302, "Found", "text/html; charset=utf-8", body);
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

/// What a network card's firmware runs.
fn script(host: &str, id: &str, version: &str, stem: &str) -> String {
    let base = format!("https://{host}/image/{id}/{version}");
    let (plain, secureboot) = stem.strip_suffix("-secureboot").map_or((stem, false), |plain| (plain, true));
    let (platform, arch) = plain.rsplit_once('-').unwrap_or((plain, "amd64"));
    let arguments = format!("talos.platform={platform}");
    if secureboot {
        return format!("#!ipxe\n\nimgfree\nkernel {base}/{stem}-uki.efi {arguments}\nboot\n");
    }
    format!("#!ipxe\n\nimgfree\nkernel {base}/kernel-{arch} {arguments}\ninitrd {base}/initramfs-{arch}.xz\nboot\n")
}

fn asset(image: &Image, file: &str, renamed: Option<&str>) -> Response {
    let kind = match file.rsplit('.').next() {
        Some("iso") => "application/x-iso9660-image",
        Some("xz") => "application/x-xz",
        Some("gz") => "application/gzip",
        Some("zst") => "application/zstd",
        Some("tar") => "application/x-tar",
        Some("qcow2") => "application/x-qemu-disk",
        Some("efi") => "application/efi",
        _ => "application/octet-stream",
    };
    let mut response = server::answer(200, "OK", kind, image.to_bytes());
    let name = renamed.unwrap_or(file);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
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
    let text = body.to_string();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut response = server::answer(200, "OK", "application/vnd.oci.image.index.v1+json", text);
    if let Ok(digest) = HeaderValue::from_str(&format!("sha256:{}", hex::encode(digest))) {
        response.headers_mut().insert("docker-content-digest", digest);
    }
    response
}

/// Go's encoder ends with a newline, and nobody says that it is JSON.
fn json_answer(value: &serde_json::Value) -> Response {
    server::answer(200, "OK", "text/plain; charset=utf-8", format!("{value}\n"))
}

fn plain(status: u16, text: &str) -> Response {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("");
    let mut response = server::answer(status, reason, "text/plain; charset=utf-8", format!("{text}\n"));
    if status >= 400 {
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}
