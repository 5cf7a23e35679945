//! Reviews as protobuf: kubectl has spoken it to the groups that it knows since 1.33, and takes JSON for an answer.
//!
//! Kubernetes 1.35: apimachinery/pkg/runtime/generated.proto (the envelope),
//! api/authorization/v1/generated.proto. Field numbers are the protocol's.

use prost::Message;
use serde_json::{Value, json};

/// What every protobuf body begins with.
const MAGIC: &[u8] = b"k8s\0";

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    kind: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct AccessReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<AccessSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessSpec {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    path: Option<PathAttributes>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceAttributes {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "7")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct PathAttributes {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

/// A body in either form, as the JSON that it stands for. `None`: it is neither.
pub(super) fn read(body: &[u8]) -> Option<Value> {
    let Some(envelope) = body.strip_prefix(MAGIC) else { return serde_json::from_slice(body).ok() };
    let Unknown { kind, raw } = Unknown::decode(envelope).ok()?;
    let kind = kind.unwrap_or_default();
    let mut value = json!({"kind": kind.kind, "apiVersion": kind.version});
    if kind.kind == "SelfSubjectAccessReview" {
        let spec = AccessReview::decode(&*raw).ok()?.spec.unwrap_or_default();
        value["spec"] = json!({});
        if let Some(asked) = spec.resource {
            value["spec"]["resourceAttributes"] = json!({
                "namespace": asked.namespace, "verb": asked.verb, "group": asked.group, "resource": asked.resource,
                "name": asked.name,
            });
        }
        if let Some(asked) = spec.path {
            value["spec"]["nonResourceAttributes"] = json!({"path": asked.path, "verb": asked.verb});
        }
    } else {
        value["spec"] = json!({});
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let resource =
            ResourceAttributes { verb: "get".into(), resource: "pods".into(), ..ResourceAttributes::default() };
        let raw = AccessReview { spec: Some(AccessSpec { resource: Some(resource), path: None }) }.encode_to_vec();
        let kind = TypeMeta { version: "authorization.k8s.io/v1".into(), kind: "SelfSubjectAccessReview".into() };
        let body = [MAGIC, &Unknown { kind: Some(kind), raw }.encode_to_vec()].concat();
        let value = read(&body).unwrap();
        assert_eq!(value["spec"]["resourceAttributes"]["resource"], "pods");
        assert_eq!(read(br#"{"kind": "x"}"#).unwrap()["kind"], "x");
        assert_eq!(read(b"nonsense"), None);
    }
}
