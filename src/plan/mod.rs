//! The plan: what will be done, as data.
//!
//! Three stages, and no more barriers than that: *prepare* (secrets, images, the
//! installer) → *machines* (one lane each; the first control plane's lane goes on
//! to bootstrap etcd, so a slow worker never delays it) → *cluster* (access,
//! health). The plan is printed by `pvetalos plan`, stored as the journal's first
//! line, and what a crashed run is resumed from; it never holds a secret.

mod check;
mod configs;
mod draft;
mod survey;
mod tryout;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use check::Problem;
// What a plan pins of a configuration is rendered by the step that applies it; `pvetalos render` shows the same.
pub use crate::steps::render::render;
pub use configs::{configs, contract};
pub use draft::{deadlines, draft, fingerprint};
pub use survey::{FactoryFacts, Survey, paths, survey};
pub use tryout::{PatchesByMachine, rehearse, try_out};

use crate::event::StepId;
use crate::steps::mark::Mark;
use crate::steps::{Deadlines, Step};

/// Everything that a create will do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub mark: Mark,
    pub origin: Origin,
    /// SHA-256 of the resolved profile: a crashed run is resumed only with the profile that it was drafted from.
    pub profile: String,
    pub deadlines: Deadlines,
    /// What the plan is about, for people.
    pub outline: Outline,
    pub stages: Vec<Stage>,
}

/// Where the profile is, so that `destroy` and `status` need not be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Absolute path.
    pub profile: PathBuf,
    /// The site was the lab although the profile names a real one.
    pub lab: bool,
}

/// The names that a person looks for in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    pub endpoint: String,
    pub talos: String,
    pub kubernetes: String,
    pub schematic: String,
    pub image: String,
    pub installer: String,
    pub notes: Vec<String>,
}

/// Lanes that run side by side; the next stage begins when all have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    pub lanes: Vec<Lane>,
}

/// Steps that run one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub name: String,
    pub steps: Vec<Step>,
}

impl Plan {
    /// Every step, stage by stage and lane by lane.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| stage.lanes.iter().flat_map(|lane| lane.steps.iter()))
    }

    /// The names of all steps, for reporters.
    pub fn step_ids(&self) -> Vec<StepId> {
        self.steps().map(Step::id).collect()
    }

    /// The machines with their role, control planes first.
    pub fn machines(&self) -> impl Iterator<Item = &crate::steps::CreateVm> {
        self.steps().filter_map(|step| match step {
            Step::CreateVm(create) => Some(create),
            _ => None,
        })
    }
}
