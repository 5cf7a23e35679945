//! Starting and stopping services by hand, which Talos allows for few of them.
//!
//! Talos: internal/app/machined/pkg/system/system.go. The lab's services cannot be
//! stopped: those that may be, kubelet aside, come from extensions.

use tonic::Status;

use crate::lab::fleet::services_of;
use crate::lab::talos::Face;
use crate::lab::talos::server::Peer;
use crate::lab::world::World;
use crate::talos::wire::machine::{ServiceAnswer, ServiceRequest, ServiceResponse};

type Answer = Result<ServiceResponse, Status>;

pub(in crate::lab::talos) fn start(face: &Face, world: &mut World, request: &ServiceRequest, _: &Peer) -> Answer {
    let running = running(face, world, &request.id)?;
    if running || may_restart(&request.id) {
        return Ok(say(format!("Service {:?} started", request.id)));
    }
    Err(Status::unknown(format!("service {:?} doesn't support start operation via API", request.id)))
}

pub(in crate::lab::talos) fn stop(face: &Face, world: &mut World, request: &ServiceRequest, _: &Peer) -> Answer {
    if !running(face, world, &request.id)? {
        return Ok(say(format!("Service {:?} stopped", request.id)));
    }
    if request.id.starts_with("ext-") {
        return Err(Status::unimplemented("the lab's machines do not stop services"));
    }
    Err(Status::unknown(format!("service {:?} doesn't support stop operation via API", request.id)))
}

pub(in crate::lab::talos) fn restart(face: &Face, world: &mut World, request: &ServiceRequest, _: &Peer) -> Answer {
    running(face, world, &request.id)?;
    if may_restart(&request.id) {
        return Ok(say(format!("Service {:?} restarted", request.id)));
    }
    Err(Status::unknown(format!("service {:?} doesn't support restart operation via API", request.id)))
}

fn may_restart(id: &str) -> bool {
    id == "kubelet" || id.starts_with("ext-")
}

fn running(face: &Face, world: &World, id: &str) -> Result<bool, Status> {
    let services = services_of(face.machine(world)?);
    let service = services.iter().find(|service| service.id == id);
    let service = service.ok_or_else(|| Status::unknown(format!("service {id:?} not defined")))?;
    Ok(service.state == "Running")
}

fn say(resp: String) -> ServiceResponse {
    ServiceResponse { messages: vec![ServiceAnswer { metadata: None, resp }] }
}
