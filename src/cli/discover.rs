//! `pvetalos discover`: the machines that answer on the profile's network, and what each shows.

use serde_json::json;

use super::connect::{Connection, Files, Target};
use super::failure::{Code, Failure};
use super::lab::WhenAbsent;
use super::{Global, print};
use crate::discovery::Showed;
use crate::engine::Journal;
use crate::report::columns;
use crate::steps::mark::Mark;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let profile = args.target.load()?;
    let state_dir = global.state_dir()?;
    let known = Journal::read(&state_dir, &profile.name)?;
    let lab = args.target.lab || known.as_ref().is_some_and(|(_, plan)| plan.origin.lab);
    let connection = Connection::open(global, &profile, lab, WhenAbsent::Fail).await?;
    let mark = known.as_ref().map_or_else(|| Mark::new(&profile.name), |(_, plan)| plan.mark.clone());
    let tools = connection.toolbox(&profile, mark, &state_dir, &Files::default());
    let kept = tools.vault.provider.exists().await.unwrap_or(false);
    let credentials = if kept { tools.vault.credentials(&profile.name).await.ok() } else { None };
    let sightings = tools.finder.look_around(credentials).await.map_err(|error| Failure::of(Code::Refused, &error))?;
    let name = |uuid: Option<uuid::Uuid>| {
        profile.machines.iter().find(|machine| uuid == Some(tools.mark.uuid(&machine.name))).map(|m| m.name.clone())
    };
    let mut rows = Vec::new();
    for sighting in sightings {
        let (machine, uuid, macs, how) = match sighting.showed {
            Showed::Identity(identity) => {
                let macs: Vec<String> = identity.macs.iter().map(ToString::to_string).collect();
                let how = if sighting.secured { "our certificate" } else { "maintenance API" };
                (name(identity.uuid), identity.uuid.map(|uuid| uuid.to_string()), macs, how.to_owned())
            }
            Showed::Configured => (None, None, Vec::new(), String::from("runs with a configuration that is not ours")),
            Showed::Nothing(reason) => (None, None, Vec::new(), reason),
        };
        rows.push(json!({ "address": sighting.ip, "machine": machine, "uuid": uuid, "macs": macs, "showed": how }));
    }
    if global.is_json() {
        print(&json!({ "network": profile.network.cidr, "found": rows }).to_string());
        return Ok(());
    }
    let mut table = columns();
    table.set_header(["ADDRESS", "MACHINE", "UUID", "MAC", "SHOWED"]);
    for row in &rows {
        let cell = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let mac = row["macs"][0].as_str().unwrap_or("-").to_owned();
        table.add_row([cell("address"), cell("machine"), cell("uuid"), mac, cell("showed")]);
    }
    print(&format!("{} addresses answer on {}\n{}", rows.len(), profile.network.cidr, table.trim_fmt()));
    Ok(())
}
