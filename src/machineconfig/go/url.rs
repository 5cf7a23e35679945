//! URLs as `net/url` takes them apart and puts them together.

use std::net::IpAddr;

use super::addr;
use super::escape::{Part, escape, normal, unescape};
use super::quoted;

/// The parts of a URL that merge one by one. Nothing is normalised but escapes: Go keeps `https://h` without a slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::machineconfig) struct Url {
    pub(in crate::machineconfig) scheme: String,
    pub(in crate::machineconfig) user: String,
    /// With its port, and brackets around IPv6; without escapes.
    pub(in crate::machineconfig) host: String,
    pub(in crate::machineconfig) path: String,
    pub(in crate::machineconfig) query: String,
    pub(in crate::machineconfig) fragment: String,
    /// `mailto:x`: everything after the colon.
    pub(in crate::machineconfig) opaque: String,
    /// A question mark without anything behind it.
    pub(in crate::machineconfig) empty_query: bool,
    /// A path that begins with a slash right behind the scheme.
    pub(in crate::machineconfig) no_host: bool,
}

impl Url {
    /// `url.Parse`. Several colons in a host are let pass, as Go did up to 1.25 and was seen to do in every Talos.
    pub(in crate::machineconfig) fn parse(text: &str) -> Result<Self, String> {
        let (bare, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = Self::read(bare, false).map_err(|why| format!("parse {bare}: {why}", bare = quoted(bare)))?;
        url.fragment =
            normal(fragment, Part::Fragment).map_err(|why| format!("parse {text}: {why}", text = quoted(text)))?;
        Ok(url)
    }

    /// `url.ParseRequestURI`: absolute, or a path; a `#` means nothing.
    pub(in crate::machineconfig) fn parse_request(text: &str) -> Result<Self, String> {
        Self::read(text, true).map_err(|why| format!("parse {text}: {why}", text = quoted(text)))
    }

    fn read(text: &str, request: bool) -> Result<Self, String> {
        let wrong = |why: &str| Err(why.to_owned());
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return wrong("net/url: invalid control character in URL");
        }
        if text.is_empty() && request {
            return wrong("empty url");
        }
        let mut url = Self::default();
        if text == "*" {
            text.clone_into(&mut url.path);
            return Ok(url);
        }
        let mut rest = text;
        if let Some((scheme, tail)) = rest.split_once(':')
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|symbol| symbol.is_ascii_alphanumeric() || "+-.".contains(symbol))
        {
            url.scheme = scheme.to_ascii_lowercase();
            rest = tail;
        } else if rest.starts_with(':') {
            return wrong("missing protocol scheme");
        }
        if let Some((before, query)) = rest.split_once('?') {
            rest = before;
            url.empty_query = query.is_empty();
            query.clone_into(&mut url.query);
        }
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Ok(url);
            }
            if request {
                return wrong("invalid URI for request");
            }
            if rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return wrong("first path segment in URL cannot contain colon");
            }
        }
        let has_authority = !url.scheme.is_empty() || (!request && !rest.starts_with("///"));
        if let Some(authority) = rest.strip_prefix("//").filter(|_| has_authority) {
            let (authority, path) = authority.find('/').map_or((authority, ""), |at| authority.split_at(at));
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            url.host = read_host(host)?;
            url.user = read_user(user)?;
            rest = path;
        } else {
            url.no_host = !url.scheme.is_empty() && rest.starts_with('/');
        }
        url.path = normal(rest, Part::Path)?;
        Ok(url)
    }

    /// The host without port and brackets.
    pub(in crate::machineconfig) fn hostname(&self) -> &str {
        let host = self.split().0;
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port as written; empty without one.
    pub(in crate::machineconfig) fn port(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        let parts = self.host.rsplit_once(':');
        parts.filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or((&self.host, ""))
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            let authority = !(self.host.is_empty() && self.user.is_empty());
            if authority || !(self.no_host || self.scheme.is_empty() || self.path.is_empty()) {
                f.write_str("//")?;
            }
            if !self.user.is_empty() {
                write!(f, "{}@", self.user)?;
            }
            f.write_str(&escape(&self.host, Part::Host))?;
            if !self.path.is_empty() && !self.path.starts_with('/') && !self.host.is_empty() {
                f.write_str("/")?;
            }
            f.write_str(&self.path)?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if self.empty_query || !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", self.fragment)?;
        }
        Ok(())
    }
}

fn read_user(user: &str) -> Result<String, String> {
    let known = |symbol: char| symbol.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(symbol);
    if !user.chars().all(known) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let part = |text| Ok::<_, String>(escape(&unescape(text, Part::User)?, Part::User));
    match user.split_once(':') {
        Some((name, password)) => Ok(format!("{}:{}", part(name)?, part(password)?)),
        None => part(user),
    }
}

fn read_host(host: &str) -> Result<String, String> {
    let port = |text: &str| {
        let digits = text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        if text.is_empty() || digits {
            Ok(())
        } else {
            Err(format!("invalid port {text} after host", text = quoted(text)))
        }
    };
    match host.rfind('[') {
        None => {}
        Some(0) => {
            let Some((address, after)) = host[1..].rsplit_once(']') else {
                return Err("missing ']' in host".to_owned());
            };
            port(after)?;
            let at = address.find("%25").unwrap_or(address.len());
            let plain = unescape(&address[..at], Part::Host)? + &unescape(&address[at..], Part::Zone)?;
            return match addr::addr(&plain) {
                Err(why) => Err(format!("invalid host: {why}")),
                Ok(IpAddr::V4(_)) => Err("invalid IP-literal".to_owned()),
                Ok(IpAddr::V6(_)) => Ok(format!("[{plain}]{after}")),
            };
        }
        Some(_) => return Err("invalid IP-literal".to_owned()),
    }
    port(host.rfind(':').map_or("", |at| &host[at..]))?;
    unescape(host, Part::Host)
}

/// Parses and prints: `url.Parse(x).String()`.
pub(in crate::machineconfig) fn url(text: &str) -> Result<String, String> {
    Url::parse(text).map(|url| url.to_string())
}
