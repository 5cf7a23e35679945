//! Where secrets come from and where they are kept.
//!
//! A [`Provider`] names a place; the profile, the journal and error messages
//! hold only its [`reference`](Provider::reference). Every provider works on the
//! *whole text* that is kept there: what the lines mean is the business of
//! whoever asked ([`Token::parse`] for one).
//!
//! Children (`pass`, a user's command) are started without a shell, with
//! nothing secret in their arguments, and with the variables that an
//! [`Provider::Env`] reads taken out of their environment.

mod child;
mod command;
pub mod env;
pub mod file;
mod keyring;
mod pass;
mod secret;
mod token;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use secret::Secret;
pub use token::Token;

/// A place that a secret is read from, and for three of them written to.
#[derive(Clone, PartialEq, Eq)]
pub enum Provider {
    /// An entry of the standard Unix password manager, such as `matherlynet/pve/api-token`.
    Pass { entry: String },
    /// An entry of the desktop's keyring: service `pvetalos`, user name `entry`.
    Keyring { entry: String },
    /// An environment variable. Read-only.
    Env { name: String },
    /// A file that only its owner can read.
    File { path: PathBuf },
    /// The standard output of a program: `op read op://…`, `sops decrypt …`. Read-only; no shell is involved.
    Command { argv: Vec<String> },
}

/// Why a secret could not be read, kept or understood. Never holds any part of the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{reference} does not exist")]
    Missing { reference: String },
    #[error("{reference} can only be read: use pass, keyring or file for what pvetalos has to keep")]
    ReadOnly { reference: String },
    /// The place is not fit for use; `why` includes what to do.
    #[error("{reference} cannot be used: {why}")]
    Unusable { reference: String, why: String },
    #[error("failed to {verb} {reference}")]
    Io { verb: &'static str, reference: String, source: io::Error },
    #[error("{program} gave no answer for {reference} within {} s: is it waiting for a passphrase?", after.as_secs())]
    TimedOut { program: String, reference: String, after: Duration },
    #[error("{program} failed for {reference} ({status}): {said}")]
    Program { program: String, reference: String, status: String, said: String },
    /// The text is there and is no API token; what it is instead is not shown.
    #[error("this is no Proxmox API token: {0}; expected USER@REALM!NAME and, on the last line, the secret")]
    NoToken(&'static str),
}

impl Provider {
    /// The whole text.
    pub async fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Pass { entry } => pass::read(entry, &self.reference()).await,
            Self::Keyring { entry } => keyring::read(entry, &self.reference()).await,
            Self::Env { name } => env::read(name, &self.reference()),
            Self::File { path } => file::read(path, &self.reference()),
            Self::Command { argv } => command::read(argv, &self.reference()).await,
        }
    }

    /// Keeps `secret` there, replacing what was there.
    pub async fn write(&self, secret: &Secret) -> Result<(), SecretError> {
        match self {
            Self::Pass { entry } => pass::write(entry, secret, &self.reference()).await,
            Self::Keyring { entry } => keyring::write(entry, secret, &self.reference()).await,
            Self::File { path } => file::write(path, secret, &self.reference()),
            Self::Env { .. } | Self::Command { .. } => Err(SecretError::ReadOnly { reference: self.reference() }),
        }
    }

    /// Takes it away. What is already gone is no error.
    pub async fn remove(&self) -> Result<(), SecretError> {
        match self {
            Self::Pass { entry } => pass::remove(entry, &self.reference()).await,
            Self::Keyring { entry } => keyring::remove(entry, &self.reference()).await,
            Self::File { path } => file::remove(path, &self.reference()),
            Self::Env { .. } | Self::Command { .. } => Err(SecretError::ReadOnly { reference: self.reference() }),
        }
    }

    /// Removes what a process left that died while it wrote there. Only a file can be half written.
    pub fn tidy(&self) -> Result<(), SecretError> {
        let Self::File { path } = self else { return Ok(()) };
        file::tidy(path).map_err(|source| SecretError::Io { verb: "tidy", reference: self.reference(), source })
    }

    /// Whether something is there. A command has to be run to know.
    pub async fn exists(&self) -> Result<bool, SecretError> {
        match self {
            Self::Pass { entry } => pass::exists(entry, &self.reference()),
            Self::File { path } => file::exists(path, &self.reference()),
            Self::Env { name } => Ok(env::var(name).is_some()),
            Self::Keyring { .. } | Self::Command { .. } => match self.read().await {
                Ok(_) => Ok(true),
                Err(SecretError::Missing { .. }) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// `pass:matherlynet/pve/api-token`: for people, for the journal, and for [`Provider::from_str`].
    ///
    /// Of a command only the program is shown, since arguments may name more than they should.
    pub fn reference(&self) -> String {
        match self {
            Self::Pass { entry } => format!("pass:{entry}"),
            Self::Keyring { entry } => format!("keyring:{entry}"),
            Self::Env { name } => format!("env:{name}"),
            Self::File { path } => format!("file:{}", path.display()),
            Self::Command { argv } => format!("command:{}", argv.first().map_or("", String::as_str)),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference())
    }
}

/// The text is no reference of a provider that can be found again.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} names no place for secrets: expected pass:ENTRY, keyring:ENTRY, env:NAME or file:PATH")]
pub struct BadReference(String);

/// Finds a place again from its [`reference`](Provider::reference). A command cannot be: its arguments are not in there.
impl FromStr for Provider {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let bad = || BadReference(text.to_owned());
        let (kind, rest) = text.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or_else(bad)?;
        let entry = rest.to_owned();
        match kind {
            "pass" => Ok(Self::Pass { entry }),
            "keyring" => Ok(Self::Keyring { entry }),
            "env" => Ok(Self::Env { name: entry }),
            "file" => Ok(Self::File { path: rest.into() }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests;
