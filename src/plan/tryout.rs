//! Renders every machine's configuration before there is a machine.
//!
//! A patch that does not apply, or a configuration that Talos would refuse, shows
//! here and not on the console of a VM.

use super::Plan;
use super::check::{Problem, problem};
use crate::inventory::Mac;
use crate::machineconfig::Contract;
use crate::steps::render::render;
use crate::steps::{Step, StepError, Toolbox};

/// Stands for the MAC that Proxmox will assign.
const SOME_MAC: Mac = Mac([0xbc, 0x24, 0x11, 0, 0, 1]);

/// Warnings of all configurations, or everything that is wrong with them.
pub async fn try_out(plan: &Plan, tools: &Toolbox) -> Result<Result<Vec<String>, Vec<Problem>>, StepError> {
    let configs = plan.steps().filter_map(|step| match step {
        Step::ApplyConfig(apply) => Some(&apply.config),
        _ => None,
    });
    let mut warnings = Vec::new();
    let mut problems = Vec::new();
    for config in configs {
        let contract = match Contract::parse(&config.contract) {
            Ok(contract) => contract,
            Err(error) => return Ok(Err(vec![problem("talos.contract", error.to_string(), "")])),
        };
        let patches = tools.patches.get(&config.machine).map(Vec::as_slice).unwrap_or_default();
        let rendered = tools.vault.with_any(&contract, |bundle| render(config, bundle, SOME_MAC, patches)).await?;
        match rendered {
            Ok(rendered) => warnings.extend(rendered.warnings),
            Err(error) => {
                let source = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
                problems.push(problem("talos.patches", format!("{error}{source}"), ""));
            }
        }
    }
    warnings.sort();
    warnings.dedup();
    Ok(if problems.is_empty() { Ok(warnings) } else { Err(problems) })
}
