//! `pvetalos config`: the engine at the command line, with talosctl's own flag names.
//!
//! Results go to stdout without comments, errors to stderr in the words of talosctl; 0 is done and 2 is refused. Where
//! talosctl writes to a place with `--output`, that name is taken here by the form of results, so the place is `-o`,
//! and [`talosctl_spelling`] takes the long name for it all the same.

mod generate;
mod input;
mod patch;
mod place;
mod secrets;
mod validate;
mod value;

use std::ffi::OsString;
use std::path::Path;

use super::Global;
use super::failure::{Code, Failure};
use crate::machineconfig::patch::{Argument, argument};
use crate::machineconfig::{Documents, Minor, Patch, PatchError, PatchSource};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a secrets bundle, as `talosctl gen secrets` does
    Secrets(secrets::Args),
    /// Make machine configurations and a talosconfig, as `talosctl gen config` does
    Gen(Box<generate::Args>),
    /// Apply patches to a machine configuration, as `talosctl machineconfig patch` does
    Patch(patch::Args),
    /// Say what a machine would say about a configuration, as `talosctl validate` does
    Validate(validate::Args),
}

pub(super) fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Secrets(args) => secrets::run(&args),
        Command::Gen(args) => generate::run(&args),
        Command::Patch(args) => patch::run(&args),
        Command::Validate(args) => validate::run(global, &args),
    }
}

/// `config gen|patch|secrets … --output PLACE` is `-o PLACE`; `human` and `json` keep meaning the form of results.
pub(super) fn talosctl_spelling(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let args: Vec<OsString> = args.collect();
    let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    let writes = words.windows(2).any(|two| two[0] == "config" && matches!(two[1], "gen" | "patch" | "secrets"));
    if !writes {
        return args;
    }
    let is_form = |value: &str| matches!(value, "human" | "json");
    let mut spelled = Vec::with_capacity(args.len());
    for (at, word) in words.iter().enumerate() {
        spelled.push(match word.strip_prefix("--output=") {
            Some(place) if !is_form(place) => OsString::from(format!("--output-file={place}")),
            None if *word == "--output" && words.get(at + 1).is_some_and(|next| !is_form(next)) => "-o".into(),
            _ => args[at].clone(),
        });
    }
    spelled
}

/// Talos refuses, in its own words.
fn refused(text: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Usage, text.to_string().trim_end_matches('\n'))
}

/// Several errors in the form that talosctl prints them (hashicorp/go-multierror).
fn multiple(errors: &[String]) -> String {
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    format!("{} {noun} occurred:\n\t* {}\n\n", errors.len(), errors.join("\n\t* "))
}

/// The text of a file, or of stdin for `-`; or what Go says about one that cannot be read.
fn read(path: &Path) -> Result<String, Failure> {
    let read = if path.as_os_str() == place::STDOUT {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| {
        let (doing, why) = match error.kind() {
            std::io::ErrorKind::NotFound => ("open", "no such file or directory".to_owned()),
            std::io::ErrorKind::PermissionDenied => ("open", "permission denied".to_owned()),
            std::io::ErrorKind::IsADirectory => ("read", "is a directory".to_owned()),
            std::io::ErrorKind::InvalidData => ("read", "it is not text in UTF-8".to_owned()),
            _ => ("read", error.to_string()),
        };
        refused(format!("{doing} {}: {why}", path.display()))
    })
}

/// Loads patch arguments: `@file`, or a patch in place.
fn patches(given: &[String], flag: &str, minor: &Minor, wrap: &str) -> Result<Vec<Patch>, Failure> {
    let load = |(at, text): (usize, &String)| {
        let (text, source) = match argument(text, minor) {
            Argument::File(path) => {
                let text = read(Path::new(path)).map_err(|failure| refused(format!("{wrap}{}", failure.message)))?;
                (text, PatchSource::File(path.to_owned()))
            }
            Argument::Content(text) => (text.to_owned(), PatchSource::Inline(format!("{flag} {}", at + 1))),
        };
        Patch::load(&text, source, minor).map_err(|error| wrong_patch(&error, None, wrap))
    };
    given.iter().enumerate().map(load).collect()
}

/// A patch that does not load or does not apply: Talos's words, then which patch, then what to write instead.
fn wrong_patch(error: &PatchError, applied: Option<(&[Patch], &Documents, &Minor)>, wrap: &str) -> Failure {
    let patches = applied.map(|(patches, ..)| patches);
    let config = applied.map(|(_, config, minor)| (config, minor));
    let failure = refused(format!("{wrap}{}", error.text)).hint(format!("it is the {}", error.place()));
    let patch = patches.into_iter().flatten().find(|patch| *patch.source() == error.patch && patch.is_json6902());
    match patch.zip(config).and_then(|(patch, (config, minor))| patch.strategic_form(config, minor)) {
        Some(Ok(parts)) => {
            let text = match parts.len() {
                0 | 1 => "the strategic patch with the same effect",
                _ => "the strategic patches with the same effect, one after the other",
            };
            failure.hint(format!("{text}:\n{}", parts.join("---\n")))
        }
        Some(Err(why)) => failure.hint(format!("write it as a strategic patch by hand: {why}")),
        None => failure,
    }
}

/// The Talos minor whose behaviour applies.
#[derive(clap::Args)]
struct Behaviour {
    /// The Talos minor whose behaviour applies [default: the newest that is known]
    #[arg(long, value_name = "1.N")]
    minor: Option<String>,
}

impl Behaviour {
    fn minor(&self) -> Result<Minor, Failure> {
        self.minor.as_deref().map_or(Ok(Minor::NEWEST), |text| Minor::parse(text).map_err(|error| refused(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(line: &str) -> String {
        let words = talosctl_spelling(line.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_str().expect("text")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_long_name_of_the_place_is_taken_too() {
        assert_eq!(spelled("p config gen a b --output dir"), "p config gen a b -o dir");
        assert_eq!(spelled("p config patch f --output=-"), "p config patch f --output-file=-");
        for kept in ["p config gen a b --output json", "p config validate --output x", "p plan --output x"] {
            assert_eq!(spelled(kept), kept);
        }
    }
}
