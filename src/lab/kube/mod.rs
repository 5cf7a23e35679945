//! The Kubernetes API that a bootstrapped cluster shows, as far as people and health checks read it.
//!
//! Nodes, namespaces and the pods of kube-system, as objects and as the tables
//! that kubectl prints. Nothing can be written.

mod discovery;
mod objects;
mod table;

use std::sync::Arc;

use http::Method;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::faults::Face;
use super::faults::gate::{self, Fate};
use super::http::{Hangup, Limits, Peer, Request, Response, ServerHandle, answer, serve as serve_http};
use super::talos::pki::organisations;
use super::world::{Shared, World};

/// Serves the API of the control plane `vmid` on `listener`.
pub fn serve(shared: &Shared, listener: TcpListener, tls: Arc<ServerConfig>, vmid: u32, name: String) -> ServerHandle {
    let shared = shared.clone();
    serve_http(listener, Some(tls), Limits::PLAIN, move |request, peer| {
        let (shared, name) = (shared.clone(), name.clone());
        async move { respond(&shared, vmid, &name, &request, &peer).await }
    })
}

async fn respond(shared: &Shared, vmid: u32, name: &str, request: &Request, peer: &Peer) -> Result<Response, Hangup> {
    let path = request.uri().path();
    let spoil = match gate::enter(shared, Face::Kube, &format!("{} {path}", request.method()), name).await {
        Ok(spoil) => spoil,
        Err(Fate::Refused { code, text }) => return Ok(status(code, "InternalError", &text)),
        Err(Fate::Ended(ending)) => return Err(peer.end(ending)),
    };
    let response = route(&shared.lock(), vmid, request, peer);
    spoil.http(peer, response, |code, text| status(code, "InternalError", text)).await
}

fn route(world: &World, vmid: u32, request: &Request, peer: &Peer) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    if request.method() != Method::GET {
        return status(405, "MethodNotAllowed", "the lab's Kubernetes cannot be written to");
    }
    // Talos lets the anonymous in to these alone.
    let query = request.uri().query().unwrap_or_default();
    let parameters: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    if let "/readyz" | "/livez" | "/healthz" = path {
        let verbose = parameters.iter().any(|(key, _)| key == "verbose");
        let check = path.trim_start_matches('/');
        let text = if verbose { format!("[+]ping ok\n[+]etcd ok\n{check} check passed\n") } else { "ok".to_owned() };
        return answer(200, "OK", "text/plain; charset=utf-8", text);
    }
    let Some(leaf) = peer.certificates.first() else { return status(401, "Unauthorized", "Unauthorized") };
    if !organisations(leaf).iter().any(|name| name == "system:masters") {
        return status(403, "Forbidden", "forbidden: the certificate's groups have no rights here");
    }
    let Some(etcd) = world.fleet.etcd_of(vmid).and_then(|(id, _)| world.fleet.etcd(id)) else {
        return status(503, "ServiceUnavailable", "etcd is not available");
    };
    let nodes: Vec<objects::Node<'_>> = etcd
        .nodes
        .iter()
        .map(|(name, node)| objects::Node { name, record: node, ready: world.fleet.is_node_ready(name, node) })
        .collect();
    let version = nodes.first().map_or("v1.0.0", |node| node.record.kubelet.as_str());
    if let Some(found) = discovery::document(path, version) {
        return reply(&found);
    }
    let list = match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
        ["api", "v1", "nodes"] => objects::nodes(&nodes, None),
        ["api", "v1", "nodes", name] => objects::nodes(&nodes, Some(name)),
        ["api", "v1", "namespaces"] => objects::namespaces(None),
        ["api", "v1", "namespaces", name] => objects::namespaces(Some(name)),
        ["api", "v1", "pods"] | ["api", "v1", "namespaces", "kube-system", "pods"] => objects::pods(&nodes, None),
        ["api", "v1", "namespaces", "kube-system", "pods", name] => objects::pods(&nodes, Some(name)),
        ["api", "v1", "namespaces", _, "pods"] => objects::pods(&[], None),
        ["api", "v1", "namespaces", _, "pods", name] => objects::pods(&[], Some(name)),
        ["api", "v1", "services"] => objects::services(None, None),
        ["api", "v1", "namespaces", space, "services"] => objects::services(Some(space), None),
        ["api", "v1", "namespaces", space, "services", name] => objects::services(Some(space), Some(name)),
        _ => return status(404, "NotFound", "the server could not find the requested resource"),
    };
    if let (Some(name), []) = (&list.single, list.items.as_slice()) {
        return missing(list.plural(), name);
    }
    let list = list.selected(&parameters);
    let accept = request.headers().get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let tables = accept.contains("as=Table");
    if parameters.iter().any(|(key, value)| key == "watch" && matches!(value.as_str(), "true" | "1")) {
        let shown = if tables { table::each(&list) } else { list.items };
        return answer(200, "OK", "application/json", watched(&shown));
    }
    match (&list.single, list.items.as_slice()) {
        _ if tables => reply(&table::of(&list)),
        (Some(_), [only]) => reply(only),
        _ => reply(&list.object()),
    }
}

/// The beginning of a watch: everything there is. It ends there, and the client watches again.
fn watched(shown: &[Value]) -> String {
    shown.iter().map(|item| json!({"type": "ADDED", "object": item}).to_string() + "\n").collect()
}

fn missing(kind: &str, name: &str) -> Response {
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": format!("{kind} {name:?} not found"), "details": {"name": name, "kind": kind},
    });
    answer(404, "NotFound", "application/json", value.to_string())
}

fn reply(value: &Value) -> Response {
    answer(200, "OK", "application/json", value.to_string())
}

fn status(code: u16, reason: &str, message: &str) -> Response {
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code,
    });
    answer(code, reason, "application/json", value.to_string())
}
