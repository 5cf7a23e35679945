//! URLs as `net/url` takes them apart and puts them together.

/// The parts of a URL that merge one by one. Nothing is normalised: Go keeps `https://h` without a slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::machineconfig) struct Url {
    pub(in crate::machineconfig) scheme: String,
    pub(in crate::machineconfig) user: String,
    /// With its port, and brackets around IPv6.
    pub(in crate::machineconfig) host: String,
    pub(in crate::machineconfig) path: String,
    pub(in crate::machineconfig) query: String,
    pub(in crate::machineconfig) fragment: String,
    /// `mailto:x`: everything after the colon.
    pub(in crate::machineconfig) opaque: String,
}

impl Url {
    pub(in crate::machineconfig) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: String| Err(format!("parse {text:?}: {what}"));
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return wrong("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Self::default();
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        fragment.clone_into(&mut url.fragment);
        let mut rest = rest;
        if let Some((scheme, tail)) = rest.split_once(':')
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|symbol| symbol.is_ascii_alphanumeric() || "+-.".contains(symbol))
        {
            url.scheme = scheme.to_ascii_lowercase();
            rest = tail;
        } else if rest.starts_with(':') {
            return wrong("missing protocol scheme".to_owned());
        }
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let escape = before.match_indices('%').map(|(at, _)| &before[at..]);
        let is_escape =
            |text: &str| text.len() >= 3 && text.bytes().skip(1).take(2).all(|byte| byte.is_ascii_hexdigit());
        if let Some(bad) = escape.into_iter().find(|text| !is_escape(text)) {
            return wrong(format!("invalid URL escape {:?}", bad.chars().take(3).collect::<String>()));
        }
        query.clone_into(&mut url.query);
        if let Some(authority) = before.strip_prefix("//") {
            let (authority, path) = authority.find('/').map_or((authority, ""), |at| authority.split_at(at));
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            user.clone_into(&mut url.user);
            host.clone_into(&mut url.host);
            path.clone_into(&mut url.path);
            if let Some(problem) = bad_host(host) {
                return wrong(problem);
            }
        } else if !url.scheme.is_empty() && !before.starts_with('/') {
            before.clone_into(&mut url.opaque);
        } else {
            if url.scheme.is_empty() && before.split('/').next().is_some_and(|first| first.contains(':')) {
                return wrong("first path segment in URL cannot contain colon".to_owned());
            }
            before.clone_into(&mut url.path);
        }
        Ok(url)
    }

    /// The host without port and brackets.
    pub(in crate::machineconfig) fn hostname(&self) -> &str {
        let host = self.host.strip_prefix('[').and_then(|host| host.split_once(']')).map(|(host, _)| host);
        host.unwrap_or_else(|| self.host.rsplit_once(':').map_or(self.host.as_str(), |(host, _)| host))
    }

    /// The port as written; empty without one.
    pub(in crate::machineconfig) fn port(&self) -> &str {
        let after = self.host.rsplit_once(']').map_or(self.host.as_str(), |(_, after)| after);
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            let authority = !(self.host.is_empty() && self.user.is_empty());
            if authority || !(self.scheme.is_empty() || self.path.is_empty()) {
                f.write_str("//")?;
            }
            if !self.user.is_empty() {
                write!(f, "{}@", self.user)?;
            }
            f.write_str(&self.host)?;
            if !self.path.is_empty() && !self.path.starts_with('/') && !self.host.is_empty() {
                f.write_str("/")?;
            }
            f.write_str(&self.path.replace(' ', "%20"))?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", self.fragment)?;
        }
        Ok(())
    }
}

fn bad_host(host: &str) -> Option<String> {
    let port = if let Some(tail) = host.strip_prefix('[') {
        let Some((_, port)) = tail.rsplit_once(']') else { return Some("missing ']' in host".to_owned()) };
        port
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !port.is_empty() && !digits {
        return Some(format!("invalid port {port:?} after host"));
    }
    host.chars()
        .find(|symbol| " \"<>\\^`{|}".contains(*symbol))
        .map(|symbol| format!("invalid character {:?} in host name", symbol.to_string()))
}

/// Parses and prints: `url.Parse(x).String()`.
pub(in crate::machineconfig) fn url(text: &str) -> Result<String, String> {
    Url::parse(text).map(|url| url.to_string())
}
