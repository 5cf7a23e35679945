//! `pvetalos profile check --fix`: every patch that the contract refuses, in the contract's own form. Prints only:
//! comments and anchors of the old file would be lost, so the person who wrote it puts the new one in its place.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::failure::{Code, Failure};
use super::super::{Global, print};
use crate::inventory::Role;
use crate::machineconfig::Contract;
use crate::machineconfig::rewrite::{Rewritten, Target, rewrite};
use crate::profile::{PatchRef, Profile};

/// One patch in its new form, and where it stands in the profile.
struct Fixed<'a> {
    field: String,
    origin: &'a str,
    /// Where the part for control planes goes; `None` when it may stay where the patch is.
    control_plane_field: Option<String>,
    new: Rewritten,
}

pub(super) fn run(global: &Global, profile: &Profile, contract: &Contract) -> Result<(), Failure> {
    let target = Target { contract, install_disk: &profile.talos.install_disk };
    let mut fixed = Vec::new();
    for (field, role, patch) in patches(profile) {
        let new = rewrite(&patch.text, target)
            .map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", patch.origin)))?;
        let Some(mut new) = new else { continue };
        let control_plane_field = match role {
            None => Some("talos.patches.controlplane".to_owned()),
            Some(Role::ControlPlane) => None,
            Some(Role::Worker) => {
                if new.control_plane.take().is_some() {
                    new.notes.push("What only control planes take was left out: this patch is for workers.".to_owned());
                }
                None
            }
        };
        fixed.push(Fixed { field, origin: &patch.origin, control_plane_field, new });
    }
    if global.is_json() {
        print(
            &json!({ "contract": contract.to_string(), "patches": fixed.iter().map(Fixed::json).collect::<Value>() })
                .to_string(),
        );
    } else if fixed.is_empty() {
        print(&format!("every patch has the form that contract {contract} wants"));
    } else {
        print(&fixed.iter().map(Fixed::text).collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// Every patch with its place and the role that it is for; `None` is both.
fn patches(profile: &Profile) -> Vec<(String, Option<Role>, &PatchRef)> {
    let of = &profile.talos.patches;
    let groups = [
        ("talos.patches.all".to_owned(), None, &of.all),
        ("talos.patches.controlplane".to_owned(), Some(Role::ControlPlane), &of.controlplane),
        ("talos.patches.worker".to_owned(), Some(Role::Worker), &of.worker),
    ];
    let own = profile
        .machines
        .iter()
        .map(|machine| (format!("patches of {}", machine.name), Some(machine.role), &machine.patches));
    let mut all = Vec::new();
    for (field, role, patches) in groups.into_iter().chain(own) {
        all.extend(patches.iter().enumerate().map(|(at, patch)| (format!("{field}[{at}]"), role, patch)));
    }
    all
}

impl Fixed<'_> {
    fn json(&self) -> Value {
        let Rewritten { shared, control_plane, notes } = &self.new;
        json!({
            "field": self.field, "origin": self.origin, "patch": shared, "controlplane": control_plane, "notes": notes,
        })
    }

    /// YAML with comments, so that the output can be cut into files.
    fn text(&self) -> String {
        let Rewritten { shared, control_plane, notes } = &self.new;
        let mut text = format!("# {}, from {}\n", self.field, self.origin);
        let mut line = |line: &str| writeln!(text, "{line}").expect("a string takes everything");
        for note in notes {
            line(&format!("# note: {note}"));
        }
        let parts = [(None, shared), (self.control_plane_field.as_deref(), control_plane)];
        let mut written = false;
        for (field, part) in parts {
            let Some(part) = part else { continue };
            match field {
                Some(field) => line(&format!("# this part goes to {field}: workers refuse it")),
                None if written => line("---"),
                None => {}
            }
            line(part.trim_end());
            written = true;
        }
        if !written {
            line("# nothing is left of it: take it out");
        }
        text
    }
}
