//! What talosctl checks before it uses a bundle, with its texts.

use super::Bundle;
use crate::machineconfig::pki::{self, Pair};

/// Every problem, in talosctl's order. `has` tells whether a section was there at all.
pub(super) fn problems(bundle: &Bundle, has: impl Fn(&[&str]) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut require = |ok: bool, what: &str| {
        if !ok {
            problems.push(format!("{what} is required"));
        }
        ok
    };
    if require(has(&["cluster"]), "cluster") {
        require(!bundle.cluster_id.expose().is_empty(), "cluster.id");
        require(!bundle.cluster_secret.expose().is_empty(), "cluster.secret");
    }
    if require(has(&["secrets"]), "secrets") {
        const BOTH: &str = "of [secrets.secretboxencryptionsecret, secrets.aescbcencryptionsecret]";
        require(!bundle.bootstrap_token.expose().is_empty(), "secrets.bootstraptoken");
        match (&bundle.secretbox_secret, &bundle.aescbc_secret) {
            (None, None) => {
                require(false, &format!("one {BOTH}"));
            }
            (Some(_), Some(_)) => problems.push(format!("only one {BOTH} is allowed")),
            _ => {}
        }
    }
    let mut require = |ok: bool, what: &str| {
        if !ok {
            problems.push(format!("{what} is required"));
        }
        ok
    };
    if require(has(&["trustdinfo"]), "trustdinfo") {
        require(!bundle.trustd_token.expose().is_empty(), "trustdinfo.token");
    }
    if !require(has(&["certs"]), "certs") {
        return problems;
    }
    for (name, pair) in
        [("etcd", &bundle.etcd), ("k8s", &bundle.k8s), ("k8saggregator", &bundle.k8s_aggregator), ("os", &bundle.os)]
    {
        // The service account stands before the Talos CA in talosctl's list.
        if name == "os" {
            service_account(bundle, &has, &mut problems);
        }
        if !has(&["certs", name]) {
            problems.push(format!("certs.{name} is required"));
        } else if let Err(why) = check_pair(pair) {
            problems.push(format!("certs.{name} is invalid: {why}"));
        }
    }
    problems
}

fn service_account(bundle: &Bundle, has: &impl Fn(&[&str]) -> bool, problems: &mut Vec<String>) {
    if !has(&["certs", "k8sserviceaccount"]) {
        problems.push("certs.k8sserviceaccount is required".to_owned());
    } else if let Err(why) = pki::check_key(bundle.k8s_service_account.expose()) {
        // Talos words this one without the colon.
        let why = why.replacen("unsupported key type: ", "unsupported key type ", 1);
        problems.push(format!("certs.k8sserviceaccount.key is invalid: {why}"));
    }
}

fn check_pair(pair: &Pair) -> Result<(), String> {
    pki::check_certificate(&pair.crt)?;
    pki::check_key(pair.key.expose())
}
