//! Unknown keys, shown the way Talos shows them: a YAML tree of nothing but the unknown, keys sorted.

use super::Unknown;
use crate::machineconfig::yaml::{Data, Node};

pub(in crate::machineconfig) enum Tree {
    Leaf(Node),
    Map(Unknown),
    List(Vec<Tree>),
}

/// Collects what one value holds of unknown keys: by key of a mapping, or by element of a list.
#[derive(Default)]
pub(super) struct Below {
    map: Unknown,
    list: Vec<Tree>,
}

impl Below {
    pub(super) fn map(&mut self) -> &mut Unknown {
        &mut self.map
    }

    pub(super) fn item(&mut self, item: Self) {
        self.list.extend(item.tree());
    }

    pub(super) fn tree(self) -> Option<Tree> {
        if !self.map.is_empty() {
            Some(Tree::Map(self.map))
        } else if self.list.is_empty() {
            None
        } else {
            Some(Tree::List(self.list))
        }
    }
}

pub(super) fn render(unknown: Unknown) -> String {
    let mut text = String::new();
    map(unknown, 0, 4, &mut text);
    text
}

/// `deeper` is where what is below an entry begins: behind a dash that is not four columns after the keys.
fn map(mut entries: Unknown, indent: usize, deeper: usize, text: &mut String) {
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (key, tree) in entries {
        text.push_str(&" ".repeat(indent));
        self::key(&key, text);
        text.push(':');
        below(tree, deeper, text);
    }
}

fn below(tree: Tree, indent: usize, text: &mut String) {
    match tree {
        Tree::Map(entries) => {
            text.push('\n');
            map(entries, indent, indent + 4, text);
        }
        Tree::List(items) => {
            text.push('\n');
            for item in items {
                text.push_str(&" ".repeat(indent));
                text.push('-');
                inline(item, indent, text);
            }
        }
        Tree::Leaf(node) if node.alias.is_some() => {
            text.push(' ');
            flow(&node, text);
            text.push('\n');
        }
        Tree::Leaf(node) => match node.data {
            Data::Map(entries) if !node.flow && !entries.is_empty() => {
                below(Tree::Map(leaves(entries)), indent, text);
            }
            Data::List(items) if !node.flow && !items.is_empty() => {
                below(Tree::List(items.into_iter().map(Tree::Leaf).collect()), indent, text);
            }
            _ => {
                text.push(' ');
                flow(&node, text);
                text.push('\n');
            }
        },
    }
}

/// What follows a dash: a mapping begins on the dash's own line.
fn inline(tree: Tree, indent: usize, text: &mut String) {
    let mut inner = String::new();
    match tree {
        Tree::Leaf(Node { data: Data::Map(entries), flow: false, .. }) if !entries.is_empty() => {
            map(leaves(entries), indent + 2, indent + 4, &mut inner);
        }
        Tree::Map(entries) => map(entries, indent + 2, indent + 4, &mut inner),
        other => return below(other, indent + 2, text),
    }
    text.push(' ');
    text.push_str(inner.trim_start());
}

fn key(key: &str, text: &mut String) {
    if key.is_empty() { text.push_str("\"\"") } else { text.push_str(key) }
}

fn leaves(entries: Vec<(String, Node)>) -> Unknown {
    entries.into_iter().map(|(key, node)| (key, Tree::Leaf(node))).collect()
}

fn flow(node: &Node, text: &mut String) {
    if let Some(alias) = &node.alias {
        return text.push_str(alias);
    }
    match &node.data {
        Data::Scalar { text: own, plain: true } => text.push_str(own),
        Data::Scalar { text: own, plain: false } => text.push_str(&serde_json::Value::from(own.as_str()).to_string()),
        Data::List(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                flow(item, text);
            }
            text.push(']');
        }
        Data::Map(entries) => {
            text.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                text.push_str(key);
                text.push_str(": ");
                flow(value, text);
            }
            text.push('}');
        }
    }
}
