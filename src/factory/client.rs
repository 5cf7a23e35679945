//! Talking to a factory. Every request is safe to repeat: the POST is content-addressed, the rest only read.

use std::time::Duration;

use backon::Retryable;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::Method;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::asset::{Asset, at, registry};
use super::error::FactoryError;
use super::schematic::Schematic;

/// For answers that the factory has at hand; images are built inside the request and have a budget of their own.
const AT_HAND: Duration = Duration::from_secs(30);
/// Builds and downloads take as long as they take: only silence is bounded, so that a connection that died unnoticed
/// cannot eat a whole budget. A build that is cut off here goes on, and the next attempt joins it.
const SILENCE: Duration = Duration::from_secs(5 * 60);
/// How much of an error's body is kept.
const BODY: usize = 500;

/// Where the factory is.
#[derive(Clone, Debug)]
pub struct FactoryOptions {
    /// Where we talk to it.
    pub base: Url,
    /// What nodes and machines call it: in download URLs and installer references.
    pub public: Url,
    /// PEM certificates to trust, and no others: a factory of one's own. The system's when absent.
    pub ca: Option<Vec<u8>>,
}

/// A factory's answer to a schematic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub id: String,
    /// Its canonical text (image-factory 1.3).
    pub text: Option<String>,
}

/// An official extension, as the factory lists it for one Talos version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Extension {
    /// `siderolabs/qemu-guest-agent`.
    pub name: String,
}

/// An image on its way.
pub struct Download {
    /// Bytes, if the factory said how many.
    pub length: Option<u64>,
    pub stream: BoxStream<'static, Result<Bytes, FactoryError>>,
}

/// A client of one factory.
#[derive(Clone, Debug)]
pub struct Factory {
    http: Client,
    base: Url,
    public: Url,
}

impl Factory {
    /// Prepares a client; nothing is sent.
    pub fn new(options: FactoryOptions) -> Result<Self, FactoryError> {
        let FactoryOptions { base, public, ca } = options;
        let url = || Box::new(base.clone());
        let mut client = Client::builder()
            .user_agent(concat!("pvetalos/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(SILENCE)
            .tcp_keepalive(Duration::from_secs(30))
            .referer(false)
            .redirect(Policy::custom(|attempt| {
                let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
                if secure && attempt.url().scheme() != "https" {
                    attempt.error("redirected from https to http")
                } else if attempt.previous().len() > 10 {
                    attempt.error("redirected more than ten times")
                } else {
                    attempt.follow()
                }
            }));
        if loopback(&base) {
            client = client.no_proxy();
        }
        if let Some(pem) = ca {
            let bad = |reason: String| FactoryError::Ca { url: url(), reason };
            let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(error.to_string()))?;
            if roots.is_empty() {
                return Err(bad("it holds no PEM certificate".into()));
            }
            client = client.tls_certs_only(roots);
        }
        let http = client.build().map_err(|source| FactoryError::Setup { url: url(), source })?;
        Ok(Self { http, base, public })
    }

    /// The factory as nodes and machines call it.
    pub fn public(&self) -> &Url {
        &self.public
    }

    /// Where a node downloads the ISO.
    pub fn image_url(&self, asset: &Asset) -> Url {
        asset.url(&self.public)
    }

    /// What a machine installs from.
    pub fn installer(&self, asset: &Asset) -> String {
        asset.installer(&registry(&self.public))
    }

    /// Makes the schematic known to the factory. The id is the factory's; where ours can be computed they must agree.
    pub async fn create(&self, schematic: &Schematic) -> Result<Created, FactoryError> {
        #[derive(Deserialize)]
        struct Reply {
            id: String,
            schematic: Option<String>,
        }
        let url = at(&self.base, &["schematics"]);
        let post = || async {
            let request = self.http.post(url.clone()).header("content-type", "application/yaml");
            let request = request.body(schematic.body()).timeout(AT_HAND);
            let reply: Reply = self.json(Method::POST, &url, request).await?;
            if reply.id.len() == 64 && reply.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Ok(Created { id: reply.id, text: reply.schematic });
            }
            let reason = format!("{:?} is no schematic id", reply.id);
            Err(FactoryError::Unreadable { method: Method::POST, url: Box::new(url.clone()), reason })
        };
        let created = post.retry(crate::retry::policy()).when(FactoryError::passing).await?;
        match schematic.canonical().and_then(|text| Ok((text, schematic.id()?))) {
            Ok((our_text, ours)) if ours != created.id => Err(FactoryError::Mismatch {
                factory: Box::new(self.base.clone()),
                ours,
                theirs: created.id,
                our_text,
                their_text: created.text,
            }),
            _ => Ok(created),
        }
    }

    /// Whether the factory has the schematic `id` (image-factory 0.9; older ones say no to every id).
    pub async fn known(&self, id: &str) -> Result<bool, FactoryError> {
        let url = at(&self.base, &["schematics", id]);
        let get = || async { self.send(Method::GET, &url, self.http.get(url.clone()).timeout(AT_HAND)).await };
        match get.retry(crate::retry::policy()).when(FactoryError::passing).await {
            Ok(_) => Ok(true),
            Err(error) if error.missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The Talos versions that it builds, such as `v1.12.4`.
    pub async fn versions(&self) -> Result<Vec<String>, FactoryError> {
        self.list(at(&self.base, &["versions"])).await
    }

    /// The official extensions for `version` (with or without v).
    pub async fn extensions(&self, version: &str) -> Result<Vec<Extension>, FactoryError> {
        let version = format!("v{}", version.trim_start_matches('v'));
        self.list(at(&self.base, &["version", &version, "extensions", "official"])).await
    }

    async fn list<T: DeserializeOwned>(&self, url: Url) -> Result<T, FactoryError> {
        let get = || async { self.json(Method::GET, &url, self.http.get(url.clone()).timeout(AT_HAND)).await };
        get.retry(crate::retry::policy()).when(FactoryError::passing).await
    }

    /// Opens the ISO for reading, wherever the factory redirects to. Warm it first: a cold image is built inside this.
    pub async fn open(&self, asset: &Asset) -> Result<Download, FactoryError> {
        let url = asset.url(&self.base);
        let get = || async { self.send(Method::GET, &url, self.http.get(url.clone())).await };
        let response = get.retry(crate::retry::policy()).when(FactoryError::passing).await?;
        let length = response.content_length();
        // Without the URL that it was redirected to, whose query may be a signature.
        let broke_off = move |source: reqwest::Error| FactoryError::BrokeOff {
            method: Method::GET,
            url: Box::new(url.clone()),
            source: source.without_url(),
        };
        let stream = response.bytes_stream().map(move |chunk| chunk.map_err(&broke_off)).boxed();
        Ok(Download { length, stream })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        request: reqwest::RequestBuilder,
    ) -> Result<T, FactoryError> {
        let response = self.send(method.clone(), url, request).await?;
        let body = response.bytes().await.map_err(|source| FactoryError::BrokeOff {
            method: method.clone(),
            url: Box::new(url.clone()),
            source: source.without_url(),
        })?;
        serde_json::from_slice(&body).map_err(|error| FactoryError::Unreadable {
            method,
            url: Box::new(url.clone()),
            reason: error.to_string(),
        })
    }

    /// Sends one request; anything but success becomes an error that says all that the factory said.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, FactoryError> {
        let response = request.send().await.map_err(|source| FactoryError::NoAnswer {
            method: method.clone(),
            url: Box::new(url.clone()),
            source: source.without_url(),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = start(response).await;
        Err(FactoryError::Refused { method, url: Box::new(url.clone()), status, body, request_id })
    }

    pub(super) fn http(&self) -> &Client {
        &self.http
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }
}

/// The first characters of a body, however much there is of it.
async fn start(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        // Four bytes are the longest character.
        if bytes.len() >= BODY * 4 {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).trim().chars().take(BODY).collect()
}

/// A proxy for the Internet has no way to our own loopback.
fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests;
