//! Having an image built, and waiting for it.
//!
//! The factory builds inside the request and sends nothing before it is done: up to 20
//! minutes, in one flight for all who ask, and going on when a caller leaves
//! (image-factory: internal/asset). So an attempt that is cut off, by a proxy's 502 or by
//! our own limit on silence, costs nothing: the next one joins the same build.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method};
use url::Url;

use super::asset::Asset;
use super::client::Factory;
use super::error::FactoryError;
use crate::wait::{self, Pace, Probe, WaitError};

/// The kinds of manifest that containerd asks for.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";
/// Kinder than [`Pace::STEADY`]: a factory that answers 429 or 5xx is everybody's.
const PACE: Pace = Pace { first: Duration::from_millis(150), max: Duration::from_secs(15) };

impl Factory {
    /// Has the ISO built and answers with its size in bytes, if the factory says it. `waiting` hears why it takes long.
    ///
    /// Repeats what was not decided (no connection, 408, 429, 5xx) until `budget` is used up; one 404 is
    /// asked again, because a factory may not yet see a schematic that it has just accepted.
    pub async fn warm_image(
        &self,
        asset: &Asset,
        budget: Duration,
        waiting: impl FnMut(&str),
    ) -> Result<Option<u64>, FactoryError> {
        let url = asset.url(self.base());
        let headers = self.warm(Method::HEAD, &url, &asset.file_name(), "", budget, waiting).await?;
        Ok(headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok()))
    }

    /// Has the installer built, as a machine's pull would, but with more patience than a machine has.
    pub async fn warm_installer(
        &self,
        asset: &Asset,
        budget: Duration,
        waiting: impl FnMut(&str),
    ) -> Result<(), FactoryError> {
        let url = asset.manifest(self.base());
        let what = self.installer(asset);
        self.warm(Method::GET, &url, &what, MANIFESTS, budget, waiting).await.map(|_| ())
    }

    async fn warm(
        &self,
        method: Method,
        url: &Url,
        what: &str,
        accept: &str,
        budget: Duration,
        mut waiting: impl FnMut(&str),
    ) -> Result<HeaderMap, FactoryError> {
        waiting("the factory is building it, or has it already");
        let forgiven = AtomicBool::new(false);
        let ask = async |method: Method| {
            let mut request = self.http().request(method.clone(), url.clone());
            if !accept.is_empty() {
                request = request.header("accept", accept);
            }
            self.send(method, url, request).await
        };
        let probe = || async {
            match ask(method.clone()).await {
                Ok(response) => Probe::Ready(response.headers().clone()),
                Err(error) if error.passing() => Probe::NotYet(brief(&error)),
                Err(error) if error.missing() && !forgiven.swap(true, Ordering::Relaxed) => {
                    Probe::NotYet(brief(&error))
                }
                // An answer to HEAD has no body, and the body is where the factory says what is wrong.
                Err(error) if method == Method::HEAD => Probe::Never(ask(Method::GET).await.err().unwrap_or(error)),
                Err(error) => Probe::Never(error),
            }
        };
        wait::until(what, PACE, budget, waiting, probe).await.map_err(|error| match error {
            WaitError::TimedOut { what, after, last } => FactoryError::TimedOut { what, after, last },
            WaitError::Never(error) => error,
        })
    }
}

/// One line: a reason to wait, not a failure. A proxy's page of HTML is no part of it.
fn brief(error: &FactoryError) -> String {
    if let FactoryError::Refused { status, .. } = error {
        return format!("the factory answered {status}; asking again");
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
