//! From text to nodes: aliases and merge keys resolved, duplicate keys refused.
//!
//! Both the depth and the number of nodes are bounded, since a patch is whatever somebody wrote.

use std::collections::HashMap;

use base64::Engine as _;
use granit_parser::{Event, Parser, ScalarStyle, StructureStyle, Tag};

use super::{Data, Node, Style, SyntaxError};

/// Deeper nesting than any configuration has; keeps recursion far from the end of the stack.
const MAX_DEPTH: usize = 100;
/// More nodes than any configuration has; stops alias bombs.
const MAX_NODES: usize = 200_000;

/// Every document of `text`; one that holds only comments is there as a null.
pub(in crate::machineconfig) fn documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    Ok(documents_at(text)?.into_iter().map(|(_, node)| node).collect())
}

/// Every document with the line at which it begins: that of its `---`, where it has one.
pub(in crate::machineconfig) fn documents_at(text: &str) -> Result<Vec<(usize, Node)>, SyntaxError> {
    let parser = Parser::new_from_str(text);
    let mut reader = Reader { source: text, parser, span: 0..0, anchors: HashMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    while let Some((event, line)) = reader.next()? {
        if let Event::DocumentStart(explicit, ..) = event {
            reader.anchors.clear();
            let node = reader.document(line)?;
            documents.push((if explicit { line } else { node.line }, node));
        }
    }
    Ok(documents)
}

struct Reader<'a> {
    source: &'a str,
    /// Where the last event stood in the source.
    span: std::ops::Range<usize>,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, SyntaxError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                self.span = span.byte_range().unwrap_or_default();
                Ok(Some((event, span.start.line())))
            }
            Some(Err(error)) => Err(SyntaxError::Scan {
                line: error.marker().line(),
                column: error.marker().col() + 1,
                text: error.info(),
            }),
        }
    }

    fn document(&mut self, line: usize) -> Result<Node, SyntaxError> {
        let mut root = None;
        while let Some((event, line)) = self.next()? {
            match event {
                Event::DocumentEnd | Event::StreamEnd => break,
                event if event.is_node() => root = Some(self.node(event, line, 0)?),
                _ => {}
            }
        }
        Ok(root.unwrap_or(Node {
            line,
            style: Style::Usual,
            key: Style::Usual,
            mark: None,
            merge: None,
            data: Data::Scalar { text: String::new(), plain: true },
        }))
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(SyntaxError::Refused { line, what: "nested too deeply" });
        }
        let before = self.nodes;
        self.count(1, line)?;
        let anchor = event.anchor_id().filter(|id| *id != 0);
        let (mut mark, mut merge) = (None, None);
        let (style, data) = match event {
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err(SyntaxError::Refused { line, what: "an anchor contains itself" });
                };
                self.count(size, line)?;
                let name = self.source.get(self.span.clone()).unwrap_or_default().trim_start_matches('*');
                return Ok(Node { line, style: Style::Alias(name.into()), mark: None, ..node });
            }
            Event::Scalar(text, style, _, tag) => {
                mark = tag.as_deref().map(shown);
                let style = match style {
                    ScalarStyle::Plain => Style::Usual,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                };
                // The parser has a word for what is not there.
                let text =
                    if self.span.is_empty() && style == Style::Usual { String::new() } else { text.into_owned() };
                if mark.as_deref() == Some("!!binary") {
                    mark = Some(format!("!!binary {text}").into());
                }
                let (text, plain) = tagged(text, style == Style::Usual, mark.as_deref());
                (style, Data::Scalar { text, plain })
            }
            Event::SequenceStart(style, ..) => (collection(style), Data::List(self.list(depth)?)),
            Event::MappingStart(style, ..) => {
                let entries = self.map(depth, &mut merge)?;
                (collection(style), Data::Map(entries))
            }
            _ => return Err(SyntaxError::Refused { line, what: "an unexpected construct" }),
        };
        let node = Node { line, style, key: Style::Usual, mark, merge, data };
        if let Some(id) = anchor {
            self.anchors.insert(id, (node.clone(), self.nodes - before));
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
        while let Some((event, line)) = self.next()? {
            match event {
                Event::SequenceEnd => break,
                event if event.is_node() => items.push(self.node(event, line, depth + 1)?),
                _ => {}
            }
        }
        Ok(items)
    }

    fn map(
        &mut self,
        depth: usize,
        merge: &mut Option<Box<(usize, Node)>>,
    ) -> Result<Vec<(String, Node)>, SyntaxError> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut merged: Vec<(String, Node)> = Vec::new();
        let mut seen = Seen::default();
        while let Some((event, line)) = self.next()? {
            let key = match event {
                Event::MappingEnd => break,
                event if event.is_node() => self.node(event, line, depth + 1)?,
                _ => continue,
            };
            let (key_style, data) = (key.style, key.data);
            let Data::Scalar { text: key, plain } = data else {
                return Err(SyntaxError::Refused { line, what: "a mapping key has to be a scalar" });
            };
            let value = Node { key: key_style, ..self.value(line, depth)? };
            if plain && key == "<<" {
                *merge = Some(Box::new((0, value.clone())));
                merge_key(value, &mut merged)?;
            } else if let Some(first) = seen.before(&entries, &key) {
                return Err(SyntaxError::DuplicateKey { line, key, first });
            } else {
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

    fn value(&mut self, line: usize, depth: usize) -> Result<Node, SyntaxError> {
        while let Some((event, line)) = self.next()? {
            if event.is_node() {
                return self.node(event, line, depth + 1);
            }
        }
        Err(SyntaxError::Refused { line, what: "the document ends inside a mapping" })
    }
}

fn collection(style: StructureStyle) -> Style {
    if style == StructureStyle::Flow { Style::Flow } else { Style::Usual }
}

/// `!!str` or `!own`.
fn shown(tag: &Tag) -> Box<str> {
    let handle = tag.handle();
    let handle = if handle == "tag:yaml.org,2002:" { "!!" } else { handle };
    format!("{handle}{}", tag.suffix()).into()
}

/// A scalar as its tag wants it. One that Go does not know, `!!str` and `!!binary` make a text of it; the others say
/// that it is to be read like a plain one.
fn tagged(text: String, plain: bool, tag: Option<&str>) -> (String, bool) {
    match tag {
        None => (text, plain),
        Some("!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp") => (text, true),
        Some(tag) if tag.starts_with("!!binary") => {
            let joined: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(joined).ok();
            (bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text), false)
        }
        Some(_) => (text, false),
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
