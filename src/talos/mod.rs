//! What a machine answers on port 50000.

pub mod wire;
