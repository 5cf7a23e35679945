//! The Kubernetes endpoint as a person types it: `talosctl gen config` wants the whole URL, and says which.

use crate::machineconfig::go::{Url, quoted};

/// What talosctl says about an endpoint that is no `https://` URL.
pub fn check_endpoint(text: &str) -> Result<(), String> {
    let url = match Url::parse(text) {
        Ok(url) if url.scheme.is_empty() => Url { host: text.to_owned(), ..Url::default() },
        Ok(url) if url.host.is_empty() && url.opaque.bytes().all(|byte| byte.is_ascii_digit()) => {
            // `host:6443` reads as a scheme and its rest.
            Url { host: text.to_owned(), ..Url::default() }
        }
        Ok(url) => url,
        Err(_) if !text.contains('/') => Url { host: text.to_owned(), ..Url::default() },
        Err(why) => return Err(format!("failed to parse the cluster endpoint URL: {why}")),
    };
    let tried = || {
        let port = if url.port().is_empty() { ":6443" } else { "" };
        format!("try: {}", quoted(&format!("https://{}{port}", url.host)))
    };
    match (url.scheme.as_str(), url.port()) {
        ("https", _) => crate::machineconfig::validate::endpoint(text)
            .map_err(|why| format!("error validating the cluster endpoint URL: {why}")),
        ("", "") => Err(format!("no scheme and port specified for the cluster endpoint URL\n{}", tried())),
        ("", _) => Err(format!("no scheme specified for the cluster endpoint URL\n{}", tried())),
        _ => Err(format!("the control plane endpoint URL should have scheme https://\n{}", tried())),
    }
}

#[cfg(test)]
mod tests {
    use super::check_endpoint;

    #[test]
    fn says_what_to_type_instead() {
        for good in ["https://10.0.0.10:6443", "https://k8s.example.net", "https://[fd00::1]:6443/"] {
            assert_eq!(check_endpoint(good), Ok(()), "{good}");
        }
        for (bad, text) in [
            ("10.0.0.10", "no scheme and port specified for the cluster endpoint URL\ntry: \"https://10.0.0.10:6443\""),
            ("10.0.0.10:443", "no scheme specified for the cluster endpoint URL\ntry: \"https://10.0.0.10:443\""),
            ("k8s:6443", "no scheme specified for the cluster endpoint URL\ntry: \"https://k8s:6443\""),
            (
                "http://k8s:6443",
                "the control plane endpoint URL should have scheme https://\ntry: \"https://k8s:6443\"",
            ),
            (
                "https://k8s:port",
                "failed to parse the cluster endpoint URL: parse \"https://k8s:port\": invalid port \":port\" after host",
            ),
            ("https://:6443", "error validating the cluster endpoint URL: hostname must not be blank"),
        ] {
            assert_eq!(check_endpoint(bad), Err(text.to_owned()), "{bad}");
        }
    }
}
