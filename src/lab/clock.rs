//! The lab's two clocks.
//!
//! *Instant*: everything that takes time on a site takes none. *Realistic*: it
//! takes the time that sites were seen to take, divided by `speed`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How fast the lab's physics runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    Instant,
    /// A second of the site takes `1/speed` seconds here.
    Realistic {
        speed: f64,
    },
}

impl Clock {
    /// How long `physics` takes on this clock.
    pub fn span(self, physics: Duration) -> Duration {
        match self {
            Self::Instant => Duration::ZERO,
            Self::Realistic { speed } => physics.div_f64(speed.max(0.01)),
        }
    }
}

/// What things take on a quiet site with NVMe storage and a near registry: the middle of the measured and
/// published ranges for a three-machine SecureBoot cluster.
pub mod physics {
    use std::time::Duration;

    pub const VM_CREATE: Duration = Duration::from_secs(3);
    pub const VM_START: Duration = Duration::from_millis(1_500);
    pub const VM_STOP: Duration = Duration::from_millis(1_500);
    pub const VM_DESTROY: Duration = Duration::from_secs(2);
    pub const FACTORY_BUILD: Duration = Duration::from_secs(40);
    pub const IMAGE_DOWNLOAD: Duration = Duration::from_secs(16);
    /// Firmware, key enrolment with its one reset, ISO boot, until the maintenance API answers.
    pub const BOOT_ISO: Duration = Duration::from_secs(25);
    /// Installer pull and write.
    pub const INSTALL: Duration = Duration::from_secs(35);
    /// Shutdown of the installer, firmware, unified kernel image.
    pub const REBOOT: Duration = Duration::from_secs(12);
    /// Boot from disk until the API answers with our certificates.
    pub const BOOT_DISK: Duration = Duration::from_secs(20);
    /// Pull and start of etcd after the bootstrap call, or a join.
    pub const ETCD: Duration = Duration::from_secs(25);
    /// From etcd healthy to the Kubernetes API.
    pub const KUBERNETES_API: Duration = Duration::from_secs(30);
    /// From the API to a machine that is Ready.
    pub const NODE_READY: Duration = Duration::from_secs(25);
}
