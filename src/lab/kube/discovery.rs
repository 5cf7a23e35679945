//! What the API says about itself, in both forms: a document for each group, and all of them at once for clients that
//! know how to ask for that (kubectl since 1.27).

use serde_json::{Value, json};

use super::kinds::{self, Kind};

/// How a client asks for everything at once.
fn wants_all(accept: &str) -> Option<&'static str> {
    let asks = |version: &str| {
        accept.split(',').any(|one| {
            let has = |part: &str| one.split(';').any(|own| own.trim() == part);
            has("g=apidiscovery.k8s.io") && has(&format!("v={version}")) && has("as=APIGroupDiscoveryList")
        })
    };
    ["v2", "v2beta1"].into_iter().find(|version| asks(version))
}

/// The document at a discovery path, with its content type. `version` is the API server's, with its `v`.
pub(super) fn document(path: &str, accept: &str, version: &str) -> Option<(Value, String)> {
    let plain = "application/json".to_owned();
    if let ("/api" | "/apis", Some(discovery)) = (path, wants_all(accept)) {
        let kind = format!("application/json;g=apidiscovery.k8s.io;v={discovery};as=APIGroupDiscoveryList");
        return Some((everything(path, discovery), kind));
    }
    let value = match path {
        "/version" => build(version),
        "/api" => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.96.0.1:443"}],
        }),
        "/apis" => {
            let groups: Vec<Value> = kinds::groups().into_iter().map(|(group, version)| of(group, version)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        "/api/v1" => resources("", "v1"),
        "" => json!({"paths": paths()}),
        _ => match path.strip_prefix("/apis/")?.split('/').collect::<Vec<_>>().as_slice() {
            [group] => {
                let (group, version) = kinds::groups().into_iter().find(|(known, _)| known == group)?;
                let mut value = of(group, version);
                value["kind"] = json!("APIGroup");
                value["apiVersion"] = json!("v1");
                value
            }
            [group, version] => {
                kinds::groups().into_iter().find(|known| known == &(*group, *version))?;
                resources(group, version)
            }
            _ => return None,
        },
    };
    Some((value, plain))
}

fn build(version: &str) -> Value {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    json!({
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "gitVersion": version, "gitCommit": "0000000000000000000000000000000000000000", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.25.5", "compiler": "gc", "platform": "linux/amd64",
    })
}

fn paths() -> Vec<String> {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).to_vec();
    for (group, version) in kinds::groups() {
        paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
    }
    paths.extend(["/healthz", "/livez", "/readyz", "/version"].map(str::to_owned));
    paths.sort();
    paths
}

fn of(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn resources(group: &str, version: &str) -> Value {
    let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let resources: Vec<Value> = kinds::of_group(group, version)
        .map(|kind| {
            let mut value = json!({
                "name": kind.plural, "singularName": kind.singular(), "namespaced": kind.namespaced,
                "kind": kind.name, "verbs": kind.verbs(),
            });
            decorate(kind, &mut value);
            value
        })
        .collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources})
}

fn decorate(kind: &Kind, value: &mut Value) {
    if !kind.short.is_empty() {
        value["shortNames"] = json!(kind.short);
    }
    if kind.all {
        value["categories"] = json!(["all"]);
    }
}

fn everything(path: &str, discovery: &str) -> Value {
    let groups = if path == "/api" { vec![("", "v1")] } else { kinds::groups() };
    let items: Vec<Value> = groups
        .into_iter()
        .map(|(group, version)| {
            let resources: Vec<Value> = kinds::of_group(group, version).map(described).collect();
            json!({
                "metadata": {"name": if group.is_empty() { Value::Null } else { json!(group) }, "creationTimestamp": null},
                "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{discovery}"),
        "metadata": {}, "items": items,
    })
}

fn described(kind: &Kind) -> Value {
    let mut value = json!({
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.name},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular(),
        "verbs": kind.verbs(),
    });
    decorate(kind, &mut value);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_resources() {
        let (all, kind) = document(
            "/apis",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
            "v1.35.0",
        )
        .unwrap();
        assert!(kind.ends_with("v=v2;as=APIGroupDiscoveryList"));
        let (groups, _) = document("/apis", "application/json", "v1.35.0").unwrap();
        let listed = groups["groups"].as_array().unwrap();
        assert_eq!(listed.len(), all["items"].as_array().unwrap().len());
        for (group, item) in listed.iter().zip(all["items"].as_array().unwrap()) {
            let path = format!("/apis/{}", group["versions"][0]["groupVersion"].as_str().unwrap());
            let (own, _) = document(&path, "*/*", "v1.35.0").unwrap();
            let names = |list: &Value, key: &str| -> Vec<Value> {
                list.as_array().unwrap().iter().map(|resource| resource[key].clone()).collect()
            };
            assert_eq!(names(&own["resources"], "name"), names(&item["versions"][0]["resources"], "resource"));
        }
        assert!(document("/apis/nonsense", "", "v1.35.0").is_none());
    }
}
