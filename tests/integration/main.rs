//! One test binary, so that the crate is linked once.

mod config;
mod layers;
mod render;
