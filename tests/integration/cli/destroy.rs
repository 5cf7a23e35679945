//! The local state is lost: the site itself says what is ours, and what only looks like it.

use serde_json::{Value, json};

use super::desk::Desk;
use super::site;

/// The lab's Proxmox API, as any other client would use it.
struct Api {
    base: String,
    authorization: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    fn of(lab: &Value) -> Self {
        let text = |key: &str| lab[key].as_str().expect("a text").to_owned();
        let root = reqwest::Certificate::from_pem(text("ca_pem").as_bytes()).expect("a certificate");
        // A connection of its own for each call: between them whole commands run, and Proxmox closes what is idle.
        let http = reqwest::Client::builder().tls_certs_only([root]).no_proxy().pool_max_idle_per_host(0);
        let http = http.build().expect("a client");
        Self {
            base: format!("{}api2/json", text("pve")),
            authorization: format!("PVEAPIToken={}={}", text("token_id"), text("token_secret")),
            http,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
        }
    }

    fn call(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = request.header("Authorization", &self.authorization);
        let request = if form.is_empty() { request } else { request.form(form) };
        self.runtime.block_on(async {
            let reply = request.send().await.expect("the lab answers");
            assert!(reply.status().is_success(), "{path}: {}", reply.text().await.unwrap_or_default());
            reply.json().await.expect("JSON")
        })
    }
}

#[test]
fn without_local_state_the_marks_say_what_is_ours() {
    let desk = Desk::new();
    let lab = desk.lab(&site::small("guests:\n  - { vmid: 4242, name: theirs, node: lab1, running: true }\n"));
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    let image = desk.holdings().1.into_iter().find(|volume| volume.contains(":iso/")).expect("a boot image");

    // Somebody cloned one of ours: everything that we wrote into it comes along, but the UUID is another.
    let api = Api::of(&lab);
    let config = api.call("GET", "/nodes/lab1/qemu/101/config", &[])["data"].clone();
    let text = |key: &str| config[key].as_str().unwrap_or_else(|| panic!("{key} of {config}"));
    assert!(text("tags").contains("pvetalos.small"), "{config}");
    let smbios = "uuid=11111111-2222-4333-8444-555555555555";
    let clone = [
        ("vmid", "900"),
        ("name", "clone"),
        ("tags", text("tags")),
        ("description", text("description")),
        ("smbios1", smbios),
    ];
    api.call("POST", "/nodes/lab1/qemu", &clone);
    assert_eq!(desk.holdings().0, [100, 101, 900, 4242]);

    std::fs::remove_dir_all(desk.state("clusters")).expect("the local state is lost");
    let again = desk.ends(3, &["create", "--profile", "small", "--yes"]);
    again.tells(&["the mark of cluster small", "100, 101, 900", "pvetalos destroy --profile small"]);
    assert_eq!(desk.holdings().0, [100, 101, 900, 4242]);
    desk.ends(2, &["status", "--profile", "small"]).tells(&["no cluster small is known here"]);

    let destroyed = desk.ends(0, &["destroy", "--profile", "small", "--yes"]);
    destroyed.tells(&[
        "found by its mark and destroyed: VM 100 lab-cp-1 on node lab1",
        "found by its mark and destroyed: VM 101 lab-wk-1 on node lab1",
        "left alone: VM 900 clone",
        "a clone or a copy",
    ]);
    // The VMs knew that their run had fetched it.
    assert_eq!(desk.holdings(), (vec![900, 4242], vec![]), "{image}");
    let kubeconfig = std::fs::read_to_string(desk.home(".kube/config")).expect("the file stays");
    assert!(!kubeconfig.contains("small"), "{kubeconfig}");

    let again = desk.ends(0, &["destroy", "--profile", "small", "--yes", "--output", "json"]).json();
    assert_eq!((&again["by_mark"], again["left_alone"].as_array().map(Vec::len)), (&json!([]), Some(1)), "{again}");
    assert_eq!(desk.holdings().0, [900, 4242]);
}

/// A backup that is restored under another number keeps even the UUID.
#[test]
fn a_restored_copy_is_nobodys_to_destroy() {
    let desk = Desk::new();
    let lab = desk.lab(&site::small(""));
    let api = Api::of(&lab);
    let restore = || {
        let config = api.call("GET", "/nodes/lab1/qemu/101/config", &[])["data"].clone();
        let text = |key: &'static str| (key, config[key].as_str().unwrap_or_else(|| panic!("{key} of {config}")));
        let copy = [("vmid", "900"), text("name"), text("tags"), text("description"), text("smbios1")];
        api.call("POST", "/nodes/lab1/qemu", &copy);
    };
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    restore();
    desk.ends(0, &["destroy", "--profile", "small", "--yes"]).tells(&["left alone: VM 900", "a restored copy"]);
    assert_eq!(desk.holdings().0, [900]);
    api.call("DELETE", "/nodes/lab1/qemu/900", &[]);

    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    restore();
    std::fs::remove_dir_all(desk.state("clusters")).expect("the local state is lost");
    let left = desk.ends(5, &["destroy", "--profile", "small", "--yes"]);
    left.tells(&["VMs 101 and 900 both prove to be lab-wk-1", "by hand"]);
    assert_eq!(desk.holdings().0, [101, 900]);
    api.call("DELETE", "/nodes/lab1/qemu/900", &[]);
    desk.ends(0, &["destroy", "--profile", "small", "--yes"]);
    desk.assert_nothing_is_there();
}

#[test]
fn a_vm_that_took_the_place_of_ours_is_left_alone() {
    let desk = Desk::new();
    let lab = desk.lab(&site::small(""));
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    let api = Api::of(&lab);
    api.call("POST", "/nodes/lab1/qemu/101/status/stop", &[]);
    api.call("DELETE", "/nodes/lab1/qemu/101", &[]);
    api.call("POST", "/nodes/lab1/qemu", &[("vmid", "101"), ("name", "payroll")]);

    let status = desk.ends(0, &["status", "--output", "json"]).json();
    assert_eq!(status["machines"][1]["vm"], "not ours any more", "{status}");
    assert_eq!(status["healthy"], false, "{status}");
    desk.ends(0, &["destroy", "--yes"]);
    assert_eq!(desk.holdings().0, [101]);
    assert_eq!(desk.world()["guests"][0]["name"], "payroll");
}

#[test]
fn a_profile_that_was_spoilt_and_a_machine_that_was_stopped_are_no_hindrance() {
    let desk = Desk::new();
    let lab = desk.lab(&site::small(""));
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    Api::of(&lab).call("POST", "/nodes/lab1/qemu/101/status/stop", &[]);
    let patch = ("  vip:", "  patches: { all: [{ machine: { network: { nameserverz: [192.0.2.1] } } }] }\n  vip:");
    desk.profile("small", &[patch]);
    desk.ends(2, &["profile", "check", "--profile", "small"]).tells(&["nameserverz"]);
    let status = desk.ends(0, &["status"]);
    assert!(status.out.contains("stopped") && status.out.contains("the profile was changed"), "{}", status.out);
    let status = desk.ends(0, &["status", "--output", "json"]).json();
    assert_eq!((&status["machines"][1]["vm"], &status["healthy"]), (&json!("stopped"), &json!(false)), "{status}");
    desk.ends(0, &["destroy", "--yes"]);
    desk.assert_nothing_is_there();
}

#[test]
fn a_lab_that_is_gone_takes_its_clusters_along() {
    let desk = Desk::new();
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    desk.ends(0, &["lab", "stop"]).tells(&["the lab is stopped"]);
    desk.ends(3, &["status"]).tells(&["the lab is not running"]);
    desk.ends(0, &["destroy", "--yes"]).tells(&["not running any more, so nothing of it is left"]);
    assert!(!std::fs::read_to_string(desk.home(".kube/config")).expect("it stays").contains("small"));
    desk.ends(2, &["status"]).tells(&["no cluster is known"]);
    desk.ends(0, &["lab", "stop"]).tells(&["the lab is not running"]);
}

/// All that the journal knows of is gone, and the site cannot be asked for what it does not know of.
#[test]
fn what_cannot_be_proved_is_no_refusal() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    let looks = || desk.world()["calls"]["pve GET /cluster/resources"].as_u64().unwrap_or(0);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    let before = looks();
    desk.ends(0, &["destroy", "--yes"]);
    let needed = looks() - before;
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    // The last two are the proof.
    desk.faults(&json!([{
        "face": "pve", "call": "GET /cluster/resources", "skip": needed - 2, "times": 1_000_000,
        "effect": { "refuse": { "code": 500, "text": "cluster not ready - no quorum?" } },
    }]));
    desk.ends(5, &["destroy", "--yes"]).tells(&["everything that the journal knew of was removed", "no quorum"]);
    desk.assert_nothing_is_there();
    desk.faults(&json!([]));
    desk.ends(0, &["destroy", "--profile", "small", "--yes"]);
}
