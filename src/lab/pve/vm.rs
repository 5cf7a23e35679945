//! VM configurations: stored text, and how the API shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Instant;

use serde_json::{Value, json};

use super::drive;
use super::formats::split_list;
use super::schema::{Kind, Schema};
use super::snapshots::Snapshot;

/// Option to stored text.
pub type Config = BTreeMap<String, String>;

/// A VM as its node keeps it. Whether it runs is asked of the hypervisor, not kept here.
#[derive(Clone, Debug, Default)]
pub struct Vm {
    pub node: String,
    /// In canonical form; `lock` is one of the options.
    pub config: Config,
    /// Changes that wait for a stop: new text, or `None` for a deletion.
    pub pending: BTreeMap<String, Option<String>>,
    /// Pending deletions of disks that free the disk, too.
    pub(super) forced: BTreeSet<String>,
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    /// The snapshot that the present came from.
    pub(super) parent: Option<String>,
    pub(super) paused: bool,
    /// The UPID of the worker that holds the VM's lock file.
    pub(super) holder: Option<String>,
    pub(super) started: Option<Instant>,
    pub(super) pid: u32,
}

impl Vm {
    /// The configuration with pending changes applied.
    pub fn effective(&self) -> Config {
        let mut config = self.config.clone();
        for (option, change) in &self.pending {
            match change {
                Some(text) => config.insert(option.clone(), text.clone()),
                None => config.remove(option),
            };
        }
        config
    }

    /// SHA-1 of the configuration file, pending section included.
    pub fn digest(&self) -> String {
        // Writing to a string cannot fail.
        let mut text = String::new();
        for (option, value) in &self.config {
            let _ = writeln!(text, "{option}: {value}");
        }
        for (name, snapshot) in &self.snapshots {
            let _ = writeln!(text, "[{name}]\n{snapshot:?}");
        }
        let _ = writeln!(text, "parent: {}", self.parent.as_deref().unwrap_or_default());
        if !self.pending.is_empty() {
            text.push_str("\n[PENDING]\n");
            for (option, change) in &self.pending {
                let forced = if self.forced.contains(option) { "!" } else { "" };
                let _ = writeln!(text, "{forced}{option}: {}", change.as_deref().unwrap_or("delete"));
            }
        }
        hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
    }

    /// Whether a snapshot holds the volume.
    pub(super) fn in_snapshot(&self, volid: &str) -> bool {
        self.snapshots.values().any(|snapshot| snapshot.holds(volid))
    }

    /// `GET config`.
    pub(super) fn shown(&self, schema: &Schema, current: bool) -> Value {
        let config = if current { self.config.clone() } else { self.effective() };
        let mut shown: serde_json::Map<String, Value> =
            config.iter().map(|(option, text)| (option.clone(), typed(schema, option, text))).collect();
        if let Some(parent) = &self.parent {
            shown.insert("parent".into(), parent.as_str().into());
        }
        shown.insert("digest".into(), self.digest().into());
        Value::Object(shown)
    }

    /// `GET pending`.
    pub(super) fn shown_pending(&self, schema: &Schema) -> Value {
        let mut rows = vec![json!({ "key": "digest", "value": self.digest() })];
        rows.extend(self.parent.iter().map(|parent| json!({ "key": "parent", "value": parent })));
        for (option, text) in &self.config {
            let mut row = json!({ "key": option, "value": typed(schema, option, text) });
            match self.pending.get(option) {
                Some(Some(text)) => row["pending"] = typed(schema, option, text),
                Some(None) => row["delete"] = (1 + i32::from(self.forced.contains(option))).into(),
                None => {}
            }
            rows.push(row);
        }
        for (option, change) in &self.pending {
            if let Some(text) = change.as_ref().filter(|_| !self.config.contains_key(option)) {
                rows.push(json!({ "key": option, "pending": typed(schema, option, text) }));
            }
        }
        rows.into()
    }

    /// Notes that `option` is to go.
    pub(super) fn delete_later(&mut self, option: &str, force: bool) {
        self.pending.insert(option.to_owned(), None);
        if force {
            self.forced.insert(option.to_owned());
        } else {
            self.forced.remove(option);
        }
    }

    /// Notes that `option` is to become `text`.
    pub(super) fn set_later(&mut self, option: &str, text: String) {
        self.forced.remove(option);
        self.pending.insert(option.to_owned(), Some(text));
    }

    /// Forgets pending changes that change nothing.
    pub(super) fn clean_pending(&mut self) {
        let config = &self.config;
        self.pending.retain(|option, change| match change {
            Some(text) => config.get(option) != Some(text),
            None => config.contains_key(option),
        });
        let pending = &self.pending;
        self.forced.retain(|option| pending.get(option).is_some_and(Option::is_none));
    }

    /// What every writing of a configuration does (qemu-server 9.2: src/PVE/QemuServer.pm, `write_vm_config`): disks
    /// that are in use are not unused, and what was called `smp` once is the sockets.
    pub(super) fn tidy(&mut self, schema: &Schema) {
        let all =
            self.config.iter().chain(self.pending.iter().filter_map(|(option, text)| Some((option, text.as_ref()?))));
        let drives = all.filter(|(option, _)| drive::is_name(option));
        let used: BTreeSet<String> =
            drives.filter_map(|(option, text)| drive::parse(schema, option, text)?.remove("file")).collect();
        self.config.retain(|option, text| !drive::is_unused(option) || !used.contains(text));
        // A line without text is read back as a blank.
        let texts = self
            .config
            .iter_mut()
            .chain(self.pending.iter_mut().filter_map(|(option, text)| Some((option, text.as_mut()?))));
        for (_, text) in texts.filter(|(option, text)| text.is_empty() && *option != "description") {
            " ".clone_into(text);
        }
        if let Some(smp) = self.config.remove("smp")
            && !self.config.contains_key("sockets")
        {
            self.config.remove("cores");
            self.config.insert("sockets".into(), smp);
        }
    }

    /// The devices of `boot: order=`.
    pub(super) fn boot_order(&self) -> Vec<String> {
        let order = self
            .config
            .get("boot")
            .and_then(|text| text.split(',').find_map(|part| part.strip_prefix("order=").map(str::to_owned)));
        order.map_or_else(Vec::new, |order| split_list(&order).into_iter().map(str::to_owned).collect())
    }

    pub(super) fn name(&self, vmid: u32) -> String {
        self.config.get("name").cloned().unwrap_or_else(|| format!("VM {vmid}"))
    }

    /// A whole-number option, or its default.
    pub(super) fn number(&self, option: &str, default: u64) -> u64 {
        self.config.get(option).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// MiB.
    pub(super) fn memory(&self) -> u64 {
        let text = self.config.get("memory").map(|text| text.trim_start_matches("current="));
        text.and_then(|text| text.parse().ok()).unwrap_or(512)
    }

    /// The agent's channel is configured.
    pub(super) fn agent(&self) -> bool {
        let text = self.config.get("agent").map_or("", String::as_str);
        text.split(',').any(|part| matches!(part, "1" | "enabled=1" | "on" | "yes" | "true"))
    }

    pub(super) fn is_template(&self) -> bool {
        self.config.get("template").is_some_and(|text| text == "1")
    }

    pub(super) fn protected(&self) -> bool {
        self.config.get("protection").is_some_and(|text| text == "1")
    }

    /// Its memory is on a disk, and the next start goes on from there.
    pub(super) fn is_suspended(&self) -> bool {
        self.config.get("lock").is_some_and(|lock| lock == "suspended")
    }

    /// `VM is locked (create)`, if it is.
    pub(super) fn check_lock(&self) -> Result<(), String> {
        match self.config.get("lock") {
            Some(lock) => Err(format!("VM is locked ({lock})")),
            None => Ok(()),
        }
    }

    /// Every volume that the configuration names, with the option that names it. Media of CD-ROM drives are not the
    /// VM's own, except for its cloud-init image.
    pub(super) fn volumes(&self, schema: &Schema) -> Vec<(String, String)> {
        let named = |(option, text): (&String, &String)| {
            let drive = drive::parse(schema, option, text)?;
            let file = drive.get("file")?;
            (file.contains(':') && (!drive::is_cdrom(&drive) || drive::is_cloudinit(file)))
                .then(|| (option.clone(), file.clone()))
        };
        self.config.iter().filter_map(named).collect()
    }
}

/// How a boot order is stored; an empty one is a blank.
pub(super) fn print_order(order: &[String]) -> String {
    if order.is_empty() { " ".to_owned() } else { format!("order={}", order.join(";")) }
}

/// Scalars as the real parser types them: whole numbers and booleans are numbers, everything else is text.
fn typed(schema: &Schema, option: &str, text: &str) -> Value {
    if option == "cipassword" {
        return "**********".into();
    }
    let params = schema.endpoint("PUT", "/nodes/{node}/qemu/{vmid}/config").map(|endpoint| &endpoint.params);
    let kind = params.and_then(|params| schema.parameter(params, option)).and_then(|property| property.kind);
    match kind {
        Some(Kind::Integer | Kind::Boolean) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    }
}
