//! What a machine would say about a configuration, before there is a machine.
//!
//! Rules run in Talos's order, with its texts: first the v1alpha1 document, then every other one by itself, then each
//! of those against v1alpha1, then the whole. Left to the machine is what only it can know: whether a disk matches,
//! which Kubernetes it supports, and CEL expressions beyond their rough shape.

mod cluster;
mod conflicts;
mod devices;
mod documents;
mod kubernetes;
mod machine;
mod net;
mod oci;
mod storage;
mod whole;

use serde_json::Value;

pub(in crate::machineconfig) use conflicts::fields_of;
pub(in crate::machineconfig) use net::endpoint;
pub(in crate::machineconfig) use whole::CONTROL_PLANE_ONLY;

use super::documents::{Document, Documents};
use super::minor::Minor;

/// Where the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Talos installs itself to a disk.
    Metal,
    /// The image is the installation.
    Cloud,
    /// Talos runs in a container.
    Container,
}

/// What validation found. Errors keep the prefix of the document that they belong to, from Talos 1.12 on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub warnings: Vec<String>,
    pub errors: Vec<String>,
}

impl Verdict {
    /// Whether a machine would take the configuration.
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// The errors as Talos of that minor prints them, ending in a newline; `None` when there are none.
    pub fn text(&self, minor: &Minor) -> Option<String> {
        if self.errors.is_empty() {
            return None;
        }
        let inner = NESTED.iter().fold(self.errors.clone(), |errors, prefix| nested(&errors, prefix));
        let whole = if minor.validation_names_document { nested(&inner, "v1alpha1.Config: ") } else { inner };
        Some(multi(&whole))
    }
}

/// Findings about one document.
#[derive(Default)]
struct Findings {
    warnings: Vec<String>,
    errors: Vec<String>,
}

impl Findings {
    fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }

    fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Notes `text` unless `ok`.
    fn check(&mut self, ok: bool, text: impl Into<String>) {
        if !ok {
            self.error(text);
        }
    }
}

/// What v1alpha1 reports as a list inside its list.
const NESTED: &[&str] = &[
    "invalid machine node labels: ",
    "invalid machine node annotations: ",
    "invalid machine node taints: ",
    "v1alpha1.Config: invalid machine node labels: ",
    "v1alpha1.Config: invalid machine node annotations: ",
    "v1alpha1.Config: invalid machine node taints: ",
];

/// The errors with all of one prefix made one error: a list that stands where the first of them stood.
fn nested(errors: &[String], prefix: &str) -> Vec<String> {
    let inner: Vec<&str> = errors.iter().filter_map(|text| text.strip_prefix(prefix)).collect();
    let mut list = (!inner.is_empty()).then(|| format!("{prefix}{}", multi(&inner)));
    let kept = errors.iter().filter_map(|text| if text.starts_with(prefix) { list.take() } else { Some(text.clone()) });
    kept.collect()
}

/// A list of errors as Go's go-multierror prints it.
fn multi(errors: &[impl AsRef<str>]) -> String {
    let count = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
    let points: Vec<String> = errors.iter().map(|text| format!("* {}", text.as_ref())).collect();
    format!("{count} occurred:\n\t{}\n\n", points.join("\n\t"))
}

/// Validates as `talosctl validate` of that minor does, which begins with reading what was written. `strict` turns v1alpha1's warnings into errors.
pub fn validate(documents: &Documents, mode: Mode, strict: bool, minor: &Minor) -> Verdict {
    let mut verdict = Verdict::default();
    if documents.has_leftover()
        && let Err(error) = Documents::parse_for(&documents.to_yaml(), minor)
    {
        verdict.errors.push(format!("reload: {error}"));
        return verdict;
    }
    let prefixed = |label: String, text: String| {
        if minor.validation_names_document { format!("{label}: {text}") } else { text }
    };
    if let Some(document) = documents.v1alpha1() {
        let mut found = Findings::default();
        machine::check(document, mode, minor, &mut found);
        if strict {
            let warnings = std::mem::take(&mut found.warnings);
            found.errors.extend(warnings.into_iter().map(|text| format!("warning: {text}")));
        }
        verdict.warnings.extend(found.warnings);
        verdict.errors.extend(found.errors.into_iter().map(|text| prefixed("v1alpha1.Config".to_owned(), text)));
    }
    for document in documents.iter().filter(|document| !document.kind().is_empty()) {
        let mut found = Findings::default();
        documents::check(document, minor, &mut found);
        verdict.warnings.extend(found.warnings);
        if !found.errors.is_empty() {
            // Talos joins what it says of one document into one error.
            verdict.errors.push(prefixed(id(document), found.errors.join("\n")));
        }
    }
    if let Some(v1alpha1) = documents.v1alpha1() {
        for document in documents {
            verdict.errors.extend(conflicts::with_v1alpha1(document, v1alpha1));
        }
    }
    whole::check(documents, mode, minor, &mut verdict.errors);
    verdict
}

/// The kind; for named kinds with a slash and the name, even an empty one.
fn id(document: &Document) -> String {
    match document.name() {
        Some(name) => format!("{}/{name}", document.kind()),
        None => document.kind().to_owned(),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn texts<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    list(value, key).iter().filter_map(Value::as_str)
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or_default()
}

/// A boolean; absent is `None`.
fn flag(value: &Value, key: &str) -> Option<bool> {
    value.get(key).and_then(Value::as_bool)
}

/// The value at a path below `value`.
fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}
