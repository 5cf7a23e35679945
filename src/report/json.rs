//! One JSON object per line: the event, and when it was heard.
//!
//! `{"seconds":1.25,"record":"started","step":"create_vm/lab-cp-1"}`. Lines of
//! the lifecycle have `record`, progress has `tick`; the summary that ends the
//! stream has `summary`. A reader skips what it does not know.

use std::time::Duration;

use serde::Serialize;

use super::text;
use crate::event::Event;

#[derive(Serialize)]
struct Stamped<'a> {
    seconds: f64,
    #[serde(flatten)]
    event: &'a Event,
}

pub(super) fn event(at: Duration, event: &Event) -> String {
    line(&Stamped { seconds: text::as_seconds(at), event })
}

/// `value` as one line. Only a path that is no UTF-8 fails here; a home directory can be one, and that is no reason
/// to stop.
pub(super) fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| serde_json::json!({ "unshown": error.to_string() }).to_string())
}
