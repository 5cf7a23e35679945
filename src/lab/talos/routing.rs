//! Calls that name another machine in their metadata: `node` is one, `nodes` are several.
//!
//! A control plane forwards them, a worker does not. Nothing is dialled here: the
//! machine that would answer is looked up in the world, and answers if its port is
//! open. The script of faults meets the machine that was dialled.
//!
//! The answer to `nodes` is one reply with everybody's elements, each with its
//! origin in `metadata`; a machine's failure is an element too, and the call succeeds
//! (Talos: internal/app/apid/pkg/director, internal/app/apid/pkg/backend).

use futures_util::StreamExt;
use futures_util::stream::select_all;
use prost::Message;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::{Face, Replies};
use crate::inventory::Role;
use crate::lab::fleet::minor::Minor;
use crate::lab::fleet::{Machine, Port};
use crate::lab::world::World;
use crate::talos::wire::common;

/// Whom a call is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Whoever was dialled.
    Here,
    One(String),
    Many(Vec<String>),
}

impl Route {
    pub(super) fn of(metadata: &MetadataMap) -> Result<Self, Status> {
        let all = |key: &str| -> Vec<String> {
            metadata.get_all(key).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
        };
        let (mut node, nodes) = (all("node"), all("nodes"));
        if node.len() > 1 {
            return Err(Status::invalid_argument("node metadata must be single-valued"));
        }
        Ok(match (nodes.is_empty(), node.pop()) {
            (false, _) => Self::Many(nodes),
            (true, Some(node)) => Self::One(node),
            (true, None) => Self::Here,
        })
    }
}

impl Face {
    /// The route as this machine takes it.
    pub(super) fn permit(&self, world: &World, method: &str, route: Route) -> Result<Route, Status> {
        if self.port == Port::Maintenance {
            return Ok(Route::Here);
        }
        let machine = self.machine(world)?;
        let minor = self.system(world)?.minor;
        let forwards = machine.role() == Some(Role::ControlPlane);
        let alone = match &route {
            Route::One(only) => Some(only),
            Route::Many(all) if all.len() == 1 => all.first(),
            Route::Many(_) | Route::Here => None,
        };
        if !forwards && alone.is_some_and(|target| self.names(machine, target)) {
            return Ok(Route::Here);
        }
        match route {
            Route::Many(_) if !goes_to_many(method, minor) => {
                Err(Status::invalid_argument(if minor.unified_maintenance {
                    format!("one-2-many proxying is not supported for method /{method}")
                } else {
                    "one-2-many proxying is not supported for COSI methods".to_owned()
                }))
            }
            Route::One(_) | Route::Many(_) if !forwards => Err(Status::permission_denied("no request forwarding")),
            route => Ok(route),
        }
    }

    /// The face that a forwarded call arrives at.
    pub(super) fn forward(&self, world: &World, target: &str) -> Result<Self, Status> {
        let refused = |why: &str| {
            let text =
                format!("connection error: desc = \"transport: Error while dialing: dial tcp {target}:50000: {why}\"");
            Err(Status::unavailable(text))
        };
        let Some(machine) = world.fleet.machines().find(|machine| self.names(machine, target)) else {
            return refused("connect: no route to host");
        };
        let (Some(system), Some(Port::Talos)) = (&machine.system, machine.api()) else {
            return refused("connect: connection refused");
        };
        let identity = |of: &crate::lab::fleet::System| of.config.as_ref().map(|config| config.identity());
        if identity(system) != identity(self.system(world)?) {
            return refused("authentication handshake failed: x509: certificate signed by unknown authority");
        }
        let (vmid, boot, name) = (machine.hardware.vmid, system.boot, machine.hardware.name.clone());
        Ok(Self { vmid, boot, name, port: Port::Talos, ..self.clone() })
    }

    /// Whether `target` is this machine's host name or one of its addresses, or the loopback address that stands for one.
    fn names(&self, machine: &Machine, target: &str) -> bool {
        let Some(system) = &machine.system else { return false };
        let own = system.addresses.iter().map(|address| address.ip).chain(system.vips.iter().copied());
        let mut names = own.flat_map(|ip| [ip.into(), self.reach.ip(ip.into())]);
        system.hostname == target || target.parse().is_ok_and(|target: std::net::IpAddr| names.any(|ip| ip == target))
    }
}

/// Whether several machines may be asked at once (Talos 1.13 names the services that may; before, only COSI might not).
fn goes_to_many(method: &str, minor: &Minor) -> bool {
    let services = [
        "machine.MachineService/",
        "cluster.ClusterService/",
        "inspect.InspectService/",
        "storage.StorageService/",
        "time.TimeService/",
    ];
    if minor.unified_maintenance {
        services.iter().any(|service| method.starts_with(service))
    } else {
        !method.starts_with("cosi.")
    }
}

/// Any unary reply, its elements undecoded: all have them in this field.
#[derive(Clone, PartialEq, Message)]
struct Elements {
    #[prost(bytes = "vec", repeated, tag = "1")]
    messages: Vec<Vec<u8>>,
}

/// Any element, as far as all are alike.
#[derive(Clone, PartialEq, Message)]
struct Origin {
    #[prost(message, optional, tag = "1")]
    metadata: Option<common::Metadata>,
}

fn origin(hostname: &str, failure: Option<&Status>) -> Vec<u8> {
    let status = |status: &Status| common::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    };
    let error = failure.map(|status| format!("rpc error: code = {:?} desc = {}", status.code(), status.message()));
    let metadata = common::Metadata {
        hostname: hostname.to_owned(),
        error: error.unwrap_or_default(),
        status: failure.map(status),
    };
    Origin { metadata: Some(metadata) }.encode_to_vec()
}

fn reread<T: Message + Default>(bytes: &[u8]) -> Result<T, Status> {
    T::decode(bytes).map_err(|error| Status::internal(error.to_string()))
}

/// One reply from everybody's.
pub(super) fn gather<T: Message + Default>(replies: Vec<(String, Result<T, Status>)>) -> Result<T, Status> {
    let mut all = Elements::default();
    for (target, reply) in replies {
        match reply {
            Ok(reply) => {
                let own: Elements = reread(&reply.encode_to_vec())?;
                let named = own.messages.into_iter().map(|element| [element, origin(&target, None)].concat());
                all.messages.extend(named);
            }
            Err(status) => all.messages.push(origin(&target, Some(&status))),
        }
    }
    reread(&all.encode_to_vec())
}

/// One stream from everybody's, in the order in which they speak.
pub(super) fn gather_streams<T: Message + Default + 'static>(
    streams: Vec<(String, Result<Replies<T>, Status>)>,
) -> Replies<T> {
    let named = streams.into_iter().map(|(target, stream)| -> Replies<T> {
        let stream = stream.unwrap_or_else(|status| Box::pin(futures_util::stream::iter([Err(status)])));
        Box::pin(stream.map(move |item| match item {
            Ok(item) => reread(&[item.encode_to_vec(), origin(&target, None)].concat()),
            Err(status) => reread(&origin(&target, Some(&status))),
        }))
    });
    Box::pin(select_all(named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talos::wire::machine::{Hostname, HostnameResponse};

    #[test]
    fn replies_and_failures_become_elements_with_their_origin() {
        let reply = HostnameResponse { messages: vec![Hostname { metadata: None, hostname: "a".into() }] };
        let all = gather(vec![("x".into(), Ok(reply)), ("y".into(), Err(Status::unavailable("off")))]).unwrap();
        let [one, two] = all.messages.as_slice() else { panic!("two elements: {all:?}") };
        assert_eq!((one.hostname.as_str(), one.metadata.as_ref().unwrap().hostname.as_str()), ("a", "x"));
        let failure = two.metadata.as_ref().unwrap();
        assert_eq!(
            (failure.hostname.as_str(), failure.error.as_str()),
            ("y", "rpc error: code = Unavailable desc = off")
        );
        assert_eq!(failure.status.as_ref().unwrap().code, 14);
    }

    #[test]
    fn metadata_names_nobody_one_or_several() {
        let mut metadata = MetadataMap::new();
        assert_eq!(Route::of(&metadata).unwrap(), Route::Here);
        metadata.append("node", "a".parse().unwrap());
        assert_eq!(Route::of(&metadata).unwrap(), Route::One("a".into()));
        metadata.append("nodes", "b".parse().unwrap());
        metadata.append("nodes", "c".parse().unwrap());
        assert_eq!(Route::of(&metadata).unwrap(), Route::Many(vec!["b".into(), "c".into()]));
        metadata.append("node", "d".parse().unwrap());
        assert!(Route::of(&metadata).is_err());
    }
}
