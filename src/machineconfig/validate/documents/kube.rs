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
                    found.error(format!("invalid node {what}: {problem}"));
                }
            }
        }
        "KubeNetworkConfig" => network(tree, found),
        "KubePrismConfig" => {
            let port = number(tree, "port");
            found.check((1..=65_535).contains(&port), format!("invalid port {port}: must be in range 1-65535"));
        }
        "KubeAPIServerConfig" => {
            let args = tree.get("extraArgs").and_then(Value::as_object).into_iter().flatten();
            for (name, _) in args {
                if let Some((_, instead)) = DENIED.iter().find(|(prefix, _)| name.starts_with(prefix)) {
                    found.error(format!("kube-apiserver extra argument {name:?} is not allowed: {instead}"));
                }
            }
        }
        // A proxy that is off may be described in any way.
        "KubeProxyConfig" if flag(tree, "enabled") != Some(false) => proxy(tree, found),
        "KubeClusterConfig" => {
            found.check(!text(tree, "clusterName").is_empty(), "clusterName must be specified");
            match text(tree, "endpoint") {
                "" => found.error("endpoint must be specified"),
                endpoint => {
                    if let Err(why) = net::endpoint(endpoint) {
                        found.error(format!("cluster endpoint is invalid: {why}"));
                    }
                }
            }
        }
        _ => {}
    }
}

fn proxy(tree: &Value, found: &mut Findings) {
    found.check(!text(tree, "image").is_empty(), "proxy image cannot be empty");
    match text(tree, "mode") {
        "" | "nftables" => {}
        mode @ ("iptables" | "ipvs") => {
            found.warning(format!("proxy mode {mode:?} is not recommended, please switch to nftables if possible"));
        }
        mode => {
            found.error(format!("invalid proxy mode {mode:?}: supported modes are iptables, ipvs and nftables"));
        }
    }
    if tree.get("extraArgs").and_then(Value::as_object).is_some_and(|args| !args.is_empty()) {
        found.warning("extra arguments for kube-proxy may not work as expected, please use configuration instead");
    }
}

fn network(tree: &Value, found: &mut Findings) {
    for (key, what) in [("podSubnets", "pod subnets"), ("serviceSubnets", "service subnets")] {
        if let Err(why) = subnets(tree, key) {
            found.error(format!("{what}: {why}"));
        }
    }
    found.check(
        list(tree, "podSubnets").len() == list(tree, "serviceSubnets").len(),
        "the number of pod subnets must match the number of service subnets",
    );
}

/// The first thing wrong with a list of pod or service subnets.
fn subnets(tree: &Value, key: &str) -> Result<(), String> {
    let subnets: Vec<&str> = texts(tree, key).collect();
    match subnets.len() {
        0 => return Err("at least one subnets must be specified".to_owned()),
        1 | 2 => {}
        _ => return Err("at most two subnets can be specified for dual-stack clusters".to_owned()),
    }
    let mut families = Vec::new();
    for text in subnets {
        let subnet: ipnet::IpNet = text.parse().map_err(|_| format!("invalid subnet: {text}"))?;
        if subnet.trunc() != subnet {
            return Err(format!("invalid subnet: {text} is not a valid CIDR"));
        }
        if subnet.max_prefix_len() - subnet.prefix_len() < 4 {
            return Err(format!("invalid subnet: {text} is too small, it must be at least /4 IPs"));
        }
        families.push(subnet.addr().is_ipv4());
    }
    if let [first, second] = families[..]
        && first == second
    {
        return Err("at most one IPv4 and one IPv6 subnet can be specified for dual-stack clusters".to_owned());
    }
    Ok(())
}
