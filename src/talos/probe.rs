//! Whose is what answers at an address, and what is it doing?
//!
//! The certificate says whose, a real reply says what. A finished handshake
//! says nothing: with TLS 1.3 a machine refuses a client only afterwards.

use std::io;
use std::net::IpAddr;

use tonic::Code;

use super::dial::{Failed, dial};
use super::tls::{Seen, Trust};
use super::{Credentials, Meaning, Stage, Talos, TalosError, Unmet};
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
        Err(Failed { seen, .. }) if is_foreign(&seen) => return Class::Foreign,
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
    if is_foreign(&seen) {
        return Class::Foreign;
    }
    if let Some(Err(source)) = &seen.chain {
        let source = io::Error::other(source.clone());
        return Class::Down(TalosError::Tls { address: line.address, meaning: seen.meaning(), source }.chain());
    }
    match Talos::over(line, true).machine_status().await {
        Ok(Some(status)) => Class::Ours { stage: status.stage, ready: status.ready, unmet: status.unmet },
        Ok(None) => Class::Ours { stage: Stage::Unknown, ready: false, unmet: Vec::new() },
        Err(error) => Class::Down(error.chain()),
    }
}

/// Whether the certificate says so. One that is ours but for its dates or its name does not: being called foreign is
/// final, and clocks and names mend.
fn is_foreign(seen: &Seen) -> bool {
    let vouched_for = match &seen.chain {
        None => false,
        Some(Ok(())) => true,
        Some(Err(_)) => seen.meaning() != Some(Meaning::AnotherCluster),
    };
    seen.any && !seen.in_maintenance() && !vouched_for
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error};

    use super::*;

    #[test]
    fn only_another_issuer_makes_a_machine_foreign() {
        let seen = |chain: Option<Result<(), CertificateError>>| Seen {
            name: "lab-cp-1".into(),
            fingerprint: String::new(),
            chain: chain.map(|result| result.map_err(Error::InvalidCertificate)),
            any: true,
        };
        assert!(is_foreign(&seen(Some(Err(CertificateError::UnknownIssuer)))));
        assert!(is_foreign(&seen(None)), "without credentials nothing configured is ours");
        for mends in [CertificateError::NotValidYet, CertificateError::Expired, CertificateError::NotValidForName] {
            assert!(!is_foreign(&seen(Some(Err(mends)))));
        }
        assert!(!is_foreign(&seen(Some(Ok(())))));
        assert!(!is_foreign(&Seen::default()), "nothing was seen");
    }
}
