//! The guest agent's calls. Each miss costs the agent's 3 s timeout.

use serde_json::{Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::hypervisor;

/// `GET .../agent/COMMAND` and `POST .../agent/ping`
pub(super) fn command(call: &mut Call, command: &str) -> Result<Reply, Failure> {
    Ok(Reply::Data(json!({ "result": ask(call, command)? })))
}

/// `POST .../agent` with the command as a parameter.
pub(super) fn by_name(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("command").to_owned();
    command(call, &name)
}

/// `POST .../agent/exec`: the lab's guests run nothing.
pub(super) fn exec(call: &mut Call) -> Result<Reply, Failure> {
    ask(call, "ping")?;
    Err(Failure::die("Agent error: The command guest-exec has not been found"))
}

fn ask(call: &Call, command: &str) -> Result<Value, Failure> {
    let vmid = call.vmid();
    if !call.vm()?.agent() {
        return Err(Failure::die("No QEMU guest agent configured"));
    }
    if !hypervisor::is_running(call.world, vmid) {
        return Err(Failure::die(format!("VM {vmid} is not running")));
    }
    hypervisor::agent(call.world, vmid, command).ok_or_else(|| Failure::die(NOT_RUNNING))
}

/// The text after which the answer took 3 s.
pub(super) const NOT_RUNNING: &str = "QEMU guest agent is not running";
