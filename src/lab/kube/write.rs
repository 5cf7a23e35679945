//! What can be written: nodes are labelled, tainted, cordoned and deleted, and pods are sent elsewhere.
//!
//! That is what `kubectl cordon`, `drain`, `label`, `taint` and `delete node` do, and controllers after a
//! machine is gone. All else is refused with a `Status` that says so: the lab has no
//! controllers that would make anything of it.

use http::{Method, header};
use serde_json::{Value, json};

use super::kinds::Place;
use super::query::Query;
use super::{Served, objects, reply, status};
use crate::lab::fleet::Edit;
use crate::lab::http::{Response, answer};

/// Taints that follow from a node's state, whatever anybody writes.
const OWN_TAINTS: &str = "node.kubernetes.io/";

/// Serves a request that is no reading one; `None` when there is no cluster any more.
pub(super) fn respond(
    served: &Served,
    request: &http::request::Parts,
    body: &[u8],
    place: &Place,
    query: &Query,
) -> Option<Response> {
    let (Some(name), None) = (&place.name, &place.subresource) else { return Some(status::read_only()) };
    match (place.kind.plural, &request.method) {
        ("nodes", &Method::PATCH | &Method::PUT) => change(served, request, body, place, name, query),
        ("nodes", &Method::DELETE) => remove(served, place, name, dry_run(query, body)),
        ("pods", &Method::DELETE) => evict(served, place, name, dry_run(query, body)),
        _ => Some(status::read_only()),
    }
}

/// Whether nothing is to be kept: as the query says, or of a deletion its body.
fn dry_run(query: &Query, body: &[u8]) -> bool {
    let options: Value = serde_json::from_slice(body).unwrap_or_default();
    query.has("dryRun") || options["dryRun"].as_array().is_some_and(|asked| !asked.is_empty())
}

/// The object as it is.
fn current(served: &Served, place: &Place, name: &str) -> Option<Result<Value, Response>> {
    let namespace = place.namespace.as_deref();
    let found = served.look(|store| {
        let mut entries = store.of(place.kind, namespace);
        entries.find(|entry| entry.object["metadata"]["name"] == name).map(|entry| entry.object.clone())
    })?;
    Some(found.ok_or_else(|| status::missing(place, name)))
}

fn change(
    served: &Served,
    request: &http::request::Parts,
    body: &[u8],
    place: &Place,
    name: &str,
    query: &Query,
) -> Option<Response> {
    let before = match current(served, place, name)? {
        Ok(object) => object,
        Err(missing) => return Some(missing),
    };
    let kind = request.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let after = match patched(&before, &request.method, kind.split(';').next().unwrap_or_default(), body) {
        Ok(after) => after,
        Err(refused) => return Some(*refused),
    };
    if after["metadata"]["name"] != name {
        let message = format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            after["metadata"]["name"].as_str().unwrap_or_default()
        );
        return Some(status::bad_request(&message));
    }
    if after["metadata"]["resourceVersion"].is_string()
        && after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Some(status::conflict(place, name, why));
    }
    if dry_run(query, &[]) {
        return Some(reply(&after));
    }
    {
        let mut world = served.shared.lock();
        let (id, _) = world.fleet.etcd_of(served.vmid)?;
        let base = objects::bare_node(world.fleet.etcd(id)?, name)?;
        world.fleet.edit_node(id, name, edit(&base, &after));
    }
    served.shared.wake();
    Some(current(served, place, name)?.map_or_else(|missing| missing, |object| reply(&object)))
}

/// What a request makes of an object.
fn patched(before: &Value, method: &Method, kind: &str, body: &[u8]) -> Result<Value, Box<Response>> {
    let bad = |why: &dyn std::fmt::Display| Box::new(status::bad_request(&why.to_string()));
    if kind == "application/json-patch+json" {
        let patch: json_patch::Patch = serde_json::from_slice(body).map_err(|error| bad(&error))?;
        let mut after = before.clone();
        json_patch::patch(&mut after, &patch).map_err(|error| bad(&error))?;
        return Ok(after);
    }
    let known =
        ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"];
    if method == Method::PATCH && !known.contains(&kind) || method == Method::PUT && kind != "application/json" {
        let text = format!(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, {}",
            known.join(", ")
        );
        return Err(Box::new(status::refuse(415, "UnsupportedMediaType", &text, None)));
    }
    // JSON is YAML, and of a node's lists strategic merging replaces all that can be written here.
    let text = std::str::from_utf8(body).map_err(|error| bad(&error))?;
    let mut patch: Value = serde_saphyr::from_str(text).map_err(|error| bad(&error))?;
    if method == Method::PUT {
        return Ok(patch);
    }
    strip(&mut patch);
    let mut after = before.clone();
    json_patch::merge(&mut after, &patch);
    Ok(after)
}

/// Takes a strategic merge patch's directives out, which are about the order of lists.
fn strip(patch: &mut Value) {
    if let Value::Object(fields) = patch {
        fields.retain(|key, _| !key.starts_with('$'));
        fields.values_mut().for_each(strip);
    }
}

/// What somebody has changed of a node. What only the kubelet writes stays as it is.
fn edit(base: &Value, after: &Value) -> Edit {
    let differing = |pointer: &str| {
        let (empty, of) =
            (serde_json::Map::new(), |value: &Value| value.pointer(pointer).and_then(Value::as_object).cloned());
        let (old, new) = (of(base).unwrap_or_else(|| empty.clone()), of(after).unwrap_or(empty));
        let set = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
        let set = set.map(|(key, value)| (key.clone(), Some(value.as_str().unwrap_or_default().to_owned())));
        let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None));
        set.chain(gone).collect()
    };
    let taints = |value: &Value| -> Vec<Value> {
        let all = value.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten();
        all.filter(|taint| taint["key"].as_str().is_none_or(|key| !key.starts_with(OWN_TAINTS))).cloned().collect()
    };
    let unschedulable = after.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    let changed = (taints(base) != taints(after)).then(|| taints(after));
    Edit {
        unschedulable,
        labels: differing("/metadata/labels"),
        annotations: differing("/metadata/annotations"),
        taints: changed,
        drained: false,
    }
}

fn remove(served: &Served, place: &Place, name: &str, dry_run: bool) -> Option<Response> {
    let object = match current(served, place, name)? {
        Ok(object) => object,
        Err(missing) => return Some(missing),
    };
    if !dry_run {
        let mut world = served.shared.lock();
        let (id, _) = world.fleet.etcd_of(served.vmid)?;
        world.fleet.delete_node(id, name);
        drop(world);
        served.shared.wake();
    }
    let details = json!({"name": name, "kind": place.kind.plural, "uid": object["metadata"]["uid"]});
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    Some(answer(200, "OK", "application/json", status.to_string()))
}

/// A pod of a cordoned node starts again elsewhere; any other starts again where it was.
fn evict(served: &Served, place: &Place, name: &str, dry_run: bool) -> Option<Response> {
    let pod = match current(served, place, name)? {
        Ok(pod) => pod,
        Err(missing) => return Some(missing),
    };
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    if !dry_run {
        let mut world = served.shared.lock();
        let (id, _) = world.fleet.etcd_of(served.vmid)?;
        world.fleet.drain_node(id, &node);
        drop(world);
        served.shared.wake();
    }
    Some(reply(&pod))
}
