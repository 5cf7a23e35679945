//! What a request's query asks for: selectors, pages, versions.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Uri;
use serde_json::{Value, json};

use super::kinds::Kind;

/// The parameters of one request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        Self(serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap_or_default())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.has(name) && matches!(self.text(name), "true" | "1" | "")
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    /// The selection, or what is wrong with it.
    pub(super) fn selection(&self, kind: &Kind) -> Result<Selection, String> {
        let labels = terms(self.text("labelSelector"))?;
        let fields = terms(self.text("fieldSelector"))?;
        let mut found = Vec::new();
        for term in fields {
            let path = field(kind, &term.key).ok_or_else(|| format!("field label not supported: {}", term.key))?;
            found.push((path, term));
        }
        Ok(Selection { labels, fields: found })
    }
}

/// Where a field selector looks. Kubernetes knows few fields: names everywhere, and some of pods and events.
fn field(kind: &Kind, key: &str) -> Option<&'static str> {
    Some(match (kind.plural, key) {
        (_, "metadata.name") => "/metadata/name",
        (_, "metadata.namespace") => "/metadata/namespace",
        ("pods", "spec.nodeName") => "/spec/nodeName",
        ("pods", "spec.restartPolicy") => "/spec/restartPolicy",
        ("pods", "spec.hostNetwork") => "/spec/hostNetwork",
        ("pods", "status.podIP") => "/status/podIP",
        ("pods" | "namespaces", "status.phase") => "/status/phase",
        ("nodes", "spec.unschedulable") => "/spec/unschedulable",
        ("events", "involvedObject.kind" | "regarding.kind") => "/involvedObject/kind",
        ("events", "involvedObject.name" | "regarding.name") => "/involvedObject/name",
        ("events", "involvedObject.namespace" | "regarding.namespace") => "/involvedObject/namespace",
        ("events", "involvedObject.uid" | "regarding.uid") => "/involvedObject/uid",
        ("events", "reason") => "/reason",
        ("events", "type") => "/type",
        _ => return None,
    })
}

/// What objects have to be like.
pub(super) struct Selection {
    labels: Vec<Term>,
    fields: Vec<(&'static str, Term)>,
}

impl Selection {
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn takes(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
        let text = |path: &str| match object.pointer(path) {
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(Value::String(text)) => text.clone(),
            _ if path == "/spec/unschedulable" => "false".to_owned(),
            _ => String::new(),
        };
        self.labels.iter().all(|term| term.holds(label(&term.key)))
            && self.fields.iter().all(|(path, term)| term.holds(Some(&text(path))))
    }
}

struct Term {
    key: String,
    test: Test,
}

enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Term {
    fn holds(&self, found: Option<&str>) -> bool {
        let among = |values: &[String]| found.is_some_and(|found| values.iter().any(|value| value == found));
        match &self.test {
            Test::Exists => found.is_some(),
            Test::Absent => found.is_none(),
            Test::In(values) => among(values),
            // What does not have it at all differs, too.
            Test::NotIn(values) => !among(values),
        }
    }
}

/// `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
fn terms(selector: &str) -> Result<Vec<Term>, String> {
    let mut parts: Vec<String> = vec![String::new()];
    let mut depth = 0;
    for letter in selector.chars() {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).map(term).collect()
}

fn term(text: &str) -> Result<Term, String> {
    let wrong = || format!("unable to parse requirement: found '{text}', expected: a selector");
    let set = |rest: &str| -> Result<Vec<String>, String> {
        let inner = rest.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(wrong)?;
        Ok(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let (key, test) = if let Some((key, rest)) = text.split_once(" notin ") {
        (key, Test::NotIn(set(rest)?))
    } else if let Some((key, rest)) = text.split_once(" in ") {
        (key, Test::In(set(rest)?))
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = text.split_once('=') {
        (key, Test::In(vec![value.trim_start_matches('=').trim().to_owned()]))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Test::Absent)
    } else {
        (text, Test::Exists)
    };
    let key = key.trim();
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    if key.is_empty() || !key.chars().all(fine) {
        return Err(wrong());
    }
    Ok(Term { key: key.to_owned(), test })
}

/// A page of a list, with the list's metadata.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) metadata: Value,
}

/// Cuts `items` as `limit` and `continue` ask. The token says where to go on, and for which version it was made.
pub(super) fn page<T>(items: Vec<T>, query: &Query, selection: &Selection, version: u64) -> Result<Page<T>, String> {
    let token = query.text("continue");
    let start = if token.is_empty() { 0 } else { begin(token).ok_or("continue key is not valid")? };
    let limit = query.number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let total = items.len();
    let end = limit.map_or(total, |limit| (start + limit).min(total));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if end < total {
        let token = json!({"v": "meta.k8s.io/v1", "rv": version, "start": end}).to_string();
        metadata["continue"] = json!(BASE64_URL_SAFE_NO_PAD.encode(token));
        // Nobody counts what a selector leaves.
        if selection.is_everything() {
            metadata["remainingItemCount"] = json!(total - end);
        }
    }
    Ok(Page { items: items.into_iter().skip(start).take(end.saturating_sub(start)).collect(), metadata })
}

fn begin(token: &str) -> Option<usize> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
    let value: Value = serde_json::from_slice(&bytes).ok()?;
    usize::try_from(value["start"].as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::kube::kinds::KINDS;

    fn query(text: &str) -> Query {
        Query(serde_urlencoded::from_str(text).unwrap())
    }

    #[test]
    fn selectors_keep_what_they_name() {
        let pods = KINDS.iter().find(|kind| kind.plural == "pods").unwrap();
        let object = json!({"metadata": {"name": "a", "labels": {"app": "x", "tier": "node"}}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        let takes = |text: &str| query(text).selection(pods).map(|selection| selection.takes(&object));
        for (text, expected) in [
            ("", true),
            ("labelSelector=app%3Dx", true),
            ("labelSelector=app%3D%3Dx,tier%21%3Dnode", false),
            ("labelSelector=app+in+(x,y),!other", true),
            ("labelSelector=app+notin+(x)", false),
            ("labelSelector=other%21%3Dx", true),
            ("labelSelector=tier", true),
            ("fieldSelector=spec.nodeName%3Dn,status.phase%21%3DFailed", true),
            ("fieldSelector=metadata.name%3Db", false),
        ] {
            assert_eq!(takes(text), Ok(expected), "{text}");
        }
        assert!(
            takes("fieldSelector=spec.color%3Dred").unwrap_err().ends_with("field label not supported: spec.color")
        );
        assert!(takes("labelSelector=a+b").is_err());
    }

    #[test]
    fn pages_join_to_the_whole() {
        let pods = KINDS.iter().find(|kind| kind.plural == "pods").unwrap();
        let (mut all, mut token) = (Vec::new(), String::new());
        for left in [3, 1, 0] {
            let query = query(&format!("limit=2&continue={token}"));
            let selection = query.selection(pods).unwrap();
            let page = page((0..5).collect(), &query, &selection, 7).unwrap();
            assert_eq!(page.metadata["remainingItemCount"].as_u64().unwrap_or(0), left);
            all.extend(page.items);
            token = page.metadata["continue"].as_str().unwrap_or_default().to_owned();
        }
        assert_eq!((all, token.as_str()), ((0..5).collect(), ""));
        let query = query("continue=nonsense");
        assert!(page(vec![1], &query, &query.selection(pods).unwrap(), 1).is_err());
    }
}
