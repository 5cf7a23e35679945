//! One test binary, so that the crate is linked once.

mod create;
mod harness;
mod layers;
mod unwind;
