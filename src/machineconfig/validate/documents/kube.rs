//! Kubernetes documents (Talos 1.14).

use serde_json::Value;

use crate::machineconfig::validate::{Findings, flag, kubernetes, list, net, number, text, texts};

/// Prefixes of API server arguments that have documents of their own.
const DENIED: [(&str, &str); 6] = [
    ("anonymous-auth", "use KubeAuthenticationConfig"),
    ("oidc-", "use KubeAuthenticationConfig"),
    ("authentication-config", "use KubeAuthenticationConfig"),
    ("authorization-config", "use KubeAuthorizationConfig"),
    ("authorization-mode", "use KubeAuthorizationConfig"),
    ("authorization-webhook-", "use KubeAuthorizationConfig"),
];

pub(super) fn check(kind: &str, tree: &Value, found: &mut Findings) {
    match kind {
        "KubeletConfig" => kubernetes::protected(tree.get("config"), found),
        "KubeNodeConfig" => {
            for subnet in tree.get("nodeIP").into_iter().flat_map(|node| texts(node, "validSubnets")) {
                if let Err(bare) = net::subnet(subnet) {
                    found.error(format!("nodeIP subnet is not valid: {bare:?}"));
                }
            }
            for what in ["labels", "annotations", "taints"] {
                for problem in kubernetes::problems(tree.get(what), what) {
                    found.error(format!("invalid {what}: {problem}"));
                }
            }
        }
        "KubeNetworkConfig" => network(tree, found),
        "KubePrismConfig" => {
            found.check((1..=65_535).contains(&number(tree, "port")), "port must be between 1 and 65535");
        }
        "KubeAPIServerConfig" => {
            let args = tree.get("extraArgs").and_then(Value::as_object).into_iter().flatten();
            for (name, _) in args {
                if let Some((_, instead)) = DENIED.iter().find(|(prefix, _)| name.starts_with(prefix)) {
                    found.error(format!("kube-apiserver extra argument {name:?} is not allowed: {instead}"));
                }
            }
        }
        "KubeProxyConfig" if flag(tree, "enabled") != Some(false) => match text(tree, "mode") {
            "" | "nftables" => {}
            mode @ ("iptables" | "ipvs") => {
                found.warning(format!("proxy mode {mode:?} is not recommended, consider using \"nftables\""));
            }
            mode => {
                found.error(format!("invalid proxy mode {mode:?}: supported modes are iptables, ipvs and nftables"));
            }
        },
        "KubeClusterConfig" => {
            let endpoint = text(tree, "endpoint");
            if let Err(why) = net::endpoint(endpoint) {
                found.error(format!("invalid cluster endpoint: {why}"));
            }
        }
        _ => {}
    }
}

fn network(tree: &Value, found: &mut Findings) {
    for (key, what) in [("podSubnets", "pod subnets"), ("serviceSubnets", "service subnets")] {
        let v6 = texts(tree, key).filter(|subnet| subnet.contains(':')).count();
        let v4 = list(tree, key).len() - v6;
        found.check(v4 + v6 > 0, format!("{what}: at least one subnet must be specified"));
        found.check(
            v4 <= 1 && v6 <= 1,
            format!("{what}: at most one IPv4 and one IPv6 subnet can be specified for dual-stack clusters"),
        );
    }
    found.check(
        list(tree, "podSubnets").len() == list(tree, "serviceSubnets").len(),
        "the number of pod subnets must match the number of service subnets",
    );
}
