//! What can go wrong with a machine, in words that say what to do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tonic::Code;

use crate::wait::humanise;

/// Addresses are the site's own, also when the lab is reached elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum TalosError {
    #[error("connect to {address}")]
    Unreachable { address: SocketAddr, source: io::Error },

    #[error("{doing} at {address}: no answer within {}", humanise(*after))]
    Timeout { address: SocketAddr, doing: &'static str, after: Duration },

    /// The two sides did not come to terms before any call was made.
    #[error("TLS with {address}{}", explained(*meaning))]
    Tls { address: SocketAddr, meaning: Option<Meaning>, source: io::Error },

    /// The other side is not whom this connection is for.
    #[error("{address} shows the certificate of {shown:?}{}", explained(Some(*meaning)))]
    Stranger { address: SocketAddr, shown: String, meaning: Meaning },

    #[error(
        "{address} shows the key {seen}, but {expected} was pinned: somebody else answers, or the machine renewed \
             its certificate; compare with the last \"server certificate issued\" line on its console"
    )]
    Pin { address: SocketAddr, expected: String, seen: String },

    #[error("{method} at {address}: {code:?}: {message}{}", explained(*meaning))]
    Rpc { address: SocketAddr, method: &'static str, code: Code, message: String, meaning: Option<Meaning> },

    /// The reply came and makes no sense.
    #[error("{method} at {address}: {reason}")]
    Reply { address: SocketAddr, method: &'static str, reason: String },

    #[error("the Talos credentials cannot be used: {what}: {reason}")]
    Credentials { what: &'static str, reason: String },

    #[error("the talosconfig cannot be edited: {reason}")]
    Talosconfig { reason: String },
}

/// Whether asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Transient,
    Permanent,
}

/// What a failure of the wire says about the machine behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Its certificate is the maintenance one, where ours was expected.
    InMaintenance,
    /// It runs with a configuration, and its certificate is not signed by our CA.
    AnotherCluster,
    /// It runs with a configuration already, where maintenance was expected.
    NotInMaintenance,
    /// Its certificate is not valid yet, or not any more.
    ClockSkew,
    /// Its certificate does not name the address that was dialled.
    WrongName,
    /// It refused our client certificate, or wants one.
    OurCertificateRefused,
    /// Our certificate's role does not allow the call.
    RoleTooSmall,
    /// The connection broke: apid restarts, or the machine reboots.
    ConnectionLost,
    /// The machine configuration itself was refused.
    BadConfig,
    /// Only control planes do this.
    NotControlPlane,
}

impl Meaning {
    fn text(self) -> &'static str {
        match self {
            Self::InMaintenance => "it is in maintenance mode: it has no configuration (any more)",
            Self::AnotherCluster => {
                "it belongs to another cluster: an old disk, or somebody else's machine at this address"
            }
            Self::NotInMaintenance => "it runs with a configuration already, and is not in maintenance mode",
            Self::ClockSkew => "the clocks differ: compare the time of this computer, the machine and its Proxmox node",
            Self::WrongName => {
                "its certificate does not name this address (yet); add it to machine.certSANs if it stays so"
            }
            Self::OurCertificateRefused => {
                "it refused our client certificate: it takes only certificates of its machine CA, valid by its own \
                 clock, with clientAuth as their one extended key usage"
            }
            Self::RoleTooSmall => "the certificate's role does not allow this; os:admin does",
            Self::ConnectionLost => "the connection broke, as when the machine reboots or its API restarts",
            Self::BadConfig => "the machine configuration is not acceptable to this machine",
            Self::NotControlPlane => "only control planes do this",
        }
    }
}

fn explained(meaning: Option<Meaning>) -> String {
    meaning.map_or_else(String::new, |meaning| format!(" ({})", meaning.text()))
}

impl TalosError {
    /// Retry, or stop.
    pub fn kind(&self) -> Kind {
        if let Some(meaning) = self.meaning() {
            return match meaning {
                Meaning::InMaintenance
                | Meaning::ClockSkew
                | Meaning::WrongName
                // A machine whose clock is behind refuses a certificate that is valid, until it is in sync.
                | Meaning::OurCertificateRefused
                | Meaning::ConnectionLost => Kind::Transient,
                Meaning::AnotherCluster
                | Meaning::NotInMaintenance
                | Meaning::RoleTooSmall
                | Meaning::BadConfig
                | Meaning::NotControlPlane => Kind::Permanent,
            };
        }
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Tls { .. } | Self::Reply { .. } => Kind::Transient,
            Self::Rpc { code, .. } => match code {
                Code::InvalidArgument
                | Code::Unimplemented
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::ResourceExhausted
                | Code::OutOfRange => Kind::Permanent,
                _ => Kind::Transient,
            },
            Self::Stranger { .. } | Self::Pin { .. } | Self::Credentials { .. } | Self::Talosconfig { .. } => {
                Kind::Permanent
            }
        }
    }

    /// What it says about the machine, where the wire tells.
    pub fn meaning(&self) -> Option<Meaning> {
        match self {
            Self::Tls { meaning, .. } | Self::Rpc { meaning, .. } => *meaning,
            Self::Stranger { meaning, .. } => Some(*meaning),
            _ => None,
        }
    }

    /// The gRPC code, if the machine answered with one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Rpc { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The error with its causes on one line: for the reason of a wait.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
