//! Unknown keys, shown the way Talos shows them: a YAML tree of nothing but the unknown.

use super::Unknown;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::yaml::{self, Data, Node, Style};

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

pub(super) fn render(unknown: Unknown, minor: &Minor) -> String {
    let mut writer = Writer { minor, text: String::new() };
    let entries = writer.sorted(unknown);
    writer.map(entries, 0, 4);
    writer.text
}

/// Keys as they are written, and what is below them.
type Entries = Vec<(String, Tree)>;

/// What is below an unknown key stays as it was.
fn leaves(entries: Vec<(String, Node)>) -> Entries {
    let leaf = |(key, node): (String, Node)| {
        let mut shown = String::new();
        match node.key {
            Style::Single => yaml::single(&key, &mut shown),
            Style::Double => yaml::double(&key, &mut shown),
            _ => shown = key,
        }
        (shown, Tree::Leaf(node))
    };
    entries.into_iter().map(leaf).collect()
}

struct Writer<'a> {
    minor: &'a Minor,
    text: String,
}

impl Writer<'_> {
    /// What Talos collects is a Go map, written in the order of its keys.
    fn sorted(&self, mut entries: Unknown) -> Entries {
        entries.sort_by(|(a, _), (b, _)| yaml::natural(a, b));
        entries.into_iter().map(|(key, tree)| (self.key(&key), tree)).collect()
    }

    /// `deeper` is where what is below an entry begins: behind a dash that is not four columns after the keys.
    fn map(&mut self, entries: Entries, indent: usize, deeper: usize) {
        for (key, tree) in entries {
            self.text.push_str(&" ".repeat(indent));
            self.text.push_str(&key);
            self.text.push(':');
            self.below(tree, deeper);
        }
    }

    fn below(&mut self, tree: Tree, indent: usize) {
        match tree {
            Tree::Map(entries) => {
                self.text.push('\n');
                let entries = self.sorted(entries);
                self.map(entries, indent, indent + 4);
            }
            Tree::List(items) => self.list(items, indent),
            Tree::Leaf(Node { style: Style::Usual, mark: None, data: Data::Map(entries), .. })
                if !entries.is_empty() =>
            {
                self.text.push('\n');
                self.map(leaves(entries), indent, indent + 4);
            }
            Tree::Leaf(Node { style: Style::Usual, mark: None, data: Data::List(items), .. }) if !items.is_empty() => {
                self.list(items.into_iter().map(Tree::Leaf).collect(), indent);
            }
            Tree::Leaf(Node {
                style: style @ (Style::Literal | Style::Folded),
                data: Data::Scalar { text: own, .. },
                ..
            }) => {
                self.block(&own, &style, indent);
            }
            Tree::Leaf(node) => {
                let before = self.text.len();
                self.flow(&node);
                if self.text.len() > before {
                    self.text.insert(before, ' ');
                }
                self.text.push('\n');
            }
        }
    }

    fn list(&mut self, items: Vec<Tree>, indent: usize) {
        self.text.push('\n');
        for item in items {
            self.text.push_str(&" ".repeat(indent));
            self.text.push('-');
            self.inline(item, indent);
        }
    }

    /// What follows a dash: a mapping or a list begins on the dash's own line.
    fn inline(&mut self, tree: Tree, indent: usize) {
        let before = self.text.len();
        match tree {
            Tree::Leaf(Node { data: Data::Map(entries), style: Style::Usual, .. }) if !entries.is_empty() => {
                self.map(leaves(entries), indent + 2, indent + 4);
            }
            Tree::Leaf(Node { data: Data::List(items), style: Style::Usual, .. }) if !items.is_empty() => {
                self.list(items.into_iter().map(Tree::Leaf).collect(), indent + 2);
            }
            Tree::Map(entries) => {
                let entries = self.sorted(entries);
                self.map(entries, indent + 2, indent + 4);
            }
            Tree::List(items) => self.list(items, indent + 2),
            other @ Tree::Leaf(_) => return self.below(other, indent + 2),
        }
        let inner = self.text.split_off(before);
        self.text.push(' ');
        self.text.push_str(inner.trim_start());
    }

    /// As the YAML writer of that Talos has it, which is not always our own.
    fn key(&self, key: &str) -> String {
        let mut text = String::new();
        match key {
            "=" => text.push_str(key),
            "<<" if !self.minor.errors_name_document => text.push_str(key),
            key if self.minor.lookalikes_in_double_quotes && yaml::looks_like_other(key) => {
                yaml::double(key, &mut text);
            }
            key => yaml::key(key, &mut text),
        }
        text
    }

    fn block(&mut self, own: &str, style: &Style, indent: usize) {
        self.text.push_str(if *style == Style::Literal { " |" } else { " >" });
        let lines = match own.strip_suffix('\n') {
            None => own,
            Some(rest) => rest,
        };
        self.text.push_str(if lines.len() == own.len() { "-" } else { "" });
        self.text.push('\n');
        for line in lines.split('\n') {
            if !line.is_empty() {
                self.text.push_str(&" ".repeat(indent));
            }
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn flow(&mut self, node: &Node) {
        if let Some(mark) = &node.mark {
            self.text.push_str(mark);
            if mark.contains(' ') {
                return;
            }
            self.text.push(' ');
        }
        match (&node.style, &node.data) {
            (Style::Alias(name), _) => {
                self.text.push('*');
                self.text.push_str(name);
            }
            (Style::Single, Data::Scalar { text: own, .. }) => yaml::single(own, &mut self.text),
            (Style::Usual, Data::Scalar { text: own, .. }) => self.text.push_str(own),
            (_, Data::Scalar { text: own, .. }) => yaml::double(own, &mut self.text),
            (_, Data::List(items)) => {
                self.text.push('[');
                for (at, item) in items.iter().enumerate() {
                    self.text.push_str(if at == 0 { "" } else { ", " });
                    self.flow(item);
                }
                self.text.push(']');
            }
            (_, Data::Map(entries)) => {
                self.text.push('{');
                for (at, (key, tree)) in leaves(entries.clone()).iter().enumerate() {
                    self.text.push_str(if at == 0 { "" } else { ", " });
                    self.text.push_str(key);
                    self.text.push_str(": ");
                    if let Tree::Leaf(value) = tree {
                        self.flow(value);
                    }
                }
                self.text.push('}');
            }
        }
    }
}
