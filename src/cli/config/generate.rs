//! `pvetalos config gen`: configurations of both roles and a talosconfig.

use std::path::{Path, PathBuf};

use super::super::failure::{Code, Failure};
use super::super::say;
use super::input::Flags;
use super::secrets::contract;
use super::{patches, place, read, refused, wrong_patch};
use crate::inventory::Role;
use crate::machineconfig::{Bundle, Contract, Documents, Minor, Patch, apply, check_endpoint, generate, talosconfig};

#[derive(clap::Args)]
#[command(disable_version_flag = true)]
pub(in crate::cli) struct Args {
    /// The cluster's name
    #[arg(value_name = "NAME")]
    name: String,
    /// URL of the Kubernetes API, as https://10.0.0.10:6443
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// Use this secrets bundle instead of making one
    #[arg(long, value_name = "FILE")]
    with_secrets: Option<PathBuf>,
    /// The Talos version to make configurations for [default: the newest that is known]
    #[arg(long, value_name = "VERSION", default_value = "")]
    talos_version: String,
    /// What to make: controlplane, worker, talosconfig
    #[arg(
        long,
        short = 't',
        value_name = "TYPES",
        value_delimiter = ',',
        default_value = "controlplane,worker,talosconfig"
    )]
    output_types: Vec<String>,
    /// File (of one type) or directory to write; - is stdout [default: the working directory]
    #[arg(long, short = 'o', alias = "output-dir", value_name = "PATH")]
    output_file: Option<PathBuf>,
    /// Overwrite files that are there
    #[arg(long, short)]
    force: bool,
    /// A patch for all machines, or a file of one as @FILE
    #[arg(long, value_name = "PATCH", allow_hyphen_values = true)]
    config_patch: Vec<String>,
    /// A patch for control planes
    #[arg(long, value_name = "PATCH", allow_hyphen_values = true)]
    config_patch_control_plane: Vec<String>,
    /// A patch for workers
    #[arg(long, value_name = "PATCH", allow_hyphen_values = true)]
    config_patch_worker: Vec<String>,
    /// The version of the format, of which there is one
    #[arg(long = "version", value_name = "VERSION", default_value = "v1alpha1", hide = true)]
    format: String,
    /// Comments, which are never written here
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, hide = true)]
    with_docs: Option<bool>,
    /// Examples, which are never written here
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, hide = true)]
    with_examples: Option<bool>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Machine(Role),
    Talosconfig,
}

impl Kind {
    fn parse(word: &str) -> Result<Self, Failure> {
        match word {
            "controlplane" => Ok(Self::Machine(Role::ControlPlane)),
            "worker" => Ok(Self::Machine(Role::Worker)),
            "talosconfig" => Ok(Self::Talosconfig),
            _ => Err(refused(format!("invalid output type: {word:?}"))),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Machine(Role::ControlPlane) => "controlplane.yaml",
            Self::Machine(Role::Worker) => "worker.yaml",
            Self::Talosconfig => "talosconfig",
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.format != "v1alpha1" {
        return Err(refused(format!("unknown config version: {:?}", args.format)));
    }
    let outputs = args.outputs()?;
    for (_, path) in outputs.iter().filter(|(_, path)| path.as_os_str() != place::STDOUT) {
        place::vacant(path, args.force)?;
    }
    check_endpoint(&args.endpoint).map_err(refused)?;
    let contract = contract(&args.talos_version)?;
    let bundle = args.bundle(&contract)?;
    let made = args.machines(&contract, &bundle)?;
    for (kind, path) in outputs {
        match kind {
            Kind::Talosconfig => {
                let admin = talosconfig::admin(&bundle, &args.name, Vec::new(), Vec::new());
                let admin = admin.map_err(|error| Failure::of(Code::Usage, &error))?;
                place::write(&path, admin.to_yaml().expose())?;
            }
            Kind::Machine(role) => {
                let documents = made.iter().find(|(of, _)| *of == role).expect("both roles are made");
                place::write(&path, &documents.1.to_yaml())?;
            }
        }
        if path.as_os_str() != place::STDOUT {
            say(&format!("Created {}", path.display()));
        }
    }
    Ok(())
}

impl Args {
    fn outputs(&self) -> Result<Vec<(Kind, PathBuf)>, Failure> {
        let mut kinds = Vec::new();
        for word in self.output_types.iter().filter(|word| !word.is_empty()) {
            let kind = Kind::parse(word)?;
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let place = self.output_file.as_deref().unwrap_or(Path::new("."));
        match kinds.as_slice() {
            [] => Err(refused("at least one output type must be specified")),
            [one]
                if place.as_os_str() == place::STDOUT
                    || !(place.is_dir() || place.as_os_str().to_string_lossy().ends_with('/')) =>
            {
                Ok(vec![(*one, place.to_owned())])
            }
            [_, _, ..] if place.as_os_str() == place::STDOUT => {
                Err(refused("can't use multiple output types with stdout"))
            }
            all => Ok(all.iter().map(|kind| (*kind, place.join(kind.file()))).collect()),
        }
    }

    fn bundle(&self, contract: &Contract) -> Result<Bundle, Failure> {
        match &self.with_secrets {
            Some(path) => Bundle::parse(&read(path)?).map_err(|error| {
                refused(super::super::failure::chain(&error)).hint(format!("it is {}", path.display()))
            }),
            None => Bundle::generate(contract).map_err(|error| Failure::of(Code::Defect, &error)),
        }
    }

    /// Both roles, whatever is asked for: a patch that fails on one of them fails, as it does in talosctl.
    fn machines(&self, contract: &Contract, bundle: &Bundle) -> Result<Vec<(Role, Documents)>, Failure> {
        let minor = Minor::NEWEST;
        let input = self.flags.input(&self.name, &self.endpoint, &self.talos_version)?;
        let load = |given: &[String]| patches(given, &minor, "error parsing config JSON patch: ");
        let all = load(&self.config_patch)?;
        let roles = [
            (Role::ControlPlane, load(&self.config_patch_control_plane)?, "error patching control plane configs: "),
            (Role::Worker, load(&self.config_patch_worker)?, "error patching worker config: "),
        ];
        let patched = |documents: &Documents, patches: &[Patch], wrap: &str| {
            apply(documents, patches, &minor)
                .map_err(|error| wrong_patch(&error, Some((patches, documents, &minor)), wrap))
        };
        let mut made = Vec::new();
        for (role, own, wrap) in roles {
            let generated = generate(contract, bundle, role, &input)
                .map_err(|error| refused(super::super::failure::chain(&error)))?;
            let generated = patched(&generated, &all, "error patching configs: ")?;
            made.push((role, patched(&generated, &own, wrap)?));
        }
        Ok(made)
    }
}
