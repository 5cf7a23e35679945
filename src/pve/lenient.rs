//! Scalars as Perl prints them: the same field is `"4096"`, `4096`, `1` or `true`, by version and by mood.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Any scalar as the text it stands for; booleans as `1` and `0`, null as nothing.
struct Scalar<T>(PhantomData<T>);

impl<T: FromScalar> Visitor<'_> for Scalar<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        Ok(T::from_scalar(text))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<T>, E> {
        self.visit_str(if value { "1" } else { "0" })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<T>, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<T>, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<T>, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

/// What can be read from the text of a scalar; `None` when it is something else.
trait FromScalar: Sized {
    fn from_scalar(text: &str) -> Option<Self>;
}

impl FromScalar for bool {
    fn from_scalar(text: &str) -> Option<Self> {
        Some(!matches!(text, "" | "0"))
    }
}

impl FromScalar for u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes arrive as 1.5e9 at worst")]
    fn from_scalar(text: &str) -> Option<Self> {
        text.parse().ok().or_else(|| text.parse::<f64>().ok().filter(|value| *value >= 0.0).map(|value| value as u64))
    }
}

impl FromScalar for u32 {
    fn from_scalar(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromScalar for String {
    fn from_scalar(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// 1, "1" and true; everything that is missing or null is false.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(deserializer.deserialize_any(Scalar::<bool>(PhantomData))?.unwrap_or(false))
}

/// A count or a size, if there is one.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Scalar::<u64>(PhantomData))
}

/// A text, whatever it looks like; empty when it is null.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(deserializer.deserialize_any(Scalar::<String>(PhantomData))?.unwrap_or_default())
}

/// A VMID, which lists give as a number and `nextid` as a text.
pub(super) fn vmid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let found = deserializer.deserialize_any(Scalar::<u32>(PhantomData))?;
    found.ok_or_else(|| D::Error::custom("this is no VMID"))
}

/// What can be printed and read back, if it is there and well formed: an optional fingerprint must not cost the list.
pub(super) fn parsed<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(deserializer.deserialize_any(Scalar::<String>(PhantomData))?.and_then(|text| text.parse().ok()))
}
