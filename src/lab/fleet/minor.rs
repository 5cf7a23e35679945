//! What differs between Talos minors, as the lab plays them.
//!
//! One row per minor, read from each release's own sources. The client has a
//! table of its own in `talos/minor.rs`, and the lab must not look at it: a
//! mistake that both shared would never be seen.

/// How one minor behaves. Code asks a field and never compares numbers.
#[derive(Debug)]
pub struct Minor {
    /// The `13` of 1.13.
    pub minor: u32,
    /// Maintenance mode is the ordinary API with fewer rights (Talos 1.13), not a server of its own.
    pub unified_maintenance: bool,
    /// `LifecycleService`, `ImageService` and `DebugService` (1.13).
    pub lifecycle_service: bool,
    /// `LVMService`, `MDService`, and the teardown methods of the resource API (1.14).
    pub volume_removal: bool,
    /// `StorageService/BlockDeviceWipe` is open in maintenance mode (1.11).
    pub wipe_in_maintenance: bool,
    /// The resource `Versions.runtime.talos.dev` (1.10).
    pub versions: bool,
    /// Of nocloud's user-data the first line has to be `#cloud-config`, and no more than begin with it; `#include` is
    /// known (1.11).
    pub exact_cloud_config: bool,
    /// The resource `KernelCmdlines.runtime.talos.dev` (1.11).
    pub cmdline: bool,
    /// The resource `BootIDs.runtime.talos.dev` (1.14).
    pub boot_ids: bool,
    /// `UnattendedInstallConfig` (1.14).
    pub unattended_install: bool,
    /// A running machine refuses apply mode REBOOT (1.14).
    pub refuses_reboot_mode: bool,
    /// `MachineStatus.ready` asks whether the Kubernetes node is Ready (1.13).
    pub node_ready_gates: bool,
    /// Etcd-less configurations are refused at bootstrap with a text of their own (1.14).
    pub checks_etcd_config: bool,
    /// The health check does not wait for Ready where no CNI is installed (1.14).
    pub skips_ready_without_cni: bool,
    /// A stream of data that fails ends with a status; before 1.14 with an element that has an error.
    pub status_ends_streams: bool,
    /// Specs go over the wire with their zeros, nested messages too (protoenc up to 0.2.2: until 1.11).
    pub spells_zero: bool,
    /// Kubernetes minors that a configuration may name; not checked before 1.11.
    pub kubernetes: Option<(u32, u32)>,
}

const BASE: Minor = Minor {
    minor: 9,
    unified_maintenance: false,
    lifecycle_service: false,
    volume_removal: false,
    wipe_in_maintenance: false,
    versions: false,
    exact_cloud_config: false,
    cmdline: false,
    boot_ids: false,
    unattended_install: false,
    refuses_reboot_mode: false,
    node_ready_gates: false,
    checks_etcd_config: false,
    skips_ready_without_cni: false,
    status_ends_streams: false,
    spells_zero: true,
    kubernetes: None,
};

static TABLE: [Minor; 6] = [
    BASE,
    Minor { minor: 10, versions: true, ..BASE },
    Minor {
        minor: 11,
        versions: true,
        exact_cloud_config: true,
        cmdline: true,
        wipe_in_maintenance: true,
        kubernetes: Some((29, 34)),
        ..BASE
    },
    Minor {
        minor: 12,
        versions: true,
        exact_cloud_config: true,
        cmdline: true,
        wipe_in_maintenance: true,
        spells_zero: false,
        kubernetes: Some((30, 35)),
        ..BASE
    },
    Minor {
        minor: 13,
        unified_maintenance: true,
        lifecycle_service: true,
        versions: true,
        exact_cloud_config: true,
        cmdline: true,
        wipe_in_maintenance: true,
        node_ready_gates: true,
        spells_zero: false,
        kubernetes: Some((31, 36)),
        ..BASE
    },
    Minor {
        minor: 14,
        unified_maintenance: true,
        lifecycle_service: true,
        volume_removal: true,
        versions: true,
        exact_cloud_config: true,
        cmdline: true,
        wipe_in_maintenance: true,
        node_ready_gates: true,
        boot_ids: true,
        unattended_install: true,
        refuses_reboot_mode: true,
        checks_etcd_config: true,
        skips_ready_without_cni: true,
        status_ends_streams: true,
        spells_zero: false,
        kubernetes: Some((32, 37)),
    },
];

/// The row for a version such as `v1.12.4`. Older ones behave as the oldest row, newer ones as the newest.
pub fn of(version: &str) -> &'static Minor {
    let minor = version.trim_start_matches('v').split('.').nth(1).and_then(|text| text.parse::<u32>().ok());
    let wanted = minor.unwrap_or(u32::MAX);
    TABLE.iter().rev().find(|row| row.minor <= wanted).unwrap_or(&TABLE[0])
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn every_version_has_a_row() {
        for (version, minor) in [("v1.12.4", 12), ("v1.14.0-rc.1", 14), ("v1.8.0", 9), ("v1.15.0", 14), ("odd", 14)] {
            assert_eq!(of(version).minor, minor, "{version}");
        }
    }
}
