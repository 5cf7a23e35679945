//! The dependency drawing is true.
//!
//! Reads every file of `src` as tokens and follows each path that starts at the
//! crate's root (`crate::…`, enough `super::`s, and `pvetalos::…` in `main.rs`,
//! braces included). Comments and documentation are free to mention anything.
//!
//! Test code (below `#[cfg(test)]`, or in a file of tests) may use the lab as
//! well, and the lab's own tests whatever they try it with.

use std::collections::BTreeSet;
use std::fs;
use std::iter::Peekable;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One row: a room, its layer, and what it may use besides itself. `a::b` allows that part of `a` only.
struct Row {
    room: &'static str,
    layer: &'static str,
    uses: &'static [&'static [&'static str]],
}

const fn row(room: &'static str, layer: &'static str, uses: &'static [&'static [&'static str]]) -> Row {
    Row { room, layer, uses }
}

/// The vocabulary. A record holds facts, which is why `event` may know `inventory`.
const NOUNS: &[&str] = &["event", "inventory"];
const LAYER_0: &[&str] = &["event", "inventory", "wait", "retry", "reach"];
const CLIENTS: &[&str] = &["pve", "factory", "talos", "kube"];

const TABLE: &[Row] = &[
    row("inventory", "0", &[]),
    row("event", "0", &[&["inventory"]]),
    row("wait", "0", &[]),
    row("retry", "0", &[]),
    row("reach", "0", &[]),
    row("profile", "1", &[NOUNS]),
    row("secrets", "1", &[NOUNS, &["wait"]]),
    // The secrets bundle is made of secrets: the type that does not print, not the providers.
    row("machineconfig", "1", &[NOUNS, &["secrets::Secret"]]),
    row("pve", "2", &[LAYER_0, &["secrets::Secret", "secrets::Token"]]),
    row("factory", "2", &[LAYER_0, &["secrets::Secret"]]),
    row("talos", "2", &[LAYER_0, &["secrets::Secret"]]),
    row("kube", "2", &[LAYER_0, &["secrets::Secret"]]),
    row("discovery", "3", &[CLIENTS, NOUNS, &["wait", "reach"]]),
    row("steps", "4", &[CLIENTS, NOUNS, &["wait", "reach", "discovery", "machineconfig", "secrets"]]),
    row("plan", "5", &[CLIENTS, NOUNS, &["reach", "steps", "profile", "machineconfig"]]),
    row("engine", "6", &[NOUNS, &["reach", "wait", "plan", "steps"]]),
    row("report", "7", &[NOUNS]),
    // The command line builds what steps run in, prints them, and looks through the health gates for `status`.
    row(
        "cli",
        "8",
        &[
            CLIENTS,
            LAYER_0,
            &["engine", "report", "lab", "plan", "profile", "secrets", "machineconfig", "discovery", "steps"],
        ],
    ),
    row("lab", "beside", &[LAYER_0, &["talos::wire", "machineconfig", "factory::Schematic", "secrets::Secret"]]),
    // `main.rs` parses, runs, prints the failure and exits: all of it through `cli`. `lib.rs` is a list.
    row("main", "top", &[&["cli"]]),
    row("lib", "top", &[]),
];

fn row_of(room: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.room == room)
}

/// A path from the crate's root as it was written, without the root.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    line: usize,
    path: String,
    test: bool,
}

/// Where the reader of a file is.
#[derive(Clone, Copy)]
struct At {
    /// Modules between here and the crate's root: that many `super`s lead there.
    depth: usize,
    test: bool,
}

/// Everything that `source`, a module `depth` below the root, uses from the root.
fn uses(source: &str, depth: usize, test: bool) -> Vec<Use> {
    let tokens: TokenStream = source.parse().expect("the compiler has read it");
    let mut found = Vec::new();
    walk(tokens, At { depth, test }, &mut found);
    found
}

fn walk(tokens: TokenStream, at: At, found: &mut Vec<Use>) {
    let mut tokens = tokens.into_iter().peekable();
    // What the attributes and the word before an item said about it.
    let (mut cfg_test, mut after_mod, mut after_hash) = (false, false, false);
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) => {
                let text = word.to_string();
                match text.as_str() {
                    "crate" | "super" | "pvetalos" => {
                        follow(&text, word.span().start().line, &mut tokens, at, found);
                    }
                    "mod" => after_mod = true,
                    _ => {}
                }
            }
            TokenTree::Group(group) if after_hash && group.delimiter() == Delimiter::Bracket => {
                cfg_test |= group.stream().to_string().replace(' ', "") == "cfg(test)";
            }
            TokenTree::Group(group) => {
                let braces = group.delimiter() == Delimiter::Brace;
                let depth = at.depth + usize::from(after_mod && braces);
                walk(group.stream(), At { depth, test: at.test || cfg_test }, found);
                if braces {
                    (cfg_test, after_mod) = (false, false);
                }
            }
            TokenTree::Punct(mark) => {
                if mark.as_char() == ';' {
                    (cfg_test, after_mod) = (false, false);
                }
                after_hash = mark.as_char() == '#' || (after_hash && mark.as_char() == '!');
                continue;
            }
            TokenTree::Literal(_) => {}
        }
        after_hash = false;
    }
}

/// Reads on from `root` (`crate`, `super` or the crate's name) and notes the path or paths that start there.
fn follow(
    root: &str,
    line: usize,
    tokens: &mut Peekable<impl Iterator<Item = TokenTree>>,
    at: At,
    found: &mut Vec<Use>,
) {
    let mut climbed = usize::from(root == "super");
    let from_root = root != "super";
    let mut path: Vec<String> = Vec::new();
    while colons(tokens) {
        match tokens.next() {
            Some(TokenTree::Ident(word)) if word == "super" => climbed += 1,
            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
            Some(TokenTree::Group(group)) => {
                if from_root || climbed >= at.depth {
                    branches(group.stream(), &path, at.test, found);
                } else {
                    walk(group.stream(), at, found);
                }
                return;
            }
            Some(TokenTree::Punct(star)) if star.as_char() == '*' && path.is_empty() => path.push("*".to_owned()),
            _ => break,
        }
    }
    if !path.is_empty() && (from_root || climbed >= at.depth) {
        found.push(Use { line, path: path.join("::"), test: at.test });
    }
}

/// The alternatives of `{a::b, c::{d, e}}` below `stem`.
fn branches(tokens: TokenStream, stem: &[String], test: bool, found: &mut Vec<Use>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut path = stem.to_vec();
    let mut line = None;
    // `a as b`: what follows `as` is no part of the path.
    let mut renamed = false;
    loop {
        match tokens.next() {
            Some(TokenTree::Ident(word)) if word == "as" => renamed = true,
            Some(TokenTree::Ident(word)) if !renamed => {
                line.get_or_insert(word.span().start().line);
                path.push(word.to_string());
            }
            Some(TokenTree::Group(group)) => {
                branches(group.stream(), &path, test, found);
                line = None;
            }
            Some(TokenTree::Punct(mark)) if mark.as_char() != ',' => {}
            Some(TokenTree::Ident(_) | TokenTree::Literal(_)) => {}
            end => {
                if let Some(line) = line.take() {
                    found.push(Use { line, path: path.join("::"), test });
                }
                if end.is_none() {
                    return;
                }
                path = stem.to_vec();
                renamed = false;
            }
        }
    }
}

/// Takes `::`, if it comes next.
fn colons(tokens: &mut Peekable<impl Iterator<Item = TokenTree>>) -> bool {
    let colon = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ':');
    tokens.next_if(colon).is_some() && tokens.next_if(colon).is_some()
}

/// Where `file`, relative to `src`, stands: its room, how deep its module is, whether it is a file of tests.
fn place(file: &str) -> (String, usize, bool) {
    let stem = file.strip_suffix(".rs").expect("a Rust file");
    let mut parts: Vec<&str> = stem.split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    let test = parts.iter().skip(1).any(|part| *part == "tests");
    let depth = if matches!(parts[..], ["lib" | "main"]) { 0 } else { parts.len() };
    (parts[0].to_owned(), depth, test)
}

/// What is wrong with `file`; nothing, if all is well.
fn check(file: &str, source: &str) -> Vec<String> {
    let (room, depth, test) = place(file);
    let Some(row) = row_of(&room) else { return vec![format!("src/{file}: the room {room} is in no layer yet")] };
    let mut wrong = Vec::new();
    for Use { line, path, test } in uses(source, depth, test) {
        let first = path.split("::").next().unwrap_or_default();
        if first == "*" {
            wrong.push(format!("src/{file}:{line} (layer {}) uses the whole crate", row.layer));
        }
        // A name that is no room is an item of the root or, under `super`, of the room itself.
        let Some(target) = row_of(first) else { continue };
        let within = |allowed: &str| path == *allowed || path.starts_with(&format!("{allowed}::"));
        let free = target.room == room || row.uses.iter().copied().flatten().any(|allowed| within(allowed));
        let tried = test && (first == "lab" || room == "lab");
        if !free && !tried {
            let (layer, other) = (row.layer, target.layer);
            wrong.push(format!("src/{file}:{line} (layer {layer}) uses crate::{path} (layer {other})"));
        }
    }
    wrong
}

fn files(folder: &Path, into: &mut BTreeSet<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.insert(path);
        }
    }
}

#[test]
fn a_file_uses_only_what_its_layer_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    files(&src, &mut found);
    assert!(found.len() > 20, "only {} files under {}", found.len(), src.display());
    let mut wrong = Vec::new();
    for path in found {
        let file = path.strip_prefix(&src).expect("it was found there").to_str().expect("our names are ASCII");
        wrong.extend(check(file, &fs::read_to_string(&path).expect("a readable file")));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_table_points_down() {
    let rank = |room: &str| TABLE.iter().position(|row| row.room == room).expect("every name is a room");
    for row in TABLE.iter().filter(|row| !matches!(row.room, "cli" | "main")) {
        for allowed in row.uses.iter().copied().flatten() {
            let room = allowed.split("::").next().expect("a name");
            assert!(rank(room) < rank(row.room), "{} may use {allowed}, which is above it", row.room);
        }
    }
}

#[test]
fn the_check_finds_what_it_is_for() {
    let wrong = |file: &str, source: &str, expected: &[&str]| assert_eq!(check(file, source), expected, "{source}");
    let one = |file: &str, source: &str, path: &str, layers: (&str, &str)| {
        let message = format!("src/{file}:1 (layer {}) uses crate::{path} (layer {})", layers.0, layers.1);
        wrong(file, source, &[&message]);
    };
    // However the path is written.
    one("wait.rs", "use crate::steps;", "steps", ("0", "4"));
    one("pve/vm.rs", "use crate::{event::Event, talos::{client as c}};", "talos::client", ("2", "2"));
    one("pve/vm.rs", "fn f() -> crate::plan::Plan { todo() }", "plan::Plan", ("2", "5"));
    one("pve/vm.rs", "fn f(p: &crate::plan::Plan, q: u8) {}", "plan::Plan", ("2", "5"));
    one("pve/vm.rs", "fn f() { vec![g(&crate::plan::draft())]; }", "plan::draft", ("2", "5"));
    one("report/mod.rs", "use super::engine::run;", "engine::run", ("7", "6"));
    one("report/live.rs", "use super::super::{wait, event};", "wait", ("7", "0"));
    one("report/live.rs", "mod inner { use super::super::super::wait::until; }", "wait::until", ("7", "0"));
    one("steps/mod.rs", "pub(crate) use crate::lab as somewhere;", "lab", ("4", "beside"));
    one("main.rs", "fn main() { pvetalos::engine::run() }", "engine::run", ("top", "6"));
    // Only a part of a room.
    one("lab/talos/mod.rs", "use crate::talos::client::Client;", "talos::client::Client", ("beside", "2"));
    one("talos/client.rs", "use crate::secrets::Provider;", "secrets::Provider", ("2", "1"));
    wrong("lab/talos/mod.rs", "use crate::{secrets::Secret, talos::wire::Version};", &[]);
    // Test code.
    one("pve/vm.rs", "#[cfg(test)] mod tests { use crate::plan; }", "plan", ("2", "5"));
    one("pve/vm.rs", "#[cfg(test)] mod tests { use super::*; } use crate::lab;", "lab", ("2", "beside"));
    one("pve/vm.rs", "#[cfg(test)] mod tests; mod a { use crate::lab; }", "lab", ("2", "beside"));
    wrong("pve/vm.rs", "#[cfg(test)] #[derive(X)] mod tests { fn f() { crate::lab::start() } }", &[]);
    wrong("lab/pve/tests.rs", "use crate::pve::client;", &[]);
    // What is no use.
    wrong("wait.rs", "//! See [`crate::steps`].\n// crate::steps\nconst A: &str = \"crate::steps\";", &[]);
    wrong("report/live.rs", "use super::{engine, text}; use super::engine::x; pub(super) fn f() {}", &[]);
    wrong("report/live.rs", "mod tests { use super::*; use super::super::engine; } use report::crate_name;", &[]);
    wrong("steps/mod.rs", "use crate::{discovery::Method, inventory::{Fact, Inventory}, pve};", &[]);
    wrong("wait.rs", "use super::*;", &["src/wait.rs:1 (layer 0) uses the whole crate"]);
    wrong("wait.rs", "mod tests { use super::*; }", &[]);
    wrong("novel/mod.rs", "", &["src/novel/mod.rs: the room novel is in no layer yet"]);
    // Each alternative has its own line.
    let message = "src/plan/mod.rs:3 (layer 5) uses crate::engine::journal (layer 6)";
    wrong("plan/mod.rs", "use crate::{\n    steps,\n    engine::journal,\n};", &[message]);
}
