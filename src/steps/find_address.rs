//! From VM to address: finds where DHCP put the machine, and proves that it is the one.
//!
//! Only looks, so it runs again whenever a run is resumed: leases age. A run that was
//! cut off may have configured the machine without ever hearing of it, and then it
//! never answers in maintenance mode again: at the address of its configuration it is
//! looked for as one of ours, too.

use serde::{Deserialize, Serialize};

use super::Work;
use super::context::Context;
use super::error::StepError;
use crate::discovery::{DiscoveryError, Wanted};
use crate::event::StepId;
use crate::inventory::Fact;
use crate::talos::Talos;
use crate::wait::{self, Pace, Probe};
use std::net::{IpAddr, Ipv4Addr};

/// Finds `machine`, trying `expected` first where it may already be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindAddress {
    pub machine: String,
    /// The address that its configuration gives it.
    pub expected: Ipv4Addr,
    /// It has that address from its first boot on.
    pub is_static: bool,
}

impl Work for FindAddress {
    fn id(&self) -> StepId {
        StepId::of("find_address", &self.machine)
    }

    fn describe(&self) -> String {
        if self.is_static {
            format!("find {} at {} and prove it by UUID and MAC", self.machine, self.expected)
        } else {
            format!("find {} on the network by UUID and MAC", self.machine)
        }
    }

    fn calls(&self) -> Vec<String> {
        vec![String::from("talos (maintenance) COSI Get SystemInformation, List LinkStatuses")]
    }

    fn observes(&self) -> bool {
        true
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let attempted = format!("find {}", self.machine);
        let wanted = wanted(context, &self.machine, Some(self.expected.into()))?;
        let machine = context.inventory.machine(&self.machine).map_err(|e| StepError::clean(&attempted, e))?;
        let waiting = context.waiting(&format!("{} to answer", self.machine));
        let configured = || Ok(vec![Fact::Address { machine: self.machine.clone(), ip: self.expected.into() }]);
        if machine.applied {
            // Between the configuration and the end of the installation it may answer nowhere; await_install waits.
            return configured();
        }
        let found = tokio::select! {
            found = tools.finder.find(&wanted, tools.deadlines.maintenance, waiting) => found,
            () = self.answers_as_ours(context) => return configured(),
        };
        let found = found.map_err(|error| {
            let late = matches!(error, DiscoveryError::NotFound { .. });
            let failure = StepError::marked(attempted, error);
            if late { failure.late() } else { failure }
        })?;
        Ok(vec![Fact::Address { machine: self.machine.clone(), ip: found.ip }])
    }
}

impl FindAddress {
    /// Ends when the machine answers with its configuration, and never otherwise.
    async fn answers_as_ours(&self, context: &Context<'_>) {
        let ip = self.expected.into();
        let deadline = context.tools.deadlines.maintenance;
        let seen = wait::until(
            &self.machine,
            Pace::STEADY,
            deadline,
            |_| {},
            async || {
                if is_ours(context, &self.machine, ip).await {
                    return Probe::<(), StepError>::Ready(());
                }
                Probe::NotYet(String::from("it does not"))
            },
        );
        if seen.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether `machine` answers at `ip` as a configured machine of our cluster, by certificate and UUID.
pub(super) async fn is_ours(context: &Context<'_>, machine: &str, ip: IpAddr) -> bool {
    let tools = context.tools;
    let Ok(credentials) = tools.vault.credentials(&tools.mark.cluster).await else { return false };
    let Ok(talos) = Talos::secured(&tools.reach, ip, credentials).await else { return false };
    talos.identity().await.is_ok_and(|identity| identity.uuid == Some(tools.mark.uuid(machine)))
}

/// Who `machine` is, from the inventory; `hint` is where to look first.
pub(super) fn wanted(context: &Context<'_>, machine: &str, hint: Option<IpAddr>) -> Result<Wanted, StepError> {
    let known = context.inventory.machine(machine).map_err(|e| StepError::clean(format!("find {machine}"), e))?;
    Ok(Wanted {
        machine: machine.to_owned(),
        uuid: context.tools.mark.uuid(machine),
        macs: known.macs.clone(),
        hint: known.ip.or(hint),
    })
}
