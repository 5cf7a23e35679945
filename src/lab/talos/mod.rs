//! What a machine answers on port 50000.
//!
//! [`Face`] is one boot of one machine. Every method goes through
//! `Face::call`: the script of faults, the caller's rights, then one look at
//! (or change of) the world under its lock. The generated traits are
//! implemented in `services`, one line a method; what a method does is in the
//! file of its subject.

#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod access;
mod apply;
#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod etcd;
mod events;
mod health;
#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod info;
pub mod pki;
#[expect(clippy::trivially_copy_pass_by_ref, reason = "handlers have one shape, whatever the request weighs")]
mod power;
pub mod resources;
mod rights;
pub mod server;
mod services;
mod state;

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use tonic::{Code, Request, Status};

use crate::lab::faults::{Effect, Face as FaceName};
use crate::lab::fleet::{Machine, Port, System};
use crate::lab::world::{Shared, World};
use server::Peer;

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
}

/// A request without its envelope.
struct Call<T> {
    message: T,
    peer: Peer,
}

impl<T> Call<T> {
    fn open(request: Request<T>) -> Result<Self, Status> {
        let (_, extensions, message) = request.into_parts();
        let peer = extensions.get::<Peer>().cloned().ok_or_else(|| Status::internal("a call without a connection"))?;
        Ok(Self { message, peer })
    }
}

impl Face {
    /// Serves one call: obeys the script, checks rights, acts under the lock.
    async fn call<M, T>(
        &self,
        method: &'static str,
        request: Request<M>,
        act: impl FnOnce(&Self, &mut World, &M, &Peer) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let Call { message, peer } = Call::open(request)?;
        let effect = self.shared.lock().observe(FaceName::Talos, method, &self.name);
        match &effect {
            None | Some(Effect::ActThenFail { .. } | Effect::LoseReply) => {}
            Some(Effect::Refuse { code, text }) => {
                return Err(Status::new(Code::from(i32::from(*code)), text.as_str()));
            }
            Some(Effect::LoseRequest) => return peer.hang_up().await,
            Some(Effect::Delay { millis }) => pause(Duration::from_millis(*millis)).await,
            Some(Effect::Silent) => return std::future::pending().await,
        }
        let (result, moved) = {
            let mut world = self.shared.lock();
            self.authorise(&world, method, &peer)?;
            let result = act(self, &mut world, &message, &peer);
            // What the call set off and takes no time is done before the caller hears of it.
            (result, world.advance())
        };
        if moved || rights::changes(method) {
            self.shared.wake();
        }
        match effect {
            Some(Effect::ActThenFail { code, text }) => Err(Status::new(Code::from(i32::from(code)), text)),
            Some(Effect::LoseReply) => peer.hang_up().await,
            _ => result,
        }
    }

    fn authorise(&self, world: &World, method: &str, peer: &Peer) -> Result<(), Status> {
        let system = self.system(world)?;
        if self.port == Port::Maintenance {
            rights::in_maintenance(method, system.minor)
        } else {
            rights::with_roles(method, &peer.roles)
        }
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

#[expect(clippy::disallowed_methods, reason = "a delay that the script of faults asks for")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// A stream of what is already known.
fn replies<T: Send + 'static>(items: Vec<T>) -> Replies<T> {
    Box::pin(futures_util::stream::iter(items.into_iter().map(Ok)))
}
