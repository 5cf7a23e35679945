//! The Talos Image Factory: from a schematic to a boot image and an installer image.
//!
//! Three things make this more than a download:
//!
//! - A schematic's id is the hash of its canonical text, so [`Schematic`] writes
//!   that text itself, byte for byte as the factory does (`emit.rs`): the id is known
//!   before the network is asked, and a factory that answers with another one is found out.
//! - Knowing the id is not enough: a factory serves only what was POSTed to it.
//! - Images are built inside the request that asks for them, silently, for minutes.
//!   [`Factory::warm_image`] and [`Factory::warm_installer`] ask, with a budget, so that
//!   neither Proxmox's download nor the machine's own pull runs into a time-out.

mod asset;
mod client;
mod emit;
mod error;
mod schematic;
mod warm;

pub use asset::{Asset, PUBLIC, registry};
pub use client::{Created, Download, Extension, Factory, FactoryOptions};
pub use emit::Unsupported;
pub use error::FactoryError;
pub use schematic::{Bootloader, Schematic, SchematicError};
