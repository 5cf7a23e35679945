//! Bootstraps etcd: once, on one machine, for ever the same.
//!
//! Nothing on the other side prevents a second bootstrap on another machine; it
//! makes a second cluster, silently. So the machine is fixed by the plan (the first
//! control plane of the profile), noted before the call leaves, and never changed.
//! "Already done" is success on that machine only, where it means that an earlier
//! call arrived whose reply did not.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Work;
use super::apply_config::text_error;
use super::context::Context;
use super::error::{Late, StepError};
use crate::event::{Leftovers, StepId};
use crate::inventory::Fact;
use crate::talos::{Bootstrap, Credentials, Kind, Talos};
use crate::wait::{self, Pace, Probe};

/// How long another control plane may take to say whether it has etcd: most are silent at this time.
const LOOK: Duration = Duration::from_millis(700);

/// Bootstraps etcd on `machine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapEtcd {
    pub machine: String,
    /// The other control planes and their addresses: none of them may have an etcd of its own.
    pub others: Vec<(String, Ipv4Addr)>,
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
        // A call may have arrived whose reply did not, in an earlier life or in an earlier attempt: look before another.
        let called_before = Cell::new(context.inventory.bootstrap_chosen.is_some());
        context.note(Fact::BootstrapChosen { machine: self.machine.clone() }).await?;
        let what = format!("{} to take the bootstrap call", self.machine);
        let waited = wait::until(&what, Pace::STEADY, tools.deadlines.bootstrap, context.waiting(&what), async || {
            if let Some(reason) = self.elsewhere(context, credentials).await {
                return Probe::Never(reason);
            }
            if called_before.replace(true) && members(context, credentials, ip).await.contains(&self.machine) {
                return Probe::Ready(());
            }
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

impl BootstrapEtcd {
    /// Whether another control plane is in an etcd cluster that ours is not in. A machine without etcd, or one that
    /// does not answer, has none to speak of: that is how they all begin.
    async fn elsewhere(&self, context: &Context<'_>, credentials: &Credentials) -> Option<String> {
        let looks = self.others.iter().map(async |(name, ip)| {
            let members = members(context, credentials, (*ip).into()).await;
            let foreign = !members.is_empty() && !members.contains(&self.machine);
            foreign.then(|| format!("etcd runs on {name} already, without {}: it was bootstrapped there", self.machine))
        });
        futures_util::future::join_all(looks).await.into_iter().flatten().next()
    }
}

/// The names in the etcd cluster of the machine at `ip`: none while it has no etcd, or does not answer.
async fn members(context: &Context<'_>, credentials: &Credentials, ip: IpAddr) -> Vec<String> {
    let asked = async { Talos::secured(&context.tools.reach, ip, credentials).await?.etcd_members().await };
    let members = tokio::time::timeout(LOOK, asked).await.ok().and_then(Result::ok).unwrap_or_default();
    members.into_iter().map(|member| member.hostname).collect()
}
