//! Row by row: the old form is refused by the contract, the new one is accepted by it and says the same.

use super::{Rewritten, Target, rewrite};
use crate::inventory::Role;
use crate::machineconfig::tests::bundle;
use crate::machineconfig::view::View;
use crate::machineconfig::{Contract, Documents, Input, Minor, Mode, Patch, PatchSource, apply, generate, validate};

fn contract(text: &str) -> Contract {
    Contract::parse(text).expect("known")
}

fn rewritten(text: &str, version: &str) -> Option<Rewritten> {
    rewrite(text, Target { contract: &contract(version), install_disk: "/dev/sda" }).expect("YAML")
}

/// The default configuration of a contract with one patch on it; the error of whatever refuses.
fn with(text: &str, version: &str, role: Role) -> Result<Documents, String> {
    let minor = Minor::parse(version).expect("known");
    let input =
        Input { install_image: "example.test/i:v1".into(), ..Input::new("lab", "https://10.0.0.10:6443", "1.35.0") };
    let made = generate(&contract(version), &bundle("secrets/secrets-a.yaml"), role, &input).expect("generated");
    let load = |text: &str| Patch::load(text, PatchSource::Inline("test".into()), &minor);
    let patches =
        Some(text).filter(|text| !text.is_empty()).map(load).transpose().map_err(|error| error.to_string())?;
    let patched = apply(&made, patches.as_slice(), &minor).map_err(|error| error.to_string())?;
    let verdict = validate(&patched, Mode::Metal, false, &minor);
    if verdict.is_valid() { Ok(patched) } else { Err(verdict.errors.join("\n")) }
}

/// Checks that `old` is refused, and gives the control plane and the worker with the new form.
fn accepted(old: &str, version: &str) -> (Documents, Documents, Rewritten) {
    assert!(with(old, version, Role::ControlPlane).is_err(), "{version} takes the old form: {old}");
    let new = rewritten(old, version).unwrap_or_else(|| panic!("{version} leaves it: {old}"));
    let texts = |parts: &[&Option<String>]| -> String {
        parts.iter().filter_map(|part| part.as_deref()).collect::<Vec<_>>().join("---\n")
    };
    let control_plane = texts(&[&new.shared, &new.control_plane]);
    let control_plane = with(&control_plane, version, Role::ControlPlane);
    let control_plane = control_plane.unwrap_or_else(|error| panic!("{old}\nbecame\n{new:?}\n{error}"));
    let worker = with(&texts(&[&new.shared]), version, Role::Worker);
    let worker = worker.unwrap_or_else(|error| panic!("worker: {old}\nbecame\n{new:?}\n{error}"));
    (control_plane, worker, new)
}

fn text(documents: &Documents, kind: &str) -> String {
    documents.of_kind(kind).map(|document| document.tree().to_string()).collect()
}

#[test]
fn json_patches_become_strategic_and_then_documents() {
    let old = r#"[{"op": "add", "path": "/cluster/network/podSubnets", "value": ["10.42.0.0/16"]},
                  {"op": "add", "path": "/cluster/network/serviceSubnets", "value": ["10.43.0.0/16"]}]"#;
    for version in ["1.12", "1.13", "1.14"] {
        let (made, worker, _) = accepted(old, version);
        for made in [made, worker] {
            let view = View::of(&made);
            assert_eq!(
                (view.pod_subnets, view.service_subnets),
                (vec!["10.42.0.0/16".into()], vec!["10.43.0.0/16".into()])
            );
        }
    }
    assert_eq!(rewritten(old, "1.11"), None, "a single document takes it");
    let moving = rewritten(r#"[{"op": "move", "from": "/machine/a", "path": "/machine/b"}]"#, "1.13").expect("a note");
    assert!(moving.shared.is_none() && moving.notes[0].contains("no strategic form"), "{moving:?}");
}

#[test]
fn subnets_and_domain() {
    let old = "cluster: {network: {podSubnets: [10.42.0.0/16], serviceSubnets: [10.43.0.0/16], dnsDomain: k8s.test}}";
    let (made, worker, new) = accepted(old, "1.14");
    assert_eq!(
        (View::of(&made).pod_subnets, View::of(&worker).service_subnets),
        (vec!["10.42.0.0/16".into()], vec!["10.43.0.0/16".into()])
    );
    assert!(
        text(&worker, "KubeNetworkConfig").contains("k8s.test") && new.control_plane.is_none() && new.notes.is_empty()
    );
    assert_eq!(rewritten(old, "1.13"), None);
}

#[test]
fn hostname() {
    for version in ["1.12", "1.13", "1.14"] {
        let (made, worker, _) = accepted("machine: {network: {hostname: cp-1}}", version);
        assert_eq!((View::of(&made).hostname, View::of(&worker).hostname), (Some("cp-1".into()), Some("cp-1".into())));
    }
    assert_eq!(rewritten("machine: {network: {hostname: cp-1}}", "1.11"), None);
}

#[test]
fn resolvers_search_domains_and_host_dns() {
    let old = "machine:\n  network:\n    nameservers: [1.1.1.1, 8.8.8.8]\n    searchDomains: [a.test]\n    disableSearchDomain: true\n  features:\n    hostDNS: {enabled: true, forwardKubeDNSToHost: true, resolveMemberNames: true}\n";
    let (made, worker, _) = accepted(old, "1.14");
    assert_eq!(View::of(&worker).nameservers, ["1.1.1.1", "8.8.8.8"]);
    let resolver = text(&made, "ResolverConfig");
    for part in ["\"domains\":[\"a.test\"]", "\"disableDefault\":true", "\"resolveMemberNames\":true"] {
        assert!(resolver.contains(part), "{resolver}");
    }
}

#[test]
fn kubelet() {
    let old = "machine:\n  kubelet:\n    extraArgs: {feature-gates: ImageVolume=true, v: 1.10}\n    extraConfig: {serializeImagePulls: false}\n    nodeIP: {validSubnets: [192.168.20.0/22]}\n    clusterDNS: [10.43.0.10]\n    registerWithFQDN: true\n    disableManifestsDirectory: true\n";
    let (_, worker, new) = accepted(old, "1.14");
    let kubelet = text(&worker, "KubeletConfig");
    for part in ["ImageVolume=true", "\"v\":\"1.10\"", "\"serializeImagePulls\":false", "10.43.0.10"] {
        assert!(kubelet.contains(part), "{kubelet}");
    }
    assert!(text(&worker, "KubeNodeConfig").contains("192.168.20.0/22"));
    assert!(new.notes.len() == 1 && new.notes[0].contains("disableManifestsDirectory"), "{:?}", new.notes);
}

#[test]
fn extra_mounts_have_no_document() {
    let old = "machine: {kubelet: {extraMounts: [{destination: /var/x, source: /var/x, type: bind, options: [bind]}]}}";
    let new = rewritten(old, "1.14").expect("a note");
    assert!(new.notes[0].starts_with("machine.kubelet still says something"), "{new:?}");
    assert!(new.shared.expect("left where it is").contains("extraMounts"));
}

#[test]
fn api_server() {
    let old = "cluster:\n  apiServer:\n    extraArgs: {feature-gates: ImageVolume=true}\n    certSANs: [api.test]\n    disablePodSecurityPolicy: true\n    auditPolicy: {apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None}]}\n    admissionControl:\n      - name: PodSecurity\n        configuration: {defaults: {enforce: privileged}}\n";
    let (made, _, new) = accepted(old, "1.14");
    assert!(new.shared.is_none(), "nothing of it is for workers");
    let server = text(&made, "KubeAPIServerConfig");
    assert!(server.contains("ImageVolume=true") && server.contains("\"certExtraSANs\":[\"api.test\"]"), "{server}");
    assert!(text(&made, "KubeAuditPolicyConfig").contains("None"));
    assert!(text(&made, "KubeAdmissionControlConfig").contains("\"enforce\":\"privileged\""));
}

#[test]
fn no_cni_and_no_proxy() {
    let (made, worker, _) = accepted("cluster: {network: {cni: {name: none}}, proxy: {disabled: true}}", "1.14");
    let view = View::of(&made);
    assert_eq!((view.cni.as_str(), view.kube_proxy), ("none", false));
    assert_eq!(View::of(&worker).cni, "none", "a worker has no CNI's document anyway");
}

#[test]
fn a_cni_of_ones_own() {
    let old = "cluster: {network: {cni: {name: custom, urls: ['https://a.test/1.yaml', 'https://a.test/2.yaml']}}}";
    let (made, _, _) = accepted(old, "1.14");
    assert_eq!(View::of(&made).cni, "custom");
    assert_eq!(made.of_kind("KubeExternalManifestConfig").count(), 2);
}

#[test]
fn scheduling_on_control_planes_beside_labels() {
    let old = "machine: {nodeLabels: {a: b}, nodeAnnotations: {c: d}, nodeTaints: {e: 'f:NoSchedule'}}\ncluster: {allowSchedulingOnControlPlanes: true}";
    let (made, worker, _) = accepted(old, "1.14");
    assert!(View::of(&made).allow_scheduling_on_control_planes);
    for documents in [made, worker] {
        let node = text(&documents, "KubeNodeConfig");
        assert!(
            node.contains("\"a\":\"b\"") && node.contains("\"c\":\"d\"") && node.contains("f:NoSchedule"),
            "{node}"
        );
    }
}

#[test]
fn install_disk_and_image() {
    let (_, worker, _) = accepted("machine: {install: {disk: /dev/vda, wipe: true}}", "1.14");
    let install = View::of(&worker).install.expect("an installation");
    assert_eq!((install.disk.as_deref(), install.wipe), (Some("/dev/vda"), true));
    let (made, _, _) = accepted("machine: {install: {image: 'example.test/other:v1'}}", "1.14");
    let install = View::of(&made).install.expect("an installation");
    assert_eq!((install.disk.as_deref(), install.image.as_deref()), (Some("/dev/sda"), Some("example.test/other:v1")));
}

#[test]
fn kernel_arguments_go_to_the_schematic() {
    for version in ["1.12", "1.14"] {
        let new = rewritten("machine: {install: {extraKernelArgs: [a=b, c]}}", version).expect("a note");
        assert!(new.shared.is_none() && new.notes[0].contains("put a=b c into the schematic"), "{new:?}");
    }
}

#[test]
fn discovery_off_or_elsewhere() {
    let (made, worker, _) = accepted("cluster: {discovery: {enabled: false}}", "1.14");
    assert!(!View::of(&made).discovery && !View::of(&worker).discovery);
    let old = "cluster: {discovery: {enabled: true, registries: {kubernetes: {disabled: true}, service: {endpoint: 'https://d.test/'}}}}";
    let (made, _, _) = accepted(old, "1.14");
    assert!(text(&made, "DiscoveryServiceConfig").contains("https://d.test/"));
}

#[test]
fn the_rest_of_the_control_plane() {
    let old = "machine: {features: {kubePrism: {enabled: true, port: 7446}}}\ncluster:\n  controllerManager: {extraArgs: {a: b}}\n  scheduler: {extraArgs: {a: b}, config: {profiles: []}}\n  coreDNS: {disabled: true}\n";
    let (made, worker, _) = accepted(old, "1.14");
    assert!(text(&worker, "KubePrismConfig").contains("7446"));
    assert!(text(&made, "KubeCoreDNSConfig").contains("\"enabled\":false"));
    assert!(text(&made, "KubeSchedulerConfig").contains("profiles"));
    let (made, _, _) = accepted("machine: {features: {kubePrism: {enabled: false}}}", "1.14");
    assert!(!made.has_kind("KubePrismConfig"));
}

#[test]
fn the_issuer_of_tokens_follows_the_endpoint() {
    let (made, worker, _) = accepted("cluster: {controlPlane: {endpoint: 'https://api.test:6443'}}", "1.14");
    assert!(text(&made, "KubeServiceAccountConfig").contains("https://api.test:6443"));
    assert!(text(&worker, "KubeClusterConfig").contains("https://api.test:6443"));
}

#[test]
fn authorizers_ask_in_the_order_of_the_list() {
    let names = |old: &str| -> Vec<String> {
        let (made, ..) = accepted(old, "1.14");
        made.of_kind("KubeAuthorizerConfig").filter_map(|document| document.name().map(str::to_owned)).collect()
    };
    let list = |list: &str| format!("cluster: {{apiServer: {{authorizationConfig: [{list}]}}}}");
    let hook = "{type: Webhook, name: w, webhook: {timeout: 3s}}";
    assert_eq!(names(&list(hook)), ["node", "rbac", "w"], "Talos puts its own two first");
    assert_eq!(
        names(&list(&format!("{hook}, {{type: RBAC, name: r}}, {{type: Node, name: node}}"))),
        ["w", "r", "node"]
    );
    assert_eq!(names(&list(&format!("{{type: RBAC, name: rbac}}, {hook}"))), ["node", "rbac", "w"]);
}

#[test]
fn what_says_the_default_is_left_out() {
    for old in [
        "cluster: {discovery: {enabled: true}}",
        "machine: {features: {kubePrism: {enabled: true}}}",
        "machine: {install: {grubUseUKICmdline: true}}",
    ] {
        let (.., new) = accepted(old, "1.14");
        assert!(new.shared.is_none() && new.control_plane.is_none() && new.notes.len() == 1, "{old}: {new:?}");
    }
    let (.., new) = accepted("machine: {install: {disk: /dev/sda}}", "1.14");
    assert!(new.shared.is_some_and(|text| text.contains("UnattendedInstallConfig")));
    let new = rewritten("cluster: {network: {podSubnets: [10.1.0.0/16, 'fd00::/56']}}", "1.14").expect("rewritten");
    assert!(new.notes[0].contains("as many service subnets"), "{new:?}");
}

#[test]
fn what_every_contract_takes_stays_as_it_is() {
    for kept in [
        "machine: {network: {interfaces: [{interface: lo, addresses: [169.254.116.108/32]}]}}",
        "machine: {network: {interfaces: [{interface: eth0, addresses: [10.0.0.2/24], routes: [{network: 0.0.0.0/0, gateway: 10.0.0.1}], vip: {ip: 10.0.0.9}}]}}",
        "machine: {files: [{path: /var/a, permissions: 0o644, op: create, content: a}]}",
        "machine: {logging: {destinations: [{endpoint: 'udp://127.0.0.1:6051', format: json_lines}]}}",
        "cluster: {etcd: {advertisedSubnets: [10.0.0.0/24]}}",
        "machine: {sysctls: {a: b}, certSANs: [a.test], time: {servers: [a.test]}, kernel: {modules: [{name: x}]}}",
        "cluster: {inlineManifests: [{name: a, contents: b}], extraManifests: ['https://a.test/b']}",
        "apiVersion: v1alpha1\nkind: LinkConfig\nname: lo\naddresses: [{address: 169.254.116.108/32}]",
    ] {
        for version in ["1.12", "1.13", "1.14"] {
            assert_eq!(rewritten(kept, version), None, "{version}: {kept}");
            with(kept, version, Role::ControlPlane).unwrap_or_else(|error| panic!("{version}: {kept}: {error}"));
        }
    }
}

#[test]
fn documents_of_a_patch_keep_their_place() {
    let old = "machine: {network: {hostname: a}, sysctls: {x: '1'}}\n---\napiVersion: v1alpha1\nkind: LinkConfig\nname: lo\naddresses: [{address: 10.0.0.1/32}]\n";
    let (made, _, _) = accepted(old, "1.13");
    assert!(made.has_kind("LinkConfig") && made.to_yaml().contains("sysctls"));
}
