//! Calls that a control plane passes on, and what a client without the list of types finds out.

use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use super::client::Client;
use super::*;
use crate::talos::wire::cosi::{GetRequest, ListRequest};
use crate::talos::wire::specs::ResourceDefinitionSpec;

fn to<T>(message: T, key: &'static str, targets: &[&str]) -> Request<T> {
    let mut request = Request::new(message);
    for target in targets {
        request.metadata_mut().append(key, MetadataValue::try_from(*target).expect("plain text"));
    }
    request
}

#[tokio::test]
async fn a_control_plane_passes_calls_on_and_a_worker_does_not() {
    let lab = lab().await;
    let cluster = Cluster::new("v1.12.4", "1.12");
    let (first, worker) = (Ipv4Addr::new(10, 83, 0, 5), Ipv4Addr::new(10, 83, 0, 6));
    lab.install(&cluster, 101, Role::ControlPlane, first).await;
    lab.install(&cluster, 102, Role::Worker, worker).await;
    let admin = cluster.credentials();
    let client = Client::mutual(&lab, first.into(), &admin).await;
    let direct = Client::mutual(&lab, worker.into(), &admin).await;

    let loopback = lab.endpoints().reach.ip(first.into()).to_string();
    let everybody = [loopback.as_str(), "m-102", "10.83.0.99"];
    let replies = client.machine().hostname(to((), "nodes", &everybody)).await.expect("failures are elements");
    let found: Vec<_> = replies
        .into_inner()
        .messages
        .into_iter()
        .map(|element| {
            let origin = element.metadata.unwrap_or_default();
            (origin.hostname, element.hostname, origin.status.map(|status| status.code))
        })
        .collect();
    let expected = [
        (loopback.clone(), "m-101".to_owned(), None),
        ("m-102".to_owned(), "m-102".to_owned(), None),
        ("10.83.0.99".to_owned(), String::new(), Some(Code::Unavailable as i32)),
    ];
    assert_eq!(found, expected);
    let one = client.machine().hostname(to((), "node", &["10.83.0.6"])).await.unwrap().into_inner();
    assert_eq!((one.messages[0].hostname.as_str(), &one.messages[0].metadata), ("m-102", &None));

    let get = GetRequest {
        namespace: "network".into(),
        r#type: "HostnameStatuses.net.talos.dev".into(),
        id: "hostname".into(),
        options: None,
    };
    let many = client.state().get(to(get.clone(), "nodes", &["m-102"])).await.expect_err("not for several");
    assert_eq!(many.code(), Code::InvalidArgument);
    let spec = client.state().get(to(get, "node", &["m-102"])).await.unwrap().into_inner().resource.unwrap().spec;
    assert!(spec.unwrap().yaml_spec.contains("m-102"));

    let refused = direct.machine().hostname(to((), "nodes", &["m-101"])).await.expect_err("a worker forwards nothing");
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "no request forwarding"));
    let own = direct.machine().hostname(to((), "nodes", &["10.83.0.6"])).await.expect("it is meant itself");
    assert_eq!(own.into_inner().messages[0].hostname, "m-102");
}

#[tokio::test]
async fn a_client_finds_the_type_behind_an_alias() {
    let lab = lab().await;
    lab.power_on(101, "v1.12.4");
    let client = Client::insecure(&lab, lab.address(101).await).await;
    let request =
        ListRequest { namespace: "meta".into(), r#type: "ResourceDefinitions.meta.cosi.dev".into(), options: None };
    let mut stream = client.state().list(request).await.expect("anybody may").into_inner();
    let mut found = None;
    while let Some(resource) = stream.message().await.unwrap() {
        let spec = resource.resource.unwrap().spec.unwrap().proto_spec;
        let spec = <ResourceDefinitionSpec as prost::Message>::decode(&*spec).unwrap();
        if spec.all_aliases.iter().any(|alias| alias == "links") {
            found = Some((spec.resource_type, spec.default_namespace));
        }
    }
    assert_eq!(found, Some(("LinkStatuses.net.talos.dev".to_owned(), "network".to_owned())));
}
