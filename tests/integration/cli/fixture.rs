//! `lab start --fixture`: recorded scenarios, played from outside against the real binary.
//!
//! The library's own replay plays all of them and compares everything. This test holds that the program dresses the
//! same site for somebody who has nothing but its output: address, authority, and the tokens of the recording.

use http::Method;
use serde_json::Value;

use super::desk::Desk;

/// One of each kind of thing that a fixture can say: VMs by category, people by words, files, other nodes, held locks.
const SCENARIOS: &[&str] = &[
    "auth/valid-token",
    "permission/one-privilege-missing-vm-config-memory",
    "permission/auditor-put-nodes-pve1-qemu-310-config",
    "create-error/unique-without-archive",
    "import/import-from-broken-qcow2",
    "cluster/vm-that-lives-on-another-node",
    "lifecycle/vm-left-over-with-lock-create",
    "lifecycle/cluster-without-quorum",
    "protocol/repeated-parameter",
];

/// Sends the recorded request as it was.
fn request(client: &reqwest::Client, base: &str, secrets: &Value, recorded: &Value) -> reqwest::RequestBuilder {
    let method: Method = recorded["method"].as_str().expect("a method").parse().expect("a method");
    let path = recorded["path"].as_str().expect("a path");
    let mut request = client.request(method, format!("{}{path}", base.trim_end_matches('/')));
    if let Some(token) = recorded["token"].as_str() {
        let known = secrets[token]["secret"].as_str();
        // The one token that a scenario describes in words.
        let secret = known.unwrap_or("00000000-0000-4000-8000-000000000021");
        request = request.header("Authorization", format!("PVEAPIToken={token}={secret}"));
    }
    for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().expect("text"));
    }
    match recorded["body"].as_str() {
        Some(body) => request.body(body.to_owned()),
        None => request,
    }
}

async fn play(lab: &Value, secrets: &Value, scenario: &Value) {
    let ca = std::fs::read(lab["ca_file"].as_str().expect("a path")).expect("the authority");
    let ca = reqwest::Certificate::from_pem(&ca).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
    let base = lab["pve"].as_str().expect("an address");
    let mut made = std::collections::BTreeSet::new();
    for step in scenario["steps"].as_array().expect("steps") {
        // Between two creations of one id the recording removed the VM without saying so.
        let creation = step["request"]["method"] == "POST" && step["response"]["status"] == 200;
        if let Some(vmid) = step["request"]["params"]["vmid"].as_str().filter(|_| creation)
            && !made.insert(vmid.to_owned())
        {
            continue;
        }
        let what = format!("{} / {}", scenario["id"], step["name"]);
        let answer = request(&client, base, secrets, &step["request"]).send().await.expect(&what);
        let recorded = &step["response"];
        let phrase = answer.extensions().get::<hyper::ext::ReasonPhrase>();
        let phrase = phrase.map_or_else(
            || answer.status().canonical_reason().unwrap_or_default().to_owned(),
            |phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
        );
        assert_eq!((answer.status().as_u16(), phrase.as_str()), status(recorded), "{what}");
        let body: Value = answer.json().await.expect(&what);
        let data = &recorded["body"]["json"]["data"];
        assert_eq!(body["errors"], recorded["body"]["json"]["errors"], "{what}");
        assert_eq!(std::mem::discriminant(&body["data"]), std::mem::discriminant(data), "{what}: {body}");
        let names = |data: &Value| data.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
        let sorted = |data: &Value| names(data).map(|mut names| (names.sort(), names).1);
        assert_eq!(sorted(&body["data"]), sorted(data), "{what}");
    }
}

fn status(recorded: &Value) -> (u16, &str) {
    let status = recorded["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    (status, recorded["reason"].as_str().unwrap_or_default())
}

#[test]
fn a_lab_dressed_as_a_recording_answers_as_recorded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for major in ["8", "9"] {
        let file = format!("{}/tests/fixtures/pve/transcripts-{major}.json", env!("CARGO_MANIFEST_DIR"));
        let recording = std::fs::read_to_string(&file).expect("the recording");
        let recording: Value = serde_json::from_str(&recording).expect("JSON");
        for id in SCENARIOS {
            let scenarios = recording["scenarios"].as_array().expect("scenarios");
            let scenario = scenarios.iter().find(|scenario| scenario["id"] == *id).expect(id);
            let desk = Desk::new();
            let start =
                ["lab", "start", "--fixture", &file, "--scenario", id, "--clock", "instant", "--output", "json"];
            let lab = desk.ends(0, &start).json();
            runtime.block_on(play(&lab, &recording["fixture"]["tokens"], scenario));
            desk.ends(0, &["lab", "stop"]);
        }
    }
}

#[test]
fn what_is_no_recording_or_no_scenario_of_it_is_refused() {
    let desk = Desk::new();
    Desk::write(&desk.work("no.json"), "[1]", 0o644);
    desk.ends(2, &["lab", "start", "--fixture", "no.json"]).tells(&["fixture"]);
    Desk::write(&desk.work("bare.json"), r#"{ "node": "a", "tokens": {} }"#, 0o644);
    desk.ends(2, &["lab", "start", "--fixture", "bare.json", "--scenario", "nothing"]).tells(&["nothing"]);
    desk.ends(2, &["lab", "start", "--scenario", "read"]).tells(&["--fixture"]);
    let world = |desk: &Desk| desk.world()["guests"].as_array().map(Vec::len);
    desk.ends(0, &["lab", "start", "--fixture", "bare.json", "--clock", "instant"]);
    assert_eq!(world(&desk), Some(3));
}
