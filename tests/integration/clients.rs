//! Clients that we did not write, on the lab: what they are told has to make sense to them.
//!
//! kubectl has its tests beside the command line's. Here are proxmoxer, and Ansible's community.proxmox, which
//! `scripts/clients` installs. What they do is in `tests/clients`; what must come of it is here.

use std::path::{Path, PathBuf};
use std::process::Output;

use pvetalos::lab::site::Site;
use pvetalos::lab::{Lab, LabOptions};
use serde_json::{Value, json};

/// A directory for a client, and the lab that it is let loose on.
struct Playground {
    lab: Lab,
    dir: tempfile::TempDir,
}

/// Where `scripts/clients` puts them.
fn tools() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/clients");
    assert!(tools.join("installed.txt").exists(), "run scripts/clients first: it installs what this test starts");
    tools
}

impl Playground {
    async fn of(pve: &str) -> Self {
        let site = Site { pve: pve.to_owned(), ..Site::default() };
        let lab = Lab::start(LabOptions { site, ..LabOptions::default() }).await.expect("the lab starts");
        let dir = tempfile::tempdir().expect("a directory");
        let ca = pvetalos::secrets::file::write_private(&dir.path().join("ca.pem"), lab.endpoints().ca_pem.as_bytes());
        ca.expect("a file");
        Self { lab, dir }
    }

    async fn run(&self, program: &str, script: &str) -> Output {
        let ends = self.lab.endpoints();
        let tools = tools();
        let (user, token) = ends.token_id.split_once('!').expect("a token's id");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        let output = tokio::process::Command::new(tools.join("bin").join(program))
            .arg(script)
            .env("PROXMOX_HOST", ends.pve.host_str().expect("a host"))
            .env("PROXMOX_PORT", ends.pve.port().expect("a port").to_string())
            .env("PROXMOX_USER", user)
            .env("PROXMOX_TOKEN_ID", token)
            .env("PROXMOX_TOKEN_SECRET", ends.token_secret.expose())
            .env("REQUESTS_CA_BUNDLE", self.dir.path().join("ca.pem"))
            .env("CLIENT_DIR", self.dir.path())
            .env("ANSIBLE_HOME", self.dir.path().join("ansible"))
            .env("ANSIBLE_COLLECTIONS_PATH", tools.join("collections"))
            .env("ANSIBLE_LOCALHOST_WARNING", "false")
            .env("ANSIBLE_INVENTORY_UNPARSED_WARNING", "false")
            .output();
        output.await.expect("the client starts")
    }

    /// What nobody may leave behind.
    fn remains(&self) -> (usize, usize) {
        let summary = self.lab.shared().lock().summary();
        (summary.guests.len(), summary.volumes.len())
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn proxmoxer_makes_lists_starts_and_deletes_a_vm() {
    for (release, version) in [("9.2", "9.2.11"), ("8.4", "8.4.21")] {
        let site = Playground::of(release).await;
        let before = site.remains();
        let output = site.run("python", "life.py").await;
        assert!(output.status.success(), "{}", said(&output));
        let mut seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mac = seen["mac"].take();
        assert!(mac.as_str().is_some_and(|mac| mac.starts_with("BC:24:11:")), "{mac}");
        let gone = seen["gone"].take();
        assert!(
            gone[0] == 500 && gone[1].as_str().is_some_and(|text| text.contains("100.conf' does not exist")),
            "{gone}"
        );
        assert_eq!(
            seen,
            json!({
                "version": version, "storages": ["local", "local-lvm"], "create": "OK", "listed": ["by-proxmoxer"],
                "in_cluster": true, "cores": 2, "mac": null, "start": "OK", "running": "running",
                "refused": [500, "VM 100 is running - destroy failed"], "snapshot_names": ["current"], "stop": "OK",
                "as_visitor": version, "template": "OK", "clone": "OK", "snapshot": "OK", "clone_deleted": "OK",
                "delete": "OK", "log": seen["log"], "gone": null, "upload": "OK", "uploaded": true,
            })
        );
        assert_eq!(seen["log"].as_array().and_then(|lines| lines.last()), Some(&json!("TASK OK")));
        assert_eq!(site.remains(), before);
    }
}

#[tokio::test]
async fn ansible_makes_changes_starts_and_deletes_a_vm_and_knows_when_nothing_is_to_do() {
    let site = Playground::of("9.2").await;
    let before = site.remains();
    let output = site.run("ansible-playbook", "life.yml").await;
    assert!(output.status.success(), "{}", said(&output));
    let report = std::fs::read(site.dir.path().join("ansible.json")).expect("the report");
    let seen: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(
        seen,
        json!({
            "created": true, "created_again": false, "started": true, "started_again": false, "status": "running",
            "cores": 2, "stopped": true, "deleted": true, "deleted_again": false,
            "storages": ["local", "local-lvm"],
        })
    );
    assert_eq!(site.remains(), before);
    assert!(site.lab.shared().lock().pve.pools.is_empty(), "the pool is gone too");
}
