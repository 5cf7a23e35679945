//! Reading an answer: the envelope, its data, or what was refused.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{PveError, Refusal};

#[derive(Default, Deserialize)]
struct Envelope<'a> {
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    errors: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    message: Option<String>,
}

/// The text of `data`, or the refusal.
pub(super) fn unwrap(request: String, status: StatusCode, reason: String, body: &str) -> Result<String, PveError> {
    let envelope = serde_json::from_str::<Envelope<'_>>(body);
    if status.is_success() {
        return match envelope {
            Ok(Envelope { errors: None, data, .. }) => Ok(data.map_or("null", RawValue::get).to_owned()),
            Ok(envelope) => Err(refusal(request, status, reason, envelope).into()),
            Err(source) => Err(PveError::Decode { request, shape: shape_of_text(body), source }),
        };
    }
    // Errors from before a handler's time have their text as it is, without an envelope.
    let plain = || Envelope {
        message: Some(body).filter(|body| !body.starts_with('<')).map(first_line),
        ..Envelope::default()
    };
    Err(refusal(request, status, reason, envelope.unwrap_or_else(|_| plain())).into())
}

fn refusal(request: String, status: StatusCode, reason: String, envelope: Envelope<'_>) -> Refusal {
    let plain =
        |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
    Refusal {
        request,
        status: status.as_u16(),
        reason,
        message: envelope.message.map(|message| message.trim().to_owned()).unwrap_or_default(),
        errors: envelope.errors.unwrap_or_default().into_iter().map(|(name, text)| (name, plain(text))).collect(),
    }
}

fn first_line(body: &str) -> String {
    body.lines().next().unwrap_or("").chars().take(300).collect()
}

/// Decodes `data`. From text and not from a value: the crate's generated types borrow their keys.
pub(super) fn decode<R: DeserializeOwned>(request: &str, text: &str) -> Result<R, PveError> {
    serde_json::from_str(text).map_err(|source| PveError::Decode {
        request: request.to_owned(),
        shape: serde_json::from_str(text).map_or_else(|_| shape_of_text(text), |value| shape(&value)),
        source,
    })
}

/// Keys and types of a reply that made no sense; its values stay out of messages and logs.
fn shape(value: &serde_json::Value) -> String {
    let all = match value {
        serde_json::Value::Null => "null".into(),
        serde_json::Value::Bool(_) => "boolean".into(),
        serde_json::Value::Number(_) => "number".into(),
        serde_json::Value::String(_) => "text".into(),
        serde_json::Value::Array(items) => {
            items.first().map_or_else(|| "[]".into(), |item| format!("[{}, …]", shape(item)))
        }
        serde_json::Value::Object(map) => {
            format!(
                "{{{}}}",
                map.iter().map(|(key, value)| format!("{key}: {}", shape(value))).collect::<Vec<_>>().join(", ")
            )
        }
    };
    if all.chars().count() > 300 { all.chars().take(300).chain("…".chars()).collect() } else { all }
}

fn shape_of_text(text: &str) -> String {
    format!("{} bytes that are no JSON object", text.len())
}
