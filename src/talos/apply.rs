//! Handing a machine its configuration.

use std::time::Duration;

use tonic::Code;

use super::wire::machine::ApplyConfigurationRequest;
use super::wire::machine::apply_configuration_request::Mode;
use super::{Meaning, Talos, TalosError};
use crate::secrets::Secret;

/// The machine validates against its disks before it answers.
const DEADLINE: Duration = Duration::from_secs(15);

/// The machine has the configuration (or, in a dry run, would take it).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Never fatal: deprecated fields and such. To be shown.
    pub warnings: Vec<String>,
    /// It had one before this call and left maintenance mode: an earlier call's answer was lost.
    pub already: bool,
}

impl Talos {
    /// Applies a complete machine configuration (YAML, several documents allowed), or only has it checked.
    ///
    /// The mode is always AUTO: an unset one means REBOOT, which 1.14 refuses when running, and up to 1.12 the others
    /// are refused in maintenance. The answer comes before anything happens. `mode_details` is dropped on purpose: in
    /// a dry run it is a diff that shows secrets, and from 1.13 on it denies the reboot that follows.
    pub async fn apply(&self, config: &Secret, dry_run: bool) -> Result<Applied, TalosError> {
        const METHOD: &str = "ApplyConfiguration";
        let request = ApplyConfigurationRequest {
            data: config.expose().as_bytes().to_vec(),
            mode: Mode::Auto.into(),
            dry_run,
            try_mode_timeout: None,
        };
        let reply = self.call(METHOD, DEADLINE, async { self.machine().apply_configuration(request).await }).await;
        match reply {
            Ok(reply) => {
                let applied = self.only(METHOD, reply.into_inner().messages)?;
                Ok(Applied { warnings: applied.warnings, already: false })
            }
            // From Talos 1.13 on maintenance mode takes one complete configuration and then closes this door.
            Err(error) if error.code() == Some(Code::PermissionDenied) && !self.is_secured() => {
                Ok(Applied { warnings: Vec::new(), already: true })
            }
            Err(error) => Err(judged(error)),
        }
    }
}

/// Tells a refused configuration from a refused call. Its text is Talos's own and names document and key.
fn judged(mut error: TalosError) -> TalosError {
    if let TalosError::Rpc { code, message, meaning, .. } = &mut error {
        let refused = match code {
            Code::InvalidArgument => true,
            // Up to Talos 1.12 the maintenance service answers a parse error without a code.
            Code::Unknown => message.starts_with("failed to parse config"),
            _ => false,
        };
        if refused {
            *meaning = Some(Meaning::BadConfig);
        }
    }
    error
}
