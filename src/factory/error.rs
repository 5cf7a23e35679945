//! What goes wrong with a factory.

use std::time::Duration;

use http::{Method, StatusCode};
use url::Url;

use super::asset::PUBLIC;
use crate::wait::humanise;

/// A request to the factory that did not end well: what was asked, what came back, what to do.
///
/// URLs are boxed because results of this type are returned everywhere, and a `Url` alone is 88 bytes.
#[derive(Debug, thiserror::Error)]
pub enum FactoryError {
    /// No client could be made.
    #[error(
        "set up the connection to the image factory {url}; a machine without CA certificates needs the package ca-certificates"
    )]
    Setup { url: Box<Url>, source: reqwest::Error },
    /// The given CA file holds no certificate.
    #[error("read the CA certificates for the image factory {url}: {reason}")]
    Ca { url: Box<Url>, reason: String },
    /// No answer: perhaps never sent, perhaps lost. Every request to a factory is safe to repeat.
    #[error("{method} {url}: no answer from the image factory")]
    NoAnswer { method: Method, url: Box<Url>, source: reqwest::Error },
    /// The answer broke off.
    #[error("{method} {url}: the image factory's answer broke off")]
    BrokeOff { method: Method, url: Box<Url>, source: reqwest::Error },
    /// An answer that says no. Bodies are plain text, and the text differs between releases: shown, never parsed.
    #[error("{method} {url}: the image factory answered {status}{}{}{}", said(body), request(request_id.as_ref()), hint(*status, url))]
    Refused {
        method: Method,
        url: Box<Url>,
        status: StatusCode,
        /// The first 500 characters.
        body: String,
        /// `X-Request-ID` (image-factory 1.4): what the operators of the factory can look up.
        request_id: Option<String>,
    },
    /// An answer of another shape than ours.
    #[error("{method} {url}: the image factory's answer cannot be read: {reason}; is this an image factory?")]
    Unreadable { method: Method, url: Box<Url>, reason: String },
    /// The factory computes another id for the same schematic: another release, or not what it claims to be.
    #[error(
        "the image factory {factory} gave the schematic the id {theirs}, but its canonical text has the id {ours}.\n\
         ours:\n{our_text}theirs:\n{}an Enterprise factory stamps an owner into schematics: give talos.factory.schematic_id instead",
        their_text.as_deref().unwrap_or("(it did not say)\n")
    )]
    Mismatch { factory: Box<Url>, ours: String, theirs: String, our_text: String, their_text: Option<String> },
    /// The budget is used up.
    #[error("{what} was not ready within {}; last seen: {last}", humanise(*after))]
    TimedOut { what: String, after: Duration, last: String },
}

impl FactoryError {
    /// Whether asking again may help: nothing was decided about the request itself.
    pub(super) fn passing(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => !source.is_builder() && !source.is_redirect() && !distrusted(source),
            Self::BrokeOff { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::Setup { .. }
            | Self::Ca { .. }
            | Self::Unreadable { .. }
            | Self::Mismatch { .. }
            | Self::TimedOut { .. } => false,
        }
    }

    pub(super) fn missing(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

/// Whether TLS itself said no: a wrong certificate stays wrong, and waiting would hide it for the whole budget.
fn distrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
        return true;
    }
    // An io::Error's source is that of the error which it wraps, so the wrapped one has to be asked for.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped.is_some_and(|inner| distrusted(inner)) || error.source().is_some_and(distrusted)
}

fn said(body: &str) -> String {
    let body = body.trim();
    if body.is_empty() { String::new() } else { format!(": {body}") }
}

fn request(id: Option<&String>) -> String {
    id.map(|id| format!(" (request {id})")).unwrap_or_default()
}

fn hint(status: StatusCode, url: &Url) -> &'static str {
    let public = url.host_str() == Some(PUBLIC);
    match status {
        StatusCode::NOT_FOUND => "; it serves only schematics that were sent to it and versions that it lists",
        StatusCode::PAYMENT_REQUIRED => "; this needs an Enterprise factory",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; this factory wants credentials, which are not supported",
        _ if status.is_server_error() && public => "; see https://status.siderolabs.com",
        _ => "",
    }
}
