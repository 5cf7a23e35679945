//! Where secrets come from and where they are kept.

mod secret;

pub use secret::Secret;
