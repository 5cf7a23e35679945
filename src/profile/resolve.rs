//! The second gate: defaults, machine → role → global, and the files that the profile names.
//!
//! A problem here never stops the reading: the field gets a harmless value, the
//! problem is kept, and the rules still see everything else.

mod machines;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use url::Url;

use super::error::Problem;
use super::forms::{Endpoint, Leaf, Span, Word};
use super::raw::{RawDeadlines, RawFactory, RawNetwork, RawPatch, RawProfile, RawProxmox, RawSecret, RawTalos, RawTls};
use super::tree::{Place, element};
use super::types::{
    Cni, Deadlines, Endpoints, Factory, Mode, Network, PatchRef, Patches, Profile, Proxmox, SchematicRef, SecretRef,
    Talos, Tls,
};

/// What is found on the way: problems, warnings, and where each machine stands in the file.
pub(super) struct Draft {
    file: PathBuf,
    places: HashMap<String, Place>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
    /// `nodes.controlplane.assignments[0]`, one for each machine of the profile.
    pub machines: Vec<String>,
}

impl Draft {
    /// Whether the file gives a value for `path`.
    pub(super) fn given(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Whether there is a problem at `path` already.
    pub(super) fn complained(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| problem.path == path)
    }

    /// Keeps a problem. A path that the file does not have gets the place of its nearest parent.
    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) {
        let path = path.into();
        let mut known = path.as_str();
        while !self.places.contains_key(known) && !known.is_empty() {
            known = &known[..known.rfind(['.', '[']).unwrap_or(0)];
        }
        let place = self.places.get(known).copied();
        let problem = Problem {
            path,
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            message: message.into(),
            fix: fix.into(),
        };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// The text of the file that `field` names; a problem and nothing when it cannot be read.
    fn text(&mut self, field: &str, path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_else(|error| {
            self.problem(
                field,
                format!("names {}, which cannot be read: {error}", path.display()),
                "paths begin at the profile's directory",
            );
            String::new()
        })
    }
}

/// Applies defaults and reads the named files.
pub(super) fn resolve(raw: RawProfile, file: &Path, places: HashMap<String, Place>) -> (Profile, Draft) {
    let mut draft =
        Draft { file: file.to_owned(), places, problems: Vec::new(), warnings: Vec::new(), machines: Vec::new() };
    let machines = machines::resolve(raw.nodes, &mut draft);
    let talos = talos(raw.talos, &mut draft);
    let first = machines.first().map(|machine| machine.ip);
    let network = network(raw.network, talos.vip.or(first), &mut draft);
    let profile = Profile {
        name: raw.name.0.0,
        file: file.to_owned(),
        disposable: raw.disposable,
        proxmox: proxmox(raw.proxmox, &mut draft),
        talos,
        network,
        deadlines: deadlines(&raw.deadlines),
        machines,
        warnings: Vec::new(),
    };
    (profile, draft)
}

fn proxmox(raw: RawProxmox, draft: &mut Draft) -> Proxmox {
    let word = |leaf: Option<Leaf<Word>>, default: &str| leaf.map_or(default.to_owned(), |leaf| leaf.0.0);
    let count = raw.endpoints.len();
    let urls: Vec<Url> = raw
        .endpoints
        .into_iter()
        .filter_map(|endpoint| match endpoint.0 {
            Endpoint::Lab => None,
            Endpoint::Url(url) => Some(url),
        })
        .collect();
    if !urls.is_empty() && urls.len() < count {
        draft.problem(
            "proxmox.endpoints",
            "mixes lab with real endpoints",
            "give [lab] alone for the simulated site, or URLs alone",
        );
    }
    let endpoints = if urls.is_empty() { Endpoints::Lab } else { Endpoints::Urls(urls) };
    if endpoints != Endpoints::Lab && raw.token.is_none() {
        draft.problem(
            "proxmox.token",
            "is missing",
            "give one of { pass: … }, { keyring: … }, { env: … }, { file: … }, { command: [ … ] }",
        );
    }
    Proxmox {
        endpoints,
        token: raw.token.and_then(|token| secret(token, "proxmox.token", draft)),
        tls: tls(raw.tls, draft),
        image_storage: raw.storage.image.0.0,
        disk_storage: raw.storage.disk.0.0,
        bridge: word(raw.bridge, "vmbr0"),
        vlan: raw.vlan,
        pool: raw.pool.map(|pool| pool.0.0),
        cpu: word(raw.cpu, "x86-64-v2-AES"),
        scsihw: word(raw.scsihw, "virtio-scsi-pci"),
        vmid_start: raw.vmid_start,
    }
}

fn tls(raw: RawTls, draft: &mut Draft) -> Tls {
    match (raw.fingerprint, raw.ca) {
        (Some(fingerprint), _) => Tls::Fingerprint(fingerprint.0.0),
        (None, Some(ca)) => {
            let path = draft.beside(&ca);
            draft.text("proxmox.tls.ca", &path);
            Tls::Ca(path)
        }
        (None, None) => Tls::SystemRoots,
    }
}

/// The shape gate has seen to it that there is exactly one key.
fn secret(raw: RawSecret, path: &str, draft: &mut Draft) -> Option<SecretRef> {
    let found = match raw {
        RawSecret { pass: Some(entry), .. } => SecretRef::Pass(entry),
        RawSecret { keyring: Some(entry), .. } => SecretRef::Keyring(entry),
        RawSecret { env: Some(name), .. } => SecretRef::Env(name),
        RawSecret { file: Some(file), .. } => SecretRef::File(draft.beside(&file)),
        RawSecret { command: Some(words), .. } => SecretRef::Command(words),
        RawSecret { pass: None, keyring: None, env: None, file: None, command: None } => {
            draft.problem(path, "is empty", "give one of pass, keyring, env, file, command");
            return None;
        }
    };
    let empty = match &found {
        SecretRef::Pass(text) | SecretRef::Keyring(text) | SecretRef::Env(text) => text.is_empty(),
        SecretRef::File(file) => file.file_name().is_none(),
        SecretRef::Command(words) => words.first().is_none_or(String::is_empty),
    };
    if empty {
        draft.problem(path, "names nothing", "say which entry, variable, file or program holds the secret");
    }
    Some(found)
}

fn talos(raw: RawTalos, draft: &mut Draft) -> Talos {
    if let Some(interface) = raw.vip.as_ref().and_then(|vip| vip.interface.as_deref()) {
        draft.warn(format!(
            "talos.vip.interface is {interface} and is not used: the card is found by its MAC, whatever its name."
        ));
    }
    let secrets = raw.secrets.and_then(|secrets| secret(secrets, "talos.secrets", draft));
    Talos {
        version: raw.version.0.0,
        kubernetes_version: raw.kubernetes_version.0.0,
        secureboot: raw.secureboot.unwrap_or(true),
        platform: raw.platform.map_or_else(|| "nocloud".to_owned(), |platform| platform.0.0),
        contract: raw.contract.map(|contract| contract.0.0),
        factory: factory(raw.factory, draft),
        vip: raw.vip.map(|vip| vip.ip.0),
        secrets,
        install_disk: raw.install_disk.map_or_else(|| "/dev/sda".to_owned(), |disk| disk.0.0),
        patches: Patches {
            all: patches(raw.patches.all, "talos.patches.all", draft),
            controlplane: patches(raw.patches.controlplane, "talos.patches.controlplane", draft),
            worker: patches(raw.patches.worker, "talos.patches.worker", draft),
        },
    }
}

fn factory(raw: RawFactory, draft: &mut Draft) -> Factory {
    const KEYS: [&str; 4] = ["schematic", "schematic_id", "kernel_args", "extensions"];
    let given: Vec<&str> = KEYS.into_iter().filter(|key| draft.given(&format!("talos.factory.{key}"))).collect();
    let inline = raw.kernel_args.is_some() || raw.extensions.is_some();
    let ways = usize::from(raw.schematic.is_some()) + usize::from(raw.schematic_id.is_some()) + usize::from(inline);
    if ways > 1 {
        draft.problem(
            "talos.factory",
            format!("has {} together, and each describes the whole image", given.join(" and ")),
            "keep one: schematic, schematic_id, or kernel_args with extensions",
        );
    }
    let schematic = if let Some(id) = raw.schematic_id {
        SchematicRef::Id(id.0.0)
    } else if let Some(file) = raw.schematic {
        let path = draft.beside(&file);
        let text = draft.text("talos.factory.schematic", &path);
        SchematicRef::File { path, text }
    } else if inline {
        let (kernel_args, extensions) = (raw.kernel_args.unwrap_or_default(), raw.extensions.unwrap_or_default());
        SchematicRef::Inline { kernel_args, extensions }
    } else {
        SchematicRef::Inline { kernel_args: Vec::new(), extensions: vec!["siderolabs/qemu-guest-agent".to_owned()] }
    };
    let public = || Url::parse("https://factory.talos.dev").expect("a constant URL parses");
    Factory { url: raw.url.map_or_else(public, |url| url.0), schematic }
}

fn patches(raw: Vec<RawPatch>, path: &str, draft: &mut Draft) -> Vec<PatchRef> {
    raw.into_iter().enumerate().map(|(index, patch)| self::patch(patch, &element(path, index), draft)).collect()
}

/// Text with a line break is a patch, text without one is a path.
fn patch(raw: RawPatch, path: &str, draft: &mut Draft) -> PatchRef {
    let line = draft.places.get(path).map_or(0, |(line, _)| *line);
    let here = format!("{}:{line}", draft.file.display());
    let within = Some((draft.file.display().to_string(), usize::try_from(line).unwrap_or_default()));
    match raw.0 {
        serde_json::Value::String(text) if text.contains('\n') => {
            PatchRef { origin: here, text, within, lines: BTreeMap::new() }
        }
        serde_json::Value::String(file) => {
            let file = draft.beside(&file);
            let text = draft.text(path, &file);
            PatchRef { origin: file.display().to_string(), text, within: None, lines: BTreeMap::new() }
        }
        inline => {
            let text = serde_saphyr::to_string(&inline).expect("a tree that was read from YAML can be written as YAML");
            let below = draft.places.iter().filter_map(|(place, (line, _))| {
                let rest = place.strip_prefix(path).filter(|rest| rest.starts_with(['.', '[']))?;
                let rest = rest.strip_prefix('.').unwrap_or(rest);
                Some((rest.to_owned(), usize::try_from(*line).unwrap_or_default()))
            });
            PatchRef { origin: here, text, within, lines: below.collect() }
        }
    }
}

fn network(raw: RawNetwork, endpoint: Option<Ipv4Addr>, draft: &mut Draft) -> Network {
    let net = |text: &str| text.parse::<Ipv4Net>().expect("a constant network parses");
    if raw.api_endpoint.is_none() && endpoint.is_none() {
        draft.problem("network.api_endpoint", "is missing", "give it, or talos.vip.ip, or a control plane");
    }
    Network {
        cidr: raw.cidr.0,
        gateway: raw.gateway.0,
        dns: raw.dns.into_iter().map(|dns| dns.0).collect(),
        ntp: raw.ntp.into_iter().map(|ntp| ntp.0.0).collect(),
        mode: raw.mode.unwrap_or(Mode::Dhcp),
        api_endpoint: raw
            .api_endpoint
            .map_or_else(|| endpoint.map(|ip| ip.to_string()).unwrap_or_default(), |endpoint| endpoint.0.0),
        pod_cidr: raw.pod_cidr.map_or_else(|| net("10.244.0.0/16"), |cidr| cidr.0),
        service_cidr: raw.service_cidr.map_or_else(|| net("10.96.0.0/12"), |cidr| cidr.0),
        cni: raw.cni.unwrap_or(Cni::Flannel),
    }
}

fn deadlines(raw: &RawDeadlines) -> Deadlines {
    let default = Deadlines::default();
    let or = |span: &Option<Leaf<Span>>, default| span.as_ref().map_or(default, |span| span.0.0);
    Deadlines {
        maintenance: or(&raw.maintenance, default.maintenance),
        install: or(&raw.install, default.install),
        bootstrap: or(&raw.bootstrap, default.bootstrap),
        health: or(&raw.health, default.health),
        image: or(&raw.image, default.image),
        installer: or(&raw.installer, default.installer),
        task: or(&raw.task, default.task),
    }
}
