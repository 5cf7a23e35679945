//! `pvetalos config patch`: patches on a configuration, in order.

use std::path::PathBuf;

use super::super::failure::Failure;
use super::{Behaviour, patches, place, read, refused, wrong_patch};
use crate::machineconfig::{Documents, apply};

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The machine configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A patch, or a file of one as @FILE; may be given several times
    #[arg(long, short, value_name = "PATCH", allow_hyphen_values = true)]
    patch: Vec<String>,
    /// File to write; - is stdout
    #[arg(long, short = 'o', value_name = "FILE", default_value = "-")]
    output_file: PathBuf,
    /// Overwrite a file that is there
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    behaviour: Behaviour,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let minor = args.behaviour.minor()?;
    if args.output_file.as_os_str() != place::STDOUT {
        place::vacant(&args.output_file, args.force)?;
    }
    let text = read(&args.file)?;
    let patches = patches(&args.patch, &minor, "")?;
    let documents = Documents::parse_for(&text, &minor).map_err(refused)?;
    let patched = apply(&documents, &patches, &minor)
        .map_err(|error| wrong_patch(&error, Some((&patches, &documents, &minor)), ""))?;
    place::write(&args.output_file, &patched.to_yaml())
}
