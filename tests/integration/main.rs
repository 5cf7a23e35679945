//! One test binary, so that the crate is linked once.

mod cli;
mod config;
mod layers;
