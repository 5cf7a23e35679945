//! The certificates that a machine shows, and the ones that it accepts.
//!
//! In maintenance mode a self-signed authority of the boot signs the leaf; once
//! configured, the machine authority of the configuration does. Only the leaf is
//! ever sent. Beside the machine's own addresses it names the loopback addresses
//! that stand for them, or kubectl and talosctl could not be pointed at the lab.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use time::{Duration, OffsetDateTime};

use crate::lab::fleet::applied::Authority;

/// Why a certificate could not be made: the configuration's authority is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign with the configuration's certificate authority: {0}")]
pub struct BadAuthority(String);

impl BadAuthority {
    fn from(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Who a leaf is for.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub common_name: String,
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
    /// Seconds by which the signer's clock is ahead.
    pub ahead: i64,
}

/// Talos: maintenance-service, self-signed for this boot, asks for no client certificate. With its fingerprint.
pub fn maintenance(names: &Names) -> (ServerConfig, String) {
    let ca_key = KeyPair::generate_for(&PKCS_ED25519).expect("the provider makes Ed25519 keys");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name.push(DnType::OrganizationName, "talos");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("the provider makes Ed25519 keys");
    let leaf = leaf(names, LASTS).signed_by(&key, &issuer).expect("these parameters are complete");
    let config = builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private(&key));
    let fingerprint = fingerprint(&key.subject_public_key_info());
    (without_resumption(config.expect("they belong together")), fingerprint)
}

/// As `talosctl --cert-fingerprint` takes it: base64 of the SHA-256 of the public key's DER.
fn fingerprint(public: &[u8]) -> String {
    BASE64_STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public))
}

/// An authority that nobody knows.
pub fn authority() -> Authority {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("the provider makes Ed25519 keys");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name.push(DnType::OrganizationName, "talos");
    let cert = ca.self_signed(&key).expect("these parameters are complete").pem();
    Authority { cert, key: key.serialize_pem() }
}

/// A server certificate from `authority`, with its key.
fn server(
    authority: &Authority,
    names: &Names,
    lasts: Duration,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), BadAuthority> {
    let issuer = issuer(authority)?;
    let key = KeyPair::generate_for(issuer.key().algorithm()).map_err(BadAuthority::from)?;
    let leaf = leaf(names, lasts).signed_by(&key, &issuer).map_err(BadAuthority::from)?;
    Ok((leaf.der().clone(), private(&key)))
}

/// A client certificate from `authority`: certificate and key in PEM, the key labelled as Talos labels it.
pub fn client(
    authority: &Authority,
    common_name: Option<&str>,
    organisations: &[String],
    valid: Duration,
) -> Result<(String, String), BadAuthority> {
    let issuer = issuer(authority)?;
    let key = KeyPair::generate_for(issuer.key().algorithm()).map_err(BadAuthority::from)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    for organisation in organisations {
        params.distinguished_name.push(DnType::OrganizationName, organisation.as_str());
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = OffsetDateTime::now_utc();
    params.not_after = params.not_before + valid;
    let certificate = params.signed_by(&key, &issuer).map_err(BadAuthority::from)?;
    let label = if key.algorithm() == &PKCS_ED25519 { "ED25519 PRIVATE KEY" } else { "PRIVATE KEY" };
    Ok((certificate.pem(), pem::encode(&pem::Pem::new(label, key.serialize_der()))))
}

/// What a server asks of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// A certificate that is good for nothing else: Talos.
    Exact,
    /// A certificate, or none: the Kubernetes API, which then knows the caller as anonymous.
    Optional,
}

/// A server certificate from `authority`, and clients of the same.
pub fn mutual(authority: &Authority, names: &Names, clients: Clients) -> Result<ServerConfig, BadAuthority> {
    let lasts = match clients {
        Clients::Exact => LASTS,
        Clients::Optional => Duration::days(365),
    };
    let (leaf, key) = server(authority, names, lasts)?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.cert.as_bytes()) {
        roots.add(root.map_err(BadAuthority::from)?).map_err(BadAuthority::from)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier: Arc<dyn ClientCertVerifier> = match clients {
        Clients::Exact => {
            Arc::new(ExactUsage { inner: verifier.build().map_err(BadAuthority::from)?, ahead: names.ahead })
        }
        Clients::Optional => verifier.allow_unauthenticated().build().map_err(BadAuthority::from)?,
    };
    let config = builder().with_client_cert_verifier(verifier).with_single_cert(vec![leaf], key);
    config.map(without_resumption).map_err(BadAuthority::from)
}

/// Talos hands out no session tickets: every connection shows its certificates.
fn without_resumption(mut config: ServerConfig) -> ServerConfig {
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
}

/// How long the certificates of Talos's own API are good. They are made anew after half of it.
const LASTS: Duration = Duration::hours(24);

fn leaf(names: &Names, lasts: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.common_name.as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = OffsetDateTime::now_utc() + Duration::seconds(names.ahead);
    params.not_after = params.not_before + lasts;
    let dns = names.dns.iter().filter_map(|name| name.as_str().try_into().ok().map(SanType::DnsName));
    params.subject_alt_names = dns.chain(names.ips.iter().map(|ip| SanType::IpAddress(*ip))).collect();
    params
}

fn issuer(authority: &Authority) -> Result<Issuer<'static, KeyPair>, BadAuthority> {
    let key = pem::parse(&authority.key).map_err(BadAuthority::from)?;
    let key = match key.tag() {
        // Talos labels PKCS#8 by its algorithm, which PEM readers do not know.
        "PRIVATE KEY" | "ED25519 PRIVATE KEY" => PrivateKeyDer::Pkcs8(key.into_contents().into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(key.into_contents().into()),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(key.into_contents().into()),
        other => return Err(BadAuthority(format!("a key labelled {other:?} is not known"))),
    };
    let key = KeyPair::try_from(&key).map_err(BadAuthority::from)?;
    Issuer::from_ca_cert_pem(&authority.cert, key).map_err(BadAuthority::from)
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// The organisations of a certificate's subject: Talos's roles.
pub fn organisations(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    parsed.subject().iter_organization().filter_map(|name| name.as_str().ok().map(str::to_owned)).collect()
}

/// Talos: `verifyExtKeyUsage`: the one usage clientAuth, no other and no more.
#[derive(Debug)]
struct ExactUsage {
    inner: Arc<dyn ClientCertVerifier>,
    /// Seconds by which the machine's clock is ahead.
    ahead: i64,
}

impl ClientCertVerifier for ExactUsage {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let now = Duration::seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_add(self.ahead));
        let now = UnixTime::since_unix_epoch(now.try_into().unwrap_or_default());
        let verified = self.inner.verify_client_cert(leaf, intermediates, now)?;
        let usage = x509_parser::parse_x509_certificate(leaf).ok().and_then(|(_, parsed)| {
            let usage = parsed.extended_key_usage().ok()??.value.clone();
            Some(usage.client_auth && !usage.server_auth && !usage.any && !usage.code_signing && usage.other.is_empty())
        });
        if usage == Some(true) {
            Ok(verified)
        } else {
            // Of all reasons this is the one that rustls reports as the alert that Go sends: bad_certificate.
            Err(CertificateError::BadEncoding.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
