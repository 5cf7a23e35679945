//! Secrets are kept where the profile says and show up nowhere else: not on the streams, not in the log at its
//! loudest, not in the journal, and not with the programs that we start.

use std::path::Path;
use std::process::Command;

use super::desk::{Desk, Outcome, installed};
use super::site;

/// Everything in a secrets bundle that opens something.
fn secrets_of(bundle: &str) -> Vec<String> {
    let secret = |line: &str| {
        let (key, value) = line.trim().split_once(": ")?;
        ["key", "token", "bootstraptoken", "secretboxencryptionsecret", "secret"]
            .contains(&key)
            .then(|| value.trim_matches('"').to_owned())
    };
    let found: Vec<String> = bundle.lines().filter_map(secret).collect();
    assert!(found.len() >= 8, "only {} secrets in the bundle", found.len());
    found
}

#[track_caller]
fn assert_hidden(place: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        // Not the secret itself: the failure of this test goes to a log as well.
        assert!(!text.contains(secret.as_str()), "a secret of {} characters shows in {place}", secret.len());
    }
    for part in ["PRIVATE KEY", "LS0tLS1CRUdJTiBFRDI1NTE5IFBSSVZBVEUg", "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSB"] {
        assert!(!text.contains(part), "a private key shows in {place}");
    }
}

#[track_caller]
fn assert_streams_hide(what: &str, outcome: &Outcome, secrets: &[String]) {
    assert_hidden(&format!("stdout of {what}"), &outcome.out, secrets);
    assert_hidden(&format!("stderr of {what}"), &outcome.err, secrets);
}

#[test]
fn a_run_shows_no_secret_even_at_its_loudest() {
    let desk = Desk::new();
    let lab = desk.lab(&site::small(""));
    let token = lab["token_secret"].as_str().expect("a text").to_owned();
    desk.profile("small", &[]);
    for output in ["human", "json"] {
        let created = desk.ends(0, &["create", "--profile", "small", "--yes", "--log", "trace", "--output", output]);
        assert!(created.err.contains("TRACE"), "the log is on stderr");
        let kept = desk.state("clusters/small/secrets.yaml");
        assert_eq!(super::contexts::mode(&kept), 0o600);
        let mut secrets = secrets_of(&std::fs::read_to_string(kept).expect("the bundle"));
        secrets.push(token.clone());
        assert_streams_hide("create", &created, &secrets);
        let journal = desk.state("clusters/small/journal.jsonl");
        assert_eq!(super::contexts::mode(&journal), 0o600);
        assert_hidden("the journal", &std::fs::read_to_string(journal).expect("the journal"), &secrets);
        let status = desk.ends(0, &["status", "--log", "trace", "--output", output]);
        assert_streams_hide("status", &status, &secrets);
        let plan = desk.ends(0, &["destroy", "--yes", "--log", "trace", "--output", output]);
        assert_streams_hide("destroy", &plan, &secrets);
        let story = std::fs::read_to_string(desk.state("clusters/small/last.jsonl")).expect("the story");
        assert_hidden("the story", &story, &secrets);
    }
}

/// A program that keeps a copy of how it was started, and answers with a file.
fn witness(desk: &Desk, answer: &Path) -> String {
    let script = format!(
        "cat /proc/$$/environ /proc/$$/cmdline >> {}; cat {}",
        desk.work("witness").display(),
        answer.display()
    );
    format!("command: [sh, -c, \"{script}\"]")
}

#[test]
fn programs_that_are_started_do_not_see_the_token() {
    let desk = Desk::new();
    let lab = desk.lab(&site::small(""));
    let text = |key: &str| lab[key].as_str().expect("a text");
    desk.profile("small", &[]);
    desk.ends(0, &["create", "--profile", "small", "--yes"]);
    let bundle = std::fs::read_to_string(desk.state("clusters/small/secrets.yaml")).expect("the bundle");
    desk.ends(0, &["destroy", "--yes"]);
    Desk::write(&desk.work("bundle.yaml"), &bundle, 0o600);
    Desk::write(&desk.work("ca.pem"), text("ca_pem"), 0o644);

    let secrets = witness(&desk, &desk.work("bundle.yaml"));
    let place = format!("endpoints: [\"{}\"]\n  token: {{ env: PVE_TOKEN }}\n  tls: {{ ca: ../ca.pem }}", text("pve"));
    let secrets = format!("  secrets: {{ {secrets} }}\n  vip:");
    desk.profile(
        "real",
        &[
            ("endpoints: [lab]", &place),
            ("https://factory.talos.dev", text("factory")),
            ("10.83.0.", "127.9.0."),
            ("  vip:", &secrets),
        ],
    );
    let mut command = desk.command(&["plan", "--profile", "real", "--log", "trace"]);
    command.env("SSL_CERT_FILE", desk.work("ca.pem"));
    command.env("PVE_TOKEN", format!("{}={}", text("token_id"), text("token_secret")));
    let outcome = Outcome::of(command);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let mut hidden = secrets_of(&bundle);
    hidden.push(text("token_secret").to_owned());
    assert_streams_hide("plan", &outcome, &hidden);
    let seen = std::fs::read(desk.work("witness")).expect("the program was started");
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("HOME="), "{seen}");
    assert_hidden("a child's environment and arguments", &seen, &hidden);
}

/// A password store with a key of its own, in the desk's home.
struct Store<'a>(&'a Desk);

impl<'a> Store<'a> {
    fn new(desk: &'a Desk) -> Self {
        let store = Self(desk);
        let unattended = ["--batch", "--pinentry-mode", "loopback", "--passphrase", ""];
        let gpg = |arguments: &[&str]| store.run("gpg", &[&unattended, arguments].concat());
        gpg(&["--quick-generate-key", "pvetalos <pvetalos@example.invalid>", "ed25519", "sign", "never"]);
        let listing = gpg(&["--list-keys", "--with-colons"]);
        let key = listing.lines().find_map(|line| line.strip_prefix("fpr:::::::::")?.strip_suffix(':'));
        let key = key.expect("a key was made");
        gpg(&["--quick-add-key", key, "cv25519", "encr", "never"]);
        store.run("pass", &["init", key]);
        store
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output =
            Command::new(program).args(arguments).env("HOME", self.0.home("")).env_remove("GNUPGHOME").output();
        let output = output.expect("it is installed");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Store<'_> {
    fn drop(&mut self) {
        let mut agent = Command::new("gpgconf");
        agent.args(["--kill", "gpg-agent"]).env("HOME", self.0.home("")).env_remove("GNUPGHOME").status().ok();
    }
}

#[test]
fn token_and_bundle_in_pass() {
    if !installed("pass") || !installed("gpg") {
        return;
    }
    let desk = Desk::new();
    let lab = desk.lab(&site::small(""));
    let text = |key: &str| lab[key].as_str().expect("a text");
    let store = Store::new(&desk);
    Desk::write(&desk.work("ca.pem"), text("ca_pem"), 0o644);

    let place =
        format!("endpoints: [\"{}\"]\n  token: {{ pass: site/token }}\n  tls: {{ ca: ../ca.pem }}", text("pve"));
    desk.profile("real", &[("endpoints: [lab]", &place)]);
    desk.ends(3, &["token", "check", "--profile", "real"]).tells(&["cannot get the Proxmox token", "site/token"]);
    let kept = format!("{}={}", text("token_id"), text("token_secret"));
    let mut set = assert_cmd::Command::from_std(desk.command(&["token", "set", "--profile", "real", "--log", "trace"]));
    let output = set.write_stdin(kept.as_bytes()).output().expect("the binary starts");
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && told.contains("is kept in pass:site/token"), "{told}");
    let hidden = [text("token_secret").to_owned()];
    assert_hidden("the streams of token set", &told, &hidden);
    assert_eq!(store.run("pass", &["show", "site/token"]), format!("{}\n{}\n", text("token_id"), text("token_secret")));
    let checked = desk.ends(0, &["token", "check", "--profile", "real", "--log", "trace"]);
    assert!(checked.out.starts_with("root@pam!lab works on Proxmox VE 9.2"), "{}", checked.out);
    assert_streams_hide("token check", &checked, &hidden);

    // The bundle: made, kept, used and removed.
    desk.profile("small", &[("  vip:", "  secrets: { pass: small/talos/secrets }\n  vip:")]);
    let created = desk.ends(0, &["create", "--profile", "small", "--yes"]);
    assert!(created.out.contains("pass:small/talos/secrets"), "{}", created.out);
    let bundle = secrets_of(&store.run("pass", &["show", "small/talos/secrets"]));
    assert_streams_hide("create", &created, &bundle);
    assert_eq!(desk.ends(0, &["status", "--output", "json"]).json()["healthy"], true);
    desk.ends(0, &["destroy", "--yes"]);
    assert!(!desk.home(".password-store/small/talos/secrets.gpg").exists(), "the bundle goes with its cluster");
    assert!(desk.home(".password-store/site/token.gpg").exists(), "the token stays");
}
