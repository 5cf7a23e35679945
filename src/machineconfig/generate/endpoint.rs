//! The Kubernetes endpoint as a person types it: `talosctl gen config` wants the whole URL, and says which.

use crate::machineconfig::go::{Url, quoted};

/// What talosctl says about an endpoint that is no `https://` URL.
pub fn check_endpoint(text: &str) -> Result<(), String> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        // It may be just a host and a port.
        Err(_) if !text.contains('/') => Url { host: text.to_owned(), ..Url::default() },
        Err(why) => return Err(format!("failed to parse the cluster endpoint URL: {why}")),
    };
    let has_port = !url.port().is_empty();
    let wrong = match url.scheme.as_str() {
        "https" => {
            return crate::machineconfig::validate::endpoint(text)
                .map_err(|why| format!("error validating the cluster endpoint URL: {why}"));
        }
        "" if has_port => "no scheme specified for the cluster endpoint URL",
        "" => "no scheme and port specified for the cluster endpoint URL",
        _ => "the control plane endpoint URL should have scheme https://",
    };
    Err(format!("{wrong}\ntry: {}", quoted(&completed(url).to_string())))
}

/// What talosctl proposes instead, which is nothing useful for `host:6443`: that reads as a scheme and its rest.
fn completed(mut url: Url) -> Url {
    if url.scheme.is_empty() && url.host.is_empty() {
        url.host = std::mem::take(&mut url.path);
    }
    "https".clone_into(&mut url.scheme);
    if url.port().is_empty() {
        url.host.push_str(":6443");
    }
    url
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
            ("k8s:6443", "the control plane endpoint URL should have scheme https://\ntry: \"https:6443\""),
            ("/x/y", "no scheme and port specified for the cluster endpoint URL\ntry: \"https://%2Fx%2Fy:6443\""),
            (
                "http://k8s:6443",
                "the control plane endpoint URL should have scheme https://\ntry: \"https://k8s:6443\"",
            ),
            (
                "https://k8s:port",
                "failed to parse the cluster endpoint URL: parse \"https://k8s:port\": invalid port \":port\" after host",
            ),
            ("https:///p", "error validating the cluster endpoint URL: hostname must not be blank"),
            ("https://:6443", "error validating the cluster endpoint URL: hostname must not be blank"),
        ] {
            assert_eq!(check_endpoint(bad), Err(text.to_owned()), "{bad}");
        }
    }
}
