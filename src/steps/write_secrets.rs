//! Makes the cluster's secrets bundle, once, and keeps it where the profile says.
//!
//! A bundle that is there is never rewritten: it is the identity of a cluster,
//! and overwriting it is the end of that cluster. Undo removes only what this
//! cluster's run made, and only while it still is what was made.

use serde::{Deserialize, Serialize};

use super::Work;
use super::context::Context;
use super::error::StepError;
use crate::event::StepId;
use crate::inventory::Fact;
use crate::machineconfig::{Bundle, Contract};

/// Makes the bundle, unless there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteSecrets {
    /// Where it is kept, for people: `pass:lab/talos/secrets`.
    pub reference: String,
    /// The version contract, which decides the kinds of keys.
    pub contract: String,
}

impl Work for WriteSecrets {
    fn id(&self) -> StepId {
        StepId::new("write_secrets")
    }

    fn describe(&self) -> String {
        format!("make the secrets bundle and keep it in {}, unless it is there", self.reference)
    }

    fn calls(&self) -> Vec<String> {
        Vec::new()
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let vault = &context.tools.vault;
        let attempted = format!("keep the secrets bundle in {}", self.reference);
        let fact = |bundle: &Bundle, created| Fact::Secrets {
            reference: self.reference.clone(),
            created,
            identity: identity(bundle),
        };
        if vault.provider.exists().await.map_err(|e| StepError::clean(&attempted, e))? {
            let there = vault.bundle().await?;
            // A run that was cut off after writing finds its own work here.
            let known = context.inventory.secrets.as_ref();
            let ours = known.is_some_and(|known| known.created && known.identity == identity(there));
            return Ok(vec![fact(there, ours)]);
        }
        let contract = Contract::parse(&self.contract).map_err(|e| StepError::clean(&attempted, e))?;
        let bundle = vault.take_fresh(&contract).await?;
        context.note(fact(&bundle, true)).await?;
        vault.provider.write(&bundle.to_yaml()).await.map_err(|e| StepError::unknown(attempted, e))?;
        let made = fact(&bundle, true);
        vault.remember(bundle);
        Ok(vec![made])
    }

    fn leaves(&self) -> bool {
        true
    }

    async fn undo(&self, context: &Context<'_>) -> Result<(), StepError> {
        let vault = &context.tools.vault;
        let attempted = format!("remove the secrets bundle from {}", self.reference);
        let Some(known) = context.inventory.secrets.as_ref().filter(|known| known.created) else { return Ok(()) };
        if !vault.provider.exists().await.map_err(|e| StepError::marked(&attempted, e))? {
            // A run that died while it wrote left a part of it.
            return vault.provider.tidy().map_err(|e| StepError::marked(attempted, e));
        }
        let text = vault.provider.read().await.map_err(|e| StepError::marked(&attempted, e))?;
        // A bundle that was put there by somebody else, in our place, is somebody else's.
        if Bundle::parse(text.expose()).is_ok_and(|bundle| identity(&bundle) != known.identity) {
            return Ok(());
        }
        vault.provider.remove().await.map_err(|e| StepError::marked(attempted, e))
    }
}

/// SHA-256 of the Talos CA's certificate: public, and no other bundle has it.
fn identity(bundle: &Bundle) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bundle.talos_ca().as_bytes()))
}
