//! The kinds of objects that the API knows: what discovery tells, and what paths may name.
//!
//! Kubernetes 1.35: pkg/registry, pkg/apis. Kinds that the lab never has an object of
//! are here all the same where `kubectl get all` and its like ask for them.

/// One kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Empty for the core group.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    /// As it stands in paths.
    pub(super) plural: &'static str,
    pub(super) name: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) namespaced: bool,
    /// Part of `kubectl get all`.
    pub(super) all: bool,
    /// It can only be created, as a question.
    pub(super) review: bool,
}

const fn kind(
    group: &'static str,
    plural: &'static str,
    name: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
) -> Kind {
    Kind { group, version: "v1", plural, name, short, namespaced, all: false, review: false }
}

const fn all(group: &'static str, plural: &'static str, name: &'static str, short: &'static [&'static str]) -> Kind {
    Kind { all: true, ..kind(group, plural, name, short, true) }
}

const fn review(group: &'static str, plural: &'static str, name: &'static str) -> Kind {
    Kind { review: true, ..kind(group, plural, name, &[], false) }
}

#[rustfmt::skip]
pub(super) static KINDS: [Kind; 34] = [
    kind("", "componentstatuses", "ComponentStatus", &["cs"], false),
    kind("", "configmaps", "ConfigMap", &["cm"], true),
    kind("", "endpoints", "Endpoints", &["ep"], true),
    kind("", "events", "Event", &["ev"], true),
    kind("", "namespaces", "Namespace", &["ns"], false),
    kind("", "nodes", "Node", &["no"], false),
    kind("", "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"], true),
    kind("", "persistentvolumes", "PersistentVolume", &["pv"], false),
    all("", "pods", "Pod", &["po"]),
    all("", "replicationcontrollers", "ReplicationController", &["rc"]),
    kind("", "secrets", "Secret", &[], true),
    kind("", "serviceaccounts", "ServiceAccount", &["sa"], true),
    all("", "services", "Service", &["svc"]),
    all("apps", "daemonsets", "DaemonSet", &["ds"]),
    all("apps", "deployments", "Deployment", &["deploy"]),
    all("apps", "replicasets", "ReplicaSet", &["rs"]),
    all("apps", "statefulsets", "StatefulSet", &["sts"]),
    kind("events.k8s.io", "events", "Event", &["ev"], true),
    review("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    review("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    review("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    Kind { version: "v2", ..all("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"]) },
    all("batch", "cronjobs", "CronJob", &["cj"]),
    all("batch", "jobs", "Job", &[]),
    kind("networking.k8s.io", "ingresses", "Ingress", &["ing"], true),
    kind("networking.k8s.io", "networkpolicies", "NetworkPolicy", &["netpol"], true),
    kind("policy", "poddisruptionbudgets", "PodDisruptionBudget", &["pdb"], true),
    kind("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", &[], false),
    kind("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", &[], false),
    kind("rbac.authorization.k8s.io", "rolebindings", "RoleBinding", &[], true),
    kind("rbac.authorization.k8s.io", "roles", "Role", &[], true),
    kind("storage.k8s.io", "storageclasses", "StorageClass", &["sc"], false),
    kind("scheduling.k8s.io", "priorityclasses", "PriorityClass", &["pc"], false),
    kind("coordination.k8s.io", "leases", "Lease", &[], true),
];

impl Kind {
    /// `v1`, `apps/v1`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    pub(super) fn singular(&self) -> String {
        self.name.to_lowercase()
    }

    pub(super) fn verbs(&self) -> &'static [&'static str] {
        match (self.review, self.plural) {
            (true, _) => &["create"],
            (false, "componentstatuses") => &["get", "list"],
            (false, "nodes") => &["delete", "get", "list", "patch", "update", "watch"],
            (false, "pods") => &["delete", "get", "list", "watch"],
            (false, _) => &["get", "list", "watch"],
        }
    }

    /// How errors and reviews name it: `nodes`, `deployments.apps`.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// Every group with its version, in the order of the table; the core group, which is none, is not among them.
pub(super) fn groups() -> Vec<(&'static str, &'static str)> {
    let mut groups = Vec::new();
    for kind in KINDS.iter().filter(|kind| !kind.group.is_empty()) {
        if !groups.contains(&(kind.group, kind.version)) {
            groups.push((kind.group, kind.version));
        }
    }
    groups
}

pub(super) fn of_group(group: &str, version: &str) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(move |kind| kind.group == group && kind.version == version)
}

/// What a path below `/api` or `/apis` is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: &'static Kind,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Place {
    /// `None`: there is no such resource.
    pub(super) fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, sub @ ..] => (*plural, Some(*name), Some(sub.join("/"))),
            [] => return None,
        };
        let kind = of_group(group, version).find(|kind| kind.plural == plural)?;
        let owned = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        // A namespaced object is only found in its namespace.
        let fits = kind.namespaced || namespace.is_none();
        let found = kind.review || !kind.namespaced || namespace.is_some() || name.is_none();
        (fits && found).then(|| Self { kind, namespace: owned(namespace), name: owned(name), subresource })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_kinds_namespaces_and_objects() {
        let place = |path: &str| {
            let place = Place::of(path)?;
            Some((place.kind.name, place.namespace.unwrap_or_default(), place.name.unwrap_or_default()))
        };
        let found = |kind, namespace: &str, name: &str| Some((kind, namespace.to_owned(), name.to_owned()));
        assert_eq!(place("/api/v1/nodes"), found("Node", "", ""));
        assert_eq!(place("/api/v1/namespaces/kube-system"), found("Namespace", "", "kube-system"));
        assert_eq!(place("/api/v1/namespaces/kube-system/pods/a"), found("Pod", "kube-system", "a"));
        assert_eq!(place("/apis/apps/v1/deployments"), found("Deployment", "", ""));
        for absent in ["/api/v1/nonsense", "/api/v1/namespaces/x/nodes", "/apis/apps/v2/deployments", "/api/v1/pods/a"]
        {
            assert_eq!(place(absent), None, "{absent}");
        }
        assert_eq!(Place::of("/api/v1/namespaces/a/pods/b/log").unwrap().subresource.as_deref(), Some("log"));
    }
}
