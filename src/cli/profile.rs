//! `pvetalos profile`: lint, new forms of old patches, and the schema for editors.

mod fix;

use serde_json::json;

use super::connect::patches;
use super::failure::{Code, Failure};
use super::{Global, print, say};
use crate::machineconfig::{Bundle, Contract, Minor};
use crate::plan::{Problem, contract, rehearse};
use crate::profile::Profile;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Read a profile, render and validate every machine's configuration, and say everything that is wrong
    Check(Args),
    /// Print the JSON Schema of profiles, for editors
    Schema,
}

#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of a profile in ./profiles or the config directory, or a path
    #[arg(long, short, value_name = "NAME")]
    profile: String,
    /// Check against this contract instead of the profile's
    #[arg(long, value_name = "1.N")]
    contract: Option<String>,
    /// Print the patches that the contract refuses in its own form; writes nothing
    #[arg(long)]
    fix: bool,
}

pub(super) fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(args) => check(global, &args),
        Command::Schema => {
            let schema = crate::profile::schema();
            let pretty = if global.is_json() { serde_json::to_string } else { serde_json::to_string_pretty };
            print(&pretty(&schema).expect("a schema is plain data"));
            Ok(())
        }
    }
}

fn check(global: &Global, args: &Args) -> Result<(), Failure> {
    let mut profile = crate::profile::load(&args.profile, &super::profile_dirs())?;
    let contract = chosen(&mut profile, args.contract.as_deref())?;
    if args.fix {
        return fix::run(global, &profile, &contract);
    }
    // No secret is looked at: which keys a configuration holds decides nothing about its validity.
    let bundle = Bundle::sketch().map_err(|error| Failure::of(Code::Defect, &error))?;
    let found = rehearse(&profile, &contract, &bundle, &patches(&profile)?);
    let found = found.map_err(|problems| refused(&profile, &problems))?;
    let warnings: Vec<&String> = profile.warnings.iter().chain(&found).collect();
    if global.is_json() {
        let machines: Vec<&str> = profile.machines.iter().map(|machine| machine.name.as_str()).collect();
        let result = json!({
            "profile": profile.name, "contract": contract.to_string(), "machines": machines, "warnings": warnings,
        });
        print(&result.to_string());
        return Ok(());
    }
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    let count = profile.machines.len();
    print(&format!("{} is a good profile: {count} machines on contract {contract}", profile.file.display()));
    Ok(())
}

/// The contract that was asked for, else the profile's. One that is newer than the profile's Talos shows what the
/// profile would become with a Talos that knows it.
pub(super) fn chosen(profile: &mut Profile, asked: Option<&str>) -> Result<Contract, Failure> {
    let Some(text) = asked else {
        return contract(profile).map_err(|problem| Failure::new(Code::Usage, problem.to_string()));
    };
    let usage = |error: &dyn std::error::Error| Failure::of(Code::Usage, error);
    let contract = Contract::parse(text).map_err(|error| usage(&error))?;
    if !Minor::parse(&profile.talos.version).map_err(|error| usage(&error))?.reads(&contract) {
        let needed = format!("{}.0", contract.to_string().trim_start_matches('v'));
        profile.warnings.push(format!(
            "contract {contract} is newer than the profile's Talos {}: this is how it would be with Talos {needed}",
            profile.talos.version
        ));
        profile.talos.version = needed;
    }
    Ok(contract)
}

fn refused(profile: &Profile, problems: &[Problem]) -> Failure {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    Failure::new(Code::Usage, format!("{} is wrong:{}", profile.file.display(), lines.concat()))
}
