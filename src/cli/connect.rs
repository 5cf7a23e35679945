//! From a profile to open connections: the one place where token, trust and reach come together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

use super::failure::{Code, Failure};
use super::lab::{self, Access};
use super::{Global, home};
use crate::discovery::{Finder, Method};
use crate::factory::{Factory, FactoryOptions};
use crate::machineconfig::patch::Within;
use crate::machineconfig::{Minor, Patch, PatchSource};
use crate::plan::{Origin, PatchesByMachine, deadlines};
use crate::profile::{self, Endpoints, Mode, PatchRef, Profile, SecretRef, Tls};
use crate::pve::{Fingerprint, Options, Pve, Trust};
use crate::reach::Reach;
use crate::secrets::{Provider, Token, env};
use crate::steps::mark::Mark;
use crate::steps::{Toolbox, Turns, Vault};

/// Which profile, and whether on the simulated site.
#[derive(clap::Args, Clone)]
pub(super) struct Target {
    /// Name of a profile in ./profiles or the config directory, or a path
    #[arg(long, short, value_name = "NAME")]
    pub profile: String,
    /// Use the simulated site, dressed as the profile describes, instead of the real one
    #[arg(long)]
    pub lab: bool,
}

/// Where the contexts go.
#[derive(clap::Args, Clone, Default)]
pub(super) struct Files {
    /// Merge the Kubernetes context into this file [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Merge the Talos context into this file [default: $TALOSCONFIG or ~/.talos/config]
    #[arg(long, value_name = "FILE")]
    pub talosconfig: Option<PathBuf>,
}

impl Target {
    /// Loads the profile.
    pub(super) fn load(&self) -> Result<Profile, Failure> {
        Ok(profile::load(&self.profile, &super::profile_dirs())?)
    }

    /// The same target, from what a journal remembers.
    pub(super) fn remembered(origin: &Origin) -> Self {
        Self { profile: origin.profile.display().to_string(), lab: origin.lab }
    }
}

/// Open connections to a site.
pub(super) struct Connection {
    pub pve: Pve,
    pub factory: Factory,
    pub reach: Reach,
    /// The site is the lab.
    pub lab: Option<Access>,
    pub origin: Origin,
}

impl Connection {
    /// Connects to the site of `profile`. `start_lab` says what becomes of a lab that is not running.
    pub(super) async fn open(
        global: &Global,
        profile: &Profile,
        lab: bool,
        start_lab: lab::WhenAbsent,
    ) -> Result<Self, Failure> {
        let on_lab = lab || profile.proxmox.endpoints == Endpoints::Lab;
        let access = if on_lab { Some(lab::access(global, profile, start_lab).await?) } else { None };
        let options = match &access {
            Some(access) => access.pve_options()?,
            None => real_site(profile).await?,
        };
        let pve = Pve::connect(options).await?;
        let public = profile.talos.factory.url.clone();
        let factory = match &access {
            Some(access) => FactoryOptions {
                base: access.info.factory.clone(),
                public,
                ca: Some(access.info.ca_pem.clone().into_bytes()),
            },
            None => FactoryOptions { base: public.clone(), public, ca: None },
        };
        let factory = Factory::new(factory).map_err(|error| Failure::of(Code::Refused, &error))?;
        let reach = access.as_ref().map_or(Reach::Direct, |access| access.info.reach);
        let file = std::path::absolute(&profile.file).unwrap_or_else(|_| profile.file.clone());
        Ok(Self { pve, factory, reach, lab: access, origin: Origin { profile: file, lab } })
    }

    /// Everything that steps work with to make a cluster: the patches as well.
    pub(super) fn full_toolbox(
        &self,
        profile: &Profile,
        mark: Mark,
        state_dir: &Path,
        files: &Files,
    ) -> Result<Toolbox, Failure> {
        Ok(Toolbox { patches: patches(profile)?, ..self.toolbox(profile, mark, state_dir, files) })
    }

    /// Everything that steps work with to look at a cluster and to take it away: a patch that was broken since it was
    /// made is no hindrance.
    pub(super) fn toolbox(&self, profile: &Profile, mark: Mark, state_dir: &Path, files: &Files) -> Toolbox {
        let method = match profile.network.mode {
            Mode::Dhcp => Method::Sweep,
            Mode::Static => Method::Static,
        };
        Toolbox {
            pve: self.pve.clone(),
            factory: self.factory.clone(),
            finder: Finder::new(self.reach, profile.network.cidr, method),
            reach: self.reach,
            turns: Turns::default(),
            vault: Vault::new(self.vault(profile, state_dir)),
            mark,
            deadlines: deadlines(profile),
            patches: BTreeMap::new(),
            kubeconfig: files.kubeconfig.clone().or_else(default_kubeconfig).map(absolute),
            talosconfig: files.talosconfig.clone().or_else(default_talosconfig).map(absolute),
        }
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// `$KUBECONFIG` if it names exactly one file, as `talosctl kubeconfig` has it.
fn default_kubeconfig() -> Option<PathBuf> {
    let named = env::var("KUBECONFIG").filter(|paths| !paths.is_empty());
    match named {
        Some(paths) => std::env::split_paths(&paths).find(|path| !path.as_os_str().is_empty()),
        None => home().map(|home| home.join(".kube").join("config")),
    }
}

fn default_talosconfig() -> Option<PathBuf> {
    match env::var("TALOSCONFIG").filter(|path| !path.is_empty()) {
        Some(path) => Some(path.into()),
        None => home().map(|home| home.join(".talos").join("config")),
    }
}

/// The provider that a profile's reference means.
pub(super) fn provider(reference: &SecretRef) -> Provider {
    match reference.clone() {
        SecretRef::Pass(entry) => Provider::Pass { entry },
        SecretRef::Keyring(entry) => Provider::Keyring { entry },
        SecretRef::Env(name) => Provider::Env { name },
        SecretRef::File(path) => Provider::File { path },
        SecretRef::Command(argv) => Provider::Command { argv },
    }
}

impl Connection {
    /// Where the secrets bundle is kept. A rehearsal on the lab must not touch the real cluster's.
    pub(super) fn vault(&self, profile: &Profile, state_dir: &Path) -> Provider {
        if self.origin.lab { bundle_file(profile, state_dir) } else { vault(profile, state_dir) }
    }
}

/// Where the bundle of a rehearsal on the lab is kept.
pub(super) fn bundle_file(profile: &Profile, state_dir: &Path) -> Provider {
    Provider::File { path: crate::engine::Journal::directory(state_dir, &profile.name).join("secrets.yaml") }
}

/// Where the secrets bundle is kept: as the profile says, else in the same kind of store as the token, else in a file.
pub(super) fn vault(profile: &Profile, state_dir: &Path) -> Provider {
    let entry = || format!("{}/talos/secrets", profile.name);
    match (&profile.talos.secrets, &profile.proxmox.token) {
        (Some(reference), _) => provider(reference),
        (None, Some(SecretRef::Pass(_))) => Provider::Pass { entry: entry() },
        (None, Some(SecretRef::Keyring(_))) => Provider::Keyring { entry: entry() },
        (None, Some(SecretRef::Env(_) | SecretRef::File(_) | SecretRef::Command(_)) | None) => {
            bundle_file(profile, state_dir)
        }
    }
}

/// Reads the token, once a run.
pub(super) async fn token(profile: &Profile) -> Result<Token, Failure> {
    let Some(reference) = &profile.proxmox.token else {
        return Err(Failure::new(Code::Usage, "the profile names no token (proxmox.token)"));
    };
    let provider = provider(reference);
    let refused = |error: &dyn std::error::Error| {
        let message = format!("cannot get the Proxmox token: {}", super::failure::chain(error));
        Failure::new(Code::Refused, message)
            .hint(format!("try it with: pvetalos token check --profile {}", profile.name))
    };
    let text = provider.read().await.map_err(|error| refused(&error))?;
    Token::parse(&text).map_err(|error| refused(&error))
}

async fn real_site(profile: &Profile) -> Result<Options, Failure> {
    let endpoints: Vec<Url> = match &profile.proxmox.endpoints {
        Endpoints::Urls(urls) => urls.clone(),
        Endpoints::Lab => Vec::new(),
    };
    let trust = match &profile.proxmox.tls {
        Tls::SystemRoots => Trust::SystemRoots,
        Tls::Ca(path) => Trust::Ca(std::fs::read(path).map_err(|error| {
            Failure::new(Code::Usage, format!("cannot read the CA file {}: {error}", path.display()))
        })?),
        Tls::Fingerprint(bytes) => Trust::Fingerprint(Fingerprint(*bytes)),
    };
    Ok(Options { endpoints, token: token(profile).await?, trust })
}

fn source(patch: &PatchRef) -> PatchSource {
    match patch.within.clone() {
        Some((file, line)) => PatchSource::Within(Box::new(Within { file, line, lines: patch.lines.clone() })),
        None => PatchSource::File(patch.origin.clone()),
    }
}

/// Every machine's patches, loaded for the Talos that will read them.
pub(super) fn patches(profile: &Profile) -> Result<PatchesByMachine, Failure> {
    let minor = Minor::parse(&profile.talos.version).map_err(|error| Failure::of(Code::Usage, &error))?;
    let mut all = BTreeMap::new();
    for machine in &profile.machines {
        let loaded: Result<Vec<Patch>, _> = profile
            .patches_for(machine)
            .map(|patch| {
                let loaded = Patch::load(&patch.text, source(patch), &minor);
                loaded.and_then(|loaded| loaded.heard(&patch.text))
            })
            .collect();
        all.insert(machine.name.clone(), loaded.map_err(|error| Failure::of(Code::Usage, &error))?);
    }
    Ok(all)
}

impl Connection {
    /// What is to be done when a cluster is gone: a lab that was started for it goes too.
    pub(super) async fn after_destroy(&self, global: &Global) {
        if self.lab.is_some() {
            lab::stop_if_implicit(global).await;
        }
    }
}
