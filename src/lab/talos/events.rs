//! `Events`: an empty hello, what the machine remembers, then whatever happens.
//!
//! Sequences, phases, tasks and services come from the machine's history. Its
//! status is looked at whenever something moves, and told when it changed.

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message;
use tokio::sync::watch;
use tonic::Status;

use super::server::Peer;
use super::{Face, Replies};
use crate::lab::fleet::{Entry, Happening};
use crate::lab::world::World;
use crate::talos::wire::machine::machine_status_event::MachineStatus;
use crate::talos::wire::machine::machine_status_event::machine_status::UnmetCondition;
use crate::talos::wire::machine::service_state_event::Action as ServiceAction;
use crate::talos::wire::machine::{
    Event, EventsRequest, MachineStatusEvent, PhaseEvent, SequenceEvent, ServiceHealth, ServiceStateEvent, TaskEvent,
    phase_event, sequence_event, task_event,
};

struct Reader {
    face: Face,
    changes: watch::Receiver<u64>,
    said: VecDeque<Event>,
    /// Of the last entry that was told.
    number: u64,
    status: Option<MachineStatusEvent>,
    statuses: u64,
}

pub(super) fn events(
    face: &Face,
    world: &mut World,
    request: &EventsRequest,
    _: &Peer,
) -> Result<Replies<Event>, Status> {
    let now = status(face, world)?;
    let system = face.system(world)?;
    let last = system.history.back().map_or(0, |entry| entry.number);
    let count = u64::try_from(system.history.len()).unwrap_or(0);
    let tail = match u64::try_from(request.tail_events) {
        Ok(tail) => tail.min(count),
        // -1: all that is remembered.
        Err(_) => count,
    };
    let mut number = last - tail;
    if request.tail_seconds > 0 {
        let span = Duration::from_secs(u64::try_from(request.tail_seconds).unwrap_or(0));
        let since = world.now().saturating_sub(span);
        let recent = system.history.iter().find(|entry| entry.at >= since);
        number = recent.map_or(last, |entry| entry.number - 1);
    }
    if let Some(seen) = system.history.iter().find(|entry| id(face, entry.number) == request.tail_id) {
        number = seen.number;
    }
    let reader = Reader {
        face: face.clone(),
        changes: face.shared.subscribe(),
        // The hello says that the stream is live.
        said: VecDeque::from([Event { data: Some(prost_types::Any::default()), ..Event::default() }]),
        number,
        // Without a tail only what is new is told.
        status: (number == last).then_some(now),
        statuses: 0,
    };
    Ok(Box::pin(futures_util::stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    })))
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.said.pop_front() {
                return Some(event);
            }
            // The machine is gone, and the stream with it.
            self.look().ok()?;
            if self.said.is_empty() {
                self.changes.changed().await.ok()?;
            }
        }
    }

    fn look(&mut self) -> Result<(), Status> {
        let world = self.face.shared.lock();
        let system = self.face.system(&world)?;
        for entry in system.history.iter().filter(|entry| entry.number > self.number) {
            self.said.push_back(told(&self.face, entry));
        }
        self.number = system.history.back().map_or(0, |entry| entry.number);
        let status = status(&self.face, &world)?;
        if self.status.as_ref() != Some(&status) {
            self.statuses += 1;
            // Between two entries: it has no number of its own.
            let id = format!("{:010}s{:09}", self.face.boot, self.statuses);
            self.said.push_back(event("MachineStatusEvent", &status, id));
            self.status = Some(status);
        }
        Ok(())
    }
}

/// Twenty characters that grow, as Talos's xid does.
fn id(face: &Face, number: u64) -> String {
    format!("{:010}{number:010}", face.boot)
}

fn event(name: &str, message: &impl Message, id: String) -> Event {
    let type_url = format!("talos/runtime/machine.{name}");
    let data = prost_types::Any { type_url, value: message.encode_to_vec() };
    Event { data: Some(data), id, ..Event::default() }
}

fn told(face: &Face, entry: &Entry) -> Event {
    let id = id(face, entry.number);
    match &entry.happening {
        Happening::Sequence { name, start } => {
            let action = if *start { sequence_event::Action::Start } else { sequence_event::Action::Stop };
            let message = SequenceEvent { sequence: (*name).to_owned(), action: action.into(), error: None };
            event("SequenceEvent", &message, id)
        }
        Happening::Phase { name, start } => {
            let action = if *start { phase_event::Action::Start } else { phase_event::Action::Stop };
            event("PhaseEvent", &PhaseEvent { phase: (*name).to_owned(), action: action.into() }, id)
        }
        Happening::Task { name, start } => {
            let action = if *start { task_event::Action::Start } else { task_event::Action::Stop };
            event("TaskEvent", &TaskEvent { task: (*name).to_owned(), action: action.into() }, id)
        }
        Happening::Service(service) => {
            let action = match service.state {
                "Running" => ServiceAction::Running,
                "Waiting" => ServiceAction::Waiting,
                _ => ServiceAction::Preparing,
            };
            let health = ServiceHealth {
                unknown: service.healthy.is_none(),
                healthy: service.healthy == Some(true),
                last_message: service.message.to_owned(),
                last_change: None,
            };
            let message = ServiceStateEvent {
                service: service.id.clone(),
                action: action.into(),
                message: service.message.to_owned(),
                health: Some(health),
            };
            event("ServiceStateEvent", &message, id)
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
