//! What counts as the same answer: the normalisation that comes with the recordings, and nothing else.
//!
//! Values that depend on the moment, the machine or the simulated hypervisor are
//! reduced to their JSON type; generated ones to a word; lists to an order.
//! `used_fraction` is a quotient of two such values.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// Only presence and JSON type count (rule 2, 4, 10; `used_fraction` follows from rule 2).
const TYPE_ONLY: &[&str] = &[
    "pid",
    "pstart",
    "starttime",
    "endtime",
    "ctime",
    "snaptime",
    "uptime",
    "cpu",
    "mem",
    "disk",
    "used",
    "avail",
    "loadavg",
    "seconds",
    "used_fraction",
    "vmgenid",
    "meta",
    "ticket",
    "password",
    "port",
    "kversion",
    "memory_facts",
    "ssl_fingerprint",
    "fingerprint",
    "pem",
    "subject",
    "issuer",
    "notbefore",
    "notafter",
    "public-key-type",
    "public-key-bits",
    "san",
    "swap",
    "rootfs",
    "wait",
    "idle",
    "repoid",
    "mhz",
    "boot-info",
    "current-kernel",
    "digest",
];
/// Values that the recording's simulated hypervisor invented.
const INVENTED: &[&str] = &["running-machine", "running-qemu", "balloon", "ballooninfo", "proxmox-support", "nics"];
/// Memory, disk and CPUs of storages and nodes; of VMs they count.
const FACTS: &[&str] = &["maxdisk", "maxmem", "maxcpu", "total", "cgroup-mode", "cpuinfo", "memory", "level"];

static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"UPID:(\w+):[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:", "UPID:$1:PID:PSTART:START:"),
        (r"/var/tmp/pveupload-[0-9a-f]{32}", "/var/tmp/pveupload-HEX"),
        (r"\.tmp_(dwnl|dcom)\.\d+", ".tmp_$1.PID"),
        (r"(at /usr/share/perl5/[\w/]+\.pm line) \d+\.", "$1 N."),
        (r"(network script \S+ failed with status) \d+", "$1 N"),
        (r"creation-qemu=[\d.]+,ctime=\d+", "creation-qemu=X,ctime=EPOCH"),
        (r"(/usr/bin/termproxy) \d+", "$1 PORT"),
        (r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "DATE "),
        (r"\(duration \d\d:\d\d:\d\d\)", "(duration)"),
        (r"^PVEVNC:[0-9A-F]{8}::\S+$", "PVEVNC"),
    ]
    .map(|(pattern, word)| (Regex::new(pattern).unwrap(), word))
    .into()
});
static MAC: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"=(BC:24:11:[0-9A-F]{2}:[0-9A-F]{2}:[0-9A-F]{2})\b").unwrap());
static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"uuid=([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})").unwrap()
});
/// Lines of the image tool, the download tool and the TPM tool (rule 6).
static TOOLS: LazyLock<Regex> = LazyLock::new(|| {
    let starts = [
        "Formatting '",
        "transferred ",
        "Image resized",
        "swtpm_setup",
        r"--\d{4}-",
        r"\d{4}-\d\d-\d\d [\d:]+ (?:\(|ERROR \d|URL:)",
        "Connecting to ",
        "HTTP request sent",
        "Length: ",
        "Saving to: ",
        r"\s+\d+K ",
        "Resolving ",
        "ERROR: The certificate",
        "WARNING: The certificate",
        r"ERROR \d",
        "kvm: ",
        "invalid argument",
    ];
    Regex::new(&format!("^(?:{})", starts.join("|"))).unwrap()
});

/// What one side's values are compared as. `given` is everything that the requests of the scenario said: what stands
/// there was not generated.
pub(super) struct Norm<'a> {
    pub given: &'a str,
}

impl Norm<'_> {
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (rule, word) in RULES.iter() {
            text = rule.replace_all(&text, *word).into_owned();
        }
        for (rule, word) in [(&*MAC, "=MAC"), (&*UUID, "uuid=UUID")] {
            let generated = |found: &regex::Captures| {
                if self.given.contains(&found[1]) { found[0].to_owned() } else { word.to_owned() }
            };
            text = rule.replace_all(&text, generated).into_owned();
        }
        text
    }

    pub(super) fn json(&self, value: &Value) -> Value {
        self.at("", value, false)
    }

    fn at(&self, key: &str, value: &Value, node: bool) -> Value {
        if TYPE_ONLY.contains(&key) || INVENTED.contains(&key) || (node && FACTS.contains(&key)) {
            return kind(value).into();
        }
        match value {
            Value::String(text) if key == "content" => {
                let mut parts: Vec<&str> = text.split(',').collect();
                parts.sort_unstable();
                parts.join(",").into()
            }
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => {
                let mut items: Vec<Value> = items.iter().map(|item| self.at("", item, node)).collect();
                items.sort_by_key(ToString::to_string);
                items.into()
            }
            Value::Object(map) => self.object(map),
            other => other.clone(),
        }
    }

    fn object(&self, map: &Map<String, Value>) -> Value {
        let kind = map.get("type").and_then(Value::as_str);
        // Storages and nodes say what they are, or have no VMID and free space or a load.
        let node = matches!(kind, Some("node" | "storage"))
            || ["avail", "loadavg", "plugintype"].iter().any(|key| map.contains_key(*key));
        let pending = map.get("key").and_then(Value::as_str).unwrap_or_default();
        let mut names: Vec<&String> = map.keys().collect();
        names.sort();
        let member = |name: &String| {
            // A row of `pending` names the option whose value it carries.
            let key = if name == "value" && !pending.is_empty() { pending } else { name.as_str() };
            // The secret of a new token.
            let key = if name == "value" && map.contains_key("full-tokenid") { "password" } else { key };
            (name.clone(), self.at(key, &map[name], node))
        };
        Value::Object(names.into_iter().map(member).collect())
    }

    /// A task's log without the lines of tools.
    pub(super) fn log(&self, lines: &[String]) -> Vec<String> {
        lines.iter().filter(|line| !TOOLS.is_match(line)).map(|line| self.text(line)).collect()
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<null>",
        Value::Bool(_) => "<bool>",
        Value::Number(_) => "<number>",
        Value::String(_) => "<string>",
        Value::Array(_) => "<array>",
        Value::Object(_) => "<object>",
    }
}

/// Where two values part, in few words.
pub(super) fn difference(path: &str, ours: &Value, recorded: &Value) -> Option<String> {
    match (ours, recorded) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
            names.sort();
            names.dedup();
            let mut all = names.into_iter().filter_map(|name| match (left.get(name), right.get(name)) {
                (Some(left), Some(right)) => difference(&format!("{path}.{name}"), left, right),
                (Some(left), None) => Some(format!("{path}.{name}: ours {left}, recorded has none")),
                (None, Some(right)) => Some(format!("{path}.{name}: ours has none, recorded {right}")),
                (None, None) => None,
            });
            let first = all.next()?;
            let more: Vec<String> = all.collect();
            Some(if more.is_empty() { first } else { format!("{first} AND {}", more.join(" AND ")) })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut pairs = left.iter().zip(right).enumerate();
            pairs.find_map(|(at, (left, right))| difference(&format!("{path}[{at}]"), left, right))
        }
        (left, right) if left == right => None,
        (left, right) => Some(format!("{path}: ours {left}, recorded {right}")),
    }
}
