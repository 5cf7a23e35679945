//! The YAML document with the place of every node: what the shape check walks, and where every later problem
//! looks up its line.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Options, Spanned};

use super::error::Problem;

/// Line and column, counted from 1.
pub(super) type Place = (u64, u64);

/// Go's yaml.v3 reads booleans and octals so, and so do Talos and the factory: one file, one meaning.
pub(super) fn options() -> Options {
    serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true, with_snippet: false }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Integer,
    Float,
    Text,
}

#[derive(Debug)]
pub(super) enum Node {
    Null,
    /// The text is that of the source: `1.10` stays `1.10`.
    Scalar(Kind, String),
    Seq(Vec<Tree>),
    Map(Vec<(String, Place, Tree)>),
}

#[derive(Debug)]
pub(super) struct Tree {
    pub at: Place,
    pub node: Node,
    /// Where the value stands in the source, in bytes.
    span: Option<Range<usize>>,
}

impl Tree {
    /// Reads one document. A syntax error is a problem of the file as a whole, with its place.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let mut tree: Self = read(text)?;
        tree.restore(text);
        Ok(tree)
    }

    /// Puts the source text back where the parser has given a value: `1.10` is a version before it is a float.
    fn restore(&mut self, source: &str) {
        match &mut self.node {
            Node::Scalar(Kind::Bool | Kind::Integer | Kind::Float, text) => {
                if let Some(written) = self.span.clone().and_then(|span| source.get(span)) {
                    written.trim().clone_into(text);
                }
            }
            Node::Seq(items) => items.iter_mut().for_each(|item| item.restore(source)),
            Node::Map(entries) => entries.iter_mut().for_each(|(_, _, value)| value.restore(source)),
            Node::Null | Node::Scalar(Kind::Text, _) => {}
        }
    }

    /// The place of every path below: values for scalars, keys for everything else.
    pub(super) fn index(&self) -> HashMap<String, Place> {
        let mut places = HashMap::new();
        self.collect("", self.at, &mut places);
        places
    }

    fn collect(&self, path: &str, key: Place, places: &mut HashMap<String, Place>) {
        let scalar = matches!(self.node, Node::Scalar(..));
        places.insert(path.to_owned(), if scalar { self.at } else { key });
        match &self.node {
            Node::Null | Node::Scalar(..) => {}
            Node::Seq(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.collect(&element(path, index), item.at, places);
                }
            }
            Node::Map(entries) => {
                for (name, at, value) in entries {
                    value.collect(&member(path, name), *at, places);
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: node, referenced, defined } = Spanned::<Node>::deserialize(deserializer)?;
        let bytes = defined.span();
        let span = bytes.byte_offset().zip(bytes.byte_len()).and_then(|(offset, length)| {
            let start = usize::try_from(offset).ok()?;
            Some(start..start + usize::try_from(length).ok()?)
        });
        Ok(Self { at: (referenced.line(), referenced.column()), node, span })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;
        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML node")
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }
            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
                Node::deserialize(deserializer)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(Kind::Bool, value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(Kind::Integer, value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(Kind::Integer, value.to_string()))
            }
            fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
                Ok(Node::Scalar(Kind::Integer, value.to_string()))
            }
            fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
                Ok(Node::Scalar(Kind::Integer, value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(Kind::Float, value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Scalar(Kind::Text, value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::Seq(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<Spanned<String>, Tree>()? {
                    entries.push((key.value, (key.referenced.line(), key.referenced.column()), value));
                }
                Ok(Node::Map(entries))
            }
        }
        deserializer.deserialize_any(Nodes)
    }
}

/// Deserialises one document, with our options and our kind of error.
pub(super) fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Problem> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let place = error.location().map(|location| (location.line(), location.column()));
        let text = error.without_snippet().to_string();
        // The place is said before the message, and the parser's options are not the user's.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        let text = text.split(", set DuplicateKeyPolicy").next().unwrap_or(text);
        Problem {
            path: String::new(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            message: text.to_owned(),
            fix: String::new(),
        }
    })
}

/// `network` + `cidr`.
pub(super) fn member(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `assignments` + 0.
pub(super) fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}
