//! The vocabulary of faults on every face, as a caller feels it.

use tonic::Code;

use super::client::Client;
use super::*;
use crate::lab::faults::{Damage, Deed, Effect, Event, Face, Fault, Lacks};

fn script(lab: &Lab, face: Face, call: &str, effect: Effect) {
    let fault = Fault { face, call: call.into(), subject: None, label: None, skip: 0, times: 1, effect };
    lab.shared().lock().faults.script.push(fault);
}

struct Web(reqwest::Client);

impl Web {
    fn new(lab: &Lab) -> Self {
        let root = reqwest::Certificate::from_pem(lab.endpoints().ca_pem.as_bytes()).unwrap();
        Self(reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap())
    }

    /// The whole answer, or how there was none: every cause in one text.
    async fn versions(&self, lab: &Lab) -> Result<String, String> {
        let get = async { self.0.get(lab.endpoints().factory.join("versions").unwrap()).send().await?.text().await };
        let chain = |error: &dyn std::error::Error| {
            let causes = std::iter::successors(Some(error), |error| error.source());
            causes.map(|error| format!("{error:?}")).collect::<Vec<_>>().join(": ")
        };
        get.await.map_err(|error| chain(&error))
    }

    /// Whether nothing comes for a moment.
    async fn is_silent(&self, lab: &Lab) -> bool {
        tokio::time::timeout(Duration::from_millis(150), self.versions(lab)).await.is_err()
    }
}

#[tokio::test]
async fn answers_over_http_get_lost_in_every_way() {
    let (lab, call) = (lab().await, "GET /versions");
    let web = Web::new(&lab);
    let whole = web.versions(&lab).await.unwrap();
    for (effect, told) in [
        (Effect::Reset, "ConnectionReset"),
        (Effect::ActThenReset, "ConnectionReset"),
        (Effect::LoseRequest, "UnexpectedEof"),
        (Effect::LoseReply, "UnexpectedEof"),
        (Effect::Corrupt(Damage::Broken), ""),
    ] {
        script(&lab, Face::Factory, call, effect.clone());
        let error = web.versions(&lab).await.expect_err("it is lost");
        assert!(error.contains(told), "{effect:?}: {error}");
        assert_eq!(web.versions(&lab).await.unwrap(), whole, "after {effect:?}");
    }
    script(&lab, Face::Factory, call, Effect::Corrupt(Damage::Halved));
    assert_eq!(web.versions(&lab).await.unwrap(), whole[..whole.len() / 2]);
    script(&lab, Face::Factory, call, Effect::Corrupt(Damage::Garbled));
    assert!(!web.versions(&lab).await.unwrap().contains("v1."));
    for effect in [Effect::Silent, Effect::ActThenSilent] {
        script(&lab, Face::Factory, call, effect);
        assert!(web.is_silent(&lab).await);
    }
    script(&lab, Face::Factory, call, Effect::Flap(Box::new(Effect::Refuse { code: 502, text: "bad gateway".into() })));
    lab.shared().lock().faults.script.last_mut().unwrap().times = 2;
    let mut bad = Vec::new();
    for _ in 0..4 {
        bad.push(web.versions(&lab).await.unwrap().contains("bad gateway"));
    }
    assert_eq!(bad, [true, false, true, false]);
}

#[tokio::test]
async fn answers_over_grpc_get_lost_in_every_way() {
    let lab = lab().await;
    lab.power_on(101, "v1.12.4");
    let client = Client::insecure(&lab, lab.address(101).await).await;
    for effect in [
        Effect::Reset,
        Effect::ActThenReset,
        Effect::Corrupt(Damage::Broken),
        Effect::Corrupt(Damage::Halved),
        Effect::Corrupt(Damage::Garbled),
    ] {
        script(&lab, Face::Talos, "/Disks", effect.clone());
        let status = client.storage().disks(()).await.expect_err("it is lost");
        let garbled = effect == Effect::Corrupt(Damage::Garbled);
        assert_eq!(status.code() == Code::Internal, garbled, "{effect:?}: {status}");
        client.storage().disks(()).await.unwrap_or_else(|status| panic!("after {effect:?}: {status}"));
    }
}

/// A machine in maintenance mode, and a call that sets `event` off.
async fn happened(event: Event) -> (Lab, IpAddr) {
    let lab = lab().await;
    lab.power_on(101, "v1.12.4");
    let ip = lab.address(101).await;
    let mut vm = crate::lab::pve::Vm::default();
    vm.node = "lab1".into();
    vm.config.insert("name".into(), "vm-101".into());
    lab.shared().lock().pve.vms.insert(101, vm);
    script(&lab, Face::Factory, "GET /versions", Effect::Event(event));
    Web::new(&lab).versions(&lab).await.unwrap();
    (lab, ip)
}

#[tokio::test]
async fn leases_move_and_the_machine_with_them() {
    let (lab, before) = happened(Event::NewLeases).await;
    let after = lab.address(101).await;
    assert_ne!(after, before);
    Client::insecure(&lab, after).await.storage().disks(()).await.expect("it answers where it is");
}

#[tokio::test]
async fn an_impostor_answers_in_the_machines_place_until_it_leaves() {
    for lacks in Lacks::ALL {
        let (lab, ip) = happened(Event::Impostor { lacks, vm: None }).await;
        let client = Client::insecure(&lab, ip).await;
        let kind = "SystemInformations.hardware.talos.dev";
        let seen = client.spec("hardware", kind, "systeminformation").await;
        let genuine = uuid::Uuid::from_u128(101 << 100).to_string();
        match lacks {
            // It wants to see a certificate that only somebody else has.
            Lacks::Key => assert!(seen.is_err()),
            Lacks::Mac => assert_eq!(seen.unwrap()["uuid"], genuine),
            Lacks::Uuid | Lacks::All => assert_ne!(seen.unwrap()["uuid"], genuine),
        }
        script(&lab, Face::Factory, "GET /versions", Effect::Event(Event::ImpostorsLeave));
        Web::new(&lab).versions(&lab).await.unwrap();
        let client = Client::insecure(&lab, ip).await;
        assert_eq!(client.spec("hardware", kind, "systeminformation").await.unwrap()["uuid"], genuine);
        assert!(lab.shared().lock().harm().is_empty());
    }
}

#[tokio::test]
async fn operators_do_what_operators_do() {
    for deed in Deed::ALL {
        let (lab, _) = happened(Event::Operator { deed, vm: Some("vm-101".into()) }).await;
        let world = lab.shared().lock();
        let (there, on) = (world.pve.vms.get(&101), world.fleet.is_powered(101));
        let theirs: Vec<u32> = world.faults.foreign.keys().copied().collect();
        let name = there.and_then(|vm| vm.config.get("name")).map(String::as_str);
        let expected = match deed {
            Deed::Delete => (None, false, vec![]),
            Deed::Reuse => (Some("vm-101"), true, vec![101]),
            Deed::Clone | Deed::Copy => (Some("vm-101"), true, vec![9000]),
            Deed::Restore | Deed::Stop => (Some("vm-101"), false, vec![]),
            Deed::Rename => (Some("renamed"), true, vec![]),
            Deed::Strip | Deed::Migrate => (Some("vm-101"), true, vec![]),
        };
        assert_eq!((name, on, theirs), expected, "{deed:?}");
        assert!(world.harm().is_empty(), "{deed:?}");
    }
}

#[tokio::test]
async fn harm_to_what_is_somebody_elses_is_told() {
    let (lab, _) = happened(Event::Operator { deed: Deed::Reuse, vm: None }).await;
    let mut world = lab.shared().lock();
    world.fleet.power_off(101);
    assert_eq!(world.harm(), ["VM 101 of somebody else was stopped"]);
    world.pve.vms.get_mut(&101).unwrap().config.insert("cores".into(), "1".into());
    assert_eq!(world.harm(), ["VM 101 of somebody else was changed"]);
    world.pve.vms.remove(&101);
    assert_eq!(world.harm(), ["VM 101 of somebody else was destroyed"]);
}

#[tokio::test]
async fn a_storage_fills_and_is_freed() {
    let (lab, _) = happened(Event::FillStorage { name: "local-lvm".into() }).await;
    let room = |lab: &Lab| {
        let storage = lab.shared().lock().site.storages["local-lvm"].clone();
        storage.total - storage.used
    };
    assert_eq!(room(&lab), 0);
    script(&lab, Face::Factory, "GET /versions", Effect::Event(Event::FreeStorage { name: "local-lvm".into() }));
    Web::new(&lab).versions(&lab).await.unwrap();
    assert_eq!(room(&lab), 1000);
}

#[tokio::test]
async fn a_machine_whose_clock_is_wrong_shows_and_sees_wrong_dates() {
    let cluster = Cluster::new("v1.12.4", "1.12");
    for (seconds, trusted) in [(86_400, false), (-172_800, false), (0, true)] {
        let (lab, ip) = happened(Event::Skew { seconds }).await;
        let own = Ipv4Addr::new(10, 83, 0, 5);
        let client = Client::insecure(&lab, ip).await;
        client.apply(cluster.config(&lab, 101, Role::ControlPlane, own), 0).await.expect("it is taken");
        let config = |world: &World| system(world, 101)?.config.clone();
        lab.until("configuration", |world| {
            config(world).filter(|_| system(world, 101).is_some_and(|system| system.disk.is_some()))
        })
        .await;
        let admin = cluster.credentials();
        let credentials =
            crate::talos::Credentials { ca_pem: admin.ca_pem, crt_pem: admin.crt_pem, key_pem: admin.key_pem };
        let asked = async {
            crate::talos::Talos::secured(&lab.endpoints().reach, own.into(), &credentials).await?.version().await
        };
        assert_eq!(asked.await.is_ok(), trusted, "{seconds} seconds ahead");
    }
}
