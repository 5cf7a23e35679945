//! Gives a machine its configuration.
//!
//! The configuration carries every secret of the cluster and goes to whoever
//! answers, so the machine proves itself once more over the very connection that
//! it is sent on. What the plan assumed about it (SecureBoot, the install disk) is
//! checked first, because a refusal afterwards can only be seen on the console.

use serde::{Deserialize, Serialize};

use super::Work;
use super::context::Context;
use super::error::{Late, StepError};
use super::find_address::wanted;
use super::render::{ConfigSpec, render};
use crate::event::{Leftovers, StepId};
use crate::inventory::Fact;
use crate::talos::{Class, Identity, Kind, Talos, probe};
use crate::wait::{self, Pace, Probe};

/// Applies the configuration of `config.machine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyConfig {
    pub config: ConfigSpec,
    /// The machine must have booted with SecureBoot active.
    pub secureboot: bool,
}

impl Work for ApplyConfig {
    fn id(&self) -> StepId {
        StepId::of("apply_config", &self.config.machine)
    }

    fn describe(&self) -> String {
        let ConfigSpec { machine, role, address, contract, .. } = &self.config;
        format!("configure {machine} as {role} at {} (contract {contract})", address.addr())
    }

    fn calls(&self) -> Vec<String> {
        vec![String::from("talos (maintenance) ApplyConfiguration mode=AUTO")]
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let name = &self.config.machine;
        let attempted = format!("configure {name}");
        let applied = Fact::Applied { machine: name.clone() };
        let wanted = wanted(context, name, Some(self.config.address.addr().into()))?;
        let credentials = tools.vault.credentials(&self.config.cluster).await?;
        let mac = *wanted.macs.first().ok_or_else(|| StepError::clean(&attempted, "its MAC is not known"))?;
        let patches = tools.patches.get(name).map(Vec::as_slice).unwrap_or_default();
        let bundle = tools.vault.bundle().await?;
        let rendered = render(&self.config, bundle, mac, patches).map_err(|e| StepError::marked(&attempted, e))?;
        rendered.warnings.iter().for_each(|text| context.warn(format!("configuration of {name}: {text}")));

        let mut at = context.inventory.address(name).map_err(|e| StepError::clean(&attempted, e))?;
        let own = self.config.address.addr().into();
        // An earlier attempt may have arrived: then it is ours only when the installation is over.
        let repeated = context.inventory.machine(name).is_ok_and(|machine| machine.configuring);
        let deadlines = &tools.deadlines;
        let deadline = if repeated { deadlines.maintenance + deadlines.install } else { deadlines.maintenance };
        context.note(Fact::Configuring { machine: name.clone() }).await?;
        let what = format!("{name} to take its configuration");
        let waited = wait::until(&what, Pace::BRISK, deadline, context.waiting(&what), async || {
            // A machine that took it, but whose reply was lost, answers as ours, at its own address or the leased one.
            for ip in [at, own] {
                match probe(&tools.reach, ip, Some(credentials)).await {
                    Class::Ours { .. } if self.is_it(context, ip).await => return Probe::Ready(()),
                    Class::Foreign if ip == at && ip != own => {
                        return Probe::Never(String::from("another cluster's machine answers at its address"));
                    }
                    _ => {}
                }
            }
            let talos = match Talos::maintenance(&tools.reach, at).await {
                Ok(talos) => talos,
                Err(error) => {
                    // Leases move: look for it again before the next attempt.
                    if let Ok(found) = tools.finder.find(&wanted, Pace::STEADY.max, |_| {}).await {
                        at = found.ip;
                    }
                    return Probe::NotYet(error.chain());
                }
            };
            match talos.identity().await {
                Ok(identity) if identity.uuid != Some(wanted.uuid) || !identity.macs.contains(&mac) => {
                    return Probe::NotYet(format!("a machine that is not {name} answers at {at}"));
                }
                Ok(identity) => {
                    if let Err(reason) = self.fits(&identity) {
                        return Probe::Never(reason);
                    }
                }
                Err(error) => return Probe::NotYet(error.chain()),
            }
            match talos.apply(&rendered.yaml, false).await {
                Ok(done) => {
                    done.warnings.iter().for_each(|text| context.warn(format!("{name}: {text}")));
                    Probe::Ready(())
                }
                Err(error) if error.kind() == Kind::Permanent => Probe::Never(error.chain()),
                Err(error) => Probe::NotYet(error.chain()),
            }
        });
        waited.await.map_err(text_error).or_late(attempted, Leftovers::Marked)?;
        Ok(vec![applied])
    }
}

impl ApplyConfig {
    /// Whether the machine of our cluster at `ip` is this one.
    async fn is_it(&self, context: &Context<'_>, ip: std::net::IpAddr) -> bool {
        let Ok(credentials) = context.tools.vault.credentials(&self.config.cluster).await else { return false };
        let Ok(talos) = Talos::secured(&context.tools.reach, ip, credentials).await else { return false };
        let uuid = context.tools.mark.uuid(&self.config.machine);
        talos.identity().await.is_ok_and(|identity| identity.uuid == Some(uuid))
    }

    /// What the plan assumed and only the machine knows.
    fn fits(&self, identity: &Identity) -> Result<(), String> {
        if self.secureboot && identity.secure_boot == Some(false) {
            return Err(String::from(
                "it booted without SecureBoot: look for machine q35, bios ovmf, efidisk0 with efitype=4m and \
                 pre-enrolled-keys=0, and a secureboot image",
            ));
        }
        if identity.installed {
            return Err(String::from("a Talos installation is on its disk already, although its VM was just made"));
        }
        let disk = &self.config.install_disk;
        let usable = |disk: &&crate::talos::Disk| !disk.cdrom && !disk.readonly;
        let disks: Vec<_> = identity.disks.iter().filter(usable).map(|disk| disk.dev_path.as_str()).collect();
        if disks.contains(&disk.as_str()) {
            Ok(())
        } else {
            Err(format!("it has no disk {disk} to install to; it has {}", disks.join(", ")))
        }
    }
}

/// A reason that was put into words where it was found.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Reason(pub String);

pub(super) fn text_error(error: wait::WaitError<String>) -> wait::WaitError<Reason> {
    match error {
        wait::WaitError::Never(text) => wait::WaitError::Never(Reason(text)),
        wait::WaitError::TimedOut { what, after, last } => wait::WaitError::TimedOut { what, after, last },
    }
}
