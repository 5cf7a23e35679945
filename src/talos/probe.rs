//! Whose is what answers at an address, and what is it doing?
//!
//! The certificate says whose, a real reply says what. A finished handshake
//! says nothing: with TLS 1.3 a machine refuses a client only afterwards.

use std::net::IpAddr;

use tonic::Code;

use super::dial::{Failed, dial};
use super::tls::Trust;
use super::{Credentials, Stage, Talos, TalosError, Unmet};
use crate::reach::Reach;

/// What answers at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// A machine without configuration. Whose it is, [`Talos::identity`] tells.
    Maintenance,
    /// It took a configuration, and has not changed over to it yet.
    Transition,
    /// A machine of our cluster; it proved to have a certificate of our CA for this address.
    Ours { stage: Stage, ready: bool, unmet: Vec<Unmet> },
    /// It runs with a configuration that is not of our cluster. Not to be touched.
    Foreign,
    /// Nothing that can be talked to, now; the reason fits after "not yet: ".
    Down(String),
}

/// Dials `ip` once and classifies what answers. Without `credentials`, every configured machine is foreign.
pub async fn probe(reach: &Reach, ip: IpAddr, credentials: Option<&Credentials>) -> Class {
    let line = match dial(reach, ip, Trust::Anybody, credentials).await {
        Ok(line) => line,
        // Under TLS 1.2 a machine refuses us within the handshake, after it has shown whose it is.
        Err(Failed { seen, .. }) if seen.any && !seen.in_maintenance() && !is_vouched_for(seen.chain.as_ref()) => {
            return Class::Foreign;
        }
        Err(Failed { error, .. }) => return Class::Down(error.chain()),
    };
    let seen = line.seen.clone();
    if seen.in_maintenance() {
        return match Talos::over(line, false).machine_status().await {
            Ok(Some(status)) if status.stage == Stage::Maintenance => Class::Maintenance,
            Ok(_) => Class::Transition,
            Err(error) if error.code() == Some(Code::PermissionDenied) => Class::Transition,
            Err(error) => Class::Down(error.chain()),
        };
    }
    match seen.chain.clone() {
        Some(Ok(())) => {}
        Some(Err(source)) => {
            let meaning = seen.meaning();
            if !matches!(meaning, Some(super::Meaning::ClockSkew | super::Meaning::WrongName)) {
                return Class::Foreign;
            }
            let source = std::io::Error::other(source);
            return Class::Down(TalosError::Tls { address: line.address, meaning, source }.chain());
        }
        None => return Class::Foreign,
    }
    match Talos::over(line, true).machine_status().await {
        Ok(Some(status)) => Class::Ours { stage: status.stage, ready: status.ready, unmet: status.unmet },
        Ok(None) => Class::Ours { stage: Stage::Unknown, ready: false, unmet: Vec::new() },
        Err(error) => Class::Down(error.chain()),
    }
}

fn is_vouched_for(chain: Option<&Result<(), rustls::Error>>) -> bool {
    matches!(chain, Some(Ok(())))
}
