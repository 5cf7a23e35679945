//! `pvetalos config patch`: patches on a configuration, in order.

use std::path::PathBuf;

use super::super::failure::Failure;
use super::super::say;
use super::{Behaviour, patches, place, read, refused, wrong_patch};
use crate::machineconfig::{Documents, apply};

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(in crate::cli) struct Args {
    /// The machine configuration; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A patch, or a file of one as @FILE; may be given several times
    #[arg(long, short, value_name = "PATCH", allow_hyphen_values = true)]
    patch: Vec<String>,
    /// File to write, also over one that is there; - is stdout
    #[arg(long, short = 'o', value_name = "FILE", default_value = "-")]
    output_file: PathBuf,
    #[command(flatten)]
    behaviour: Behaviour,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let minor = args.behaviour.minor()?;
    let text = read(&args.file)?;
    let patches = patches(&args.patch, "--patch", &minor, "")?;
    let documents = Documents::parse_for(&text, &minor).map_err(refused)?;
    let patched = apply(&documents, &patches, &minor)
        .map_err(|error| wrong_patch(&error, Some((&patches, &documents, &minor)), ""))?;
    if patched.has_leftover() {
        say("warning: a deletion of a document that is not there stays in the result as `{}`, as this Talos has it, \
             and no Talos reads that: leave the deletion out");
    }
    place::write(&args.output_file, &patched.to_yaml())
}
