//! What a machine answers on port 50000.
//!
//! [`Face`] is one boot of one machine. Every method goes through
//! `Face::call`: the script of faults, the caller's rights, then one look at
//! (or change of) the world under its lock. The generated traits are
//! implemented in `services`, one line a method; what a method does is in the
//! file of its subject. A call may be meant for another machine: `routing`.

#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod access;
mod apply;
#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod etcd;
mod events;
mod frames;
mod gate;
mod health;
#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod info;
#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod inside;
#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod lifecycle;
pub mod pki;
#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod power;
pub mod resources;
mod rights;
mod routing;
pub mod server;
mod services;
mod state;

use std::pin::Pin;

use futures_util::Stream;
use prost::Message;
use tonic::{Code, Request, Status};

use crate::inventory::Role;
use crate::lab::faults::gate::{self as script, Fate, Spoil};
use crate::lab::faults::{Damage, Face as FaceName};
use crate::lab::fleet::{Machine, Port, System};
use crate::lab::world::{Shared, World};
use crate::reach::Reach;
use rights::Caller;
use routing::Route;
use server::Peer;
pub use state::Memories;

/// A stream of replies.
pub type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One boot of one machine, as its API sees it.
#[derive(Clone)]
pub struct Face {
    pub shared: Shared,
    pub vmid: u32,
    pub boot: u64,
    /// Proxmox's name for the VM: the subject of faults.
    pub name: String,
    pub port: Port,
    /// Where the site's addresses are on this host.
    pub reach: Reach,
}

/// A request without its envelope.
struct Call<T> {
    message: T,
    peer: Peer,
    route: Route,
}

impl<T> Call<T> {
    fn open(request: Request<T>) -> Result<Self, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let peer = extensions.get::<Peer>().ok_or_else(|| Status::internal("a call without a connection"))?;
        Ok(Self { message, peer: peer.speaking_for(&metadata), route: Route::of(&metadata)? })
    }
}

impl Face {
    /// Serves one call.
    async fn call<M, T: Message + Default>(
        &self,
        method: &'static str,
        request: Request<M>,
        act: impl Fn(&Self, &mut World, &M, &Peer) -> Result<T, Status>,
    ) -> Result<T, Status> {
        self.serve(method, request, act, routing::gather).await
    }

    /// Serves one call that is answered by a stream.
    async fn stream<M, T: Message + Default + 'static>(
        &self,
        method: &'static str,
        request: Request<M>,
        act: impl Fn(&Self, &mut World, &M, &Peer) -> Result<Replies<T>, Status>,
    ) -> Result<Replies<T>, Status> {
        self.serve(method, request, act, |streams| Ok(routing::gather_streams(streams))).await
    }

    /// Obeys the script, checks rights, acts under the lock; `gather` makes one answer of several machines'.
    async fn serve<M, T>(
        &self,
        method: &'static str,
        request: Request<M>,
        act: impl Fn(&Self, &mut World, &M, &Peer) -> Result<T, Status>,
        gather: impl Fn(Vec<(String, Result<T, Status>)>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let Call { message, peer, route } = Call::open(request)?;
        let failed = |code: u16, text: String| Status::new(Code::from(i32::from(code)), text);
        let spoil = match script::enter(&self.shared, FaceName::Talos, method, &self.name).await {
            Ok(spoil) => spoil,
            Err(Fate::Refused { code, text }) => return Err(failed(code, text)),
            Err(Fate::Ended(ending)) => return peer.hang_up(ending).await,
        };
        let (result, moved, changes) = {
            let mut world = self.shared.lock();
            self.authorise(&world, method, &peer)?;
            let changes = rights::changes(method, self.system(&world)?.minor);
            let answer = |world: &mut World, target: &str| {
                let face = self.forward(world, target)?;
                face.authorise(world, method, &peer)?;
                act(&face, world, &message, &peer)
            };
            let result = match self.permit(&world, method, route)? {
                Route::Here => act(self, &mut world, &message, &peer),
                Route::One(target) => answer(&mut world, &target),
                Route::Many(targets) => {
                    let each = targets.into_iter().map(|target| {
                        let reply = answer(&mut world, &target);
                        (target, reply)
                    });
                    gather(each.collect())
                }
            };
            // What the call set off and takes no time is done before the caller hears of it.
            (result, world.advance(), changes)
        };
        if moved || changes {
            self.shared.wake();
        }
        match spoil {
            Spoil::Nothing => result,
            Spoil::Failed { code, text } => Err(failed(code, text)),
            Spoil::Ended(ending) => peer.hang_up(ending).await,
            Spoil::Never(never) => never.comes().await,
            Spoil::Damaged(Damage::Garbled) => {
                peer.garble();
                result
            }
            Spoil::Damaged(Damage::Halved | Damage::Broken) => {
                peer.break_off();
                result
            }
        }
    }

    fn authorise(&self, world: &World, method: &str, peer: &Peer) -> Result<(), Status> {
        rights::admit(method, self.system(world)?.minor, self.caller(peer))
    }

    fn caller<'a>(&self, peer: &'a Peer) -> Caller<'a> {
        if self.port == Port::Maintenance { Caller::Anybody } else { Caller::With(&peer.roles) }
    }

    fn is_admin(&self, peer: &Peer) -> bool {
        self.port != Port::Maintenance && rights::is_admin(&peer.roles)
    }

    /// The machine, if it is still in the boot that this face belongs to.
    fn machine<'a>(&self, world: &'a World) -> Result<&'a Machine, Status> {
        world
            .fleet
            .machine(self.vmid)
            .filter(|machine| machine.system.as_ref().is_some_and(|system| system.boot == self.boot))
            .ok_or_else(|| Status::unavailable("the machine is shutting down"))
    }

    fn system<'a>(&self, world: &'a World) -> Result<&'a System, Status> {
        self.machine(world)?.system.as_ref().ok_or_else(|| Status::unavailable("the machine is shutting down"))
    }
}

/// What only control planes serve (Talos: internal/app/internal/machinehelper).
fn check_control_plane(face: &Face, world: &World, api: &str) -> Result<(), Status> {
    match face.machine(world)?.role() {
        Some(Role::ControlPlane) => Ok(()),
        Some(Role::Worker) => Err(Status::unimplemented(format!("{api} is only available on control plane nodes"))),
        None => Err(Status::unimplemented(format!("machine type is not set, cannot use {api} API"))),
    }
}

/// A stream of what is already known.
fn replies<T: Send + 'static>(items: Vec<T>) -> Replies<T> {
    Box::pin(futures_util::stream::iter(items.into_iter().map(Ok)))
}
