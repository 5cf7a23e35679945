//! The client against machines that behave as Talos does, well and badly.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tonic::{Code, Status as Rpc};
use uuid::Uuid;

use super::testing::{
    Ca, Does, Frame, Says, Site, ip, maintenance_tls, params, resource, secured_tls, secured_tls_of, tls,
};
use super::wire::specs::{self, MachineStage, MachineStatusSpec};
use super::wire::{cosi, machine};
use super::*;
use crate::inventory::Mac;
use crate::wait::{Pace, Probe, until};

const UUID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
const MAC: Mac = Mac([0xbc, 0x24, 0x11, 0x62, 0x36, 0x01]);
const CONFIG: &str = "version: v1alpha1\n";

fn config() -> Secret {
    Secret::new(CONFIG)
}

/// A machine of `ca`'s cluster at `stage`.
async fn ours(site: &Site, ca: &Ca, stage: MachineStage) -> Arc<Says> {
    let says = Says::identity(UUID, MAC, stage);
    says.serve(site, ip(1), secured_tls(ca, ca.server("lab-cp-1", ip(1)))).await;
    says
}

/// A machine in maintenance mode.
async fn waiting(site: &Site) -> Arc<Says> {
    let says = Says::identity(UUID, MAC, MachineStage::StageMaintenance);
    says.serve(site, ip(1), maintenance_tls(ip(1))).await;
    says
}

#[tokio::test]
async fn an_old_machine_in_maintenance_is_known_and_its_parse_error_is_final() {
    let site = Site::take();
    let says = waiting(&site).await;
    says.unknown.lock().unwrap().push("Versions.runtime.talos.dev".into());
    says.applies.lock().unwrap().push_back(Does::Refuse(Rpc::unknown("failed to parse config: unknown keys found")));
    assert_eq!(probe(&site.reach, ip(1), None).await, Class::Maintenance);

    let talos = Talos::maintenance(&site.reach, ip(1)).await.expect("it is in maintenance");
    let identity = talos.identity().await.expect("everything needed is readable");
    assert_eq!((identity.uuid, identity.macs, identity.version), (Some(UUID), vec![MAC], None));
    assert!(!identity.installed);
    assert_eq!(talos.version().await.expect_err("not before 1.13").code(), Some(Code::Unimplemented));

    let error = talos.apply(&config(), false).await.expect_err("the config is bad");
    assert_eq!((error.kind(), error.meaning()), (Kind::Permanent, Some(Meaning::BadConfig)));
    assert!(error.to_string().contains("unknown keys found"), "{error}");
}

#[tokio::test]
async fn a_second_apply_after_success_is_success() {
    let site = Site::take();
    let says = waiting(&site).await;
    *says.version.lock().unwrap() = Some("v1.13.9".into());
    says.applies.lock().unwrap().extend([Does::Answer, Does::Refuse(Rpc::permission_denied("not authorized"))]);
    let talos = Talos::maintenance(&site.reach, ip(1)).await.expect("it is in maintenance");
    assert_eq!(talos.version().await.expect("served from 1.13 on"), "1.13.9");
    let first = talos.apply(&config(), false).await.expect("taken");
    assert_eq!(first, Applied { warnings: vec!["mind the gap".into()], already: false });
    assert!(talos.apply(&config(), false).await.expect("had it").already);
}

#[tokio::test]
async fn apply_sends_the_bytes_and_only_ever_the_mode_auto() {
    let site = Site::take();
    let says = waiting(&site).await;
    let talos = Talos::maintenance(&site.reach, ip(1)).await.expect("it is in maintenance");
    talos.apply(&config(), true).await.expect("would be taken");
    talos.apply(&config(), false).await.expect("taken");
    let applied = says.applied.lock().unwrap();
    assert_eq!(applied.iter().map(|request| request.dry_run).collect::<Vec<_>>(), [true, false]);
    for request in applied.iter() {
        assert_eq!(request.mode(), machine::apply_configuration_request::Mode::Auto);
        assert_eq!(request.data, CONFIG.as_bytes());
    }
}

#[tokio::test]
async fn an_invalid_config_is_final_and_a_busy_machine_is_not() {
    let site = Site::take();
    let says = waiting(&site).await;
    says.applies.lock().unwrap().extend([
        Does::Refuse(Rpc::invalid_argument("configuration validation failed: …")),
        Does::Refuse(Rpc::failed_precondition("another apply configuration is already in progress")),
        Does::Lose,
    ]);
    let talos = Talos::maintenance(&site.reach, ip(1)).await.expect("it is in maintenance");
    for expected in [Kind::Permanent, Kind::Transient, Kind::Transient] {
        assert_eq!(talos.apply(&config(), false).await.expect_err("refused").kind(), expected);
    }
    // The connection is gone for good: nothing is ever sent over a second one behind the caller's back.
    let error = talos.apply(&config(), false).await.expect_err("gone");
    assert_eq!((error.kind(), error.meaning()), (Kind::Transient, Some(Meaning::ConnectionLost)));
    assert_eq!(says.applied.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_new_key_passes_unpinned_and_stops_a_pin() {
    let site = Site::take();
    waiting(&site).await;
    let other = Says::identity(UUID, MAC, MachineStage::StageMaintenance);
    other.serve(&site, ip(2), maintenance_tls(ip(2))).await;
    let pin = Talos::maintenance(&site.reach, ip(1)).await.expect("unpinned").fingerprint().to_owned();
    assert_eq!((pin.len(), pin.ends_with('=')), (44, true));
    Talos::maintenance_pinned(&site.reach, ip(1), &pin).await.expect("the pinned key");
    let error = Talos::maintenance_pinned(&site.reach, ip(2), &pin).await.err().expect("another key");
    assert_eq!(error.kind(), Kind::Permanent);
    let text = error.to_string();
    let seen = Talos::maintenance(&site.reach, ip(2)).await.expect("unpinned").fingerprint().to_owned();
    assert!(text.contains(&pin) && text.contains(&seen), "{text}");
}

/// Shows a certificate whose key it does not have.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesServerCert for Thief {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_refused() {
    let site = Site::take();
    let ca = Ca::new();
    let (shown, own) = (ca.server(super::tls::MAINTENANCE_NAME, ip(1)), ca.server("thief", ip(1)));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&own.key).expect("a key");
    let stolen = Thief(Arc::new(CertifiedKey::new(shown.chain, key)));
    let says = Says::identity(UUID, MAC, MachineStage::StageMaintenance);
    says.serve(&site, ip(1), tls().with_no_client_auth().with_cert_resolver(Arc::new(stolen))).await;

    let error = Talos::maintenance(&site.reach, ip(1)).await.err().expect("the signature is wrong");
    assert!(error.chain().contains("BadSignature"), "{}", error.chain());
    assert!(Talos::secured(&site.reach, ip(1), &ca.admin()).await.is_err());
    assert!(matches!(probe(&site.reach, ip(1), Some(&ca.admin())).await, Class::Down(_)));
}

#[tokio::test]
async fn a_configured_machine_is_ours_with_our_certificate_and_foreign_without() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageBooting).await;
    says.stage(MachineStage::StageBooting, false, &[("services", "etcd is not healthy")]);
    let unmet = vec![Unmet { name: "services".into(), reason: "etcd is not healthy".into() }];
    let ours = Class::Ours { stage: Stage::Booting, ready: false, unmet };
    assert_eq!(probe(&site.reach, ip(1), Some(&ca.admin())).await, ours);
    assert_eq!(probe(&site.reach, ip(1), None).await, Class::Foreign);
    let error = Talos::maintenance(&site.reach, ip(1)).await.err().expect("it is configured");
    assert_eq!((error.kind(), error.meaning()), (Kind::Permanent, Some(Meaning::NotInMaintenance)));
}

#[tokio::test]
async fn another_clusters_machine_is_foreign_and_gets_no_config() {
    let site = Site::take();
    let (ca, theirs) = (Ca::new(), Ca::new());
    let says = Says::identity(UUID, MAC, MachineStage::StageRunning);
    says.serve(&site, ip(1), secured_tls(&theirs, theirs.server("somebody-else", ip(1)))).await;
    assert_eq!(probe(&site.reach, ip(1), Some(&ca.admin())).await, Class::Foreign);
    let error = Talos::secured(&site.reach, ip(1), &ca.admin()).await.err().expect("not ours");
    assert_eq!((error.kind(), error.meaning()), (Kind::Permanent, Some(Meaning::AnotherCluster)));
    assert!(error.to_string().contains("belongs to another cluster"), "{error}");
    assert!(Talos::maintenance(&site.reach, ip(1)).await.is_err());
    assert!(says.applied.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_machine_still_in_maintenance_says_so_to_a_secured_client() {
    let site = Site::take();
    let ca = Ca::new();
    let says = waiting(&site).await;
    let error = Talos::secured(&site.reach, ip(1), &ca.admin()).await.err().expect("no mTLS there");
    assert_eq!((error.kind(), error.meaning()), (Kind::Transient, Some(Meaning::InMaintenance)));
    assert_eq!(probe(&site.reach, ip(1), Some(&ca.admin())).await, Class::Maintenance);

    says.stage(MachineStage::StageBooting, true, &[]);
    assert_eq!(probe(&site.reach, ip(1), Some(&ca.admin())).await, Class::Transition);
    *says.refuses_reading.lock().unwrap() = Some(Rpc::permission_denied("not authorized"));
    assert_eq!(probe(&site.reach, ip(1), None).await, Class::Transition);
}

#[tokio::test]
async fn a_refused_client_certificate_is_explained() {
    let site = Site::take();
    let ca = Ca::new();
    ours(&site, &ca, MachineStage::StageRunning).await;
    let wrong = ca.credentials(ExtendedKeyUsagePurpose::ServerAuth);
    let talos = Talos::secured(&site.reach, ip(1), &wrong).await.expect("TLS 1.3 refuses only later");
    let error = talos.machine_status().await.expect_err("refused");
    assert_eq!(error.meaning(), Some(Meaning::OurCertificateRefused), "{error}");
    assert!(error.to_string().contains("clientAuth"), "{error}");
}

#[tokio::test]
async fn under_tls_1_2_a_machine_refuses_within_the_handshake_and_is_classified_all_the_same() {
    let site = Site::take();
    let ca = Ca::new();
    let old = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("the provider has TLS 1.2");
    let tls = secured_tls_of(old, &ca, ca.server("lab-cp-1", ip(1)));
    Says::identity(UUID, MAC, MachineStage::StageRunning).serve(&site, ip(1), tls).await;
    assert_eq!(probe(&site.reach, ip(1), None).await, Class::Foreign);
    assert!(matches!(probe(&site.reach, ip(1), Some(&ca.admin())).await, Class::Ours { stage: Stage::Running, .. }));
    let wrong = ca.credentials(ExtendedKeyUsagePurpose::ServerAuth);
    let error = Talos::secured(&site.reach, ip(1), &wrong).await.err().expect("refused");
    assert_eq!(error.meaning(), Some(Meaning::OurCertificateRefused), "{error}");
}

#[tokio::test]
async fn a_certificate_from_the_future_is_a_matter_of_clocks() {
    let site = Site::take();
    let ca = Ca::new();
    let mut ahead = params(Some("lab-cp-1"), None);
    ahead.subject_alt_names = vec![rcgen::SanType::IpAddress(ip(1))];
    ahead.not_before = time::OffsetDateTime::now_utc() + Duration::from_secs(30);
    let leaf = ca.sign(ahead, ExtendedKeyUsagePurpose::ServerAuth);
    Says::identity(UUID, MAC, MachineStage::StageBooting).serve(&site, ip(1), secured_tls(&ca, leaf)).await;
    let error = Talos::secured(&site.reach, ip(1), &ca.admin()).await.err().expect("not valid yet");
    assert_eq!((error.kind(), error.meaning()), (Kind::Transient, Some(Meaning::ClockSkew)));
    let Class::Down(reason) = probe(&site.reach, ip(1), Some(&ca.admin())).await else { panic!("not usable") };
    assert!(reason.contains("clocks differ"), "{reason}");
}

#[tokio::test]
async fn a_certificate_for_another_address_is_not_taken() {
    let site = Site::take();
    let ca = Ca::new();
    let leaf = ca.server("lab-cp-1", ip(7));
    Says::identity(UUID, MAC, MachineStage::StageBooting).serve(&site, ip(1), secured_tls(&ca, leaf)).await;
    let error = Talos::secured(&site.reach, ip(1), &ca.admin()).await.err().expect("the wrong name");
    assert_eq!((error.kind(), error.meaning()), (Kind::Transient, Some(Meaning::WrongName)));
    assert!(matches!(probe(&site.reach, ip(1), Some(&ca.admin())).await, Class::Down(_)));
}

#[tokio::test]
async fn a_closed_port_is_waited_for() {
    let site = Site::take();
    let ca = Ca::new();
    let (looks, mut reasons) = (AtomicU8::new(0), Vec::new());
    let look = async || match probe(&site.reach, ip(1), Some(&ca.admin())).await {
        Class::Ours { stage, .. } => Probe::Ready(stage),
        Class::Down(reason) => {
            if looks.fetch_add(1, Ordering::Relaxed) == 2 {
                ours(&site, &ca, MachineStage::StageRunning).await;
            }
            Probe::NotYet(reason)
        }
        other => Probe::Never(other),
    };
    let waiting = |reason: &str| reasons.push(reason.to_owned());
    let stage = until("lab-cp-1", Pace::BRISK, Duration::from_secs(20), waiting, look).await;
    assert!(matches!(stage, Ok(Stage::Running)));
    assert!(reasons.len() >= 3 && reasons[0].contains("refused"), "{reasons:?}");
}

#[tokio::test]
async fn bootstrap_waits_through_too_early_and_a_lost_answer() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageBooting).await;
    let early = || Does::Refuse(Rpc::failed_precondition("bootstrap is not available yet"));
    says.bootstraps.lock().unwrap().extend([early(), early(), early(), early(), early(), Does::Lose]);
    says.bootstraps.lock().unwrap().push_back(Does::Refuse(Rpc::already_exists("etcd data directory is not empty")));
    let attempt = async || {
        let talos = match Talos::secured(&site.reach, ip(1), &ca.admin()).await {
            Ok(talos) => talos,
            Err(error) => return Probe::NotYet(error.chain()),
        };
        match talos.bootstrap().await {
            Ok(outcome) => Probe::Ready(outcome),
            Err(error) if error.kind() == Kind::Transient => Probe::NotYet(error.chain()),
            Err(error) => Probe::Never(error),
        }
    };
    let outcome = until("bootstrap", Pace::BRISK, Duration::from_secs(30), |_| {}, attempt).await;
    assert_eq!(outcome.expect("it is bootstrapped"), Bootstrap::AlreadyDone);
    assert!(says.bootstraps.lock().unwrap().is_empty());
    let talos = Talos::secured(&site.reach, ip(1), &ca.admin()).await.expect("ours");
    assert_eq!(talos.bootstrap().await.expect("a machine without data"), Bootstrap::Started);
}

#[tokio::test]
async fn bootstrapping_the_wrong_machine_is_final_on_every_version() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageBooting).await;
    let talos = Talos::secured(&site.reach, ip(1), &ca.admin()).await.expect("ours");
    let wrong = Some(Meaning::NotControlPlane);
    for (refusal, meaning) in [
        (Rpc::failed_precondition("bootstrap can only be performed on a control plane node"), wrong),
        (Rpc::unimplemented("bootstrap is only available on control plane nodes"), wrong),
        (Rpc::invalid_argument("etcd is not configured, bootstrap is not possible"), None),
        (Rpc::permission_denied("not authorized"), Some(Meaning::RoleTooSmall)),
    ] {
        says.bootstraps.lock().unwrap().push_back(Does::Refuse(refusal));
        let error = talos.bootstrap().await.expect_err("refused");
        assert_eq!((error.kind(), error.meaning()), (Kind::Permanent, meaning), "{error}");
    }
}

/// A gzipped tar with one entry and neither padding nor end, as Talos sends it.
fn unterminated(text: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("kubeconfig").unwrap();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    header.set_cksum();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(header.as_bytes()).unwrap();
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn the_kubeconfig_is_read_from_an_archive_that_never_ends() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageBooting).await;
    let text = "apiVersion: v1\nkind: Config\n".repeat(40);
    let packed = unterminated(&text);
    let third = packed.len() / 3;
    *says.kubeconfig.lock().unwrap() =
        vec![packed[..third].to_vec(), packed[third..2 * third].to_vec(), packed[2 * third..].to_vec()];
    let talos = Talos::secured(&site.reach, ip(1), &ca.admin()).await.expect("ours");
    assert_eq!(talos.kubeconfig().await.expect("it is there").expose(), text);

    *says.kubeconfig.lock().unwrap() = vec![packed[..third].to_vec()];
    assert!(talos.kubeconfig().await.is_err(), "half an archive was taken");
    *says.kubeconfig.lock().unwrap() = Vec::new();
    assert!(talos.kubeconfig().await.is_err(), "nothing was taken");
}

fn event(kind: cosi::EventType, stage: Option<MachineStage>) -> cosi::Event {
    let spec = stage.map(|stage| MachineStatusSpec { stage: stage.into(), status: None }.encode_to_vec());
    let resource = resource(MachineStatusSpec::TYPE, "machine", spec.unwrap_or_default());
    cosi::Event { event_type: kind.into(), resource: Some(resource), ..Default::default() }
}

#[tokio::test]
async fn a_watch_survives_everything_by_being_opened_again() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageBooting).await;
    let armed = || Frame::Events(Vec::new());
    let says_that = |kind, stage| Frame::Events(vec![event(kind, stage)]);
    says.watches.lock().unwrap().extend([
        vec![armed(), says_that(cosi::EventType::Destroyed, None), Frame::Hold],
        vec![armed(), says_that(cosi::EventType::Created, Some(MachineStage::StageBooting)), Frame::Hold],
        vec![armed(), says_that(cosi::EventType::Errored, None)],
        vec![armed()],
        vec![armed(), says_that(cosi::EventType::Updated, Some(MachineStage::StageRunning)), Frame::Hold],
    ]);
    let mut shown = Vec::new();
    let mut cuts = 0;
    let stage = loop {
        let talos = Talos::secured(&site.reach, ip(1), &ca.admin()).await.expect("it can be dialled again");
        let judge = |status: Option<MachineStatusSpec>| {
            let stage = status.map(|status| Stage::from(status.stage));
            shown.push(stage);
            match stage {
                None => says.cut.notify_waiters(),
                Some(Stage::Booting) => says.calm.notify_waiters(),
                Some(_) => {}
            }
            stage.filter(|stage| *stage == Stage::Running)
        };
        match talos.watch("machine", Duration::from_secs(10), judge).await {
            Ok(answer) => break answer,
            Err(error) => assert_eq!(error.kind(), Kind::Transient, "{error}"),
        }
        cuts += 1;
        assert!(cuts < 5, "the watch never answers");
    };
    assert_eq!((stage, cuts), (Some(Stage::Running), 4));
    assert_eq!(shown, [None, Some(Stage::Booting), Some(Stage::Running)]);
    assert!(says.watched.lock().unwrap().iter().all(|request| request.api_version == 1));
}

#[tokio::test]
async fn a_silent_watch_ends_with_its_span() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageBooting).await;
    says.watches.lock().unwrap().push_back(vec![Frame::Events(Vec::new()), Frame::Hold]);
    let talos = Talos::secured(&site.reach, ip(1), &ca.admin()).await.expect("ours");
    let answer = talos.watch("machine", Duration::from_millis(100), |_: Option<MachineStatusSpec>| Some(())).await;
    assert!(matches!(answer, Ok(None)));
}

#[tokio::test]
async fn what_a_newer_talos_adds_is_skipped() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageBooting).await;
    // stage = 77, status = {ready = true}, field 99 = "x"
    let newer = vec![0x08, 77, 0x12, 2, 0x08, 1, 0x9a, 0x06, 1, b'x'];
    says.resources.lock().unwrap().insert((MachineStatusSpec::TYPE.into(), "machine".into()), newer);
    let class = probe(&site.reach, ip(1), Some(&ca.admin())).await;
    assert_eq!(class, Class::Ours { stage: Stage::Unknown, ready: true, unmet: Vec::new() });
}

#[tokio::test]
async fn ready_in_maintenance_is_not_healthy() {
    let site = Site::take();
    waiting(&site).await;
    let talos = Talos::maintenance(&site.reach, ip(1)).await.expect("it is in maintenance");
    let status = talos.machine_status().await.expect("readable").expect("published");
    assert!(status.ready && !status.is_healthy());
}

#[tokio::test]
async fn more_than_four_megabytes_of_resources_are_read() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageRunning).await;
    says.put("big", &specs::DiagnosticSpec { message: "x".repeat(5 << 20), details: Vec::new() });
    let talos = Talos::secured(&site.reach, ip(1), &ca.admin()).await.expect("ours");
    assert_eq!(talos.diagnostics().await.expect("readable")[0].len(), 5 << 20);
}

#[tokio::test]
async fn services_members_pods_and_nodes_are_read() {
    let site = Site::take();
    let ca = Ca::new();
    let says = ours(&site, &ca, MachineStage::StageRunning).await;
    let events = machine::ServiceEvents {
        events: vec![machine::ServiceEvent { msg: "Started task etcd".into(), ..Default::default() }],
    };
    let health = |unknown, healthy| Some(machine::ServiceHealth { unknown, healthy, ..Default::default() });
    *says.services.lock().unwrap() = vec![
        machine::ServiceInfo {
            id: "etcd".into(),
            state: "Running".into(),
            events: Some(events),
            health: health(false, true),
        },
        machine::ServiceInfo { id: "udevd".into(), state: "Running".into(), events: None, health: health(true, false) },
    ];
    *says.members.lock().unwrap() = vec![machine::EtcdMember {
        id: 7,
        hostname: "lab-cp-1".into(),
        peer_urls: vec!["https://10.20.0.1:2380".into()],
        ..Default::default()
    }];
    let text = |text: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.into())) };
    let condition = prost_types::Struct {
        fields: [("type".to_owned(), text("Ready")), ("status".to_owned(), text("True"))].into(),
    };
    let condition = prost_types::Value { kind: Some(prost_types::value::Kind::StructValue(condition)) };
    let conditions = prost_types::value::Kind::ListValue(prost_types::ListValue { values: vec![condition] });
    let pod_status = prost_types::Struct {
        fields: [
            ("phase".to_owned(), text("Running")),
            ("conditions".to_owned(), prost_types::Value { kind: Some(conditions) }),
        ]
        .into(),
    };
    says.put("kube-system/kube-apiserver-lab-cp-1", &specs::StaticPodStatusSpec { pod_status: Some(pod_status) });
    says.put("kube-system/kube-scheduler-lab-cp-1", &specs::StaticPodStatusSpec::default());
    says.put(
        "lab-cp-1",
        &specs::NodeStatusSpec { nodename: "lab-cp-1".into(), unschedulable: true, ..Default::default() },
    );

    let talos = Talos::secured(&site.reach, ip(1), &ca.admin()).await.expect("ours");
    let services = talos.services().await.expect("readable");
    assert_eq!((services[0].healthy, services[0].message.as_str()), (Some(true), "Started task etcd"));
    assert_eq!((services[1].id.as_str(), services[1].healthy), ("udevd", None));
    let member = EtcdMember { id: 7, hostname: "lab-cp-1".into(), peers: vec![ip(1)], learner: false };
    assert_eq!(talos.etcd_members().await.expect("readable"), [member]);
    let pods = talos.static_pods().await.expect("readable");
    assert_eq!(pods.iter().map(|pod| pod.ready).collect::<Vec<_>>(), [true, false]);
    let node = NodeStatus { name: "lab-cp-1".into(), ready: false, schedulable: false };
    assert_eq!(talos.node_statuses().await.expect("readable"), [node]);
    assert_eq!(talos.system_disk().await.expect("readable"), None);
}

#[tokio::test]
async fn only_physical_links_have_macs_that_count() {
    let site = Site::take();
    let says = waiting(&site).await;
    let link = |kind: &str, hardware: u8, permanent: u8| specs::LinkStatusSpec {
        r#type: specs::LinkType::LinkEther.into(),
        kind: kind.into(),
        hardware_addr: vec![hardware; 6],
        permanent_addr: vec![permanent; 6],
        ..Default::default()
    };
    says.put("bond0", &link("bond", 0xb0, 0));
    says.put("eth1", &link("", 0xb0, 0xe1));
    says.put("sit0", &specs::LinkStatusSpec { hardware_addr: vec![0; 4], ..link("", 0, 0) });
    let talos = Talos::maintenance(&site.reach, ip(1)).await.expect("it is in maintenance");
    let mut macs = talos.identity().await.expect("readable").macs;
    macs.sort_unstable();
    assert_eq!(macs, [Mac([0xb0; 6]), MAC, Mac([0xe1; 6])]);
}

#[test]
fn credentials_that_cannot_work_are_named_without_being_shown() {
    let ca = Ca::new();
    let other = ca.admin();
    let keyless = Credentials {
        key_pem: Secret::new("-----BEGIN NOTHING-----\nc2VjcmV0\n-----END NOTHING-----\n"),
        ..ca.admin()
    };
    let mixed = Credentials { key_pem: other.key_pem, ..ca.admin() };
    let empty = Credentials { ca_pem: String::new(), ..ca.admin() };
    for (credentials, word) in [(keyless, "client key"), (mixed, "client certificate and key"), (empty, "machine CA")] {
        let error = super::tls::config(super::tls::Trust::Cluster, Some(&credentials)).expect_err("unusable");
        assert!(error.to_string().contains(word), "{error}");
        assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
    }
}
