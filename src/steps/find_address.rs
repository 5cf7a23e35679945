//! From VM to address: finds where DHCP put the machine, and proves that it is the one.
//!
//! Only looks, so it runs again whenever a run is resumed: leases age. A machine
//! that was sent its configuration is expected at the address in it.

use serde::{Deserialize, Serialize};

use super::Work;
use super::context::Context;
use super::error::StepError;
use crate::discovery::{DiscoveryError, Wanted};
use crate::event::StepId;
use crate::inventory::Fact;
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
        let found = if machine.configuring {
            // It may have its configuration, or not, and between that and the end of the installation it answers
            // nowhere: apply_config and await_install know how to wait for each.
            return Ok(vec![Fact::Address { machine: self.machine.clone(), ip: self.expected.into() }]);
        } else {
            tools.finder.find(&wanted, tools.deadlines.maintenance, waiting).await
        };
        let found = found.map_err(|error| {
            let late = matches!(error, DiscoveryError::NotFound { .. });
            let failure = StepError::marked(attempted, error);
            if late { failure.late() } else { failure }
        })?;
        Ok(vec![Fact::Address { machine: self.machine.clone(), ip: found.ip }])
    }
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
