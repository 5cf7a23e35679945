//! What a machine costs in a small cluster and in a large one: three control planes, and workers.

use std::error::Error;
use std::fmt::Write;

use crate::site::Lab;

/// Machines, and how often: the best run is what the work costs when nobody else wants the processor.
const SIZES: [(u16, usize); 3] = [(10, 5), (100, 3), (1000, 1)];
/// Aim: a machine among a thousand costs at most this many times what one among ten costs.
const AIM: f64 = 1.2;

pub(crate) fn lines(binary: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = vec![format!(
        "{:>8} {:>9} {:>11} {:>13} {:>12} {:>14} {:>12}",
        "machines", "wall s", "ms/machine", "calls/machine", "peak MiB", "KiB/machine", "lab MiB"
    )];
    let mut each = Vec::new();
    for (machines, runs) in SIZES {
        let lab = Lab::start(binary, &format!("scale{machines}"), Some(&profile(machines)))?;
        let (mut wall, mut peak, mut calls) = (f64::MAX, 0, 0);
        for _ in 0..runs {
            let run = lab.create()?;
            wall = wall.min(run.wall.as_secs_f64());
            peak = peak.max(run.peak);
            let counted = |name: &str| name.starts_with("pve ") && !name.contains("/tasks/");
            calls = run.calls.iter().filter(|(name, _)| counted(name)).map(|(_, number)| number).sum();
            lab.destroy()?;
        }
        let count = f64::from(machines);
        each.push(wall * 1e3 / count);
        lines.push(format!(
            "{machines:>8} {wall:>9.2} {:>11.1} {:>13.2} {:>12.1} {:>14.0} {:>12.1}",
            wall * 1e3 / count,
            f64::from(u32::try_from(calls)?) / count,
            f64::from(peak) / 1024.0,
            f64::from(peak) / count,
            f64::from(lab.peak()) / 1024.0,
        ));
    }
    if let (Some(small), Some(large)) = (each.first(), each.last()) {
        lines.push(format!("a machine among 1,000 costs {:.2} times one among 10 (aim: at most {AIM})", large / small));
    }
    Ok(lines)
}

/// Everything on a /20. The addresses are given, so that a sweep of the network is no part of the cost.
fn profile(machines: u16) -> String {
    let mut text = format!(
        "name: scale{machines}
proxmox:
  endpoints: [lab]
  storage: {{ image: local, disk: local-lvm }}
  bridge: vmbr0
talos:
  version: 1.12.4
  kubernetes_version: 1.35.0
  secureboot: true
  factory:
    url: https://factory.talos.dev
    extensions: [siderolabs/qemu-guest-agent]
  vip: {{ ip: 10.84.0.5 }}
network:
  cidr: 10.84.0.0/20
  gateway: 10.84.0.1
  mode: dhcp
nodes:
  cores: 2
  memory: 4Gi
  disk: 32G
  controlplane:
    assignments:
"
    );
    for number in 0..machines {
        if number == 3 {
            text.push_str("  workers:\n    assignments:\n");
        }
        let [high, low] = (number + 16).to_be_bytes();
        writeln!(text, "      - {{ name: scale-{number}, ip: 10.84.{high}.{low} }}").expect("text takes all text");
    }
    text
}
