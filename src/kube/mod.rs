//! The few questions that health asks of a new cluster's Kubernetes API, and the user's kubeconfig.
//!
//! No Kubernetes client library: three GETs do not need watches, discovery and a
//! thousand generated types. Every question dials anew, so a question after a
//! reboot or a moved VIP never runs into yesterday's connection.

mod access;
mod api;
mod error;
pub mod kubeconfig;
mod objects;

pub use api::Api;
pub use error::KubeError;
pub use objects::{KubeNode, Pod};
