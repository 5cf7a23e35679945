use prost::Message;
use tonic::Code;

use super::client::Client;
use super::*;
use crate::lab::faults::{Effect, Face, Fault};
use crate::talos::wire::cosi::{EventType, ListRequest, WatchRequest};
use crate::talos::wire::machine::apply_configuration_request::Mode;
use crate::talos::wire::specs::LinkStatusSpec;

async fn collect<T>(mut stream: tonic::Streaming<T>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(item) = stream.message().await.unwrap() {
        all.push(item);
    }
    all
}

const AUTO: i32 = Mode::Auto as i32;

async fn maintenance(version: &str) -> (Lab, Client) {
    let lab = lab().await;
    lab.power_on(101, version);
    let ip = lab.address(101).await;
    let client = Client::insecure(&lab, ip).await;
    (lab, client)
}

#[tokio::test]
async fn both_kinds_of_maintenance_mode_answer_as_theirs_do() {
    for (version, version_rpc, reboot) in
        [("v1.12.4", Some(Code::Unimplemented), Code::Unimplemented), ("v1.13.0", None, Code::PermissionDenied)]
    {
        let (_lab, client) = maintenance(version).await;
        let stage = client.spec("runtime", "MachineStatuses.runtime.talos.dev", "machine").await.unwrap();
        assert_eq!((&stage["stage"], &stage["status"]["ready"]), (&"maintenance".into(), &true.into()));
        let answer = client.machine().version(()).await;
        assert_eq!(answer.err().map(|status| status.code()), version_rpc, "{version}");
        let refused = client.machine().reboot(crate::talos::wire::machine::RebootRequest::default()).await;
        assert_eq!(refused.expect_err("nobody may").code(), reboot);
        let version_resource = client.spec("runtime", "Versions.runtime.talos.dev", "version").await.unwrap();
        assert_eq!(version_resource["version"], version);
        let disks = client.storage().disks(()).await.unwrap().into_inner().messages.remove(0).disks;
        assert_eq!((disks.len(), disks[0].device_name.as_str(), disks[0].size), (1, "/dev/sda", 64 << 30));
        let security = client.spec("runtime", "SecurityStates.talos.dev", "securitystate").await.unwrap();
        assert_eq!(security["secureBoot"], true);
    }
}

#[tokio::test]
async fn identity_can_be_proven_in_both_encodings() {
    let (_lab, client) = maintenance("v1.12.4").await;
    let request =
        ListRequest { namespace: "network".into(), r#type: "LinkStatuses.net.talos.dev".into(), options: None };
    let links = collect(client.state().list(request).await.unwrap().into_inner()).await;
    let specs: Vec<(String, LinkStatusSpec)> = links
        .into_iter()
        .filter_map(|reply| {
            let resource = reply.resource?;
            Some((resource.metadata?.id, LinkStatusSpec::decode(&*resource.spec?.proto_spec).unwrap()))
        })
        .collect();
    let physical: Vec<_> = specs.iter().filter(|(_, spec)| spec.r#type == 1 && spec.kind.is_empty()).collect();
    assert_eq!(physical.len(), 1);
    assert_eq!((physical[0].0.as_str(), &physical[0].1.hardware_addr[..]), ("eth0", &mac(101).0[..]));
    let info = client.spec("hardware", "SystemInformations.hardware.talos.dev", "systeminformation").await.unwrap();
    assert_eq!(info["uuid"], uuid::Uuid::from_u128(101 << 100).to_string());
}

#[tokio::test]
async fn resources_are_guarded_in_order() {
    let (_lab, client) = maintenance("v1.12.4").await;
    for (namespace, kind, id, code) in [
        ("network", "links", "x", Code::PermissionDenied),
        ("config", "MachineConfigs.config.talos.dev", "v1alpha1", Code::PermissionDenied),
        ("nowhere", "LinkStatuses.net.talos.dev", "x", Code::PermissionDenied),
        ("network", "LinkStatuses.net.talos.dev", "x", Code::NotFound),
        ("runtime", "SystemDisks.block.talos.dev", "system-disk", Code::NotFound),
    ] {
        let refused = client.get(namespace, kind, id).await.expect_err("it is refused");
        assert_eq!(refused.code(), code, "{namespace}/{kind}/{id}: {}", refused.message());
    }
}

#[tokio::test]
async fn a_watch_is_armed_by_an_empty_message_and_tells_of_absence() {
    let (_lab, client) = maintenance("v1.12.4").await;
    for (kind, id, event) in [
        ("MachineStatuses.runtime.talos.dev", "machine", EventType::Created),
        ("SystemDisks.block.talos.dev", "system-disk", EventType::Destroyed),
    ] {
        let request = WatchRequest {
            namespace: "runtime".into(),
            r#type: kind.into(),
            id: Some(id.into()),
            options: None,
            api_version: 1,
        };
        let mut stream = client.state().watch(request).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().expect("armed").event.is_empty());
        let first = stream.message().await.unwrap().expect("the present value").event.remove(0);
        assert_eq!(first.event_type, i32::from(event), "{kind}");
    }
}

#[tokio::test]
async fn a_bad_configuration_is_refused_in_the_minors_words() {
    for (version, code, prefix) in
        [("v1.12.4", Code::Unknown, "failed to parse config: "), ("v1.13.0", Code::InvalidArgument, "")]
    {
        let (_lab, client) = maintenance(version).await;
        for data in ["", "a: [", "version: v1alpha1\nmachine:\n  nonsense: 1\ncluster: {}\n"] {
            let refused = client.apply(data.into(), AUTO).await.expect_err("it is refused");
            assert_eq!(refused.code(), code, "{version} {data:?}: {}", refused.message());
            assert!(refused.message().starts_with(prefix), "{}", refused.message());
        }
        let refused = client.apply(Vec::new(), AUTO).await.expect_err("it is refused");
        assert!(refused.message().ends_with("config not found"));
    }
}

#[tokio::test]
async fn modes_that_the_old_maintenance_server_does_not_know_are_refused() {
    let (lab, client) = maintenance("v1.12.4").await;
    let cluster = Cluster::new("v1.12.4", "1.12");
    let config = cluster.config(&lab, 101, Role::ControlPlane, Ipv4Addr::new(10, 83, 0, 5));
    let refused = client.apply(config, Mode::NoReboot.into()).await.expect_err("it is refused");
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(refused.message(), "apply configuration --mode='no-reboot' is not supported in maintenance mode");
}

#[tokio::test]
async fn faults_hit_the_call_that_they_name() {
    let (lab, client) = maintenance("v1.12.4").await;
    let fault = |effect| Fault {
        face: Face::Talos,
        call: "StorageService/Disks".into(),
        subject: Some("vm-101".into()),
        label: None,
        skip: 0,
        times: 1,
        effect,
    };
    lab.shared().lock().faults.script =
        vec![fault(Effect::Refuse { code: 14, text: "not now".into() }), fault(Effect::LoseReply)];
    let refused = client.storage().disks(()).await.expect_err("the script says so");
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "not now"));
    assert!(client.storage().disks(()).await.is_err(), "the reply is lost");
    client.storage().disks(()).await.expect("the channel dials anew");
    let disks = lab.shared().lock().faults.log.iter().filter(|call| call.name.ends_with("/Disks")).count();
    assert_eq!(disks, 3);
}
