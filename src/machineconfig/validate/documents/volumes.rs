//! Volume documents, and how far CEL expressions are judged without a CEL engine.

use serde_json::Value;

use crate::machineconfig::go;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::validate::{Findings, at, list, number, text};

pub(super) fn check(kind: &str, name: &str, tree: &Value, minor: &Minor, found: &mut Findings) {
    if kind == "VolumeConfig" {
        if !minor.system_volumes.contains(&name) {
            let names: Vec<String> = minor.system_volumes.iter().map(|name| format!("{name:?}")).collect();
            found.error(format!("only [{}] volumes are supported", names.join(" ")));
        }
    } else {
        user_name(name, found);
    }
    let selector = |path: &[&str]| at(tree, path).and_then(Value::as_str).filter(|cel| !cel.is_empty());
    match kind {
        "ExistingVolumeConfig" => match selector(&["discovery", "volumeSelector", "match"]) {
            None => found.error("volume selector is required"),
            Some(cel) => judge(cel, "volume selector", found),
        },
        "VolumeConfig" => {
            if let Some(cel) = selector(&["provisioning", "diskSelector", "match"]) {
                judge(cel, "disk selector", found);
            }
            sizes(tree, false, found);
        }
        _ if text(tree, "volumeType") == "directory" => {}
        _ => {
            match selector(&["provisioning", "diskSelector", "match"]) {
                None if text(tree, "volumeType") != "disk" || kind != "UserVolumeConfig" => {
                    found.error("disk selector is required");
                }
                None => {}
                Some(cel) => judge(cel, "disk selector", found),
            }
            sizes(tree, true, found);
        }
    }
    encryption(tree, found);
}

fn user_name(name: &str, found: &mut Findings) {
    if !(1..=34).contains(&name.len()) {
        found.error("name must be between 1 and 34 characters long");
    }
    found.check(
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "name can only contain lowercase and uppercase ASCII letters, digits, and hyphens",
    );
}

fn sizes(tree: &Value, required: bool, found: &mut Findings) {
    let size = |key| at(tree, &["provisioning", key]).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (least, most) = (size("minSize"), size("maxSize"));
    found.check(!required || least.is_some() || most.is_some(), "min size or max size is required");
    if let (Some(least), Some(most)) = (least.and_then(go::size), most.and_then(go::size)) {
        found.check(least <= most, "min size is greater than max size");
    }
}

fn encryption(tree: &Value, found: &mut Findings) {
    let Some(config) = tree.get("encryption").filter(|config| config.as_object().is_some_and(|map| !map.is_empty()))
    else {
        return;
    };
    let keys = list(config, "keys");
    found.check(!keys.is_empty(), "encryption keys are required");
    let mut slots = Vec::new();
    for key in keys {
        let slot = number(key, "slot");
        found.check(!slots.contains(&slot), format!("duplicate key slot {slot}"));
        slots.push(slot);
        found.check(
            ["nodeID", "static", "kms", "tpm"].iter().any(|kind| key.get(kind).is_some()),
            format!("at least one encryption key type must be specified for slot {slot}"),
        );
    }
}

fn judge(cel: &str, what: &str, found: &mut Findings) {
    if let Some(why) = cel_problem(cel) {
        found.error(format!("{what} is invalid: {why}"));
    }
}

/// What is obviously wrong with a CEL expression: quotes and brackets that do not close, an operator at the end.
/// Names and types are for the machine to judge.
pub(super) fn cel_problem(cel: &str) -> Option<String> {
    let mut open = Vec::new();
    let mut quote = None;
    let mut symbols = cel.char_indices();
    while let Some((at, symbol)) = symbols.next() {
        match (quote, symbol) {
            (Some(_), '\\') => {
                symbols.next();
            }
            (Some(mark), _) if mark == symbol => quote = None,
            (None, '"' | '\'') => quote = Some(symbol),
            (None, '(' | '[' | '{') => open.push(symbol),
            (None, ')' | ']' | '}') => {
                let pair = match symbol {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.pop() != Some(pair) {
                    return Some(format!("syntax error: unexpected {symbol:?} at column {}", at + 1));
                }
            }
            _ => {}
        }
    }
    let cut_off = cel.trim_end().ends_with(['=', '<', '>', '&', '|', '+', '-', '*', '/', '%', '!', '.', ',', '?', ':']);
    if quote.is_some() || !open.is_empty() || cut_off {
        return Some("syntax error: the expression ends too early".to_owned());
    }
    None
}
