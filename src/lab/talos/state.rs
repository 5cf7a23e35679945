//! `cosi.resource.State`: reading resources, by Talos's access rules.

use regex::Regex;
use tokio::sync::watch;
use tonic::Status;

use super::resources::{self, Resource};
use super::server::Peer;
use super::{Face, Replies, replies};
use crate::lab::world::World;
use crate::talos::wire::cosi::{
    Event, EventType, GetRequest, GetResponse, ListRequest, ListResponse, Metadata, Resource as WireResource, Spec,
    WatchRequest, WatchResponse,
};

/// Checks in Talos's order; the texts are its own (internal/app/resources/access.go).
fn admit(face: &Face, namespace: &str, kind: &str, peer: &Peer) -> Result<(), Status> {
    match resources::known(kind) {
        None => return Err(Status::permission_denied(format!("resource type {kind:?} is not supported"))),
        Some(sensitive) if sensitive && !face.is_admin(peer) => {
            return Err(Status::permission_denied("not authorized"));
        }
        Some(_) => {}
    }
    if !resources::NAMESPACES.contains(&namespace) {
        return Err(Status::permission_denied(format!("namespace {namespace:?} is not supported")));
    }
    Ok(())
}

fn find(face: &Face, world: &World, namespace: &str, kind: &str) -> Result<Vec<Resource>, Status> {
    face.machine(world)?;
    let mut all = if namespace == "meta" { resources::meta() } else { resources::of(&world.fleet, face.vmid, kind) };
    all.retain(|resource| resource.namespace == namespace && resource.kind == kind);
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

fn wire(resource: &Resource) -> WireResource {
    let metadata = Metadata {
        namespace: resource.namespace.to_owned(),
        r#type: resource.kind.to_owned(),
        id: resource.id.clone(),
        version: "1".into(),
        owner: "lab".into(),
        phase: "running".into(),
        ..Metadata::default()
    };
    let spec = Spec { proto_spec: resource.proto.clone(), yaml_spec: resource.yaml.clone() };
    WireResource { metadata: Some(metadata), spec: Some(spec) }
}

pub(super) fn get(face: &Face, world: &mut World, request: &GetRequest, peer: &Peer) -> Result<GetResponse, Status> {
    let GetRequest { namespace, r#type: kind, id, .. } = request;
    admit(face, namespace, kind, peer)?;
    let found = find(face, world, namespace, kind)?.into_iter().find(|resource| resource.id == *id);
    match found {
        Some(resource) => Ok(GetResponse { resource: Some(wire(&resource)) }),
        None => Err(Status::not_found(format!("resource {kind}({namespace}/{id}@undefined) doesn't exist"))),
    }
}

pub(super) fn list(
    face: &Face,
    world: &mut World,
    request: &ListRequest,
    peer: &Peer,
) -> Result<Replies<ListResponse>, Status> {
    admit(face, &request.namespace, &request.r#type, peer)?;
    let query = request.options.as_ref().and_then(|options| options.id_query.as_ref());
    let pattern = query
        .map(|query| query.regexp.as_str())
        .filter(|pattern| !pattern.is_empty())
        .map(|pattern| Regex::new(pattern).map_err(|error| Status::invalid_argument(error.to_string())))
        .transpose()?;
    let found = find(face, world, &request.namespace, &request.r#type)?;
    let wanted = found.iter().filter(|resource| pattern.as_ref().is_none_or(|pattern| pattern.is_match(&resource.id)));
    Ok(replies(wanted.map(|resource| ListResponse { resource: Some(wire(resource)) }).collect()))
}

struct Watcher {
    face: Face,
    changes: watch::Receiver<u64>,
    namespace: String,
    kind: String,
    id: Option<String>,
    bootstrap: bool,
    /// With api_version 0, BOOTSTRAPPED and ERRORED are kept from the client.
    modern: bool,
    armed: bool,
    /// What the client has been told.
    known: Option<Vec<Resource>>,
}

pub(super) fn watch(
    face: &Face,
    world: &mut World,
    request: &WatchRequest,
    peer: &Peer,
) -> Result<Replies<WatchResponse>, Status> {
    admit(face, &request.namespace, &request.r#type, peer)?;
    face.machine(world)?;
    let bootstrap = request.options.as_ref().is_some_and(|options| options.bootstrap_contents);
    if bootstrap && request.id.is_some() {
        return Err(Status::unimplemented("bootstrap contents is not supported for a single resource"));
    }
    let watcher = Watcher {
        face: face.clone(),
        changes: face.shared.subscribe(),
        namespace: request.namespace.clone(),
        kind: request.r#type.clone(),
        id: request.id.clone(),
        bootstrap,
        modern: request.api_version >= 1,
        armed: false,
        known: None,
    };
    Ok(Box::pin(futures_util::stream::unfold(watcher, next)))
}

async fn next(mut watcher: Watcher) -> Option<(Result<WatchResponse, Status>, Watcher)> {
    if !watcher.armed {
        watcher.armed = true;
        return Some((Ok(WatchResponse::default()), watcher));
    }
    loop {
        let found = {
            let world = watcher.face.shared.lock();
            find(&watcher.face, &world, &watcher.namespace, &watcher.kind)
        };
        let mut found = match found {
            Ok(found) => found,
            Err(status) => return Some((Err(status), watcher)),
        };
        found.retain(|resource| watcher.id.as_ref().is_none_or(|id| *id == resource.id));
        let events = watcher.compare(&found);
        watcher.known = Some(found);
        if !events.is_empty() {
            return Some((Ok(WatchResponse { event: events }), watcher));
        }
        watcher.changes.changed().await.ok()?;
    }
}

impl Watcher {
    fn compare(&self, found: &[Resource]) -> Vec<Event> {
        let event = |kind: EventType, resource: Option<WireResource>, old: Option<WireResource>| Event {
            resource,
            event_type: kind.into(),
            old,
            ..Event::default()
        };
        let Some(known) = &self.known else { return self.begin(found, event) };
        let mut events = Vec::new();
        for resource in found {
            match known.iter().find(|old| old.id == resource.id) {
                None => events.push(event(EventType::Created, Some(wire(resource)), None)),
                Some(old) if old != resource => {
                    events.push(event(EventType::Updated, Some(wire(resource)), Some(wire(old))));
                }
                Some(_) => {}
            }
        }
        for old in known.iter().filter(|old| !found.iter().any(|resource| resource.id == old.id)) {
            events.push(event(EventType::Destroyed, Some(wire(old)), None));
        }
        events
    }

    fn begin(
        &self,
        found: &[Resource],
        event: impl Fn(EventType, Option<WireResource>, Option<WireResource>) -> Event,
    ) -> Vec<Event> {
        let created = || found.iter().map(|resource| event(EventType::Created, Some(wire(resource)), None)).collect();
        match &self.id {
            Some(id) if found.is_empty() => {
                let absent =
                    Resource { namespace: "", kind: "", id: id.clone(), proto: Vec::new(), yaml: String::new() };
                let mut absent = wire(&absent);
                if let Some(metadata) = &mut absent.metadata {
                    metadata.namespace.clone_from(&self.namespace);
                    metadata.r#type.clone_from(&self.kind);
                }
                vec![event(EventType::Destroyed, Some(absent), None)]
            }
            Some(_) => created(),
            None if self.bootstrap => {
                let mut events: Vec<Event> = created();
                if self.modern {
                    events.push(event(EventType::Bootstrapped, None, None));
                }
                events
            }
            // Only what changes later.
            None => Vec::new(),
        }
    }
}
