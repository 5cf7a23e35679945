//! From a YAML node to a document, as strictly as a Talos machine does it.
//!
//! The decoded form is what Go's structs would hold: absent and null are the same, texts keep their source
//! spelling, sizes and URLs are canonical. Every unknown key is an error, and all of them are shown at once,
//! as a YAML tree: that is what the person has to look for.

mod fault;
mod scalar;
mod unknown;

use serde_json::{Map, Value};

use super::documents::Document;
use super::minor::Minor;
use super::place::{self, Place};
use super::schema::{self, Field, Struct, Type};
use super::yaml::{Data, Node};

pub use fault::{DecodeError, Fault};

/// The identity of a document as its top-level keys give it, before anything else is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) api_version: String,
    /// Empty for v1alpha1.
    pub(super) kind: String,
    pub(super) name: String,
}

impl Header {
    pub(super) fn of(node: &Node) -> Self {
        let text = |key| node.get(key).and_then(Node::text).unwrap_or_default().to_owned();
        // A name of null is the word here, though nothing once it is decoded.
        let name = node.get("name").and_then(Node::source).unwrap_or_default().to_owned();
        Self { api_version: text("apiVersion"), kind: text("kind"), name }
    }

    /// `apiVersion/kind/name`, as errors show it.
    pub(super) fn id(&self) -> String {
        let kind = if self.kind.is_empty() { "v1alpha1" } else { &self.kind };
        format!("{}/{kind}/{}", self.api_version, self.name)
    }
}

/// Decodes one document that is a mapping.
pub(super) fn document(node: &Node, minor: &Minor) -> Result<Document, DecodeError> {
    let header = Header::of(node);
    let at = if minor.errors_name_document {
        format!("error decoding document {} (line {}): ", header.id(), node.line)
    } else {
        String::new()
    };
    inner(node, &header, minor).map_err(|what| DecodeError::Document { at, line: node.line, what })
}

fn inner(node: &Node, header: &Header, minor: &Minor) -> Result<Document, Fault> {
    let marks_v1alpha1 = |(key, _): &(String, Node)| {
        matches!(key.as_str(), "version" | "machine" | "cluster" | "debug" | "persist" | "apiVersion")
    };
    let kind = if header.kind.is_empty() {
        if !node.as_map().is_some_and(|entries| entries.iter().any(marks_v1alpha1)) {
            return Err(Fault::MissingKind);
        }
        schema::kind("").expect("v1alpha1 is always known")
    } else {
        if header.api_version.is_empty() && minor.errors_name_document {
            return Err(Fault::MissingApiVersion);
        }
        let known = schema::kind(&header.kind).filter(|kind| minor.knows(kind.since));
        known.filter(|_| header.api_version == "v1alpha1").ok_or_else(|| Fault::NotRegistered {
            kind: header.kind.clone(),
            api_version: header.api_version.clone(),
        })?
    };
    let mut reader = Reader { minor, path: Vec::new(), problems: Vec::new(), strangers: Vec::new() };
    let mut unknown = Vec::new();
    let mut body = Map::new();
    let fields: Vec<(String, Node)> = node.as_map().unwrap_or_default().to_vec();
    let own = |key: &str| !kind.name.is_empty() && matches!(key, "apiVersion" | "kind");
    let fields: Vec<_> = fields.into_iter().filter(|(key, _)| !own(key)).collect();
    reader.fields(&fields, &kind.root, &mut body, &mut unknown);
    if !reader.problems.is_empty() {
        return Err(Fault::Construct { kind: header.kind.clone(), problems: reader.problems });
    }
    if !unknown.is_empty() {
        return Err(Fault::UnknownKeys { shown: unknown::render(unknown), places: reader.strangers });
    }
    Ok(Document::new(kind, body))
}

/// Unknown keys below one mapping.
pub(super) type Unknown = Vec<(String, unknown::Tree)>;

struct Reader<'a> {
    minor: &'a Minor,
    /// The keys above, and `[0]` for elements of lists.
    path: Vec<String>,
    problems: Vec<(Place, String)>,
    /// Where the unknown keys are.
    strangers: Vec<Place>,
}

impl Reader<'_> {
    fn here(&self, line: usize) -> Place {
        Place { line, path: place::path(&self.path), operation: None }
    }

    fn problem(&mut self, line: usize, why: &str) {
        let place = self.here(line);
        self.problems.push((place, format!("line {line}: {why}")));
    }

    /// Does `read` one step further down the path.
    fn at<T>(&mut self, part: String, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(part);
        let value = read(self);
        self.path.pop();
        value
    }

    fn fields(
        &mut self,
        entries: &[(String, Node)],
        to: &Struct,
        body: &mut Map<String, Value>,
        unknown: &mut Unknown,
    ) {
        for (key, node) in entries {
            match to.field(key).filter(|field| self.minor.knows(field.since)) {
                None => {
                    let place = self.at(key.clone(), |reader| reader.here(node.line));
                    self.strangers.push(place);
                    unknown.push((key.clone(), unknown::Tree::Leaf(node.clone())));
                }
                Some(field) => {
                    let mut below = unknown::Below::default();
                    if let Some(value) = self.at(key.clone(), |reader| reader.field(node, field, &mut below)) {
                        body.insert(key.clone(), value);
                    }
                    if let Some(tree) = below.tree() {
                        unknown.push((key.clone(), tree));
                    }
                }
            }
        }
    }

    /// `None` for what Go leaves at its zero: an absent value, a null, a failure that is noted.
    fn field(&mut self, node: &Node, field: &Field, below: &mut unknown::Below) -> Option<Value> {
        if node.is_null() { None } else { self.value(node, &field.kind, below) }
    }

    /// An element of a list or a value of a map, where a null is a zero.
    fn item(&mut self, node: &Node, kind: &Type, below: &mut unknown::Below) -> Option<Value> {
        if node.is_null() { Some(zero(kind)) } else { self.value(node, kind, below) }
    }

    fn value(&mut self, node: &Node, kind: &Type, below: &mut unknown::Below) -> Option<Value> {
        match kind {
            Type::Struct(to) => {
                let Data::Map(entries) = &node.data else { return self.mismatch(node, "a mapping") };
                let mut body = Map::new();
                self.fields(entries, to, &mut body, below.map());
                Some(Value::Object(body))
            }
            Type::List(item) => {
                let Data::List(items) = &node.data else { return self.mismatch(node, "a list") };
                let values = items.iter().enumerate().map(|(at, node)| {
                    let mut inner = unknown::Below::default();
                    // Go drops a null from a list, unless the elements are pointers.
                    let value = if node.is_null() {
                        keeps_null(item).then_some(Value::Null)
                    } else {
                        self.at(format!("[{at}]"), |reader| reader.item(node, item, &mut inner))
                    };
                    below.item(inner);
                    value
                });
                Some(Value::Array(values.collect::<Vec<_>>().into_iter().flatten().collect()))
            }
            Type::Map(item) => {
                let Data::Map(entries) = &node.data else { return self.mismatch(node, "a mapping") };
                let mut map = Map::new();
                for (key, node) in entries {
                    let mut inner = unknown::Below::default();
                    let value = self.at(key.clone(), |reader| reader.item(node, item, &mut inner));
                    map.extend(value.map(|value| (key.clone(), value)));
                    if let Some(tree) = inner.tree() {
                        below.map().push((key.clone(), tree));
                    }
                }
                Some(Value::Object(map))
            }
            Type::Args => self.args(node),
            Type::Pem(halves) => self.pem(node, halves, below),
            Type::Free => {
                if matches!(node.data, Data::Map(_)) {
                    Some(node.to_value())
                } else {
                    self.mismatch(node, "a mapping")
                }
            }
            Type::Text(_)
            | Type::Int
            | Type::Uint(_)
            | Type::Bool
            | Type::Duration
            | Type::Url
            | Type::Cel
            | Type::Bytes => {
                let Data::Scalar { text, plain } = &node.data else { return self.mismatch(node, "a scalar") };
                match scalar::read(text, *plain, kind, self.minor) {
                    Ok(value) => Some(value),
                    Err(why) => {
                        self.problem(node.line, &why);
                        None
                    }
                }
            }
        }
    }

    fn args(&mut self, node: &Node) -> Option<Value> {
        let Data::Map(entries) = &node.data else { return self.mismatch(node, "a mapping of arguments") };
        let lists = self.minor.args_are_lists;
        let mut args = Map::new();
        for (key, node) in entries {
            let value = match &node.data {
                // Where arguments are lists, an empty text and a null are the empty list, which is written as null.
                _ if lists && (node.is_null() || node.text() == Some("")) => Value::Null,
                Data::Scalar { .. } => Value::String(node.text().unwrap_or_default().to_owned()),
                Data::List(items) if lists && items.iter().all(|item| item.text().is_some()) => {
                    items.iter().filter_map(Node::text).collect()
                }
                _ => {
                    self.at(key.clone(), |reader| reader.mismatch::<()>(node, "the text of an argument"));
                    continue;
                }
            };
            args.insert(key.clone(), value);
        }
        Some(Value::Object(args))
    }

    /// Both halves are always there afterwards: an absent one is the *empty* half, and overwrites in a merge.
    fn pem(&mut self, node: &Node, halves: &[&'static str], below: &mut unknown::Below) -> Option<Value> {
        let Data::Map(entries) = &node.data else { return self.mismatch(node, "a certificate and key") };
        for (key, node) in entries.iter().filter(|(key, _)| !halves.contains(&key.as_str())) {
            let place = self.at(key.clone(), |reader| reader.here(node.line));
            self.strangers.push(place);
            below.map().push((key.clone(), unknown::Tree::Leaf(node.clone())));
        }
        let half = |half: &&'static str| {
            let Some(node) = node.get(half).filter(|node| !node.is_null()) else { return Ok((*half, String::new())) };
            let text = node.text().ok_or((node.line, "expected base64 text".to_owned()))?;
            scalar::base64(text).map(|text| (*half, text)).map_err(|why| (node.line, why))
        };
        let mut pair = Map::new();
        for read in halves.iter().map(half) {
            match read {
                Ok((key, text)) => {
                    pair.insert(key.to_owned(), Value::String(text));
                }
                Err((line, why)) => self.problem(line, &why),
            }
        }
        Some(Value::Object(pair))
    }

    fn mismatch<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let found = match &node.data {
            Data::Scalar { text, .. } => format!("`{text}`"),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a mapping".to_owned(),
        };
        self.problem(node.line, &format!("cannot construct {found} into {expected}"));
        None
    }
}

fn keeps_null(item: &Type) -> bool {
    matches!(item, Type::Pem(_) | Type::List(_) | Type::Map(_)) || matches!(item, Type::Struct(to) if to.nullable)
}

/// A null among the values of a map.
fn zero(kind: &Type) -> Value {
    match kind {
        Type::Text(_) | Type::Duration | Type::Url | Type::Cel | Type::Bytes => Value::String(String::new()),
        Type::Int | Type::Uint(_) => 0.into(),
        Type::Bool => false.into(),
        _ => Value::Null,
    }
}
