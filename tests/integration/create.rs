//! From nothing to healthy, for every kind of cluster and site that there is.

use std::collections::BTreeMap;

use pvetalos::engine::End;
use pvetalos::event::Event;
use pvetalos::lab::faults::{Call, Face};
use pvetalos::lab::site::{Acl, Site, Token, User};
use pvetalos::plan::Plan;
use pvetalos::steps::{Step, Via};

use crate::harness::{Bench, Setup, Shape, assert_none, report};

/// Runs `setup` to healthy and back to nothing, and looks at every call that it took.
async fn there_and_back(name: &str, setup: Setup) -> (Plan, Vec<Call>) {
    let bench = Bench::start(setup).await;
    let plan = bench.plan().await;
    bench.take_log();
    let begun = std::time::Instant::now();
    let end = bench.run_wide(&plan).await;
    let took = begun.elapsed();
    assert!(matches!(end, End::Committed), "{name}: {end:?}");
    let log = bench.take_log();
    assert_none(&bench.ills(&plan).await);
    let most = frugal(&plan, &log);
    let left = bench.unwind(&plan).await;
    assert!(left.is_empty(), "{name}: {left:?}");
    let mut blemishes = bench.blemishes();
    if keeps_image(&plan) {
        // The token may make images and not delete them, and the plan says so.
        blemishes.retain(|left| !left.contains(":iso/"));
    }
    assert_none(&blemishes);
    let machines = plan.machines().count();
    report(&format!("{name}: {machines} machines in {took:?}, {} calls, at most {most} for a machine", log.len()));
    (plan, log)
}

fn keeps_image(plan: &Plan) -> bool {
    plan.steps().any(|step| matches!(step, Step::FetchImage(fetch) if fetch.keep))
}

/// What a run may cost. Answers the calls that the most demanding machine took.
fn frugal(plan: &Plan, log: &[Call]) -> usize {
    let named = |name: &str| log.iter().filter(|call| call.name.ends_with(name)).count();
    assert_eq!(named("MachineService/Bootstrap"), 1);
    let fetching = plan.steps().filter(|step| matches!(step, Step::FetchImage(_))).count();
    assert_eq!(named("/download-url") + named("/upload"), fetching, "once on each node, or once if it is shared");
    let mut calls: BTreeMap<&str, usize> = plan.machines().map(|create| (create.machine.as_str(), 0)).collect();
    let vmids: BTreeMap<String, &str> =
        plan.machines().map(|create| (create.spec.vmid.to_string(), create.machine.as_str())).collect();
    for call in log.iter().filter(|call| !is_poll(call)) {
        let machine = vmids.get(&call.subject).copied().unwrap_or(&call.subject);
        if let Some(count) = calls.get_mut(machine) {
            *count += 1;
        }
    }
    let most = calls.values().copied().max().unwrap_or(0);
    assert!(most <= 10, "{calls:?}");
    most
}

/// Looks of a wait, which come as often as the site is slow: tasks, COSI, and the health gates.
fn is_poll(call: &Call) -> bool {
    let looks = ["/tasks/{upid}/status", "State/Get", "State/List", "MachineService/Version", "EtcdMemberList"];
    call.face == Face::Kube || looks.iter().any(|look| call.name.ends_with(look))
}

fn three_nodes(control_planes: usize, workers: usize) -> Shape {
    Shape { nodes: 3, ..Shape::of(control_planes, workers) }
}

fn shared_images(site: &mut Site) {
    let images = site.storages.get_mut("local").expect("a default");
    images.shared = true;
    images.kind = "nfs".into();
}

#[tokio::test(start_paused = true)]
async fn every_topology_on_three_nodes() {
    for (control_planes, workers, nodes) in [(1, 0, 1), (1, 1, 2), (3, 2, 3), (3, 3, 3)] {
        let (plan, log) = there_and_back(
            &format!("{control_planes}+{workers}, storages of their own"),
            Setup::new(&three_nodes(control_planes, workers)),
        )
        .await;
        let fetched = plan.steps().filter(|step| matches!(step, Step::FetchImage(_))).count();
        assert_eq!(fetched, nodes, "a copy for each node that has a machine");
        let vmids: Vec<u32> = plan.machines().map(|create| create.spec.vmid).collect();
        assert!(!vmids.contains(&crate::harness::STRANGER), "{vmids:?}");
        drop(log);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_storage_takes_one_copy() {
    let setup = Setup::new(&three_nodes(3, 2)).with_site(shared_images);
    let (plan, _) = there_and_back("3+2, shared storage", setup).await;
    assert_eq!(plan.steps().filter(|step| matches!(step, Step::FetchImage(_))).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn static_addresses_need_no_dhcp() {
    let shape = Shape { mode: "static", ..Shape::of(1, 1) };
    there_and_back("1+1, static", Setup::new(&shape).with_site(|site| site.network.dhcp = false)).await;
}

#[tokio::test(start_paused = true)]
async fn every_minor_of_talos_and_both_kinds_of_network() {
    // A machine of 1.14 gets the contract of 1.13: nearly every v1alpha1 patch conflicts with the newer one.
    let minors = [("1.12.4", "1.35.0", "v1.12"), ("1.13.9", "1.36.0", "v1.13"), ("1.14.0-rc.1", "1.36.0", "v1.13")];
    for (talos, kubernetes, contract) in minors {
        for cni in ["flannel", "none"] {
            let shape = Shape { cni, talos, kubernetes, ..Shape::of(1, 1) };
            let (plan, _) = there_and_back(&format!("1+1, Talos {talos}, cni {cni}"), Setup::new(&shape)).await;
            for step in plan.steps() {
                if let Step::ApplyConfig(apply) = step {
                    assert_eq!(apply.config.contract, contract);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn both_releases_of_proxmox() {
    for pve in ["9.2", "8.4"] {
        let setup = Setup::new(&Shape::of(1, 1)).with_site(move |site| pve.clone_into(&mut site.pve));
        there_and_back(&format!("1+1, Proxmox {pve}"), setup).await;
    }
}

/// The roles that the documentation gives to one user and one token with separated privileges.
fn restricted(site: &mut Site, node: Option<&str>) {
    let agent = if site.pve.starts_with('8') { "VM.Monitor" } else { "VM.GuestAgent.Audit" };
    let provisioner = format!(
        "VM.Allocate VM.Audit VM.PowerMgmt VM.Console VM.Config.CPU VM.Config.Memory VM.Config.Disk VM.Config.CDROM \
         VM.Config.Network VM.Config.HWType VM.Config.Options {agent} Pool.Audit"
    );
    let images = "Datastore.Audit Datastore.AllocateSpace Datastore.AllocateTemplate";
    let mut grants = vec![
        ("TalosProvisioner", provisioner.as_str(), "/vms"),
        ("TalosStorage", "Datastore.Audit Datastore.AllocateSpace", "/storage/local-lvm"),
        ("TalosImages", images, "/storage/local"),
        ("TalosNet", "SDN.Use SDN.Audit", "/sdn/zones/localnetwork"),
    ];
    grants.extend(node.map(|privileges| ("TalosNode", privileges, "/nodes")));
    for (role, privileges, path) in grants {
        site.roles.insert(role.into(), privileges.into());
        let to = vec!["talos@pve".into(), "talos@pve!pvetalos".into()];
        site.acl.push(Acl { path: path.into(), to, role: role.into(), propagate: true });
    }
    site.users.insert("talos@pve".into(), User::default());
    let secret = RESTRICTED.1.into();
    site.tokens.insert(RESTRICTED.0.into(), Token { secret, privsep: true, expire: 0, comment: None });
}

const RESTRICTED: (&str, &str) = ("talos@pve!pvetalos", "4e6f7420-6d79-4c20-a065-637265740000");

#[tokio::test(start_paused = true)]
async fn the_least_of_tokens_will_do() {
    for pve in ["9.2", "8.4"] {
        for (node, via) in [(Some("Sys.Audit Sys.AccessNetwork"), Via::Node), (None, Via::Us)] {
            let change = move |site: &mut Site| {
                pve.clone_into(&mut site.pve);
                restricted(site, node);
            };
            let setup = Setup { token: Some(RESTRICTED), ..Setup::new(&Shape::of(1, 1)).with_site(change) };
            let (plan, _) = there_and_back(&format!("1+1, Proxmox {pve}, least token, {via:?}"), setup).await;
            assert!(keeps_image(&plan), "without Datastore.Allocate the image cannot be deleted");
            let vias = plan.steps().filter_map(|step| match step {
                Step::FetchImage(fetch) => Some(fetch.via),
                _ => None,
            });
            assert_eq!(vias.collect::<Vec<_>>(), [via]);
        }
    }
}

/// The profile that the project was written for, with a bundle of its own making.
#[tokio::test(start_paused = true)]
async fn matherlynet() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/matherlynet.yaml");
    let profile = std::fs::read_to_string(&file).expect("the profile");
    let setup = Setup { profile, file, site: Box::new(|_| {}), token: None, stocked: false };
    let bench = Bench::start(setup).await;
    let plan = bench.plan().await;
    let end = bench.run_wide(&plan).await;
    assert!(matches!(end, End::Committed), "{end:?}");
    assert_none(&bench.ills(&plan).await);
    assert_eq!(plan.machines().count(), 6);
    assert_eq!(plan.outline.endpoint, "https://192.168.22.100:6443");
    let address = bench.reach().socket([192, 168, 22, 100].into(), 6443);
    tokio::net::TcpStream::connect(address).await.expect("the VIP answers");
    assert!(bench.unwind(&plan).await.is_empty());
    assert_none(&bench.blemishes());
}

/// What the site refuses is refused before anything is made.
#[tokio::test(start_paused = true)]
async fn a_plan_that_cannot_work_is_refused_and_changes_nothing() {
    let setup = Setup::new(&Shape::of(1, 1)).with_site(|site| site.bridges[0].active = false);
    let bench = Bench::start(setup).await;
    let problems = bench.drafted().await.expect_err("a bridge that is down");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(bench.take_log().iter().all(|call| !crate::harness::changes(call)));
    assert_none(&bench.blemishes());
}

/// A listener hears every record in order, and what it hears is what is written.
#[tokio::test(start_paused = true)]
async fn what_is_heard_is_what_is_written() {
    let bench = Bench::of(&Shape::of(1, 0)).await;
    let plan = bench.plan().await;
    let tools = bench.tools(&plan);
    let heard = std::cell::RefCell::new(Vec::new());
    let listener = |event: &Event| {
        if let Event::Record(record) = event {
            heard.borrow_mut().push(record.clone());
        }
    };
    let engine = pvetalos::engine::Engine::new(&tools, &plan, bench.journal(&plan), &listener);
    engine.run(std::future::pending()).await.expect("the journal can be written");
    let written: Vec<_> = engine.into_journal().lines().iter().map(|line| line.record.clone()).collect();
    assert_eq!(*heard.borrow(), written);
}
