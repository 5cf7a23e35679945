//! `pvetalos status`: machines, addresses, and every health gate looked at once.

use std::path::Path;

use serde_json::json;

use super::connect::{Connection, Files, Target};
use super::failure::{Code, Failure};
use super::lab::WhenAbsent;
use super::{Global, print};
use crate::engine::{Journal, Last, State};
use crate::inventory::Role;
use crate::kube::Api;
use crate::plan::Plan;
use crate::report::columns;
use crate::steps::{Looker, Step};
use crate::talos::Talos;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The cluster's profile [default: the one cluster that the local state knows]
    #[arg(long, short, value_name = "NAME")]
    profile: Option<String>,
}

/// The one cluster that the state directory knows, as a target; several or none is an error that lists them.
pub(super) fn only_cluster(state_dir: &Path) -> Result<Target, Failure> {
    let clusters = Journal::clusters(state_dir);
    match clusters.as_slice() {
        [one] => match Journal::read(state_dir, one)? {
            Some((_, plan)) => Ok(Target::remembered(&plan.origin)),
            None => Err(Failure::new(Code::Usage, format!("the journal of {one} cannot be read"))),
        },
        [] => Err(Failure::new(Code::Usage, "no cluster is known here").hint("name its profile: --profile NAME")),
        several => Err(Failure::new(Code::Usage, format!("there are several clusters: {}", several.join(", ")))
            .hint("name one: --profile NAME")),
    }
}

pub(super) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let state_dir = global.state_dir()?;
    let target = match args.profile {
        Some(profile) => Target { profile, lab: false },
        None => only_cluster(&state_dir)?,
    };
    let profile = target.load()?;
    let Some((state, plan)) = Journal::read(&state_dir, &profile.name)? else {
        let message = format!("no cluster {} is known here", profile.name);
        return Err(
            Failure::new(Code::Usage, message).hint(format!("make it: pvetalos create --profile {}", profile.name))
        );
    };
    let connection = Connection::open(global, &profile, plan.origin.lab, WhenAbsent::Fail).await?;
    let tools = connection.toolbox(&profile, plan.mark.clone(), &state_dir, &Files::default());
    let stands = stands(&state);
    let rows = machines(&plan, &state, &connection).await;
    let gates = gates(&plan, &state, &tools).await;
    let changed = plan.profile != crate::plan::fingerprint(&profile);
    if global.is_json() {
        let gates: Vec<_> = gates
            .iter()
            .map(|(name, result)| json!({ "gate": name, "passed": result.is_ok(), "reason": result.as_ref().err() }))
            .collect();
        let healthy = gates.iter().all(|gate| gate["passed"] == true) && !gates.is_empty();
        print(
            &json!({
                "cluster": profile.name, "state": stands, "healthy": healthy, "machines": rows, "gates": gates,
                "profile_changed": changed,
            })
            .to_string(),
        );
        return Ok(());
    }
    let mut table = columns();
    table.set_header(["MACHINE", "ROLE", "NODE", "VMID", "VM", "MAC", "ADDRESS"]);
    for row in &rows {
        let cell = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        table.add_row(["machine", "role", "node", "vmid", "vm", "mac", "address"].map(cell));
    }
    print(&format!("cluster {} is {stands}\n\n{}\n", profile.name, table.trim_fmt()));
    for (name, result) in gates {
        match result {
            Ok(()) => print(&format!("passed   {name}")),
            Err(reason) => print(&format!("waiting  {name}: {reason}")),
        }
    }
    if changed {
        print("\nthe profile was changed since the cluster was made");
    }
    Ok(())
}

fn stands(state: &State) -> &'static str {
    if state.committed {
        "running"
    } else if state.unwinding() {
        "being taken away"
    } else {
        "unfinished"
    }
}

async fn machines(plan: &Plan, state: &State, connection: &Connection) -> Vec<serde_json::Value> {
    let mut rows = Vec::new();
    for create in plan.machines() {
        let known = state.inventory.machines.get(&create.machine);
        let place = known.and_then(|machine| Some((machine.node.clone()?, machine.vmid?)));
        let vm = match &place {
            None => String::from("not made yet"),
            Some((node, vmid)) => match connection.pve.config(node, *vmid).await {
                Ok(config) if plan.mark.owns(&create.machine, &config) => {
                    match connection.pve.status(node, *vmid).await {
                        Ok(status) if status.running => String::from("running"),
                        Ok(_) => String::from("stopped"),
                        Err(error) => error.to_string(),
                    }
                }
                Ok(_) => String::from("not ours any more"),
                Err(error) if error.is_missing_vm() => String::from("gone"),
                Err(error) => error.to_string(),
            },
        };
        rows.push(json!({
            "machine": create.machine,
            "role": create.role,
            "node": place.as_ref().map_or(create.spec.node.as_str(), |(node, _)| node),
            "vmid": place.as_ref().map_or(create.spec.vmid, |(_, vmid)| *vmid),
            "vm": vm,
            "mac": known.and_then(|machine| machine.macs.first().map(ToString::to_string)).unwrap_or_default(),
            "address": known.and_then(|machine| machine.ip.map(|ip| ip.to_string())).unwrap_or_default(),
        }));
    }
    rows
}

/// Every gate looked at once; none when the cluster is not that far.
async fn gates(plan: &Plan, state: &State, tools: &crate::steps::Toolbox) -> Vec<(&'static str, Result<(), String>)> {
    let check = plan.steps().find_map(|step| match step {
        Step::CheckHealth(check) => Some(check),
        _ => None,
    });
    let Some(check) = check else { return Vec::new() };
    let addresses: Option<Vec<_>> = check
        .machines
        .iter()
        .map(|(name, role)| Some((name.clone(), *role, state.inventory.address(name).ok()?)))
        .collect();
    let bootstrapped = plan
        .steps()
        .any(|step| matches!(step, Step::BootstrapEtcd(_)) && matches!(state.last(&step.id()), Some(Last::Finished)));
    let (Some(addresses), true) = (addresses, bootstrapped) else { return Vec::new() };
    let Ok(credentials) = tools.vault.credentials(&plan.mark.cluster).await else { return Vec::new() };
    let mut kube = None;
    for (_, _, ip) in addresses.iter().filter(|(_, role, _)| *role == Role::ControlPlane) {
        let asked = async { Talos::secured(&tools.reach, *ip, credentials).await?.kubeconfig().await };
        if let Ok(text) = asked.await {
            kube = Api::from_kubeconfig(&text, &tools.reach).ok();
            break;
        }
    }
    let looker = Looker { check, addresses, reach: tools.reach, credentials, kube };
    let mut results = Vec::new();
    for gate in check.gates() {
        results.push((gate.name(), looker.look(gate).await));
    }
    results
}
