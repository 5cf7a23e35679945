//! The Kubernetes face, asked by the kubectl of this machine.

use super::client::Client;
use super::life::kubeconfig;
use super::*;
use crate::talos::wire::machine::BootstrapRequest;

/// What kubectl came to.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) good: bool,
    pub(super) out: String,
    pub(super) err: String,
}

pub(super) async fn kubectl(kubeconfig: &str, arguments: &[&str]) -> Said {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, kubeconfig.as_bytes()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new("kubectl");
    command.env("HOME", home.path()).env("NO_PROXY", "*").arg("--kubeconfig").arg(file.path()).args(arguments);
    let output = command.output().await.expect("scripts/check looks for kubectl");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { good: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// A control plane and a worker, and the administrator's kubeconfig.
async fn cluster() -> (Lab, String) {
    let lab = lab().await;
    let cluster = Cluster::new("v1.13.0", "1.13");
    let ip = Ipv4Addr::new(10, 83, 0, 5);
    lab.install(&cluster, 101, Role::ControlPlane, ip).await;
    lab.install(&cluster, 102, Role::Worker, Ipv4Addr::new(10, 83, 0, 6)).await;
    lab.until("boot from disk", |world| system(world, 101)?.disk.is_some().then_some(())).await;
    let client = Client::mutual(&lab, ip.into(), &cluster.credentials()).await;
    client.machine().bootstrap(BootstrapRequest::default()).await.expect("it is time");
    lab.running(101).await;
    lab.running(102).await;
    let dialled = lab.endpoints().reach.socket(ip.into(), 6443).to_string();
    let text = kubeconfig(&client).await.replace("10.83.0.5:6443", &dialled);
    (lab, text)
}

#[tokio::test]
async fn nodes_are_cordoned_drained_labelled_tainted_and_deleted() {
    let (lab, config) = cluster().await;
    let run = async |arguments: &[&str]| {
        let said = kubectl(&config, arguments).await;
        assert!(said.good, "{arguments:?}: {said:?}");
        said.out
    };
    run(&["cordon", "m-102"]).await;
    assert!(run(&["get", "node", "m-102"]).await.contains("Ready,SchedulingDisabled"));
    let here = ["get", "pods", "-A", "--field-selector", "spec.nodeName=m-102", "-o", "name"];
    let before = run(&here).await;
    assert!(before.contains("coredns-"), "{before}");
    run(&["drain", "m-102", "--ignore-daemonsets", "--timeout=20s"]).await;
    let after = run(&here).await;
    assert!(!after.contains("coredns-") && after.contains("kube-flannel-"), "{after}");
    run(&["uncordon", "m-102"]).await;
    assert!(run(&here).await.contains("coredns-"), "it takes pods again");
    run(&["label", "node", "m-102", "role=storage"]).await;
    run(&["annotate", "node", "m-102", "who=me"]).await;
    run(&["taint", "node", "m-102", "dedicated=storage:NoSchedule"]).await;
    assert_eq!(run(&["get", "nodes", "-l", "role=storage", "-o", "name"]).await, "node/m-102\n");
    let path = "jsonpath={.metadata.annotations.who} {.spec.taints[*].key}";
    assert_eq!(run(&["get", "node", "m-102", "-o", path]).await, "me dedicated");
    run(&["taint", "node", "m-102", "dedicated-"]).await;
    run(&["label", "node", "m-102", "role-"]).await;
    run(&["taint", "node", "m-101", "node-role.kubernetes.io/control-plane-"]).await;
    assert_eq!(run(&["get", "nodes", "-o", "jsonpath={.items[*].spec.taints}"]).await, "");
    assert_eq!(run(&["get", "nodes", "-l", "role", "-o", "name"]).await, "");
    run(&["delete", "node", "m-102", "--dry-run=server"]).await;
    run(&["delete", "node", "m-102"]).await;
    assert_eq!(run(&["get", "nodes", "-o", "name"]).await, "node/m-101\n");
    // The kubelet registers when it starts.
    lab.shared().lock().fleet.reboot(102, false);
    lab.shared().wake();
    lab.running(102).await;
    assert!(run(&["get", "nodes", "-o", "name"]).await.contains("node/m-102"));
    let refused = kubectl(&config, &["create", "namespace", "mine"]).await;
    assert!(!refused.good && refused.err.contains("takes changes of nodes, and nothing else"), "{refused:?}");
}

#[tokio::test]
async fn kubectl_finds_what_it_asks_for() {
    let (_lab, config) = cluster().await;
    for (arguments, parts) in [
        (&["get", "nodes", "-o", "wide"][..], &["m-101", "control-plane", "Talos (v1.13.0)", "containerd://"][..]),
        (&["get", "nodes", "-o", "name"], &["node/m-101\nnode/m-102\n"]),
        (
            &["get", "nodes", "-o", "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}"],
            &["True True"],
        ),
        (&["get", "nodes", "-o", "yaml"], &["kind: Node", "kubeletVersion: v1.34.1"]),
        (&["get", "nodes", "--chunk-size=1", "--no-headers"], &["m-101", "m-102"]),
        (&["get", "nodes", "-l", "!node-role.kubernetes.io/control-plane", "-o", "name"], &["node/m-102\n"]),
        (&["get", "pods", "-A"], &["kube-apiserver-m-101", "coredns-", "kube-flannel-"]),
        (&["get", "pods", "-A", "--field-selector", "spec.nodeName=m-102", "-o", "name"], &["pod/kube-flannel-"]),
        (&["get", "all", "-A"], &["deployment.apps/coredns", "daemonset.apps/kube-proxy", "service/kubernetes"]),
        (&["get", "componentstatuses"], &["etcd-0", "Healthy"]),
        (&["get", "events", "-A"], &["NodeReady", "node/m-101"]),
        (&["get", "leases", "-A"], &["kube-node-lease"]),
        (&["get", "namespaces"], &["kube-system", "Active"]),
        (&["get", "--raw", "/readyz?verbose"], &["[+]etcd ok", "readyz check passed"]),
        (&["get", "--raw", "/livez"], &["ok"]),
        (&["version"], &["Server Version: v1.34.1"]),
        (&["auth", "can-i", "delete", "nodes"], &["yes"]),
        (&["auth", "whoami"], &["admin", "system:masters"]),
        (&["cluster-info"], &["Kubernetes control plane", "is running at"]),
        (&["api-resources"], &["daemonsets", "apps/v1", "componentstatuses"]),
        (&["api-versions"], &["apps/v1\n", "v1\n"]),
        (&["describe", "node", "m-101"], &["HolderIdentity:  m-101", "KubeletReady", "Events:", "Starting"]),
        (&["wait", "--for=condition=Ready", "node", "--all", "--timeout=10s"], &["node/m-101 condition met"]),
        (&["rollout", "status", "-n", "kube-system", "deployment/coredns"], &["successfully rolled out"]),
    ] {
        let said = kubectl(&config, arguments).await;
        assert!(said.good, "{arguments:?}: {said:?}");
        for part in parts {
            assert!(said.out.contains(part), "{arguments:?}: {part:?} is not in {said:?}");
        }
    }
}

#[tokio::test]
async fn kubectl_is_refused_in_the_servers_words() {
    let (_lab, config) = cluster().await;
    for (arguments, text) in [
        (&["get", "node", "nope"][..], "Error from server (NotFound): nodes \"nope\" not found"),
        (&["get", "nonsense"], "error: the server doesn't have a resource type \"nonsense\""),
        (&["get", "deployment", "nope"], "Error from server (NotFound): deployments.apps \"nope\" not found"),
        (&["get", "pods", "--field-selector", "a=b"], "field label not supported: a"),
        (
            &["--as", "bob", "get", "nodes"],
            "Error from server (Forbidden): nodes is forbidden: User \"bob\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
        ),
        (
            &["--as", "bob", "get", "pod", "a", "-n", "kube-system"],
            "pods \"a\" is forbidden: User \"bob\" cannot get resource \"pods\" in API group \"\" in the namespace \"kube-system\"",
        ),
        (&["delete", "node", "nope"], "Error from server (NotFound): nodes \"nope\" not found"),
        (&["create", "namespace", "mine"], "Error from server (MethodNotAllowed)"),
    ] {
        let said = kubectl(&config, arguments).await;
        assert!(!said.good && said.err.contains(text), "{arguments:?}: {said:?}");
    }
    let may = kubectl(&config, &["--as", "bob", "auth", "can-i", "get", "pods"]).await;
    assert_eq!((may.good, may.out.as_str()), (false, "no\n"), "{may:?}");
    // Without a certificate nobody is anybody, and a token that the lab did not issue proves nothing.
    let bare: Vec<&str> = config.lines().filter(|line| !line.contains("client-")).collect();
    let bare = bare.join("\n");
    let bare = bare.replace("      user:\nc", "      user: {token: nonsense}\nc");
    let said = kubectl(&bare, &["get", "nodes"]).await;
    assert!(!said.good && said.err.contains("You must be logged in to the server"), "{said:?}");
    assert_eq!(kubectl(&bare, &["get", "--raw", "/readyz"]).await.out, "ok");
}

#[tokio::test]
async fn kubectl_watches_a_node_go() {
    let (lab, config) = cluster().await;
    let mut calls = 0;
    // It goes between the list and the watch.
    lab.shared().lock().rival = Some(Box::new(move |world, call| {
        calls += u32::from(call.name == "GET /api/v1/nodes");
        if calls == 2 {
            world.fleet.power_off(102);
        }
    }));
    let said = kubectl(&config, &["wait", "--for=condition=Ready=Unknown", "node/m-102", "--timeout=25s"]).await;
    assert!(said.good && said.out.contains("condition met"), "{said:?}");
    let nodes = kubectl(&config, &["get", "nodes", "--no-headers"]).await.out;
    assert!(nodes.lines().any(|line| line.contains("m-102") && line.contains("NotReady")), "{nodes}");
}
