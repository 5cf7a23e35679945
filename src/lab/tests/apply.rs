//! Applying configurations to machines that run, and to those that do not yet.

use tonic::Code;

use super::client::Client;
use super::*;
use crate::lab::fleet::Stage;
use crate::talos::wire::machine::apply_configuration_request::Mode;
use crate::talos::wire::machine::{ApplyConfiguration, ApplyConfigurationRequest};

const IP: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 5);

/// A control plane that waits for its bootstrap, with its configuration.
async fn running(version: &str, contract: &str) -> (Lab, Client, String) {
    let lab = lab().await;
    let cluster = Cluster::new(version, contract);
    lab.install(&cluster, 101, Role::ControlPlane, IP).await;
    let booted = |world: &World| {
        (world.fleet.machine(101)?.stage == Stage::Booting && system(world, 101)?.disk.is_some()).then_some(())
    };
    lab.until("boot from disk", booted).await;
    let client = Client::mutual(&lab, IP.into(), &cluster.credentials()).await;
    let config = String::from_utf8(cluster.config(&lab, 101, Role::ControlPlane, IP)).unwrap();
    (lab, client, config)
}

async fn apply(client: &Client, request: ApplyConfigurationRequest) -> Result<ApplyConfiguration, tonic::Status> {
    Ok(client.machine().apply_configuration(request).await?.into_inner().messages.remove(0))
}

fn request(config: &str, mode: Mode) -> ApplyConfigurationRequest {
    ApplyConfigurationRequest { data: config.into(), mode: mode.into(), ..ApplyConfigurationRequest::default() }
}

fn hostname(lab: &Lab) -> String {
    system(&lab.shared().lock(), 101).map(|system| system.hostname.clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_change_takes_effect_at_once_or_with_a_reboot() {
    let (lab, client, config) = running("v1.13.0", "1.13").await;
    let renamed = config.replace("m-101", "n-101");
    let done = apply(&client, request(&renamed, Mode::Auto)).await.expect("it is good");
    assert_eq!((done.mode(), done.mode_details.as_str()), (Mode::NoReboot, "Applied configuration without a reboot"));
    assert_eq!(hostname(&lab), "n-101");

    let udev = renamed.replacen("machine:\n", "machine:\n    udev:\n        rules: ['x']\n", 1);
    let refused = apply(&client, request(&udev, Mode::NoReboot)).await.expect_err("udev rules need a reboot");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let text = "this config change can't be applied in immediate mode\ndiff:\n";
    assert!(refused.message().starts_with(text), "{refused}");
    let dry = ApplyConfigurationRequest { dry_run: true, ..request(&udev, Mode::Auto) };
    let dry = apply(&client, dry).await.expect("it is good");
    assert_eq!(dry.mode(), Mode::Reboot);
    let words = "Dry run summary:\nApplied configuration with a reboot (skipped in dry-run).\nConfig diff:\n\n---";
    assert!(dry.mode_details.starts_with(words), "{}", dry.mode_details);
    let boot = system(&lab.shared().lock(), 101).unwrap().boot;
    let done = apply(&client, request(&udev, Mode::Auto)).await.expect("it is good");
    assert_eq!(done.mode(), Mode::Reboot);
    assert!(done.mode_details.starts_with("Applied configuration with a reboot: this config change"));
    lab.until("reboot", |world| {
        (system(world, 101)?.boot > boot && system(world, 101)?.config.is_some()).then_some(())
    })
    .await;
    assert!(system(&lab.shared().lock(), 101).unwrap().config.as_ref().unwrap().text.contains("udev"));
}

#[tokio::test]
async fn what_is_tried_is_taken_back_and_what_is_staged_waits() {
    let (lab, client, config) = running("v1.12.4", "1.12").await;
    let tried = ApplyConfigurationRequest {
        try_mode_timeout: Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 }),
        ..request(&config.replace("m-101", "n-101"), Mode::Try)
    };
    let done = apply(&client, tried).await.expect("it is good");
    assert!(done.mode_details.ends_with("will be automatically reverted back in 300ms"), "{}", done.mode_details);
    assert_eq!(hostname(&lab), "n-101");
    lab.until("rollback", |world| (system(world, 101)?.hostname == "m-101").then_some(())).await;

    let done = apply(&client, request(&config.replace("m-101", "s-101"), Mode::Staged)).await.expect("it is good");
    assert_eq!(done.mode_details, "Staged configuration to be applied after the next reboot");
    assert_eq!(hostname(&lab), "m-101");
    lab.shared().lock().fleet.reboot(101, false);
    lab.shared().wake();
    lab.until("the staged name", |world| (system(world, 101)?.hostname == "s-101").then_some(())).await;
}

#[tokio::test]
async fn the_newest_minor_never_reboots_for_a_configuration() {
    let (lab, client, config) = running("v1.14.0-rc.1", "1.14").await;
    let refused = apply(&client, request(&config, Mode::Reboot)).await.expect_err("the mode is gone");
    assert_eq!(refused.code(), Code::Unimplemented);
    let unknown = apply(&client, request("a: [", Mode::Reboot)).await.expect_err("it is no YAML");
    assert_eq!(unknown.code(), Code::InvalidArgument, "the configuration is looked at first");
    let boot = system(&lab.shared().lock(), 101).unwrap().boot;
    let done = apply(&client, request(&config, Mode::Auto)).await.expect("it is good");
    assert_eq!(done.mode(), Mode::NoReboot);
    assert_eq!(system(&lab.shared().lock(), 101).unwrap().boot, boot);
}

#[tokio::test]
async fn the_old_maintenance_server_hands_on_whatever_it_takes() {
    let lab = lab().await;
    let cluster = Cluster::new("v1.12.4", "1.12");
    lab.power_on(101, "v1.12.4");
    let ip = lab.address(101).await;
    let client = Client::insecure(&lab, ip).await;
    let config = String::from_utf8(cluster.config(&lab, 101, Role::ControlPlane, IP)).unwrap();
    let dry = ApplyConfigurationRequest { dry_run: true, ..request(&config, Mode::Auto) };
    let dry = apply(&client, dry).await.expect("it is good");
    let words = "Dry run summary:\nNode is running in maintenance mode and does not have a config yet.";
    assert_eq!((dry.mode(), dry.mode_details.as_str()), (Mode::Reboot, words));
    // It knows nothing of trying.
    let tried = apply(&client, request(&config, Mode::Try)).await.expect("it is good");
    assert_eq!((tried.mode(), tried.mode_details.as_str()), (Mode::Reboot, ""));
    lab.until("installation", |world| system(world, 101)?.disk.is_some().then_some(())).await;
}

#[tokio::test]
async fn the_console_tells_the_fingerprint_of_the_certificate() {
    for (version, controller) in
        [("v1.12.4", "MaintenanceServiceController"), ("v1.13.0", "MaintenanceServiceInformController")]
    {
        let lab = lab().await;
        lab.power_on(101, version);
        let ip = lab.address(101).await;
        let shown = Client::fingerprint(&lab, ip).await;
        let console = |world: &World| {
            let lines = &world.fleet.machine(101)?.console;
            lines.iter().any(|line| line.contains("--cert-fingerprint")).then(|| lines.clone())
        };
        let lines = lab.until("usage", console).await;
        let fields = format!("{{\"component\": \"controller-runtime\", \"controller\": \"runtime.{controller}\"");
        for line in [
            format!("[talos] this machine is reachable at: {fields}}}"),
            format!("[talos] \t{ip} {fields}}}"),
            format!("[talos] server certificate issued {fields}, \"fingerprint\": {shown:?}}}"),
            format!(
                "[talos] \ttalosctl apply-config --insecure --nodes {ip} --cert-fingerprint '{shown}' --file <config.yaml> {fields}}}"
            ),
        ] {
            assert!(lines.contains(&line), "{line}\n{lines:#?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_lives_for_twelve_hours_and_then_has_another_key() {
    let lab = lab().await;
    lab.power_on(101, "v1.13.0");
    let ip = lab.address(101).await;
    let first = Client::fingerprint(&lab, ip).await;
    assert_eq!(first, Client::fingerprint(&lab, ip).await, "nothing has changed");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(12 * 3600)).await;
    tokio::time::resume();
    let renewed = async { while Client::fingerprint(&lab, ip).await == first {} };
    tokio::time::timeout(Duration::from_secs(30), renewed).await.expect("it is made anew");

    let (lab, client, _) = running("v1.13.0", "1.13").await;
    let first = Client::fingerprint(&lab, IP.into()).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(12 * 3600)).await;
    tokio::time::resume();
    let renewed = async { while Client::fingerprint(&lab, IP.into()).await == first {} };
    tokio::time::timeout(Duration::from_secs(30), renewed).await.expect("it is made anew");
    client.machine().version(()).await.expect("a connection outlives the certificate it began with");
    let cluster = Cluster::new("v1.13.0", "1.13");
    let again = Client::mutual(&lab, IP.into(), &cluster.credentials()).await;
    again.machine().version(()).await.expect("the same authority signed the next one");
}

/// A moment that is long for the lab and short for a test.
#[tokio::test]
async fn a_trial_that_is_renewed_goes_back_to_where_the_first_began() {
    let (lab, _client, config) = running("v1.13.0", "1.13").await;
    let parsed = |text: &str| std::sync::Arc::new(crate::lab::fleet::applied::Applied::parse(text).unwrap());
    {
        let mut world = lab.shared().lock();
        world.fleet.try_config(101, &parsed(&config.replace("m-101", "a-101")), Duration::from_secs(3600));
        world.fleet.try_config(101, &parsed(&config.replace("m-101", "b-101")), Duration::ZERO);
    }
    lab.shared().wake();
    lab.until("rollback", |world| (system(world, 101)?.hostname == "m-101").then_some(())).await;
}
