//! Starts a machine's VM. Undo is that of `create_vm`, which stops what runs.

use serde::{Deserialize, Serialize};

use super::Work;
use super::apply_config::text_error;
use super::context::Context;
use super::create_vm::ours;
use super::error::{Late, StepError, chain};
use crate::event::{Leftovers, StepId};
use crate::inventory::Fact;
use crate::wait::{self, Pace, Probe};

/// Starts the VM that `create_vm` made for `machine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartVm {
    pub machine: String,
}

impl Work for StartVm {
    fn id(&self) -> StepId {
        StepId::of("start_vm", &self.machine)
    }

    fn describe(&self) -> String {
        format!("start the VM of {}", self.machine)
    }

    fn calls(&self) -> Vec<String> {
        vec![
            String::from("GET /nodes/{node}/qemu/{vmid}/config"),
            String::from("POST /nodes/{node}/qemu/{vmid}/status/start"),
        ]
    }

    /// Looks whose VM it is, since its number may have become somebody else's, and starts it. That it runs already is
    /// what the task of a repeated start says.
    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let (node, vmid) = context.inventory.vm(&self.machine).map_err(|e| StepError::clean("start a VM", e))?;
        let attempted = format!("start VM {vmid} of {} on node {node}", self.machine);
        let what = format!("VM {vmid} to run");
        let waited = wait::until(&what, Pace::BRISK, tools.deadlines.task, context.waiting(&what), async || {
            if let Some(verdict) = ours(context, &self.machine, node, vmid).await.err() {
                return verdict;
            }
            let started = async {
                let upid = tools.pve.start(node, vmid).await?;
                tools.pve.wait_task(&upid, tools.deadlines.task, context.waiting(&what)).await
            };
            match started.await {
                Ok(end) => {
                    context.warn_of(&format!("start of VM {vmid}"), &end);
                    Probe::Ready(())
                }
                Err(error) if error.is_already_running() => Probe::Ready(()),
                Err(error) if error.is_passing() || error.is_locked() => Probe::NotYet(error.to_string()),
                Err(error) => Probe::Never(chain(&error)),
            }
        });
        waited.await.map_err(text_error).or_late(attempted, Leftovers::Marked)?;
        Ok(Vec::new())
    }
}
