//! From text to nodes: aliases and merge keys resolved, duplicate keys refused.
//!
//! Both the depth and the number of nodes are bounded, since a patch is whatever somebody wrote.
//!
//! The scanner is a port of libyaml, as is the one in Go: parsers of YAML 1.2 disagree with it on what people do write,
//! such as text between quotes that goes on further left, or a tab behind the last line.

use std::collections::HashMap;
use std::io::Read as _;

use base64::Engine as _;
use libyaml_safer::{Encoding, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};
use serde_json::Value;

use super::notes::{self, Notes};
use super::{Data, Node, Style, SyntaxError};

/// Deeper nesting than any configuration has; keeps recursion far from the end of the stack.
const MAX_DEPTH: usize = 100;
/// More nodes than any configuration has; stops alias bombs.
const MAX_NODES: usize = 200_000;

/// Every document of `text`; one that holds only comments is there as a null.
pub(in crate::machineconfig) fn documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let read = documents_at(text);
    let list: Vec<Node> = read.list.into_iter().map(|(_, node)| node).collect();
    let wrong = list.iter().find_map(Node::wrong).cloned();
    wrong.or(read.end).map_or(Ok(list), Err)
}

/// A text as far as it is YAML.
pub(in crate::machineconfig) struct Documents {
    /// Every document with the line at which it begins: that of its `---`, where it has one.
    pub(in crate::machineconfig) list: Vec<(usize, Node)>,
    /// Why there are no more. Talos looks at each document before it reads the next one, so what is wrong with those
    /// above comes first.
    pub(in crate::machineconfig) end: Option<SyntaxError>,
}

pub(in crate::machineconfig) fn documents_at(text: &str) -> Documents {
    // Positions are counted from behind it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new();
    parser.set_encoding(Encoding::Utf8);
    // The scanner wants a line's end behind every line.
    let end: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
    parser.set_input(text.as_bytes().chain(end));
    let mut reader = Reader {
        source: text,
        parser,
        before: 0,
        span: 0..0,
        item: None,
        anchors: HashMap::new(),
        open: Vec::new(),
        nodes: 0,
    };
    let mut list = Vec::new();
    let end = loop {
        match reader.document_at() {
            Ok(Some(document)) => list.push(document),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    Documents { list, end }
}

struct Reader<'a> {
    source: &'a str,
    /// Where the event before the last one ended in the source.
    before: usize,
    /// Where the last event stood.
    span: std::ops::Range<usize>,
    /// Where the last item of a list began.
    item: Option<usize>,
    parser: Parser<std::io::Chain<&'a [u8], &'static [u8]>>,
    /// By name, with the number of nodes. A document sees those of the documents before it, as in Go.
    anchors: HashMap<String, (Node, usize)>,
    /// The anchors of the nodes that are being read.
    open: Vec<Box<str>>,
    nodes: usize,
}

impl Reader<'_> {
    /// The next event and its line, from 1.
    fn next(&mut self) -> Result<(EventData, usize), SyntaxError> {
        // It has been seen to panic on a tag with a comma behind it, and on a text that ends in the middle of something.
        let parsed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.parser.parse()));
        let Ok(parsed) = parsed else {
            let line = self.source.get(..self.span.end).unwrap_or_default().lines().count().max(1);
            return Err(SyntaxError::Refused { line, what: "the scanner cannot go on behind this line" });
        };
        match parsed {
            Ok(event) => {
                self.before = self.span.end;
                self.span = number(event.start_mark.index)..number(event.end_mark.index);
                Ok((event.data, number(event.start_mark.line) + 1))
            }
            Err(error) => {
                let mark = error.problem_mark().unwrap_or_default();
                let (line, column) = (number(mark.line) + 1, number(mark.column) + 1);
                Err(SyntaxError::Scan { line, column, text: error.problem().to_owned() })
            }
        }
    }

    /// A block that goes on to the end of a text without a line's end there has none either.
    fn without_added_end(&self, mut text: String, style: &Style) -> String {
        let last = self.source.rsplit('\n').next().unwrap_or_default();
        let reaches = matches!(style, Style::Literal | Style::Folded) && self.span.end > self.source.len();
        if reaches && text.ends_with(if last.trim_matches(' ').is_empty() { "\n\n" } else { "\n" }) {
            text.pop();
        }
        text
    }

    fn document_at(&mut self) -> Result<Option<(usize, Node)>, SyntaxError> {
        loop {
            match self.next()? {
                (EventData::StreamEnd, _) => return Ok(None),
                (EventData::DocumentStart { version_directive, implicit, .. }, line) => {
                    // Go reads YAML 1.1 only, if a document says which it is.
                    if version_directive.is_some_and(|version| (version.major, version.minor) != (1, 1)) {
                        return Err(SyntaxError::Refused { line, what: "found incompatible YAML document" });
                    }
                    let (event, at) = self.next()?;
                    let node = self.node(event, at, 0)?;
                    return Ok(Some((if implicit { node.line } else { line }, node)));
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: EventData, line: usize, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(SyntaxError::Refused { line, what: "nested too deeply" });
        }
        let before = self.nodes;
        self.count(1, line)?;
        let (anchor, tag) = match &event {
            EventData::Scalar { anchor, tag, .. }
            | EventData::SequenceStart { anchor, tag, .. }
            | EventData::MappingStart { anchor, tag, .. } => (anchor.as_deref().map(Box::from), tag.as_deref()),
            _ => (None, None),
        };
        let mut notes = Notes { anchor, ..Notes::default() };
        if let Some(name) = &notes.anchor {
            // Nobody means the one that had the name before.
            self.anchors.remove(&**name);
            self.open.push(name.clone());
        }
        let (mut mark, mut merge, mut wrong) = (tag.map(shown), None, None);
        let (style, data) = match event {
            EventData::Alias { anchor: name } => {
                let Some((node, size)) = self.anchors.get(&name).cloned() else {
                    let known = self.open.iter().any(|open| **open == *name);
                    let what = if known { "an anchor contains itself" } else { "an alias has no anchor" };
                    return Err(SyntaxError::Refused { line, what });
                };
                self.count(size, line)?;
                notes.behind = notes::behind(self.source, self.span.end);
                return Ok(Node { line, style: Style::Alias(name.into()), mark: None, notes: notes.kept(), ..node });
            }
            EventData::Scalar { value: text, style, .. } => {
                let style = match style {
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                    _ => Style::Usual,
                };
                let text = self.without_added_end(text, &style);
                // libyaml knows this one from JSON, and Go does not.
                if style == Style::Double && has_escaped_slash(self.source.get(self.span.clone()).unwrap_or_default()) {
                    return Err(SyntaxError::Refused { line, what: "found unknown escape character" });
                }
                if mark.as_deref() == Some("!!binary") {
                    mark = Some(format!("!!binary {text}").into());
                }
                notes.behind = match style {
                    Style::Literal | Style::Folded => notes::behind_block(self.source, self.before),
                    _ => notes::behind(self.source, self.span.end),
                };
                let (text, plain) = tagged(text, style == Style::Usual, mark.as_deref()).unwrap_or_else(|text| {
                    wrong = Some(SyntaxError::Refused { line, what: "cannot decode a scalar as what its tag says" });
                    (text, false)
                });
                (style, Data::Scalar { text, plain })
            }
            EventData::SequenceStart { style, .. } => {
                (collection(style == SequenceStyle::Flow), Data::List(self.list(depth)?))
            }
            EventData::MappingStart { style, .. } => {
                let entries = self.map(depth, &mut merge, &mut wrong)?;
                (collection(style == MappingStyle::Flow), Data::Map(entries))
            }
            _ => return Err(SyntaxError::Refused { line, what: "an unexpected construct" }),
        };
        if style == Style::Flow {
            notes.behind = notes::behind(self.source, self.span.end);
        }
        let anchor = notes.anchor.clone();
        let node =
            Node { line, style, key: Style::Usual, mark, merge, notes: notes.kept(), wrong: wrong.map(Box::new), data };
        if let Some(name) = anchor {
            self.open.pop();
            self.anchors.insert(name.into(), (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(SyntaxError::Refused { line, what: "document contains excessive aliasing" });
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, SyntaxError> {
        let mut items = Vec::new();
        // A list in a block begins where its first item does.
        let mut opened = Some(self.before);
        loop {
            let (event, line) = self.next()?;
            if event == EventData::SequenceEnd {
                return Ok(items);
            }
            let from = opened.take().unwrap_or(self.before);
            let above = notes::above(self.source, from, self.span.start);
            self.item = Some(self.span.start);
            let mut item = self.node(event, line, depth + 1)?;
            item.noted(|notes| notes.above = above);
            items.push(item);
        }
    }

    fn map(
        &mut self,
        depth: usize,
        merge: &mut Option<Box<(usize, Node)>>,
        wrong: &mut Option<SyntaxError>,
    ) -> Result<Vec<(String, Node)>, SyntaxError> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut merged: Vec<(String, Node)> = Vec::new();
        let mut seen = Seen::default();
        // A mapping in a block begins where its first key does.
        let mut opened = Some(self.before);
        loop {
            let (event, line) = self.next()?;
            // What is above the first key of an item is above the item.
            let first = self.item.take() == Some(self.span.start);
            let from = opened.take().unwrap_or(self.before);
            let above = if first { Vec::new() } else { notes::above(self.source, from, self.span.start) };
            if event == EventData::MappingEnd {
                break;
            }
            let key = self.node(event, line, depth + 1)?;
            let behind = notes::behind_key(self.source, self.span.end);
            let (key_style, data) = (key.style, key.data);
            let Data::Scalar { text: key, plain } = data else {
                return Err(SyntaxError::Refused { line, what: "a mapping key has to be a scalar" });
            };
            let (event, at) = self.next()?;
            let mut value = Node { key: key_style, ..self.node(event, at, depth + 1)? };
            value.noted(|notes| (notes.above, notes.behind_key) = (above, behind));
            if plain && key == "<<" {
                *merge = Some(Box::new((0, value.clone())));
                if let Err(error) = merge_key(value, &mut merged) {
                    wrong.get_or_insert(error);
                }
            } else {
                if let Some(first) = seen.before(&entries, &key) {
                    wrong.get_or_insert_with(|| SyntaxError::DuplicateKey { line, key: key.clone(), first });
                }
                seen.add(&key, line);
                entries.push((key, value));
            }
        }
        if let Some(merge) = merge {
            merge.0 = entries.len();
        }
        for (key, value) in merged {
            if seen.before(&entries, &key).is_none() {
                seen.add(&key, value.line);
                entries.push((key, value));
            }
        }
        Ok(entries)
    }
}

/// Whether a text between double quotes has `\/` in it, which is not the end of `\\/`.
fn has_escaped_slash(quoted: &str) -> bool {
    let mut escaped = false;
    quoted.bytes().any(|byte| {
        let found = escaped && byte == b'/';
        escaped = !escaped && byte == b'\\';
        found
    })
}

/// A position. One that does not fit is in no text.
fn number(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn collection(flow: bool) -> Style {
    if flow { Style::Flow } else { Style::Usual }
}

/// `!!str` or `!own`.
fn shown(tag: &str) -> Box<str> {
    match tag.strip_prefix("tag:yaml.org,2002:") {
        Some(name) => format!("!!{name}").into(),
        None => tag.into(),
    }
}

/// A scalar as its tag wants it. One that Go does not know, `!!str` and `!!binary` make a text of it; the others say
/// that it is to be read like a plain one.
fn tagged(text: String, plain: bool, tag: Option<&str>) -> Result<(String, bool), String> {
    let as_plain = |ok: bool, text: String| if ok { Ok((text, true)) } else { Err(text) };
    match tag {
        None => Ok((text, plain)),
        Some("!!bool") => as_plain(matches!(super::resolve(&text), Value::Bool(_)), text),
        Some("!!null") => as_plain(super::is_null(&text), text),
        Some("!!int") => as_plain(super::integer(&text).is_some(), text),
        Some("!!float") => as_plain(super::resolve(&text).is_number(), text),
        Some("!!timestamp") => as_plain(super::timestamp::read(&text).is_some(), text),
        Some(tag) if tag.starts_with("!!binary") => {
            let joined: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(joined).ok();
            Ok((bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text), false))
        }
        Some(_) => Ok((text, false)),
    }
}

/// Where each key of a mapping stood. Nearly every mapping is small, and going through one is cheaper than hashing
/// and copying its keys; a large one would take the square of its size.
#[derive(Default)]
struct Seen {
    lines: Vec<usize>,
    index: HashMap<String, usize>,
}

impl Seen {
    const SMALL: usize = 32;

    /// The line of `key`, if it is among the entries already.
    fn before(&self, entries: &[(String, Node)], key: &str) -> Option<usize> {
        let small = entries.iter().take(Self::SMALL).position(|(name, _)| name == key).map(|at| self.lines[at]);
        small.or_else(|| self.index.get(key).copied())
    }

    /// To be called before the entry is pushed.
    fn add(&mut self, key: &str, line: usize) {
        if self.lines.len() < Self::SMALL {
            self.lines.push(line);
        } else {
            self.index.insert(key.to_owned(), line);
        }
    }
}

/// `<<: *a` or `<<: [*a, *b]`: what the mapping itself says wins, then the earlier of the list.
fn merge_key(value: Node, merged: &mut Vec<(String, Node)>) -> Result<(), SyntaxError> {
    let line = value.line;
    match value.data {
        Data::Map(entries) => merged.extend(entries),
        Data::List(items) => items.into_iter().try_for_each(|item| match item.data {
            Data::Map(entries) => {
                merged.extend(entries);
                Ok(())
            }
            _ => Err(SyntaxError::Refused { line, what: "map merge requires map or sequence of maps as the value" }),
        })?,
        Data::Scalar { .. } => {
            return Err(SyntaxError::Refused { line, what: "map merge requires map or sequence of maps as the value" });
        }
    }
    Ok(())
}
