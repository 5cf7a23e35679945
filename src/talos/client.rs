//! A connection to one machine, and how every call over it is made.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;
use tonic::Code;

use super::dial::{Line, dial};
use super::tls::Trust;
use super::wire::machine::machine_service_client::MachineServiceClient;
use super::wire::{cosi, machine};
use super::{Credentials, Meaning, TalosError};
use crate::reach::Reach;

/// For one call, unless it says otherwise.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Talos 1.13: pkg/machinery/constants/constants.go `GRPCMaxMessageSize`; tonic's default is 4 MiB.
const MAX_MESSAGE: usize = 32 << 20;

/// One connection to one machine. Cheap to clone; never reconnects: when it broke, dial again.
#[derive(Clone)]
pub struct Talos {
    line: Line,
    secured: bool,
}

impl Talos {
    /// Connects to a machine that has no configuration yet.
    ///
    /// Nobody vouches for who answers: before anything secret is sent, ask [`Talos::identity`] over this connection.
    /// Permanent errors: [`TalosError::Stranger`] if it is not in maintenance mode.
    pub async fn maintenance(reach: &Reach, ip: IpAddr) -> Result<Self, TalosError> {
        let line = dial(reach, ip, Trust::Anybody, None).await.map_err(|failed| failed.error)?;
        if !line.seen.in_maintenance() {
            return Err(TalosError::Stranger {
                address: line.address,
                shown: line.seen.name,
                meaning: Meaning::NotInMaintenance,
            });
        }
        Ok(Self { line, secured: false })
    }

    /// [`Talos::maintenance`], refusing any key but the one whose fingerprint the machine's console showed.
    ///
    /// Talos renews key and fingerprint when its addresses or its hostname change and every 12 h.
    pub async fn maintenance_pinned(reach: &Reach, ip: IpAddr, fingerprint: &str) -> Result<Self, TalosError> {
        let talos = Self::maintenance(reach, ip).await?;
        if talos.fingerprint() == fingerprint {
            return Ok(talos);
        }
        Err(TalosError::Pin {
            address: talos.address(),
            expected: fingerprint.to_owned(),
            seen: talos.fingerprint().to_owned(),
        })
    }

    /// Connects to a machine of the cluster that `credentials` administer, both sides proving who they are.
    ///
    /// A refusal of our own certificate shows with the first call only (TLS 1.3).
    pub async fn secured(reach: &Reach, ip: IpAddr, credentials: &Credentials) -> Result<Self, TalosError> {
        let line = dial(reach, ip, Trust::Cluster, Some(credentials)).await.map_err(|failed| failed.error)?;
        Ok(Self { line, secured: true })
    }

    /// A line that [`super::probe()`] opened and classified.
    pub(super) fn over(line: Line, secured: bool) -> Self {
        Self { line, secured }
    }

    /// The site's own address of the machine.
    pub fn address(&self) -> SocketAddr {
        self.line.address
    }

    /// Standard base64 of the SHA-256 over the machine's public key, as its console shows it.
    pub fn fingerprint(&self) -> &str {
        &self.line.seen.fingerprint
    }

    /// Whether both sides have proven who they are.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    pub(super) fn machine(&self) -> MachineServiceClient<tonic::transport::Channel> {
        MachineServiceClient::new(self.line.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn state(&self) -> cosi::state_client::StateClient<tonic::transport::Channel> {
        cosi::state_client::StateClient::new(self.line.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Runs one call under a deadline and turns its failure into an error that says what it means.
    pub(super) async fn call<T>(
        &self,
        method: &'static str,
        deadline: Duration,
        call: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, TalosError> {
        match timeout(deadline, call).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(status)) => Err(self.failed(method, &status)),
            Err(_) => Err(TalosError::Timeout { address: self.address(), doing: method, after: deadline }),
        }
    }

    fn failed(&self, method: &'static str, status: &tonic::Status) -> TalosError {
        let mut message = status.message().to_owned();
        // A status that came over the wire has no source; one that tonic made of a broken connection has.
        let broken = std::error::Error::source(status).is_some();
        let meaning = if let Some(alert) = self.line.alert.get() {
            message = format!("TLS alert {alert:?}");
            Some(Meaning::OurCertificateRefused)
        } else if broken {
            Some(Meaning::ConnectionLost)
        } else if status.code() == Code::PermissionDenied && self.secured && message == "not authorized" {
            Some(Meaning::RoleTooSmall)
        } else {
            None
        };
        TalosError::Rpc { address: self.address(), method, code: status.code(), message, meaning }
    }

    /// Takes the one element of a reply's `messages`.
    pub(super) fn only<T>(&self, method: &'static str, messages: Vec<T>) -> Result<T, TalosError> {
        messages.into_iter().next().ok_or_else(|| TalosError::Reply {
            address: self.address(),
            method,
            reason: "the reply holds no message".into(),
        })
    }

    /// The version that runs there, without its `v`: `1.13.9`. Up to Talos 1.12 not in maintenance mode.
    pub async fn version(&self) -> Result<String, TalosError> {
        const METHOD: &str = "Version";
        let reply = self.call(METHOD, DEADLINE, async { self.machine().version(()).await }).await?.into_inner();
        let version: machine::Version = self.only(METHOD, reply.messages)?;
        let tag = version.version.unwrap_or_default().tag;
        Ok(tag.strip_prefix('v').unwrap_or(&tag).to_owned())
    }
}
