//! What a machine shows of itself to `talosctl get`, from the first boot to a healthy cluster.

use super::*;
use crate::lab::fleet::Stage;
use crate::lab::talos::resources;

/// What has never been empty on a healthy machine, whatever its role.
const ANY: [&str; 30] = [
    "Affiliates.cluster",
    "Members.cluster",
    "Identities.cluster",
    "Infos.cluster",
    "KernelParamStatuses.runtime",
    "Services.v1alpha1",
    "MountStatuses.block",
    "VolumeMountStatuses.block",
    "VolumeStatuses.block",
    "DiscoveredVolumes.block",
    "Disks.block",
    "SystemDisks.block",
    "ExtensionStatuses.runtime",
    "Nodenames.kubernetes",
    "NodeStatuses.kubernetes",
    "NodeIPs.kubernetes",
    "KubeletSpecs.kubernetes",
    "MachineStatuses.runtime",
    "TimeStatuses.v1alpha1",
    "HostDNSConfigs.net",
    "ResolverStatuses.net",
    "RouteStatuses.net",
    "AddressStatuses.net",
    "LinkStatuses.net",
    "LinkSpecs.net",
    "HardwareAddresses.net",
    "NodeAddresses.net",
    "MachineConfigs.config",
    "MachineTypes.config",
    "CertSANs.secrets",
];

/// Only a control plane has these.
const CONTROL: [&str; 10] = [
    "StaticPods.kubernetes",
    "StaticPodStatuses.kubernetes",
    "Manifests.kubernetes",
    "ManifestStatuses.kubernetes",
    "EtcdMembers.etcd",
    "EtcdSpecs.etcd",
    "APIServerConfigs.kubernetes",
    "BootstrapManifestsConfigs.kubernetes",
    "SecretStatuses.kubernetes",
    "PKIStatuses.etcd",
];

/// Ids of what a machine shows in the type's own namespaces.
fn shown(world: &World, vmid: u32, kind: &str) -> Vec<(String, serde_json::Value)> {
    let all = resources::of(&world.fleet, vmid, &format!("{kind}.talos.dev"));
    let parsed = |resource: resources::Resource| {
        assert!(!resource.owner.is_empty() || kind.starts_with("Meta") || kind.starts_with("KubeletLife"), "{kind}");
        (resource.id, serde_saphyr::from_multiple(&resource.yaml).unwrap().remove(0))
    };
    all.into_iter().map(parsed).collect()
}

fn ids(world: &World, vmid: u32, kind: &str) -> Vec<String> {
    shown(world, vmid, kind).into_iter().map(|(id, _)| id).collect()
}

#[tokio::test]
async fn a_healthy_machine_shows_what_every_real_one_does() {
    for (version, contract) in [("v1.11.6", "1.11"), ("v1.12.4", "1.12"), ("v1.13.9", "1.13"), ("v1.14.0-rc.1", "1.14")]
    {
        let lab = lab().await;
        let cluster = Cluster::new(version, contract);
        lab.install(&cluster, 101, Role::ControlPlane, Ipv4Addr::new(10, 83, 0, 5)).await;
        let of = |kind: &str| ids(&lab.shared().lock(), 101, kind);
        assert_eq!(of("StaticPods.kubernetes"), [""; 0], "there is no etcd to render them for");
        assert_eq!(of("Members.cluster"), ["m-101"]);
        let bootstrap = || lab.shared().lock().fleet.bootstrap(101);
        lab.until("boot", |world| (world.fleet.machine(101)?.stage == Stage::Booting).then_some(())).await;
        bootstrap().expect("it is time");
        lab.shared().wake();
        lab.install(&cluster, 102, Role::Worker, Ipv4Addr::new(10, 83, 0, 6)).await;
        lab.until("node that is ready", |world| system(world, 102).filter(|system| system.node_ready).map(drop)).await;
        let world = lab.shared().lock();
        for vmid in [101, 102] {
            for kind in ANY {
                assert!(!shown(&world, vmid, kind).is_empty(), "{version}: {kind} of {vmid}");
            }
        }
        for kind in CONTROL {
            assert_eq!(
                (ids(&world, 101, kind).is_empty(), ids(&world, 102, kind).len()),
                (false, 0),
                "{version}: {kind}"
            );
        }
        for vmid in [101, 102] {
            assert_eq!(ids(&world, vmid, "Members.cluster"), ["m-101", "m-102"], "{version}");
        }
        let member = &shown(&world, 101, "EtcdMembers.etcd")[0].1["memberID"];
        let (_, id) = world.fleet.etcd_of(101).unwrap();
        assert_eq!(*member, format!("{id:016x}"));
        let pods = ids(&world, 101, "StaticPodStatuses.kubernetes");
        assert!(pods.contains(&"kube-system/kube-apiserver-m-101".to_owned()), "{pods:?}");
        let volumes = shown(&world, 101, "VolumeStatuses.block");
        let ephemeral = &volumes.iter().find(|(id, _)| id == "EPHEMERAL").unwrap().1;
        let mount = &shown(&world, 101, "MountStatuses.block").into_iter().find(|(id, _)| id == "EPHEMERAL").unwrap().1;
        assert_eq!((&ephemeral["phase"], &mount["source"]), (&"ready".into(), &ephemeral["location"]));
        let id = ephemeral["location"].as_str().unwrap().trim_start_matches("/dev/");
        let found = shown(&world, 101, "DiscoveredVolumes.block").into_iter().find(|(known, _)| known == id).unwrap().1;
        assert_eq!((&found["partition_label"], &found["size"]), (&"EPHEMERAL".into(), &ephemeral["size"]));
    }
}

#[tokio::test]
async fn without_a_configuration_there_is_nothing_of_a_cluster_and_all_of_the_machine() {
    let lab = lab().await;
    lab.power_on(101, "v1.13.0");
    lab.address(101).await;
    let world = lab.shared().lock();
    for kind in ["Members.cluster", "Nodenames.kubernetes", "KubeletSpecs.kubernetes", "StaticPods.kubernetes"] {
        assert_eq!(ids(&world, 101, kind), [""; 0], "{kind}");
    }
    assert_eq!(ids(&world, 101, "VolumeStatuses.block"), ["META", "STATE"]);
    assert_eq!(shown(&world, 101, "VolumeStatuses.block")[0].1["phase"], "missing");
    assert_eq!(shown(&world, 101, "MachineTypes.config")[0].1, "unknown");
    assert!(ids(&world, 101, "LinkStatuses.net").contains(&"eth0".to_owned()));
}

#[tokio::test]
async fn wishes_are_kept_by_layer_and_the_highest_wins() {
    let lab = lab().await;
    let cluster = Cluster::new("v1.13.0", "1.13");
    lab.install(&cluster, 101, Role::ControlPlane, Ipv4Addr::new(10, 83, 0, 5)).await;
    let world = lab.shared().lock();
    let all = resources::of(&world.fleet, 101, "HostnameSpecs.net.talos.dev");
    let of = |namespace: &str| all.iter().filter(|one| one.namespace == namespace).map(|one| one.id.as_str()).collect();
    let (asked, merged): (Vec<&str>, Vec<&str>) = (of("network-config"), of("network"));
    assert_eq!((asked, merged), (vec!["configuration/hostname"], vec!["hostname"]));
    assert!(all.iter().all(|one| one.yaml.contains("m-101") && one.yaml.contains("layer: configuration")));
    let addresses = resources::of(&world.fleet, 101, "AddressSpecs.net.talos.dev");
    assert!(addresses.iter().any(|one| one.namespace == "network" && one.id == "eth0/10.83.0.5/24"));
}
