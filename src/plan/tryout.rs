//! Renders every machine's configuration before there is a machine.
//!
//! A patch that does not apply, or a configuration that Talos would refuse, shows here and not on the console of a
//! VM; so does what Talos takes without a word and does nothing with.

use std::collections::BTreeMap;

use super::Plan;
use super::check::{Problem, kubernetes, problem};
use super::configs::configs;
use crate::inventory::Mac;
use crate::machineconfig::rewrite::{Target, rewrite};
use crate::machineconfig::{Bundle, Contract, Documents, Patch, advice};
use crate::profile::Profile;
use crate::steps::render::{ConfigSpec, RenderError, render};
use crate::steps::{Step, StepError, Toolbox};

/// Stands for the MAC that Proxmox will assign.
const SOME_MAC: Mac = Mac([0xbc, 0x24, 0x11, 0, 0, 1]);

/// The users' patches by machine, in the order in which they apply.
pub type PatchesByMachine = BTreeMap<String, Vec<Patch>>;

/// Warnings of all configurations, or everything that is wrong with them.
type Judgement = Result<Vec<String>, Vec<Problem>>;

/// Tries out what a plan pinned.
pub async fn try_out(plan: &Plan, tools: &Toolbox) -> Result<Judgement, StepError> {
    let configs: Vec<&ConfigSpec> = plan
        .steps()
        .filter_map(|step| match step {
            Step::ApplyConfig(apply) => Some(&apply.config),
            _ => None,
        })
        .collect();
    let Some(first) = configs.first() else { return Ok(Ok(Vec::new())) };
    match Contract::parse(&first.contract) {
        Ok(contract) => tools.vault.with_any(&contract, |bundle| judge(&configs, bundle, &tools.patches)).await,
        Err(error) => Ok(Err(vec![problem("talos.contract", error.to_string(), "")])),
    }
}

/// Tries out what a profile asks for, as far as no site is needed: versions that fit, and every configuration.
pub fn rehearse(profile: &Profile, contract: &Contract, bundle: &Bundle, patches: &PatchesByMachine) -> Judgement {
    let mut problems = Vec::new();
    kubernetes(profile, &mut problems);
    let mut warnings = Vec::new();
    match configs(profile, contract) {
        Ok(configs) => match judge(&configs.iter().collect::<Vec<_>>(), bundle, patches) {
            Ok(found) => warnings = found,
            Err(found) => problems.extend(found),
        },
        Err(found) => problems.push(found),
    }
    if problems.is_empty() { Ok(warnings) } else { Err(problems) }
}

fn judge(configs: &[&ConfigSpec], bundle: &Bundle, patches: &PatchesByMachine) -> Judgement {
    let mut warnings = Vec::new();
    let mut refusals: Vec<(&ConfigSpec, RenderError)> = Vec::new();
    let mut made: Vec<(&str, Documents)> = Vec::new();
    for config in configs {
        let patches = patches.get(&config.machine).map(Vec::as_slice).unwrap_or_default();
        match render(config, bundle, SOME_MAC, patches) {
            Ok(rendered) => {
                warnings.extend(rendered.warnings);
                made.push((&config.machine, rendered.documents));
            }
            Err(error) => refusals.push((*config, error)),
        }
    }
    let mut problems = together(refusals, patches);
    for (machine, documents) in &made {
        let arguments = advice::kernel_arguments(documents);
        if !arguments.is_empty() {
            problems.push(problem(
                "talos.patches",
                format!(
                    "the configuration of {machine} sets install.extraKernelArgs to {}, and the boot image carries its \
                     own signed command line",
                    arguments.join(" ")
                ),
                "put them into the schematic: customization.extraKernelArgs",
            ));
        }
    }
    let views: Vec<(&str, &Documents)> = made.iter().map(|(name, documents)| (*name, documents)).collect();
    let mut advice = advice::feature_gates(&views);
    advice.extend(made.iter().flat_map(|(_, documents)| advice::local_logging(documents)));
    warnings.extend(advice.into_iter().map(|advice| format!("{}; {}", advice.text, advice.fix)));
    warnings.sort();
    warnings.dedup();
    if problems.is_empty() { Ok(warnings) } else { Err(problems) }
}

/// The problems that errors are, each said once: what one patch does wrong, it does to every machine of its role.
fn together(refusals: Vec<(&ConfigSpec, RenderError)>, patches: &PatchesByMachine) -> Vec<Problem> {
    let mut grouped: Vec<(String, Vec<String>, &ConfigSpec, RenderError)> = Vec::new();
    for (config, mut error) in refusals {
        name(&mut error, String::new());
        let text = text(&error);
        match grouped.iter_mut().find(|(known, ..)| *known == text) {
            Some((_, machines, ..)) => machines.push(config.machine.clone()),
            None => grouped.push((text, vec![config.machine.clone()], config, error)),
        }
    }
    let problems = grouped.into_iter().map(|(_, machines, config, mut error)| {
        name(&mut error, machines.join(", "));
        let own = patches.get(&config.machine).map(Vec::as_slice).unwrap_or_default();
        problem("talos.patches", text(&error), instead(config, &error, own))
    });
    problems.collect()
}

fn name(error: &mut RenderError, machines: String) {
    match error {
        RenderError::Generate { machine, .. }
        | RenderError::Patch { machine, .. }
        | RenderError::Invalid { machine, .. } => *machine = machines,
        RenderError::Version(_) | RenderError::Newer { .. } => {}
    }
}

fn text(error: &RenderError) -> String {
    let source = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    format!("{error}{source}")
}

/// What to write instead, where that is known.
fn instead(config: &ConfigSpec, error: &RenderError, patches: &[Patch]) -> String {
    match error {
        RenderError::Patch { source, .. } => {
            let json = patches.iter().find(|patch| *patch.source() == source.patch && patch.is_json6902());
            let Some((form, merges)) = json.and_then(Patch::strategic_sketch) else { return String::new() };
            let caution = if merges { " (lists and objects may merge into what is there)" } else { "" };
            format!("the strategic patch of the same fields{caution}:\n{}", indented(&in_contract(config, form)))
        }
        RenderError::Invalid { .. } => format!(
            "if it is an old form, this prints the new one: pvetalos profile check --fix --contract {} --profile {}",
            config.contract, config.cluster
        ),
        RenderError::Newer { .. } => "leave talos.contract out, or choose an older one".to_owned(),
        RenderError::Version(_) | RenderError::Generate { .. } => String::new(),
    }
}

/// A strategic patch in the form that the machine's contract takes.
fn in_contract(config: &ConfigSpec, form: String) -> String {
    let Ok(contract) = Contract::parse(&config.contract) else { return form };
    match rewrite(&form, Target { contract: &contract, install_disk: &config.install_disk }) {
        Ok(Some(new)) => new.shared.into_iter().chain(new.control_plane).collect::<Vec<_>>().join("---\n"),
        Ok(None) | Err(_) => form,
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
