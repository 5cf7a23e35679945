//! Reading resources: everything that a machine knows about itself.
//!
//! The server resolves no aliases: the full type name and the namespace are
//! sent exactly as registered. An unknown type is PERMISSION_DENIED, not
//! NOT_FOUND (Talos 1.13: internal/app/resources/access.go).

use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use super::client::DEADLINE;
use super::wire::cosi::{self, EventType, GetRequest, ListRequest, WatchRequest};
use super::wire::specs;
use super::{Talos, TalosError};
use crate::secrets::Secret;

/// A spec that can be asked for: where its resources are kept.
pub trait Resource: Message + Default {
    const TYPE: &'static str;
    const NAMESPACE: &'static str;
}

macro_rules! resources {
    ($($spec:ident: $kind:literal in $namespace:literal;)*) => {
        $(impl Resource for specs::$spec {
            const TYPE: &'static str = $kind;
            const NAMESPACE: &'static str = $namespace;
        })*
    };
}

resources! {
    LinkStatusSpec: "LinkStatuses.net.talos.dev" in "network";
    AddressStatusSpec: "AddressStatuses.net.talos.dev" in "network";
    NodeAddressSpec: "NodeAddresses.net.talos.dev" in "network";
    HostnameStatusSpec: "HostnameStatuses.net.talos.dev" in "network";
    NetworkStatusSpec: "NetworkStatuses.net.talos.dev" in "network";
    SystemInformationSpec: "SystemInformations.hardware.talos.dev" in "hardware";
    DiskSpec: "Disks.block.talos.dev" in "runtime";
    SystemDiskSpec: "SystemDisks.block.talos.dev" in "runtime";
    VolumeStatusSpec: "VolumeStatuses.block.talos.dev" in "runtime";
    MachineStatusSpec: "MachineStatuses.runtime.talos.dev" in "runtime";
    SecurityStateSpec: "SecurityStates.talos.dev" in "runtime";
    VersionSpec: "Versions.runtime.talos.dev" in "runtime";
    ExtensionStatusSpec: "ExtensionStatuses.runtime.talos.dev" in "runtime";
    PlatformMetadataSpec: "PlatformMetadatas.talos.dev" in "runtime";
    BootIdSpec: "BootIDs.runtime.talos.dev" in "runtime";
    UnattendedInstallStatusSpec: "UnattendedInstallStatuses.runtime.talos.dev" in "runtime";
    DiagnosticSpec: "Diagnostics.runtime.talos.dev" in "runtime";
    ServiceSpec: "Services.v1alpha1.talos.dev" in "runtime";
    TimeStatusSpec: "TimeStatuses.v1alpha1.talos.dev" in "runtime";
    MemberSpec: "Members.cluster.talos.dev" in "cluster";
    NodeStatusSpec: "NodeStatuses.kubernetes.talos.dev" in "k8s";
    MachineConfigSpec: "MachineConfigs.config.talos.dev" in "config";
    StaticPodStatusSpec: "StaticPodStatuses.kubernetes.talos.dev" in "k8s";
}

impl Talos {
    /// The resource `id`; `None` if there is none, or if this version of Talos has no such kind.
    pub async fn get<R: Resource>(&self, id: &str) -> Result<Option<R>, TalosError> {
        let request =
            GetRequest { namespace: R::NAMESPACE.into(), r#type: R::TYPE.into(), id: id.into(), options: None };
        // Boxed, because an identity asks six of these side by side, and each is some 4 KiB.
        let reply = Box::pin(self.call(R::TYPE, DEADLINE, async { self.state().get(request).await })).await;
        match reply {
            Ok(reply) => reply.into_inner().resource.map(|resource| self.decode(resource)).transpose(),
            Err(error) if error.code() == Some(Code::NotFound) || is_unknown_kind(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The configuration that the machine runs with, YAML with every secret in it; `None` if it has none.
    ///
    /// Only an administrator may read it (Talos 1.13: pkg/machinery/resources/config/machine_config.go).
    pub async fn machine_config(&self) -> Result<Option<Secret>, TalosError> {
        let Some(spec) = self.get::<specs::MachineConfigSpec>("v1alpha1").await? else { return Ok(None) };
        let text = String::from_utf8(spec.yaml_marshalled).map_err(|_| TalosError::Reply {
            address: self.address(),
            method: specs::MachineConfigSpec::TYPE,
            reason: "the configuration is not text in UTF-8".into(),
        })?;
        Ok(Some(Secret::new(text)))
    }

    /// All resources of a kind, with their ids; none if this version of Talos has no such kind.
    pub async fn list<R: Resource>(&self) -> Result<Vec<(String, R)>, TalosError> {
        let request = ListRequest { namespace: R::NAMESPACE.into(), r#type: R::TYPE.into(), options: None };
        let all = self.call(R::TYPE, DEADLINE, async {
            let mut stream = self.state().list(request).await?.into_inner();
            let mut all = Vec::new();
            while let Some(reply) = stream.message().await? {
                all.extend(reply.resource);
            }
            Ok(all)
        });
        match Box::pin(all).await {
            Ok(all) => all
                .into_iter()
                .map(|resource| {
                    let id = resource.metadata.as_ref().map(|metadata| metadata.id.clone()).unwrap_or_default();
                    Ok((id, self.decode(resource)?))
                })
                .collect(),
            Err(error) if is_unknown_kind(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Watches the resource `id` and shows every state of it (`None`: absent) to `judge`, until that has an answer.
    ///
    /// `Ok(None)` after `span`. A watch that is cut ends as a transient error: dial again and watch again, since what
    /// happened in between is unknown; the first state shown is always the current one. Keep `span` within a minute:
    /// a machine that was switched off never says goodbye.
    pub async fn watch<R: Resource, T>(
        &self,
        id: &str,
        span: Duration,
        mut judge: impl FnMut(Option<R>) -> Option<T>,
    ) -> Result<Option<T>, TalosError> {
        let end = Instant::now() + span;
        let request = WatchRequest {
            namespace: R::NAMESPACE.into(),
            r#type: R::TYPE.into(),
            id: Some(id.into()),
            options: None,
            // With 0 the server keeps errors to itself.
            api_version: 1,
        };
        let mut stream = self.call(R::TYPE, DEADLINE, async { self.state().watch(request).await }).await?.into_inner();
        loop {
            let Ok(next) = timeout_at(end, stream.message()).await else { return Ok(None) };
            let reply = self.call(R::TYPE, DEADLINE, std::future::ready(next)).await?;
            let Some(reply) = reply else { return Err(self.cut::<R>("it ended")) };
            // The first reply holds no event: it says that the watch is armed.
            for event in reply.event {
                let state = match event.event_type() {
                    EventType::Created | EventType::Updated => {
                        event.resource.map(|resource| self.decode(resource)).transpose()?
                    }
                    EventType::Destroyed => None,
                    EventType::Errored => return Err(self.cut::<R>(event.error())),
                    EventType::Bootstrapped | EventType::Noop => continue,
                };
                if let Some(answer) = judge(state) {
                    return Ok(Some(answer));
                }
            }
        }
    }

    fn cut<R: Resource>(&self, reason: &str) -> TalosError {
        TalosError::Reply { address: self.address(), method: R::TYPE, reason: format!("the watch was cut: {reason}") }
    }

    fn decode<R: Resource>(&self, resource: cosi::Resource) -> Result<R, TalosError> {
        let spec = resource.spec.unwrap_or_default();
        R::decode(spec.proto_spec.as_slice()).map_err(|error| TalosError::Reply {
            address: self.address(),
            method: R::TYPE,
            reason: format!("the resource cannot be decoded: {error}"),
        })
    }
}

/// `resource type "…" is not supported`: the text is the same from Talos 1.9 to 1.14.
fn is_unknown_kind(error: &TalosError) -> bool {
    matches!(error, TalosError::Rpc { code: Code::PermissionDenied, message, .. }
        if message.starts_with("resource type") && message.ends_with("is not supported"))
}
