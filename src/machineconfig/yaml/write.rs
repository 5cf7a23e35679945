//! From a tree to text, as Talos writes it: indent 4, items of a list indented below their key, keys in the order given.
//!
//! A writer of our own, because people read these files and compare them with `talosctl`'s: a general one quotes every
//! address to be safe. The form is that of the encoder of Talos 1.14 (go-yaml v4.0.0-rc.6), byte for byte but for three
//! corrections, where Go's own reader or another would misread what Go writes: the indentation indicator of a block
//! counts from the parent, Unicode line breaks are escaped, and what only other readers of YAML 1.1 resolve is quoted.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::quote::{self, Style};

const INDENT: usize = 4;
/// A longer key goes on a `?` line of its own.
const LONGEST_KEY: usize = 128;

/// Writes one document. It ends with a line break and has no `---`.
pub(in crate::machineconfig) fn emit(value: &Value) -> String {
    let mut writer = Writer { out: String::with_capacity(1024) };
    match value {
        Value::Object(map) if !map.is_empty() => writer.map(map, 0),
        Value::Array(items) if !items.is_empty() => writer.list(items, 0),
        Value::String(text) if text.contains('\n') => {
            quote::double(text, &mut writer.out);
            writer.out.push('\n');
        }
        scalar => writer.scalar(scalar, 0, 0),
    }
    writer.out
}

/// Where a value stands: a map or list begins on the next line, or on this one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// `key:`
    Key,
    /// `-`, or the `:` of a long key
    Sign,
}

struct Writer {
    out: String,
}

impl Writer {
    fn pad(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n(' ', columns));
    }

    /// The cursor is where the first key begins; each further one is at `indent`.
    fn map(&mut self, map: &Map<String, Value>, indent: usize) {
        // In a list a map begins after the dash, at an odd place; what is below it goes to the grid again.
        let inner = (indent / INDENT + 1) * INDENT;
        for (index, (key, value)) in map.iter().enumerate() {
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

    fn list(&mut self, items: &[Value], indent: usize) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.pad(indent);
            }
            self.out.push('-');
            self.value(item, indent, indent + 2, After::Sign);
        }
    }

    /// A value within something at `indent`; what it spans of further lines is at `inner`.
    fn value(&mut self, value: &Value, indent: usize, inner: usize, after: After) {
        let nests = match value {
            Value::Object(map) => !map.is_empty(),
            Value::Array(items) => !items.is_empty(),
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
            Value::Object(map) => self.map(map, inner),
            Value::Array(items) => self.list(items, inner),
            _ => {}
        }
    }

    fn key(&mut self, key: &str) {
        match quote::style(key) {
            // A key is one line.
            Style::Literal => quote::double(key, &mut self.out),
            style => self.text(key, style),
        }
    }

    /// What nests nothing, and the line break after it.
    fn scalar(&mut self, value: &Value, indent: usize, inner: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Value::Number(number) => self.number(number),
            Value::Array(_) => self.out.push_str("[]"),
            Value::Object(_) => self.out.push_str("{}"),
            Value::String(text) => match quote::style(text) {
                Style::Literal => return self.literal(text, indent, inner),
                style => self.text(text, style),
            },
        }
        self.out.push('\n');
    }

    fn text(&mut self, text: &str, style: Style) {
        match style {
            Style::Plain => self.out.push_str(text),
            Style::Single => quote::single(text, &mut self.out),
            Style::Double | Style::Literal => quote::double(text, &mut self.out),
        }
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

    /// Go's shortest form, but that a whole number which is a float keeps saying so.
    fn number(&mut self, number: &Number) {
        let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return self.display(number) };
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').expect("Rust's scientific form has an exponent");
        let exponent: i32 = exponent.parse().expect("Rust's exponent is an integer");
        if (-4..6).contains(&exponent) {
            self.display(format_args!("{float:?}"));
        } else {
            let sign = if exponent < 0 { '-' } else { '+' };
            self.display(format_args!("{digits}e{sign}{:02}", exponent.abs()));
        }
    }

    fn display(&mut self, what: impl std::fmt::Display) {
        write!(self.out, "{what}").expect("a String accepts every write");
    }
}
