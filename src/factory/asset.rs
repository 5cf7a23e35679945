//! Names: of an image at the factory, on a Proxmox storage, and of its installer.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use url::Url;

/// The public factory's host.
pub const PUBLIC: &str = "factory.talos.dev";

/// One boot image, and with it the installer that must match it: same platform, same SecureBoot flavour.
///
/// From Talos 1.10 on the installer carries platform and kernel arguments in a signed kernel image; one that
/// differs from the boot medium silently turns the machine into another platform's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Asset {
    /// 64 hexadecimal digits.
    pub schematic: String,
    /// With its v: `v1.12.4`.
    pub version: String,
    /// `nocloud`, `metal`.
    pub platform: String,
    /// `amd64`.
    pub arch: String,
    pub secureboot: bool,
}

impl Asset {
    fn flavour(&self) -> &'static str {
        if self.secureboot { "-secureboot" } else { "" }
    }

    /// `nocloud-amd64-secureboot.iso`.
    pub fn file_name(&self) -> String {
        format!("{}-{}{}.iso", self.platform, self.arch, self.flavour())
    }

    /// Where the ISO is at the factory `base`.
    pub fn url(&self, base: &Url) -> Url {
        at(base, &["image", &self.schematic, &self.version, &self.file_name()])
    }

    /// The registry's manifest of the installer at the factory `base`.
    pub(super) fn manifest(&self, base: &Url) -> Url {
        at(base, &["v2", &self.installer_name(), &self.schematic, "manifests", &self.version])
    }

    fn installer_name(&self) -> String {
        format!("{}-installer{}", self.platform, self.flavour())
    }

    /// The installer as machines name it: `factory.talos.dev/nocloud-installer-secureboot/<id>:v1.12.4`.
    ///
    /// `registry` is a host, with its port where that is not the scheme's own: see [`registry`].
    pub fn installer(&self, registry: &str) -> String {
        format!("{registry}/{}/{}:{}", self.installer_name(), self.schematic, self.version)
    }

    /// The ISO's name on a Proxmox storage: `talos-v1.12.4-nocloud-amd64-secureboot-<64 hex>.iso`.
    ///
    /// Only `[A-Za-z0-9_.-]`, because pve-storage 9.1 replaces anything else. An id belongs to the factory that
    /// issued it, so another factory than the public one adds eight digits of its URL's hash.
    pub fn cache_name(&self, factory: &Url) -> String {
        let own = if factory.host_str() == Some(PUBLIC) {
            String::new()
        } else {
            let hash = digest::digest(&digest::SHA256, factory.as_str().trim_end_matches('/').as_bytes());
            format!("-{}", hex::encode(&hash.as_ref()[..4]))
        };
        let name = format!(
            "talos-{}-{}-{}{}-{}{own}.iso",
            self.version,
            self.platform,
            self.arch,
            self.flavour(),
            self.schematic
        );
        name.replace(|char: char| !(char.is_ascii_alphanumeric() || "_.-".contains(char)), "_")
    }
}

/// The registry's name of the factory at `url`: its host, and its port where that is not the scheme's own.
pub fn registry(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `base` with `segments` after its path.
pub(super) fn at(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("an http URL has a path").pop_if_empty().extend(segments);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset() -> Asset {
        Asset {
            schematic: "a7f294c4436e874167652f711750f9bc607c89f12f7c27f183584a25763a2bca".into(),
            version: "v1.12.4".into(),
            platform: "nocloud".into(),
            arch: "amd64".into(),
            secureboot: true,
        }
    }

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn image_and_installer_agree_in_platform_and_flavour() {
        let asset = asset();
        let id = &asset.schematic;
        let base = url("https://factory.talos.dev");
        assert_eq!(
            asset.url(&base).as_str(),
            format!("https://factory.talos.dev/image/{id}/v1.12.4/nocloud-amd64-secureboot.iso")
        );
        assert_eq!(
            asset.installer(&registry(&base)),
            format!("factory.talos.dev/nocloud-installer-secureboot/{id}:v1.12.4")
        );
        assert_eq!(
            asset.manifest(&base).as_str(),
            format!("https://factory.talos.dev/v2/nocloud-installer-secureboot/{id}/manifests/v1.12.4")
        );
        let plain = Asset { secureboot: false, platform: "metal".into(), ..asset };
        assert_eq!(plain.file_name(), "metal-amd64.iso");
        assert!(plain.installer("f:5000").starts_with("f:5000/metal-installer/"));
    }

    #[test]
    fn a_base_url_keeps_its_path_and_port() {
        let base = url("http://10.0.0.5:8080/factory/");
        assert!(asset().url(&base).as_str().starts_with("http://10.0.0.5:8080/factory/image/a7f2"));
        assert_eq!(registry(&base), "10.0.0.5:8080");
        assert_eq!(registry(&url("https://factory.example:443")), "factory.example");
    }

    #[test]
    fn the_name_on_a_storage_is_one_that_proxmox_leaves_alone() {
        let asset = asset();
        let public = asset.cache_name(&url("https://factory.talos.dev/"));
        assert_eq!(public, format!("talos-v1.12.4-nocloud-amd64-secureboot-{}.iso", asset.schematic));
        let own = asset.cache_name(&url("https://factory.example"));
        assert_ne!(own, public);
        assert_eq!(own, asset.cache_name(&url("https://factory.example/")), "a trailing slash is the same factory");
        assert_ne!(own, asset.cache_name(&url("https://factory.example:8443")));
        let odd = Asset { version: "v1.14.0-rc.1+x".into(), ..asset }.cache_name(&url("https://factory.talos.dev"));
        assert!(odd.starts_with("talos-v1.14.0-rc.1_x-"), "{odd}");
        for name in [public, own, odd] {
            assert!(
                name.len() < 200 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
            );
        }
    }
}
