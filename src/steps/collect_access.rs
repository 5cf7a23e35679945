//! Hands the cluster over: contexts in the user's kubeconfig and talosconfig, and takes them out again.

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Work;
use super::context::Context;
use super::error::{Late, StepError, chain};
use crate::event::{Leftovers, StepId};
use crate::inventory::Fact;
use crate::kube::kubeconfig;
use crate::secrets::{Secret, file};
use crate::talos::{Talos, TalosError, talosconfig};
use crate::wait::{self, Pace, Probe};

/// Writes the contexts of `cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectAccess {
    pub cluster: String,
    /// The control planes by name, the bootstrapped one first.
    pub control_planes: Vec<String>,
}

impl Work for CollectAccess {
    fn id(&self) -> StepId {
        StepId::new("collect_access")
    }

    fn describe(&self) -> String {
        format!("add context {} to kubeconfig and talosconfig", self.cluster)
    }

    fn calls(&self) -> Vec<String> {
        vec![format!("talos Kubeconfig on {}", self.control_planes.first().map_or("", String::as_str))]
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let addresses: Vec<IpAddr> = self
            .control_planes
            .iter()
            .map(|name| context.inventory.address(name))
            .collect::<Result<_, _>>()
            .map_err(|e| StepError::clean("collect the control planes' addresses", e))?;
        let first = *addresses.first().ok_or_else(|| StepError::clean("collect access", "no control plane"))?;
        // Known before it is done: undo takes out what may have been put in.
        let fact = Fact::Access {
            context: self.cluster.clone(),
            kubeconfig: tools.kubeconfig.clone(),
            talosconfig: tools.talosconfig.clone(),
        };
        context.note(fact.clone()).await?;
        if let Some(path) = &tools.talosconfig {
            let credentials = tools.vault.credentials(&self.cluster).await?;
            let endpoints: Vec<String> = addresses.iter().map(|ip| tools.reach.ip(*ip).to_string()).collect();
            let ours = talosconfig::Context {
                name: &self.cluster,
                endpoints: &endpoints,
                nodes: &endpoints[..1],
                credentials,
            };
            rewrite(path, |existing| talosconfig::merge(existing, &ours).map(Some))?;
        }
        if let Some(path) = &tools.kubeconfig {
            let incoming = admin_kubeconfig(context, &self.cluster, first).await?;
            rewrite(path, |existing| kubeconfig::merge(existing, &incoming, &self.cluster, &tools.reach).map(Some))?;
        }
        Ok(vec![fact])
    }

    fn leaves(&self) -> bool {
        true
    }

    async fn undo(&self, context: &Context<'_>) -> Result<(), StepError> {
        let Some((name, kube, talos)) = &context.inventory.access else { return Ok(()) };
        remove_contexts(name, kube.as_deref(), talos.as_deref())
    }
}

/// Takes the contexts called `name` out of both files; what is not there is no error.
pub fn remove_contexts(name: &str, kube: Option<&Path>, talos: Option<&Path>) -> Result<(), StepError> {
    let without = |text: Option<&str>| text.map(|text| kubeconfig::remove(text, name)).transpose();
    kube.map_or(Ok(()), |path| rewrite(path, without))?;
    let without = |text: Option<&str>| text.map(|text| talosconfig::remove(text, name)).transpose();
    talos.map_or(Ok(()), |path| rewrite(path, without))
}

/// An administrator's kubeconfig, signed by the control plane at `ip`.
pub(super) async fn admin_kubeconfig(context: &Context<'_>, cluster: &str, ip: IpAddr) -> Result<Secret, StepError> {
    let tools = context.tools;
    let credentials = tools.vault.credentials(cluster).await?;
    let what = "the administrator's kubeconfig";
    let waited = wait::until(what, Pace::BRISK, tools.deadlines.task, context.waiting(what), async || {
        let asked = async { Talos::secured(&tools.reach, ip, credentials).await?.kubeconfig().await };
        match asked.await {
            Ok(text) => Probe::<Secret, TalosError>::Ready(text),
            Err(error) => Probe::NotYet(error.chain()),
        }
    });
    waited.await.or_late(format!("get a kubeconfig from {ip}"), Leftovers::Marked)
}

/// Whether both files can be read, understood and replaced: found out at the end, it would cost a healthy cluster.
pub fn check_contexts(kube: Option<&Path>, talos: Option<&Path>) -> Result<(), StepError> {
    if let Some(path) = kube {
        usable(path, |text| kubeconfig::holds(text, "").map(drop))?;
    }
    talos.map_or(Ok(()), |path| usable(path, |text| talosconfig::holds(text, "").map(drop)))
}

fn usable<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    read: impl FnOnce(&str) -> Result<(), E>,
) -> Result<(), StepError> {
    let attempted = || format!("use {}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => read(&text).map_err(|e| StepError::clean(attempted(), e))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(StepError::clean(attempted(), error)),
    }
    // A file is replaced by renaming another over it, so it is its folder that has to take files.
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).map(drop).map_err(|e| StepError::clean(attempted(), e))
}

/// Replaces the file's text by what `change` makes of it, atomically and with mode 0600; unchanged text is not written.
fn rewrite<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    change: impl Fn(Option<&str>) -> Result<Option<Secret>, E>,
) -> Result<(), StepError> {
    let failed = |e: &dyn std::error::Error| StepError::marked(format!("change {}", path.display()), chain(e));
    let changed = || -> Result<Option<Secret>, StepError> {
        let existing = match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(&error)),
        };
        let text = change(existing.as_deref()).map_err(|e| failed(&e))?;
        Ok(text.filter(|text| existing.as_deref() != Some(text.expose())))
    };
    if changed()?.is_none() {
        return file::tidy(path).map_err(|e| failed(&e));
    }
    // Asked again when it is our turn: another cluster's context may have come or gone.
    let draft = file::Draft::of(path).map_err(|e| failed(&e))?;
    match changed()? {
        Some(text) => draft.put(text.expose().as_bytes()).map_err(|e| failed(&e)),
        None => Ok(()),
    }
}
