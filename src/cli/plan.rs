//! `pvetalos plan`: the same survey and draft as `create`, printed. Reads only.

use std::fmt::Write;

use super::connect::{Connection, Files, Target};
use super::failure::{Code, Failure};
use super::lab::WhenAbsent;
use super::{Global, print};
use crate::plan::{Plan, Problem, contract, draft, survey, try_out};
use crate::profile::Profile;
use crate::secrets::Provider;
use crate::steps::mark::Mark;
use crate::steps::{Step, Toolbox};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub target: Target,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let profile = args.target.load()?;
    let connection = Connection::open(global, &profile, args.target.lab, WhenAbsent::Embed).await?;
    let (plan, _) = drafted(global, &profile, &connection, &Files::default()).await?;
    if global.is_json() {
        print(&serde_json::to_string(&plan).expect("a plan is plain data"));
    } else {
        print(&show(&plan));
    }
    Ok(())
}

/// Surveys the site, drafts the plan, and tries every configuration out; refuses with everything that is wrong.
pub(super) async fn drafted(
    global: &Global,
    profile: &Profile,
    connection: &Connection,
    files: &Files,
) -> Result<(Plan, Toolbox), Failure> {
    let state_dir = global.state_dir()?;
    // The bundle's RSA key is made while the site is read: it costs as much time as everything else together.
    let tools = connection.full_toolbox(profile, Mark::new(&profile.name), &state_dir, files)?;
    let contract = contract(profile).map_err(|problem| Failure::new(Code::Usage, problem.to_string()))?;
    let preparing = async {
        let exists = tools.vault.provider.exists().await.map_err(|error| Failure::of(Code::Refused, &error))?;
        if exists {
            return Ok(());
        }
        let place = &tools.vault.provider;
        if matches!(place, Provider::Env { .. } | Provider::Command { .. }) {
            let message = format!("there is no secrets bundle in {}, and none can be kept there", place.reference());
            return Err(Failure::new(Code::Refused, message)
                .hint("set talos.secrets to a pass entry, a keyring entry or a file, or provide the bundle"));
        }
        tools.vault.prepare(&contract).await.map_err(|error| Failure::of(Code::Refused, &error))
    };
    let reading =
        async { survey(profile, &connection.pve, &connection.factory, &connection.reach).await.map_err(Failure::from) };
    let (site, ()) = futures_util::try_join!(reading, preparing)?;
    let secrets = connection.vault(profile, &state_dir).reference();
    let plan = draft(profile, &site, &connection.factory, connection.pve.quirks(), &secrets, connection.origin.clone());
    let mut plan = plan.map_err(|problems| refused(profile, &problems))?;
    let tried = try_out(&plan, &tools).await.map_err(|error| Failure::of(Code::Refused, &error))?;
    plan.outline.notes.extend(tried.map_err(|problems| refused(profile, &problems))?);
    Ok((plan.clone(), Toolbox { mark: plan.mark, ..tools }))
}

fn refused(profile: &Profile, problems: &[Problem]) -> Failure {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    let count = if problems.len() == 1 { String::from("one thing") } else { format!("{} things", problems.len()) };
    Failure::new(
        Code::Refused,
        format!(
            "cluster {} cannot be created, {count} to settle first; nothing was created:{}",
            profile.name,
            lines.concat()
        ),
    )
}

/// The plan, for people.
pub(super) fn show(plan: &Plan) -> String {
    let mut text = String::new();
    let outline = &plan.outline;
    let mut line = |text_line: String| writeln!(text, "{text_line}").expect("a string takes everything");
    line(format!("cluster     {}", plan.mark.cluster));
    line(format!("endpoint    {}", outline.endpoint));
    line(format!("talos       {}", outline.talos));
    line(format!("kubernetes  {}", outline.kubernetes));
    line(format!("schematic   {}", outline.schematic));
    line(format!("image       {}", outline.image));
    line(format!("installer   {}", outline.installer));
    for note in &outline.notes {
        line(format!("note        {note}"));
    }
    let machines: Vec<_> = plan.machines().collect();
    line(format!("\n{} machines", machines.len()));
    for create in machines {
        line(format!("\n  {} ({}) on node {}", create.machine, create.role, create.spec.node));
        for (name, value) in create.spec.params() {
            line(format!("    {name:<12} {}", value.replace('\n', "\\n")));
        }
        let address = plan.steps().find_map(|step| match step {
            Step::ApplyConfig(apply) if apply.config.machine == create.machine => Some(apply.config.address),
            _ => None,
        });
        if let Some(address) = address {
            line(format!("    {:<12} {address}", "address"));
        }
    }
    for stage in &plan.stages {
        line(format!("\nstage {}", stage.name));
        for lane in &stage.lanes {
            line(format!("  {}", lane.name));
            for step in &lane.steps {
                line(format!("    {}", step.describe()));
                for call in step.calls() {
                    line(format!("      {call}"));
                }
            }
        }
    }
    text
}
