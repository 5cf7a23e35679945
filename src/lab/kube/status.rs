//! `Status`: how the API says no. Kubernetes 1.35: apimachinery/pkg/api/errors.

use serde_json::{Value, json};

use super::caller::Caller;
use super::kinds::Place;
use crate::lab::http::{Response, answer};

/// A refusal with the details that clients word their message from.
pub(super) fn refuse(code: u16, reason: &str, message: &str, details: Option<Value>) -> Response {
    let mut value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason,
    });
    if let Some(details) = details {
        value["details"] = details;
    }
    value["code"] = json!(code);
    let phrase = http::StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason()).unwrap_or(reason);
    answer(code, phrase, "application/json", value.to_string())
}

/// Nothing is at this path.
pub(super) fn no_resource() -> Response {
    refuse(404, "NotFound", "the server could not find the requested resource", Some(json!({})))
}

pub(super) fn missing(place: &Place, name: &str) -> Response {
    let message = format!("{} {name:?} not found", place.kind.qualified());
    refuse(404, "NotFound", &message, Some(details(place, Some(name))))
}

pub(super) fn unauthorized() -> Response {
    refuse(401, "Unauthorized", "Unauthorized", None)
}

pub(super) fn bad_request(message: &str) -> Response {
    refuse(400, "BadRequest", message, None)
}

/// What somebody without the right is told.
pub(super) fn forbidden(caller: &Caller, verb: &str, place: &Place) -> Response {
    let group = place.kind.group;
    let scope = match &place.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let object = place.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
    let resource = match &place.subresource {
        Some(sub) => format!("{}/{sub}", place.kind.plural),
        None => place.kind.plural.to_owned(),
    };
    let message = format!(
        "{}{object} is forbidden: User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}",
        place.kind.qualified(),
        caller.name
    );
    refuse(403, "Forbidden", &message, Some(details(place, place.name.as_deref())))
}

pub(super) fn forbidden_path(caller: &Caller, verb: &str, path: &str) -> Response {
    let message = format!("forbidden: User {:?} cannot {verb} path {path:?}", caller.name);
    refuse(403, "Forbidden", &message, Some(json!({})))
}

pub(super) fn read_only() -> Response {
    refuse(405, "MethodNotAllowed", "the lab's Kubernetes takes changes of nodes, and nothing else", Some(json!({})))
}

pub(super) fn conflict(place: &Place, name: &str, why: &str) -> Response {
    let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", place.kind.qualified());
    refuse(409, "Conflict", &message, Some(details(place, Some(name))))
}

fn details(place: &Place, name: Option<&str>) -> Value {
    let mut details = json!({});
    if let Some(name) = name {
        details["name"] = json!(name);
    }
    if !place.kind.group.is_empty() {
        details["group"] = json!(place.kind.group);
    }
    details["kind"] = json!(place.kind.plural);
    details
}
