//! A whole create of 3+3 machines on the instant clock, as a user runs it: `bench_create BINARY`.

use std::error::Error;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const RUNS: usize = 9;
const MACHINES: u32 = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let binary = std::env::args().nth(1).ok_or("which binary?")?;
    let home = tempfile::tempdir()?;
    let pvetalos = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).env("HOME", home.path()).env("PVETALOS_STATE_DIR", home.path().join("state"));
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
        command
    };
    let run = |args: &[&str]| -> Result<String, Box<dyn Error>> {
        let output = pvetalos(args).output()?;
        if !output.status.success() {
            return Err(format!("pvetalos {} ended with {}", args.join(" "), output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    run(&["lab", "start", "--profile", "matherlynet", "--clock", "instant"])?;
    let measured = measure(&run, &pvetalos);
    run(&["lab", "stop"])?;
    let (mut walls, peak, calls) = measured?;
    walls.sort();
    let millis = |wall: &Duration| wall.as_millis();
    let lines = [
        format!("Proxmox calls of one create: {} in all, {} of them polls", calls.all, calls.polls),
        format!("  per machine apart from polls and survey: {:.1} (aim 10)", calls.per_machine),
        format!("peak memory: {:.1} MiB", f64::from(peak) / 1024.0),
        format!(
            "wall time of {RUNS} runs, ms: min {} median {} max {} (aim 1000, at most 2000)",
            millis(&walls[0]),
            millis(&walls[RUNS / 2]),
            millis(&walls[RUNS - 1])
        ),
    ];
    #[expect(clippy::print_stdout, reason = "this is what it is for")]
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

struct Calls {
    all: u32,
    polls: u32,
    per_machine: f64,
}

type Measured = (Vec<Duration>, u32, Calls);
type Run<'a> = &'a dyn Fn(&[&str]) -> Result<String, Box<dyn Error>>;

fn measure(run: Run<'_>, pvetalos: &dyn Fn(&[&str]) -> Command) -> Result<Measured, Box<dyn Error>> {
    let create = ["create", "--profile", "matherlynet", "--lab", "--yes", "--output", "json"];
    let (mut walls, mut peak, mut calls) = (Vec::new(), 0, None);
    for _ in 0..RUNS {
        let before = counts(run)?;
        let started = Instant::now();
        let mut child = pvetalos(&create).stdout(Stdio::null()).spawn()?;
        // The high-water mark can only be read while the process lives: look until it ends.
        let status = loop {
            if let Ok(text) = fs::read_to_string(format!("/proc/{}/status", child.id())) {
                let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib = mark.and_then(|mark| mark.trim().strip_suffix(" kB")?.trim().parse().ok());
                peak = peak.max(kib.unwrap_or(0));
            }
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::yield_now();
        };
        walls.push(started.elapsed());
        if !status.success() {
            return Err(format!("create ended with {status}").into());
        }
        let after = counts(run)?;
        calls.get_or_insert_with(|| count(&before, &after));
        run(&["destroy", "--profile", "matherlynet", "--yes"])?;
    }
    Ok((walls, peak, calls.ok_or("nothing was run")?))
}

/// Calls so far, by face and name.
fn counts(run: Run<'_>) -> Result<Value, Box<dyn Error>> {
    let status: Value = serde_json::from_str(&run(&["lab", "status", "--output", "json"])?)?;
    Ok(status["world"]["calls"].clone())
}

fn count(before: &Value, after: &Value) -> Calls {
    let mut calls = Calls { all: 0, polls: 0, per_machine: 0.0 };
    let mut own = 0_u32;
    for (name, number) in after.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("pve ")) {
        let made = number.as_u64().unwrap_or(0) - before[name].as_u64().unwrap_or(0);
        let made = u32::try_from(made).unwrap_or(u32::MAX);
        calls.all += made;
        if name.contains("/tasks/") {
            calls.polls += made;
        } else if name.contains("/qemu") {
            own += made;
        }
    }
    calls.per_machine = f64::from(own) / f64::from(MACHINES);
    calls
}
