//! Waits until a machine runs from its own disk.
//!
//! Found again by who it is, over mutual TLS: from Talos 1.13 on a control plane
//! answers with our certificates *before* the reboot that follows the install, so
//! an answer alone proves nothing; stage and system disk do. A worker answers only
//! after a control plane has signed its certificate, with a VIP not before etcd is
//! up: that is why nothing in the first control plane's lane waits for workers.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::Work;
use super::apply_config::text_error;
use super::context::Context;
use super::error::{Late, StepError};
use super::find_address::wanted;
use crate::event::{Leftovers, StepId};
use crate::inventory::Fact;
use crate::talos::{Class, Stage, Talos, probe};
use crate::wait::{self, Pace, Probe};

/// Waits for `machine` at its own address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitInstall {
    pub machine: String,
    pub expected: Ipv4Addr,
}

impl Work for AwaitInstall {
    fn id(&self) -> StepId {
        StepId::of("await_install", &self.machine)
    }

    fn describe(&self) -> String {
        format!("wait until {} runs from its disk and answers at {}", self.machine, self.expected)
    }

    fn calls(&self) -> Vec<String> {
        vec![String::from("talos COSI Get SystemInformation, MachineStatus, SystemDisk")]
    }

    fn observes(&self) -> bool {
        true
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let wanted = wanted(context, &self.machine, None)?;
        let credentials = tools.vault.credentials(&tools.mark.cluster).await?;
        let ip = self.expected.into();
        let what = format!("{} to run from its disk", self.machine);
        let waited = wait::until(&what, Pace::STEADY, tools.deadlines.install, context.waiting(&what), async || {
            match probe(&tools.reach, ip, Some(credentials)).await {
                Class::Ours { stage: Stage::Booting | Stage::Running, .. } => {}
                Class::Ours { stage, .. } => return Probe::NotYet(format!("it is {stage}")),
                Class::Foreign => return Probe::Never(format!("a machine of another cluster answers at {ip}")),
                Class::Maintenance => {
                    return Probe::NotYet(format!("a machine in maintenance mode answers at {ip}"));
                }
                Class::Transition => return Probe::NotYet(String::from("it is changing over to its configuration")),
                Class::Down(reason) => return Probe::NotYet(reason),
            }
            let seen = async {
                let talos = Talos::secured(&tools.reach, ip, credentials).await?;
                Ok::<_, crate::talos::TalosError>((talos.identity().await?, talos.system_disk().await?))
            };
            match seen.await {
                Ok((identity, _)) if identity.uuid != Some(wanted.uuid) => {
                    Probe::NotYet(format!("another machine of this cluster answers at {ip}"))
                }
                Ok((_, None)) => Probe::NotYet(String::from("it still runs from the ISO")),
                Ok((_, Some(_))) => Probe::Ready(()),
                Err(error) => Probe::NotYet(error.chain()),
            }
        });
        let attempted = format!("wait for {} at {ip}", self.machine);
        waited.await.map_err(text_error).or_late(attempted, Leftovers::Marked)?;
        Ok(vec![Fact::Installed { machine: self.machine.clone(), ip }])
    }
}
