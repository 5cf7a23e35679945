//! The Image Factory's face.
//!
//! [`State`] decides, `face` translates. Everybody on the site asks the same
//! state: a Proxmox node that downloads an image, a machine that pulls an
//! installer, and a workstation over HTTPS.

mod face;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::digest;

use super::clock::{Clock, physics};
use super::image::Image;
use super::site::Site;

pub use face::serve;

/// Schematics that were posted, and assets that were built.
pub struct State {
    /// Host names (with a port where it is not 443) under which machines and nodes know the factory.
    hosts: Vec<String>,
    versions: Vec<String>,
    extensions: Vec<String>,
    schematics: BTreeMap<String, Schematic>,
    /// When each asset was, or will be, ready.
    built: BTreeMap<String, Duration>,
}

/// What a posted schematic says.
#[derive(Clone, Debug, Default)]
pub struct Schematic {
    /// Canonical.
    pub text: String,
    pub extensions: Vec<String>,
    pub kernel_args: Vec<String>,
}

/// A refusal: HTTP status and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub text: String,
}

impl Refusal {
    fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl State {
    pub fn new(site: &Site) -> Self {
        let mut state = Self {
            hosts: site.factory.hosts.clone(),
            versions: site.factory.versions.clone(),
            extensions: site.factory.extensions.clone(),
            schematics: BTreeMap::new(),
            built: BTreeMap::new(),
        };
        // The vanilla schematic is known to every factory that anybody has used before.
        state.post("customization: {}\n").expect("the vanilla schematic is valid");
        state
    }

    /// Stores a schematic and answers its id, the SHA-256 of its canonical text.
    pub fn post(&mut self, yaml: &str) -> Result<String, Refusal> {
        let parsed =
            crate::factory::Schematic::parse(yaml).map_err(|error| Refusal::new(400, format!("yaml: {error}")))?;
        // A text outside the client's own emitter is stored as it came: nobody can have computed its id.
        let text = parsed.canonical().unwrap_or_else(|_| yaml.to_owned());
        let id = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
        let schematic = Schematic {
            text,
            extensions: parsed.extensions().map(str::to_owned).collect(),
            kernel_args: parsed.kernel_args().map(str::to_owned).collect(),
        };
        self.schematics.insert(id.clone(), schematic);
        Ok(id)
    }

    pub fn schematic(&self, id: &str) -> Result<&Schematic, Refusal> {
        self.schematics.get(id).ok_or_else(|| Refusal::new(404, format!("schematic ID {id:?} not found")))
    }

    pub fn versions(&self) -> &[String] {
        &self.versions
    }

    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The factory is also known as this, from now on.
    pub fn add_host(&mut self, host: String) {
        self.hosts.push(host);
    }

    /// Whether a URL's authority (host, or host and port) is this factory.
    pub fn is_host(&self, authority: &str) -> bool {
        self.hosts.iter().any(|host| host == authority)
    }

    /// What the boot asset `file` of a schematic and version is, and when it is ready. Asking for it builds it.
    pub fn image(
        &mut self,
        schematic: &str,
        version: &str,
        file: &str,
        now: Duration,
        clock: Clock,
    ) -> Result<(Image, Duration), Refusal> {
        if [".sha256", ".sha512", ".sigstore.json"].iter().any(|suffix| file.ends_with(suffix)) {
            return Err(Refusal::new(402, "enterprise feature is not enabled"));
        }
        let (platform, secureboot) = boot_asset(file)?;
        let image = self.contents(schematic, version, platform, secureboot)?;
        let ready = self.build(format!("image/{schematic}/{}/{file}", image.version), now, clock);
        Ok((image, ready))
    }

    /// What an installer reference such as `factory.talos.dev/nocloud-installer/<id>:v1.12.4` puts on a disk, and
    /// when it can be pulled. The error is what a container runtime would say.
    pub fn installer(&mut self, reference: &str, now: Duration, clock: Clock) -> Result<(Image, Duration), String> {
        let wrong = || format!("invalid reference format: {reference:?}");
        let (host, rest) = reference.split_once('/').ok_or_else(wrong)?;
        let (name, version) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let (name, schematic) = name.split_once('/').ok_or_else(wrong)?;
        if !self.is_host(host) {
            return Err(format!("failed to do request: dial tcp: lookup {host}: no such host"));
        }
        self.installer_manifest(name, schematic, version, now, clock)
            .map_err(|refusal| format!("unexpected status {}: {}", refusal.status, refusal.text))
    }

    /// The same by its parts, as the registry's manifest URL has them.
    pub fn installer_manifest(
        &mut self,
        name: &str,
        schematic: &str,
        version: &str,
        now: Duration,
        clock: Clock,
    ) -> Result<(Image, Duration), Refusal> {
        let (platform, secureboot) = match name {
            // The old names are metal's.
            "installer" => ("metal", false),
            "installer-secureboot" => ("metal", true),
            _ => name
                .strip_suffix("-installer-secureboot")
                .map(|platform| (platform, true))
                .or_else(|| name.strip_suffix("-installer").map(|platform| (platform, false)))
                .ok_or_else(|| Refusal::new(404, "repository name not known to registry"))?,
        };
        let image = self.contents(schematic, version, platform, secureboot)?;
        let ready = self.build(format!("{name}/{schematic}/{}", image.version), now, clock);
        Ok((image, ready))
    }

    fn contents(&self, schematic: &str, version: &str, platform: &str, secureboot: bool) -> Result<Image, Refusal> {
        let id = schematic;
        let schematic = self.schematic(id)?;
        let version = format!("v{}", version.trim_start_matches('v'));
        if !self.versions.contains(&version) {
            return Err(Refusal::new(404, format!("version {version:?} is not available")));
        }
        if let Some(name) = schematic.extensions.iter().find(|name| !self.extensions.contains(name)) {
            let text = format!("official extension {name:?} is not available for Talos version {version}");
            return Err(Refusal::new(400, text));
        }
        Ok(Image {
            version,
            platform: platform.to_owned(),
            arch: "amd64".into(),
            secureboot,
            schematic: id.to_owned(),
            extensions: schematic.extensions.clone(),
            kernel_args: schematic.kernel_args.clone(),
        })
    }

    fn build(&mut self, asset: String, now: Duration, clock: Clock) -> Duration {
        *self.built.entry(asset).or_insert(now + clock.span(physics::FACTORY_BUILD))
    }
}

/// Platform and flavour of `<platform>-<arch>[-secureboot].<iso|raw…|qcow2>`.
fn boot_asset(file: &str) -> Result<(&str, bool), Refusal> {
    let bad = || Refusal::new(400, format!("invalid file name: {file}"));
    let (stem, suffix) = file.split_once('.').ok_or_else(bad)?;
    let known = ["iso", "raw", "raw.xz", "raw.zst", "raw.gz", "qcow2", "qcow2.xz", "qcow2.zst"];
    if !known.contains(&suffix) {
        return Err(bad());
    }
    let (stem, secureboot) = match stem.strip_suffix("-secureboot") {
        Some(stem) => (stem, true),
        None => (stem, false),
    };
    let platform = stem.strip_suffix("-amd64").filter(|platform| !platform.is_empty()).ok_or_else(bad)?;
    Ok((platform, secureboot))
}
