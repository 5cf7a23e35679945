//! The client over a real socket, against a factory that answers by script.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response as Reply};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const ID: &str = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515";
const BUDGET: Duration = Duration::from_secs(20);

/// One request as the factory saw it.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: HeaderMap,
    body: String,
}

/// A scripted answer: status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, String);

fn answer(status: u16, body: &str) -> Answer {
    (status, Vec::new(), body.to_owned())
}

struct Server {
    url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Serves `script`, which is given each request and how many came before it.
    async fn start(script: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound")).parse().expect("a URL");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&seen), Arc::new(script));
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                let serve = service_fn(move |request: Request<Incoming>| {
                    let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.expect("the body arrives").to_bytes();
                        let seen = Seen {
                            line: format!("{} {}", parts.method, parts.uri),
                            headers: parts.headers,
                            body: String::from_utf8(body.to_vec()).expect("the body is text"),
                        };
                        let before = {
                            let mut log = log.lock().expect("no test panics while it holds the log");
                            log.push(seen.clone());
                            log.len() - 1
                        };
                        let (status, headers, text) = script(&seen, before);
                        let mut reply = Reply::builder().status(status);
                        for (name, value) in headers {
                            reply = reply.header(name, value);
                        }
                        let text = if seen.line.starts_with("HEAD") { String::new() } else { text };
                        Ok::<_, Infallible>(reply.body(Full::new(Bytes::from(text))).expect("the script is sound"))
                    }
                });
                spawn(async move {
                    // A client that leaves is part of the tests.
                    let _gone =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Self { url, seen }
    }

    fn factory(&self) -> Factory {
        factory(self.url.clone(), None)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics while it holds the log").clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the server of a test runs beside the test")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(future));
}

fn factory(base: Url, ca: Option<Vec<u8>>) -> Factory {
    let public = "https://factory.example".parse().expect("a URL");
    // The system of a test may have no roots at all, so one is always given.
    let ca = ca.or_else(|| Some(certificate().cert.pem().into_bytes()));
    Factory::new(FactoryOptions { base, public, ca }).expect("the client is set up")
}

fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate is made")
}

fn asset() -> Asset {
    Asset {
        schematic: ID.into(),
        version: "v1.12.4".into(),
        platform: "nocloud".into(),
        arch: "amd64".into(),
        secureboot: true,
    }
}

fn agent() -> Schematic {
    Schematic::new(Vec::new(), vec!["siderolabs/qemu-guest-agent".to_owned()])
}

#[tokio::test]
async fn a_schematic_is_sent_as_its_canonical_text_and_comes_back_with_our_id() {
    let server = Server::start(|seen, _| {
        let reply = serde_json::json!({ "id": ID, "schematic": seen.body });
        answer(201, &reply.to_string())
    })
    .await;
    let created = server.factory().create(&agent()).await.expect("it is created");
    assert_eq!(created, Created { id: ID.to_owned(), text: agent().canonical().ok() });
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "POST /schematics");
    assert_eq!(seen.headers["content-type"], "application/yaml");
    assert_eq!(seen.body, agent().canonical().expect("it is supported"));
}

#[tokio::test]
async fn an_older_factory_says_only_the_id() {
    let server = Server::start(|_, _| answer(201, &format!("{{\"id\":\"{ID}\"}}"))).await;
    assert_eq!(server.factory().create(&agent()).await.expect("it is created").text, None);
}

#[tokio::test]
async fn another_id_than_ours_is_an_error_with_both_texts() {
    let other = "0".repeat(64);
    let reply = serde_json::json!({ "id": other, "schematic": "owner: somebody\ncustomization: {}\n" });
    let server = Server::start(move |_, _| answer(201, &reply.to_string())).await;
    let error = server.factory().create(&agent()).await.expect_err("the ids differ").to_string();
    for part in [ID, &other, "owner: somebody\n", "siderolabs/qemu-guest-agent\n"] {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
}

#[tokio::test]
async fn an_id_that_we_cannot_compute_is_the_servers_to_give() {
    let text = "customization: { secureboot: { enrollKeys: 'off' } }";
    let other = "1".repeat(64);
    let reply = format!("{{\"id\":\"{other}\"}}");
    let server = Server::start(move |_, _| answer(201, &reply)).await;
    let schematic = Schematic::parse(text).expect("it parses");
    assert_eq!(server.factory().create(&schematic).await.expect("it is created").id, other);
    assert_eq!(server.seen()[0].body, text);
}

#[tokio::test]
async fn the_post_is_repeated_after_a_502_and_not_after_a_400() {
    let reply = format!("{{\"id\":\"{ID}\"}}");
    let server = Server::start(move |_, before| if before == 0 { answer(502, "") } else { answer(201, &reply) }).await;
    server.factory().create(&agent()).await.expect("the second attempt works");
    assert_eq!(server.lines(), ["POST /schematics", "POST /schematics"]);

    let server = Server::start(|_, _| {
        (400, vec![("x-request-id", "r-17".to_owned())], format!("yaml: unknown field{}\n", " x".repeat(1000)))
    })
    .await;
    let error = server.factory().create(&agent()).await.expect_err("it is refused");
    assert_eq!(server.lines().len(), 1);
    let text = error.to_string();
    for part in ["POST ", "/schematics", "400 Bad Request", "yaml: unknown field", "request r-17"] {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    let FactoryError::Refused { body, .. } = error else { panic!("another error: {error}") };
    assert_eq!(body.chars().count(), BODY);
}

#[tokio::test]
async fn something_else_than_a_factory_is_told_so() {
    let server = Server::start(|_, _| answer(200, "<html>Welcome</html>")).await;
    let error = server.factory().versions().await.expect_err("that is no list").to_string();
    assert!(error.contains("is this an image factory?"), "{error}");
    let server = Server::start(|_, _| answer(201, "{\"id\":\"../../etc\"}")).await;
    let error = server.factory().create(&agent()).await.expect_err("that is no id").to_string();
    assert!(error.contains("is no schematic id"), "{error}");
}

#[tokio::test]
async fn ids_versions_and_extensions_are_asked_for() {
    let server = Server::start(|seen, _| match seen.line.as_str() {
        "GET /versions" => answer(200, r#"["v1.12.3","v1.12.4"]"#),
        "GET /version/v1.12.4/extensions/official" => {
            answer(200, r#"[{"name":"siderolabs/gvisor","ref":"r","digest":"d","author":"a"}]"#)
        }
        line if line == format!("GET /schematics/{ID}") => answer(200, "customization: {}\n"),
        _ => answer(404, "schematic not found\n"),
    })
    .await;
    let factory = server.factory();
    assert!(factory.known(ID).await.expect("it answers"));
    assert!(!factory.known(&"0".repeat(64)).await.expect("it answers"));
    assert_eq!(factory.versions().await.expect("it answers"), ["v1.12.3", "v1.12.4"]);
    for version in ["1.12.4", "v1.12.4"] {
        let extensions = factory.extensions(version).await.expect("it answers");
        assert_eq!(extensions, [Extension { name: "siderolabs/gvisor".into() }]);
    }
}

#[tokio::test]
async fn warming_waits_through_bad_gateways_and_says_why() {
    let server = Server::start(|_, before| match before {
        0 => answer(502, ""),
        1 => answer(429, ""),
        _ => (200, vec![("content-length", "123456789".to_owned())], String::new()),
    })
    .await;
    let mut reasons = Vec::new();
    let size = server.factory().warm_image(&asset(), BUDGET, |reason| reasons.push(reason.to_owned())).await;
    assert_eq!(size.expect("it is built"), Some(123_456_789));
    let path = format!("HEAD /image/{ID}/v1.12.4/nocloud-amd64-secureboot.iso");
    assert_eq!(server.lines(), vec![path; 3]);
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("building") && reasons[1].contains("502") && reasons[2].contains("429"), "{reasons:?}");
}

#[tokio::test]
async fn a_404_is_forgiven_once() {
    let server = Server::start(|_, before| answer(if before == 0 { 404 } else { 200 }, "")).await;
    server.factory().warm_image(&asset(), BUDGET, |_| {}).await.expect("it is seen the second time");
    assert_eq!(server.lines().len(), 2);

    let server = Server::start(|_, _| answer(404, "schematic ID not found\n")).await;
    let error = server.factory().warm_image(&asset(), BUDGET, |_| {}).await.expect_err("it is not there");
    assert!(error.missing() && error.to_string().contains("schematic ID not found"), "{error}");
    let methods: Vec<String> = server.lines().iter().map(|line| line[..4].to_owned()).collect();
    assert_eq!(methods, ["HEAD", "HEAD", "GET "], "the last one asks for the reason");
}

#[tokio::test]
async fn a_decided_refusal_is_not_asked_again() {
    for status in [400, 401, 402, 403] {
        let server = Server::start(move |_, _| answer(status, "official extension \"x\" is not available\n")).await;
        let error = server.factory().warm_image(&asset(), BUDGET, |_| {}).await.expect_err("it is refused");
        assert!(error.to_string().contains("official extension"), "{status}: {error}");
        assert_eq!(server.lines().len(), 2, "one HEAD, one GET for the reason");

        let error = server.factory().warm_installer(&asset(), BUDGET, |_| {}).await.expect_err("it is refused");
        assert!(error.to_string().contains("official extension"), "{status}: {error}");
        assert_eq!(server.lines().len(), 3);
    }
}

#[tokio::test]
async fn the_installer_is_pulled_as_a_machine_would() {
    let server = Server::start(|_, before| answer(if before == 0 { 500 } else { 200 }, "{}")).await;
    server.factory().warm_installer(&asset(), BUDGET, |_| {}).await.expect("it is built");
    let seen = server.seen();
    assert_eq!(seen[1].line, format!("GET /v2/nocloud-installer-secureboot/{ID}/manifests/v1.12.4"));
    let accept = seen[1].headers["accept"].to_str().expect("it is text");
    assert!(accept.contains("vnd.oci.image.index.v1+json") && accept.contains("manifest.list.v2+json"), "{accept}");
}

#[tokio::test]
async fn an_exhausted_budget_repeats_the_last_reason() {
    let server = Server::start(|_, _| answer(503, "")).await;
    let budget = Duration::from_millis(1500);
    let error = server.factory().warm_image(&asset(), budget, |_| {}).await.expect_err("it never comes").to_string();
    assert!(error.contains("within 1s") && error.contains("503"), "{error}");

    // A port that nobody listens on: the listener is gone when the name is used.
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://{}", gone.local_addr().expect("it is bound")).parse().expect("a URL");
    drop(gone);
    let error = factory(url, None).warm_image(&asset(), budget, |_| {}).await.expect_err("nobody is there").to_string();
    assert!(error.contains("no answer") && error.to_lowercase().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_download_follows_to_another_host_and_tells_it_nothing() {
    let store = Server::start(|_, _| answer(200, "the image")).await;
    let there = store.url.join("blob?sig=1").expect("a URL").to_string();
    let server = Server::start(move |_, _| (302, vec![("location", there.clone())], String::new())).await;
    let mut download = server.factory().open(&asset()).await.expect("it is opened");
    assert_eq!(download.length, Some(9));
    let mut bytes = Vec::new();
    while let Some(chunk) = download.stream.next().await {
        bytes.extend_from_slice(&chunk.expect("it arrives"));
    }
    assert_eq!(bytes, b"the image");
    let seen = &store.seen()[0];
    assert_eq!(seen.line, "GET /blob?sig=1");
    for header in ["authorization", "cookie", "referer"] {
        assert!(!seen.headers.contains_key(header), "{header} was forwarded");
    }
}

#[tokio::test]
async fn a_download_that_breaks_off_is_an_error_and_not_a_short_file() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound")).parse().expect("a URL");
    spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the client comes");
        let mut request = [0; 4096];
        let _length = stream.read(&mut request).await.expect("it asks");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.expect("it listens");
    });
    let download = factory(url, None).open(&asset()).await.expect("it is opened");
    let chunks: Vec<_> = download.stream.collect().await;
    assert!(matches!(chunks.last(), Some(Err(FactoryError::BrokeOff { .. }))));
}

#[tokio::test]
async fn a_private_ca_is_trusted_when_it_is_given_and_only_then() {
    let known = certificate();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has both protocols")
        .with_no_client_auth()
        .with_single_cert(
            vec![known.cert.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(known.signing_key.serialize_der()).into(),
        )
        .expect("key and certificate belong together");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url: Url = format!("https://{}", listener.local_addr().expect("it is bound")).parse().expect("a URL");
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let serve = service_fn(async |_| Ok::<_, Infallible>(Reply::new(Full::new(Bytes::from("[\"v1.12.4\"]")))));
            spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                let _gone = http.serve_connection(TokioIo::new(stream), serve).await;
            });
        }
    });
    let trusting = factory(url.clone(), Some(known.cert.pem().into_bytes()));
    assert_eq!(trusting.versions().await.expect("it is trusted"), ["v1.12.4"]);
    let stranger = factory(url.clone(), None);
    let error = stranger.warm_image(&asset(), BUDGET, |_| {}).await.expect_err("it is a stranger");
    assert!(matches!(error, FactoryError::NoAnswer { .. }), "waited for a wrong certificate: {error}");
    let public = url.clone();
    let error = Factory::new(FactoryOptions { base: url, public, ca: Some(b"no PEM at all".to_vec()) });
    assert!(matches!(error, Err(FactoryError::Ca { .. })));
}
