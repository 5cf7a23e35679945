//! Replies recorded from the API code of 9.2.11 and 8.4.21 have to mean the same to us.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use uuid::Uuid;

use super::server::{Reply, Seen, Server};
use crate::inventory::Mac;
use crate::pve::{CloudInit, Pve, PveError, VmSpec};

#[derive(Clone, Deserialize)]
struct Recorded {
    request: String,
    status: u16,
    reason: String,
    body: String,
}

const RECORDINGS: [(&str, &str); 2] = [
    ("8", include_str!("../../../tests/fixtures/pve/8/replies.json")),
    ("9", include_str!("../../../tests/fixtures/pve/9/replies.json")),
];

fn plain(request: &str) -> String {
    percent_decode_str(request).decode_utf8_lossy().into_owned()
}

async fn site(recording: &str) -> (Server, Pve) {
    let replies: Vec<Recorded> = serde_json::from_str(recording).expect("a recording is a list");
    let server = Server::start(move |seen: Seen| {
        let asked = plain(&seen.request);
        let known = replies.iter().find(|reply| plain(&reply.request).replacen(" /api2/json", " ", 1) == asked);
        let reply = known.map_or(Reply::Hangup, |known| {
            Reply::Answer(known.status, known.reason.clone().into_bytes(), known.body.clone())
        });
        std::future::ready(reply)
    })
    .await;
    let pve = server.connect().await;
    (server, pve)
}

#[tokio::test]
async fn a_configuration_is_read_back() {
    for (version, recording) in RECORDINGS {
        let (_server, pve) = site(recording).await;
        let config = pve.config("pve1", 330).await.expect(version);
        assert_eq!(config.name(), Some("cp-1"));
        let uuid: Uuid = "11111111-2222-4333-8444-555555555555".parse().expect("a UUID");
        assert_eq!(config.uuid(), Some(uuid));
        assert_eq!(config.macs().len(), 1, "{version}");
        assert!(config.macs()[0].to_string().starts_with("BC:24:11:"));
        assert_eq!(config.cdrom(), Some("local:iso/talos.iso"));
        assert_eq!(config.description(), "managed: cluster-a\nline two: \u{fc} %");
        assert_eq!(config.digest().map(str::len), Some(40));
        assert_eq!(
            (config.get("memory"), config.get("cores"), config.get("onboot")),
            (Some("2048"), Some("2"), Some("1"))
        );
        assert!(config.created().is_some_and(|at| at > 1_700_000_000));
        // 8 keeps tags as they were sent at create, 9 lowers and sorts them.
        let mut tags: Vec<String> = config.tags().iter().map(|tag| tag.to_lowercase()).collect();
        tags.sort();
        assert_eq!(tags, ["b", "cluster-a", "pvetalos"]);
    }
}

#[tokio::test]
async fn states_of_vms_are_read() {
    for (version, recording) in RECORDINGS {
        let (_server, pve) = site(recording).await;
        let status = pve.status("pve1", 360).await.expect(version);
        assert!(status.running && status.lock.is_none(), "{version}: {status:?}");
        let status = pve.status("pve1", 363).await.expect(version);
        assert!(!status.running && status.lock.as_deref() == Some("create"), "{version}: {status:?}");
        let missing = pve.config("pve1", 500).await.expect_err(version);
        assert!(missing.is_missing_vm() && !missing.is_locked(), "{version}: {missing}");
    }
}

#[tokio::test]
async fn the_site_is_read() {
    for (version, recording) in RECORDINGS {
        let (_server, pve) = site(recording).await;
        let mut nodes = pve.nodes().await.expect(version);
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let online: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.online)).collect();
        assert_eq!(online, [("pve1", true), ("pve2", true), ("pve3", false)], "{version}");
        assert!(nodes[0].fingerprint.is_some() && nodes[1].fingerprint.is_none());

        let storages = pve.storages("pve1").await.expect(version);
        let storage = |name: &str| storages.iter().find(|storage| storage.name == name).expect("it is listed");
        let local = storage("local");
        assert!(local.active && local.enabled && !local.shared && local.kind == "dir" && local.avail.is_some());
        assert!(["images", "import", "iso", "snippets"].iter().all(|kind| local.content.contains(*kind)));
        assert!(!storage("off").enabled && !storage("off").active);

        let bridges = pve.bridges("pve1").await.expect(version);
        assert_eq!(bridges.len(), 1);
        assert!(bridges[0].name == "vmbr0" && bridges[0].active && bridges[0].vlan_aware, "{version}");

        let guests = pve.guests().await.expect(version);
        assert_eq!(guests.len(), 1);
        let guest = &guests[0];
        assert_eq!((guest.vmid, guest.node.as_str(), guest.name.as_deref()), (500, "pve2", None));
        assert_eq!((guest.tags.as_slice(), guest.status.as_str()), (&["pvetalos".to_owned()][..], "unknown"));
        assert!(!guest.lxc && !guest.template);

        assert_eq!(pve.next_id().await.expect(version), 100);
        assert!(pve.vmid_free(333).await.expect(version));
        assert!(!pve.vmid_free(500).await.expect(version));
    }
}

#[tokio::test]
async fn volumes_and_rights_are_read() {
    for (version, recording) in RECORDINGS {
        let (_server, pve) = site(recording).await;
        let images = pve.volumes("pve1", "local", "iso").await.expect(version);
        assert_eq!((images[0].volid.as_str(), images[0].size), ("local:iso/talos.iso", Some(524_288)));
        let disks = pve.volumes("pve1", "data", "images").await.expect(version);
        assert_eq!(disks[0].vmid, Some(320));
        for (bridge, expected) in [("vmbr0", 2), ("vmbr1", 0)] {
            let path = format!("/sdn/zones/localnetwork/{bridge}");
            let rights = pve.permissions(Some(&path)).await.expect(version);
            assert_eq!(rights[&path].len(), expected, "{version} {bridge}");
        }
        let url = |text: &str| text.parse().expect("a URL");
        let iso = pve.query_url_metadata("pve1", &url("http://127.0.0.1:8099/good.iso")).await.expect(version);
        assert_eq!((iso.filename.as_deref(), iso.size), (Some("good.iso"), Some(300_000)));
        let page = pve.query_url_metadata("pve1", &url("http://127.0.0.1:8099/")).await.expect(version);
        assert_eq!(page.filename, None);
    }
}

#[tokio::test]
async fn the_guest_agent_is_read() {
    for (version, recording) in RECORDINGS {
        let (_server, pve) = site(recording).await;
        let interfaces = pve.agent_interfaces("pve1", 381).await.expect(version);
        let mac: Mac = "BC:24:11:00:00:01".parse().expect("a MAC");
        let eth0 = interfaces.iter().find(|interface| interface.mac == Some(mac)).expect("it has eth0");
        assert_eq!(eth0.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.5", "fe80::1"]);
        assert!(interfaces.iter().any(|interface| interface.name == "sit0" && interface.addresses.is_empty()));

        let silent = pve.agent_interfaces("pve1", 382).await.expect_err(version);
        assert!(silent.is_agent_silent(), "{version}: {silent}");
        let forbidden = pve.agent_interfaces("pve1", 310).await.expect_err(version);
        let quirks = super::super::quirks::of(version.parse().expect("a major"), version).expect("a known major");
        assert!(
            matches!(&forbidden, PveError::Forbidden { privilege: Some(named), .. } if named.contains(quirks.guest_agent_privilege)),
            "{version}: {forbidden}"
        );
    }
}

#[test]
fn an_unknown_major_behaves_like_the_newest_and_an_old_one_is_refused() {
    use super::super::quirks::of;
    assert_eq!(of(10, "10.0").expect("newer").major, 9);
    assert_eq!(of(8, "8.4").expect("known").major, 8);
    assert!(matches!(of(7, "7.4-3"), Err(PveError::TooOld(_))));
}

fn spec() -> VmSpec {
    VmSpec {
        vmid: 9001,
        node: "pve1".into(),
        name: "lab-cp-1".into(),
        tags: vec!["pvetalos".into(), "pvetalos.lab".into()],
        description: "made by pvetalos".into(),
        pool: Some("talos".into()),
        cpu: "x86-64-v2-AES".into(),
        cores: 4,
        memory_mib: 8192,
        disk_gib: 64,
        disk_storage: "local-zfs".into(),
        iso: "local:iso/talos.iso".into(),
        bridge: "vmbr0".into(),
        vlan: Some(7),
        mac: Some("bc:24:11:62:36:01".parse().expect("a MAC")),
        uuid: "11111111-2222-4333-8444-555555555555".parse().expect("a UUID"),
        scsihw: "virtio-scsi-pci".into(),
        uefi: true,
        tpm: true,
        agent: true,
        serial: true,
        cloud_init: None,
    }
}

fn lines(spec: &VmSpec) -> String {
    spec.params().into_iter().fold(String::new(), |text, (name, value)| text + &name + "=" + &value + "\n")
}

#[test]
fn a_vm_is_created_with_exactly_these_parameters() {
    assert_eq!(
        lines(&spec()),
        "vmid=9001\nname=lab-cp-1\npool=talos\ntags=pvetalos;pvetalos.lab\ndescription=made by pvetalos\n\
         ostype=l26\nmachine=q35\nbios=ovmf\nefidisk0=local-zfs:1,efitype=4m,pre-enrolled-keys=0\n\
         tpmstate0=local-zfs:1,version=v2.0\ncpu=x86-64-v2-AES\nsockets=1\ncores=4\nnuma=0\nmemory=8192\nballoon=0\n\
         scsihw=virtio-scsi-pci\nscsi0=local-zfs:64,discard=on,ssd=1\nide2=local:iso/talos.iso,media=cdrom\n\
         boot=order=scsi0;ide2\nnet0=virtio=BC:24:11:62:36:01,bridge=vmbr0,tag=7\nserial0=socket\nagent=enabled=1\n\
         smbios1=uuid=11111111-2222-4333-8444-555555555555\nonboot=1\n"
    );
}

#[test]
fn what_a_machine_does_not_have_is_not_sent() {
    let bare = VmSpec {
        tags: Vec::new(),
        description: String::new(),
        pool: None,
        vlan: None,
        mac: None,
        uefi: false,
        tpm: false,
        agent: false,
        serial: false,
        ..spec()
    };
    let names: Vec<String> = bare.params().into_iter().map(|(name, _)| name).collect();
    for absent in ["tags", "description", "pool", "bios", "efidisk0", "tpmstate0", "agent", "serial0", "ide0"] {
        assert!(!names.iter().any(|name| name == absent), "{absent}");
    }
    assert!(lines(&bare).contains("\nnet0=virtio,bridge=vmbr0\n"));
    let cloud_init = CloudInit {
        storage: "local-zfs".into(),
        ipconfig0: "ip=192.168.22.101/22,gw=192.168.23.254".into(),
        nameserver: Some("172.64.36.1 172.64.36.2".into()),
    };
    let text = lines(&VmSpec { cloud_init: Some(cloud_init), ..bare });
    assert!(text.contains(
        "\nide0=local-zfs:cloudinit\nipconfig0=ip=192.168.22.101/22,gw=192.168.23.254\nnameserver=172.64.36.1 172.64.36.2\nboot="
    ), "{text}");
}

#[tokio::test]
async fn a_spec_survives_the_journal() {
    let text = serde_json::to_string(&spec()).expect("a spec is data");
    assert_eq!(serde_json::from_str::<VmSpec>(&text).expect("and is read back"), spec());
}
