//! Recorded answers of real Proxmox VE, played against the face over TLS.
//!
//! `tests/fixtures/pve/transcripts-{8,9}.json` were recorded from the API code of
//! both releases; `answers-{8,9}.json` are answers of the same code, called in
//! one process without its server, with a hypervisor that obeys: they hold what
//! once was told otherwise here. Every scenario starts from its fixture; its steps are sent as
//! they were; answers, tasks and logs are compared after normalisation (see
//! `compare`). What does not match yet is named, with its reason, in
//! `tests/fixtures/pve/not-yet.txt`: a scenario may neither be there and match,
//! nor match not and be missing.

mod compare;
mod files;
mod pace;
mod player;
mod protocol;
mod racing;
pub(super) mod socket;
pub(super) mod wire;

use std::collections::BTreeMap;

use serde_json::Value;

/// `8: category | name` to its reason.
fn not_yet() -> BTreeMap<String, String> {
    let text = include_str!("../../../../tests/fixtures/pve/not-yet.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, reason) = line.split_once(" => ").expect("a line is 'VERSION: CATEGORY | NAME => REASON'");
        (name.to_owned(), reason.to_owned())
    };
    lines.map(parse).collect()
}

/// A count for the log of a test run. Not by `eprintln!`: what that writes is only shown when the test fails.
fn report(line: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{line}").expect("standard error is open");
}

/// Plays one scenario. Requests that race have more than one right outcome, and which one comes is a matter of the
/// machine's load: the recorded one has to be among those that a few goes bring.
async fn played(major: u8, recording: &Value, scenario: &Value) -> Result<(), String> {
    let goes = if scenario["category"] == "race" { 30 } else { 1 };
    let mut differing = Vec::new();
    for _ in 0..goes {
        differing = player::play(major, &recording["fixture"], scenario).await;
        if differing.is_empty() {
            break;
        }
    }
    if differing.is_empty() { Ok(()) } else { Err(differing.join("\n    ")) }
}

/// Registered calls whose handler says that it has none.
fn unserved(major: u8) -> (usize, Vec<String>) {
    let shared = crate::lab::world::Shared::new(crate::lab::site::Site {
        pve: major.to_string(),
        ..crate::lab::site::Site::default()
    });
    let schema = super::schema::schema(major);
    let who = super::Identity { user: "root@pam".into(), token: Some("lab".into()), separate: false };
    // These have a way of their own, or are for root himself.
    let apart = ["/upload", "/query-url-metadata", "/execute"];
    let mut missing = Vec::new();
    let played: Vec<_> = schema.endpoints.iter().filter(|endpoint| !endpoint.known_only).collect();
    for endpoint in played.iter().filter(|known| !apart.iter().any(|end| known.path.ends_with(end))) {
        let mut world = shared.lock();
        let guest = crate::lab::pve::Vm { node: "lab1".into(), ..crate::lab::pve::Vm::default() };
        world.pve.vms.insert(100, guest);
        let params =
            [("node", "lab1"), ("vmid", "100")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut call = super::call::Call { world: &mut world, who: &who, params, now: 0 };
        let text = super::dispatch::run(&mut call, &endpoint.method, &endpoint.path).err();
        if text.is_some_and(|failure| failure.message.contains("does not play")) {
            missing.push(format!("{} {}", endpoint.method, endpoint.path));
        }
    }
    (played.len(), missing)
}

/// Plays all scenarios of one release, a few at a time.
async fn replay(major: u8, text: &str) {
    let recording: Value = serde_json::from_str(text).unwrap();
    let recording = std::sync::Arc::new(recording);
    let count = recording["scenarios"].as_array().unwrap().len();
    let (mut differing, not_yet) = (Vec::new(), not_yet());
    let mut matched = 0;
    let mut running = tokio::task::JoinSet::new();
    let mut next = 0;
    while next < count || !running.is_empty() {
        while next < count && running.len() < 8 {
            let recording = std::sync::Arc::clone(&recording);
            let index = next;
            running.spawn(async move {
                let scenario = &recording["scenarios"][index];
                let name = format!(
                    "{major}: {} | {}",
                    scenario["category"].as_str().unwrap(),
                    scenario["name"].as_str().unwrap()
                );
                (name, played(major, &recording, scenario).await)
            });
            next += 1;
        }
        let Some(played) = running.join_next().await else { break };
        let (name, outcome) = played.unwrap();
        match (outcome, not_yet.contains_key(&name)) {
            (Ok(()), false) => matched += 1,
            // Once in a while a race comes out as it did there.
            (Ok(()), true) if name.contains(": race |") => {}
            (Ok(()), true) => differing.push(format!("{name}: matches, but is listed in not-yet.txt")),
            (Err(_), true) => {}
            (Err(text), false) => differing.push(format!("{name}: {text}")),
        }
    }
    let (calls, missing) = unserved(major);
    report(&format!("served {} of {calls} registered calls of {major}", calls - missing.len()));
    report(&format!("replayed {matched} of {count} scenarios of {major}"));
    differing.sort();
    assert!(differing.is_empty(), "{} scenarios:\n{}", differing.len(), differing.join("\n"));
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_of_9_replay() {
    replay(9, include_str!("../../../../tests/fixtures/pve/transcripts-9.json")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_of_8_replay() {
    replay(8, include_str!("../../../../tests/fixtures/pve/transcripts-8.json")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_9_replay() {
    replay(9, include_str!("../../../../tests/fixtures/pve/answers-9.json")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_8_replay() {
    replay(8, include_str!("../../../../tests/fixtures/pve/answers-8.json")).await;
}
