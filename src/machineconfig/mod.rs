//! Talos machine configurations, without Talos: secrets, generation, patching, validation, reading.
//!
//! Pure: YAML and values in, YAML and values out; no network, no files, no Proxmox. The behaviour is Talos's own for
//! contracts 1.9 to 1.14, down to the texts of errors, because a machine applies the same rules when a configuration
//! reaches it: what passes here is accepted there, and what fails, fails before the first VM exists.
//!
//! One table of fields (`schema`) drives decoding, merging, deleting and encoding, since Go's behaviour follows from
//! each field's type. [`Contract`] says what is generated, [`Minor`] how a running Talos treats it; both are one row
//! per version, and code asks a field of a row.

pub mod advice;
mod bundle;
mod cel;
mod contract;
mod decode;
mod documents;
mod encode;
mod exclude;
mod generate;
mod go;
mod merge;
mod minor;
pub mod overlay;
pub mod patch;
mod pki;
mod place;
pub mod redact;
pub mod rewrite;
mod schema;
pub mod talosconfig;
mod validate;
pub mod view;
mod yaml;

pub use bundle::{Bundle, BundleError, KubernetesPki};
pub use contract::{BadVersion, Contract};
pub use decode::{DecodeError, Fault};
pub use documents::{Document, Documents};
pub use generate::{GenerateError, Input, check_endpoint, generate};
pub use go::quoted;
pub use minor::Minor;
pub use patch::{Patch, PatchError, PatchSource, apply, blame};
pub use pki::{Pair, PkiError};
pub use place::Place;
pub use validate::{Mode, Verdict, validate};
pub use yaml::SyntaxError;

#[cfg(test)]
mod tests;
