//! Watches of resources.

use std::collections::VecDeque;

use tokio::sync::watch::Receiver;
use tonic::Status;

use super::filter::Filter;
use super::{Shown, admit, find};
use crate::lab::talos::server::Peer;
use crate::lab::talos::{Face, Replies};
use crate::lab::world::World;
use crate::talos::wire::cosi::{
    Event, EventType, Metadata, Resource as WireResource, Spec, WatchRequest, WatchResponse,
};

struct Watcher {
    face: Face,
    changes: Receiver<u64>,
    request: WatchRequest,
    filter: Filter,
    /// What is to be said next.
    said: VecDeque<WatchResponse>,
    /// What the client has been told of.
    known: Option<Vec<WireResource>>,
}

pub(in crate::lab::talos) fn watch(
    face: &Face,
    world: &mut World,
    request: &WatchRequest,
    peer: &Peer,
) -> Result<Replies<WatchResponse>, Status> {
    admit(face, world, &request.namespace, &request.r#type, peer)?;
    face.machine(world)?;
    let options = request.options.clone().unwrap_or_default();
    if options.bootstrap_contents && request.id.is_some() {
        return Err(Status::unimplemented("bootstrap contents is not supported for a single resource"));
    }
    let filter = Filter::new(options.id_query.as_ref(), &options.label_query)?;
    let watcher = Watcher {
        face: face.clone(),
        changes: face.shared.subscribe(),
        request: request.clone(),
        filter,
        // The watch is armed.
        said: VecDeque::from([WatchResponse::default()]),
        known: None,
    };
    Ok(Box::pin(futures_util::stream::unfold(watcher, |mut watcher| async move {
        let next = watcher.next().await?;
        Some((next, watcher))
    })))
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        loop {
            if let Some(said) = self.said.pop_front() {
                return Some(Ok(said));
            }
            let found = {
                let mut world = self.face.shared.lock();
                find(&self.face, &mut world, &self.request.namespace, &self.request.r#type)
            };
            let mut found: Shown = match found {
                Ok(found) => found,
                Err(status) => return Some(Err(status)),
            };
            let id = |resource: &WireResource| resource.metadata.as_ref().map(|metadata| metadata.id.clone());
            found.retain(|resource| {
                self.request.id.as_ref().is_none_or(|wanted| Some(wanted) == id(resource).as_ref())
                    && self.filter.takes(resource)
            });
            let events = self.compare(&found);
            self.known = Some(found);
            if self.request.options.as_ref().is_some_and(|options| options.aggregated) {
                self.said.extend((!events.is_empty()).then_some(WatchResponse { event: events }));
            } else {
                self.said.extend(events.into_iter().map(|event| WatchResponse { event: vec![event] }));
            }
            if self.said.is_empty() {
                self.changes.changed().await.ok()?;
            }
        }
    }

    fn compare(&self, found: &[WireResource]) -> Vec<Event> {
        let Some(known) = &self.known else { return self.begin(found) };
        let id = |resource: &WireResource| resource.metadata.as_ref().map(|metadata| metadata.id.clone());
        let mut events = Vec::new();
        for resource in found {
            match known.iter().find(|old| id(old) == id(resource)) {
                None => events.push(event(EventType::Created, Some(resource.clone()), None)),
                Some(old) if old != resource => {
                    events.push(event(EventType::Updated, Some(resource.clone()), Some(old.clone())));
                }
                Some(_) => {}
            }
        }
        for old in known.iter().filter(|old| !found.iter().any(|resource| id(resource) == id(old))) {
            events.push(event(EventType::Destroyed, Some(old.clone()), None));
        }
        events
    }

    fn begin(&self, found: &[WireResource]) -> Vec<Event> {
        let created = || found.iter().map(|resource| event(EventType::Created, Some(resource.clone()), None)).collect();
        let options = self.request.options.clone().unwrap_or_default();
        // With api_version 0, BOOTSTRAPPED and ERRORED are kept from the client.
        let modern = self.request.api_version >= 1;
        match &self.request.id {
            Some(id) if found.is_empty() => {
                let metadata = Metadata {
                    namespace: self.request.namespace.clone(),
                    r#type: self.request.r#type.clone(),
                    id: id.clone(),
                    version: "undefined".into(),
                    phase: "running".into(),
                    ..Metadata::default()
                };
                let absent = WireResource { metadata: Some(metadata), spec: Some(Spec::default()) };
                vec![event(EventType::Destroyed, Some(absent), None)]
            }
            Some(_) => created(),
            None if options.bootstrap_contents => {
                let mut events: Vec<Event> = created();
                if modern {
                    events.push(event(EventType::Bootstrapped, None, None));
                }
                events
            }
            // Only what changes later; whoever asks for a bookmark learns where that begins.
            None if options.bootstrap_bookmark && modern => vec![event(EventType::Noop, None, None)],
            None => Vec::new(),
        }
    }
}

fn event(kind: EventType, resource: Option<WireResource>, old: Option<WireResource>) -> Event {
    Event { resource, event_type: kind.into(), old, ..Event::default() }
}
