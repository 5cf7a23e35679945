//! From text to nodes: aliases and merge keys resolved, duplicate keys refused.
//!
//! Both the depth and the number of nodes are bounded, since a patch is whatever somebody wrote.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, StructureStyle};

use super::notes::{self, Notes};
use super::scalar::{shown, tagged, unknown_escape};
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
    let mut options = Options::default();
    (options.emit_anchor_events, options.emit_unresolved_aliases) = (true, true);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader =
        Reader { source: text, parser, before: 0, span: 0..0, item: None, anchors: HashMap::new(), nodes: 0 };
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
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    /// By name, with the number of nodes. A document sees those of the documents before it, as in Go.
    anchors: HashMap<String, (Node, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, SyntaxError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                self.before = self.span.end;
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

    fn document_at(&mut self) -> Result<Option<(usize, Node)>, SyntaxError> {
        let mut before = self.span.end;
        while let Some((event, line)) = self.next()? {
            if let Event::DocumentStart(explicit, ..) = event {
                self.directives(before, line)?;
                let node = self.document(line)?;
                return Ok(Some((if explicit { line } else { node.line }, node)));
            }
            before = self.span.end;
        }
        Ok(None)
    }

    /// Go reads YAML 1.1 only, if a document says which it is.
    fn directives(&self, before: usize, line: usize) -> Result<(), SyntaxError> {
        let above = self.source.get(before..self.span.start).unwrap_or_default();
        for directive in above.lines().filter_map(|line| line.strip_prefix('%')) {
            let mut words = directive.split_whitespace();
            let what = match (words.next(), words.next()) {
                (Some("YAML"), version) if version != Some("1.1") => "found incompatible YAML document",
                (Some("YAML" | "TAG"), _) => continue,
                _ => "found unknown directive name",
            };
            return Err(SyntaxError::Refused { line, what });
        }
        Ok(())
    }

    /// A block that goes on to the end of a text whose last line has no end has none either in Go.
    fn without_end(&self, mut text: String, style: &Style) -> String {
        let is_block = matches!(style, Style::Literal | Style::Folded) && self.span.end >= self.source.len();
        let last = self.source.rsplit('\n').next().unwrap_or_default();
        if is_block && !last.trim_matches(' ').is_empty() && text.ends_with('\n') {
            text.pop();
        }
        text
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
            notes: None,
            wrong: None,
            data: Data::Scalar { text: String::new(), plain: true },
        }))
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(SyntaxError::Refused { line, what: "nested too deeply" });
        }
        let before = self.nodes;
        self.count(1, line)?;
        let mut notes = Notes { anchor: self.anchor(&event)?, ..Notes::default() };
        if let Some(name) = &notes.anchor {
            // Nobody means the one that had the name before.
            self.anchors.remove(&**name);
        }
        let (mut mark, mut merge, mut wrong) = (event.tag().map(shown), None, None);
        let (style, data) = match event {
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let name = self.source.get(self.span.clone()).unwrap_or_default().trim_start_matches('*');
                let Some((node, size)) = self.anchors.get(name).cloned() else {
                    let known = matches!(event, Event::Alias(_));
                    let what = if known { "an anchor contains itself" } else { "an alias has no anchor" };
                    return Err(SyntaxError::Refused { line, what });
                };
                self.count(size, line)?;
                notes.behind = notes::behind(self.source, self.span.end);
                return Ok(Node { line, style: Style::Alias(name.into()), mark: None, notes: notes.kept(), ..node });
            }
            Event::Scalar(text, style, ..) => {
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
                let text = self.without_end(text, &style);
                let source = self.source.get(self.span.clone()).unwrap_or_default();
                if style == Style::Double
                    && let Some(what) = unknown_escape(source)
                {
                    return Err(SyntaxError::Refused { line, what });
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
            Event::SequenceStart(style, ..) => (collection(style), Data::List(self.list(depth)?)),
            Event::MappingStart(style, ..) => {
                let entries = self.map(depth, &mut merge, &mut wrong)?;
                (collection(style), Data::Map(entries))
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
            self.anchors.insert(name.into(), (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    /// The name of a node's anchor, which stands before the node and is an event after it.
    fn anchor(&mut self, event: &Event<'a>) -> Result<Option<Box<str>>, SyntaxError> {
        if event.anchor_id().is_none_or(|id| id == 0) || event.is_alias() {
            return Ok(None);
        }
        let (before, span) = (self.before, self.span.clone());
        let name = match self.next()? {
            Some((Event::Anchor(_, name), _)) => Some(name.into()),
            _ => None,
        };
        (self.before, self.span) = (before, span);
        Ok(name)
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
        while let Some((event, line)) = self.next()? {
            match event {
                Event::SequenceEnd => break,
                event if event.is_node() => {
                    let from = opened.take().unwrap_or(self.before);
                    let above = notes::above(self.source, from, self.span.start);
                    self.item = Some(self.span.start);
                    let mut item = self.node(event, line, depth + 1)?;
                    item.noted(|notes| notes.above = above);
                    items.push(item);
                }
                _ => {}
            }
        }
        Ok(items)
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
        while let Some((event, line)) = self.next()? {
            // What is above the first key of an item is above the item.
            let first = self.item.take() == Some(self.span.start);
            let from = opened.take().unwrap_or(self.before);
            let above = if first { Vec::new() } else { notes::above(self.source, from, self.span.start) };
            let key = match event {
                Event::MappingEnd => break,
                event if event.is_node() => self.node(event, line, depth + 1)?,
                _ => continue,
            };
            let behind = notes::behind_key(self.source, self.span.end);
            let (key_style, data) = (key.style, key.data);
            let Data::Scalar { text: key, plain } = data else {
                return Err(SyntaxError::Refused { line, what: "a mapping key has to be a scalar" });
            };
            let mut value = Node { key: key_style, ..self.value(line, depth)? };
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
