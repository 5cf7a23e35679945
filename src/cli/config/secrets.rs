//! `pvetalos config secrets`: the bundle that a cluster lives by. One that is there is not rewritten.

use std::path::{Path, PathBuf};

use super::super::failure::{Code, Failure};
use super::value::boolean;
use super::{multiple, place, read, refused};
use crate::machineconfig::{Bundle, BundleError, Contract, Documents, KubernetesPki, Pair};
use crate::secrets::Secret;

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(in crate::cli) struct Args {
    /// File to write; - is stdout
    #[arg(long, short = 'o', value_name = "FILE", default_value = "secrets.yaml")]
    output_file: PathBuf,
    /// The Talos version to make it for [default: the newest that is known]
    #[arg(long, value_name = "VERSION", default_value = "")]
    talos_version: String,
    /// Take the secrets out of a control plane's machine configuration
    #[arg(long, value_name = "FILE")]
    from_controlplane_config: Option<PathBuf>,
    /// Take the CAs of a Kubernetes that is there, as /etc/kubernetes/pki has them, and make the rest
    #[arg(long, short = 'p', value_name = "DIR")]
    from_kubernetes_pki: Option<PathBuf>,
    /// With --from-kubernetes-pki: its bootstrap token [default: a new one]
    #[arg(long, short = 't', value_name = "TOKEN")]
    kubernetes_bootstrap_token: Option<String>,
    /// Overwrite a file that is there
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.output_file.as_os_str() != place::STDOUT {
        place::vacant(&args.output_file, args.force)?;
    }
    let contract = contract(&args.talos_version)?;
    let bundle = match (&args.from_kubernetes_pki, &args.from_controlplane_config) {
        (Some(folder), _) => around(folder, args.kubernetes_bootstrap_token.as_deref(), &contract)?,
        (None, Some(path)) => out_of(path)?,
        (None, None) => Bundle::generate(&contract)
            .map_err(|error| Failure::of(Code::Defect, &error).hint("this computer gives no random numbers or keys"))?,
    };
    place::write(&args.output_file, bundle.to_yaml().expose())
}

fn out_of(path: &Path) -> Result<Bundle, Failure> {
    let load = |why: &dyn std::fmt::Display| refused(format!("failed to load controlplane config: {why}"));
    let text = read(path).map_err(|failure| load(&failure.message))?;
    let documents = Documents::parse(&text).map_err(|error| load(&error))?;
    Bundle::from_config(&documents).map_err(|error| {
        unusable(&error, "failed to create secrets bundle from controlplane config: ")
            .hint("only the configuration of a control plane holds every key")
    })
}

fn around(folder: &Path, token: Option<&str>, contract: &Contract) -> Result<Bundle, Failure> {
    const WHAT: &str = "failed to create secrets bundle: ";
    if !folder.is_dir() {
        let why = match folder.metadata() {
            Ok(_) => format!("{:?} is not a directory", folder.display().to_string()),
            Err(_) => format!("stat {}: no such file or directory", folder.display()),
        };
        return Err(refused(format!("{WHAT}{why}")));
    }
    let file = |name: &str| read(&folder.join(name)).map_err(|failure| refused(format!("{WHAT}{}", failure.message)));
    let pair = |stem: &str| {
        let (crt, key) = (file(&format!("{stem}.crt"))?, Secret::new(file(&format!("{stem}.key"))?));
        Ok::<_, Failure>(Pair { crt, key })
    };
    let pki = KubernetesPki {
        ca: pair("ca")?,
        etcd: pair("etcd/ca")?,
        front_proxy: pair("front-proxy-ca")?,
        service_account: Secret::new(file("sa.key")?),
    };
    let token = token.filter(|token| !token.is_empty()).map(Secret::new);
    Bundle::from_kubernetes_pki(pki, token, contract).map_err(|error| unusable(&error, WHAT))
}

/// What is wrong with a bundle, as talosctl lists it after `wrap`.
pub(super) fn unusable(error: &BundleError, wrap: &str) -> Failure {
    match error {
        BundleError::Invalid(problems) => refused(format!("{wrap}{}", multiple(problems))),
        other => refused(format!("{wrap}{}", super::super::failure::chain(other))),
    }
}

/// The contract that a version names; the newest when none is named.
pub(super) fn contract(version: &str) -> Result<Contract, Failure> {
    if version.is_empty() {
        return Ok(Contract::NEWEST);
    }
    Contract::parse(version).map_err(|error| refused(format!("invalid talos-version: {error}")))
}
