//! The Kubernetes API that a bootstrapped cluster shows, as far as people and health checks read it.
//!
//! Objects, tables, lists in pages and watches, for callers with a client
//! certificate of the cluster; discovery, health, and questions about oneself.
//! Of nodes a little can be written, and nothing else.
//!
//! - `kinds`: what there is; `discovery`: how that is told
//! - `objects`: what the fleet comes to; `store`: its versions and ages
//! - `query`, `table`, `watch`: how it is asked for
//! - `write`: what may be changed of nodes
//! - `caller`, `review`, `status`: who may, and how it is refused

mod caller;
mod discovery;
mod health;
mod kinds;
mod objects;
mod query;
mod review;
mod status;
mod store;
mod table;
mod watch;
mod wire;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::ACCEPT;
use jiff::Timestamp;
use rustls::ServerConfig;
use serde_json::{Value, json};

use super::address::Socket;
use super::faults::Face;
use super::faults::gate::{self, Fate};
use super::fleet::EtcdId;
use super::http::{self as server, Hangup, Limits, Peer, Request, Response, ServerHandle, answer, serve as serve_http};
use super::world::Shared;
use caller::Caller;
use kinds::Place;
use objects::Cluster;
use query::Query;
use store::Store;

/// What each cluster's API remembers.
pub type Stores = BTreeMap<EtcdId, Store>;

/// What a review may weigh.
const BODY: usize = 1 << 20;

/// One control plane's API.
#[derive(Clone)]
struct Served {
    shared: Shared,
    vmid: u32,
}

/// Serves the API of the control plane `vmid` on `socket`.
pub fn serve(shared: &Shared, socket: Socket, tls: Arc<ServerConfig>, vmid: u32, name: String) -> ServerHandle {
    let served = Served { shared: shared.clone(), vmid };
    serve_http(socket, Some(tls), Limits::PLAIN, move |request, peer| {
        let (served, name) = (served.clone(), name.clone());
        async move { respond(&served, &name, request, &peer).await }
    })
}

async fn respond(served: &Served, name: &str, request: Request, peer: &Peer) -> Result<Response, Hangup> {
    let path = request.uri().path();
    let spoil = match gate::enter(&served.shared, Face::Kube, &format!("{} {path}", request.method()), name).await {
        Ok(spoil) => spoil,
        Err(Fate::Refused { code, text }) => return Ok(status::refuse(code, "InternalError", &text, None)),
        Err(Fate::Ended(ending)) => return Err(peer.end(ending)),
    };
    let (parts, body) = request.into_parts();
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let body = if reads { Bytes::new() } else { server::body(body, BODY).await.unwrap_or_default() };
    let response = served.route(&parts, &body, peer);
    spoil.http(peer, response, |code, text| status::refuse(code, "InternalError", text, None)).await
}

impl Served {
    /// Looks at the cluster as it is now; `None` when this machine has none any more.
    fn look<T>(&self, see: impl FnOnce(&Store) -> T) -> Option<T> {
        let mut world = self.shared.lock();
        let (id, _) = world.fleet.etcd_of(self.vmid)?;
        let fleet = &world.fleet;
        let etcd = fleet.etcd(id)?;
        let node = |(name, record)| objects::Node {
            name,
            record,
            ready: fleet.is_node_ready(name, record),
            alive: fleet.is_node_alive(name, record),
        };
        let cluster =
            Cluster { nodes: etcd.nodes.iter().map(|(name, record)| node((name.as_str(), record))).collect() };
        let objects = objects::all(&cluster);
        let store = world.kube.entry(id).or_default();
        store.sync(objects, Timestamp::now());
        Some(see(store))
    }

    /// The API server's version, with its `v`.
    fn version(&self) -> String {
        let world = self.shared.lock();
        let machine = world.fleet.machine(self.vmid).and_then(|machine| machine.system.as_ref());
        let config = machine.and_then(|system| system.config.as_ref());
        config.map_or_else(|| "v1.0.0".to_owned(), |config| format!("v{}", config.kubernetes_version))
    }

    fn route(&self, request: &http::request::Parts, body: &[u8], peer: &Peer) -> Response {
        let path = request.uri.path().trim_end_matches('/');
        let query = Query::of(&request.uri);
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        // Talos lets the anonymous in to these alone.
        if let (true, Some(response)) = (reads, health::respond(path, &query)) {
            return response;
        }
        let Some(caller) = Caller::of(peer) else { return status::unauthorized() };
        let caller = match caller.speaking_for(&request.headers) {
            Ok(caller) => caller,
            Err(refused) => return *refused,
        };
        let accept = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let (true, Some((document, kind))) = (reads, discovery::document(path, accept, &self.version())) {
            return answer(200, "OK", &kind, document.to_string());
        }
        let Some(place) = Place::of(path) else {
            let known = path.starts_with("/api/") || path.starts_with("/apis/");
            return if caller.is_master() || known {
                status::no_resource()
            } else {
                status::forbidden_path(&caller, &request.method.as_str().to_lowercase(), path)
            };
        };
        let verb = verb(&request.method, &place, &query);
        if !caller.may_use(place.kind) {
            return status::forbidden(&caller, verb, &place);
        }
        match (&request.method, place.kind.review) {
            (&Method::POST, true) => review::respond(place.kind, &caller, body),
            (&Method::GET | &Method::HEAD, false) if place.subresource.is_none() => {
                self.read(place, &query, accept.contains("as=Table")).unwrap_or_else(unavailable)
            }
            (&Method::GET, false) => status::no_resource(),
            _ => write::respond(self, request, body, &place, &query).unwrap_or_else(unavailable),
        }
    }

    fn read(&self, place: Place, query: &Query, tables: bool) -> Option<Response> {
        let selection = match query.selection(place.kind) {
            Ok(selection) => selection,
            Err(why) => return Some(status::bad_request(&why)),
        };
        if query.flag("watch") {
            return Some(watch::respond(self, place, query, selection, tables));
        }
        let namespace = place.namespace.as_deref();
        let (found, version) = self.look(|store| {
            let found: Vec<Value> = store
                .of(place.kind, namespace)
                .map(|entry| &entry.object)
                .filter(|object| place.name.as_ref().is_none_or(|name| object["metadata"]["name"] == **name))
                .filter(|object| selection.takes(object))
                .cloned()
                .collect();
            (found, store.version())
        })?;
        let (now, include) = (Timestamp::now(), query.text("includeObject"));
        if let Some(name) = &place.name {
            let Some(object) = found.first() else { return Some(status::missing(&place, name)) };
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            return Some(reply(&if tables {
                table::of(place.kind, found.iter(), &metadata, include, now)
            } else {
                object.clone()
            }));
        }
        let page = match query::page(found, query, &selection, version) {
            Ok(page) => page,
            Err(why) => return Some(status::bad_request(&why)),
        };
        Some(reply(&if tables {
            table::of(place.kind, page.items.iter(), &page.metadata, include, now)
        } else {
            let (kind, version) = (format!("{}List", place.kind.name), place.kind.api_version());
            json!({"kind": kind, "apiVersion": version, "metadata": page.metadata, "items": page.items})
        }))
    }
}

/// What the request wants to do, as permissions name it.
fn verb(method: &Method, place: &Place, query: &Query) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if place.name.is_none() => "deletecollection",
        Method::DELETE => "delete",
        _ if query.flag("watch") => "watch",
        _ if place.name.is_some() => "get",
        _ => "list",
    }
}

fn unavailable() -> Response {
    status::refuse(503, "ServiceUnavailable", "etcd is not available", None)
}

fn reply(value: &Value) -> Response {
    answer(200, "OK", "application/json", value.to_string())
}
