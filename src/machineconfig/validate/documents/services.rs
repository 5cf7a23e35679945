//! What runs beside the network: registries, logs, watchdogs, kernel settings, extension services.

use serde_json::Value;

use super::duration;
use crate::machineconfig::cel::{self, Scope};
use crate::machineconfig::go::Url;
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::pki;
use crate::machineconfig::validate::{Findings, flag, list, net, text};

/// Checks a document of one of these kinds; of a kind that has no rules nothing is said.
pub(super) fn check(kind: &str, name: &str, tree: &Value, minor: &Minor, found: &mut Findings) -> bool {
    match kind {
        "KmsgLogConfig" => kmsg(name, tree, found),
        "SideroLinkConfig" => siderolink(tree, found),
        "EventSinkConfig" => {
            if let Err(why) = net::host_port(text(tree, "endpoint")) {
                found.error(format!("event sink endpoint: {why}"));
            }
        }
        "ExtensionServiceConfig" => extension(name, tree, found),
        "WatchdogTimerConfig" => match (text(tree, "device"), duration(tree, "timeout")) {
            ("", _) => found.error("watchdog device: empty value"),
            (_, timeout) => {
                found.check(timeout == 0 || timeout >= 10_000_000_000, "watchdog timeout: minimum value is 10s");
            }
        },
        "EnvironmentConfig" => {
            for key in keys(tree, "variables").filter(|key| !is_variable(key)) {
                found.error(format!("invalid environment variable name: {key}", key = quoted(key)));
            }
        }
        "KernelModuleConfig" => found.check(!name.is_empty(), "name is required"),
        "SysctlConfig" => found.check(keys(tree, "params").all(|key| !key.is_empty()), "sysctl key cannot be empty"),
        "SysfsConfig" => found.check(keys(tree, "params").all(|key| !key.is_empty()), "sysfs key cannot be empty"),
        "OOMConfig" => oom(tree, minor, found),
        "ImageVerificationConfig" => {
            for (index, rule) in list(tree, "rules").iter().enumerate() {
                verification(index, rule, found);
            }
        }
        "RegistryAuthConfig" => {
            found.check(!name.is_empty(), "name must be specified");
            let [user, token, auth] = ["username", "identityToken", "auth"].map(|key| !text(tree, key).is_empty());
            found.check(
                !(user && token),
                "only one of username/password or identityToken authentication can be specified",
            );
            found.check(
                !(auth && (user || token)),
                "only one of auth, username/password or identityToken authentication can be specified",
            );
        }
        "RegistryMirrorConfig" => {
            found.check(!name.is_empty(), "name must be specified");
            for (index, endpoint) in list(tree, "endpoints").iter().enumerate() {
                match text(endpoint, "url") {
                    "" => found.error(format!("endpoints[{index}].url must be specified")),
                    url => {
                        let scheme = Url::parse(url).unwrap_or_default().scheme;
                        let ok = matches!(scheme.as_str(), "http" | "https");
                        found.check(
                            ok,
                            format!(
                                "endpoints[{index}].url has unsupported scheme: {scheme}",
                                scheme = quoted(&scheme)
                            ),
                        );
                    }
                }
            }
        }
        "RegistryTLSConfig" => {
            found.check(!name.is_empty(), "name must be specified");
            let ca = text(tree, "ca");
            let ok = ca.is_empty() || pki::has_certificate(ca);
            found.check(ok, "ca must be a valid PEM-encoded certificate");
            if let Some(identity) = tree.get("clientIdentity") {
                client_identity(identity, minor, found);
            }
        }
        _ => return false,
    }
    true
}

fn keys<'a>(tree: &'a Value, key: &str) -> impl Iterator<Item = &'a String> {
    tree.get(key).and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys)
}

/// The name of an environment variable by POSIX.
fn is_variable(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The certificate and key that are shown to a registry.
fn client_identity(pair: &Value, minor: &Minor, found: &mut Findings) {
    if minor.client_identity_as_pem {
        if let Err(why) = pki::check_pair(text(pair, "cert"), text(pair, "key")) {
            found.error(format!("client identity: {why}"));
        }
        return;
    }
    if let Err(why) = pki::check_certificate(text(pair, "cert")) {
        found.error(format!("client identity certificate is invalid: {why}"));
    }
    if let Err(why) = pki::check_pkcs8(text(pair, "key")) {
        found.error(format!("client identity key is invalid: {why}"));
    }
}

fn kmsg(name: &str, tree: &Value, found: &mut Findings) {
    if name.is_empty() {
        return found.error("name is required");
    }
    let url = text(tree, "url");
    if url.is_empty() {
        return found.error("url is required");
    }
    let url = Url::parse(url).unwrap_or_default();
    if !matches!(url.scheme.as_str(), "tcp" | "udp") {
        return found.error("url scheme must be tcp:// or udp://");
    }
    if !matches!(url.path.as_str(), "" | "/") {
        return found.error("url path must be empty");
    }
    found.check(!url.port().is_empty(), "url port is required");
}

fn siderolink(tree: &Value, found: &mut Findings) {
    let url = text(tree, "apiUrl");
    if url.is_empty() {
        return found.error("apiUrl is required");
    }
    let url = Url::parse(url).unwrap_or_default();
    if !matches!(url.scheme.as_str(), "https" | "grpc") {
        return found.error("apiUrl scheme must be https:// or grpc://");
    }
    found.check(matches!(url.path.as_str(), "" | "/"), "apiUrl path must be empty");
}

fn extension(name: &str, tree: &Value, found: &mut Findings) {
    if name.is_empty() {
        return found.error("name is required");
    }
    let (files, environment) = (list(tree, "configFiles"), list(tree, "environment"));
    if files.is_empty() && environment.is_empty() {
        return found.error(format!("no config files found for extension {name}", name = quoted(name)));
    }
    for file in files {
        for (key, what) in [("content", "content"), ("mountPath", "mount path")] {
            if text(file, key).is_empty() {
                return found.error(format!("extension {what} is required for extension {name}", name = quoted(name)));
            }
        }
    }
}

fn oom(tree: &Value, minor: &Minor, found: &mut Findings) {
    let expressions = [
        ("triggerExpression", "trigger", Scope::OomTrigger),
        ("cgroupRankingExpression", "cgroup scoring", Scope::OomRanking),
    ];
    for (key, what, scope) in expressions {
        let expression = Some(text(tree, key)).filter(|expression| !expression.is_empty());
        if let Some(why) = expression.and_then(|expression| cel::problem(expression, scope, minor)) {
            found.error(format!("OOM {what} expression is invalid: {why}"));
        }
    }
    found.check(duration(tree, "sampleInterval") >= 0, "OOM sample interval must be longer than 0");
}

fn verification(index: usize, rule: &Value, found: &mut Findings) {
    let pattern = text(rule, "image");
    found.check(!pattern.is_empty(), format!("rule {index}: imagePattern must be specified"));
    let only = "but matching only applies to the image registry and repository, not the tag or digest";
    if pattern.contains('@') {
        found.warning(format!("rule {index}: imagePattern contains '@' {only}"));
    }
    if pattern.split_once('/').is_some_and(|(_, path)| path.contains(':')) {
        found.warning(format!("rule {index}: imagePattern contains ':' {only}"));
    }
    if !pattern.contains('/') && !matches!(pattern, "" | "*") {
        found.warning(format!(
            "rule {index}: imagePattern does not contain a '/', image references like 'nginx' are matched as \
             'docker.io/nginx' (normalized)"
        ));
    }
    let (skip, deny) = (flag(rule, "skip") == Some(true), flag(rule, "deny") == Some(true));
    let (keyless, public) = (rule.get("keyless"), rule.get("publicKey"));
    let any = keyless.is_some() || public.is_some();
    let mut check = |ok: bool, why: &str| found.check(ok, format!("rule {index}: {why}"));
    check(!(skip && deny), "skip and deny cannot both be true");
    check(!((skip || deny) && any), "verifiers cannot be configured if skip or deny is true");
    check(skip || deny || any, "at least one verifier must be configured");
    check(keyless.is_none() || public.is_none(), "only one of keyless or publicKey verifier can be configured");
    if let Some(keyless) = keyless {
        check(!text(keyless, "issuer").is_empty(), "verifier OIDC issuer must be specified");
        let subject = ["subject", "subjectRegex"].iter().any(|key| !text(keyless, key).is_empty());
        check(subject, "verifier subject or subjectRegex must be specified");
    }
    if let Some(public) = public {
        check(!text(public, "certificate").is_empty(), "verifier certificates must be specified");
    }
}
