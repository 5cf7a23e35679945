//! What a machine answers on port 50000: Talos's gRPC API, without talosctl.
//!
//! One [`Talos`] is one connection to one machine, dialled directly and without
//! routing metadata: a proxied reply hides the failure of the machine behind it
//! (the RPC is OK, the error sits in `metadata.error`). It never reconnects by
//! itself. Over the maintenance API nobody proves who he is, so what was read and
//! what is then sent must travel over the same connection; and a secured one that
//! broke has usually lost its machine to a reboot, which the caller has to see.
//!
//! There is no HTTP/2 keepalive: Talos sets no enforcement policy, so grpc-go's
//! default answers the third early ping with GOAWAY `ENHANCE_YOUR_CALM`. Every
//! call has a deadline instead.
//!
//! Whoever answers is classified by a real reply, see [`probe()`]: with TLS 1.3 a
//! client without certificate completes its handshake with a machine that will refuse it.

mod apply;
mod bootstrap;
mod client;
mod cosi;
mod dial;
mod error;
mod identity;
mod kubeconfig;
mod minor;
mod probe;
mod status;
pub mod talosconfig;
mod tls;
pub mod wire;

pub use apply::Applied;
pub use bootstrap::Bootstrap;
pub use client::Talos;
pub use cosi::Resource;
pub use error::{Kind, Meaning, TalosError};
pub use identity::{Disk, Identity};
pub use minor::{BadVersion, Kubernetes, Minor};
pub use probe::{Class, probe};
pub use status::{EtcdMember, NodeStatus, Service, Stage, StaticPod, Status, Unmet};

use crate::secrets::Secret;

/// Talos 1.13: pkg/machinery/constants/constants.go `ApidPort`; maintenance and running alike.
pub const APID_PORT: u16 = 50000;

/// What makes us an administrator of one cluster: the machine CA, and a client certificate signed by it.
///
/// The certificate must have the role in `O` and exactly one extended key usage, clientAuth, or machines refuse it
/// (Talos 1.12: internal/app/apid/service.go `verifyExtKeyUsage`).
#[derive(Clone)]
pub struct Credentials {
    /// PEM of the machine CA.
    pub ca_pem: String,
    /// PEM of the client certificate.
    pub crt_pem: String,
    /// PEM of its key, under Talos's own label `ED25519 PRIVATE KEY` or any usual one.
    pub key_pem: Secret,
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
