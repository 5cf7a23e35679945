//! Terminals: a ticket and a port are given out; nobody listens there.

use serde_json::json;

use super::answer::{Failure, Reply};
use super::call::{Call, no_config};
use super::work::Answer;

/// A ticket of the recorded length, and the next port.
pub(super) struct Ticket {
    pub port: u16,
    pub ticket: String,
}

/// `POST .../termproxy` and `.../vncproxy`: neither whether the VM runs nor whether it has the port is looked at.
pub(super) fn prepare(call: &mut Call) -> Result<Ticket, Failure> {
    if call.world.pve.vm_on(call.node(), call.vmid()).is_none() {
        return Err(Failure::die(no_config(call.node(), call.vmid())));
    }
    let port = 5900 + call.world.pve.consoles % 100;
    call.world.pve.consoles = call.world.pve.consoles.wrapping_add(1);
    let random: Vec<u8> = (0..16).flat_map(|_| *uuid::Uuid::new_v4().as_bytes()).collect();
    let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, random);
    Ok(Ticket { port, ticket: format!("PVEVNC:{:08X}::{secret}", call.now) })
}

/// The answer, once the UPID of the task that waits for a connection is known.
pub(super) fn answer(call: &Call, ticket: &Ticket) -> Answer {
    let (user, ticket, port) = (call.who.id(), ticket.ticket.clone(), ticket.port.to_string());
    Box::new(move |upid| json!({ "user": user, "ticket": ticket, "port": port, "upid": upid }))
}

/// What the task says when nobody connected in 10 s.
pub(super) fn unused(vmid: u32, port: u16) -> String {
    let terminal = format!("/usr/sbin/qm terminal {vmid} -escape 0");
    format!(
        "command '/usr/bin/termproxy {port} --path /vms/{vmid} --perm VM.Console -- {terminal}' failed: exit code 1"
    )
}

/// `PUT .../sendkey`, `POST .../monitor`, and what else the lab's hypervisor does not play.
pub(super) fn unplayed(call: &mut Call) -> Result<Reply, Failure> {
    call.vm()?;
    Err(Failure::die(format!("VM {} not running", call.vmid())))
}
