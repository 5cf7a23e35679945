//! References of images as `go-containerregistry` reads them, without strictness.

use crate::machineconfig::go::Url;

/// Whether an image is named by its digest; `None` for what is no reference at all.
pub(super) fn is_pinned(text: &str) -> Option<bool> {
    if is_tagged(text) {
        return Some(false);
    }
    let (base, digest) = text.split_once('@')?;
    let hex = digest.strip_prefix("sha256:")?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let ok = hex.len() == 64 && hex.bytes().all(lower);
    // A tag before the digest is read over.
    (ok && (is_tagged(base) || is_repository(base))).then_some(true)
}

fn is_tagged(text: &str) -> bool {
    match text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        None => is_repository(text),
        Some((base, tag)) => {
            let known = |symbol: char| symbol.is_ascii_alphanumeric() || "_-.".contains(symbol);
            (1..=128).contains(&tag.chars().count()) && tag.chars().all(known) && is_repository(base)
        }
    }
}

fn is_repository(name: &str) -> bool {
    let (registry, repository) = match name.split_once('/') {
        Some((registry, repository)) if registry == "localhost" || registry.contains(['.', ':']) => {
            (registry, repository)
        }
        _ => ("", name),
    };
    let known = |symbol: char| symbol.is_ascii_lowercase() || symbol.is_ascii_digit() || "_-./".contains(symbol);
    (2..=255).contains(&repository.chars().count())
        && repository.chars().all(known)
        && Url::parse(&format!("//{registry}")).is_ok_and(|url| url.host == registry)
}
