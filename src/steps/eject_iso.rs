//! Empties the CD drive once the machine runs from its own disk.
//!
//! With the disk first in the boot order this is hygiene, not need: a machine
//! that boots the ISO although it is installed halts (`talos.halt_if_installed`),
//! a local ISO blocks live migration, and the file cannot be deleted while a
//! configuration names it.

use serde::{Deserialize, Serialize};

use super::Work;
use super::apply_config::text_error;
use super::context::Context;
use super::create_vm::ours;
use super::error::{Late, StepError, chain};
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
        vec![
            String::from("GET /nodes/{node}/qemu/{vmid}/config"),
            String::from("PUT /nodes/{node}/qemu/{vmid}/config ide2=none,media=cdrom"),
        ]
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let (node, vmid) = context.inventory.vm(&self.machine).map_err(|e| StepError::clean("eject the ISO", e))?;
        let attempted = format!("eject the ISO of {} (VM {vmid} on node {node})", self.machine);
        let what = format!("the CD drive of VM {vmid} to be empty");
        let waited = wait::until(&what, Pace::BRISK, tools.deadlines.task, context.waiting(&what), async || {
            let config = match ours(context, &self.machine, node, vmid).await {
                Ok(config) => config,
                Err(verdict) => return verdict,
            };
            if config.get("ide2").is_some_and(|drive| drive.starts_with("none,")) {
                return Probe::Ready(());
            }
            // With the digest it is this very configuration that changes, and not somebody else's at the same number.
            let mut options = vec![("ide2", "none,media=cdrom")];
            options.extend(config.digest().map(|digest| ("digest", digest)));
            match tools.pve.set(node, vmid, &options).await {
                Ok(()) => Probe::Ready(()),
                Err(error) if error.is_passing() || error.is_locked() || error.is_changed_meanwhile() => {
                    Probe::NotYet(error.to_string())
                }
                Err(error) => Probe::Never(chain(&error)),
            }
        });
        waited.await.map_err(text_error).or_late(attempted, Leftovers::Marked)?;
        Ok(Vec::new())
    }
}
