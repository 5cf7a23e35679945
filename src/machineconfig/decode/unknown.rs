//! Unknown keys, shown the way Talos shows them: a YAML tree of nothing but the unknown.

use super::Unknown;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::yaml::{self, Data, Node, Notes, Style};

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

const BLANK: [char; 2] = [' ', '\t'];

struct Writer<'a> {
    minor: &'a Minor,
    text: String,
}

impl Writer<'_> {
    /// What Talos collects is a Go map, written in the order of its keys.
    fn sorted(&self, mut entries: Unknown) -> Entries {
        entries.sort_by(|(a, _), (b, _)| yaml::natural(a, b));
        // It collects values: what was noted about their keys is lost.
        let bare = |mut tree: Tree| {
            if let Tree::Leaf(Node { notes: Some(notes), .. }) = &mut tree {
                (notes.above, notes.behind_key) = (Vec::new(), None);
            }
            tree
        };
        entries.into_iter().map(|(key, tree)| (self.key(&key), bare(tree))).collect()
    }

    /// `deeper` is where what is below an entry begins: behind a dash that is not four columns after the keys.
    fn map(&mut self, entries: Entries, indent: usize, deeper: usize) {
        for (key, tree) in entries {
            self.above(&tree, indent);
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
            Tree::Leaf(node) if is_block(&node) => {
                self.properties(&node);
                if let Some(comment) = node.notes.as_ref().and_then(|notes| notes.behind_key.as_deref()) {
                    self.spaced(comment);
                }
                match node.data {
                    Data::Map(entries) => {
                        self.text.push('\n');
                        self.map(leaves(entries), indent, indent + 4);
                    }
                    Data::List(items) => self.list(items.into_iter().map(Tree::Leaf).collect(), indent),
                    Data::Scalar { text: own, .. } => {
                        let behind = node.notes.as_ref().and_then(|notes| notes.behind.as_deref());
                        self.block(&own, &node.style, behind, indent);
                    }
                }
            }
            Tree::Leaf(node) => {
                let before = self.text.len();
                self.flow(&node);
                if self.text.len() > before {
                    self.text.insert(before, ' ');
                }
                if let Some(comment) = node.notes.as_ref().and_then(|notes| notes.behind.as_deref()) {
                    self.spaced(comment);
                }
                self.text.push('\n');
            }
        }
    }

    fn list(&mut self, items: Vec<Tree>, indent: usize) {
        self.text.push('\n');
        for item in items {
            self.above(&item, indent);
            self.text.push_str(&" ".repeat(indent));
            self.text.push('-');
            self.inline(item, indent);
        }
    }

    /// What follows a dash: a mapping or a list begins on the dash's own line.
    fn inline(&mut self, tree: Tree, indent: usize) {
        let before = self.text.len();
        match tree {
            Tree::Leaf(Node { data: Data::Map(entries), style: Style::Usual, mark: None, notes, .. })
                if !entries.is_empty() && !has_anchor(notes.as_deref()) =>
            {
                self.map(leaves(entries), indent + 2, indent + 4);
            }
            Tree::Leaf(Node { data: Data::List(items), style: Style::Usual, mark: None, notes, .. })
                if !items.is_empty() && !has_anchor(notes.as_deref()) =>
            {
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

    /// A comment, one blank behind whatever is before it.
    fn spaced(&mut self, text: &str) {
        self.text.push(' ');
        self.text.push_str(text);
    }

    fn above(&mut self, tree: &Tree, indent: usize) {
        let Tree::Leaf(Node { notes: Some(notes), .. }) = tree else { return };
        for comment in &notes.above {
            self.text.push_str(&" ".repeat(indent));
            self.text.push_str(comment);
            self.text.push('\n');
        }
    }

    /// The anchor and the tag of what is not in one line.
    fn properties(&mut self, node: &Node) {
        if let Some(anchor) = node.notes.as_ref().and_then(|notes| notes.anchor.as_deref()) {
            self.spaced(&format!("&{anchor}"));
        }
        if let Some(mark) = &node.mark {
            self.spaced(mark);
        }
    }

    fn block(&mut self, own: &str, style: &Style, behind: Option<&str>, indent: usize) {
        self.text.push_str(if *style == Style::Literal { " |" } else { " >" });
        self.text.push_str(if own.starts_with([' ', '\n']) { "4" } else { "" });
        let body = own.strip_suffix('\n').unwrap_or(own);
        self.text.push_str(match own.len() - body.len() {
            0 => "-",
            _ if body.is_empty() || body.ends_with('\n') => "+",
            _ => "",
        });
        if let Some(comment) = behind {
            self.spaced(comment);
        }
        self.text.push('\n');
        let folds = !own.trim_start_matches('\n').starts_with(BLANK);
        let lines: Vec<&str> = body.split('\n').collect();
        for (at, line) in lines.iter().enumerate() {
            if !line.is_empty() {
                self.text.push_str(&" ".repeat(indent));
            }
            self.text.push_str(line);
            self.text.push('\n');
            // A fold is a blank where it stands between two lines, so a break is two; the writer asks for a blank in
            // the wrong place, and so has a blank line at the end as well.
            let broken = at + 1 < lines.len() || own.len() > body.len();
            if *style == Style::Folded && broken && !line.is_empty() && !line.starts_with(BLANK) && folds {
                self.text.push('\n');
            }
        }
    }

    fn flow(&mut self, node: &Node) {
        if let Some(anchor) = node.notes.as_ref().and_then(|notes| notes.anchor.as_deref()) {
            self.text.push('&');
            self.text.push_str(anchor);
            self.text.push(' ');
        }
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
                    self.flow_item(item);
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
                        self.flow_item(value);
                    }
                }
                self.text.push('}');
            }
        }
    }

    /// Between brackets nothing at all is a text.
    fn flow_item(&mut self, node: &Node) {
        match &node.data {
            Data::Scalar { text, .. } if text.is_empty() && node.style == Style::Usual => self.text.push_str("''"),
            _ => self.flow(node),
        }
    }
}

/// What takes lines of its own.
fn is_block(node: &Node) -> bool {
    match (&node.style, &node.data) {
        (Style::Usual, Data::Map(entries)) => !entries.is_empty(),
        (Style::Usual, Data::List(items)) => !items.is_empty(),
        (Style::Literal | Style::Folded, Data::Scalar { .. }) => true,
        _ => false,
    }
}

fn has_anchor(notes: Option<&Notes>) -> bool {
    notes.is_some_and(|notes| notes.anchor.is_some())
}
