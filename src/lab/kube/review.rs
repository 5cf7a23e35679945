//! Questions about oneself, which are the only things that can be created: `kubectl auth can-i`, `kubectl auth whoami`.

use serde_json::{Value, json};

use super::caller::Caller;
use super::kinds::{KINDS, Kind};
use super::{status, wire};
use crate::lab::http::{Response, answer};

/// Answers a review of `kind`, asked in `body`.
pub(super) fn respond(kind: &Kind, caller: &Caller, body: &[u8]) -> Response {
    let Some(mut asked) = wire::read(body) else {
        return status::refuse(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json",
            None,
        );
    };
    if asked["kind"] != kind.name {
        let message = format!(
            "{} in version {:?} cannot be handled as a {}",
            asked["kind"].as_str().unwrap_or_default(),
            kind.version,
            kind.name
        );
        return status::bad_request(&message);
    }
    asked["apiVersion"] = json!(kind.api_version());
    asked["status"] = match kind.name {
        "SelfSubjectReview" => json!({"userInfo": caller.user_info()}),
        "SelfSubjectAccessReview" => access(caller, &asked["spec"]),
        _ => rules(caller),
    };
    if !asked["metadata"].is_object() {
        asked["metadata"] = json!({});
    }
    asked["metadata"]["creationTimestamp"] = Value::Null;
    answer(201, "Created", "application/json", asked.to_string())
}

fn access(caller: &Caller, spec: &Value) -> Value {
    if caller.is_master() {
        return json!({"allowed": true});
    }
    let resource = &spec["resourceAttributes"];
    let text = |name: &str| resource[name].as_str().unwrap_or_default();
    let kind = KINDS.iter().find(|kind| kind.plural == text("resource") && kind.group == text("group"));
    let discovery = ["/api", "/apis", "/healthz", "/livez", "/readyz", "/version"];
    let path = spec["nonResourceAttributes"]["path"].as_str().unwrap_or_default();
    let own = kind.is_some_and(|kind| kind.review) && text("verb") == "create";
    let reads = discovery.iter().any(|known| path == *known || path.starts_with(&format!("{known}/")));
    let allowed = own || reads && spec["nonResourceAttributes"]["verb"] == "get";
    json!({"allowed": allowed})
}

fn rules(caller: &Caller) -> Value {
    let rules = if caller.is_master() {
        json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])
    } else {
        let own: Vec<Value> = KINDS
            .iter()
            .filter(|kind| kind.review)
            .map(|kind| json!({"verbs": ["create"], "apiGroups": [kind.group], "resources": [kind.plural]}))
            .collect();
        json!(own)
    };
    let paths =
        if caller.is_master() { json!(["*"]) } else { json!(["/api", "/api/*", "/apis", "/apis/*", "/version"]) };
    json!({"resourceRules": rules, "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": paths}], "incomplete": false})
}
