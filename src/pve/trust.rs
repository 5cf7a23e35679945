//! Whom we speak to: system roots, a CA of the user's, or one pinned certificate. There is no insecure mode.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use url::Url;

use super::error::{PveError, innermost};

/// Which certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the operating system's roots: for nodes with a publicly signed certificate.
    SystemRoots,
    /// Those of these CAs only, as PEM: `/etc/pve/pve-root-ca.pem` of the cluster.
    Ca(Vec<u8>),
    /// This one, whatever name it bears and whoever signed it.
    Fingerprint(Fingerprint),
}

/// SHA-256 of a certificate's DER, written `AB:CD:…` as Proxmox does everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, der);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 hexadecimal bytes.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no SHA-256 fingerprint: expected 32 bytes such as AB:CD:…")]
pub struct BadFingerprint(String);

/// With or without colons, in either case.
impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(&digits, &mut bytes).map_err(|_| BadFingerprint(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

/// The fingerprint of the certificate that `endpoint` presents now, believed by nobody yet: for the user to compare.
pub async fn seen_fingerprint(endpoint: &Url) -> Result<Fingerprint, PveError> {
    // The pin that no certificate has: the handshake ends before anything is sent, and the error holds what was seen.
    let nobody = Trust::Fingerprint(Fingerprint([0; 32]));
    let client = client(&nobody)?;
    match client.get(endpoint.clone()).send().await {
        Ok(_) => Err(PveError::Options(format!("{endpoint} speaks no TLS"))),
        Err(error) => match verdict(&error) {
            Some(Verdict::WrongPin { seen, .. }) => Ok(seen),
            _ => Err(PveError::NeverSent {
                request: "the question for a certificate".into(),
                endpoint: endpoint.to_string(),
                source: error.without_url(),
            }),
        },
    }
}

/// An HTTP client that believes `trust` and nothing else.
pub(super) fn client(trust: &Trust) -> Result<reqwest::Client, PveError> {
    let builder = super::transport::client_builder();
    let builder = match trust {
        Trust::SystemRoots => builder.tls_backend_rustls(),
        Trust::Ca(pem) => {
            let roots = reqwest::Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|roots| !roots.is_empty())
                .ok_or_else(|| PveError::Options("the CA file holds no PEM certificate".into()))?;
            builder.tls_backend_rustls().tls_certs_only(roots)
        }
        Trust::Fingerprint(expected) => builder.tls_backend_preconfigured(pinned(*expected)),
    };
    builder.build().map_err(|error| PveError::Options(innermost(&error)))
}

fn pinned(expected: Fingerprint) -> rustls::ClientConfig {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let verifier = Pinned { expected, algorithms: provider.signature_verification_algorithms };
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the cipher suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth()
}

/// Believes one certificate. The handshake's signature is still verified: without that a pin proves
/// nothing, since anybody may present a certificate whose key only its owner has.
#[derive(Debug)]
struct Pinned {
    expected: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Travels through rustls, hyper and reqwest inside the handshake's error.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected}, seen {seen}")]
struct WrongPin {
    expected: Fingerprint,
    seen: Fingerprint,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = Fingerprint::of(leaf);
        if seen == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = WrongPin { expected: self.expected, seen };
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(wrong)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why a certificate was refused.
pub(super) enum Verdict {
    WrongPin { expected: Fingerprint, seen: Fingerprint },
    Untrusted,
}

/// Looks for a refused certificate among the causes of a failed connection.
pub(super) fn verdict(error: &reqwest::Error) -> Option<Verdict> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        // An io::Error names as its source the source of what it wraps, and skips the wrapped error itself.
        let wrapped = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = wrapped.and_then(|inner| inner.downcast_ref()).or_else(|| current.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(why)) = tls {
            return Some(match why {
                CertificateError::Other(OtherError(other)) => match other.downcast_ref::<WrongPin>() {
                    Some(wrong) => Verdict::WrongPin { expected: wrong.expected, seen: wrong.seen },
                    None => Verdict::Untrusted,
                },
                _ => Verdict::Untrusted,
            });
        }
        cause = match wrapped {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    None
}
