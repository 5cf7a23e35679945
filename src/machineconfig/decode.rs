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
use super::redact::REDACTED;
use super::schema::{self, Field, Kind, Struct, Type};
use super::yaml::{self, Data, Node, Style};

pub use fault::{DecodeError, Fault};

/// The identity of a document as its top-level keys give it, before anything else is looked at: a null is its word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) api_version: String,
    /// Empty for v1alpha1.
    pub(super) kind: String,
    pub(super) name: String,
}

impl Header {
    pub(super) fn of(node: &Node) -> Self {
        let text = |key| node.get(key).and_then(Node::source).unwrap_or_default().to_owned();
        Self { api_version: text("apiVersion"), kind: text("kind"), name: text("name") }
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
    if let (Ok(_), Some(wrong)) = (kind_of(node, minor), node.wrong()) {
        return Err(wrong.clone().into());
    }
    inner(node, minor).map_err(|what| match what {
        // A crash that Talos catches further up.
        Fault::NothingBehind(_) => DecodeError::Document { at: String::new(), line: node.line, what },
        what => DecodeError::Document { at, line: node.line, what },
    })
}

/// The kind and the version that a document gives, as Talos looks for them: anywhere among keys *and* values of the top
/// level, the next one being the answer.
fn kind_and_version(node: &Node) -> Result<(String, String), Fault> {
    let entries = node.as_map().unwrap_or_default();
    let flat: Vec<(&str, Option<&str>)> = entries
        .iter()
        .flat_map(|(key, value)| {
            [(key.as_str(), Some(key.as_str())), (value.source().unwrap_or_default(), value.text())]
        })
        .collect();
    let (mut kind, mut version) = (String::new(), String::new());
    for (at, (word, _)) in flat.iter().enumerate() {
        let target = match *word {
            "kind" => &mut kind,
            "apiVersion" => &mut version,
            "machine" | "cluster" | "debug" | "persist" => {
                "v1alpha1".clone_into(&mut version);
                continue;
            }
            _ => continue,
        };
        let (_, next) = flat.get(at + 1).ok_or(Fault::NothingBehind(flat.len()))?;
        if let Some(next) = next {
            (*next).clone_into(target);
        }
    }
    Ok((kind, version))
}

fn kind_of(node: &Node, minor: &Minor) -> Result<(String, &'static Kind), Fault> {
    let (kind, api_version) = kind_and_version(node)?;
    match (kind.as_str(), api_version.as_str()) {
        // Which version, nobody asks.
        ("v1alpha1", version) if !(version.is_empty() && minor.errors_name_document) => {
            return Ok((kind, schema::kind("").expect("v1alpha1 is always known")));
        }
        ("", "v1alpha1") => return Ok((kind, schema::kind("").expect("v1alpha1 is always known"))),
        ("", _) => return Err(Fault::MissingKind),
        (_, "") if minor.errors_name_document => return Err(Fault::MissingApiVersion),
        _ => {}
    }
    let known = schema::kind(&kind).filter(|known| minor.knows(known.since) && api_version == "v1alpha1");
    known.map(|known| (kind.clone(), known)).ok_or(Fault::NotRegistered { kind, api_version })
}

fn inner(node: &Node, minor: &Minor) -> Result<Document, Fault> {
    let (said, kind) = kind_of(node, minor)?;
    let mut reader = Reader { minor, path: Vec::new(), problems: Vec::new(), strangers: Vec::new(), stop: None };
    let mut unknown = Vec::new();
    let mut body = Map::new();
    let entries = node.as_map().unwrap_or_default();
    let skipped = |(key, _): &&(String, Node)| !kind.name.is_empty() && matches!(key.as_str(), "apiVersion" | "kind");
    let (head, merged) = entries.split_at(own_entries(node));
    let fields = |part: &[(String, Node)]| part.iter().filter(|entry| !skipped(entry)).cloned().collect::<Vec<_>>();
    let (mut fields, merged) = (fields(head), fields(merged));
    let own = fields.len();
    fields.extend(merged);
    reader.merge_key(node, &mut unknown);
    reader.fields(&fields, own, &kind.root, &mut body, &mut unknown);
    if let Some((place, what)) = reader.stop {
        return Err(Fault::Own { kind: said, what, place: Box::new(place) });
    }
    if !reader.problems.is_empty() {
        return Err(Fault::Construct { kind: said, problems: reader.problems });
    }
    if !unknown.is_empty() {
        return Err(Fault::UnknownKeys { shown: unknown::render(unknown, minor), places: reader.strangers });
    }
    Ok(Document::new(kind, *minor, body))
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
    /// Where a type's own decoder failed first, and what it said, on a Talos that stops there.
    stop: Option<(Place, String)>,
}

impl Reader<'_> {
    fn here(&self, line: usize) -> Place {
        Place { line, path: place::path(&self.path), operation: None }
    }

    fn problem(&mut self, line: usize, why: &str) {
        let place = self.here(line);
        self.problems.push((place, format!("line {line}: {why}")));
    }

    fn wrong(&mut self, line: usize, wrong: scalar::Wrong) {
        match wrong.own.filter(|_| self.minor.own_decoders_stop) {
            Some(own) if self.stop.is_none() => self.stop = Some((self.here(line), own)),
            Some(_) => {}
            None => self.problem(line, &wrong.why),
        }
    }

    /// Does `read` one step further down the path.
    fn at<T>(&mut self, part: String, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(part);
        let value = read(self);
        self.path.pop();
        value
    }

    /// Talos does what `<<` says, and then finds no field of that name. Only maps may merge.
    fn merge_key(&mut self, node: &Node, unknown: &mut Unknown) {
        if let Some((_, merged)) = node.merge.as_deref() {
            let place = self.at("<<".to_owned(), |reader| reader.here(merged.line));
            self.strangers.push(place);
            unknown.push(("<<".to_owned(), unknown::Tree::Leaf(merged.clone())));
        }
    }

    /// From the entry `own` on they came by a merge: what is unknown among those nobody looks for.
    fn fields(
        &mut self,
        entries: &[(String, Node)],
        own: usize,
        to: &Struct,
        body: &mut Map<String, Value>,
        unknown: &mut Unknown,
    ) {
        let mut others = Unknown::new();
        for (index, (key, node)) in entries.iter().enumerate() {
            let before = self.strangers.len();
            let unknown = if index < own { &mut *unknown } else { &mut others };
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
            if index >= own {
                self.strangers.truncate(before);
            }
        }
    }

    /// `None` for what Go leaves at its zero: an absent value, a null, a failure that is noted.
    fn field(&mut self, node: &Node, field: &Field, below: &mut unknown::Below) -> Option<Value> {
        if node.is_null() { None } else { self.value(node, &field.kind, below) }
    }

    /// Talos does not look for unknown keys behind an alias.
    fn value(&mut self, node: &Node, kind: &Type, below: &mut unknown::Below) -> Option<Value> {
        if !matches!(node.style, Style::Alias(_)) {
            return self.own_value(node, kind, below);
        }
        let before = self.strangers.len();
        let value = self.own_value(node, kind, &mut unknown::Below::default());
        self.strangers.truncate(before);
        value
    }

    /// An element of a list or a value of a map, where a null is a zero.
    fn item(&mut self, node: &Node, kind: &Type, below: &mut unknown::Below) -> Option<Value> {
        if node.is_null() { Some(scalar::zero(kind)) } else { self.value(node, kind, below) }
    }

    fn own_value(&mut self, node: &Node, kind: &Type, below: &mut unknown::Below) -> Option<Value> {
        match kind {
            Type::Struct(to) => {
                let Data::Map(entries) = &node.data else { return self.mismatch(node, "a mapping") };
                let mut body = Map::new();
                self.merge_key(node, below.map());
                self.fields(entries, own_entries(node), to, &mut body, below.map());
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
                for (key, node) in self.keyed(entries) {
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
                let Data::Map(entries) = &node.data else { return self.mismatch(node, "a mapping") };
                let value = |(key, node): &(String, Node)| (key.clone(), node.to_value());
                Some(Value::Object(self.keyed(entries).into_iter().map(value).collect()))
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
                    Err(wrong) => {
                        self.wrong(node.line, wrong);
                        None
                    }
                }
            }
        }
    }

    /// The entries of a map with texts for keys: Go passes over a null there, and some Talos refuses a date.
    fn keyed<'n>(&mut self, entries: &'n [(String, Node)]) -> Vec<&'n (String, Node)> {
        let is_text = |(key, node): &&(String, Node)| {
            let plain = node.key == Style::Usual;
            if plain && self.minor.dates_are_no_texts && yaml::is_date(key) {
                self.problem(node.line, &format!("cannot construct `{key}`, a date, into the text of a key"));
                return false;
            }
            !plain || !yaml::is_null(key)
        };
        entries.iter().filter(is_text).collect()
    }

    fn args(&mut self, node: &Node) -> Option<Value> {
        let Data::Map(entries) = &node.data else { return self.mismatch(node, "a mapping of arguments") };
        let lists = self.minor.args_are_lists;
        let is_text = |node: &Node| node.text().is_some() && !(self.minor.dates_are_no_texts && node.is_date());
        let mut args = Map::new();
        for (key, node) in self.keyed(entries) {
            let value = match &node.data {
                // Where arguments are lists, an empty text and a null are the empty list, which is written as null.
                _ if lists && (node.is_null() || node.text() == Some("")) => Value::Null,
                Data::Scalar { .. } if node.is_null() || is_text(node) => {
                    Value::String(node.text().unwrap_or_default().to_owned())
                }
                Data::List(items) if lists && items.iter().all(is_text) => {
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
        self.merge_key(node, below.map());
        for (key, node) in entries.iter().filter(|(key, _)| !halves.contains(&key.as_str())) {
            let place = self.at(key.clone(), |reader| reader.here(node.line));
            self.strangers.push(place);
            below.map().push((key.clone(), unknown::Tree::Leaf(node.clone())));
        }
        let half = |half: &&'static str| {
            let Some(node) = node.get(half).filter(|node| !node.is_null()) else { return Ok((*half, String::new())) };
            let text = node.text().ok_or((node.line, scalar::Wrong::from("expected base64 text".to_owned())))?;
            // A machine hands keys out with the mark in their place, and takes it back.
            if *half == "key" && text == REDACTED {
                return Ok((*half, text.to_owned()));
            }
            scalar::base64(text).map(|text| (*half, text)).map_err(|why| (node.line, scalar::Wrong::own(why)))
        };
        let mut pair = Map::new();
        for read in halves.iter().map(half) {
            match read {
                Ok((key, text)) => {
                    pair.insert(key.to_owned(), Value::String(text));
                }
                Err((line, wrong)) => self.wrong(line, wrong),
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

/// How many entries of a mapping are no merged ones.
fn own_entries(node: &Node) -> usize {
    node.merge.as_deref().map_or(usize::MAX, |(own, _)| *own).min(node.as_map().map_or(0, <[_]>::len))
}

fn keeps_null(item: &Type) -> bool {
    matches!(item, Type::Pem(_) | Type::List(_) | Type::Map(_)) || matches!(item, Type::Struct(to) if to.nullable)
}
