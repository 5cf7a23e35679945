//! Variables, `pass` with a key of its own, and a real Secret Service on a bus of its own.
//!
//! All need an environment that differs from ours, and a process cannot change its
//! environment safely. So each test starts this binary again, for one of the
//! ignored tests below, in the environment that it has prepared. Nothing of the
//! user's home, keys or keyring is touched.

use std::path::Path;
use std::process::{Command, Output};

use pvetalos::secrets::{Provider, Secret, SecretError};

/// The shape and size of a secrets bundle.
fn bundle() -> String {
    let line = "    key: LS0tLS1CRUdJTiBFRDI1NTE5IFBSSVZBVEUgS0VZLS0tLS0K=\n";
    format!("cluster:\n{}last: line without a line end", line.repeat(400))
}

#[expect(clippy::print_stderr, reason = "a test that did not run has to say so")]
fn installed(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| Command::new("which").arg(program).output().is_ok_and(|found| !found.status.success()))
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: not installed: {missing:?}");
    }
    missing.is_empty()
}

fn run(command: &mut Command) -> Output {
    command.env(PREPARED, "1");
    let output = command.output().expect("the program starts");
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&all));
    output
}

/// Asserts that the inner test really ran: a name that no longer exists would pass as zero tests.
fn assert_ran(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}");
}

fn inner(test: &str) -> [String; 4] {
    [myself(), "--exact".into(), "--ignored".into(), test.into()]
}

fn myself() -> String {
    std::env::current_exe().expect("a running test has a file").to_str().expect("a plain path").to_owned()
}

/// Set for the inner tests only: started by hand with `--ignored` they would write into the user's own stores.
const PREPARED: &str = "PVETALOS_TEST_PREPARED";

#[expect(clippy::disallowed_methods, reason = "a test that must not run outside its environment asks for it")]
fn assert_prepared() {
    assert!(std::env::var_os(PREPARED).is_some(), "this test is started by another one");
}

async fn read(provider: &Provider) -> Result<String, SecretError> {
    provider.read().await.map(|secret| secret.expose().to_owned())
}

async fn assert_keeps_and_forgets(provider: &Provider) {
    assert!(!provider.exists().await.expect("can be looked for"));
    assert!(matches!(read(provider).await, Err(SecretError::Missing { .. })));
    for text in ["talos@pve!ci\n00000000-0000-4000-8000-000000000012\n", &bundle()] {
        provider.write(&Secret::new(text)).await.expect("written");
        assert!(provider.exists().await.expect("can be looked for"));
        assert!(read(provider).await.expect("read") == text, "the text came back changed");
    }
    provider.remove().await.expect("removed");
    provider.remove().await.expect("already gone is no error");
    assert!(matches!(read(provider).await, Err(SecretError::Missing { .. })));
    assert!(!provider.exists().await.expect("can be looked for"));
}

/// A home with a key of its own, protected by `passphrase`, and a password store for it.
struct Home(tempfile::TempDir);

impl Home {
    fn new(passphrase: &str) -> Self {
        let home = Self(tempfile::tempdir().expect("a home"));
        let gpg = |arguments: &[&str]| {
            let unattended = ["--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase];
            run(home.program("gpg").args(unattended).args(arguments))
        };
        gpg(&["--quick-generate-key", "pvetalos <pvetalos@example.invalid>", "ed25519", "sign", "never"]);
        let listing = String::from_utf8(gpg(&["--list-keys", "--with-colons"]).stdout).expect("a listing is text");
        let fingerprint = listing
            .lines()
            .find_map(|line| line.strip_prefix("fpr:::::::::")?.strip_suffix(':'))
            .expect("a key was made");
        gpg(&["--quick-add-key", fingerprint, "cv25519", "encr", "never"]);
        run(home.program("pass").args(["init", fingerprint]));
        // It has just seen the passphrase.
        home.stop_agent();
        home
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("HOME", self.0.path());
        for foreign in ["GNUPGHOME", "PASSWORD_STORE_DIR", "GPG_TTY", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(foreign);
        }
        command
    }

    fn stop_agent(&self) {
        run(self.program("gpgconf").args(["--kill", "gpg-agent"]));
    }

    fn run_inner(&self, test: &str) {
        let [exe, arguments @ ..] = inner(test);
        assert_ran(&run(self.program(&exe).args(arguments)));
        self.stop_agent();
    }
}

#[test]
fn pass_with_a_throw_away_key() {
    if installed(&["pass", "gpg", "gpgconf"]) {
        Home::new("").run_inner("pass_inner");
    }
}

#[test]
fn pass_with_a_locked_key_says_that_it_is_locked() {
    if installed(&["pass", "gpg", "gpgconf"]) {
        Home::new("a passphrase that nobody types").run_inner("pass_with_a_locked_key_inner");
    }
}

#[tokio::test]
#[ignore = "run by pass_with_a_locked_key_says_that_it_is_locked in a home of its own"]
async fn pass_with_a_locked_key_inner() {
    assert_prepared();
    let provider = Provider::Pass { entry: "pvetalos-test/locked".into() };
    provider.write(&Secret::new("hidden")).await.expect("encrypting needs no passphrase");
    let complaint = read(&provider).await.expect_err("nobody can type it").to_string();
    // A pinentry without a terminal gives up at once or, of some kinds, never.
    let told = complaint.contains("unlock gpg-agent") || complaint.contains("waiting for a passphrase");
    assert!(told && !complaint.contains("hidden"), "{complaint}");
}

#[tokio::test]
#[ignore = "run by pass_with_a_throw_away_key in a home of its own"]
async fn pass_inner() {
    assert_prepared();
    assert_keeps_and_forgets(&Provider::Pass { entry: "pvetalos-test/api-token".into() }).await;

    // pass prints a listing for a folder and calls that success.
    let entry = Provider::Pass { entry: "folder/entry".into() };
    entry.write(&Secret::new("text")).await.expect("written");
    let folder = Provider::Pass { entry: "folder".into() };
    assert!(matches!(read(&folder).await, Err(SecretError::Unusable { .. })));
}

#[test]
fn pass_without_a_store_says_how_to_make_one() {
    if !installed(&["pass"]) {
        return;
    }
    let home = tempfile::tempdir().expect("a home");
    let [exe, arguments @ ..] = inner("pass_without_a_store_inner");
    assert_ran(&run(Command::new(exe).args(arguments).env("HOME", home.path()).env_remove("PASSWORD_STORE_DIR")));
}

#[tokio::test]
#[ignore = "run by pass_without_a_store_says_how_to_make_one in a home of its own"]
async fn pass_without_a_store_inner() {
    assert_prepared();
    let provider = Provider::Pass { entry: "a/b".into() };
    assert!(matches!(read(&provider).await, Err(SecretError::Missing { .. })));
    let refused = provider.write(&Secret::new("text")).await.expect_err("there is no store").to_string();
    assert!(refused.contains("pass init"), "{refused}");
}

#[test]
fn a_variable_with_a_secret() {
    let [exe, arguments @ ..] = inner("a_variable_inner");
    assert_ran(&run(Command::new(exe).args(arguments).env("PVETALOS_TEST_TOKEN", "talos@pve!ci=hidden")));
}

#[tokio::test]
#[ignore = "run by a_variable_with_a_secret, which sets it"]
async fn a_variable_inner() {
    assert_prepared();
    let provider = Provider::Env { name: "PVETALOS_TEST_TOKEN".into() };
    assert!(provider.exists().await.expect("can be looked for"));
    assert_eq!(read(&provider).await.expect("it is set"), "talos@pve!ci=hidden");
    // From here on children do without it.
    let argv = ["sh", "-c", "printf %s \"${PVETALOS_TEST_TOKEN-unset}\""].map(str::to_owned).to_vec();
    assert_eq!(read(&Provider::Command { argv }).await.expect("it runs"), "unset");
}

fn on_a_bus_of_its_own(home: &Path, script: &str, test: &str) -> Output {
    let [exe, arguments @ ..] = inner(test);
    run(Command::new("dbus-run-session")
        .args(["--", "sh", "-c", script, &exe])
        .args(arguments)
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env_remove("XDG_DATA_HOME")
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY"))
}

#[test]
fn keyring_with_a_secret_service_of_its_own() {
    if !installed(&["dbus-run-session", "gnome-keyring-daemon", "secret-tool"]) {
        return;
    }
    let home = tempfile::tempdir().expect("a home");
    let script = "printf testpass | gnome-keyring-daemon --unlock --components=secrets >/dev/null && \"$0\" \"$@\"";
    assert_ran(&on_a_bus_of_its_own(home.path(), script, "keyring_inner"));
}

#[tokio::test]
#[ignore = "run by keyring_with_a_secret_service_of_its_own on a bus of its own"]
async fn keyring_inner() {
    assert_prepared();
    let provider = Provider::Keyring { entry: "pvetalos-test/token".into() };
    assert_keeps_and_forgets(&provider).await;

    // What a person stores with secret-tool is found, and the other way round.
    provider.write(&Secret::new("ours")).await.expect("written");
    let attributes = ["service", "pvetalos", "username", "pvetalos-test/token"];
    let found = run(Command::new("secret-tool").arg("lookup").args(attributes));
    assert_eq!(String::from_utf8_lossy(&found.stdout), "ours");
    provider.remove().await.expect("removed");
    let store = "printf theirs | secret-tool store --label=token \"$@\"";
    run(Command::new("sh").args(["-c", store, "sh"]).args(attributes));
    assert_eq!(read(&provider).await.expect("found"), "theirs");
}

#[test]
fn keyring_without_a_service_says_what_to_do() {
    let home = tempfile::tempdir().expect("a home");
    let [exe, arguments @ ..] = inner("keyring_without_a_service_inner");
    let output = run(Command::new(exe)
        .args(arguments)
        .env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/no-bus", home.path().display())));
    assert_ran(&output);
}

#[tokio::test]
#[ignore = "run by keyring_without_a_service_says_what_to_do without a bus"]
async fn keyring_without_a_service_inner() {
    assert_prepared();
    let complaint = read(&Provider::Keyring { entry: "token".into() }).await.expect_err("there is no bus").to_string();
    assert!(complaint.contains("keyring:token") && complaint.contains("use pass or file"), "{complaint}");
}
