//! The last page of a run: the machines, where the files went, where the time went, and what to type next.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use comfy_table::{Table, TableStyle};
use serde::Serialize;

use super::account::Accounts;
use super::timeline::Timeline;
use super::{json, text};
use crate::inventory::{BundleRef, Inventory};

/// Something that the user may want to find again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// `kubeconfig`, `journal`, …
    pub what: String,
    /// A path, or a reference into a store of secrets. Never a secret.
    pub place: String,
}

/// The last page of a `create`. Prints as text, serialises as an object.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub cluster: String,
    /// Wall time.
    pub seconds: f64,
    pub inventory: Inventory,
    /// Seconds by account; they add up to `seconds`.
    pub accounts: Accounts,
    pub files: Vec<Place>,
    /// Commands to type next.
    pub next: Vec<String>,
}

impl Summary {
    /// What `inventory` and `timeline` say about `cluster`. The caller adds the files that only it knows.
    pub fn new(cluster: &str, inventory: &Inventory, timeline: &Timeline) -> Self {
        let mut summary = Self {
            cluster: cluster.to_owned(),
            seconds: text::as_seconds(timeline.wall),
            inventory: inventory.clone(),
            accounts: Accounts::of(timeline),
            files: Vec::new(),
            next: Vec::new(),
        };
        if let Some((context, kubeconfig, talosconfig)) = &inventory.access {
            if let Some(path) = kubeconfig {
                summary = summary.file("kubeconfig", path);
                summary.next.push(format!("kubectl --kubeconfig {} --context {context} get nodes", text::quoted(path)));
            }
            if let Some(path) = talosconfig {
                summary = summary.file("talosconfig", path);
                summary.next.push(format!("talosctl --talosconfig {} --context {context} version", text::quoted(path)));
            }
        }
        if let Some(BundleRef { reference, .. }) = &inventory.secrets {
            summary.files.push(Place { what: "secrets bundle".to_owned(), place: reference.clone() });
        }
        summary.next.push(format!("pvetalos status --profile {cluster}"));
        summary.next.push(format!("pvetalos destroy --profile {cluster}"));
        summary
    }

    /// Adds a file to the list.
    #[must_use]
    pub fn file(mut self, what: &str, path: impl Into<PathBuf>) -> Self {
        self.files.push(Place { what: what.to_owned(), place: path.into().display().to_string() });
        self
    }

    /// The object `{"summary": …}` as one line: the end of the stream of `--output json`.
    pub fn json(&self) -> String {
        json::line(&BTreeMap::from([("summary", self)]))
    }

    fn machines(&self) -> Table {
        let mut table = columns();
        table.set_header(["NAME", "ROLE", "NODE", "VMID", "MAC", "ADDRESS"]);
        for (name, machine) in &self.inventory.machines {
            table.add_row([
                name.clone(),
                or_dash(machine.role.as_ref()),
                or_dash(machine.node.as_ref()),
                or_dash(machine.vmid.as_ref()),
                or_dash(machine.macs.first()),
                or_dash(machine.ip.as_ref()),
            ]);
        }
        table
    }

    fn times(&self) -> Table {
        let wall = self.accounts.wall();
        let mut table = columns();
        for (account, share) in self.accounts.iter() {
            let percent = share.as_millis() * 100 / wall.as_millis().max(1);
            table.add_row([account.label().to_owned(), text::span(share), format!("{percent} %")]);
        }
        table
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.inventory.healthy.len() {
            0 => String::new(),
            gates => format!(" is healthy ({} passed)", text::count(gates, "gate")),
        };
        let machines = text::count(self.inventory.machines.len(), "machine");
        let took = text::span(self.accounts.wall());
        writeln!(f, "cluster {}{state}: {machines}, {took}\n", self.cluster)?;
        block(f, &self.machines())?;
        if !self.files.is_empty() {
            writeln!(f, "\nFiles")?;
            let mut files = columns();
            for Place { what, place } in &self.files {
                files.add_row([what, place]);
            }
            block(f, &files)?;
        }
        writeln!(f, "\nTime, along the path that held up the end")?;
        block(f, &self.times())?;
        writeln!(f, "\nNext")?;
        self.next.iter().try_for_each(|command| writeln!(f, "  {command}"))
    }
}

/// A table without lines.
pub fn columns() -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table
}

/// Rows indented by two, without the blanks that a table leaves at the end of its lines.
fn block(f: &mut fmt::Formatter<'_>, table: &Table) -> fmt::Result {
    // A column pads its cells by one blank on either side: one more is the indent.
    table.lines().try_for_each(|line| writeln!(f, " {}", line.trim_end()))
}

fn or_dash<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}
