//! Parse, run, print the failure, exit.

fn main() {}
