//! A machine that gets another Talos, by either way, and goes back.

use tonic::Code;

use super::client::Client;
use super::*;
use crate::lab::fleet::Stage;
use crate::talos::wire::machine::image_service_client::ImageServiceClient;
use crate::talos::wire::machine::lifecycle_service_client::LifecycleServiceClient;
use crate::talos::wire::machine::lifecycle_service_install_progress::Response;
use crate::talos::wire::machine::{
    ImageServicePullRequest, InstallArtifactsSource, LifecycleServiceUpgradeRequest, RebootRequest, RollbackRequest,
    UpgradeRequest, image_service_pull_response,
};

const IP: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 5);

/// A control plane of one that runs, with its administrator.
async fn running(version: &str, contract: &str) -> (Lab, Cluster) {
    let lab = lab().await;
    let cluster = Cluster::new(version, contract);
    lab.install(&cluster, 101, Role::ControlPlane, IP).await;
    lab.until("boot", |world| (world.fleet.machine(101)?.stage == Stage::Booting).then_some(())).await;
    lab.shared().lock().fleet.bootstrap(101).expect("it is time");
    lab.shared().wake();
    lab.running(101).await;
    (lab, cluster)
}

fn installer(lab: &Lab, name: &str, version: &str) -> String {
    format!("{}/{name}/{VANILLA}:{version}", lab.endpoints().factory.authority())
}

async fn version(lab: &Lab, version: &str) {
    let found = |world: &World| {
        let machine = world.fleet.machine(101)?;
        let system = machine.system.as_ref()?;
        (system.image.version == version && machine.stage == Stage::Running && system.node_ready).then_some(())
    };
    lab.until(&format!("running {version}"), found).await;
}

fn etcd(lab: &Lab) -> u64 {
    lab.shared().lock().fleet.etcd_of(101).expect("it has data").1
}

#[tokio::test]
async fn an_upgrade_keeps_what_the_machine_is_and_can_be_taken_back() {
    let (lab, cluster) = running("v1.12.4", "1.12").await;
    let client = Client::mutual(&lab, IP.into(), &cluster.credentials()).await;
    let none = client.machine().rollback(RollbackRequest {}).await.expect_err("there was nothing before");
    assert_eq!((none.code(), none.message()), (Code::Unknown, "previous UKI not found"));
    for (image, text) in [
        ("nowhere.example/nocloud-installer/x:v1.13.0", "no such host"),
        (installer(&lab, "nocloud-installer-secureboot", "v1.99.0").as_str(), "404"),
        ("registry.k8s.io/pause:3.10", "assuming invalid installer"),
    ] {
        let request = UpgradeRequest { image: image.into(), ..UpgradeRequest::default() };
        let refused = client.machine().upgrade(request).await.expect_err(image);
        assert_eq!(refused.code(), Code::Unknown);
        let prefix = format!("error validating installer image {image:?}: ");
        assert!(refused.message().starts_with(&prefix) && refused.message().contains(text), "{}", refused.message());
    }
    let member = etcd(&lab);
    for (stage, target) in [(false, "v1.13.0"), (true, "v1.13.9")] {
        let client = Client::mutual(&lab, IP.into(), &cluster.credentials()).await;
        let image = installer(&lab, "nocloud-installer-secureboot", target);
        let request = UpgradeRequest { image, stage, ..UpgradeRequest::default() };
        let reply = client.machine().upgrade(request).await.expect(target).into_inner();
        assert_eq!(reply.messages[0].ack, "Upgrade request received");
        version(&lab, target).await;
    }
    assert_eq!(etcd(&lab), member, "the data of etcd stays");
    assert!(system(&lab.shared().lock(), 101).unwrap().meta.is_empty(), "nothing is staged any more");
    let client = Client::mutual(&lab, IP.into(), &cluster.credentials()).await;
    client.machine().rollback(RollbackRequest {}).await.expect("there is one before");
    version(&lab, "v1.13.0").await;
}

#[tokio::test]
async fn under_secure_boot_a_plain_installer_fails_and_the_old_system_returns() {
    let (lab, cluster) = running("v1.12.4", "1.12").await;
    let client = Client::mutual(&lab, IP.into(), &cluster.credentials()).await;
    let boot = system(&lab.shared().lock(), 101).unwrap().boot;
    let image = installer(&lab, "nocloud-installer", "v1.13.0");
    client.machine().upgrade(UpgradeRequest { image, ..UpgradeRequest::default() }).await.expect("it is an installer");
    lab.until("another boot", |world| (system(world, 101)?.boot > boot).then_some(())).await;
    version(&lab, "v1.12.4").await;
}

#[tokio::test]
async fn the_new_way_pulls_writes_and_leaves_the_reboot_to_the_client() {
    let (lab, cluster) = running("v1.13.0", "1.13").await;
    let client = Client::mutual(&lab, IP.into(), &cluster.credentials()).await;
    let reference = installer(&lab, "nocloud-installer-secureboot", "v1.13.9");
    let mut lifecycle = LifecycleServiceClient::new(client.channel());
    let mut upgrade = async |name: &str| {
        let source = Some(InstallArtifactsSource { image_name: name.to_owned() });
        let request = LifecycleServiceUpgradeRequest { containerd: None, source };
        let mut stream = lifecycle.upgrade(request).await?.into_inner();
        let mut code = None;
        while let Some(message) = stream.message().await? {
            if let Some(Response::ExitCode(end)) = message.progress.and_then(|progress| progress.response) {
                code = Some(end);
            }
        }
        Ok::<_, tonic::Status>(code)
    };
    assert_eq!(upgrade("").await.expect_err("no name").code(), Code::InvalidArgument);
    let early = upgrade(&reference).await.expect_err("nobody pulled it");
    assert!(early.message().contains("not found in containerd store"), "{}", early.message());
    let mut images = ImageServiceClient::new(client.channel());
    let request = ImageServicePullRequest { containerd: None, image_ref: reference.clone() };
    let mut pulls = images.pull(request).await.expect("it is there").into_inner();
    let mut last = None;
    while let Some(message) = pulls.message().await.unwrap() {
        last = message.response;
    }
    let Some(image_service_pull_response::Response::Name(name)) = last else { panic!("the name is said last") };
    assert!(name.contains("@sha256:") && !name.contains("v1.13.9"), "{name}");
    assert_eq!(upgrade(&reference).await.expect("it was pulled"), Some(0));
    assert_eq!(system(&lab.shared().lock(), 101).unwrap().image.version, "v1.13.0", "what runs goes on");
    client.machine().reboot(RebootRequest::default()).await.expect("an administrator may");
    version(&lab, "v1.13.9").await;
}
