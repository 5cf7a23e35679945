//! The site's certificate authority: every TLS face of the lab shows a leaf of it.
//!
//! A lab makes a new authority whenever it starts, so nobody is tempted to trust
//! one for longer than a lab lives. Keys are P-256, as they are quick to make.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The authority. Its certificate is what a client of the lab trusts.
pub struct SiteCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as one face shows it.
#[derive(Clone)]
pub struct Leaf {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pem: String,
}

impl SiteCa {
    /// A new authority with this common name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("the provider makes P-256 keys");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("these parameters are complete") }
    }

    /// The authority's certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for host names and addresses; names that are no DNS names are left out.
    pub fn leaf(&self, names: &[String], addresses: &[IpAddr]) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("lab", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = names
            .iter()
            .filter_map(|name| name.as_str().try_into().ok().map(SanType::DnsName))
            .chain(addresses.iter().map(|address| SanType::IpAddress(*address)))
            .collect();
        let key = KeyPair::generate().expect("the provider makes P-256 keys");
        let certificate = params.signed_by(&key, &self.issuer).expect("these parameters are complete");
        Leaf { certificate: certificate.der().clone(), key: key.serialize_der(), pem: certificate.pem() }
    }
}

impl Leaf {
    /// SHA-256 of the certificate, as Proxmox writes it: `AB:CD:…`, 32 bytes.
    pub fn fingerprint(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate);
        digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// TLS 1.2 and 1.3 without client certificates and without ALPN, as pveproxy has it.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("key and certificate were made together");
        Arc::new(config)
    }

    /// The private key, PKCS#8 DER: for faces that build a configuration of their own.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_has_the_fingerprint_that_proxmox_would_print() {
        let leaf = SiteCa::new("lab").leaf(&["pve1".into(), "not a name".into()], &["127.0.0.1".parse().unwrap()]);
        let print = leaf.fingerprint();
        assert_eq!(print.split(':').count(), 32);
        assert!(print.split(':').all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok()));
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf.der()).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 3);
    }
}
