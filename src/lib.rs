//! `pvetalos` takes a Talos cluster on Proxmox VE from nothing to healthy, and back to nothing.
//!
//! A *profile* and a *survey* of the site are drafted into a *plan*; the *engine*
//! runs it, journalling every action before it happens; on failure it unwinds.
//!
//! Layers, lowest first; a file uses only lower layers, and rooms of one layer do
//! not know each other (`tests/integration/layers.rs` enforces it):
//!
//! - 0: [`event`], [`inventory`], [`wait`], [`retry`], [`reach`]
//! - 1: [`profile`], [`secrets`], [`machineconfig`]
//! - 2: [`pve`], [`factory`], [`talos`], [`kube`]
//! - 3: [`discovery`]
//! - 4: [`steps`]
//! - 5: [`plan`]
//! - 6: [`engine`]
//! - 7: [`report`]
//! - 8: [`cli`]
//! - beside: [`lab`], the simulated site

pub mod cli;
pub mod discovery;
pub mod engine;
pub mod event;
pub mod factory;
pub mod inventory;
pub mod kube;
pub mod lab;
pub mod machineconfig;
pub mod plan;
pub mod profile;
pub mod pve;
pub mod reach;
pub mod report;
pub mod retry;
pub mod secrets;
pub mod steps;
pub mod talos;
pub mod wait;
