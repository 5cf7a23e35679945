//! The third gate: what fields say about each other. All errors at once, each with both values.
//!
//! One function for each subject; every rule in it has its own message and its own test.

mod images;
mod machines;
mod network;

use super::resolve::Draft;
use super::types::Profile;

/// Runs every rule; problems and warnings are kept in `draft`.
pub(super) fn check(profile: &Profile, draft: &mut Draft) {
    name(profile, draft);
    network::gateway(profile, draft);
    network::vip(profile, draft);
    network::endpoint(profile, draft);
    network::disjoint(profile, draft);
    network::span(profile, draft);
    machines::count(profile, draft);
    machines::unique(profile, draft);
    machines::addresses(profile, draft);
    machines::macs(profile, draft);
    machines::sizes(profile, draft);
    images::cpu(profile, draft);
    images::kernel_args(profile, draft);
    images::schematic(profile, draft);
}

fn name(profile: &Profile, draft: &mut Draft) {
    let stem = profile.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if profile.name != stem {
        draft.problem(
            "name",
            format!("is {}, but the file is called {stem}: a cluster is found by its file's name", profile.name),
            format!("write name: {stem}, or rename the file to {}.yaml", profile.name),
        );
    }
}

#[cfg(test)]
mod tests;
