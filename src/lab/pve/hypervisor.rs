//! The hypervisor process, as Proxmox sees it: it runs or it does not.
//!
//! Behind it is the fleet, whose machines boot and shut down by themselves. The
//! recordings that the face is tested with were made with a hypervisor that
//! played a part; [`Hypervisor::Scripted`] plays the same part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::hardware::{Hardware, Medium};
use crate::lab::world::World;

/// Who answers for the guests.
#[derive(Debug, Default)]
pub enum Hypervisor {
    /// The lab's machines.
    #[default]
    Fleet,
    /// Guests that do nothing but what the script says.
    Scripted(Scripted),
}

/// A guest's part, the same for every VM.
#[derive(Debug, Default)]
pub struct Scripted {
    pub running: BTreeSet<u32>,
    /// How long a guest takes to power off when it is asked.
    pub react: Duration,
    /// Consoles send back what they are sent, as the program behind the recordings' consoles did.
    pub echo: bool,
    /// Guests that were asked to power off, and when.
    pub pressed: BTreeMap<u32, Instant>,
    /// The guest ignores the power button.
    pub deaf: bool,
    /// What the guest agent answers, by command; no agent when empty.
    pub agent: Vec<(String, Value)>,
    /// The hypervisor fails at start.
    pub broken: bool,
}

pub(super) fn is_running(world: &World, vmid: u32) -> bool {
    match &world.pve.hypervisor {
        Hypervisor::Fleet => world.fleet.is_powered(vmid),
        Hypervisor::Scripted(script) => {
            let off = script.pressed.get(&vmid).is_some_and(|at| at.elapsed() >= world.site.clock.span(script.react));
            script.running.contains(&vmid) && !off
        }
    }
}

pub(super) fn power_on(world: &mut World, hardware: Hardware) -> Result<(), String> {
    match &mut world.pve.hypervisor {
        Hypervisor::Fleet => world.fleet.power_on(hardware),
        Hypervisor::Scripted(script) if script.broken => return Err("start failed: QEMU exited with code 1".into()),
        Hypervisor::Scripted(script) => {
            script.pressed.remove(&hardware.vmid);
            script.running.insert(hardware.vmid);
        }
    }
    Ok(())
}

pub(super) fn power_off(world: &mut World, vmid: u32) {
    match &mut world.pve.hypervisor {
        Hypervisor::Fleet => world.fleet.power_off(vmid),
        Hypervisor::Scripted(script) => {
            script.running.remove(&vmid);
        }
    }
}

pub(super) fn reset(world: &mut World, vmid: u32) {
    if let Hypervisor::Fleet = world.pve.hypervisor {
        world.fleet.reset(vmid);
    }
}

pub(super) fn press_power_button(world: &mut World, vmid: u32) {
    match &mut world.pve.hypervisor {
        Hypervisor::Fleet => world.fleet.press_power_button(vmid),
        Hypervisor::Scripted(script) if !script.deaf => {
            script.pressed.entry(vmid).or_insert_with(Instant::now);
        }
        Hypervisor::Scripted(_) => {}
    }
}

pub(super) fn change_medium(world: &mut World, vmid: u32, device: &str, medium: Medium) {
    if let Hypervisor::Fleet = world.pve.hypervisor {
        world.fleet.change_medium(vmid, device, medium);
    }
}

/// The agent's answer to `command` (`guest-` is understood); `None` when no agent answers.
pub(super) fn agent(world: &World, vmid: u32, command: &str) -> Option<Value> {
    let unknown = || {
        let desc = format!("The command guest-{command} has not been found");
        serde_json::json!({ "error": { "class": "CommandNotFound", "desc": desc } })
    };
    match &world.pve.hypervisor {
        Hypervisor::Fleet => {
            let interfaces = world.fleet.agent_interfaces(vmid)?;
            Some(match command {
                "network-get-interfaces" => interfaces,
                "ping" => serde_json::json!({}),
                "info" => serde_json::json!({ "version": "9.0.0", "supported_commands": [
                    { "name": "guest-ping", "enabled": true, "success-response": true },
                    { "name": "guest-network-get-interfaces", "enabled": true, "success-response": true },
                ] }),
                "get-osinfo" => serde_json::json!({ "id": "talos", "name": "Talos" }),
                _ => unknown(),
            })
        }
        Hypervisor::Scripted(script) if script.agent.is_empty() => None,
        Hypervisor::Scripted(script) => {
            let found = script.agent.iter().find(|(name, _)| name == command);
            Some(found.map_or_else(unknown, |(_, value)| value.clone()))
        }
    }
}
