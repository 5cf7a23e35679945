//! From method and path to the registered call.

use std::collections::BTreeMap;

use super::schema::{Endpoint, Schema};

/// A call that exists, with the variables of its path.
pub(super) struct Route {
    pub endpoint: &'static Endpoint,
    pub variables: BTreeMap<String, String>,
}

/// Finds the call. Empty segments do not count, the case of letters does; `path` is already percent-decoded, so a
/// volume (`iso/talos.iso`) may span segments and takes the rest of the path.
pub(super) fn find(schema: &'static Schema, method: &str, path: &str) -> Option<Route> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let candidates = schema.endpoints.iter().filter(|endpoint| endpoint.method == method);
    // A literal segment is better than a variable one.
    candidates
        .filter_map(|endpoint| Some((endpoint, capture(&endpoint.path, &segments)?)))
        .min_by_key(|(_, variables)| variables.len())
        .map(|(endpoint, variables)| Route { endpoint, variables })
}

fn capture(pattern: &str, segments: &[&str]) -> Option<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    let mut rest = segments.iter();
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some("volume") => {
                let volume: Vec<&str> = rest.by_ref().copied().collect();
                if volume.is_empty() {
                    return None;
                }
                variables.insert("volume".to_owned(), volume.join("/"));
            }
            Some(name) => {
                variables.insert(name.to_owned(), (*rest.next()?).to_owned());
            }
            None if *rest.next()? == part => {}
            None => return None,
        }
    }
    rest.next().is_none().then_some(variables)
}
