//! The one type for what must not be seen.

use secrecy::{ExposeSecret, SecretString};

/// A credential. It has no `Debug`, `Display`, `Serialize` or `PartialEq`: the compiler refuses every accidental
/// way out. [`Secret::expose`] is the deliberate one, easy to grep for. Memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself, for the moment of use: a header value, a file of ours with mode 0600.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
