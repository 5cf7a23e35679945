//! Watches: a line of JSON for every change, for as long as the client listens.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::kinds::Place;
use super::query::{Query, Selection};
use super::store::{Change, Entry};
use super::{Served, table};
use crate::lab::http::{Response, answer, stream};

/// How long a watch lasts when nobody says (a real one: 30 to 60 minutes).
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// How often a client that asked for them gets bookmarks.
const BOOKMARK: Duration = Duration::from_secs(60);

struct Watcher {
    served: Served,
    changes: Receiver<u64>,
    place: Place,
    selection: Selection,
    tables: Option<String>,
    /// Of the last change that the client was told of, or has listed.
    version: u64,
    ends: Instant,
    bookmark: Option<Instant>,
    /// The client lists by watching, and has not been told yet that it knows everything.
    listing: bool,
    over: bool,
}

/// Everything after the version that the client names; without one, or with 0, everything there is to begin with.
pub(super) fn respond(served: &Served, place: Place, query: &Query, selection: Selection, tables: bool) -> Response {
    let seconds = query.number("timeoutSeconds").map_or(LIMIT, Duration::from_secs);
    let now = Instant::now();
    let watcher = Watcher {
        served: served.clone(),
        changes: served.shared.subscribe(),
        place,
        selection,
        tables: tables.then(|| query.text("includeObject").to_owned()),
        version: query.number("resourceVersion").unwrap_or(0),
        ends: now + seconds,
        bookmark: query.flag("allowWatchBookmarks").then_some(now + BOOKMARK),
        listing: query.has("sendInitialEvents") && query.flag("sendInitialEvents"),
        over: false,
    };
    let lines = futures_util::stream::unfold(watcher, |mut watcher| async move {
        let lines = watcher.next().await?;
        Some((lines, watcher))
    });
    stream::with_body(answer(200, "OK", "application/json", ""), lines)
}

impl Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            let (changes, version) = self.served.look(|store| {
                let namespace = self.place.namespace.as_deref();
                (store.since(self.place.kind, namespace, self.version), store.version())
            })?;
            let mut lines: String = changes.iter().filter_map(|(change, entry)| self.line(*change, entry)).collect();
            self.version = self.version.max(version);
            if std::mem::take(&mut self.listing) {
                lines.push_str(&self.bookmark(&json!({"k8s.io/initial-events-end": "true"})));
            }
            if !lines.is_empty() {
                return Some(lines.into());
            }
            let next = self.bookmark.map_or(self.ends, |bookmark| bookmark.min(self.ends));
            let waited = tokio::time::timeout_at(next, self.changes.changed()).await;
            match waited {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) if Instant::now() >= self.ends => {
                    self.over = true;
                    // A last bookmark spares the client the way back.
                    return self.bookmark.is_some().then(|| self.bookmark(&Value::Null).into());
                }
                Err(_) => {
                    self.bookmark = Some(Instant::now() + BOOKMARK);
                    return Some(self.bookmark(&Value::Null).into());
                }
            }
        }
    }

    fn line(&self, change: Change, entry: &Entry) -> Option<String> {
        let named = self.place.name.as_ref().is_none_or(|name| entry.object["metadata"]["name"] == **name);
        if !named || !self.selection.takes(&entry.object) {
            return None;
        }
        let word = match change {
            Change::Added => "ADDED",
            Change::Modified => "MODIFIED",
            Change::Deleted => "DELETED",
        };
        let metadata = json!({"resourceVersion": entry.version.to_string()});
        let object = match &self.tables {
            None => entry.object.clone(),
            Some(include) => {
                table::of(entry.kind, [&entry.object].into_iter(), &metadata, include, jiff::Timestamp::now())
            }
        };
        Some(told(word, &object))
    }

    fn bookmark(&self, annotations: &Value) -> String {
        let kind = self.place.kind;
        let mut metadata = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        if !annotations.is_null() {
            metadata["annotations"] = annotations.clone();
        }
        let object = if self.tables.is_some() {
            table::of(kind, [].into_iter(), &metadata, "Metadata", jiff::Timestamp::now())
        } else {
            json!({"kind": kind.name, "apiVersion": kind.api_version(), "metadata": metadata})
        };
        told("BOOKMARK", &object)
    }
}

fn told(word: &str, object: &Value) -> String {
    json!({"type": word, "object": object}).to_string() + "\n"
}
