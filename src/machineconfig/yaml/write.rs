//! From a tree to text, as Talos writes it: indent 4, items of a list indented below their key, keys in the order given.
//!
//! A writer of our own, because people read these files and compare them with `talosctl`'s: a general one quotes every
//! address to be safe. The form is that of the encoder of Talos 1.14 (go-yaml v4.0.0-rc.6), byte for byte but for three
//! corrections, where Go's own reader or another would misread what Go writes: the indentation indicator of a block
//! counts from the parent, Unicode line breaks are escaped, and what only other readers of YAML 1.1 resolve is quoted.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use super::Tree;
use super::quote::{self, Style};

const INDENT: usize = 4;
/// A longer key goes on a `?` line of its own.
const LONGEST_KEY: usize = 128;

/// Writes one document. It ends with a line break and has no `---`.
pub(in crate::machineconfig) fn emit(value: &Value) -> String {
    let mut out = String::with_capacity(1024);
    document(&Tree::of(value), &mut out);
    out
}

/// Several documents in one text, `---` between them.
pub(in crate::machineconfig) fn joined<'a>(trees: impl Iterator<Item = Tree<'a>>) -> String {
    let mut out = String::with_capacity(8 << 10);
    for tree in trees {
        out.push_str(if out.is_empty() { "" } else { "---\n" });
        document(&tree, &mut out);
    }
    out
}

fn document(tree: &Tree<'_>, out: &mut String) {
    let mut writer = Writer { out };
    match tree {
        Tree::Map(entries) if !entries.is_empty() => writer.map(entries, 0),
        Tree::List(items) if !items.is_empty() => writer.list(items, 0),
        Tree::Text(text) if text.contains('\n') => {
            quote::double(text, writer.out);
            writer.out.push('\n');
        }
        scalar => writer.scalar(scalar, 0, 0),
    }
}

/// A number in Go's shortest form.
pub(super) fn number(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').expect("Rust's scientific form has an exponent");
    let exponent: i32 = exponent.parse().expect("Rust's exponent is an integer");
    if (-4..6).contains(&exponent) {
        float.to_string()
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

/// Where a value stands: a map or list begins on the next line, or on this one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// `key:`
    Key,
    /// `-`, or the `:` of a long key
    Sign,
}

struct Writer<'a> {
    out: &'a mut String,
}

impl Writer<'_> {
    fn pad(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n(' ', columns));
    }

    /// The cursor is where the first key begins; each further one is at `indent`.
    fn map(&mut self, entries: &[(&str, Tree<'_>)], indent: usize) {
        // In a list a map begins after the dash, at an odd place; what is below it goes to the grid again.
        let inner = (indent / INDENT + 1) * INDENT;
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                self.pad(indent);
            }
            if key.len() <= LONGEST_KEY {
                self.key(key);
                self.out.push(':');
                self.value(value, indent, inner, After::Key);
            } else {
                self.out.push_str("? ");
                self.key(key);
                self.out.push('\n');
                self.pad(indent);
                self.out.push(':');
                self.value(value, indent, inner, After::Sign);
            }
        }
    }

    fn list(&mut self, items: &[Tree<'_>], indent: usize) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.pad(indent);
            }
            self.out.push('-');
            self.value(item, indent, indent + 2, After::Sign);
        }
    }

    /// A value within something at `indent`; what it spans of further lines is at `inner`.
    fn value(&mut self, value: &Tree<'_>, indent: usize, inner: usize, after: After) {
        let nests = match value {
            Tree::Map(entries) => !entries.is_empty(),
            Tree::List(items) => !items.is_empty(),
            _ => false,
        };
        if !nests {
            self.out.push(' ');
            return self.scalar(value, indent, inner);
        }
        if after == After::Key {
            self.out.push('\n');
            self.pad(inner);
        } else {
            self.pad(inner - indent - 1);
        }
        match value {
            Tree::Map(entries) => self.map(entries, inner),
            Tree::List(items) => self.list(items, inner),
            _ => {}
        }
    }

    fn key(&mut self, key: &str) {
        quote::key(key, self.out);
    }

    /// What nests nothing, and the line break after it.
    fn scalar(&mut self, value: &Tree<'_>, indent: usize, inner: usize) {
        match value {
            Tree::Null => self.out.push_str("null"),
            Tree::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Tree::Number(number) => self.number(number),
            Tree::Octal(mode) => self.display(format_args!("0o{mode:o}")),
            Tree::List(_) => self.out.push_str("[]"),
            Tree::Map(_) => self.out.push_str("{}"),
            Tree::Time(text) => self.out.push_str(text),
            Tree::Text(text) => match quote::style(text) {
                Style::Literal => return self.literal(text, indent, inner),
                style => self.text(text, style),
            },
        }
        self.out.push('\n');
    }

    fn text(&mut self, text: &str, style: Style) {
        quote::write(text, style, self.out);
    }

    fn literal(&mut self, text: &str, indent: usize, inner: usize) {
        self.out.push('|');
        if text.trim_start_matches('\n').starts_with([' ', '\t']) {
            // Readers take the blanks of the first line for indentation, unless they are told. Go writes 4 here even
            // where it indents by 2, and nothing for a tab, which it then refuses to read.
            self.display(inner - indent);
        }
        match text.strip_suffix('\n') {
            None => self.out.push('-'),
            Some(rest) if rest.ends_with('\n') => self.out.push('+'),
            Some(_) => {}
        }
        self.out.push('\n');
        for line in text.split_inclusive('\n') {
            if line != "\n" {
                self.pad(inner);
            }
            self.out.push_str(line);
        }
        if !text.ends_with('\n') {
            self.out.push('\n');
        }
    }

    /// As [`number`], but that a whole number which is a float keeps saying so.
    fn number(&mut self, value: &Number) {
        let text = number(value);
        self.out.push_str(&text);
        if value.is_f64() && !text.contains(['.', 'e']) {
            self.out.push_str(".0");
        }
    }

    fn display(&mut self, what: impl std::fmt::Display) {
        write!(self.out, "{what}").expect("a String accepts every write");
    }
}
