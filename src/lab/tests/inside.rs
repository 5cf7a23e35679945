//! What people look at on a machine, and who may.

use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use super::client::Client;
use super::*;
use crate::lab::fleet::Stage;
use crate::talos::wire::cosi::ListRequest;
use crate::talos::wire::machine::{
    ContainersRequest, CopyRequest, DiskUsageRequest, EtcdSnapshotRequest, ListRequest as ListFiles, MetaDeleteRequest,
    MetaWriteRequest, ReadRequest, ServiceRequest,
};
use crate::talos::wire::storage::{BlockDeviceWipeDescriptor, BlockDeviceWipeRequest};

/// A method that the generated client does not know.
async fn raw(client: &Client, method: &'static str) -> (Code, String) {
    let mut grpc = tonic::client::Grpc::new(client.channel());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let answer = grpc.unary(tonic::Request::new(()), PathAndQuery::from_static(method), codec).await;
    let status = answer.expect_err("nothing of the kind succeeds");
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn whoever_may_not_call_is_told_so_before_anything_else() {
    for (version, method, code, text) in [
        (
            "v1.12.4",
            "/machine.LifecycleService/Install",
            Code::Unimplemented,
            "unknown service machine.LifecycleService",
        ),
        ("v1.12.4", "/machine.MachineService/DiskUsage", Code::Unimplemented, "method DiskUsage not implemented"),
        ("v1.12.4", "/cosi.resource.State/Create", Code::PermissionDenied, "write access is not allowed"),
        ("v1.13.0", "/machine.LifecycleService/Install", Code::PermissionDenied, "not authorized"),
        ("v1.13.0", "/cosi.resource.State/Create", Code::PermissionDenied, "not authorized"),
        ("v1.13.0", "/machine.MachineService/EtcdRecover", Code::PermissionDenied, "not authorized"),
        (
            "v1.13.0",
            "/grpc.reflection.v1.ServerReflection/X",
            Code::Unimplemented,
            "unknown service grpc.reflection.v1.ServerReflection",
        ),
    ] {
        let lab = lab().await;
        lab.power_on(101, version);
        let client = Client::insecure(&lab, lab.address(101).await).await;
        assert_eq!(raw(&client, method).await, (code, text.to_owned()), "{version} {method}");
    }
}

#[tokio::test]
async fn a_running_machine_shows_its_inside() {
    let lab = lab().await;
    let cluster = Cluster::new("v1.13.0", "1.13");
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    lab.install(&cluster, 101, Role::ControlPlane, ip).await;
    let booted = |world: &World| {
        (world.fleet.machine(101)?.stage == Stage::Booting && system(world, 101)?.disk.is_some()).then_some(())
    };
    lab.until("boot from disk", booted).await;
    let client = Client::mutual(&lab, ip.into(), &cluster.credentials()).await;
    let mut api = client.machine();
    api.bootstrap(crate::talos::wire::machine::BootstrapRequest::default()).await.expect("it is time");
    lab.running(101).await;

    assert_eq!(
        raw(&client, "/cosi.resource.State/Update").await,
        (Code::PermissionDenied, "write access is not allowed".into())
    );
    assert_eq!(api.cpu_info(()).await.unwrap().into_inner().messages[0].cpu_info.len(), 2);
    assert_eq!(
        api.memory(()).await.unwrap().into_inner().messages[0].meminfo.as_ref().unwrap().memtotal,
        4096 * 1024 * 97 / 100
    );
    let mounts = api.mounts(()).await.unwrap().into_inner().messages.remove(0).stats;
    assert!(mounts.iter().any(|mount| mount.filesystem == "/dev/sda5" && mount.mounted_on == "/var"));
    let asked = ContainersRequest { namespace: "k8s.io".into(), driver: 1 };
    let containers = api.containers(asked).await.unwrap().into_inner().messages.remove(0).containers;
    assert!(containers.iter().any(|container| container.id == "kube-system/kube-apiserver-m-101:kube-apiserver"));
    let services = api.service_list(()).await.unwrap().into_inner().messages.remove(0).services;
    let etcd = services.iter().find(|service| service.id == "etcd").expect("a control plane has it");
    let states: Vec<&str> = etcd.events.as_ref().unwrap().events.iter().map(|event| event.state.as_str()).collect();
    assert!(states.starts_with(&["Preparing"]) && states.ends_with(&["Running"]), "{states:?}");
    assert!(etcd.health.as_ref().unwrap().last_change.is_some());
    let stop = api.service_stop(ServiceRequest { id: "etcd".into() }).await.expect_err("nobody stops etcd");
    assert_eq!(
        (stop.code(), stop.message()),
        (Code::Unknown, "service \"etcd\" doesn't support stop operation via API")
    );

    let read = |path: &str| ReadRequest { path: path.into() };
    assert_eq!(api.read(read("/nothing")).await.expect_err("there is none").code(), Code::NotFound);
    assert_eq!(api.read(read("/etc")).await.expect_err("a directory").message(), "path must be a regular file");
    let mut files = api
        .list(ListFiles { root: "/var/lib/etcd".into(), recurse: true, ..ListFiles::default() })
        .await
        .unwrap()
        .into_inner();
    let mut names = Vec::new();
    while let Some(file) = files.message().await.unwrap() {
        names.push(file.relative_name);
    }
    assert_eq!(names, [".", "member", "member/snap", "member/snap/db"]);
    let mut snapshot = api.etcd_snapshot(EtcdSnapshotRequest {}).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = snapshot.message().await.unwrap() {
        bytes.extend(piece.bytes);
    }
    let (body, sum) = bytes.split_at(bytes.len() - 32);
    assert_eq!(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body).as_ref(), sum);
    assert_eq!(body.len() % 512, 0);

    let first = client.get("runtime", "MachineStatuses.runtime.talos.dev", "machine").await.unwrap().metadata.unwrap();
    assert_eq!(first.owner, "runtime.MachineStatusController");
    assert!(first.created.is_some());
    for (namespace, kind) in [
        ("network", "RouteStatuses.net.talos.dev"),
        ("runtime", "DiscoveredVolumes.block.talos.dev"),
        ("hardware", "Processors.hardware.talos.dev"),
        ("k8s", "Nodenames.kubernetes.talos.dev"),
        ("etcd", "EtcdMembers.etcd.talos.dev"),
        ("runtime", "KernelCmdlines.runtime.talos.dev"),
    ] {
        let asked = ListRequest { namespace: namespace.into(), r#type: kind.into(), options: None };
        let mut found = client.state().list(asked).await.unwrap().into_inner();
        let one =
            found.message().await.unwrap().unwrap_or_else(|| panic!("some {kind}")).resource.unwrap().spec.unwrap();
        assert!(!one.proto_spec.is_empty() && !one.yaml_spec.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn meta_is_kept_and_disks_in_use_are_not_wiped() {
    let lab = lab().await;
    let cluster = Cluster::new("v1.12.4", "1.12");
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    lab.install(&cluster, 101, Role::ControlPlane, ip).await;
    lab.until("boot from disk", |world| system(world, 101)?.disk.is_some().then_some(())).await;
    let client = Client::mutual(&lab, ip.into(), &cluster.credentials()).await;
    let mut api = client.machine();
    api.meta_write(MetaWriteRequest { key: 0x0a, value: b"x".to_vec() }).await.expect("an administrator may");
    assert_eq!(
        api.meta_write(MetaWriteRequest { key: 300, value: Vec::new() }).await.expect_err("no byte").code(),
        Code::InvalidArgument
    );
    let boot = system(&lab.shared().lock(), 101).unwrap().boot;
    lab.shared().lock().fleet.reboot(101, false);
    lab.shared().wake();
    lab.until("reboot", |world| (system(world, 101)?.boot > boot).then_some(())).await;
    let client = Client::mutual(&lab, ip.into(), &cluster.credentials()).await;
    assert_eq!(client.spec("runtime", "MetaKeys.runtime.talos.dev", "0x0a").await.unwrap()["value"], "x");
    client.machine().meta_delete(MetaDeleteRequest { key: 0x0a }).await.expect("it is there");
    let gone = client.machine().meta_delete(MetaDeleteRequest { key: 0x0a }).await.expect_err("it is gone");
    assert_eq!((gone.code(), gone.message()), (Code::NotFound, "meta key not found"));

    for (device, code, text) in [
        ("sda", Code::FailedPrecondition, "blockdevice \"sda\" is in use by volume \"META\""),
        ("sdz", Code::NotFound, "blockdevice \"sdz\" not found"),
        ("sr0", Code::FailedPrecondition, "blockdevice \"sr0\" is a CD-ROM"),
    ] {
        let devices = vec![BlockDeviceWipeDescriptor { device: device.into(), ..BlockDeviceWipeDescriptor::default() }];
        let refused =
            client.storage().block_device_wipe(BlockDeviceWipeRequest { devices }).await.expect_err("it is refused");
        assert_eq!((refused.code(), refused.message()), (code, text));
    }
}

#[tokio::test]
async fn files_are_copied_out_and_measured() {
    let lab = lab().await;
    let cluster = Cluster::new("v1.13.0", "1.13");
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    lab.install(&cluster, 101, Role::ControlPlane, ip).await;
    lab.until("boot", |world| (world.fleet.machine(101)?.stage == Stage::Booting).then_some(())).await;
    let client = Client::mutual(&lab, ip.into(), &cluster.credentials()).await;
    let copy = async |path: &str| {
        let request = CopyRequest { root_path: path.to_owned() };
        let mut stream = client.machine().copy(request).await.expect("an administrator may").into_inner();
        let (mut bytes, mut error) = (Vec::new(), String::new());
        while let Some(piece) = stream.message().await.unwrap() {
            bytes.extend(piece.bytes);
            error.push_str(&piece.metadata.unwrap_or_default().error);
        }
        (bytes, error)
    };
    let (bytes, _) = copy("/etc").await;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let mut files = std::collections::BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        files.insert(entry.path().unwrap().to_string_lossy().into_owned(), text);
    }
    assert_eq!(files["hostname"], "m-101\n");
    assert!(copy("/nowhere").await.1.contains("no such file or directory"));
    let request = DiskUsageRequest { all: true, paths: vec!["/etc".into()], ..DiskUsageRequest::default() };
    let mut stream = client.machine().disk_usage(request).await.unwrap().into_inner();
    let mut found = Vec::new();
    while let Some(info) = stream.message().await.unwrap() {
        found.push((info.relative_name, info.size));
    }
    let (last, total) = found.pop().expect("the directory itself comes last");
    assert_eq!((last.as_str(), total), (".", 4096 + found.iter().map(|(_, size)| size).sum::<i64>()));
    assert!(found.contains(&("hostname".to_owned(), 6)), "{found:?}");
}
