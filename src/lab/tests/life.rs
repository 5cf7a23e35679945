//! From maintenance mode to a Kubernetes that kubectl can read.

use std::io::Read;

use prost::Message;
use tonic::Code;

use super::client::{Client, patiently};
use super::kubectl::kubectl;
use super::*;
use crate::lab::fleet::Stage;
use crate::talos::wire::cluster::cluster_service_client::ClusterServiceClient;
use crate::talos::wire::cluster::{ClusterInfo, HealthCheckRequest};
use crate::talos::wire::machine::apply_configuration_request::Mode;
use crate::talos::wire::machine::{
    BootstrapRequest, EtcdMemberListRequest, EventsRequest, MachineStatusEvent, RebootRequest, SequenceEvent,
    ServiceStateEvent,
};
use crate::talos::wire::specs::MachineStatusSpec;

const AUTO: i32 = Mode::Auto as i32;

impl Lab {
    pub(super) async fn install(&self, cluster: &Cluster, vmid: u32, role: Role, ip: Ipv4Addr) {
        self.power_on(vmid, &cluster.version);
        let lease = self.address(vmid).await;
        let client = Client::insecure(self, lease).await;
        let config = cluster.config(self, vmid, role, ip);
        client.apply(config, AUTO).await.expect("the configuration is good");
    }

    pub(super) async fn running(&self, vmid: u32) {
        let ready = |world: &World| {
            let machine = world.fleet.machine(vmid)?;
            (machine.stage == Stage::Running && machine.system.as_ref()?.node_ready).then_some(())
        };
        self.until("running machine", ready).await;
    }
}

/// Kubeconfig as a client gets it: the one entry of an archive that was never closed.
pub(super) async fn kubeconfig(client: &Client) -> String {
    let mut stream = client.machine().kubeconfig(()).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        bytes.extend(piece.bytes);
    }
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let mut entry = archive.entries().unwrap().next().expect("one file").unwrap();
    let mut text = String::new();
    entry.read_to_string(&mut text).unwrap();
    text
}

async fn one_machine(version: &str, contract: &str) {
    let lab = lab().await;
    let cluster = Cluster::new(version, contract);
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    lab.install(&cluster, 101, Role::ControlPlane, ip).await;
    lab.until("boot from disk", |world| {
        (world.fleet.machine(101)?.stage == Stage::Booting && system(world, 101)?.disk.is_some()).then_some(())
    })
    .await;
    let admin = cluster.credentials();
    let client = Client::mutual(&lab, ip.into(), &admin).await;

    let status = client.get("runtime", "MachineStatuses.runtime.talos.dev", "machine").await.unwrap();
    let status = MachineStatusSpec::decode(&*status.spec.unwrap().proto_spec).unwrap();
    assert_eq!((status.stage, status.status.unwrap().ready), (1, false), "it waits for its bootstrap");
    let tag = client.machine().version(()).await.unwrap().into_inner().messages.remove(0).version.unwrap().tag;
    assert_eq!(tag, version);
    client.get("runtime", "SystemDisks.block.talos.dev", "system-disk").await.expect("it is installed");
    client.get("config", "MachineConfigs.config.talos.dev", "v1alpha1").await.expect("an administrator may");
    let stranger = Client::attempt(&lab, ip.into(), None).await;
    let refused = match stranger {
        Ok(stranger) => stranger.storage().disks(()).await.map(drop).map_err(|status| status.to_string()),
        Err(error) => Err(error),
    };
    refused.expect_err("nobody without a certificate is heard");

    client.machine().bootstrap(BootstrapRequest::default()).await.expect("it is time");
    let again = client.machine().bootstrap(BootstrapRequest::default()).await.expect_err("once");
    assert_eq!((again.code(), again.message()), (Code::AlreadyExists, "etcd data directory is not empty"));
    lab.running(101).await;
    let members = client.machine().etcd_member_list(EtcdMemberListRequest::default()).await.unwrap();
    assert_eq!(members.into_inner().messages[0].members[0].peer_urls, ["https://10.83.0.5:2380"]);

    let text = kubeconfig(&client).await;
    assert!(text.contains("server: https://10.83.0.5:6443"));
    let dialled = lab.endpoints().reach.socket(ip.into(), 6443).to_string();
    let text = text.replace("10.83.0.5:6443", &dialled);
    let nodes = kubectl(&text, &["get", "nodes", "-o", "wide"]).await;
    assert!(
        nodes.out.contains("m-101") && nodes.out.contains(" Ready ") && nodes.out.contains("10.83.0.5"),
        "{nodes:?}"
    );
}

#[tokio::test]
async fn a_1_12_machine_goes_from_maintenance_to_kubectl() {
    one_machine("v1.12.4", "1.12").await;
}

#[tokio::test]
async fn a_1_13_machine_goes_from_maintenance_to_kubectl() {
    one_machine("v1.13.0", "1.13").await;
}

#[tokio::test]
async fn a_1_14_machine_takes_documents() {
    one_machine("v1.14.0-rc.1", "1.14").await;
}

#[tokio::test]
async fn five_machines_behind_a_shared_address_become_healthy() {
    let lab = lab().await;
    let vip = Ipv4Addr::new(10, 83, 0, 100);
    let cluster = Cluster { vip: Some(vip), ..Cluster::new("v1.12.4", "1.12") };
    let ips: Vec<Ipv4Addr> = (5..10).map(|host| Ipv4Addr::new(10, 83, 0, host)).collect();
    for (index, ip) in (0u32..).zip(&ips) {
        let role = if index < 3 { Role::ControlPlane } else { Role::Worker };
        lab.install(&cluster, 101 + index, role, *ip).await;
    }
    let admin = cluster.credentials();
    lab.until("boot from disk", |world| system(world, 101)?.disk.is_some().then_some(())).await;
    let client = Client::mutual(&lab, ips[0].into(), &admin).await;
    assert!(Client::attempt(&lab, ips[3].into(), Some(&admin)).await.is_err(), "a worker waits for the shared address");
    client.machine().bootstrap(BootstrapRequest::default()).await.expect("it is time");
    for vmid in 101..106 {
        lab.running(vmid).await;
    }
    Client::mutual(&lab, ips[3].into(), &admin).await;
    Client::mutual(&lab, vip.into(), &admin).await;
    let texts = |ips: &[Ipv4Addr]| ips.iter().map(ToString::to_string).collect();
    let request = HealthCheckRequest {
        wait_timeout: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
        cluster_info: Some(ClusterInfo {
            control_plane_nodes: texts(&ips[..3]),
            worker_nodes: texts(&ips[3..]),
            force_endpoint: String::new(),
        }),
    };
    let mut stream = ClusterServiceClient::new(client.channel()).health_check(request).await.unwrap().into_inner();
    let mut last = String::new();
    while let Some(progress) = stream.message().await.expect("the cluster is healthy") {
        last = progress.message;
    }
    assert_eq!(last, "waiting for all k8s nodes to report schedulable: OK");
    let unset = ClusterServiceClient::new(client.channel()).health_check(HealthCheckRequest::default()).await;
    let mut stream = unset.unwrap().into_inner();
    stream.message().await.unwrap();
    assert_eq!(stream.message().await.expect_err("no time at all").code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn the_realistic_clock_takes_time_and_comes_to_the_same_end() {
    let lab = on(Clock::Realistic { speed: 500.0 }).await;
    let cluster = Cluster::new("v1.13.0", "1.13");
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    lab.install(&cluster, 101, Role::ControlPlane, ip).await;
    let admin = cluster.credentials();
    lab.until("boot from disk", |world| {
        (world.fleet.machine(101)?.stage == Stage::Booting && system(world, 101)?.disk.is_some()).then_some(())
    })
    .await;
    let client = Client::mutual(&lab, ip.into(), &admin).await;
    client.machine().bootstrap(BootstrapRequest::default()).await.expect("it is time");
    lab.running(101).await;
}

#[tokio::test]
async fn a_second_apply_without_a_certificate_is_not_authorized() {
    // So slow that the old listener lingers for as long as a test may need.
    let lab = on(Clock::Realistic { speed: 0.1 }).await;
    let cluster = Cluster::new("v1.13.0", "1.13");
    lab.power_on(101, &cluster.version);
    {
        // Nobody waits for a boot at this pace: the first look starts its clock, the second finds it done.
        let mut world = lab.shared().lock();
        world.advance();
        let World { fleet, factory, .. } = &mut *world;
        fleet.advance(Duration::from_secs(3600), factory);
    }
    lab.shared().wake();
    let lease = lab.address(101).await;
    let client = Client::insecure(&lab, lease).await;
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    let config = cluster.config(&lab, 101, Role::ControlPlane, ip);
    client.apply(config.clone(), AUTO).await.expect("the configuration is good");
    let client = Client::insecure(&lab, ip.into()).await;
    let refused = client.apply(config, AUTO).await.expect_err("once");
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "not authorized"));
}

#[tokio::test]
async fn events_begin_with_a_hello_and_a_reboot_ends_them() {
    let lab = lab().await;
    let cluster = Cluster::new("v1.13.0", "1.13");
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    lab.install(&cluster, 101, Role::ControlPlane, ip).await;
    lab.until("boot from disk", |world| system(world, 101)?.disk.is_some().then_some(())).await;
    let client = Client::mutual(&lab, ip.into(), &cluster.credentials()).await;
    let request = EventsRequest { tail_events: -1, ..EventsRequest::default() };
    let mut events = client.machine().events(request).await.unwrap().into_inner();
    let hello = events.message().await.unwrap().expect("a hello").data.unwrap();
    assert!(hello.type_url.is_empty());
    let mut told = Vec::new();
    let status = loop {
        let event = events.message().await.unwrap().expect("the stage is told last").data.unwrap();
        match event.type_url.strip_prefix("talos/runtime/machine.").expect("Talos's own prefix") {
            "MachineStatusEvent" => break MachineStatusEvent::decode(&*event.value).unwrap(),
            "SequenceEvent" => {
                let sequence = SequenceEvent::decode(&*event.value).unwrap();
                told.push((sequence.sequence, sequence.action));
            }
            "ServiceStateEvent" => {
                let service = ServiceStateEvent::decode(&*event.value).unwrap();
                told.push((service.service, -1));
            }
            _ => {}
        }
    };
    assert_eq!(status.stage, 1);
    let (start, stop) = (1, 2);
    let sequences: Vec<(&str, i32)> =
        told.iter().filter(|(_, action)| *action > 0).map(|(name, action)| (name.as_str(), *action)).collect();
    assert_eq!(sequences, [("initialize", start), ("initialize", stop), ("boot", start)]);
    assert!(told.contains(&("etcd".into(), -1)), "{told:?}");
    let boot = system(&lab.shared().lock(), 101).unwrap().boot;
    client.machine().reboot(RebootRequest::default()).await.expect("an administrator may");
    let mut left = Vec::new();
    while let Ok(Some(event)) = events.message().await {
        left.push(event.data.unwrap().type_url);
    }
    assert!(left.len() <= 2, "the stream ends with the boot: {left:?}");
    assert!(system(&lab.shared().lock(), 101).unwrap().boot > boot);
}

#[tokio::test]
async fn kubernetes_asks_for_a_certificate() {
    let lab = lab().await;
    let cluster = Cluster::new("v1.12.4", "1.12");
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    lab.install(&cluster, 101, Role::ControlPlane, ip).await;
    lab.until("boot from disk", |world| system(world, 101)?.disk.is_some().then_some(())).await;
    let client = Client::mutual(&lab, ip.into(), &cluster.credentials()).await;
    client.machine().bootstrap(BootstrapRequest::default()).await.expect("it is time");
    lab.running(101).await;
    let root = reqwest::Certificate::from_pem(cluster.bundle.kubernetes_ca().as_bytes()).unwrap();
    let web = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
    let base = format!("https://{}", lab.endpoints().reach.socket(ip.into(), 6443));
    let status = async |path: &str| {
        let reply = patiently(async || web.get(format!("{base}{path}")).send().await).await;
        reply.status().as_u16()
    };
    assert_eq!((status("/readyz").await, status("/api/v1/nodes").await), (200, 401));
}

#[tokio::test]
async fn power_takes_the_sockets_away() {
    let lab = lab().await;
    lab.power_on(101, "v1.12.4");
    let ip = lab.address(101).await;
    Client::insecure(&lab, ip).await;
    lab.shared().lock().fleet.power_off(101);
    lab.shared().wake();
    let gone = async { while Client::attempt(&lab, ip, None).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("it is silent");
}
