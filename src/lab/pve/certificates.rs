//! The certificates that the face shows, as `certificates/info` lists them.

use x509_parser::extensions::GeneralName;

/// A certificate as `certificates/info` shows it.
pub(super) struct Shown {
    pub file: &'static str,
    pub pem: String,
    pub fingerprint: String,
    pub subject: String,
    pub issuer: String,
    pub not_before: i64,
    pub not_after: i64,
    pub names: Vec<String>,
}

/// Reads what is shown out of a PEM text.
pub(super) fn shown(file: &'static str, pem: &str) -> Shown {
    let der = pem::parse(pem).map(pem::Pem::into_contents).unwrap_or_default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    let fingerprint = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let mut shown = Shown {
        file,
        pem: pem.to_owned(),
        fingerprint,
        subject: String::new(),
        issuer: String::new(),
        not_before: 0,
        not_after: 0,
        names: Vec::new(),
    };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&der) else { return shown };
    shown.subject = format!("/{}", parsed.subject());
    shown.issuer = format!("/{}", parsed.issuer());
    shown.not_before = parsed.validity().not_before.timestamp();
    shown.not_after = parsed.validity().not_after.timestamp();
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        let text = |name: &GeneralName| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress([a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
            _ => None,
        };
        shown.names = names.value.general_names.iter().filter_map(text).collect();
    }
    shown
}
