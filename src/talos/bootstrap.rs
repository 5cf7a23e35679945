//! Starting etcd, once, on one machine.
//!
//! Nothing on Talos's side keeps two machines from being bootstrapped into two
//! clusters of one (siderolabs/talos issue 5500): the caller picks one machine,
//! writes the choice down, and never calls this on another.

use tonic::Code;

use super::client::DEADLINE;
use super::wire::machine::BootstrapRequest;
use super::{Meaning, Talos, TalosError};

/// Both are success, on the one machine that is always bootstrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// etcd is starting; it is not healthy yet.
    Started,
    /// There is etcd data: an earlier call took effect.
    AlreadyDone,
}

impl Talos {
    /// Bootstraps etcd here. A lost answer is a transient error, and calling again is safe: the second answer tells.
    ///
    /// Too early (services not up, time not in sync) is transient; a worker, a missing role and a cluster without etcd
    /// are permanent (Talos 1.13: internal/app/machined/internal/server/v1alpha1/v1alpha1_server.go).
    pub async fn bootstrap(&self) -> Result<Bootstrap, TalosError> {
        let request = BootstrapRequest { recover_etcd: false, recover_skip_hash_check: false };
        match self.call("Bootstrap", DEADLINE, async { self.machine().bootstrap(request).await }).await {
            Ok(_) => Ok(Bootstrap::Started),
            Err(error) if error.code() == Some(Code::AlreadyExists) => Ok(Bootstrap::AlreadyDone),
            Err(error) => Err(judged(error)),
        }
    }
}

fn judged(mut error: TalosError) -> TalosError {
    if let TalosError::Rpc { code, message, meaning, .. } = &mut error {
        // Up to Talos 1.12 a worker says FAILED_PRECONDITION, which otherwise means "too early".
        if matches!(code, Code::FailedPrecondition | Code::Unimplemented) && message.contains("on a control plane node")
            || *code == Code::Unimplemented && message.contains("on control plane nodes")
        {
            *meaning = Some(Meaning::NotControlPlane);
        }
    }
    error
}
