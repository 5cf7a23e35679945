//! Keys and certificates in exactly the encodings that Talos reads on every version.
//!
//! Two traps decide the form: Talos 1.9 takes only the specific PEM labels, and OpenSSL 3.0 refuses the PKCS#8 v2
//! (83 bytes) that key libraries prefer for Ed25519, so v1 (48 bytes) is written.

mod check;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::secrets::Secret;

pub(super) use check::{check_certificate, check_key, check_pair, check_pem, check_pkcs8, has_certificate};

const CERTIFICATE_AUTHORITY: Duration = Duration::hours(87_600);
const CLIENT: Duration = Duration::hours(8_760);

/// Key material could not be made or used. Never shows any of it.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("failed to generate {what}")]
    Generate { what: &'static str },
    #[error("failed to sign {what}")]
    Sign { what: &'static str, source: rcgen::Error },
    #[error("failed to read the issuing CA")]
    Issuer { source: rcgen::Error },
}

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct Pair {
    pub crt: String,
    pub key: Secret,
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Generate { what: "random bytes" })?;
    Ok(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

/// A P-256 CA whose subject has at most an organization. Kubernetes and etcd use these.
pub(super) fn p256_ca(organization: Option<&str>, now: OffsetDateTime) -> Result<Pair, PkiError> {
    let wrong = |_| PkiError::Generate { what: "an ECDSA P-256 key" };
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(wrong)?;
    let sec1 = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&key.private_key()).map_err(wrong)?;
    let pkcs8 = key.to_pkcs8v1().map_err(wrong)?;
    Ok(Pair {
        crt: ca_certificate(organization, pkcs8.as_ref(), now)?,
        key: Secret::new(pem("EC PRIVATE KEY", sec1.as_ref())),
    })
}

/// The Ed25519 CA of the Talos API.
pub(super) fn ed25519_ca(organization: &str, now: OffsetDateTime) -> Result<Pair, PkiError> {
    let (key, der) = ed25519()?;
    Ok(Pair { crt: ca_certificate(Some(organization), &der, now)?, key })
}

fn ed25519() -> Result<(Secret, Vec<u8>), PkiError> {
    let wrong = |_| PkiError::Generate { what: "an Ed25519 key" };
    let key = Ed25519KeyPair::generate().map_err(wrong)?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(wrong)?;
    Ok((Secret::new(pem("ED25519 PRIVATE KEY", der.as_ref())), der.as_ref().to_vec()))
}

/// The RSA-4096 key that signs service account tokens, PKCS#1. Takes about a second, seldom three.
pub(super) fn rsa_4096() -> Result<Secret, PkiError> {
    let wrong = || PkiError::Generate { what: "an RSA-4096 key" };
    let key = PrivateDecryptingKey::generate(KeySize::Rsa4096).map_err(|_| wrong())?;
    let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(|_| wrong())?;
    let pkcs1 = pkcs1_of(pkcs8.as_ref()).ok_or_else(wrong)?;
    Ok(Secret::new(pem("RSA PRIVATE KEY", pkcs1)))
}

/// PKCS#8 is `SEQUENCE { version, algorithm, OCTET STRING { PKCS#1 } }`.
fn pkcs1_of(pkcs8: &[u8]) -> Option<&[u8]> {
    let (_, inner, _) = tlv(pkcs8)?;
    let (_, _, after_version) = tlv(inner)?;
    let (_, _, after_algorithm) = tlv(after_version)?;
    tlv(after_algorithm).filter(|(tag, ..)| *tag == 4).map(|(_, content, _)| content)
}

/// One DER element: tag, content, rest.
fn tlv(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().try_fold(0_usize, |all, byte| all.checked_mul(256)?.checked_add(usize::from(*byte)))?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn params(organization: Option<&str>, now: OffsetDateTime, lifetime: Duration) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    // X.509 counts whole seconds.
    params.not_before = now.replace_nanosecond(0).expect("0 is a nanosecond");
    params.not_after = params.not_before + lifetime;
    let mut serial = random::<16>()?;
    // Positive, and never with a leading zero that DER would have to drop.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn ca_certificate(organization: Option<&str>, pkcs8: &[u8], now: OffsetDateTime) -> Result<String, PkiError> {
    let mut params = params(organization, now, CERTIFICATE_AUTHORITY)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.key_identifier_method = KeyIdMethod::PreSpecified(random::<20>()?.to_vec());
    let key = KeyPair::try_from(pkcs8).map_err(|source| PkiError::Sign { what: "a CA certificate", source })?;
    let certificate = params.self_signed(&key).map_err(|source| PkiError::Sign { what: "a CA certificate", source })?;
    Ok(pem("CERTIFICATE", certificate.der()))
}

/// A client certificate for the Talos API: the role is the organization, and there is no name beside it.
pub(super) fn client(ca: &Pair, role: &str, now: OffsetDateTime) -> Result<Pair, PkiError> {
    let key = KeyPair::from_pem(ca.key.expose()).map_err(|source| PkiError::Issuer { source })?;
    let issuer = Issuer::from_ca_cert_pem(&ca.crt, key).map_err(|source| PkiError::Issuer { source })?;
    let mut params = params(Some(role), now, CLIENT)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let sign = |source| PkiError::Sign { what: "a client certificate", source };
    let (key, der) = ed25519()?;
    let pair = KeyPair::try_from(der).map_err(sign)?;
    let certificate = params.signed_by(&pair, &issuer).map_err(sign)?;
    Ok(Pair { crt: pem("CERTIFICATE", certificate.der()), key })
}
