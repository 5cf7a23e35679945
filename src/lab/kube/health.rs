//! `/healthz`, `/livez`, `/readyz`: open to everybody on Talos, as its load balancers ask without a certificate.
//!
//! Kubernetes 1.35: staging/src/k8s.io/apiserver/pkg/server/healthz.

use super::query::Query;
use crate::lab::http::{Response, answer};

const CHECKS: [&str; 14] = [
    "ping",
    "log",
    "etcd",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/apiservice-discovery-controller",
    "autoregister-completion",
];

/// Only whether one may be sent traffic depends on these.
const READINESS: [&str; 2] = ["etcd-readiness", "informer-sync"];

/// `None`: it is no path of these.
pub(super) fn respond(path: &str, query: &Query) -> Option<Response> {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let which = parts.next().filter(|which| matches!(*which, "healthz" | "livez" | "readyz"))?;
    let mut checks = CHECKS.to_vec();
    if which == "readyz" {
        checks.splice(3..3, READINESS);
        checks.push("shutdown");
    }
    let plain = |text: String| answer(200, "OK", "text/plain; charset=utf-8", text);
    match parts.next() {
        Some(one) if checks.contains(&one) => return Some(plain("ok".into())),
        Some(_) => return None,
        None => {}
    }
    if !query.flag("verbose") {
        return Some(plain("ok".into()));
    }
    let excluded = query.text("exclude");
    let lines = checks.iter().map(|check| {
        let excluded = if *check == excluded { " excluded:" } else { "" };
        format!("[+]{check}{excluded} ok\n")
    });
    Some(plain(lines.chain([format!("{which} check passed\n")]).collect()))
}
