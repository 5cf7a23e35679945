//! Finding machines among strangers.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::Ipv4Net;
use uuid::Uuid;

use super::knock::Heard;
use super::sweep::{in_flight, sweep_with};
use super::*;
use crate::inventory::Mac;
use crate::talos::testing::{Ca, Says, Site, ip, maintenance_tls, secured_tls};
use crate::talos::wire::specs::MachineStage;

const UUID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
const MAC: Mac = Mac([0xbc, 0x24, 0x11, 0x62, 0x36, 0x01]);
const SOON: Duration = Duration::from_secs(20);
/// Long enough for one look on a machine that is busy with other tests.
const NOT_LONG: Duration = Duration::from_millis(1500);

fn network() -> Ipv4Net {
    "10.20.0.0/26".parse().expect("a network")
}

fn wanted(hint: Option<IpAddr>) -> Wanted {
    Wanted { machine: "lab-cp-1".into(), uuid: UUID, macs: vec![MAC, Mac([2; 6])], hint }
}

async fn waiting_at(site: &Site, ip: IpAddr, uuid: Uuid, mac: Mac) -> Arc<Says> {
    let says = Says::identity(uuid, mac, MachineStage::StageMaintenance);
    says.serve(site, ip, maintenance_tls(ip)).await;
    says
}

#[tokio::test]
async fn a_machine_is_found_among_strangers() {
    let site = Site::take();
    waiting_at(&site, ip(3), Uuid::from_u128(3), Mac([3; 6])).await;
    waiting_at(&site, ip(9), UUID, MAC).await;
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    let found = finder.find(&wanted(None), SOON, |_| {}).await.expect("it is there");
    assert_eq!((found.ip, found.identity.uuid), (ip(9), Some(UUID)));
}

#[tokio::test]
async fn half_a_proof_is_a_stranger_and_is_named_first() {
    let site = Site::take();
    let ca = Ca::new();
    let configured = Says::identity(UUID, MAC, MachineStage::StageRunning);
    configured.serve(&site, ip(1), secured_tls(&ca, ca.server("somebody-else", ip(1)))).await;
    waiting_at(&site, ip(2), Uuid::from_u128(2), Mac([2; 6])).await;
    let right_mac = waiting_at(&site, ip(3), Uuid::from_u128(3), MAC).await;
    let right_uuid = waiting_at(&site, ip(4), UUID, Mac([4; 6])).await;
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    let mut reasons = Vec::new();
    let error = finder.find(&wanted(None), NOT_LONG, |reason| reasons.push(reason.to_owned())).await;
    let error = error.expect_err("nobody has both");
    assert!(matches!(error, DiscoveryError::NotFound { .. }), "{error}");
    let reason = &reasons[0];
    assert!(reason.starts_with("10.20.0.3 shows UUID"), "{reason}");
    assert!(reason.contains("10.20.0.4 shows UUID 12345678-9abc") && reason.ends_with("and 1 more"), "{reason}");
    let told = std::error::Error::source(&error).expect("it says what was seen").to_string();
    assert!(told.contains("04:04:04:04:04:04"), "{told}");
    for stranger in [right_mac, right_uuid, configured] {
        assert!(stranger.applied.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_second_nics_mac_proves_nothing() {
    let site = Site::take();
    waiting_at(&site, ip(5), UUID, Mac([2; 6])).await;
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    assert!(finder.find(&wanted(None), NOT_LONG, |_| {}).await.is_err());
    let nameless = Wanted { macs: Vec::new(), ..wanted(None) };
    assert!(matches!(finder.find(&nameless, SOON, |_| {}).await, Err(DiscoveryError::NoMac { .. })));
}

#[tokio::test]
async fn a_hint_is_looked_at_first_and_a_wrong_one_does_no_harm() {
    let site = Site::take();
    waiting_at(&site, ip(9), UUID, MAC).await;
    waiting_at(&site, ip(3), Uuid::from_u128(3), Mac([3; 6])).await;
    // Nothing else could find it: the network to sweep is elsewhere.
    let elsewhere = "10.20.1.0/30".parse().expect("a network");
    let blind = Finder::new(site.reach, elsewhere, Method::Sweep);
    assert_eq!(blind.find(&wanted(Some(ip(9))), SOON, |_| {}).await.expect("the hint is right").ip, ip(9));
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    for wrong in [ip(3), ip(60)] {
        assert_eq!(finder.find(&wanted(Some(wrong)), SOON, |_| {}).await.expect("swept").ip, ip(9));
    }
}

#[tokio::test]
async fn a_static_machine_is_looked_for_at_its_address_only() {
    let site = Site::take();
    waiting_at(&site, ip(9), UUID, MAC).await;
    let finder = Finder::new(site.reach, network(), Method::Static);
    assert_eq!(finder.find(&wanted(Some(ip(9))), SOON, |_| {}).await.expect("it is there").ip, ip(9));
    assert!(matches!(finder.find(&wanted(Some(ip(8))), NOT_LONG, |_| {}).await, Err(DiscoveryError::NotFound { .. })));
    assert!(matches!(finder.find(&wanted(None), SOON, |_| {}).await, Err(DiscoveryError::NoAddress { .. })));
}

#[tokio::test]
async fn a_machine_that_boots_later_is_waited_for() {
    let site = Site::take();
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    let sought = wanted(None);
    let reasons = Mutex::new(Vec::new());
    let boot = async {
        // Starts once the search has come back empty-handed.
        while reasons.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        waiting_at(&site, ip(9), UUID, MAC).await
    };
    let search = finder.find(&sought, SOON, |reason| reasons.lock().unwrap().push(reason.to_owned()));
    let (found, _) = tokio::join!(search, boot);
    assert_eq!(found.expect("it came").ip, ip(9));
    assert_eq!(reasons.lock().unwrap()[0], "nothing answers yet");
}

#[tokio::test]
async fn after_a_reboot_a_machine_is_found_by_what_it_proves() {
    let site = Site::take();
    let (ca, theirs) = (Ca::new(), Ca::new());
    let impostor = Says::identity(UUID, MAC, MachineStage::StageRunning);
    impostor.serve(&site, ip(1), secured_tls(&theirs, theirs.server("lab-cp-1", ip(1)))).await;
    waiting_at(&site, ip(2), UUID, MAC).await;
    let ours = Says::identity(UUID, MAC, MachineStage::StageBooting);
    ours.serve(&site, ip(40), secured_tls(&ca, ca.server("lab-cp-1", ip(40)))).await;
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    let found = finder.find_secured(&wanted(Some(ip(1))), &ca.admin(), SOON, |_| {}).await;
    assert_eq!(found.expect("it has a certificate of ours").ip, ip(40));
}

#[tokio::test]
async fn looking_around_tells_ours_waiting_and_configured_apart() {
    let site = Site::take();
    let (ca, theirs) = (Ca::new(), Ca::new());
    waiting_at(&site, ip(2), UUID, MAC).await;
    for (address, ca) in [(ip(3), &ca), (ip(4), &theirs)] {
        let says = Says::identity(Uuid::from_u128(3), Mac([3; 6]), MachineStage::StageRunning);
        says.serve(&site, address, secured_tls(ca, ca.server("any", address))).await;
    }
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    let seen = finder.look_around(Some(&ca.admin())).await.expect("it can look");
    let told: Vec<_> = seen
        .iter()
        .map(|sighting| (sighting.ip, sighting.secured, matches!(sighting.showed, Showed::Identity(_))))
        .collect();
    assert_eq!(told, [(ip(2), false, true), (ip(3), true, true), (ip(4), false, false)]);
    assert!(matches!(seen[2].showed, Showed::Configured));
}

/// All lanes at once: whoever asks while a sweep is under way is served by it.
#[tokio::test]
async fn lanes_share_a_sweep() {
    let site = Site::take();
    waiting_at(&site, ip(9), UUID, MAC).await;
    let other = Uuid::from_u128(7);
    waiting_at(&site, ip(10), other, Mac([7; 6])).await;
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    let (first, second) = (wanted(None), Wanted { uuid: other, macs: vec![Mac([7; 6])], ..wanted(None) });
    let (one, two) = tokio::join!(finder.find(&first, SOON, |_| {}), finder.find(&second, SOON, |_| {}));
    assert_eq!((one.expect("found").ip, two.expect("found").ip), (ip(9), ip(10)));
    assert_eq!(finder.snapshots().await, 1);
}

#[tokio::test]
async fn a_sweep_finds_every_open_address_on_both_edges() {
    let site = Site::take();
    for last in [1, 17, 62] {
        waiting_at(&site, ip(last), UUID, MAC).await;
    }
    assert_eq!(sweep(&site.reach, network()).await.expect("it can look"), [ip(1), ip(17), ip(62)]);
}

#[tokio::test]
async fn a_machine_that_comes_is_not_kept_waiting_by_an_old_snapshot() {
    let site = Site::take();
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    let sought = wanted(None);
    let looks = AtomicUsize::new(0);
    let waiting = |_: &str| {
        looks.fetch_add(1, Ordering::Relaxed);
    };
    // Each look of one search is a new one, however fresh the last.
    assert!(finder.find(&sought, NOT_LONG, waiting).await.is_err());
    assert_eq!(finder.snapshots().await, looks.load(Ordering::Relaxed) as u64);
}

#[tokio::test]
async fn something_that_accepts_and_stays_silent_holds_up_nobody_for_long() {
    let site = Site::take();
    let tarpit = tokio::net::TcpListener::bind(site.reach.socket(ip(3), crate::talos::APID_PORT)).await;
    waiting_at(&site, ip(9), UUID, MAC).await;
    let finder = Finder::new(site.reach, network(), Method::Sweep);
    let found = finder.find(&wanted(None), Duration::from_secs(10), |_| {}).await;
    assert_eq!(found.expect("it is there").ip, ip(9));
    drop(tarpit.expect("the address is ours"));
}

/// Silence is the slow case: every address costs the whole patience.
#[tokio::test(start_paused = true)]
async fn a_silent_network_is_swept_in_a_second_or_so() {
    let started = tokio::time::Instant::now();
    let silent = async |_| match tokio::time::timeout(super::knock::PATIENCE, std::future::pending::<()>()).await {
        Ok(()) | Err(_) => Heard::Nothing,
    };
    let open = sweep_with("10.20.0.0/22".parse().expect("a network"), in_flight(), silent).await;
    assert!(open.expect("it can look").is_empty());
    assert!(started.elapsed() < Duration::from_millis(1300), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn knocks_are_bounded_and_failed_ones_are_repeated() {
    let (now, most, tries) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let knock = async |ip: IpAddr| {
        most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        now.fetch_sub(1, Ordering::Relaxed);
        let exhausted = ip == IpAddr::V4(Ipv4Addr::new(10, 20, 0, 200)) && tries.fetch_add(1, Ordering::Relaxed) == 0;
        if exhausted { Heard::Failed(io::Error::other("too many open files")) } else { Heard::Open }
    };
    let network = "10.20.0.0/24".parse().expect("a network");
    let open = sweep_with(network, 16, &knock).await.expect("the second look succeeds");
    assert_eq!((open.len(), most.load(Ordering::Relaxed)), (254, 16));

    let never = async |_| Heard::Failed(io::Error::other("no route"));
    let error = sweep_with(network, 16, never).await.expect_err("an address that was not looked at is not empty");
    assert!(matches!(error, DiscoveryError::Sweep { .. }));
}
