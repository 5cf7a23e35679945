//! The program dies between any two of its changes to files, and in the middle of every write; and its disk is full at
//! each of them.
//!
//! `crash` dies at every record and at every call inside of one process. This is the real binary: `boundary.c`, which
//! the dynamic linker loads before the C library, counts whatever changes a file of the user's, and kills with a real
//! signal, or says that there is no space left.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use tempfile::TempDir;

use super::desk::{Desk, Outcome};
use super::site;
use crate::harness::{BUNDLE, assert_none, report};

/// The library, compiled once for all tests.
static SHIM: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let library = dir.path().join("boundary.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/cli/boundary.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(built.expect("cc is installed").success());
    (dir, library)
});

const KUBECONFIG: &str = "apiVersion: v1
kind: Config
clusters: [{ name: office, cluster: { server: 'https://10.0.0.1:6443' } }]
users: [{ name: office, user: { token: abc } }]
contexts: [{ name: office, context: { cluster: office, user: office } }]
current-context: office
";

const TALOSCONFIG: &str = "context: office
contexts:
    office: { endpoints: [10.0.0.1], ca: b2ZmaWNl, crt: b2ZmaWNl, key: b2ZmaWNl }
";

const CREATE: &[&str] = &["create", "--profile", "small", "--yes"];
const DESTROY: &[&str] = &["destroy", "--profile", "small", "--yes"];

/// What happens at a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Before,
    Torn,
    /// No space for this one.
    Once,
    /// No space from here on.
    Full,
}

impl How {
    fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Torn => "torn",
            Self::Once => "once",
            Self::Full => "full",
        }
    }

    /// Whether it can happen to a call, as the log of `boundary.c` has it.
    fn fits(self, call: &str) -> bool {
        let verb = call.split(' ').next().unwrap_or_default();
        match self {
            Self::Before => true,
            Self::Torn => verb == "write",
            Self::Once | Self::Full => ["create", "write", "sync", "mkdir"].contains(&verb),
        }
    }
}

/// A user with one machine to create, whose secrets bundle is a file beside the profiles.
struct User {
    desk: Desk,
    profile: String,
}

impl User {
    fn new() -> Self {
        let desk = Desk::new();
        desk.lab(&site::small(""));
        let worker = "  workers:\n    memory: 8Gi\n    assignments:\n      - { name: lab-wk-1, ip: 10.83.0.111 }\n";
        desk.profile("small", &[("  vip:", "  secrets: { file: ../bundle.yaml }\n  vip:"), (worker, "")]);
        let profile = std::fs::read_to_string(desk.work("profiles/small.yaml")).expect("the profile");
        Self { desk, profile }
    }

    /// As it was before anything was done. A bundle is there, or is to be made.
    fn fresh(&self, given: bool) {
        let bundle = self.desk.work("bundle.yaml");
        if given {
            Desk::write(&bundle, BUNDLE.to_yaml().expose(), 0o600);
        } else {
            std::fs::remove_file(bundle).ok();
        }
        Desk::write(&self.kubeconfig(), KUBECONFIG, 0o600);
        Desk::write(&self.talosconfig(), TALOSCONFIG, 0o600);
        std::fs::remove_dir_all(self.desk.state("clusters")).ok();
    }

    fn kubeconfig(&self) -> PathBuf {
        self.desk.home(".kube/config")
    }

    fn talosconfig(&self) -> PathBuf {
        self.desk.home(".talos/config")
    }

    fn run(&self, arguments: &[&str], blow: &Blow, log: Option<&Path>) -> Outcome {
        let mut command = self.desk.command(arguments);
        let root = self.desk.home("..").canonicalize().expect("it is there");
        command.env("LD_PRELOAD", &SHIM.1).env("BOUNDARY_ROOT", root);
        command.env("BOUNDARY_FROM", blow.from).env("BOUNDARY_AT", blow.at.to_string());
        command.env("BOUNDARY_HOW", blow.how.word());
        if let Some(log) = log {
            command.env("BOUNDARY_LOG", log);
        }
        Outcome::of(command)
    }

    /// The boundaries of a command that nothing happens to, from the first on a path with `from` in it.
    fn boundaries(&self, arguments: &[&str], from: &'static str) -> Vec<String> {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let outcome = self.run(arguments, &Blow { how: How::Before, at: 0, from }, Some(log.path()));
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        let text = std::fs::read_to_string(log.path()).expect("the log");
        let calls: Vec<String> = text.lines().map(str::to_owned).collect();
        assert!(!calls.is_empty(), "nothing was counted: is the binary linked statically?");
        calls
    }

    fn bootstraps(&self) -> u64 {
        let world = self.desk.world();
        let calls = world["calls"].as_object().cloned().unwrap_or_default();
        calls.iter().filter(|(name, _)| name.ends_with("/Bootstrap")).filter_map(|(_, count)| count.as_u64()).sum()
    }

    /// What a user must find at any time: every file as it was or as it was to be, and nobody else can read it.
    fn unwhole(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for path in [self.kubeconfig(), self.talosconfig()] {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // The last part of either file is the last that is written.
            if !text.contains("office") || !text.ends_with('\n') {
                wrong.push(format!("{} is {text:?}", path.display()));
            }
            if let Err(error) = serde_saphyr::from_str::<serde_json::Value>(&text) {
                wrong.push(format!("{}: {error}", path.display()));
            }
        }
        if let Ok(text) = std::fs::read_to_string(self.desk.work("bundle.yaml"))
            && pvetalos::machineconfig::Bundle::parse(&text).is_err()
        {
            wrong.push(format!("the bundle is {} bytes of no bundle", text.len()));
        }
        if std::fs::read_to_string(self.desk.work("profiles/small.yaml")).ok().as_ref() != Some(&self.profile) {
            wrong.push(String::from("the profile was changed"));
        }
        let open = |(path, mode): (PathBuf, u32)| (mode & 0o077 != 0).then(|| format!("{} {mode:03o}", path.display()));
        wrong.extend(self.written().into_iter().filter_map(open));
        wrong
    }

    /// Every file that the program may have written, with its mode.
    fn written(&self) -> Vec<(PathBuf, u32)> {
        let folders =
            [self.desk.work(""), self.desk.home(".kube"), self.desk.home(".talos"), self.desk.state("clusters/small")];
        let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
        let ours = |path: &Path| !path.is_dir() && !path.ends_with("site.yaml");
        let files = entries.map(|entry| entry.path()).filter(|path| ours(path));
        files
            .map(|path| {
                let mode = path.symlink_metadata().expect("it is there").permissions().mode() & 0o777;
                (path, mode)
            })
            .collect()
    }

    /// What is there that should not be, when nothing is meant to be.
    fn remains(&self, given: bool) -> Vec<String> {
        let held = self.desk.holdings();
        let mut wrong = Vec::new();
        if held != (Vec::new(), Vec::new()) {
            wrong.push(format!("on the site: {held:?}"));
        }
        for (path, _) in self.written() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_given = given && name == "bundle.yaml";
            if !is_given && !["config", "lock", "last.jsonl"].contains(&name.as_str()) {
                wrong.push(format!("{} is there", path.display()));
            }
        }
        let bundle = std::fs::read_to_string(self.desk.work("bundle.yaml")).unwrap_or_default();
        if given && bundle != BUNDLE.to_yaml().expose() {
            wrong.push(format!("of the bundle that was given {} bytes are there", bundle.len()));
        }
        for path in [self.kubeconfig(), self.talosconfig()] {
            if std::fs::read_to_string(&path).unwrap_or_default().contains("small") {
                wrong.push(format!("{} names the cluster", path.display()));
            }
        }
        wrong
    }

    fn healthy(&self) -> Option<String> {
        let status = self.desk.run(&["status", "--output", "json"]);
        (status.code != Some(0) || status.json()["healthy"] != true).then(|| format!("not healthy: {status:?}"))
    }
}

/// Something that happens to a command.
#[derive(Clone, Copy, Debug)]
struct Blow {
    how: How,
    /// At which of the calls that it can happen to, from 1; 0 is never.
    at: usize,
    /// Calls are counted from the first on a path with this in it.
    from: &'static str,
}

impl Blow {
    /// At each of `calls`, which were counted from `from` on.
    fn each(calls: &[String], from: &'static str, ways: &[How]) -> Vec<Self> {
        let ways = ways.iter().copied();
        ways.flat_map(|how| {
            let fitting = calls.iter().filter(|call| how.fits(call)).count();
            (1..=fitting).map(move |at| Self { how, at, from })
        })
        .collect()
    }

    /// Whether the bundle is there before: where it is made, calls are counted from its own.
    fn given(&self) -> bool {
        self.from.is_empty()
    }
}

/// In the path of every file that the bundle is written with.
const BUNDLE_FILE: &str = "bundle.yaml";

/// Plays lives on every core, each worker with a user and a lab of its own; answers what was wrong.
fn play<T: std::fmt::Debug + Sync>(
    lives: &[(Blow, T)],
    life: impl Fn(&User, &Blow, &T) -> Vec<String> + Sync,
) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let mut user = User::new();
        while let Some((blow, more)) = lives.get(next.fetch_add(1, Ordering::Relaxed)) {
            user.fresh(blow.given());
            let lived = std::panic::catch_unwind(AssertUnwindSafe(|| life(&user, blow, more)));
            let wrong = lived.unwrap_or_else(|_| vec![String::from("panicked: see above")]);
            if !wrong.is_empty() {
                found.lock().expect("no panic").push(format!("{blow:?} {more:?}: {wrong:?}"));
                // What went wrong here shall not spoil what comes after.
                user = User::new();
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    found.into_inner().expect("no panic")
}

/// The boundaries of clean commands.
struct Clean {
    /// Of a create that makes its bundle, from the bundle's first to a few after its last: making it costs more than
    /// all the rest, so of such a run no others are tried.
    making: Vec<String>,
    /// Of a create that finds its bundle.
    there: Vec<String>,
    back: Vec<String>,
}

impl Clean {
    fn lives() -> Self {
        let user = User::new();
        user.fresh(false);
        let mut making = user.boundaries(CREATE, BUNDLE_FILE);
        let last = making.iter().rposition(|call| call.contains(BUNDLE_FILE)).expect("it is written");
        // The record that it is written, and as much of another lane's.
        making.truncate(last + 1 + 4);
        user.boundaries(DESTROY, "");
        assert_none(&user.remains(false));
        user.fresh(true);
        let (there, back) = (user.boundaries(CREATE, ""), user.boundaries(DESTROY, ""));
        assert_none(&user.remains(true));
        Self { making, there, back }
    }

    /// Everything that can happen to a create in one of these `ways`.
    fn blows(&self, ways: &[How]) -> Vec<Blow> {
        let making = Blow::each(&self.making, BUNDLE_FILE, ways).into_iter();
        making.chain(Blow::each(&self.there, "", ways)).collect()
    }

    fn story(&self) -> String {
        let (bundle, there) = (self.making.len(), &self.there);
        format!("{} boundaries of create ({}) and {bundle} around its bundle", there.len(), kinds(there))
    }
}

/// How many there are of each kind: `3 create, 40 write`.
fn kinds(calls: &[String]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls {
        *kinds.entry(call.split(' ').next().unwrap_or_default()).or_default() += 1;
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    kinds.join(", ")
}

/// Expects a command to end with one of `codes`.
fn ends(outcome: &Outcome, codes: &[Option<i32>]) -> Option<String> {
    (!codes.contains(&outcome.code)).then(|| format!("{outcome:?}"))
}

/// Everything is taken away, and was.
fn taken_away(user: &User, given: bool, wrong: &mut Vec<String>) {
    wrong.extend(ends(&user.desk.run(DESTROY), &[Some(0)]));
    wrong.extend(user.unwhole());
    wrong.extend(user.remains(given));
}

const DEATHS: [How; 2] = [How::Before, How::Torn];

/// A create dies; the next one ends healthy; a destroy of that dies, too; the next one leaves nothing.
#[test]
fn dies_at_each_and_is_resumed() {
    let clean = Clean::lives();
    let (deaths, again) = (clean.blows(&DEATHS), Blow::each(&clean.back, "", &DEATHS));
    assert!(deaths.len() >= again.len(), "every boundary of the way back has its turn");
    let lives: Vec<_> = deaths.into_iter().zip(again.iter().copied().cycle()).collect();
    let begun = std::time::Instant::now();
    let wrong = play(&lives, |user, blow, again| {
        let before = user.bootstraps();
        let mut wrong = Vec::from_iter(ends(&user.run(CREATE, blow, None), &[None]));
        wrong.extend(user.unwhole());
        wrong.extend(ends(&user.desk.run(CREATE), &[Some(0)]));
        wrong.extend(user.unwhole());
        wrong.extend(user.healthy());
        wrong.extend(ends(&user.run(DESTROY, again, None), &[None]));
        wrong.extend(user.unwhole());
        taken_away(user, blow.given(), &mut wrong);
        let bootstraps = user.bootstraps() - before;
        wrong.extend((bootstraps != 1).then(|| format!("{bootstraps} bootstraps")));
        wrong
    });
    report(&format!(
        "binary, 1+0: killed at {}, and inside of each write, resumed, killed at {} boundaries of destroy ({}), destroyed: {} lives in {:.0?}",
        clean.story(),
        clean.back.len(),
        kinds(&clean.back),
        lives.len(),
        begun.elapsed()
    ));
    assert_none(&wrong);
}

/// A create dies, and is taken away as it is.
#[test]
fn dies_at_each_and_is_destroyed() {
    let clean = Clean::lives();
    let lives: Vec<_> = clean.blows(&DEATHS).into_iter().map(|blow| (blow, ())).collect();
    let begun = std::time::Instant::now();
    let wrong = play(&lives, |user, blow, ()| {
        let before = user.bootstraps();
        let mut wrong = Vec::from_iter(ends(&user.run(CREATE, blow, None), &[None]));
        taken_away(user, blow.given(), &mut wrong);
        let bootstraps = user.bootstraps() - before;
        wrong.extend((bootstraps > 1).then(|| format!("{bootstraps} bootstraps")));
        wrong
    });
    report(&format!(
        "binary, 1+0: killed at {}, and inside of each write, destroyed: {} lives in {:.0?}",
        clean.story(),
        lives.len(),
        begun.elapsed()
    ));
    assert_none(&wrong);
}

/// Where the disk is full for a moment, everything is removed; where it stays full, what is left is named. When there
/// is room again either command goes on from there.
#[test]
fn the_disk_is_full_at_each() {
    let clean = Clean::lives();
    let lives: Vec<_> = clean.blows(&[How::Once, How::Full]).into_iter().map(|blow| (blow, ())).collect();
    let (begun, codes) = (std::time::Instant::now(), Mutex::new(BTreeMap::<i32, usize>::new()));
    let wrong = play(&lives, |user, blow, ()| {
        let outcome = user.run(CREATE, blow, None);
        let mut wrong = user.unwhole();
        let code = outcome.code.unwrap_or(-1);
        *codes.lock().expect("no panic").entry(code).or_default() += 1;
        match (code, blow.how) {
            (3 | 4, _) => wrong.extend(user.remains(blow.given())),
            (5, How::Full) if outcome.err.contains("pvetalos destroy --profile small") => {}
            _ => wrong.push(format!("{outcome:?}")),
        }
        if blow.at % 2 == 0 {
            wrong.extend(ends(&user.desk.run(CREATE), &[Some(0)]));
            wrong.extend(user.healthy());
        }
        taken_away(user, blow.given(), &mut wrong);
        wrong
    });
    let codes = codes.into_inner().expect("no panic");
    let codes: Vec<_> = codes.iter().map(|(code, lives)| format!("{lives} ended with {code}")).collect();
    report(&format!(
        "binary, 1+0: no space for one call, or from there on, at {}: {} lives in {:.0?}: {}",
        clean.story(),
        lives.len(),
        begun.elapsed(),
        codes.join(", ")
    ));
    assert_none(&wrong);
}
