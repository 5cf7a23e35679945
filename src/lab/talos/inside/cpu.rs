//! Processors, load, memory.

use std::time::SystemTime;

use tonic::Status;

use super::uptime;
use crate::lab::fleet::Machine;
use crate::lab::talos::Face;
use crate::lab::talos::server::Peer;
use crate::lab::world::World;
use crate::talos::wire::machine::{
    CpUsFreqStats, CpUsInfo, CpuFreqStats, CpuFreqStatsResponse, CpuInfo, CpuInfoResponse, CpuStat, LoadAvg,
    LoadAvgResponse, MemInfo, Memory, MemoryResponse, SoftIrqStat, SystemStat, SystemStatResponse,
};

/// Of the simulated processor.
const MHZ: u32 = 2_400;

pub(in crate::lab::talos) fn cpus(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<CpuInfoResponse, Status> {
    let hardware = &face.machine(world)?.hardware;
    let cpu = |processor: u32| CpuInfo {
        processor,
        vendor_id: "GenuineIntel".into(),
        model_name: format!("QEMU Virtual CPU ({})", hardware.cpu),
        cpu_mhz: MHZ.into(),
        physical_id: "0".into(),
        siblings: hardware.cores,
        core_id: processor.to_string(),
        cpu_cores: hardware.cores,
        flags: ["fpu", "sse4_2", "popcnt", "hypervisor"].map(str::to_owned).to_vec(),
    };
    let message = CpUsInfo { metadata: None, cpu_info: (0..hardware.cores).map(cpu).collect() };
    Ok(CpuInfoResponse { messages: vec![message] })
}

pub(in crate::lab::talos) fn frequencies(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<CpuFreqStatsResponse, Status> {
    // A guest has no governor to look at.
    let all = vec![CpuFreqStats::default(); face.machine(world)?.hardware.cores as usize];
    Ok(CpuFreqStatsResponse { messages: vec![CpUsFreqStats { metadata: None, cpu_freq_stats: all }] })
}

pub(in crate::lab::talos) fn load(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<LoadAvgResponse, Status> {
    let cores = f64::from(face.machine(world)?.hardware.cores);
    let message = LoadAvg { metadata: None, load1: cores * 0.12, load5: cores * 0.1, load15: cores * 0.08 };
    Ok(LoadAvgResponse { messages: vec![message] })
}

pub(in crate::lab::talos) fn system(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<SystemStatResponse, Status> {
    let uptime = uptime(face, world)?;
    let cores = face.machine(world)?.hardware.cores;
    let began = SystemTime::now() - uptime;
    let seconds = uptime.as_secs_f64();
    let cpu = |cores: f64| CpuStat {
        user: seconds * cores * 0.06,
        nice: 0.0,
        system: seconds * cores * 0.04,
        idle: seconds * cores * 0.9,
    };
    let message = SystemStat {
        metadata: None,
        boot_time: began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        cpu_total: Some(cpu(cores.into())),
        cpu: (0..cores).map(|_| cpu(1.0)).collect(),
        context_switches: uptime.as_secs() * 3000,
        process_created: 400 + uptime.as_secs() / 2,
        process_running: 1,
        process_blocked: 0,
        soft_irq: Some(SoftIrqStat { timer: uptime.as_secs() * 250 }),
    };
    Ok(SystemStatResponse { messages: vec![message] })
}

pub(in crate::lab::talos) fn memory(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<MemoryResponse, Status> {
    let meminfo = meminfo(face.machine(world)?);
    Ok(MemoryResponse { messages: vec![Memory { metadata: None, meminfo: Some(meminfo) }] })
}

/// How the memory of a machine is used, in KiB. The kernel keeps a few percent for itself.
pub(in crate::lab::talos) fn meminfo(machine: &Machine) -> MemInfo {
    let total = machine.hardware.memory_mib * 1024 * 97 / 100;
    MemInfo {
        memtotal: total,
        memfree: total / 2,
        memavailable: total * 3 / 4,
        buffers: total / 200,
        cached: total / 4,
        shmem: total / 100,
    }
}
