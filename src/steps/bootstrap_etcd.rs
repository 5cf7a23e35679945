//! Bootstraps etcd: once, on one machine, for ever the same.
//!
//! Nothing on the other side prevents a second bootstrap on another machine; it
//! makes a second cluster, silently. So the machine is fixed by the plan (the first
//! control plane of the profile), noted before the call leaves, and never changed.
//! "Already done" is success on that machine only, where it means that an earlier
//! call arrived whose reply did not.

use serde::{Deserialize, Serialize};

use super::Work;
use super::apply_config::text_error;
use super::context::Context;
use super::error::{Late, StepError};
use crate::event::{Leftovers, StepId};
use crate::inventory::Fact;
use crate::talos::{Bootstrap, Kind, Talos};
use crate::wait::{self, Pace, Probe};

/// Bootstraps etcd on `machine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapEtcd {
    pub machine: String,
}

impl Work for BootstrapEtcd {
    fn id(&self) -> StepId {
        StepId::new("bootstrap_etcd")
    }

    fn describe(&self) -> String {
        format!("bootstrap etcd on {}, exactly once", self.machine)
    }

    fn calls(&self) -> Vec<String> {
        vec![format!("talos Bootstrap on {}", self.machine)]
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let attempted = format!("bootstrap etcd on {}", self.machine);
        if let Some(other) = context.inventory.bootstrap_chosen.as_ref().filter(|chosen| **chosen != self.machine) {
            let reason = format!("{other} was chosen before; a second bootstrap would make a second cluster");
            return Err(StepError::marked(attempted, reason));
        }
        let ip = context.inventory.address(&self.machine).map_err(|e| StepError::clean(&attempted, e))?;
        let credentials = tools.vault.credentials(&tools.mark.cluster).await?;
        context.note(Fact::BootstrapChosen { machine: self.machine.clone() }).await?;
        let what = format!("{} to take the bootstrap call", self.machine);
        let waited = wait::until(&what, Pace::STEADY, tools.deadlines.bootstrap, context.waiting(&what), async || {
            let called = async { Talos::secured(&tools.reach, ip, credentials).await?.bootstrap().await };
            match called.await {
                Ok(Bootstrap::Started | Bootstrap::AlreadyDone) => Probe::Ready(()),
                Err(error) if error.kind() == Kind::Permanent => Probe::Never(error.chain()),
                Err(error) => Probe::NotYet(error.chain()),
            }
        });
        waited.await.map_err(text_error).or_late(attempted, Leftovers::Marked)?;
        Ok(vec![Fact::Bootstrapped { machine: self.machine.clone() }])
    }
}
