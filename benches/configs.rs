//! What a configuration costs: time, allocations, and whether a thousandth machine costs more than a tenth.
//!
//! Time is measured with nothing counting; allocations are counted in a run of their own, because counting takes a
//! backtrace for each. Run it with `scripts/bench configs`.

use std::time::Duration;

use pvetalos::inventory::{Mac, Role};
use pvetalos::machineconfig::rewrite::{Target, rewrite};
use pvetalos::machineconfig::{Bundle, Contract, Minor, Patch, PatchSource};
use pvetalos::steps::render::{ConfigSpec, render};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Five patches of a real cluster.
const PATCHES: [(&str, &str); 5] = [
    ("dns", include_str!("../profiles/matherlynet/dns.yaml")),
    ("kubelet", include_str!("../profiles/matherlynet/kubelet.yaml")),
    ("network", include_str!("../profiles/matherlynet/network.yaml")),
    ("logging", include_str!("../profiles/matherlynet/logging.yaml")),
    ("apiserver", include_str!("../profiles/matherlynet/apiserver.yaml")),
];

fn spec(contract: &str, number: u16) -> ConfigSpec {
    let [high, low] = number.to_be_bytes();
    ConfigSpec {
        cluster: "bench".to_owned(),
        machine: format!("bench-{number}"),
        // As in a real cluster of that size: three control planes, and workers.
        role: if number < 3 { Role::ControlPlane } else { Role::Worker },
        contract: contract.to_owned(),
        talos: "v1.14.0".to_owned(),
        kubernetes: "1.35.0".to_owned(),
        endpoint: "https://10.0.0.100:6443".to_owned(),
        install_disk: "/dev/sda".to_owned(),
        install_image: "factory.talos.dev/nocloud-installer/376567988ad370138ad8b2698212367b:v1.14.0".to_owned(),
        address: format!("10.0.{high}.{low}/16").parse().expect("an address"),
        gateway: "10.0.255.254".parse().expect("an address"),
        dns: vec!["10.0.255.253".parse().expect("an address")],
        ntp: Vec::new(),
        vip: (number < 3).then(|| "10.0.0.100".parse().expect("an address")),
        pods: "10.42.0.0/16".to_owned(),
        services: "10.43.0.0/16".to_owned(),
        cni_none: true,
    }
}

/// The patches as this contract takes them: for all machines, and for control planes beside them.
fn patches(contract: &str) -> Vec<(String, bool)> {
    let contract = Contract::parse(contract).expect("known");
    let form = |(_, text): &(&str, &str)| {
        let rewritten = rewrite(text, Target { contract: &contract, install_disk: "/dev/sda" }).expect("YAML");
        rewritten.map_or_else(
            || vec![((*text).to_owned(), false)],
            |new| {
                let shared = new.shared.map(|text| (text, false));
                shared.into_iter().chain(new.control_plane.map(|text| (text, true))).collect()
            },
        )
    };
    PATCHES.iter().flat_map(form).collect()
}

/// Renders `count` machines, patches read anew for each as the command line does it; the bytes written.
fn machines(contract: &str, patches: &[(String, bool)], count: u16, bundle: &Bundle) -> usize {
    let minor = Minor::parse("1.14").expect("known");
    let one = |number: u16| {
        let spec = spec(contract, number);
        let for_it = patches.iter().filter(|(_, control_plane)| !control_plane || spec.role == Role::ControlPlane);
        let load = |(text, _): &(String, bool)| Patch::load(text, PatchSource::File("patch.yaml".to_owned()), &minor);
        let patches: Vec<Patch> = for_it.map(load).collect::<Result<_, _>>().expect("patches");
        let [high, low] = number.to_be_bytes();
        let made = render(&spec, bundle, Mac([2, 0, 0, 0, high, low]), &patches).expect("rendered");
        made.yaml.expose().len()
    };
    (0..count).map(one).sum()
}

/// The best of `runs`, in processor time: what others on the machine take does not count.
fn best(runs: u32, mut work: impl FnMut()) -> Duration {
    let time = |()| {
        let start = spent();
        work();
        spent().saturating_sub(start)
    };
    (0..runs).map(|_| ()).map(time).min().unwrap_or_default()
}

/// Time that this thread has been running. Linux: the first field of `schedstat`, in nanoseconds.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel with schedstat");
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).expect("nanoseconds"))
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() {
    let rsa = best(3, || drop(Bundle::generate(&Contract::NEWEST).expect("keys")));
    println!("secrets bundle with its RSA key, once a cluster: {:.0} ms", rsa.as_secs_f64() * 1e3);
    let bundle = Bundle::sketch().expect("keys");
    println!(
        "\n{:>8} {:>8} {:>10} {:>12} {:>12} {:>12} {:>10}",
        "contract", "machines", "total ms", "us/machine", "allocs/mach", "KiB/machine", "KiB out"
    );
    for contract in ["1.11", "1.13", "1.14"] {
        let patches = patches(contract);
        let machines = |count| machines(contract, &patches, count, &bundle);
        machines(10);
        let (blocks, bytes) = {
            let _profiler = dhat::Profiler::builder().testing().build();
            machines(10);
            let stats = dhat::HeapStats::get();
            (stats.total_blocks / 10, stats.total_bytes / 10)
        };
        for count in [10, 100, 1000] {
            // The kernel counts in steps of a few milliseconds, so every sample makes a thousand.
            let (mut written, rounds) = (0, 1000 / count);
            let time = best(3, || (0..rounds).for_each(|_| written = machines(count))) / u32::from(rounds);
            let each = time.as_secs_f64() * 1e6 / f64::from(count);
            println!(
                "{contract:>8} {count:>8} {:>10.2} {each:>12.1} {blocks:>12} {:>12} {:>10}",
                time.as_secs_f64() * 1e3,
                bytes / 1024,
                written / 1024,
            );
        }
    }
}
