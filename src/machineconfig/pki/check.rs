//! Whether Talos would read a certificate or key, in its words: PEM around DER, as `crypto/x509` takes it.
//!
//! The words are those for what people do: the wrong file, the wrong half, a key in another wrapping. What is broken
//! deeper inside has fewer.

use super::tlv;
use crate::machineconfig::go::quoted;

/// Whether a text has at least one certificate that parses, as a pool of trusted ones needs.
pub(in crate::machineconfig) fn has_certificate(text: &str) -> bool {
    let blocks = pem::parse_many(text).unwrap_or_default();
    blocks
        .iter()
        .any(|block| block.tag() == "CERTIFICATE" && x509_parser::parse_x509_certificate(block.contents()).is_ok())
}

/// Whether a text is PEM, of blocks with this label if one is given; the error is in Talos's words.
pub(in crate::machineconfig) fn check_pem(text: &str, label: Option<&str>) -> Result<(), String> {
    let blocks = pem::parse_many(text).unwrap_or_default();
    if blocks.is_empty() {
        return Err("no PEM blocks found".to_owned());
    }
    match blocks.iter().find(|block| label.is_some_and(|label| block.tag() != label)) {
        Some(block) => Err(format!(
            "unexpected PEM block type {}, expected one of [{}]",
            quoted(block.tag()),
            quoted(label.unwrap_or_default())
        )),
        None => Ok(()),
    }
}

/// Whether a certificate and its key are PEM; the error is in Talos's words.
pub(in crate::machineconfig) fn check_pair(certificate: &str, key: &str) -> Result<(), String> {
    for (text, what) in [(certificate, "certificate"), (key, "key")] {
        if text.is_empty() {
            return Err(format!("{what} is required"));
        }
    }
    check_pem(certificate, Some("CERTIFICATE")).map_err(|why| format!("certificate: {why}"))?;
    check_pem(key, None).map_err(|why| format!("key: {why}"))
}

/// The first block. As Go has it, its marks stand on lines of their own: a byte order mark before the first hides it,
/// and so do spaces where the ends of lines were.
fn block(text: &str) -> Result<pem::Pem, String> {
    const BEGIN: &str = "-----BEGIN";
    let at = if text.starts_with(BEGIN) { Some(0) } else { text.find(&format!("\n{BEGIN}")) };
    let lines = at.map(|at| &text[at..]).filter(|text| text.contains("\n-----END"));
    lines.and_then(|text| pem::parse(text).ok()).ok_or_else(|| "failed to parse PEM block".to_owned())
}

/// Whether Talos would read this certificate; the error is in its words.
pub(in crate::machineconfig) fn check_certificate(text: &str) -> Result<(), String> {
    let block = block(text)?;
    let der = block.contents();
    if x509_parser::parse_x509_certificate(der).is_ok() {
        return Ok(());
    }
    let inside = |der, wanted| tlv(der).filter(|(tag, ..)| *tag == wanted).map(|(_, inner, _)| inner);
    let what = match inside(der, SEQUENCE).map(|outer| inside(outer, SEQUENCE)) {
        None => "certificate",
        Some(None) => "tbs certificate",
        Some(Some(signed)) => match tlv(signed) {
            Some((INTEGER | VERSION, ..)) => "certificate",
            _ => "serial number",
        },
    };
    Err(format!("failed to parse certificate: x509: malformed {what}"))
}

/// Whether Talos would read this private key; the error is in its words, and shows none of the key.
pub(in crate::machineconfig) fn check_key(text: &str) -> Result<(), String> {
    let block = block(text)?;
    let der = block.contents();
    match block.tag() {
        "RSA PRIVATE KEY" => read(der, Wrapping::Pkcs1).map_err(|why| format!("failed to parse RSA key: {why}")),
        "EC PRIVATE KEY" => read(der, Wrapping::Sec1).map_err(|why| format!("failed to parse ECDSA key: {why}")),
        "ED25519 PRIVATE KEY" => {
            read(der, Wrapping::Pkcs8).map_err(|why| format!("failed to parse Ed25519 key: {why}"))
        }
        "PRIVATE KEY" => read(der, Wrapping::Pkcs8).map_err(|why| format!("failed to parse key: {why}")),
        other => Err(format!("unsupported key type: {other}", other = quoted(other))),
    }
}

/// As [`check_key`], where any label will do and the key has to be PKCS#8.
pub(in crate::machineconfig) fn check_pkcs8(text: &str) -> Result<(), String> {
    let block = block(text)?;
    read(block.contents(), Wrapping::Pkcs8).map_err(|why| format!("failed to parse key: {why}"))
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// The optional version of a certificate.
const VERSION: u8 = 0xa0;

/// How a private key is written down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    Pkcs1,
    Pkcs8,
    Sec1,
}

impl Wrapping {
    /// By the tag behind the version.
    fn of(tag: u8) -> Option<Self> {
        match tag {
            INTEGER => Some(Self::Pkcs1),
            SEQUENCE => Some(Self::Pkcs8),
            OCTETS => Some(Self::Sec1),
            _ => None,
        }
    }

    /// What Go calls the struct, and the function that reads it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Pkcs1 => ("pkcs1PrivateKey", "PKCS1"),
            Self::Pkcs8 => ("pkcs8", "PKCS8"),
            Self::Sec1 => ("ecPrivateKey", "EC"),
        }
    }
}

fn read(der: &[u8], wanted: Wrapping) -> Result<(), String> {
    let prefix = if wanted == Wrapping::Sec1 { "x509: failed to parse EC private key: " } else { "" };
    let inner = tagged(der, SEQUENCE, wanted.names().0).map_err(|why| format!("{prefix}{why}"))?;
    tagged(inner, INTEGER, "int").map_err(|why| format!("{prefix}{why}"))?;
    let second = tlv(inner).and_then(|(_, _, rest)| tlv(rest));
    match second.and_then(|(tag, ..)| Wrapping::of(tag)) {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(format!(
            "x509: failed to parse private key (use Parse{}PrivateKey instead for this key format)",
            found.names().1
        )),
        None => Err(format!("{prefix}asn1: structure error: sequence truncated")),
    }
}

/// The content of an element that has to carry this tag. As in Go, the tag is looked at before the length.
fn tagged<'a>(der: &'a [u8], tag: u8, name: &str) -> Result<&'a [u8], String> {
    let truncated = || "asn1: syntax error: data truncated".to_owned();
    let (&first, rest) = der.split_first().ok_or("asn1: syntax error: sequence truncated")?;
    let (&length, _) = rest.split_first().ok_or_else(truncated)?;
    if first != tag {
        let (length, header) = if length < 0x80 {
            (usize::from(length), 2)
        } else {
            let bytes = rest.get(1..1 + usize::from(length & 0x7f)).ok_or_else(truncated)?;
            let sum = |all: usize, byte: &u8| all.checked_mul(256)?.checked_add(usize::from(*byte));
            (bytes.iter().try_fold(0_usize, sum).ok_or_else(truncated)?, 2 + bytes.len())
        };
        return Err(format!(
            "asn1: structure error: tags don't match ({} vs {{class:{} tag:{} length:{length} isCompound:{}}}) \
             {{optional:false explicit:false application:false private:false defaultValue:<nil> tag:<nil> \
             stringType:0 timeType:0 set:false omitEmpty:false}} {name} @{header}",
            tag & 0x1f,
            first >> 6,
            first & 0x1f,
            first & 0x20 != 0
        ));
    }
    tlv(der).map(|(_, content, _)| content).ok_or_else(truncated)
}
