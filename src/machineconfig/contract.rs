//! What a configuration is generated *for*: one row per Talos minor.
//!
//! Talos keeps one boolean per change of the generator's output; so does this table, restricted to what differs
//! between 1.9 and 1.14 (`machinery 1.14: config/contract.go`). A newer Talos reads older contracts unchanged.

use std::fmt;

use crate::machineconfig::go::quoted;
/// A Talos version as far as contracts care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

/// The text is no Talos version, or one that is outside of 1.9 … 1.14.
#[derive(Debug, thiserror::Error)]
pub enum BadVersion {
    #[error("error parsing version {}", quoted(.0))]
    Unreadable(String),
    #[error("Talos {0} is not supported: pvetalos knows 1.9 to 1.14")]
    Unsupported(String),
}

impl BadVersion {
    pub(super) fn unsupported(version: Version) -> Self {
        Self::Unsupported(version.to_string())
    }
}

impl Version {
    /// `1.13`, `v1.13.4`, `v1.14.0-rc.1`: after the minor comes the end or a dot, so `v1.14-alpha` is refused.
    pub(super) fn parse(text: &str) -> Result<Self, BadVersion> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let mut parts = bare.split('.');
        let mut number = || {
            let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
            part.parse().ok()
        };
        match (number(), number()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(BadVersion::Unreadable(format!("v{bare}"))),
        }
    }

    pub(super) fn is(self, minor: u32) -> bool {
        self.major == 1 && self.minor == minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What the generator writes for one Talos minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// `1.N`.
    minor: u32,
    /// `HostnameConfig` and registry documents instead of v1alpha1 fields.
    pub multidoc_network: bool,
    /// `features.rbac`, `features.apidCheckExtKeyUsage` and `apiServer.disablePodSecurityPolicy` are written.
    pub legacy_locked_features: bool,
    /// The endpoint's host comes first in `apiServer.certSANs`.
    pub endpoint_in_sans: bool,
    /// `install.grubUseUKICmdline: true`.
    pub grub_uses_uki_cmdline: bool,
    /// `KubeSpanConfig`, and no empty `machine.network` any more.
    pub multidoc_kubespan: bool,
    /// Everything else moves to documents of its own: Kubernetes, install, discovery, resolver, sysctls.
    pub multidoc_all: bool,
    /// The cluster id is written in base64's standard alphabet, not in the one for URLs.
    pub standard_cluster_id: bool,
}

const V1_11: Contract = Contract {
    minor: 11,
    multidoc_network: false,
    legacy_locked_features: true,
    endpoint_in_sans: true,
    grub_uses_uki_cmdline: false,
    multidoc_kubespan: false,
    multidoc_all: false,
    standard_cluster_id: false,
};

const V1_12: Contract = Contract {
    minor: 12,
    multidoc_network: true,
    legacy_locked_features: false,
    endpoint_in_sans: false,
    grub_uses_uki_cmdline: true,
    ..V1_11
};

const V1_13: Contract = Contract { minor: 13, multidoc_kubespan: true, ..V1_12 };

const V1_14: Contract = Contract { minor: 14, multidoc_all: true, standard_cluster_id: true, ..V1_13 };

const ROWS: [Contract; 6] =
    [Contract { minor: 9, ..V1_11 }, Contract { minor: 10, ..V1_11 }, V1_11, V1_12, V1_13, V1_14];

impl Contract {
    /// The newest row.
    pub const NEWEST: Self = V1_14;

    /// 12 for 1.12.
    pub(super) fn minor(&self) -> u32 {
        self.minor
    }

    /// The contract named by a version: `1.12`, `v1.12.4`.
    pub fn parse(text: &str) -> Result<Self, BadVersion> {
        let version = Version::parse(text)?;
        ROWS.into_iter().find(|row| version.is(row.minor)).ok_or_else(|| BadVersion::unsupported(version))
    }

    /// The contract to use for machines of `talos`: its own minor, but never more than 1.13.
    ///
    /// On 1.14 nearly every v1alpha1 patch conflicts with a default document, while a 1.14 machine takes
    /// contract 1.13 unchanged.
    pub fn for_talos(talos: &str) -> Result<Self, BadVersion> {
        let own = Self::parse(talos)?;
        Ok(if own.multidoc_all { V1_13 } else { own })
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1.{}", self.minor)
    }
}
