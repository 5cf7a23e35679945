//! Containers that wait for one another: every one has to exist, and no chain may close.

use std::collections::{BTreeMap, BTreeSet};

use crate::machineconfig::documents::Document;
use crate::machineconfig::go::quoted;
use crate::machineconfig::validate::texts;

/// What is wrong with the dependencies between these documents.
pub(in crate::machineconfig::validate) fn problems<'a>(containers: impl Iterator<Item = &'a Document>) -> Vec<String> {
    let depends = |document: &'a Document| -> (&'a str, Vec<&'a str>) {
        let on = document.get(&["dependsOn"]).into_iter().flat_map(|on| texts(on, "containers"));
        (document.name().unwrap_or_default(), on.collect())
    };
    let containers: Vec<(&str, Vec<&str>)> = containers.map(depends).collect();
    let edges: BTreeMap<&str, &[&str]> = containers.iter().map(|(name, on)| (*name, on.as_slice())).collect();
    let mut problems = Vec::new();
    for (name, on) in &containers {
        for other in on.iter().filter(|other| !edges.contains_key(*other)) {
            problems.push(format!(
                "container {name} depends on container {other}, which is not configured",
                name = quoted(name),
                other = quoted(other)
            ));
        }
    }
    let mut walk = Walk { edges: &edges, done: BTreeSet::new(), path: Vec::new(), cycles: BTreeSet::new() };
    for name in edges.keys() {
        walk.visit(name);
    }
    if !walk.cycles.is_empty() {
        let cycles: Vec<String> = walk.cycles.into_iter().collect();
        problems.push(format!("container dependsOn cycle detected: {}", cycles.join(", ")));
    }
    problems
}

/// A walk from container to container, deepest first; `path` is where it stands.
struct Walk<'a> {
    edges: &'a BTreeMap<&'a str, &'a [&'a str]>,
    done: BTreeSet<&'a str>,
    path: Vec<&'a str>,
    cycles: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, name: &'a str) {
        if self.done.contains(name) {
            return;
        }
        if let Some(from) = self.path.iter().position(|before| *before == name) {
            let cycle: Vec<&str> = self.path[from..].iter().copied().chain([name]).collect();
            self.cycles.insert(cycle.join(" -> "));
            return;
        }
        self.path.push(name);
        for next in self.edges.get(name).copied().unwrap_or_default() {
            if self.edges.contains_key(next) {
                self.visit(next);
            }
        }
        self.path.pop();
        self.done.insert(name);
    }
}
