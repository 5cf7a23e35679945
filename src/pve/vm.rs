//! One VM: create, look, change, start, stop, destroy.
//!
//! Proxmox answers a request about a VM that is not on that node with 500
//! ([`PveError::is_missing_vm`]), except for start and stop, which are accepted and fail
//! in their task. VMIDs are given away again at once, so whoever destroys has to look first.

use std::net::IpAddr;

use proxmox_api::client::Client;
use proxmox_api::nodes::NodesClient;
use proxmox_api::nodes::node::qemu::vmid::status::{start, stop};
use proxmox_api::nodes::node::qemu::vmid::{DeleteParams, VmidClient};
use proxmox_api::types::VmId;
use serde::Deserialize;
use serde_json::Value;

use super::error::PveError;
use super::task::Upid;
use super::{Pve, VmConfig, VmSpec, lenient, names};
use crate::inventory::Mac;

/// What a VM does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmStatus {
    pub running: bool,
    /// The operation that holds the VM: `create`, `backup`, …
    pub lock: Option<String>,
}

/// A network interface as the guest agent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestInterface {
    pub name: String,
    pub mac: Option<Mac>,
    pub addresses: Vec<IpAddr>,
}

impl Pve {
    /// Starts the task that creates the VM. The VMID is taken from the moment this is answered.
    ///
    /// A taken VMID is [`PveError::is_taken`]. After [`PveError::is_outcome_unknown`] the configuration's UUID tells
    /// whether a VM of that id is the one that was asked for.
    pub async fn create(&self, spec: &VmSpec) -> Result<Upid, PveError> {
        // The crate's type for this form has maps for net0, scsi0 and the like, whose order is random: the plan shows
        // exactly these parameters in exactly this order.
        Upid::started(
            &self.post::<_, String>(&format!("/nodes/{}/qemu", names::node(&spec.node)?), &spec.params()).await?,
        )
    }

    pub async fn config(&self, node: &str, vmid: u32) -> Result<VmConfig, PveError> {
        self.read(&format!("{}/config", path(node, vmid)?)).await
    }

    /// Changes options at once. For options without disk work only: that can take longer than the 30 s after which a
    /// proxying node gives up. On a running VM a change may wait for the next start.
    pub async fn set(&self, node: &str, vmid: u32, options: &[(&str, &str)]) -> Result<(), PveError> {
        let _null: Value = self.put(&format!("{}/config", path(node, vmid)?), &options).await?;
        Ok(())
    }

    /// A VM that runs already makes the task fail.
    pub async fn start(&self, node: &str, vmid: u32) -> Result<Upid, PveError> {
        Upid::started(&self.vm(node, vmid)?.status().start().post(start::PostParams::default()).await?)
    }

    /// Pulls the plug. Aborts a shutdown that is under way, which a plain stop would wait for and fail.
    pub async fn stop(&self, node: &str, vmid: u32) -> Result<Upid, PveError> {
        let parameters = stop::PostParams { overrule_shutdown: Some(true), ..stop::PostParams::default() };
        Upid::started(&self.vm(node, vmid)?.status().stop().post(parameters).await?)
    }

    /// Removes a stopped VM with its disks, and from backup jobs and the like.
    ///
    /// Disks that its configuration does not name stay: on a shared storage they may be another cluster's.
    pub async fn destroy(&self, node: &str, vmid: u32) -> Result<Upid, PveError> {
        let parameters =
            DeleteParams { purge: Some(true), destroy_unreferenced_disks: Some(false), ..DeleteParams::default() };
        Upid::started(&self.vm(node, vmid)?.delete(parameters).await?)
    }

    pub async fn status(&self, node: &str, vmid: u32) -> Result<VmStatus, PveError> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default, deserialize_with = "lenient::text")]
            status: String,
            #[serde(default, deserialize_with = "lenient::parsed")]
            lock: Option<String>,
        }
        let wire: Wire = self.read(&format!("{}/status/current", path(node, vmid)?)).await?;
        Ok(VmStatus { running: wire.status == "running", lock: wire.lock.filter(|lock| !lock.is_empty()) })
    }

    /// Asks the guest agent. Without one this takes 3 s of the node's time and is [`PveError::is_agent_silent`].
    pub async fn agent_interfaces(&self, node: &str, vmid: u32) -> Result<Vec<GuestInterface>, PveError> {
        let path = format!("{}/agent/network-get-interfaces", path(node, vmid)?);
        let answer: AgentAnswer = self.read(&path).await?;
        match answer.result {
            AgentResult::Interfaces(interfaces) => Ok(interfaces.into_iter().map(Into::into).collect()),
            AgentResult::Other(value) => {
                let text = value.pointer("/error/desc").and_then(Value::as_str).unwrap_or("it gives no interfaces");
                Err(PveError::Agent { vmid, text: text.to_owned() })
            }
        }
    }

    fn vm(&self, node: &str, vmid: u32) -> Result<VmidClient<Self>, PveError> {
        let bad = |_| PveError::BadName { what: "VM", name: vmid.to_string() };
        let vmid = VmId::try_from(i128::from(vmid)).map_err(bad)?;
        Ok(NodesClient::new(self.clone()).node(names::node(node)?).qemu().vmid(vmid))
    }
}

fn path(node: &str, vmid: u32) -> Result<String, PveError> {
    Ok(format!("/nodes/{}/qemu/{vmid}", names::node(node)?))
}

#[derive(Deserialize)]
struct AgentAnswer {
    result: AgentResult,
}

/// A command that fails inside the guest is answered with 200 and an `error` in place of the result.
#[derive(Deserialize)]
#[serde(untagged)]
enum AgentResult {
    Interfaces(Vec<WireInterface>),
    Other(Value),
}

#[derive(Deserialize)]
struct WireInterface {
    #[serde(default)]
    name: String,
    #[serde(rename = "hardware-address", default)]
    mac: Option<String>,
    #[serde(rename = "ip-addresses", default)]
    addresses: Option<Vec<WireAddress>>,
}

#[derive(Deserialize)]
struct WireAddress {
    #[serde(rename = "ip-address", default)]
    address: String,
}

impl From<WireInterface> for GuestInterface {
    fn from(wire: WireInterface) -> Self {
        let addresses = wire.addresses.unwrap_or_default();
        Self {
            name: wire.name,
            mac: wire.mac.and_then(|mac| mac.parse().ok()),
            // A link-local IPv6 address may carry its zone.
            addresses: addresses.iter().filter_map(|it| it.address.split('%').next()?.parse().ok()).collect(),
        }
    }
}
