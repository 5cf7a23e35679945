//! `pvetalos config secrets`: the bundle that a cluster lives by. One that is there is not rewritten.

use std::path::PathBuf;

use super::super::failure::{Code, Failure};
use super::{place, refused};
use crate::machineconfig::{Bundle, Contract};

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// File to write; - is stdout
    #[arg(long, short = 'o', value_name = "FILE", default_value = "secrets.yaml")]
    output_file: PathBuf,
    /// The Talos version to make it for [default: the newest that is known]
    #[arg(long, value_name = "VERSION", default_value = "")]
    talos_version: String,
    /// Overwrite a file that is there
    #[arg(long, short)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.output_file.as_os_str() != place::STDOUT {
        place::vacant(&args.output_file, args.force)?;
    }
    let bundle = Bundle::generate(&contract(&args.talos_version)?)
        .map_err(|error| Failure::of(Code::Defect, &error).hint("this computer gives no random numbers or keys"))?;
    place::write(&args.output_file, bundle.to_yaml().expose())
}

/// The contract that a version names; the newest when none is named.
pub(super) fn contract(version: &str) -> Result<Contract, Failure> {
    if version.is_empty() {
        return Ok(Contract::NEWEST);
    }
    Contract::parse(version).map_err(|error| refused(format!("invalid talos-version: {error}")))
}
