//! A user's desk: a home, a working directory with profiles, a state directory, and the binary.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything takes on the instant clock: what is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// One user. The lab that was started here, if any, ends with it.
pub(super) struct Desk {
    root: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `None`: it was killed.
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Desk {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::create_dir(root.path().join("home")).expect("a home");
        for part in ["profiles", "schematics"] {
            copy(&source.join(part), &root.path().join("work").join(part));
        }
        Self { root }
    }

    /// Inside the working directory.
    pub(super) fn work(&self, path: &str) -> PathBuf {
        self.root.path().join("work").join(path)
    }

    pub(super) fn home(&self, path: &str) -> PathBuf {
        self.root.path().join("home").join(path)
    }

    pub(super) fn state(&self, path: &str) -> PathBuf {
        self.root.path().join("state").join(path)
    }

    /// Writes a file, with `mode`.
    #[expect(clippy::disallowed_methods, reason = "the user's own files, which no other program reads meanwhile")]
    pub(super) fn write(path: &Path, text: &str, mode: u32) {
        std::fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
        std::fs::write(path, text).expect("written");
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its mode");
    }

    /// Writes `profiles/NAME.yaml`: the lab's own profile with one control plane and one worker, and each `from`
    /// replaced by its `to`.
    pub(super) fn profile(&self, name: &str, changes: &[(&str, &str)]) {
        let mut text = std::fs::read_to_string(self.work("profiles/lab.yaml")).expect("the lab's profile");
        let fewer = ["lab-cp-2", "lab-cp-3", "lab-wk-2"];
        text = text.lines().filter(|line| !fewer.iter().any(|left| line.contains(left))).fold(
            String::new(),
            |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            },
        );
        text = text.replace("name: lab ", &format!("name: {name} "));
        for (from, to) in changes {
            assert!(text.contains(from), "{from:?} is not in the profile");
            text = text.replace(from, to);
        }
        Self::write(&self.work(&format!("profiles/{name}.yaml")), &text, 0o644);
    }

    /// The binary, in this user's environment and no other.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pvetalos"));
        command.args(arguments).current_dir(self.work("")).env_clear().stdin(Stdio::null());
        #[expect(clippy::disallowed_methods, reason = "programs have to be found")]
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env("PATH", path)
            .env("HOME", self.home(""))
            .env("PVETALOS_STATE_DIR", self.state(""))
            .env("PVETALOS_LAB_CLOCK", "instant");
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command(arguments))
    }

    /// Runs it, and expects `code`.
    #[track_caller]
    pub(super) fn ends(&self, code: i32, arguments: &[&str]) -> Outcome {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(code), "{arguments:?}: {outcome:#?}");
        outcome
    }

    /// Starts it, to be watched while it runs.
    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments), self.root.path().join("stderr"))
    }

    /// Starts a lab that stays, as `site` describes it, and answers where it is.
    pub(super) fn lab(&self, site: &str) -> Value {
        let file = self.work("site.yaml");
        Self::write(&file, site, 0o644);
        let started = self.ends(0, &["lab", "start", "--site", "site.yaml", "--output", "json"]);
        serde_json::from_str(&started.out).expect("one JSON object")
    }

    /// What the lab holds: the `world` of `lab status`.
    pub(super) fn world(&self) -> Value {
        let status = self.ends(0, &["lab", "status", "--output", "json"]);
        let status: Value = serde_json::from_str(&status.out).expect("one JSON object");
        assert_eq!(status["running"], true, "{status}");
        status["world"].clone()
    }

    /// The guests' VMIDs and the volumes' names: everything that a create can leave.
    pub(super) fn holdings(&self) -> (Vec<u64>, Vec<String>) {
        let world = self.world();
        let list = |key: &str| world[key].as_array().cloned().unwrap_or_default();
        let vmids = list("guests").iter().filter_map(|guest| guest["vmid"].as_u64()).collect();
        let volumes = list("volumes").iter().filter_map(|volume| volume["volid"].as_str().map(str::to_owned)).collect();
        (vmids, volumes)
    }

    #[track_caller]
    pub(super) fn assert_nothing_is_there(&self) {
        assert_eq!(self.holdings(), (Vec::new(), Vec::new()));
    }

    /// Replaces the lab's script of faults. Only the lab's own socket can: a user gives the script when it starts.
    pub(super) fn faults(&self, script: &Value) {
        let mut socket = UnixStream::connect(self.state("lab/control.sock")).expect("the lab runs");
        writeln!(socket, "{}", json!({ "faults": script })).expect("it listens");
        let mut reply = String::new();
        BufReader::new(socket).read_line(&mut reply).expect("it answers");
        assert_eq!(reply.trim(), "true", "{script}");
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.command(&["lab", "stop"]).stderr(Stdio::null()).status().ok();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("the examples").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

impl Outcome {
    pub(super) fn of(command: Command) -> Self {
        let output = assert_cmd::Command::from_std(command).timeout(PATIENCE).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Expects every one of `parts` on stderr.
    #[track_caller]
    pub(super) fn tells(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not told: {self:#?}");
        }
        self
    }

    /// Every line of stdout, as JSON.
    #[track_caller]
    pub(super) fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(parse).collect()
    }

    /// The last line of stdout, as JSON.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        self.lines().pop().expect("there is a line")
    }
}

/// A command that is running, with `--output json`.
pub(super) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    err: PathBuf,
    /// A command that hangs is killed, and so a test that waits for its lines ends.
    _watchdog: mpsc::Sender<()>,
}

impl Running {
    fn of(mut command: Command, err: PathBuf) -> Self {
        let stderr = std::fs::File::create(&err).expect("a file");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the binary starts");
        let out = BufReader::new(child.stdout.take().expect("it was asked for"));
        let (watchdog, dropped) = mpsc::channel::<()>();
        let pid = child.id();
        std::thread::spawn(move || {
            if dropped.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                signal("KILL", pid);
            }
        });
        Self { child, out, err, _watchdog: watchdog }
    }

    /// The next event; `None` at the end.
    pub(super) fn event(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.out.read_line(&mut line).expect("stdout is read");
        (read > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// Reads on until `event`, a record or a tick, of a step of `verb`.
    #[track_caller]
    pub(super) fn until(&mut self, event: &str, verb: &str) {
        let wanted = |line: &Value| {
            let step = line["step"].as_str().and_then(|step| step.split('/').next());
            (line["record"] == event || line["tick"] == event) && step == Some(verb)
        };
        while let Some(line) = self.event() {
            if wanted(&line) {
                return;
            }
        }
        panic!("{verb} was never {event}: {}", self.stderr());
    }

    pub(super) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Without any chance to tidy up.
    pub(super) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ended");
    }

    /// Reads to the end.
    pub(super) fn end(mut self) -> Outcome {
        let mut out = String::new();
        std::io::Read::read_to_string(&mut self.out, &mut out).expect("stdout is read");
        let code = self.child.wait().expect("it ended").code();
        Outcome { code, out, err: self.stderr() }
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap_or_default()
    }
}

fn signal(name: &str, pid: u32) {
    Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().expect("kill is everywhere");
}

/// Whether `program` can be run here; says so when not.
#[expect(clippy::print_stderr, reason = "a test that did not run has to say so")]
pub(super) fn installed(program: &str) -> bool {
    let found = Command::new("which").arg(program).output().is_ok_and(|found| found.status.success());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
