//! The site as a whole: two labs side by side, the factory, the summary.

use super::*;

fn web(lab: &Lab) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(lab.endpoints().ca_pem.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap()
}

#[tokio::test]
async fn two_labs_do_not_meet_and_hand_out_a_token() {
    let (one, two) = (lab().await, lab().await);
    assert_ne!(one.endpoints().reach, two.endpoints().reach);
    assert_ne!(one.endpoints().pve, two.endpoints().pve);
    let end = one.endpoints();
    let header = format!("PVEAPIToken={}={}", end.token_id, end.token_secret.expose());
    let url = end.pve.join("api2/json/version").unwrap();
    let reply = web(&one).get(url).header("Authorization", header).send().await.unwrap();
    assert_eq!(reply.status(), 200, "{}", reply.text().await.unwrap());
}

#[tokio::test]
async fn the_factory_serves_images_that_machines_boot() {
    let lab = lab().await;
    let client = web(&lab);
    let factory = lab.endpoints().factory.clone();
    let url = |path: &str| factory.join(path).unwrap();
    let posted = client.post(url("schematics")).body("customization: {}").send().await.unwrap();
    assert_eq!(posted.status(), 201);
    let id = posted.json::<serde_json::Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(id, VANILLA);
    let path = format!("image/{id}/v1.12.4/nocloud-amd64-secureboot.iso");
    let head = client.head(url(&path)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], crate::lab::image::SIZE.to_string());
    let bytes = client.get(url(&path)).send().await.unwrap().bytes().await.unwrap();
    assert!(Image::parse(&bytes).expect("a lab image").secureboot);
    let manifest = format!("v2/nocloud-installer-secureboot/{id}/manifests/v1.12.4");
    assert_eq!(client.get(url(&manifest)).send().await.unwrap().status(), 200);
    for (path, status, text) in [
        (format!("image/{id}/v1.12.4/nocloud-amd64.iso.sha512"), 402, "enterprise"),
        (format!("image/{}/v1.12.4/nocloud-amd64.iso", "0".repeat(64)), 404, "not found"),
        ("nothing".to_owned(), 404, "page not found"),
    ] {
        let reply = client.get(url(&path)).send().await.unwrap();
        assert_eq!(reply.status(), status, "{path}");
        assert!(reply.text().await.unwrap().contains(text), "{path}");
    }
    let versions = client.get(url("versions")).send().await.unwrap().json::<Vec<String>>().await.unwrap();
    assert!(versions.contains(&"v1.12.4".to_owned()));
}

#[tokio::test]
async fn the_summary_tells_of_machines() {
    let lab = lab().await;
    lab.power_on(101, "v1.12.4");
    lab.address(101).await;
    let summary = lab.shared().lock().summary();
    assert_eq!((summary.machines[0].name.as_str(), summary.machines[0].stage.as_str()), ("vm-101", "maintenance"));
    serde_json::to_string(&summary).expect("it can be printed");
}
