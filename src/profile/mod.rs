//! What the user wants: one YAML file, read strictly, resolved completely.
//!
//! Reading goes through three gates, and each gate reports everything it finds
//! at once, because a person who fixes one error per run stops trusting the tool:
//!
//! 1. *shape* (`shape`): the file against the JSON Schema that is derived from
//!    the types in `raw`. Unknown keys, wrong types, missing keys and malformed
//!    scalars. The schema is the only description of the file there is: editors
//!    get the same one, so they cannot disagree with us.
//! 2. *resolve* (`resolve`): defaults, machine → role → global, and the files
//!    that the profile names (patches, schematic), relative to the profile.
//! 3. *rules* (`rules`): what fields say about each other.
//!
//! A [`Profile`] that exists has passed all three. Nothing here knows the network,
//! Proxmox or Talos's version table; what needs those is checked by the survey.

mod error;
mod forms;
mod load;
mod nearest;
mod raw;
mod resolve;
mod rules;
mod shape;
mod tree;
mod types;

pub use error::{Problem, ProfileError};
pub use load::{known, load, parse};
pub use types::{
    Cni, Deadlines, Endpoints, Factory, MachineSpec, Mode, Network, PatchRef, Patches, Profile, Proxmox, SchematicRef,
    SecretRef, Talos, Tls,
};

/// The JSON Schema (draft 2020-12) of the profile file, for editors.
pub fn schema() -> serde_json::Value {
    raw::schema()
}
