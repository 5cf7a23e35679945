//! What the two supported releases differ in beyond their tables.
//!
//! The lab takes this from its site description, never from the product's own
//! table of quirks: a mistake there must not hide here.

use super::schema::{Schema, schema};

/// A release that the face can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// 8 or 9.
    pub major: u8,
}

impl Release {
    /// Of a version text such as `8.4`; anything that is not 8 is 9.
    pub fn of(version: &str) -> Self {
        Self { major: if version.starts_with('8') { 8 } else { 9 } }
    }

    pub(super) fn schema(self) -> &'static Schema {
        schema(self.major)
    }

    pub(super) fn nine(self) -> bool {
        self.major == 9
    }

    /// `release` of `GET /version`.
    pub(super) fn short(self) -> &'static str {
        if self.nine() { "9.2" } else { "8.4" }
    }

    /// `version` of `GET /version`: the package pve-manager.
    pub(super) fn manager(self) -> &'static str {
        if self.nine() { "9.2.11" } else { "8.4.21" }
    }

    /// The hypervisor's version, as `meta` and `running-qemu` show it.
    pub(super) fn qemu(self) -> &'static str {
        if self.nine() { "10.1.2" } else { "9.2.0" }
    }

    /// The suffix of `running-machine`.
    pub(super) fn machine_suffix(self) -> &'static str {
        if self.nine() { "+pve0" } else { "+pve1" }
    }
}
