//! Placeholder until the wire room is merged.
fn main() {}
