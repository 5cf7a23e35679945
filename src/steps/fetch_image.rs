//! Brings the boot image onto a node's storage.
//!
//! The node downloads it itself where token and network allow; otherwise it is
//! streamed through us. The name carries everything that tells one image from
//! another, so what is there under that name need not be fetched again, whoever
//! fetched it. Undo deletes the file only if this run fetched it and no VM that we
//! can see names it.

use serde::{Deserialize, Serialize};
use url::Url;

use super::Work;
use super::context::Context;
use super::error::{StepError, of_pve};
use super::mark::Claim;
use crate::event::{Leftovers, StepId};
use crate::factory::{Asset, Schematic};
use crate::inventory::Fact;
use crate::pve::{Download, PveError};

/// Who moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The node, by `download-url`.
    Node,
    /// This program: download and upload in one stream.
    Us,
}

/// Fetches `asset` to `storage` on `node`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchImage {
    pub node: String,
    pub storage: String,
    pub asset: Asset,
    /// The schematic's canonical text, or `None` when the profile names only an id.
    pub schematic: Option<String>,
    /// File name on the storage.
    pub file: String,
    /// Where the node gets it.
    pub url: Url,
    pub via: Via,
    /// The token may not delete images (`Datastore.Allocate`), so it stays when the cluster goes.
    pub keep: bool,
}

impl FetchImage {
    /// `local:iso/talos-v1.12.4-….iso`.
    pub fn volid(&self) -> String {
        format!("{}:iso/{}", self.storage, self.file)
    }

    async fn present(&self, context: &Context<'_>) -> Result<Option<Option<u64>>, PveError> {
        let volumes = context.tools.pve.volumes(&self.node, &self.storage, "iso").await?;
        let volid = self.volid();
        Ok(volumes.into_iter().find(|volume| volume.volid == volid).map(|volume| volume.size))
    }

    async fn download(&self, context: &Context<'_>) -> Result<(), PveError> {
        let tools = context.tools;
        let download = Download { url: self.url.clone(), filename: self.file.clone(), checksum: None };
        let upid = tools.pve.download_url(&self.node, &self.storage, &download).await?;
        let waiting = context.waiting("the node's download");
        tools.pve.wait_task(&upid, tools.deadlines.image, waiting).await?;
        Ok(())
    }

    async fn stream(&self, context: &Context<'_>) -> Result<(), StepError> {
        let tools = context.tools;
        let attempted = format!("stream {} to {} on node {}", self.file, self.storage, self.node);
        let failed = |error: PveError| of_pve(attempted.clone(), Leftovers::Marked, error);
        let download = tools.factory.open(&self.asset).await.map_err(|e| StepError::clean(&attempted, e))?;
        let length = download
            .length
            .ok_or_else(|| StepError::clean(&attempted, "the factory did not say how long the image is"))?;
        let upid = tools
            .pve
            .upload(&self.node, &self.storage, &self.file, length, None, download.stream)
            .await
            .map_err(failed)?;
        let waiting = context.waiting("the node to take the image in");
        tools.pve.wait_task(&upid, tools.deadlines.image, waiting).await.map_err(failed)?;
        Ok(())
    }
}

impl Work for FetchImage {
    fn id(&self) -> StepId {
        StepId::of("fetch_image", &self.node)
    }

    fn describe(&self) -> String {
        let how = match self.via {
            Via::Node => "the node downloads it",
            Via::Us => "streamed through here",
        };
        format!("fetch {} to node {} ({how}), unless it is there", self.volid(), self.node)
    }

    fn calls(&self) -> Vec<String> {
        let base = format!("/nodes/{}/storage/{}", self.node, self.storage);
        let fetch = match self.via {
            Via::Node => format!("POST {base}/download-url"),
            Via::Us => format!("POST {base}/upload"),
        };
        vec![
            format!("GET {base}/content"),
            String::from("POST factory /schematics"),
            format!("HEAD {}", self.url),
            fetch,
            format!("GET {base}/content"),
        ]
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let attempted = format!("fetch {} to node {}", self.volid(), self.node);
        let failed = |error: PveError| of_pve(attempted.clone(), Leftovers::Marked, error);
        let fact = |created| Fact::Image { node: self.node.clone(), volid: self.volid(), created };
        // A run that was cut off while fetching finds its own work here.
        let known = context.inventory.images.get(&self.node);
        let ours = known.is_some_and(|(volid, created)| *created && *volid == self.volid());
        if self.present(context).await.map_err(failed)?.is_some() {
            return Ok(vec![fact(ours)]);
        }
        create_schematic(context, self.schematic.as_deref(), &self.asset).await?;
        let size = tools
            .factory
            .warm_image(&self.asset, tools.deadlines.image, context.waiting("the factory's image"))
            .await
            .map_err(|e| StepError::clean(&attempted, e))?;
        context.note(fact(true)).await?;
        let mut created = true;
        match self.via {
            Via::Us => self.stream(context).await?,
            Via::Node => match self.download(context).await {
                Ok(()) => {}
                Err(error) if error.refuses_to_overwrite() => created = false, // Somebody was faster, with the same file.
                Err(error) if error.is_outcome_unknown() || error.is_forbidden() || error.is_failed_download() => {
                    if self.present(context).await.map_err(failed)?.is_none() {
                        context.warn(format!("{attempted}: {error}; streaming it through here instead"));
                        self.stream(context).await?;
                    }
                }
                Err(error) => return Err(failed(error)),
            },
        }
        match (self.present(context).await.map_err(failed)?, size) {
            (None, _) => {
                Err(StepError::unknown(attempted, "the task ended well, but the storage does not list the image"))
            }
            (Some(Some(got)), Some(size)) if got != size => Err(StepError::marked(
                attempted,
                format!("the storage holds {got} bytes, the factory says {size}: the download was cut short"),
            )),
            _ => Ok(vec![fact(created)]),
        }
    }

    fn leaves(&self) -> bool {
        true
    }

    async fn undo(&self, context: &Context<'_>) -> Result<(), StepError> {
        if !context.inventory.images.get(&self.node).is_some_and(|(_, created)| *created) {
            return Ok(());
        }
        if !self.keep {
            return remove_image(context, &self.node, &self.volid()).await;
        }
        let attempted = format!("look for {} on node {}", self.volid(), self.node);
        if self.present(context).await.map_err(|error| of_pve(attempted, Leftovers::Marked, error))?.is_some() {
            context.warn(format!("{} stays: the token lacks Datastore.Allocate on its storage", self.volid()));
        }
        Ok(())
    }
}

/// Deletes the boot image `volid` as `node` sees it, unless a VM that we can see names it; gone is success. A VM of ours that does is an
/// error: the image goes with it, when that is tried again.
pub async fn remove_image(context: &Context<'_>, node: &str, volid: &str) -> Result<(), StepError> {
    let pve = &context.tools.pve;
    let attempted = format!("delete {volid} on node {node}");
    let failed = |error: PveError| of_pve(attempted.clone(), Leftovers::Marked, error);
    let storage = volid.split(':').next().unwrap_or_default();
    if !pve.volumes(node, storage, "iso").await.map_err(failed)?.iter().any(|volume| volume.volid == volid) {
        return Ok(());
    }
    for guest in pve.guests().await.map_err(failed)? {
        if guest.lxc {
            continue;
        }
        match pve.config(&guest.node, guest.vmid).await {
            Ok(config)
                if config.names_volume(volid)
                    && Claim::proven(&config).is_some_and(|claim| claim.mark == context.tools.mark) =>
            {
                return Err(StepError::marked(attempted, format!("VM {} is still there and uses it", guest.vmid)));
            }
            Ok(config) if config.names_volume(volid) => {
                context.warn(format!("{volid} stays: VM {} uses it", guest.vmid));
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if error.is_missing_vm() || error.is_forbidden() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if let Some(upid) = pve.delete_volume(node, storage, volid).await.map_err(failed)? {
        pve.wait_task(&upid, context.tools.deadlines.task, context.waiting(&attempted)).await.map_err(failed)?;
    }
    Ok(())
}

/// Makes sure that the factory knows the schematic: an id that was never posted to it is unknown to it.
pub(super) async fn create_schematic(
    context: &Context<'_>,
    text: Option<&str>,
    asset: &Asset,
) -> Result<(), StepError> {
    let Some(text) = text else { return Ok(()) };
    let attempted = format!("register schematic {} with the factory", asset.schematic);
    let schematic = Schematic::parse(text).map_err(|e| StepError::clean(&attempted, e))?;
    context.tools.factory.create(&schematic).await.map_err(|e| StepError::clean(attempted, e))?;
    Ok(())
}
