//! `Events`: an empty hello, then the machine's stage whenever it changes.

use prost::Message;
use tokio::sync::watch;
use tonic::Status;

use super::server::Peer;
use super::{Face, Replies};
use crate::lab::world::World;
use crate::talos::wire::machine::machine_status_event::MachineStatus;
use crate::talos::wire::machine::machine_status_event::machine_status::UnmetCondition;
use crate::talos::wire::machine::{Event, EventsRequest, MachineStatusEvent};

struct Reader {
    face: Face,
    changes: watch::Receiver<u64>,
    hello: bool,
    last: Option<MachineStatusEvent>,
    sent: u64,
}

pub(super) fn events(
    face: &Face,
    world: &mut World,
    request: &EventsRequest,
    _: &Peer,
) -> Result<Replies<Event>, Status> {
    let now = status(face, world)?;
    // Without a tail only what is new is told.
    let last = (request.tail_events == 0).then_some(now);
    let changes = face.shared.subscribe();
    let reader = Reader { face: face.clone(), changes, hello: false, last, sent: 0 };
    Ok(Box::pin(futures_util::stream::unfold(reader, next)))
}

async fn next(mut reader: Reader) -> Option<(Result<Event, Status>, Reader)> {
    if !reader.hello {
        reader.hello = true;
        // It says that the stream is live.
        let data = Some(prost_types::Any::default());
        return Some((Ok(Event { data, ..Event::default() }), reader));
    }
    loop {
        let status = status(&reader.face, &reader.face.shared.lock());
        match status {
            Ok(status) if reader.last.as_ref() != Some(&status) => {
                reader.last = Some(status.clone());
                reader.sent += 1;
                let data = prost_types::Any {
                    type_url: "talos/runtime/machine.MachineStatusEvent".into(),
                    value: status.encode_to_vec(),
                };
                let id = format!("{:010}{:010}", reader.face.boot, reader.sent);
                return Some((Ok(Event { data: Some(data), id, ..Event::default() }), reader));
            }
            Ok(_) => reader.changes.changed().await.ok()?,
            // The machine is gone, and the stream with it.
            Err(_) => return None,
        }
    }
}

fn status(face: &Face, world: &World) -> Result<MachineStatusEvent, Status> {
    let spec = super::resources::machine_status(face.machine(world)?, face.system(world)?);
    let status = spec.status.unwrap_or_default();
    let unmet = status.unmet_conditions.into_iter();
    let unmet_conditions = unmet.map(|unmet| UnmetCondition { name: unmet.name, reason: unmet.reason }).collect();
    Ok(MachineStatusEvent { stage: spec.stage, status: Some(MachineStatus { ready: status.ready, unmet_conditions }) })
}
