//! Against an API server that is one canned answer behind real, mutual TLS.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 100);

/// A Kubernetes CA's server for `name`, its administrator's kubeconfig, and what was asked of it.
struct Served {
    api: Api,
    asked: Arc<Mutex<String>>,
}

/// Serves `status` and `body` to whoever has a certificate of the CA.
#[expect(clippy::disallowed_methods, reason = "a test's server lives beside the test")]
async fn serve(name: Ipv4Addr, status: &str, body: &str) -> Served {
    let (ca, ca_pem, ca_der) = {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a CA signs itself");
        (Issuer::new(params, key), certificate.pem(), certificate.der().clone())
    };
    let leaf = |usage, name: Option<Ipv4Addr>| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
        params.extended_key_usages = vec![usage];
        params.subject_alt_names = name.into_iter().map(|name| SanType::IpAddress(name.into())).collect();
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &ca).expect("a CA signs"), key)
    };
    let mut roots = RootCertStore::empty();
    roots.add(ca_der).expect("a CA is a root");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let (certificate, key) = leaf(ExtendedKeyUsagePurpose::ServerAuth, Some(name));
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the default versions")
        .with_client_cert_verifier(clients.expect("one root"))
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a leaf and its key");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = Arc::new(Mutex::new(String::new()));
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let heard = asked.clone();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            *heard.lock().unwrap() = String::from_utf8_lossy(&request).into_owned();
            drop(stream.write_all(answer.as_bytes()).await);
            // It is the client that hangs up: kube-apiserver keeps connections as long as it is let.
            drop(stream.read_to_end(&mut request).await);
        }
    });

    let (certificate, key) = leaf(ExtendedKeyUsagePurpose::ClientAuth, None);
    let encode = |pem: &str| BASE64_STANDARD.encode(pem);
    let kubeconfig = Secret::new(format!(
        "clusters: [{{name: lab, cluster: {{server: 'https://{SERVER}:{port}', certificate-authority-data: {}}}}}]\n\
         users: [{{name: lab, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n\
         contexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]\ncurrent-context: lab\n",
        encode(&ca_pem),
        encode(&certificate.pem()),
        encode(&key.serialize_pem()),
    ));
    // 10.20.0.100/32 maps onto 127.0.0.1.
    let site = ipnet::Ipv4Net::new(SERVER, 32).expect("one address");
    let reach = Reach::Loopback { site, base: Ipv4Addr::LOCALHOST };
    Served { api: Api::from_kubeconfig(&kubeconfig, &reach).expect("it can be used"), asked }
}

#[tokio::test]
async fn nodes_are_read_through_the_mapped_address_under_the_real_name() {
    let served = serve(
        SERVER,
        "200 OK",
        r#"{"kind":"NodeList","items":[
            {"metadata":{"name":"lab-cp-1","labels":{"node-role.kubernetes.io/control-plane":"","a":"b"}},"spec":{},
             "status":{"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True"}],
                       "addresses":[{"type":"InternalIP","address":"10.20.0.1"},{"type":"Hostname","address":"lab-cp-1"}]}},
            {"metadata":{"name":"lab-wrkr-1"},"spec":{"unschedulable":true},
             "status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"cni not initialized"}]}},
            {"metadata":{"name":"lab-wrkr-2"}}]}"#,
    )
    .await;
    let nodes = served.api.nodes().await.expect("readable");
    assert_eq!(
        nodes[0],
        KubeNode {
            name: "lab-cp-1".into(),
            ready: Ok(()),
            internal_ips: vec!["10.20.0.1".parse().expect("an address")],
            schedulable: true,
            roles: vec!["control-plane".into()],
        }
    );
    assert_eq!(nodes[1].ready, Err("KubeletNotReady: cni not initialized".into()));
    assert!(!nodes[1].schedulable && nodes[2].ready.is_err());
    let asked = served.asked.lock().unwrap();
    assert!(asked.starts_with("GET /api/v1/nodes HTTP/1.1\r\nhost: 10.20.0.100:"), "{asked}");
}

#[tokio::test]
async fn control_plane_pods_are_told_from_others() {
    let pod = |name: &str, labels: &str, ready: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}","labels":{labels}}},"spec":{{"nodeName":"lab-cp-1"}},
                "status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#
        )
    };
    let body = format!(
        r#"{{"items":[{},{},{}]}}"#,
        pod("kube-apiserver-lab-cp-1", r#"{"component":"kube-apiserver","k8s-app":"kube-apiserver"}"#, "True"),
        pod("kube-scheduler-lab-cp-1", r#"{"k8s-app":"kube-scheduler"}"#, "False"),
        pod("coredns-1", r#"{"k8s-app":"kube-dns"}"#, "True"),
    );
    let served = serve(SERVER, "200 OK", &body).await;
    let pods = served.api.control_plane_pods().await.expect("readable");
    let told: Vec<_> = pods.iter().map(|pod| (pod.component.as_str(), pod.node.as_str(), pod.ready)).collect();
    assert_eq!(told, [("kube-apiserver", "lab-cp-1", true), ("kube-scheduler", "lab-cp-1", false)]);
    assert_eq!(served.api.system_pods().await.expect("readable").len(), 3);
}

#[tokio::test]
async fn readiness_names_the_checks_that_fail() {
    assert_eq!(serve(SERVER, "200 OK", "ok").await.api.ready().await, Ok(()));
    let body = "[+]ping ok\n[-]etcd failed: reason withheld\n[-]informer-sync failed: reason withheld\n";
    let reason = serve(SERVER, "500 Internal Server Error", body).await.api.ready().await.expect_err("not ready");
    assert!(reason.contains("500: etcd failed: reason withheld, informer-sync failed"), "{reason}");
    let body = r#"{"kind":"Status","message":"nodes is forbidden","code":403}"#;
    let error = serve(SERVER, "403 Forbidden", body).await.api.nodes().await.expect_err("refused");
    assert!(matches!(&error, KubeError::Refused { status: 403, message, .. } if message == "nodes is forbidden"));
}

#[tokio::test]
async fn a_server_of_another_name_is_not_believed() {
    let served = serve(Ipv4Addr::LOCALHOST, "200 OK", "ok").await;
    let reason = served.api.ready().await.expect_err("the certificate names another address");
    assert!(reason.contains("certificate"), "{reason}");
    assert!(served.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nonsense_and_half_answers_are_errors() {
    assert!(matches!(serve(SERVER, "200 OK", "<html>").await.api.nodes().await, Err(KubeError::Nonsense { .. })));
    assert!(serve(SERVER, "200 OK\r\ncontent-length: 900", "{").await.api.nodes().await.is_err());
}
