//! The Proxmox VE API, as far as a cluster needs it.
//!
//! Requests that write are typed by the `proxmox-api` crate where it has a type
//! for them; `transport.rs` carries them, since the crate's own client fails on
//! the `null` that a successful write answers and drops the text of errors.
//! Replies are read into small tolerant types of ours: the API's Perl leaks
//! (`"4096"` or `4096`), and one unknown value must not cost a whole list.
//!
//! What trips every client of this API, and where it is dealt with:
//!
//! - the text of an error is in the HTTP reason phrase, and in the body only since
//!   libpve-http-server-perl 5.2.0: `error.rs`;
//! - a "stopped" task may have failed, one with warnings has not: `task.rs`;
//! - a lost reply to a write says nothing about the work: [`PveError::PerhapsDone`];
//! - forms are split at `;` and cut at a second `=`: everything is percent-encoded in `transport.rs`;
//! - an idle connection dies after 5 s and every error closes one: the pool in `transport.rs`.

mod cluster;
mod config;
mod error;
mod gates;
mod lenient;
mod names;
mod quirks;
mod reply;
mod spec;
mod storage;
mod task;
mod transport;
mod trust;
mod upload;
mod vm;

pub use cluster::{Bridge, Guest, Node, Version};
pub use config::VmConfig;
pub use error::{Lost, PveError, Refusal};
pub use quirks::Quirks;
pub use spec::{CloudInit, VmSpec};
pub use storage::{Download, Storage, UrlMetadata, Volume};
pub use task::{TaskEnd, Upid};
pub use transport::{Options, Pve};
pub use trust::{Fingerprint, Trust, seen_fingerprint};
pub use vm::{GuestInterface, VmStatus};

#[cfg(test)]
mod tests;
