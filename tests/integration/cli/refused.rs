//! What is refused before anything is made: each with a message that helps, the documented exit code, and a site that
//! holds what it held.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::{Value, json};

use super::desk::{Desk, Outcome};
use super::site;

/// A change to the profile, the exit code, and what has to be told.
struct Case {
    changes: &'static [(&'static str, &'static str)],
    code: i32,
    told: &'static [&'static str],
}

const fn usage(changes: &'static [(&'static str, &'static str)], told: &'static [&'static str]) -> Case {
    Case { changes, code: 2, told }
}

const fn refused(changes: &'static [(&'static str, &'static str)], told: &'static [&'static str]) -> Case {
    Case { changes, code: 3, told }
}

/// Tries to create from the profile of each case, and expects nothing to come of it.
fn try_all(desk: &Desk, cases: &[Case]) {
    let before = desk.holdings();
    for Case { changes, code, told } in cases {
        desk.profile("case", changes);
        let outcome = desk.ends(*code, &["create", "--profile", "case", "--yes"]);
        outcome.tells(told);
        assert_eq!(outcome.out, "", "{told:?}");
        assert!(!desk.state("clusters/case/journal.jsonl").exists(), "{told:?}");
        assert_eq!(desk.holdings(), before, "{told:?}");
    }
}

#[test]
fn what_the_profile_alone_shows() {
    let desk = Desk::new();
    desk.lab(&site::small(""));
    Desk::write(&desk.work("profiles/args.yaml.patch"), "machine: { install: { extraKernelArgs: [quiet] } }\n", 0o644);
    let asked = desk.world()["calls"].clone();

    let missing = desk.ends(2, &["create", "--profile", "labb", "--yes"]);
    missing.tells(&["there is no profile labb", "profiles/labb.yaml", "did you mean lab?"]);
    try_all(
        &desk,
        &[
            usage(&[("  bridge: vmbr0", "  brigde: vmbr0")], &["profiles/case.yaml:18:3", "brigde", "bridge"]),
            usage(
                &[("pod_cidr: 10.244.0.0/16", "pod_cidr: 10.83.0.0/16")],
                &["network.pod_cidr", "10.83.0.0/16 overlaps network.cidr 10.83.0.0/24"],
            ),
            usage(&[("10.83.0.111", "10.83.0.101")], &["assignments[0].ip", "10.83.0.101 is taken by lab-cp-1"]),
            usage(
                &[("10.83.0.101 }", "10.83.0.101 }\n      - { name: lab-cp-2, ip: 10.83.0.102 }")],
                &["2 control planes", "majority", "make it 1 or 3"],
            ),
            usage(
                &[("  vip:", "  patches: { all: [args.yaml.patch] }\n  vip:")],
                &["talos.patches.all[0]", "extraKernelArgs", "quiet", "schematic"],
            ),
            usage(&[("schematics/lab.yaml", "schematics/lap.yaml")], &["talos.factory.schematic", "lap.yaml"]),
            usage(
                &[("  vip:", "  patches: { all: [nowhere.yaml] }\n  vip:")],
                &["talos.patches.all[0]", "nowhere.yaml"],
            ),
            usage(&[("cni: flannel", "cni: calico")], &["network.cni", "calico", "flannel", "none"]),
            usage(&[("memory: 4Gi", "memory: 4Gx")], &["nodes.memory", "4Gx"]),
        ],
    );
    assert_eq!(desk.world()["calls"], asked, "a profile that is wrong in itself costs the site no question");
}

#[test]
fn what_the_site_shows() {
    let desk = Desk::new();
    let site = site::small(
        "\
storages:
  local: { type: dir, content: [iso, backup], path: /var/lib/vz }
  local-lvm: { type: lvmthin, content: [images, rootdir] }
  plain: { type: dir, content: [backup], path: /plain }
  full: { type: lvmthin, content: [images], total: 100, used: 90 }
bridges:
  - { name: vmbr0, vlan_aware: true, ports: eno1 }
  - { name: vmbr9, active: false }
guests:
  - { vmid: 4242, name: theirs, node: lab1, running: true }
",
    );
    let lab = desk.lab(&site);
    Desk::write(&desk.work("profiles/json.yaml"), "[{ op: remove, path: /machine/nowhere }]\n", 0o644);
    Desk::write(&desk.work("open.yaml"), "cluster: {}\n", 0o644);
    // Somebody sits at an address of the profile already.
    let base: Ipv4Addr = lab["reach"]["loopback"]["base"].as_str().and_then(|base| base.parse().ok()).expect("a base");
    let [a, b, ..] = base.octets();
    let _somebody = TcpListener::bind((Ipv4Addr::new(a, b, 0, 66), 6443)).expect("nobody is there yet");

    try_all(
        &desk,
        &[
            refused(&[("disk: local-lvm", "disk: tank")], &["shows no storage tank", "full, local, local-lvm, plain"]),
            refused(
                &[("disk: local-lvm", "disk: plain")],
                &["storage plain", "takes backup, not images", "pvesm set plain"],
            ),
            refused(
                &[("image: local ", "image: plain ")],
                &["storage plain", "takes backup, not iso", "pvesm set plain"],
            ),
            refused(&[("disk: local-lvm", "disk: full")], &["storage full on node lab1", "10.0 GiB free", "32.0 GiB"]),
            refused(&[("bridge: vmbr0", "bridge: vmbr5")], &["node lab1 shows no bridge vmbr5", "vmbr0"]),
            refused(&[("bridge: vmbr0", "bridge: vmbr9")], &["bridge vmbr9 on node lab1", "not up"]),
            refused(
                &[("name: lab-cp-1,", "name: lab-cp-1, vmid: 4242,")],
                &["VMID 4242 of lab-cp-1", "by theirs on node lab1", "lowest free one is 100"],
            ),
            refused(&[("name: lab-cp-1,", "name: lab-cp-1, node: pve7,")], &["the site has no node pve7", "lab1"]),
            refused(
                &[("schematic: ../schematics/lab.yaml", "extensions: [siderolabs/qemu-gest-agent]")],
                &["siderolabs/qemu-gest-agent", "no official extension", "siderolabs/qemu-guest-agent"],
            ),
            refused(&[("version: 1.12.4", "version: 1.12.99")], &["does not know Talos v1.12.99", "v1.12.4"]),
            refused(
                &[("kubernetes_version: 1.35.0", "kubernetes_version: 1.29.0")],
                &["talos.kubernetes_version", "1.29", "1.30", "1.35"],
            ),
            refused(&[("10.83.0.111", "10.83.0.66")], &["10.83.0.66", "lab-wk-1", "port 6443 is open"]),
            refused(&[("10.83.0.100", "10.83.0.66")], &["10.83.0.66", "the VIP", "port 6443 is open"]),
            usage(
                &[("  vip:", "  patches: { all: [{ machine: { network: { nameserverz: [192.0.2.1] } } }] }\n  vip:")],
                &["patch profiles/case.yaml:33", "unknown keys", "nameserverz"],
            ),
            refused(&[("  vip:", "  patches: { all: [json.yaml] }\n  vip:")], &["talos.patches", "json.yaml", "JSON"]),
            refused(
                &[("  vip:", "  patches: { worker: [{ machine: { type: controlplane } }] }\n  vip:")],
                &["talos.patches", "lab-wk-1"],
            ),
            refused(
                &[("  vip:", "  secrets: { file: ../open.yaml }\n  vip:")],
                &["open.yaml", "mode 644", "chmod 600"],
            ),
            // Several at once, since each costs a walk to the site's keeper.
            refused(
                &[("disk: local-lvm", "disk: tank"), ("bridge: vmbr0", "bridge: vmbr5")],
                &["2 things to settle", "storage tank", "bridge vmbr5"],
            ),
        ],
    );

    desk.profile("case", &[]);
    let factory = json!([{ "face": "factory", "call": "", "times": 1_000_000, "effect": "lose_request" }]);
    desk.faults(&factory);
    desk.ends(3, &["create", "--profile", "case", "--yes"])
        .tells(&["talos.factory.url", "image factory cannot be asked"]);
    let broken = json!({ "refuse": { "code": 503, "text": "down for maintenance" } });
    desk.faults(&json!([{ "face": "factory", "call": "", "times": 1_000_000, "effect": broken }]));
    desk.ends(3, &["create", "--profile", "case", "--yes"]).tells(&[
        "talos.factory.url",
        "503",
        "down for maintenance",
    ]);
    desk.faults(&json!([]));
    assert_eq!(desk.holdings(), (vec![4242], Vec::new()));
}

#[test]
fn a_lab_that_was_started_for_nothing_is_stopped_again() {
    let desk = Desk::new();
    desk.profile("case", &[("version: 1.12.4", "version: 1.12.99")]);
    desk.ends(3, &["create", "--profile", "case", "--yes"]).tells(&["started the lab", "does not know Talos v1.12.99"]);
    assert_eq!(desk.ends(0, &["lab", "status", "--output", "json"]).json()["running"], false);
    // Beside a cluster that runs it stays.
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    desk.ends(3, &["create", "--profile", "case", "--yes"]).tells(&["does not know Talos v1.12.99"]);
    assert_eq!(desk.ends(0, &["status", "--output", "json"]).json()["healthy"], true);
}

#[test]
fn a_failure_in_json_is_one_line_with_its_code_and_hints() {
    let desk = Desk::new();
    let outcome = desk.ends(2, &["create", "--profile", "labb", "--yes", "--output", "json"]);
    let [line] = outcome.lines().try_into().expect("one line");
    assert_eq!(line["failure"]["code"], 2);
    assert!(line["failure"]["message"].as_str().is_some_and(|text| text.contains("labb")), "{line}");
    // Wrong usage is told by the parser, before anybody could know how.
    let outcome = desk.ends(2, &["create", "--profle", "lab"]);
    assert_eq!(outcome.out, "");
    outcome.tells(&["--profle", "--profile"]);
}

/// A real profile: endpoints, a token in a file, and a network of loopback addresses where nobody is.
struct Real {
    desk: Desk,
    lab: Value,
}

const SECRET: &str = "11111111-2222-4333-8444-555555555555";

impl Real {
    fn new() -> Self {
        let desk = Desk::new();
        let lab = desk.lab(&format!(
            "\
nodes: [{{ name: lab1 }}]
network: {{ cidr: 127.9.0.0/24 }}
clock: instant
users: {{ root@pam: {{}}, talos@pve: {{}} }}
tokens: {{ \"talos@pve!few\": {{ secret: {SECRET} }} }}
acl:
  - {{ path: /, to: [talos@pve, \"talos@pve!few\"], role: PVEAuditor }}
  - {{ path: /vms, to: [talos@pve, \"talos@pve!few\"], role: PVEVMAdmin }}
"
        ));
        let real = Self { desk, lab };
        Desk::write(&real.desk.work("ca.pem"), real.text("ca_pem"), 0o644);
        let own = format!("{}={}\n", real.text("token_id"), real.text("token_secret"));
        Desk::write(&real.desk.work("token"), &own, 0o600);
        real
    }

    fn text(&self, key: &str) -> &str {
        self.lab[key].as_str().expect("a text")
    }

    /// `plan` with the connection described by `tls`, and `changes` to the profile.
    fn plan(&self, tls: &str, changes: &[(&str, &str)]) -> Outcome {
        let place = format!("endpoints: [\"{}\"]\n  token: {{ file: ../token }}\n{tls}", self.text("pve"));
        let mut all = vec![
            ("endpoints: [lab]", place.as_str()),
            ("https://factory.talos.dev", self.text("factory")),
            ("10.83.0.", "127.9.0."),
        ];
        all.extend(changes);
        self.desk.profile("real", &all);
        let mut command = self.desk.command(&["create", "--profile", "real", "--yes", "--dry-run"]);
        command.env("SSL_CERT_FILE", self.desk.work("ca.pem"));
        Outcome::of(command)
    }

    #[track_caller]
    fn refuses(&self, tls: &str, changes: &[(&str, &str)], told: &[&str]) {
        let outcome = self.plan(tls, changes);
        assert_eq!(outcome.code, Some(3), "{outcome:#?}");
        outcome.tells(told);
        assert_eq!(outcome.out, "");
        for secret in [SECRET, self.text("token_secret")] {
            assert!(!outcome.err.contains(secret), "the token's secret is told");
        }
        self.desk.assert_nothing_is_there();
    }
}

const CA: &str = "  tls: { ca: ../ca.pem }";

#[test]
fn what_the_connection_shows() {
    let real = Real::new();
    let fingerprint = format!("  tls: {{ fingerprint: \"{}\" }}", real.text("fingerprint"));
    for tls in [CA, &fingerprint] {
        let outcome = real.plan(tls, &[]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        assert!(outcome.out.contains("2 machines"), "{}", outcome.out);
    }

    let wrong = vec!["AB"; 32].join(":");
    let pinned = format!("  tls: {{ fingerprint: \"{wrong}\" }}");
    real.refuses(&pinned, &[], &["fingerprint", real.text("fingerprint"), &wrong, "openssl x509"]);

    let other = rcgen::generate_simple_self_signed([String::from("elsewhere")]).expect("a certificate").cert.pem();
    Desk::write(&real.desk.work("other.pem"), &other, 0o644);
    let elsewhere = "  tls: { ca: ../other.pem }";
    real.refuses(elsewhere, &[], &["is not trusted", real.text("fingerprint"), "tls.ca", "tls.fingerprint"]);

    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let here = real.text("pve").trim_end_matches('/').trim_start_matches("https://").to_owned();
    real.refuses(CA, &[(&here, &gone)], &[&gone, "cannot be reached", "refused"]);
}

#[test]
fn what_the_token_shows() {
    let real = Real::new();
    let token = real.desk.work("token");
    let check = &["pvetalos token check --profile real"][..];

    Desk::write(&token, &format!("root@pam!lab={SECRET}\n"), 0o600);
    real.refuses(CA, &[], &["401", "pveum user token list"]);
    Desk::write(&token, &format!("nobody@pve!none={SECRET}\n"), 0o600);
    real.refuses(CA, &[], &["401", "pveum user token list"]);
    Desk::write(&token, "root@pam!lab\n", 0o600);
    real.refuses(CA, &[], &[&["cannot get the Proxmox token"], check].concat());
    Desk::write(&token, &format!("root@pam!lab={SECRET}\n"), 0o644);
    real.refuses(CA, &[], &[&["mode 644", "chmod 600"], check].concat());
    real.refuses(CA, &[("file: ../token", "file: ../nowhere")], &[&["nowhere"], check].concat());
    let programs = [("file: ../token", "command: [sh, -c, 'echo no such vault >&2; exit 3']")];
    real.refuses(CA, &programs, &[&["no such vault"], check].concat());
    real.refuses(CA, &[("file: ../token", "env: TOKEN_OF_NOBODY")], &[&["TOKEN_OF_NOBODY"], check].concat());

    // One that may look and make VMs, but may not use storages and networks.
    Desk::write(&token, &format!("talos@pve!few\n{SECRET}\n"), 0o600);
    real.refuses(
        CA,
        &[],
        &[
            "the token lacks Datastore.AllocateSpace on /storage/local-lvm",
            "pveum role add TalosMissing-storage-local-lvm --privs \"Datastore.AllocateSpace\"",
            "pveum acl modify /storage/local-lvm --roles TalosMissing-storage-local-lvm --users talos@pve --tokens 'talos@pve!few'",
            "the token lacks Datastore.AllocateTemplate on /storage/local;",
            "the token lacks SDN.Use on /sdn/zones/localnetwork/vmbr0",
        ],
    );
    let checked = real.desk.ends(0, &["token", "check", "--profile", "real"]);
    assert!(checked.out.starts_with("talos@pve!few works on Proxmox VE 9.2"), "{}", checked.out);
    assert!(!checked.out.contains(SECRET) && !checked.err.contains(SECRET));
}

#[test]
fn a_token_is_asked_for_only_by_a_terminal_or_a_pipe() {
    let real = Real::new();
    assert_eq!(real.plan(CA, &[]).code, Some(0));
    let kept = format!("talos@pve!few={SECRET}\n");
    let mut command = assert_cmd::Command::from_std(real.desk.command(&["token", "set", "--profile", "real"]));
    let output = command.write_stdin(kept.as_bytes()).output().expect("the binary starts");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success() && told.contains("talos@pve!few is kept in file:"), "{told}");
    assert!(!told.contains(SECRET), "{told}");
    assert_eq!(super::contexts::mode(&real.desk.work("token")), 0o600);
    let kept = std::fs::read_to_string(real.desk.work("token")).expect("it is kept");
    assert_eq!(kept, format!("talos@pve!few\n{SECRET}\n"));
    // What is no token replaces none.
    real.desk.ends(2, &["token", "set", "--profile", "real"]).tells(&["there is no text"]);
    assert_eq!(std::fs::read_to_string(real.desk.work("token")).expect("it is still kept"), kept);
}
