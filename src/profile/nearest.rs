//! "Did you mean": the nearest of some known names.

/// The name of `known` that `typed` was most likely meant to be, or `None` when nothing is near.
///
/// Two measures, because they catch different mistakes: edit distance for typing
/// errors (`verison`), and one name holding the other for half-remembered ones (`schematic` for `schematic_id`).
pub(super) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let typed = plain(typed);
    let score = |name: &str| {
        let name = plain(name);
        let distance = strsim::damerau_levenshtein(&typed, &name);
        let holds = typed.len() >= 3 && name.len() >= 3 && (name.contains(&typed) || typed.contains(&name));
        let near = distance * 3 <= typed.len().max(name.len());
        (near || holds).then_some(distance)
    };
    known.filter_map(|name| Some((score(name)?, name))).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_and_half_remembered_names_are_found_and_strangers_are_not() {
        let near =
            |typed| nearest(typed, ["version", "kubernetes_version", "vip", "schematic_id", "secureboot"].into_iter());
        assert_eq!(near("verison"), Some("version"));
        assert_eq!(near("kubernetesVersion"), Some("kubernetes_version"));
        assert_eq!(near("schematic"), Some("schematic_id"));
        assert_eq!(near("secure-boot"), Some("secureboot"));
        assert_eq!(near("flux"), None);
    }
}
