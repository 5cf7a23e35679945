//! Empties the CD drive once the machine runs from its own disk.
//!
//! With the disk first in the boot order this is hygiene, not need: a machine
//! that boots the ISO although it is installed halts (`talos.halt_if_installed`),
//! a local ISO blocks live migration, and the file cannot be deleted while a
//! configuration names it.

use serde::{Deserialize, Serialize};

use super::Work;
use super::context::Context;
use super::error::{Late, StepError};
use crate::event::{Leftovers, StepId};
use crate::inventory::Fact;
use crate::wait::{self, Pace, Probe};

/// Ejects the boot ISO of `machine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EjectIso {
    pub machine: String,
}

impl Work for EjectIso {
    fn id(&self) -> StepId {
        StepId::of("eject_iso", &self.machine)
    }

    fn describe(&self) -> String {
        format!("eject the ISO of {}", self.machine)
    }

    fn calls(&self) -> Vec<String> {
        vec![String::from("PUT /nodes/{node}/qemu/{vmid}/config ide2=none,media=cdrom")]
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let (node, vmid) = context.inventory.vm(&self.machine).map_err(|e| StepError::clean("eject the ISO", e))?;
        let attempted = format!("eject the ISO of {} (VM {vmid} on node {node})", self.machine);
        let what = format!("the CD drive of VM {vmid} to be empty");
        // Setting the same value twice is harmless, so a lost reply is answered by repeating.
        let waited =
            wait::until(&what, Pace::BRISK, tools.deadlines.task, context.waiting(&what), async || {
                match tools.pve.set(node, vmid, &[("ide2", "none,media=cdrom")]).await {
                    Ok(()) => Probe::Ready(()),
                    Err(error) if error.is_passing() || error.is_locked() => Probe::NotYet(error.to_string()),
                    Err(error) => Probe::Never(error),
                }
            });
        waited.await.or_late(attempted, Leftovers::Marked)?;
        Ok(Vec::new())
    }
}
