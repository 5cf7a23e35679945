//! `pvetalos config gen`: configurations of both roles and a talosconfig.

use std::path::{Path, PathBuf};

use super::super::failure::{Code, Failure};
use super::super::say;
use super::input::Flags;
use super::secrets::{contract, unusable};
use super::value::{List, boolean, list};
use super::{multiple, patches, place, read, refused, wrong_patch};
use crate::inventory::Role;
use crate::machineconfig::{
    Bundle, BundleError, Contract, Documents, Input, Minor, Patch, apply, check_endpoint, generate, quoted, talosconfig,
};

#[derive(clap::Args)]
#[command(disable_version_flag = true, args_override_self = true)]
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
    /// What to make: controlplane, worker, talosconfig; or init, a control plane that bootstraps itself
    #[arg(
        long,
        short = 't',
        value_name = "TYPES",
        default_value = "controlplane,worker,talosconfig",
        value_parser = list
    )]
    output_types: Vec<List>,
    /// File (of one type) or directory to write; - is stdout [default: the working directory]
    #[arg(long, short = 'o', value_name = "PATH")]
    output_file: Option<PathBuf>,
    /// The old name of --output, always a directory
    #[arg(long, value_name = "DIR", hide = true)]
    output_dir: Option<PathBuf>,
    /// Overwrite files that are there
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
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
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set, hide = true)]
    with_docs: Option<bool>,
    /// Examples, which are never written here
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set, hide = true)]
    with_examples: Option<bool>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Init,
    ControlPlane,
    Worker,
    Talosconfig,
}

impl Kind {
    /// In the order in which they are written.
    const ALL: [Self; 4] = [Self::Init, Self::ControlPlane, Self::Worker, Self::Talosconfig];

    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "init" => Ok(Self::Init),
            "controlplane" => Ok(Self::ControlPlane),
            "worker" => Ok(Self::Worker),
            "talosconfig" => Ok(Self::Talosconfig),
            _ => Err(format!("invalid output type: {}", quoted(word))),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Init => "init.yaml",
            Self::ControlPlane => "controlplane.yaml",
            Self::Worker => "worker.yaml",
            Self::Talosconfig => "talosconfig",
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    check_endpoint(&args.endpoint).map_err(refused)?;
    if args.format != "v1alpha1" {
        return Err(refused(format!("unknown config version: {}", quoted(&args.format))));
    }
    let outputs = args.outputs()?;
    args.flags.mirrors()?;
    let contract = contract(&args.talos_version)?;
    let bundle = args.bundle(&contract)?;
    let made = args.machines(&contract, &bundle)?;
    for (_, path) in outputs.iter().filter(|(_, path)| path.as_os_str() != place::STDOUT) {
        place::vacant(path, args.force)?;
    }
    for (kind, path) in outputs {
        if let Some((_, documents)) = made.iter().find(|(of, _)| *of == kind) {
            place::write(&path, &documents.to_yaml())?;
        } else {
            let admin = talosconfig::admin(&bundle, &args.name, Vec::new(), Vec::new());
            let admin = admin.map_err(|error| Failure::of(Code::Usage, &error))?;
            place::write(&path, admin.to_yaml().expose())?;
        }
        if path.as_os_str() != place::STDOUT {
            say(&format!("Created {}", path.display()));
        }
    }
    Ok(())
}

impl Args {
    fn outputs(&self) -> Result<Vec<(Kind, PathBuf)>, Failure> {
        let words = List::joined(&self.output_types);
        let given = self.output_file.as_deref().filter(|path| !path.as_os_str().is_empty());
        let place = given.unwrap_or(Path::new("."));
        if words.is_empty() {
            return Err(refused("at least one output type must be specified"));
        }
        if words.len() > 1 && place.as_os_str() == place::STDOUT {
            return Err(refused("can't use multiple output types with stdout"));
        }
        if self.output_dir.is_some() && given.is_some() {
            return Err(refused("can't use both output-dir and output"));
        }
        let (kinds, wrong): (Vec<_>, Vec<_>) = words.iter().map(|word| Kind::parse(word)).partition(Result::is_ok);
        if !wrong.is_empty() {
            return Err(refused(multiple(&wrong.into_iter().filter_map(Result::err).collect::<Vec<_>>())));
        }
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kinds.contains(&Ok(*kind))).collect();
        let folder = self.output_dir.as_deref();
        let is_folder = |path: &Path| path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/');
        match kinds.as_slice() {
            [one] if folder.is_none() && !is_folder(place) => Ok(vec![(*one, place.to_owned())]),
            all => Ok(all.iter().map(|kind| (*kind, folder.unwrap_or(place).join(kind.file()))).collect()),
        }
    }

    fn bundle(&self, contract: &Contract) -> Result<Bundle, Failure> {
        let Some(path) = &self.with_secrets else {
            return Bundle::generate(contract).map_err(|error| Failure::of(Code::Defect, &error));
        };
        let load = |why: &str| refused(format!("failed to load secrets bundle: {why}"));
        let text = read(path).map_err(|failure| load(&failure.message))?;
        Bundle::parse(&text).map_err(|error| {
            let failure = match &error {
                BundleError::Invalid(_) => unusable(&error, "failed to validate secrets bundle: "),
                BundleError::Empty => load("EOF"),
                other => load(&super::super::failure::chain(other)),
            };
            failure.hint(format!("it is {}", path.display()))
        })
    }

    /// Every kind, whatever is asked for, and patched in the order that talosctl has, the one that bootstraps first: a
    /// patch that fails on one of them fails.
    fn machines(&self, contract: &Contract, bundle: &Bundle) -> Result<Vec<(Kind, Documents)>, Failure> {
        const WRAP: &str = "failed to generate config bundle: ";
        let minor = Minor::NEWEST;
        let load = |given: &[String], flag: &str| patches(given, flag, &minor, "error parsing config JSON patch: ");
        let all = load(&self.config_patch, "--config-patch")?;
        let control_plane = load(&self.config_patch_control_plane, "--config-patch-control-plane")?;
        let worker = load(&self.config_patch_worker, "--config-patch-worker")?;
        let input = self.flags.input(&self.name, &self.endpoint, &self.talos_version)?;
        let mut made = Vec::new();
        for kind in [Kind::Init, Kind::ControlPlane, Kind::Worker] {
            let role = if kind == Kind::Worker { Role::Worker } else { Role::ControlPlane };
            let input = Input { init: kind == Kind::Init, ..input.clone() };
            let documents = generate(contract, bundle, role, &input)
                .map_err(|error| refused(format!("{WRAP}{}", super::super::failure::chain(&error))))?;
            made.push((kind, documents));
        }
        let mut patch = |patches: &[Patch], kinds: &[Kind], wrap: &str| {
            for (_, documents) in made.iter_mut().filter(|(kind, _)| kinds.contains(kind)) {
                *documents = apply(documents, patches, &minor).map_err(|error| {
                    wrong_patch(&error, Some((patches, documents, &minor)), &format!("{WRAP}{wrap}"))
                })?;
            }
            Ok::<_, Failure>(())
        };
        patch(&all, &[Kind::Init, Kind::ControlPlane, Kind::Worker], "error patching configs: ")?;
        patch(&control_plane, &[Kind::Init, Kind::ControlPlane], "error patching control plane configs: ")?;
        patch(&worker, &[Kind::Worker], "error patching worker config: ")?;
        Ok(made)
    }
}
