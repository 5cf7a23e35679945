//! Makes the factory build the installer image before a machine pulls it.
//!
//! The installer is built apart from the boot image, on the first pull of its
//! manifest; a machine that pulls a cold one gives up with "context deadline
//! exceeded". Nothing is made that could be undone: the factory keeps its builds.

use serde::{Deserialize, Serialize};

use super::Work;
use super::context::Context;
use super::error::StepError;
use super::fetch_image::create_schematic;
use crate::event::StepId;
use crate::factory::Asset;
use crate::inventory::Fact;

/// Warms the installer that belongs to `asset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmInstaller {
    pub asset: Asset,
    /// The schematic's canonical text, or `None` when the profile names only an id.
    pub schematic: Option<String>,
    /// `factory.talos.dev/nocloud-installer-secureboot/ID:vX.Y.Z`.
    pub reference: String,
}

impl Work for WarmInstaller {
    fn id(&self) -> StepId {
        StepId::new("warm_installer")
    }

    fn describe(&self) -> String {
        format!("have the factory build the installer {}", self.reference)
    }

    fn calls(&self) -> Vec<String> {
        vec![String::from("POST factory /schematics"), format!("HEAD factory manifest of {}", self.reference)]
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        create_schematic(context, self.schematic.as_deref(), &self.asset).await?;
        let waiting = context.waiting("the factory's installer");
        tools
            .factory
            .warm_installer(&self.asset, tools.deadlines.installer, waiting)
            .await
            .map_err(|e| StepError::clean(format!("have the installer {} built", self.reference), e))?;
        Ok(vec![Fact::Installer { reference: self.reference.clone() }])
    }
}
