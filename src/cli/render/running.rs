//! What the machines of a cluster run with, read over their own API as the cluster's administrator.

use std::net::IpAddr;

use futures_util::future::join_all;

use super::super::failure::{Code, Failure};
use super::super::lab::{self, WhenAbsent};
use super::super::{Global, failure};
use crate::inventory::{Inventory, Mac};
use crate::machineconfig::{Bundle, Documents, talosconfig};
use crate::profile::{Endpoints, MachineSpec, Profile};
use crate::reach::Reach;
use crate::talos::{Credentials, Meaning, Talos, TalosError};

/// One machine's configuration, and what it was asked besides.
pub(super) struct Running {
    pub machine: String,
    pub address: IpAddr,
    pub config: Result<Documents, Failure>,
    /// The MAC of its first card, where the journal and the profile do not tell.
    pub mac: Option<Mac>,
}

/// Asks all machines, or the one that is named, side by side.
pub(super) async fn ask(
    global: &Global,
    profile: &Profile,
    inventory: &Inventory,
    bundle: &Bundle,
    on_lab: bool,
    only: Option<&str>,
) -> Result<Vec<Running>, Failure> {
    // The embedded lab has to outlive the questions.
    let access = if on_lab || profile.proxmox.endpoints == Endpoints::Lab {
        Some(lab::access(global, profile, WhenAbsent::Fail).await?)
    } else {
        None
    };
    let reach = access.as_ref().map_or(Reach::Direct, |access| access.info.reach);
    let admin = talosconfig::admin(bundle, &profile.name, Vec::new(), Vec::new());
    let admin = admin.map_err(|error| Failure::of(Code::Refused, &error))?;
    let credentials = Credentials { ca_pem: admin.ca_pem, crt_pem: admin.crt_pem, key_pem: admin.key_pem };
    let machines = profile.machines.iter().filter(|machine| only.is_none_or(|name| name == machine.name));
    let asked = machines.map(|machine| one(profile, machine, inventory, &reach, &credentials));
    Ok(join_all(asked).await)
}

async fn one(
    profile: &Profile,
    machine: &MachineSpec,
    inventory: &Inventory,
    reach: &Reach,
    credentials: &Credentials,
) -> Running {
    let known = inventory.machines.get(&machine.name);
    let address = known.and_then(|machine| machine.ip).unwrap_or(machine.ip.into());
    let mac_known = machine.mac.is_some() || known.is_some_and(|machine| !machine.macs.is_empty());
    let asked = async {
        let talos = Talos::secured(reach, address, credentials).await?;
        let config = talos.machine_config().await?;
        let mac = if mac_known { None } else { talos.identity().await?.macs.first().copied() };
        Ok::<_, TalosError>((config, mac))
    };
    let (config, mac) = match asked.await {
        Ok((Some(text), mac)) => (read(&machine.name, text.expose()), mac),
        Ok((None, _)) => (Err(Failure::new(Code::Refused, format!("{} has no configuration", machine.name))), None),
        Err(error) => (Err(refused(profile, &machine.name, &error)), None),
    };
    Running { machine: machine.name.clone(), address, config, mac }
}

fn read(machine: &str, text: &str) -> Result<Documents, Failure> {
    Documents::parse(text).map_err(|error| {
        let message = format!("{machine} runs with a configuration that is not understood here: {error}");
        Failure::new(Code::Refused, message).hint("a newer Talos may know documents that this program does not")
    })
}

fn refused(profile: &Profile, machine: &str, error: &TalosError) -> Failure {
    let name = &profile.name;
    let message = format!("cannot read the running configuration of {machine}: {}", failure::chain(error));
    let failure = Failure::new(Code::Refused, message);
    match error.meaning() {
        Some(Meaning::InMaintenance) => {
            failure.hint(format!("what it would be given: pvetalos render --profile {name}"))
        }
        Some(Meaning::AnotherCluster | Meaning::OurCertificateRefused) => {
            failure.hint(format!("see which machines are ours: pvetalos discover --profile {name}"))
        }
        _ => failure
            .hint(format!("see whether it runs: pvetalos status --profile {name}"))
            .hint("or compare with files: pvetalos render --out DIR, later --diff DIR"),
    }
}
