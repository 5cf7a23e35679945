//! Images, upgrades, rollbacks: `LifecycleService` and `ImageService` of 1.13, and the methods before them.
//!
//! Talos 1.13: internal/app/lifecycle, internal/app/images, internal/app/machined/internal/server/v1alpha1.

use aws_lc_rs::digest;
use tonic::{Request, Response, Status};

use super::power::actor;
use super::server::Peer;
use super::{Face, Replies, replies};
use crate::inventory::Role;
use crate::lab::fleet::Renewal;
use crate::lab::image::Image;
use crate::lab::world::World;
use crate::talos::wire::common::ContainerdInstance;
use crate::talos::wire::machine::image_service_pull_layer_progress::Status as Layer;
use crate::talos::wire::machine::lifecycle_service_install_progress::Response as Progress;
use crate::talos::wire::machine::upgrade_request::RebootMode;
use crate::talos::wire::machine::{
    ImageListRequest, ImagePull, ImagePullRequest, ImagePullResponse, ImageServiceListRequest,
    ImageServiceListResponse, ImageServicePullLayerProgress, ImageServicePullProgress, ImageServicePullRequest,
    ImageServicePullResponse, ImageServiceRemoveRequest, InstallArtifactsSource, LifecycleServiceInstallProgress,
    LifecycleServiceInstallRequest, LifecycleServiceInstallResponse, LifecycleServiceUpgradeRequest,
    LifecycleServiceUpgradeResponse, Rollback, RollbackRequest, RollbackResponse, Upgrade, UpgradeRequest,
    UpgradeResponse, image_service_pull_response, image_service_server, lifecycle_service_server,
};

/// What a pull tells of, as the one layer that the lab's images have.
const LAYER: i64 = 80 << 20;

pub(super) fn upgrade(
    face: &Face,
    world: &mut World,
    request: &UpgradeRequest,
    _: &Peer,
) -> Result<UpgradeResponse, Status> {
    let system = face.system(world)?;
    if system.disk.is_none() {
        return Err(Status::failed_precondition("Talos is not installed"));
    }
    let reference = &request.image;
    let invalid = |why: &str| Status::unknown(format!("error validating installer image {reference:?}: {why}"));
    let World { fleet, factory, .. } = world;
    let pulled = fleet.pull(face.vmid, reference, factory).map_err(|why| invalid(&why))?;
    let (image, wait) =
        pulled.ok_or_else(|| invalid("installer help returned non-zero exit. assuming invalid installer"))?;
    let machine = face.machine(world)?;
    let etcd = machine.role() != Some(Role::ControlPlane) || face.system(world)?.etcd_healthy;
    if !(etcd || request.force || request.preserve) {
        return Err(Status::unknown("error validating etcd for upgrade: context deadline exceeded"));
    }
    let power_cycle = request.reboot_mode == i32::from(RebootMode::Powercycle);
    let renewal = Renewal { reference: reference.clone(), image, power_cycle, wait };
    world.fleet.upgrade(face.vmid, renewal, request.stage);
    let ack = "Upgrade request received".to_owned();
    Ok(UpgradeResponse { messages: vec![Upgrade { metadata: None, ack, actor_id: actor() }] })
}

pub(super) fn rollback(
    face: &Face,
    world: &mut World,
    _: &RollbackRequest,
    _: &Peer,
) -> Result<RollbackResponse, Status> {
    if face.system(world)?.disk.is_none() {
        return Err(Status::failed_precondition("system disk not found"));
    }
    world.fleet.roll_back(face.vmid).map_err(Status::unknown)?;
    Ok(RollbackResponse { messages: vec![Rollback { metadata: None }] })
}

pub(super) fn pull(
    face: &Face,
    world: &mut World,
    request: &ImagePullRequest,
    _: &Peer,
) -> Result<ImagePullResponse, Status> {
    fetch(face, world, &request.reference)?;
    Ok(ImagePullResponse { messages: vec![ImagePull { metadata: None }] })
}

fn fetch(face: &Face, world: &mut World, reference: &str) -> Result<(), Status> {
    face.machine(world)?;
    let World { fleet, factory, .. } = world;
    match fleet.pull(face.vmid, reference, factory) {
        Ok(_) => Ok(()),
        Err(why) if why.contains("404") => Err(Status::not_found(format!("error pulling image: {why}"))),
        Err(why) => Err(Status::unknown(format!("failed to pull image {reference:?}: {why}"))),
    }
}

fn sha(reference: &str) -> String {
    format!("sha256:{}", hex::encode(digest::digest(&digest::SHA256, reference.as_bytes())))
}

fn pull_with_progress(
    face: &Face,
    world: &mut World,
    request: &ImageServicePullRequest,
    _: &Peer,
) -> Result<Replies<ImageServicePullResponse>, Status> {
    let reference = &request.image_ref;
    fetch(face, world, reference)?;
    let digest = sha(reference);
    let step = |status: Layer, offset: i64| {
        let progress = ImageServicePullLayerProgress { status: status.into(), elapsed: None, offset, total: LAYER };
        let pull = ImageServicePullProgress { layer_id: digest.clone(), progress: Some(progress) };
        image_service_pull_response::Response::PullProgress(pull)
    };
    // The name is pinned: without the tag, with the digest.
    let name = match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    };
    let all = [
        step(Layer::Downloading, 0),
        step(Layer::DownloadComplete, LAYER),
        step(Layer::ExtractComplete, LAYER),
        image_service_pull_response::Response::Name(format!("{name}@{digest}")),
    ];
    Ok(replies(all.map(|response| ImageServicePullResponse { response: Some(response) }).into()))
}

fn list(
    face: &Face,
    world: &mut World,
    request: &ImageServiceListRequest,
    _: &Peer,
) -> Result<Replies<ImageServiceListResponse>, Status> {
    let ContainerdInstance { namespace, .. } = request.containerd.unwrap_or_default();
    let found = super::inside::images_of(face, world, &ImageListRequest { namespace })?;
    let image = |image: crate::talos::wire::machine::ImageListResponse| ImageServiceListResponse {
        name: image.name,
        digest: image.digest,
        size: image.size,
        created_at: image.created_at,
        ..ImageServiceListResponse::default()
    };
    Ok(replies(found.into_iter().map(image).collect()))
}

fn remove(face: &Face, world: &mut World, request: &ImageServiceRemoveRequest, _: &Peer) -> Result<(), Status> {
    face.machine(world)?;
    let reference = &request.image_ref;
    if world.fleet.remove_image(face.vmid, reference) {
        return Ok(());
    }
    Err(Status::not_found(format!("image {reference} not found")))
}

/// The image that an upgrade or an installation is to use: it has to have been pulled.
fn source(face: &Face, world: &World, source: Option<&InstallArtifactsSource>, what: &str) -> Result<Image, Status> {
    let reference = source.map_or("", |source| source.image_name.as_str());
    if reference.is_empty() {
        return Err(Status::invalid_argument("installer image name is required"));
    }
    match face.system(world)?.pulled.get(reference) {
        Some(Some(image)) => Ok(image.clone()),
        Some(None) => {
            let why = "exec: \"/bin/installer\": stat /bin/installer: no such file or directory";
            Err(Status::internal(format!("{what} failed: failed to create task: {why}")))
        }
        None => {
            let why = format!("image {reference:?}: not found");
            let text = format!("{what} failed: installer image {reference:?} not found in containerd store: {why}");
            Err(Status::internal(text))
        }
    }
}

/// What the installer says, and how it ends.
fn course(what: &str, image: &Image, result: Result<(), String>) -> Vec<LifecycleServiceInstallProgress> {
    let say = |text: String| LifecycleServiceInstallProgress { response: Some(Progress::Message(text)) };
    let end = |code: i32| LifecycleServiceInstallProgress { response: Some(Progress::ExitCode(code)) };
    let mut said = vec![say(format!("running Talos installer {}", image.version))];
    match result {
        Ok(()) => said.extend([say(format!("{what} of Talos {} complete", image.version)), end(0)]),
        Err(why) => said.extend([say(format!("error: {why}")), end(1)]),
    }
    said
}

fn renew(
    face: &Face,
    world: &mut World,
    request: &LifecycleServiceUpgradeRequest,
    _: &Peer,
) -> Result<Replies<LifecycleServiceUpgradeResponse>, Status> {
    if face.system(world)?.disk.is_none() {
        return Err(Status::failed_precondition("machine is not installed"));
    }
    let image = source(face, world, request.source.as_ref(), "upgrade")?;
    // What runs goes on; somebody else reboots the machine.
    let result = world.fleet.replace(face.vmid, &image);
    let said = course("upgrade", &image, result).into_iter();
    Ok(replies(said.map(|progress| LifecycleServiceUpgradeResponse { progress: Some(progress) }).collect()))
}

fn install(
    face: &Face,
    world: &mut World,
    request: &LifecycleServiceInstallRequest,
    _: &Peer,
) -> Result<Replies<LifecycleServiceInstallResponse>, Status> {
    if face.system(world)?.disk.is_some() {
        return Err(Status::already_exists("machine is already installed"));
    }
    let image = source(face, world, request.source.as_ref(), "installation")?;
    let disk = request.destination.as_ref().map_or("", |destination| destination.disk.as_str());
    if disk.is_empty() {
        return Err(Status::invalid_argument("destination disk is required"));
    }
    let result = world.fleet.install_beside(face.vmid, disk, &image);
    if let Err(why) = &result
        && why.starts_with("lstat")
    {
        return Err(Status::invalid_argument(format!("invalid disk path: {why}")));
    }
    let said = course("installation", &image, result).into_iter();
    Ok(replies(said.map(|progress| LifecycleServiceInstallResponse { progress: Some(progress) }).collect()))
}

#[tonic::async_trait]
impl lifecycle_service_server::LifecycleService for Face {
    async fn install(
        &self,
        request: Request<LifecycleServiceInstallRequest>,
    ) -> Result<Response<Replies<LifecycleServiceInstallResponse>>, Status> {
        self.stream("machine.LifecycleService/Install", request, install).await.map(Response::new)
    }

    async fn upgrade(
        &self,
        request: Request<LifecycleServiceUpgradeRequest>,
    ) -> Result<Response<Replies<LifecycleServiceUpgradeResponse>>, Status> {
        self.stream("machine.LifecycleService/Upgrade", request, renew).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl image_service_server::ImageService for Face {
    async fn list(
        &self,
        request: Request<ImageServiceListRequest>,
    ) -> Result<Response<Replies<ImageServiceListResponse>>, Status> {
        self.stream("machine.ImageService/List", request, list).await.map(Response::new)
    }

    async fn pull(
        &self,
        request: Request<ImageServicePullRequest>,
    ) -> Result<Response<Replies<ImageServicePullResponse>>, Status> {
        self.stream("machine.ImageService/Pull", request, pull_with_progress).await.map(Response::new)
    }

    async fn remove(&self, request: Request<ImageServiceRemoveRequest>) -> Result<Response<()>, Status> {
        self.call("machine.ImageService/Remove", request, remove).await.map(Response::new)
    }
}
