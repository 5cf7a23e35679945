//! `pvetalos config validate`: what a machine would say about a configuration.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::{Global, print, say};
use super::input::boolean;
use super::{Behaviour, read, refused};
use crate::machineconfig::{self, Documents, Verdict};

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(in crate::cli) struct Args {
    /// The machine configuration; - is stdin
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Where the machine runs
    #[arg(long, short, value_enum)]
    mode: Mode,
    /// Treat warnings as errors
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    strict: bool,
    #[command(flatten)]
    behaviour: Behaviour,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Metal,
    Cloud,
    Container,
    MetalAgent,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::Cloud => "cloud",
            Self::Container => "container",
            Self::MetalAgent => "metal-agent",
        }
    }
}

impl From<Mode> for machineconfig::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Metal => Self::Metal,
            // Neither installs, and a configuration is asked nothing else about them.
            Mode::Cloud | Mode::MetalAgent => Self::Cloud,
            Mode::Container => Self::Container,
        }
    }
}

pub(super) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let minor = args.behaviour.minor()?;
    let text = read(&args.config)?;
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
    let verdict = machineconfig::validate(&documents, args.mode.into(), args.strict, &minor);
    if global.is_json() {
        show("ok", "", &verdict);
    }
    verdict.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    match verdict.text(&minor) {
        Some(text) if global.is_json() => Err(refused(text).told()),
        Some(text) => Err(refused(text)),
        None if global.is_json() => Ok(()),
        None => {
            print(&format!("{} is valid for {} mode", args.config.display(), args.mode.word()));
            Ok(())
        }
    }
}
