//! What differs between the minor versions of Talos, one row each. Code asks a field and never compares a version.
//!
//! Sources: Talos hack/release.toml and pkg/machinery/compatibility at each v1.N.0; the maintenance columns change with
//! commit b7d70cf62 "unify maintenance and regular APIs" (1.13).

use tonic::Code;

/// The Kubernetes minors that a Talos minor takes, both ends included. From 1.11 on the machine itself refuses others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// What `talosctl gen config` of this minor writes, without `v`.
    pub default: &'static str,
    /// 30 for 1.30.
    pub min: u32,
    /// `None`: not known, since this Talos is newer than the table.
    pub max: Option<u32>,
}

/// One minor version of Talos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minor {
    /// 12 for 1.12. The row for newer ones has the number of the newest known.
    pub number: u32,
    /// How maintenance mode refuses a call that it does not serve.
    pub maintenance_refusal: Code,
    /// How maintenance mode refuses a configuration that cannot be parsed.
    pub parse_error: Code,
    /// Whether maintenance mode serves Version, ServiceList and the other calls of a reader.
    pub maintenance_serves_readers: bool,
    /// Whether the resource `Versions.runtime.talos.dev` exists, which tells the version in maintenance mode.
    pub tells_version: bool,
    /// Whether a control plane answers with mTLS *before* it has installed: then "it answers" is not "it is installed".
    pub up_during_install: bool,
    /// Whether `UnattendedInstallConfig` takes the place of `.machine.install`; the stage is then never `installing`.
    pub unattended_install: bool,
    pub kubernetes: Kubernetes,
}

const fn takes(default: &'static str, min: u32, max: u32) -> Kubernetes {
    Kubernetes { default, min, max: Some(max) }
}

const V1_9: Minor = Minor {
    number: 9,
    maintenance_refusal: Code::Unimplemented,
    parse_error: Code::Unknown,
    maintenance_serves_readers: false,
    tells_version: false,
    up_during_install: false,
    unattended_install: false,
    kubernetes: takes("1.32.4", 27, 32),
};
const V1_10: Minor = Minor { number: 10, tells_version: true, kubernetes: takes("1.33.6", 28, 33), ..V1_9 };
const V1_11: Minor = Minor { number: 11, kubernetes: takes("1.34.1", 29, 34), ..V1_10 };
const V1_12: Minor = Minor { number: 12, kubernetes: takes("1.35.4", 30, 35), ..V1_11 };
const V1_13: Minor = Minor {
    number: 13,
    maintenance_refusal: Code::PermissionDenied,
    parse_error: Code::InvalidArgument,
    maintenance_serves_readers: true,
    up_during_install: true,
    kubernetes: takes("1.36.3", 31, 36),
    ..V1_12
};
const V1_14: Minor = Minor { number: 14, unattended_install: true, kubernetes: takes("1.37.0", 32, 37), ..V1_13 };

const ROWS: [&Minor; 6] = [&V1_9, &V1_10, &V1_11, &V1_12, &V1_13, &V1_14];

/// Not a version of Talos that this program knows how to talk to.
#[derive(Debug, thiserror::Error)]
pub enum BadVersion {
    #[error("{0:?} is no Talos version: expected something like 1.12.4")]
    Unreadable(String),
    #[error("Talos {0} is too old: 1.{oldest} is the oldest that is supported", oldest = ROWS[0].number)]
    TooOld(String),
}

impl Minor {
    /// The row for a version such as `1.12.4` or `v1.14.0-rc.1`. A newer minor than the table knows is taken to be like
    /// the newest row, without an upper end for Kubernetes.
    pub fn of(version: &str) -> Result<Self, BadVersion> {
        let (major, number) = split(version).ok_or_else(|| BadVersion::Unreadable(version.to_owned()))?;
        let newest = ROWS[ROWS.len() - 1];
        if let Some(row) = ROWS.into_iter().find(|row| major == 1 && row.number == number) {
            Ok(*row)
        } else if (major, number) > (1, newest.number) {
            Ok(Self { number, kubernetes: Kubernetes { max: None, ..newest.kubernetes }, ..*newest })
        } else {
            Err(BadVersion::TooOld(version.to_owned()))
        }
    }

    /// Whether this Talos runs Kubernetes `version` (`1.35.0`); if not, why not and which ones it does.
    pub fn kubernetes_supported(&self, version: &str) -> Result<(), String> {
        let (major, number) = split(version)
            .ok_or_else(|| format!("{version:?} is no Kubernetes version: expected something like 1.35.0"))?;
        let Kubernetes { min, max, .. } = self.kubernetes;
        let fault = if (major, number) < (1, min) {
            "old"
        } else if max.is_some_and(|max| (major, number) > (1, max)) {
            "new"
        } else {
            return Ok(());
        };
        let range = max.map_or_else(|| format!("1.{min} or later"), |max| format!("1.{min} to 1.{max}"));
        Err(format!("Kubernetes {version} is too {fault} for Talos 1.{}, which takes {range}", self.number))
    }
}

/// Major and minor of `v1.12.4`, `1.12`, `1.14.0-rc.1`.
fn split(version: &str) -> Option<(u32, u32)> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let mut parts = version.splitn(3, '.');
    let (major, minor) = (parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minor_has_its_row_and_newer_ones_the_newest() {
        for (index, row) in ROWS.into_iter().enumerate() {
            assert_eq!(row.number as usize, 9 + index);
            let version = format!("v1.{}.0-rc.1", row.number);
            assert_eq!(Minor::of(&version).expect("a known version"), *row);
        }
        let newer = Minor::of("1.15.0").expect("newer versions are taken");
        assert!(newer.unattended_install && newer.kubernetes.max.is_none());
        assert_eq!(newer.number, 15);
        for bad in ["", "1", "1.x.0", "one.two"] {
            assert!(matches!(Minor::of(bad), Err(BadVersion::Unreadable(_))), "{bad:?}");
        }
        assert_eq!(
            Minor::of("1.8.4").expect_err("too old").to_string(),
            "Talos 1.8.4 is too old: 1.9 is the oldest that is supported"
        );
    }

    #[test]
    fn the_maintenance_api_changes_at_1_13() {
        let before = Minor::of("1.12.11").expect("a known version");
        let after = Minor::of("1.13.0").expect("a known version");
        assert_eq!((before.maintenance_refusal, before.parse_error), (Code::Unimplemented, Code::Unknown));
        assert_eq!((after.maintenance_refusal, after.parse_error), (Code::PermissionDenied, Code::InvalidArgument));
        assert!(!before.up_during_install && after.up_during_install);
        assert!(!before.unattended_install && !after.unattended_install);
    }

    #[test]
    fn kubernetes_is_taken_within_its_window() {
        let minor = Minor::of("1.12.4").expect("a known version");
        for good in ["1.30.0", "1.35.0", "v1.35.4"] {
            assert_eq!(minor.kubernetes_supported(good), Ok(()), "{good}");
        }
        assert_eq!(
            minor.kubernetes_supported("1.29.9"),
            Err("Kubernetes 1.29.9 is too old for Talos 1.12, which takes 1.30 to 1.35".into())
        );
        assert_eq!(
            minor.kubernetes_supported("1.36.0"),
            Err("Kubernetes 1.36.0 is too new for Talos 1.12, which takes 1.30 to 1.35".into())
        );
        assert!(minor.kubernetes_supported("latest").is_err());
        for row in ROWS {
            assert_eq!(row.kubernetes_supported(row.kubernetes.default), Ok(()));
        }
    }
}
