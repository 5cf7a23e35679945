//! Creates a machine's VM, and takes it away again.
//!
//! The create request is the lock on the VMID: `nextid` reserves nothing, so a
//! VMID that somebody else took in between is answered with "already exists" and
//! the next one is tried, unless the profile fixed it. Each VMID is noted before
//! its request leaves; whatever becomes of the reply, undo knows where to look.
//!
//! Undo never trusts a number. A VMID is free the moment a VM is gone and may be
//! anybody's a second later, so the UUID is read before each destructive call.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::{Late, StepError, chain, of_pve};
use super::mark::{self, Mark};
use super::{Toolbox, Work};
use crate::event::{Leftovers, StepId};
use crate::inventory::{Fact, Role};
use crate::pve::{PveError, VmConfig, VmSpec};
use crate::wait::{self, Pace, Probe};

/// How many VMIDs are tried before we believe that something else is wrong.
const VMIDS: usize = 50;

/// Creates the VM of `machine` on `spec.node`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateVm {
    pub machine: String,
    pub role: Role,
    /// Everything that Proxmox is told; `spec.vmid` is the first candidate.
    pub spec: VmSpec,
    /// The profile names the VMID: no other will do.
    pub fixed: bool,
}

impl Work for CreateVm {
    fn id(&self) -> StepId {
        StepId::of("create_vm", &self.machine)
    }

    fn describe(&self) -> String {
        format!("create VM {} {} on node {}", self.spec.vmid, self.machine, self.spec.node)
    }

    fn calls(&self) -> Vec<String> {
        let (node, vmid) = (&self.spec.node, self.spec.vmid);
        vec![format!("POST /nodes/{node}/qemu"), format!("GET /nodes/{node}/qemu/{vmid}/config")]
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        for (node, vmid) in tried(context, &self.machine) {
            if let Seen::Ours(config) = settle(context, &self.machine, &node, vmid).await? {
                return self.facts(vmid, &config);
            }
        }
        let mut spec = self.spec.clone();
        // What this run fetched goes with its last VM, even when nobody remembers who fetched it.
        if let Some(volid) = context.inventory.fetched(&spec.node, &spec.iso) {
            spec.description.push_str(&mark::fetched(volid));
        }
        for _ in 0..VMIDS {
            let attempted = format!("create VM {} for {} on node {}", spec.vmid, self.machine, spec.node);
            let (machine, node) = (self.machine.clone(), spec.node.clone());
            context.note(Fact::VmidTried { machine, node, vmid: spec.vmid }).await?;
            match self.create(context, &spec).await {
                Err(error) if error.is_taken() && self.fixed => return Err(StepError::clean(attempted, error)),
                Err(error) if error.is_taken() => {
                    spec.vmid = tools.pve.next_id().await.map_err(|e| StepError::clean("find a free VMID", e))?;
                    continue;
                }
                Err(error) if error.is_locked() => {
                    context.warn(format!("{attempted}: {error}; trying again"));
                    continue;
                }
                Err(error) if !error.is_outcome_unknown() => return Err(of_pve(attempted, Leftovers::Marked, error)),
                Ok(()) | Err(_) => {} // Done, or the reply was lost: what is there decides.
            }
            match settle(context, &self.machine, &spec.node, spec.vmid).await? {
                Seen::Ours(config) => return self.facts(spec.vmid, &config),
                Seen::Foreign if self.fixed => {
                    return Err(StepError::clean(attempted, "the VMID belongs to somebody else's VM"));
                }
                Seen::Foreign => {
                    spec.vmid = tools.pve.next_id().await.map_err(|e| StepError::clean("find a free VMID", e))?;
                }
                Seen::Nothing => {} // The request never arrived.
            }
        }
        Err(StepError::marked(
            format!("create a VM for {}", self.machine),
            format!("{VMIDS} attempts were lost, refused as busy, or found their VMID taken"),
        ))
    }

    fn leaves(&self) -> bool {
        true
    }

    async fn undo(&self, context: &Context<'_>) -> Result<(), StepError> {
        for (node, vmid) in tried(context, &self.machine) {
            destroy_marked(context, &self.machine, &node, vmid).await?;
        }
        Ok(())
    }
}

impl CreateVm {
    async fn create(&self, context: &Context<'_>, spec: &VmSpec) -> Result<(), PveError> {
        let _turn = context.tools.turns.on(&spec.node).await;
        let upid = context.tools.pve.create(spec).await?;
        let deadline = context.tools.deadlines.task;
        context.tools.pve.wait_task(&upid, deadline, context.waiting(&format!("VM {}", spec.vmid))).await?;
        Ok(())
    }

    fn facts(&self, vmid: u32, config: &VmConfig) -> Result<Vec<Fact>, StepError> {
        let macs = config.macs();
        let uuid = config.uuid();
        let (Some(uuid), false) = (uuid, macs.is_empty()) else {
            let what = format!("read back VM {vmid} of {}", self.machine);
            return Err(StepError::marked(what, "its configuration shows no network card or no UUID"));
        };
        let (machine, node) = (self.machine.clone(), self.spec.node.clone());
        Ok(vec![Fact::Vm { machine, role: self.role, node, vmid, uuid, macs }])
    }
}

/// Every place where a VM of `machine` may be, from the inventory.
fn tried(context: &Context<'_>, machine: &str) -> Vec<(String, u32)> {
    context.inventory.machines.get(machine).map(|machine| machine.tried.clone()).unwrap_or_default()
}

/// What a VMID turned out to be.
enum Seen {
    Nothing,
    Ours(Box<VmConfig>),
    Foreign,
}

/// Looks at `vmid` once nothing is being created there any more.
///
/// While a create task runs, the configuration is a bare `lock: create` without a UUID (qemu-server:
/// src/PVE/API2/Qemu.pm, create_and_lock_config): too early to say whose it is.
async fn settle(context: &Context<'_>, machine: &str, node: &str, vmid: u32) -> Result<Seen, StepError> {
    let Toolbox { pve, mark, deadlines, .. } = context.tools;
    let what = format!("VM {vmid} on node {node} to be settled");
    let looked = wait::until(&what, Pace::BRISK, deadlines.task, context.waiting(&what), async || {
        match pve.config(node, vmid).await {
            Ok(config) if config.lock() == Some("create") => {
                Probe::NotYet(String::from("Proxmox is still creating it"))
            }
            Ok(config) if mark.owns(machine, &config) => Probe::Ready(Seen::Ours(Box::new(config))),
            Ok(_) => Probe::Ready(Seen::Foreign),
            Err(error) if error.is_missing_vm() => Probe::Ready(Seen::Nothing),
            Err(error) if error.is_passing() => Probe::NotYet(error.to_string()),
            Err(error) => Probe::Never(error),
        }
    })
    .await;
    looked.or_late(format!("look at VM {vmid}"), Leftovers::Unknown)
}

/// The configuration of our VM at `vmid`, read now; otherwise what to tell the wait: later, or never.
pub(super) async fn ours<T>(
    context: &Context<'_>,
    machine: &str,
    node: &str,
    vmid: u32,
) -> Result<VmConfig, Probe<T, String>> {
    match context.tools.pve.config(node, vmid).await {
        Ok(config) if context.tools.mark.owns(machine, &config) => Ok(config),
        Ok(_) => Err(Probe::Never(format!("VM {vmid} is somebody else's by now"))),
        Err(error) if error.is_passing() => Err(Probe::NotYet(error.to_string())),
        Err(error) => Err(Probe::Never(chain(&error))),
    }
}

/// How often a VM is followed to another node before that counts as a failure.
const MOVES: usize = 5;

/// Stops and destroys the VM at `vmid` if, and only if, it is the one that our mark made for `machine`.
///
/// Gone, or somebody else's by now, is success: nothing of ours is there. That it is gone, the whole cluster has to
/// say: by hand or by the HA manager it may be moved to another node at any moment.
pub async fn destroy_marked(context: &Context<'_>, machine: &str, node: &str, vmid: u32) -> Result<(), StepError> {
    let pve = &context.tools.pve;
    let attempted = || format!("destroy VM {vmid} of {machine} on node {node}");
    let mut at = node.to_owned();
    for _ in 0..MOVES {
        if destroy_on(context, machine, &at, vmid).await? {
            return Ok(());
        }
        let guests = pve.guests().await.map_err(|error| of_pve(attempted(), Leftovers::Marked, error))?;
        match guests.into_iter().find(|guest| guest.vmid == vmid && guest.node != at) {
            Some(guest) => at = guest.node,
            None => return Ok(()),
        }
    }
    Err(StepError::marked(attempted(), "it is moved from node to node"))
}

/// [`destroy_marked`] on one node. `false`: there is no such VM there, or not any more.
async fn destroy_on(context: &Context<'_>, machine: &str, node: &str, vmid: u32) -> Result<bool, StepError> {
    let Toolbox { pve, deadlines, .. } = context.tools;
    let attempted = format!("destroy VM {vmid} of {machine} on node {node}");
    let failed = |error: PveError| of_pve(attempted.clone(), Leftovers::Marked, error);
    let ended = async |what: &str, upid| {
        pve.wait_task(&upid, deadlines.task, context.waiting(what)).await.map(|end| {
            context.warn_of(what, &end);
        })
    };
    // Whose it is, is looked at last: nothing comes between that look and the call that cannot be taken back.
    let running = pve.status(node, vmid).await.is_ok_and(|status| status.running);
    match settle(context, machine, node, vmid).await? {
        Seen::Nothing => return Ok(false),
        Seen::Foreign => return Ok(true),
        Seen::Ours(_) => {}
    }
    if running {
        let upid = match pve.stop(node, vmid).await {
            Err(error) if error.is_missing_vm() => return Ok(false),
            asked => asked.map_err(failed)?,
        };
        ended(&format!("VM {vmid} to stop"), upid).await.map_err(failed)?;
        // Time has passed: look again before the call that cannot be taken back.
        match settle(context, machine, node, vmid).await? {
            Seen::Nothing => return Ok(false),
            Seen::Foreign => return Ok(true),
            Seen::Ours(_) => {}
        }
    }
    match pve.destroy(node, vmid).await {
        Ok(upid) => ended(&format!("VM {vmid} to be destroyed"), upid).await.map_err(failed)?,
        Err(error) if error.is_missing_vm() => return Ok(false),
        Err(error) => return Err(failed(error)),
    }
    match settle(context, machine, node, vmid).await? {
        Seen::Ours(_) => Err(StepError::marked(attempted, "the task ended well, but the VM is still there")),
        Seen::Nothing | Seen::Foreign => Ok(true),
    }
}

impl Mark {
    /// The tags of a VM of this cluster, as Proxmox stores them: lower case, sorted.
    pub fn tags(&self) -> Vec<String> {
        vec![super::mark::TAG.to_owned(), Self::tag(&self.cluster)]
    }
}
