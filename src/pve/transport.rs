//! HTTP as pve-http-server speaks it, under the typed requests of the `proxmox-api` crate.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::Retryable;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::ext::ReasonPhrase;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proxmox_api::client::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::cluster::Version;
use super::error::{Lost, PveError};
use super::gates::Gates;
use super::quirks::{self, Quirks};
use super::reply::{decode, unwrap};
use super::trust::{self, Trust, Verdict};
use crate::retry;
use crate::secrets::Token;

/// RFC 3986 unreserved characters; everything else is escaped. The server splits forms at `;` as well as
/// `&` and cuts values at a second `=`: `boot=order=scsi0;ide2` unescaped silently becomes something else.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longer than the 30 s after which a proxying node gives up, so that its 596 arrives before our own verdict.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a connection to a site needs.
pub struct Options {
    /// Nodes of one cluster, such as `https://pve1:8006`: every node serves the whole API. Tried in order.
    pub endpoints: Vec<Url>,
    pub token: Token,
    pub trust: Trust,
}

/// A connection to a Proxmox VE cluster. Cheap to clone; all clones share the pool and the limits.
#[derive(Clone)]
pub struct Pve(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    endpoints: Vec<Url>,
    /// Index of the endpoint that served when the connection was made.
    home: usize,
    /// Counts on from `home` with every endpoint that could not be reached.
    current: AtomicUsize,
    authorization: HeaderValue,
    token_id: String,
    gates: Gates,
    version: Version,
    quirks: &'static Quirks,
}

impl Pve {
    /// Connects to the first endpoint that serves `GET /version`.
    ///
    /// A refused token ends the search: the other nodes know the same tokens, and each refusal takes 3 s.
    pub async fn connect(options: Options) -> Result<Self, PveError> {
        if options.endpoints.is_empty() {
            return Err(PveError::Options("no endpoint is given".into()));
        }
        for endpoint in &options.endpoints {
            if endpoint.scheme() != "https" || endpoint.host().is_none() || endpoint.query().is_some() {
                return Err(PveError::Options(format!("{endpoint} is no endpoint: expected https://NODE:8006")));
            }
        }
        let mut inner = Inner {
            http: trust::client(&options.trust)?,
            endpoints: options.endpoints,
            home: 0,
            current: AtomicUsize::new(0),
            authorization: authorization(&options.token)?,
            token_id: options.token.id,
            gates: Gates::new(),
            version: Version::default(),
            quirks: quirks::of(u32::MAX, "")?,
        };
        let mut failures = Vec::new();
        for index in 0..inner.endpoints.len() {
            inner.home = index;
            inner.current.store(index, Ordering::Relaxed);
            match inner.attempt(&Method::GET, "/version", None, None).await {
                Ok(text) => {
                    inner.version = decode("GET /version", &text)?;
                    inner.quirks = quirks::of(inner.version.major, &inner.version.release)?;
                    return Ok(Self(Arc::new(inner)));
                }
                Err(error @ PveError::Unauthorized(_)) => return Err(error),
                Err(PveError::Untrusted { endpoint, source, .. }) => {
                    let seen = trust::seen_fingerprint(&inner.endpoints[index]).await.ok();
                    failures.push(PveError::Untrusted { endpoint, seen, source });
                }
                Err(error) => failures.push(error),
            }
        }
        Err(if failures.len() == 1 { failures.remove(0) } else { PveError::NoEndpoint(failures) })
    }

    /// `USER@REALM!NAME` of the token that is used.
    pub fn token_id(&self) -> &str {
        &self.0.token_id
    }

    /// The version that was read when the connection was made.
    pub fn version(&self) -> &Version {
        &self.0.version
    }

    /// What is particular to that version.
    pub fn quirks(&self) -> &'static Quirks {
        self.0.quirks
    }

    /// `GET path` without parameters.
    pub(super) async fn read<R: DeserializeOwned>(&self, path: &str) -> Result<R, PveError> {
        self.request_with_body_and_query::<(), (), R>(proxmox_api::client::Method::Get, path, None, None).await
    }

    /// `GET path?query`.
    pub(super) async fn query<R: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<R, PveError> {
        self.get(path, &query).await
    }

    /// A POST that is prepared by the caller, sent once: for bodies that can be read once only.
    pub(super) async fn send_once(
        &self,
        path: &str,
        patience: Duration,
        prepare: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<String, PveError> {
        let _permits = self.0.gates.pass(path).await;
        let request = self.0.request(&Method::POST, path, None).timeout(patience);
        self.0.exchange(&Method::POST, path, prepare(request)).await
    }
}

impl Client for Pve {
    type Error = PveError;

    async fn request_with_body_and_query<B: Serialize, Q: Serialize, R: DeserializeOwned>(
        &self,
        method: proxmox_api::client::Method,
        path: &str,
        body: Option<&B>,
        query: Option<&Q>,
    ) -> Result<R, PveError> {
        let method = Method::from_bytes(method.to_string().as_bytes()).expect("the crate knows four methods");
        let form = body.map(encode).transpose()?;
        let query = query.map(encode).transpose()?;
        let attempt = || self.0.attempt(&method, path, form.as_deref(), query.as_deref());
        let repeatable = |error: &PveError| match error {
            PveError::NeverSent { .. } => true,
            PveError::PerhapsDone { how: Lost::BeforeReply, .. } => method == Method::GET,
            _ => false,
        };
        let text = attempt.retry(retry::policy()).when(repeatable).await?;
        decode(&format!("{method} {path}"), &text)
    }
}

impl Inner {
    /// One request, and the text of `data`. An endpoint that cannot be reached makes way for the next.
    async fn attempt(
        &self,
        method: &Method,
        path: &str,
        form: Option<&str>,
        query: Option<&str>,
    ) -> Result<String, PveError> {
        let _permits = self.gates.pass(path).await;
        let mut request = self.request(method, path, query).timeout(PATIENCE);
        if let Some(form) = form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.to_owned());
        }
        self.exchange(method, path, request).await
    }

    fn request(&self, method: &Method, path: &str, query: Option<&str>) -> reqwest::RequestBuilder {
        let base = self.endpoint().as_str().trim_end_matches('/');
        let mark = if query.is_some_and(|query| !query.is_empty()) { "?" } else { "" };
        let url = format!("{base}/api2/json{path}{mark}{}", query.unwrap_or(""));
        self.http.request(method.clone(), url).header(AUTHORIZATION, self.authorization.clone())
    }

    /// Where requests go now. Requests side by side may step over an endpoint twice; a retry finds it again.
    fn endpoint(&self) -> &Url {
        &self.endpoints[self.current.load(Ordering::Relaxed) % self.endpoints.len()]
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<String, PveError> {
        let name = format!("{method} {path}");
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.unsent_or_lost(name, error)),
        };
        let status = answer.status();
        // hyper keeps the phrase only when it differs from the usual one, and drops it when it is not ASCII.
        let phrase = answer.extensions().get::<ReasonPhrase>();
        let phrase = phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).trim().to_owned());
        let usual = || status.canonical_reason().unwrap_or("").to_owned();
        let reason = phrase.filter(|phrase| !phrase.is_empty()).unwrap_or_else(usual);
        let body = answer.bytes().await;
        // An error is one whether or not its body arrives: pve-http-server closes the connection with it.
        let body = match body {
            Ok(body) => body,
            Err(_) if !status.is_success() => bytes::Bytes::new(),
            Err(error) => {
                let how = if error.is_timeout() { Lost::TimedOut } else { Lost::MidReply };
                return Err(PveError::PerhapsDone { request: name, how, source: Box::new(error.without_url()) });
            }
        };
        unwrap(name, status, reason, &String::from_utf8_lossy(&body))
    }

    fn unsent_or_lost(&self, request: String, error: reqwest::Error) -> PveError {
        let endpoint = self.endpoint().to_string();
        let at_home = *self.endpoint() == self.endpoints[self.home];
        match trust::verdict(&error) {
            Some(Verdict::WrongPin { expected, seen }) if at_home => {
                PveError::WrongFingerprint { endpoint, expected, seen }
            }
            Some(Verdict::Untrusted) if at_home => {
                PveError::Untrusted { endpoint, seen: None, source: error.without_url() }
            }
            // A stand-in with another certificate is as good as none: one pin fits one node.
            verdict if verdict.is_some() || error.is_connect() || error.is_builder() => {
                self.current.fetch_add(1, Ordering::Relaxed);
                PveError::NeverSent { request, endpoint, source: error.without_url() }
            }
            _ => {
                let how = if error.is_timeout() { Lost::TimedOut } else { Lost::BeforeReply };
                PveError::PerhapsDone { request, how, source: Box::new(error.without_url()) }
            }
        }
    }
}

/// What every client of ours has in common, whomever it trusts.
pub(super) fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("pvetalos/", env!("CARGO_PKG_VERSION")))
        .https_only(true)
        .http1_only()
        // The API is on the user's own network, and a proxy of the environment would see the token's use.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        // The server closes idle connections after 5 s without a word; we must have left first.
        .pool_idle_timeout(Duration::from_secs(2))
}

/// `PVEAPIToken=ID=SECRET`, percent-encoded where the server would cut it (at `;`) or decode it (`%`).
fn authorization(token: &Token) -> Result<HeaderValue, PveError> {
    const LITERAL: AsciiSet = RESERVED.remove(b'@').remove(b'!').remove(b'+').remove(b'=');
    let id = utf8_percent_encode(&token.id, &LITERAL);
    let secret = utf8_percent_encode(token.secret.expose(), &LITERAL);
    let mut value = HeaderValue::try_from(format!("PVEAPIToken={id}={secret}"))
        .map_err(|_| PveError::Options("the API token cannot be put into a header".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Parameters as a form or a query.
fn encode(parameters: &impl Serialize) -> Result<String, PveError> {
    let loose = serde_urlencoded::to_string(parameters)
        .map_err(|error| PveError::Options(format!("these parameters cannot be written as a form: {error}")))?;
    let strict = |text: Cow<'_, str>| utf8_percent_encode(&text, &RESERVED).to_string();
    let pairs = url::form_urlencoded::parse(loose.as_bytes());
    Ok(pairs.map(|(key, value)| format!("{}={}", strict(key), strict(value))).collect::<Vec<_>>().join("&"))
}
