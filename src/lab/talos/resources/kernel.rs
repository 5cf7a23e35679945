//! What the kernel is told and what it counts: parameters, memory, files of `/etc`.
//!
//! Talos 1.13: internal/app/machined/pkg/controllers/runtime/kernel_param_*.go.

use serde_json::{Value, json};

use super::documents::Documents;
use super::{Rows, View, row};

/// Talos's own parameters: the value, and what the kernel has by itself.
const DEFAULTS: [(&str, &str, &str); 16] = [
    ("proc.sys.net.ipv4.ip_forward", "1", "0"),
    ("proc.sys.net.ipv4.icmp_ignore_bogus_error_responses", "1", "1"),
    ("proc.sys.net.ipv4.icmp_echo_ignore_broadcasts", "1", "1"),
    ("proc.sys.net.ipv4.ip_local_reserved_ports", "50000,50001", ""),
    ("proc.sys.net.bridge.bridge-nf-call-iptables", "1", "1"),
    ("proc.sys.net.bridge.bridge-nf-call-ip6tables", "1", "1"),
    ("proc.sys.kernel.ctrl-alt-del", "0", "0"),
    ("proc.sys.net.ipv6.conf.default.forwarding", "1", "0"),
    ("proc.sys.net.ipv6.conf.default.accept_ra", "2", "1"),
    ("proc.sys.net.ipv4.tcp_keepalive_time", "600", "7200"),
    ("proc.sys.net.ipv4.tcp_keepalive_intvl", "60", "75"),
    ("proc.sys.kernel.panic", "10", "0"),
    ("proc.sys.kernel.pid_max", "262144", "32768"),
    ("proc.sys.vm.overcommit_memory", "1", "0"),
    ("proc.sys.fs.inotify.max_user_instances", "8192", "128"),
    ("proc.sys.fs.aio-max-nr", "1048576", "65536"),
];

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    Some(match kind {
        "KernelParamDefaultSpecs.runtime.talos.dev" => {
            DEFAULTS.map(|(key, value, _)| row(key, json!({"value": value}))).into()
        }
        "KernelParamSpecs.runtime.talos.dev" => {
            asked(view).into_iter().map(|(key, value)| row(key, json!({"value": value}))).collect()
        }
        "KernelParamStatuses.runtime.talos.dev" => statuses(view),
        "EtcFileStatuses.files.talos.dev" => {
            ["hosts", "resolv.conf"].map(|name| row(name, json!({"specVersion": "1"}))).into()
        }
        "MemoryStats.perf.talos.dev" => vec![row("latest", memory(view))],
        _ => return None,
    })
}

/// What the configuration asks for, by the names that Talos gives it.
fn asked(view: &View<'_>) -> Vec<(String, String)> {
    let Some(config) = Documents::of(view) else { return Vec::new() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut all = Vec::new();
    for (tree, kind, main) in
        [("proc.sys", "SysctlConfig", "/machine/sysctls"), ("sys", "SysfsConfig", "/machine/sysfs")]
    {
        let found = config.named(kind, "/params").or_else(|| config.main(main)).and_then(Value::as_object);
        all.extend(found.into_iter().flatten().map(|(key, value)| (format!("{tree}.{key}"), text(value))));
    }
    all
}

fn statuses(view: &View<'_>) -> Rows {
    let own = asked(view);
    let mut rows: Rows = DEFAULTS
        .into_iter()
        .filter(|(key, ..)| own.iter().all(|(known, _)| known != key))
        .map(|(key, value, before)| row(key, json!({"current": value, "default": before})))
        .collect();
    rows.extend(own.into_iter().map(|(key, value)| {
        let before = DEFAULTS.iter().find(|(known, ..)| *known == key).map_or("", |(.., before)| before);
        row(key, json!({"current": value, "default": before}))
    }));
    rows
}

/// In KiB, of the memory that the VM has.
fn memory(view: &View<'_>) -> Value {
    let info = crate::lab::talos::inside::meminfo(view.machine);
    json!({
        "total": info.memtotal, "used": info.memtotal.saturating_sub(info.memfree + info.buffers + info.cached),
        "available": info.memavailable, "buffers": info.buffers, "cached": info.cached,
    })
}
