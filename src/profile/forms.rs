//! The scalar forms of the file: how each is written, and what it means.
//!
//! A [`Leaf`] carries its form's name into the JSON Schema as `format`, so the
//! shape check finds the reader of the form again and can report every malformed
//! scalar of the file with its line; serde would stop at the first.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::Ipv4Net;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::inventory::Mac;

/// A scalar with a form of its own.
pub(super) trait Form: Sized {
    /// The JSON Schema `format`.
    const FORMAT: &'static str;
    /// What it is called in "is no …".
    const WHAT: &'static str;
    /// Examples for "write it as …".
    const LIKE: &'static str;
    /// JSON types that an editor should accept.
    const TYPES: &'static [&'static str] = &["string"];

    /// `None` when `text` is not of this form.
    fn read(text: &str) -> Option<Self>;
}

/// A scalar of the form `F`.
#[derive(Clone, Debug)]
pub(super) struct Leaf<F>(pub(super) F);

impl<'de, F: Form> Deserialize<'de> for Leaf<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = || serde::de::Error::custom(format!("{text:?} is no {}", F::WHAT));
        F::read(&text).map(Self).ok_or_else(bad)
    }
}

impl<F: Form> JsonSchema for Leaf<F> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        F::FORMAT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": F::TYPES, "format": F::FORMAT, "description": wanted(F::FORMAT) })
    }
}

/// A form by its name: what the shape check has in hand.
struct Card {
    what: &'static str,
    like: &'static str,
    accepts: fn(&str) -> bool,
}

fn card(format: &str) -> Option<Card> {
    fn of<F: Form>() -> Card {
        Card { what: F::WHAT, like: F::LIKE, accepts: |text| F::read(text).is_some() }
    }
    Some(match format {
        Ipv4Addr::FORMAT => of::<Ipv4Addr>(),
        Ipv4Net::FORMAT => of::<Ipv4Net>(),
        Mac::FORMAT => of::<Mac>(),
        Url::FORMAT => of::<Url>(),
        Size::FORMAT => of::<Size>(),
        Span::FORMAT => of::<Span>(),
        Version::FORMAT => of::<Version>(),
        Minor::FORMAT => of::<Minor>(),
        Label::FORMAT => of::<Label>(),
        Host::FORMAT => of::<Host>(),
        Endpoint::FORMAT => of::<Endpoint>(),
        SchematicId::FORMAT => of::<SchematicId>(),
        Fingerprint::FORMAT => of::<Fingerprint>(),
        Word::FORMAT => of::<Word>(),
        _ => return None,
    })
}

/// Says what is wrong with `text` as a scalar of `format`: message and fix. Formats that are not ours pass.
pub(super) fn complaint(format: &str, text: &str) -> Option<(String, String)> {
    let card = card(format).filter(|card| !(card.accepts)(text))?;
    // The commonest slip of all, a machine's address for the network's, deserves the answer itself.
    if let (Ipv4Net::FORMAT, Ok(net)) = (format, text.parse::<Ipv4Net>()) {
        return Some((format!("{net} has host bits set"), format!("write the network itself: {}", net.trunc())));
    }
    Some((format!("{text:?} is no {}", card.what), format!("write it as {}", card.like)))
}

/// `IPv4 address, such as 192.168.22.101`.
pub(super) fn wanted(format: &str) -> Option<String> {
    card(format).map(|card| format!("{}, such as {}", card.what, card.like))
}

impl Form for Ipv4Addr {
    const FORMAT: &'static str = "ipv4";
    const WHAT: &'static str = "IPv4 address";
    const LIKE: &'static str = "192.168.22.101";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Form for Ipv4Net {
    const FORMAT: &'static str = "ipv4-network";
    const WHAT: &'static str = "IPv4 network";
    const LIKE: &'static str = "192.168.20.0/22";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|net: &Self| net.trunc() == *net)
    }
}

impl Form for Mac {
    const FORMAT: &'static str = "mac";
    const WHAT: &'static str = "MAC address";
    const LIKE: &'static str = "\"bc:24:11:62:36:01\"";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Form for Url {
    const FORMAT: &'static str = "uri";
    const WHAT: &'static str = "http or https URL without credentials, query and fragment";
    const LIKE: &'static str = "https://factory.talos.dev";

    fn read(text: &str) -> Option<Self> {
        let url: Self = text.parse().ok()?;
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && bare && url.fragment().is_none()).then_some(url)
    }
}

/// MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Form for Size {
    const FORMAT: &'static str = "size";
    const WHAT: &'static str = "size in whole MiB";
    const LIKE: &'static str = "8192 (MiB), 8192M, 8Gi or 64G";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    /// A bare number is MiB. Every unit is a power of two, as `qm` reads them: `64G` and `64Gi` are the same.
    fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "m" | "mi" | "mib" | "mb" => 1,
            "g" | "gi" | "gib" | "gb" => 1 << 10,
            "t" | "ti" | "tib" | "tb" => 1 << 20,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).filter(|size| *size > 0).map(Self)
    }
}

/// A deadline: one second to a day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl Form for Span {
    const FORMAT: &'static str = "span";
    const WHAT: &'static str = "span between a second and a day";
    const LIKE: &'static str = "90s, 10m or 1h30m";

    fn read(text: &str) -> Option<Self> {
        let span: jiff::SignedDuration = text.parse().ok()?;
        let span = Duration::try_from(span).ok()?;
        (Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60)).contains(&span).then_some(Self(span))
    }
}

/// `1.12.4` or `1.13.0-rc.1`; a leading v was dropped.
#[derive(Clone, Debug)]
pub(super) struct Version(pub(super) String);

impl Form for Version {
    const FORMAT: &'static str = "version";
    const WHAT: &'static str = "version";
    const LIKE: &'static str = "1.12.4";

    fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let word =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let sound = numbers(core) == Some(3) && pre.is_none_or(|pre| pre.split('.').all(word));
        sound.then(|| Self(text.to_owned()))
    }
}

/// `1.12`, from `1.12`, `v1.12` or `1.12.4`.
#[derive(Clone, Debug)]
pub(super) struct Minor(pub(super) String);

impl Form for Minor {
    const FORMAT: &'static str = "minor";
    const WHAT: &'static str = "Talos minor version";
    const LIKE: &'static str = "\"1.12\"";

    fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (major, rest) = text.split_once('.')?;
        matches!(numbers(text), Some(2 | 3))
            .then(|| Self(format!("{major}.{}", rest.split('.').next().unwrap_or(rest))))
    }
}

/// How many dot-separated decimal numbers `text` is; `None` when it is anything else.
fn numbers(text: &str) -> Option<usize> {
    let number = |part: &str| {
        let canonical = part == "0" || !part.starts_with('0');
        canonical && part.len() <= 9 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    text.split('.').all(number).then(|| text.split('.').count())
}

/// A DNS label in lower case: the form of every name that becomes a hostname or a file name.
#[derive(Clone, Debug)]
pub(super) struct Label(pub(super) String);

impl Form for Label {
    const FORMAT: &'static str = "dns-label";
    const WHAT: &'static str = "DNS label (at most 63 of a-z, 0-9 and inner hyphens)";
    const LIKE: &'static str = "lab-cp-1";

    fn read(text: &str) -> Option<Self> {
        label(text).then(|| Self(text.to_owned()))
    }
}

fn label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// An IP address or a DNS name, nothing around it.
#[derive(Clone, Debug)]
pub(super) struct Host(pub(super) String);

impl Form for Host {
    const FORMAT: &'static str = "host";
    const WHAT: &'static str = "address or DNS name without scheme and port";
    const LIKE: &'static str = "192.168.22.100 or k8s.example.net";

    fn read(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        // All digits and dots is a mistyped address, never a name.
        let numeric = lower.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let name = !numeric && lower.len() <= 253 && lower.split('.').all(label);
        (name || text.parse::<IpAddr>().is_ok()).then(|| Self(text.to_owned()))
    }
}

/// `lab`, or the URL of a node's API.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    Lab,
    Url(Url),
}

impl Form for Endpoint {
    const FORMAT: &'static str = "endpoint";
    const WHAT: &'static str = "endpoint of a Proxmox API";
    const LIKE: &'static str = "https://pve1.example.net:8006, or [lab] for the simulated site";

    /// `/api2/json` is what people paste; it is dropped, as the client adds it.
    fn read(text: &str) -> Option<Self> {
        if text == "lab" {
            return Some(Self::Lab);
        }
        let mut url = Url::read(text).filter(|url| url.scheme() == "https")?;
        let path = url.path().trim_end_matches('/').to_owned();
        matches!(path.as_str(), "" | "/api2/json" | "/api2").then(|| {
            url.set_path("/");
            Self::Url(url)
        })
    }
}

/// 64 lower-case hexadecimal digits.
#[derive(Clone, Debug)]
pub(super) struct SchematicId(pub(super) String);

impl Form for SchematicId {
    const FORMAT: &'static str = "schematic-id";
    const WHAT: &'static str = "schematic id (64 hexadecimal digits in lower case)";
    const LIKE: &'static str = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515";

    fn read(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 64 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }
}

/// SHA-256 of a certificate: 32 bytes.
#[derive(Clone, Debug)]
pub(super) struct Fingerprint(pub(super) [u8; 32]);

impl Form for Fingerprint {
    const FORMAT: &'static str = "sha256-fingerprint";
    const WHAT: &'static str = "SHA-256 fingerprint (32 hexadecimal bytes)";
    const LIKE: &'static str = "AB:CD:…, the last column of `pvenode cert info`";

    fn read(text: &str) -> Option<Self> {
        let pairs = if text.contains(':') {
            let pairs: Vec<&str> = text.split(':').collect();
            pairs.iter().all(|pair| pair.len() == 2).then(|| pairs.concat())?
        } else {
            text.to_owned()
        };
        hex::decode(pairs).ok()?.try_into().ok().map(Self)
    }
}

/// A name of somebody else's: a Proxmox node, storage, bridge, pool or CPU type, a device path.
///
/// Only what could never be right is refused here; whether it exists is the survey's question.
#[derive(Clone, Debug)]
pub(super) struct Word(pub(super) String);

impl Form for Word {
    const FORMAT: &'static str = "word";
    const WHAT: &'static str = "name (printable ASCII without blanks, commas and equals signs)";
    const LIKE: &'static str = "local-zfs";

    fn read(text: &str) -> Option<Self> {
        let sound = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'=');
        (!text.is_empty() && text.len() <= 128 && text.bytes().all(sound)).then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
