//! One test binary, so that the crate is linked once.

mod adversary;
mod cli;
mod clients;
mod compat;
mod config;
mod crash;
mod create;
mod harness;
mod layers;
mod patches;
mod render;
mod repeat;
mod unwind;
