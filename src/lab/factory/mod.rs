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
use super::tls::SiteCa;

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
    /// Signs the kernel images of SecureBoot assets.
    signing: SiteCa,
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
            signing: SiteCa::new("pvetalos lab SecureBoot signing"),
        };
        // The vanilla schematic is known to every factory that anybody has used before.
        state.post("customization: {}\n").expect("the vanilla schematic is valid");
        state
    }

    /// Stores a schematic and answers its id, the SHA-256 of its canonical text.
    pub fn post(&mut self, yaml: &str) -> Result<String, Refusal> {
        if yaml.trim().is_empty() {
            return Err(Refusal::new(400, "EOF"));
        }
        let parsed =
            crate::factory::Schematic::parse(yaml).map_err(|error| Refusal::new(400, format!("yaml: {error}")))?;
        if parsed.has_owner() {
            return Err(Refusal::new(400, "owner field is only supported in Enterprise edition"));
        }
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

    /// PEM.
    pub fn signing_certificate(&self) -> String {
        self.signing.pem()
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
        if file.ends_with(".sigstore.json") {
            let text = "enterprise signing is not enabled: signature endpoint is not available";
            return Err(Refusal::new(402, text));
        }
        if [".sha256", ".sha512"].iter().any(|suffix| file.ends_with(suffix)) {
            return Err(Refusal::new(402, "enterprise not enabled: checksum endpoint is not available"));
        }
        self.schematic(schematic)?;
        parse_version(version)?;
        let Asset { platform, arch, secureboot } = Asset::parse(file).ok_or_else(|| {
            Refusal::new(400, format!("error parsing profile from path: invalid profile path: {file:?}"))
        })?;
        let image = Image { arch: arch.to_owned(), ..self.contents(schematic, version, platform, secureboot)? };
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
        let version = self.known_version(version)?;
        if let Some(name) = schematic.extensions.iter().find(|name| !self.extensions.contains(name)) {
            let text = format!(
                "error enhancing profile from schematic: official extension {name:?} is not available for Talos version {version}"
            );
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

    /// A version as tags have it, if the factory can build it.
    pub fn known_version(&self, version: &str) -> Result<String, Refusal> {
        let version = parse_version(version)?;
        if self.versions.contains(&version) {
            return Ok(version);
        }
        Err(Refusal::new(404, format!("version {} is not available", version.trim_start_matches('v'))))
    }

    fn build(&mut self, asset: String, now: Duration, clock: Clock) -> Duration {
        *self.built.entry(asset).or_insert(now + clock.span(physics::FACTORY_BUILD))
    }
}

/// A version with or without its `v`. What is no version is the factory's own failure: it says no more.
fn parse_version(text: &str) -> Result<String, Refusal> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let core = bare.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if numbers.len() == 3 && numbers.iter().all(number) {
        Ok(format!("v{bare}"))
    } else {
        Err(Refusal::new(500, "internal server error"))
    }
}

/// What a file's name says.
struct Asset<'a> {
    /// Empty for what all platforms share.
    platform: &'a str,
    arch: &'static str,
    secureboot: bool,
}

impl<'a> Asset<'a> {
    /// image-factory 1.5: internal/profile: every combination of platform, flavour and form is a file.
    fn parse(file: &'a str) -> Option<Self> {
        if let Some(rest) = file.strip_prefix("kernel-") {
            return Some(Self { platform: "", arch: arch(rest)?, secureboot: false });
        }
        if let Some(rest) = file.strip_prefix("initramfs-") {
            return Some(Self { platform: "", arch: arch(rest.strip_suffix(".xz")?)?, secureboot: false });
        }
        if let Some(rest) = file.strip_prefix("cmdline-") {
            return Self::stem(rest);
        }
        if let Some(rest) = file.strip_suffix("-uki.efi") {
            return Self::stem(rest);
        }
        if let Some(rest) = file.strip_suffix(".tar").filter(|rest| rest.contains("installer-")) {
            let (platform, rest) = rest.split_once("installer-")?;
            let (rest, secureboot) = flavour(rest);
            let platform = platform.strip_suffix('-').unwrap_or("metal");
            return Some(Self { platform, arch: arch(rest)?, secureboot });
        }
        let (stem, form) = file.split_once('.')?;
        let (form, packed) = form.split_once('.').unwrap_or((form, ""));
        let known = match form {
            "iso" => packed.is_empty(),
            "raw" | "qcow2" | "vhd" | "ova" => matches!(packed, "" | "tar.gz" | "gz" | "xz" | "zst"),
            _ => false,
        };
        if known { Self::stem(stem) } else { None }
    }

    /// `<platform>-<arch>[-secureboot]`.
    fn stem(stem: &'a str) -> Option<Self> {
        let (stem, secureboot) = flavour(stem);
        let (platform, text) = stem.rsplit_once('-')?;
        (!platform.is_empty()).then_some(Self { platform, arch: arch(text)?, secureboot })
    }
}

fn flavour(stem: &str) -> (&str, bool) {
    stem.strip_suffix("-secureboot").map_or((stem, false), |stem| (stem, true))
}

fn arch(text: &str) -> Option<&'static str> {
    match text {
        "amd64" | "x86_64" | "i386" => Some("amd64"),
        "arm64" => Some("arm64"),
        _ => None,
    }
}
