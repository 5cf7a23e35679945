//! `pvetalos config validate`: what a machine would say about a configuration.

use std::path::Path;

use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::{Global, print, say};
use super::value::boolean;
use super::{Behaviour, read, refused};
use crate::machineconfig::{self, Documents, Mode, Verdict, quoted};

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(in crate::cli) struct Args {
    /// The machine configuration; - is stdin
    #[arg(long, short, value_name = "FILE")]
    config: String,
    /// Where the machine runs: metal, cloud, container or metal-agent
    #[arg(long, short, allow_hyphen_values = true)]
    mode: String,
    /// Treat warnings as errors
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    strict: bool,
    #[command(flatten)]
    behaviour: Behaviour,
}

/// Where the machine runs, by talosctl's word for it.
fn mode(word: &str) -> Result<Mode, Failure> {
    match word {
        "metal" => Ok(Mode::Metal),
        // Neither installs, and a configuration is asked nothing else about them.
        "cloud" | "metal-agent" => Ok(Mode::Cloud),
        "container" => Ok(Mode::Container),
        _ => Err(refused(format!("unknown runtime mode: {}", quoted(word)))
            .hint("the modes are metal, cloud, container and metal-agent")),
    }
}

pub(super) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let minor = args.behaviour.minor()?;
    let text = read(Path::new(&args.config))?;
    let show = |decode: &str, error: &str, verdict: &Verdict| {
        let result: Value = json!({
            "decode": decode, "decodeError": error, "warnings": verdict.warnings, "errors": verdict.errors,
        });
        print(&result.to_string());
    };
    let documents = match Documents::parse_for(&text, &minor) {
        Ok(documents) => documents,
        Err(error) => {
            let text = error.to_string();
            let failure = refused(&text);
            if global.is_json() {
                show("error", &text, &Verdict::default());
                return Err(failure.told());
            }
            return Err(failure);
        }
    };
    let verdict = machineconfig::validate(&documents, mode(&args.mode)?, args.strict, &minor);
    if global.is_json() {
        show("ok", "", &verdict);
    }
    verdict.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    match verdict.text(&minor) {
        Some(text) if global.is_json() => Err(refused(text).told()),
        Some(text) => Err(refused(text)),
        None if global.is_json() => Ok(()),
        None => {
            print(&format!("{} is valid for {} mode", args.config, args.mode));
            Ok(())
        }
    }
}
