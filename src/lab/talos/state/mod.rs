//! `cosi.resource.State`: reading resources, by Talos's access rules.

mod filter;
mod memory;
mod watch;

use std::collections::BTreeMap;

use tonic::Status;

use memory::Memory;
pub(super) use watch::watch;

use super::resources;
use super::server::Peer;
use super::{Face, Replies, replies};
use crate::lab::world::World;
use crate::talos::wire::cosi::{GetRequest, GetResponse, ListRequest, ListResponse, Resource as WireResource};
use filter::Filter;

/// What each machine has shown, by VMID.
pub type Memories = BTreeMap<u32, Memory>;

/// Resources as they go over the wire, by id.
type Shown = Vec<WireResource>;

/// Checks in Talos's order; the texts are its own (internal/app/resources/access.go).
fn admit(face: &Face, world: &World, namespace: &str, kind: &str, peer: &Peer) -> Result<(), Status> {
    let minor = face.system(world)?.minor;
    match resources::known(kind, minor) {
        None => return Err(Status::permission_denied(format!("resource type {kind:?} is not supported"))),
        Some(sensitive) if sensitive && !face.is_admin(peer) => {
            return Err(Status::permission_denied("not authorized"));
        }
        Some(_) => {}
    }
    if !resources::namespaces(minor).any(|known| known == namespace) {
        return Err(Status::permission_denied(format!("namespace {namespace:?} is not supported")));
    }
    Ok(())
}

fn find(face: &Face, world: &mut World, namespace: &str, kind: &str) -> Result<Shown, Status> {
    let system = face.system(world)?;
    let mut all =
        if namespace == "meta" { resources::meta(system.minor) } else { resources::of(&world.fleet, face.vmid, kind) };
    all.retain(|resource| resource.namespace == namespace && resource.kind == kind);
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let memory = world.memories.entry(face.vmid).or_default();
    Ok(all.into_iter().map(|resource| memory.recall(face.boot, resource)).collect())
}

pub(super) fn get(face: &Face, world: &mut World, request: &GetRequest, peer: &Peer) -> Result<GetResponse, Status> {
    let GetRequest { namespace, r#type: kind, id, .. } = request;
    admit(face, world, namespace, kind, peer)?;
    let mut found = find(face, world, namespace, kind)?.into_iter();
    match found.find(|resource| resource.metadata.as_ref().is_some_and(|metadata| metadata.id == *id)) {
        Some(resource) => Ok(GetResponse { resource: Some(resource) }),
        None => Err(Status::not_found(format!("resource {kind}({namespace}/{id}@undefined) doesn't exist"))),
    }
}

pub(super) fn list(
    face: &Face,
    world: &mut World,
    request: &ListRequest,
    peer: &Peer,
) -> Result<Replies<ListResponse>, Status> {
    admit(face, world, &request.namespace, &request.r#type, peer)?;
    let options = request.options.clone().unwrap_or_default();
    let filter = Filter::new(options.id_query.as_ref(), &options.label_query)?;
    let found = find(face, world, &request.namespace, &request.r#type)?;
    let wanted = found.into_iter().filter(|resource| filter.takes(resource));
    Ok(replies(wanted.map(|resource| ListResponse { resource: Some(resource) }).collect()))
}
