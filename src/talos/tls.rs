//! TLS as Talos speaks it: Ed25519, leaf only, names that are addresses.
//!
//! One verifier serves both trusts. It always records what it saw, and it
//! always really checks the handshake's signature: without that, a certificate
//! proves nothing, since anybody can show a copy of it.

use std::fmt;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{Credentials, Meaning, TalosError};

/// The subject of every maintenance certificate, Talos 1.9 to 1.14.
pub(super) const MAINTENANCE_NAME: &str = "maintenance-service.talos.dev";

/// Whom to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Anybody; who it was is recorded.
    Anybody,
    /// Only who shows a certificate of our machine CA for the address that was dialled.
    Cluster,
}

/// What the other side showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The leaf's common name, empty if it has none.
    pub(super) name: String,
    /// Standard base64 of the SHA-256 over the leaf's public key (SubjectPublicKeyInfo), as the console shows it.
    pub(super) fingerprint: String,
    /// Whether it chains to our CA for the address that was dialled; `None` if we have no CA to ask.
    pub(super) chain: Option<Result<(), Error>>,
    /// Whether the verifier got as far as seeing a certificate.
    pub(super) any: bool,
}

impl Seen {
    pub(super) fn in_maintenance(&self) -> bool {
        self.name == MAINTENANCE_NAME
    }

    /// What a certificate that our CA does not vouch for says about the machine.
    pub(super) fn meaning(&self) -> Option<Meaning> {
        let Some(Err(Error::InvalidCertificate(error))) = &self.chain else { return None };
        match error {
            CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Expired
            | CertificateError::ExpiredContext { .. } => Some(Meaning::ClockSkew),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some(Meaning::WrongName)
            }
            _ if self.in_maintenance() => Some(Meaning::InMaintenance),
            _ => Some(Meaning::AnotherCluster),
        }
    }
}

pub(super) struct Verifier {
    trust: Trust,
    cluster: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Arc<Mutex<Seen>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let vouched = self.cluster.as_ref().map(|ca| ca.verify_server_cert(leaf, chain, name, ocsp, now).map(|_| ()));
        let (common_name, fingerprint) = subject(leaf)?;
        *self.seen.lock().expect("nothing panics while it holds this lock") =
            Seen { name: common_name, fingerprint, chain: vouched.clone(), any: true };
        match (self.trust, vouched) {
            (Trust::Anybody, _) | (Trust::Cluster, Some(Ok(()))) => Ok(ServerCertVerified::assertion()),
            (Trust::Cluster, Some(Err(error))) => Err(error),
            (Trust::Cluster, None) => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Common name and fingerprint of a leaf (construction: siderolabs/crypto x509/fingerprint.go).
fn subject(leaf: &CertificateDer<'_>) -> Result<(String, String), Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    let fingerprint = BASE64_STANDARD.encode(digest(&SHA256, parsed.public_key().raw));
    Ok((name.to_owned(), fingerprint))
}

/// A client configuration, and where its verifier will note what it saw.
///
/// With `credentials`, their CA is asked about the server (and believed or not, as `trust` says) and their certificate
/// is offered. Offering it is harmless: a machine in maintenance does not ask for it.
pub(super) fn config(
    trust: Trust,
    credentials: Option<&Credentials>,
) -> Result<(ClientConfig, Arc<Mutex<Seen>>), TalosError> {
    let provider = Arc::new(provider::default_provider());
    let cluster = credentials.map(|credentials| ca_verifier(&credentials.ca_pem, &provider)).transpose()?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let verifier = Verifier { trust, cluster, provider: provider.clone(), seen: seen.clone() };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default TLS versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some(credentials) => {
            let chain = certificates("client certificate", &credentials.crt_pem)?;
            builder.with_client_auth_cert(chain, private_key(credentials.key_pem.expose())?).map_err(|error| {
                TalosError::Credentials { what: "client certificate and key", reason: error.to_string() }
            })?
        }
    };
    // tonic would offer it for its own TLS only.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((config, seen))
}

fn ca_verifier(ca_pem: &str, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TalosError> {
    let bad = |reason: String| TalosError::Credentials { what: "machine CA", reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("machine CA", ca_pem)? {
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| bad(error.to_string()))
}

fn certificates(what: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, TalosError> {
    let blocks = pem::parse_many(text)
        .map_err(|error| TalosError::Credentials { what, reason: format!("no readable PEM: {error}") })?;
    let found: Vec<_> = blocks
        .into_iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(|block| CertificateDer::from(block.into_contents()))
        .collect();
    if found.is_empty() {
        return Err(TalosError::Credentials { what, reason: "it holds no CERTIFICATE block".into() });
    }
    Ok(found)
}

/// Talos labels its keys `ED25519 PRIVATE KEY` around an ordinary PKCS#8 body (siderolabs/crypto x509/key.go), which
/// rustls's own reader does not take for a key.
fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, TalosError> {
    let bad = |reason: String| TalosError::Credentials { what: "client key", reason };
    // The parser's error could quote the key: say only that it failed.
    let block = pem::parse(text).map_err(|_| bad("no readable PEM".into()))?;
    let label = block.tag().to_owned();
    match label.as_str() {
        "PRIVATE KEY" | "ED25519 PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(block.into_contents()).into()),
        "EC PRIVATE KEY" => Ok(PrivateKeyDer::Sec1(block.into_contents().into())),
        "RSA PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs1(block.into_contents().into())),
        _ => Err(bad(format!("the PEM label {label:?} is no private key's"))),
    }
}
