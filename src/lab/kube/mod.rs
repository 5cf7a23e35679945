//! The Kubernetes API that a bootstrapped cluster shows, as far as people and health checks read it.
//!
//! Nodes, namespaces and the pods of kube-system, as objects and as the tables
//! that kubectl prints. Nothing can be written.

mod discovery;
mod objects;
mod table;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::faults::{Effect, Face};
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
    let effect = shared.lock().observe(Face::Kube, &format!("{} {path}", request.method()), name);
    match &effect {
        None | Some(Effect::ActThenFail { .. } | Effect::LoseReply) => {}
        Some(Effect::Refuse { code, text }) => return Ok(status(*code, "InternalError", text)),
        Some(Effect::LoseRequest) => return Err(Hangup),
        Some(Effect::Delay { millis }) => pause(Duration::from_millis(*millis)).await,
        Some(Effect::Silent) => return std::future::pending().await,
    }
    let response = route(&shared.lock(), vmid, request, peer);
    match effect {
        Some(Effect::ActThenFail { code, text }) => Ok(status(code, "InternalError", &text)),
        Some(Effect::LoseReply) => Err(Hangup),
        _ => Ok(response),
    }
}

#[expect(clippy::disallowed_methods, reason = "a delay that the script of faults asks for")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

fn route(world: &World, vmid: u32, request: &Request, peer: &Peer) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    if request.method() != Method::GET {
        return status(405, "MethodNotAllowed", "the lab's Kubernetes cannot be written to");
    }
    // Talos lets the anonymous in to these alone.
    if matches!(path, "/readyz" | "/livez" | "/healthz") {
        return answer(200, "OK", "text/plain; charset=utf-8", "ok");
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
        ["api", "v1", "namespaces", _, "pods"] => objects::List::empty("Pod"),
        _ => return status(404, "NotFound", "the server could not find the requested resource"),
    };
    let query = request.uri().query().unwrap_or_default();
    let parameters: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let list = list.selected(&parameters);
    if parameters.iter().any(|(key, value)| key == "watch" && matches!(value.as_str(), "true" | "1")) {
        return answer(200, "OK", "application/json", list.watched());
    }
    let accept = request.headers().get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("as=Table") { reply(&table::of(&list)) } else { one_or_all(&list) }
}

fn one_or_all(list: &objects::List) -> Response {
    match (list.single, list.items.as_slice()) {
        (false, _) => reply(&list.object()),
        (true, [only]) => reply(only),
        (true, _) => status(404, "NotFound", &format!("{} not found", list.kind)),
    }
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
