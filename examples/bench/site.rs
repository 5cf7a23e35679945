//! A lab in a home of its own, and the binary under test run against it with everything about it measured.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A lab that runs until this is dropped.
pub(crate) struct Lab<'a> {
    binary: &'a str,
    profile: String,
    home: tempfile::TempDir,
    /// Of the lab's own process.
    pid: u32,
}

/// What one run of the binary took.
pub(crate) struct Run {
    pub(crate) wall: Duration,
    /// Most memory that it had at once, in KiB.
    pub(crate) peak: u32,
    /// Calls that it made, by face and name.
    pub(crate) calls: BTreeMap<String, u64>,
}

impl<'a> Lab<'a> {
    /// Dressed for `profile`: a name, or a file whose text `text` is.
    pub(crate) fn start(binary: &'a str, profile: &str, text: Option<&str>) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let mut profile = profile.to_owned();
        if let Some(text) = text {
            let file: PathBuf = home.path().join(format!("{profile}.yaml"));
            #[expect(clippy::disallowed_methods, reason = "a profile holds no secret")]
            fs::write(&file, text)?;
            profile = file.display().to_string();
        }
        let mut lab = Self { binary, profile, home, pid: 0 };
        lab.run(&["lab", "start", "--profile", &lab.profile, "--clock", "instant"])?;
        let status: Value = serde_json::from_str(&lab.run(&["lab", "status", "--output", "json"])?)?;
        let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        lab.pid = pid.ok_or("the lab does not say which process it is")?;
        Ok(lab)
    }

    /// `create`, measured.
    pub(crate) fn create(&self) -> Result<Run> {
        let before = self.calls()?;
        let started = Instant::now();
        let args = ["create", "--profile", &self.profile, "--lab", "--yes", "--output", "json"];
        let mut child = self.command(&args).stdout(Stdio::null()).spawn()?;
        let peak = peak_until_end(&mut child)?;
        let wall = started.elapsed();
        let mut calls = self.calls()?;
        for (name, number) in &mut calls {
            *number -= before.get(name).copied().unwrap_or(0);
        }
        Ok(Run { wall, peak, calls })
    }

    pub(crate) fn destroy(&self) -> Result<()> {
        self.run(&["destroy", "--profile", &self.profile, "--lab", "--yes"]).map(drop)
    }

    /// Most memory that the lab itself ever had, in KiB.
    pub(crate) fn peak(&self) -> u32 {
        high_water(self.pid).unwrap_or(0)
    }

    fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let mut status: Value = serde_json::from_str(&self.run(&["lab", "status", "--output", "json"])?)?;
        Ok(serde_json::from_value(status["world"]["calls"].take())?)
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).output()?;
        if !output.status.success() {
            return Err(format!("pvetalos {} ended with {}", args.join(" "), output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn command(&self, args: &[&str]) -> Command {
        let home: &Path = self.home.path();
        let mut command = Command::new(self.binary);
        command.args(args).env("HOME", home).env("PVETALOS_STATE_DIR", home.join("state"));
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        // A lab that was never started, or has gone by itself, is what is wanted.
        drop(self.run(&["lab", "stop"]));
    }
}

/// The high-water mark can only be read while the process lives: looks until it ends.
fn peak_until_end(child: &mut Child) -> Result<u32> {
    let mut peak = 0;
    loop {
        peak = peak.max(high_water(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(peak) } else { Err(format!("create ended with {status}").into()) };
        }
        // Often enough for a process of half a second, seldom enough not to take a core from it.
        #[expect(clippy::disallowed_methods, reason = "nothing can be waited for: the mark is only there to be read")]
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn high_water(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    mark.trim().strip_suffix(" kB")?.trim().parse().ok()
}
