//! A create of 3+3 machines, again and again.

use std::error::Error;
use std::time::Duration;

use crate::site::{Lab, Run};

const RUNS: usize = 9;
const MACHINES: u32 = 6;

pub(crate) fn lines(binary: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let lab = Lab::start(binary, "matherlynet", None)?;
    let mut runs: Vec<Run> = Vec::new();
    for _ in 0..RUNS {
        runs.push(lab.create()?);
        lab.destroy()?;
    }
    runs.sort_by_key(|run| run.wall);
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let sum = |wanted: &dyn Fn(&str) -> bool| -> u64 {
        let proxmox = first.calls.iter().filter(|(name, _)| name.starts_with("pve "));
        proxmox.filter(|(name, _)| wanted(name)).map(|(_, number)| number).sum()
    };
    let polls = |name: &str| name.contains("/tasks/");
    let own = u32::try_from(sum(&|name| !polls(name) && name.contains("/qemu")))?;
    let peak = runs.iter().map(|run| run.peak).max().unwrap_or(0);
    let millis = |wall: Duration| wall.as_millis();
    Ok(vec![
        format!("Proxmox calls of one create: {} in all, {} of them polls", sum(&|_| true), sum(&polls)),
        format!("  per machine apart from polls and survey: {:.1} (aim 10)", f64::from(own) / f64::from(MACHINES)),
        format!("peak memory: {:.1} MiB", f64::from(peak) / 1024.0),
        format!(
            "wall time of {RUNS} runs, ms: min {} median {} max {} (aim 1000, at most 2000)",
            millis(first.wall),
            millis(runs[RUNS / 2].wall),
            millis(runs[RUNS - 1].wall)
        ),
    ])
}
