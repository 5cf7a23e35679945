use super::*;

const ID: &str = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba";

fn state() -> State {
    State::new(&Site::default())
}

#[test]
fn a_schematic_has_the_id_of_its_canonical_text() {
    let mut state = state();
    assert_eq!(state.post("customization: {}").expect("it is one"), ID);
    let id = state
        .post("customization:\n  systemExtensions:\n    officialExtensions: [siderolabs/qemu-guest-agent]\n")
        .expect("it is one");
    assert_eq!(state.schematic(&id).expect("it is known").extensions, ["siderolabs/qemu-guest-agent"]);
    assert_eq!(state.post("something: {}").expect_err("unknown key").status, 400);
    assert_eq!(state.post(" \n").expect_err("nothing").text, "EOF");
    let owned = state.post("owner: me\n").expect_err("this factory knows nobody");
    assert_eq!((owned.status, owned.text.as_str()), (400, "owner field is only supported in Enterprise edition"));
    assert_eq!(state.schematic("0000").expect_err("nobody posted it").status, 404);
}

#[test]
fn assets_are_refused_as_the_factory_refuses_them() {
    let mut state = state();
    let bad = state
        .post("customization: {systemExtensions: {officialExtensions: [siderolabs/nothing]}}")
        .expect("ids are not checked");
    let mut status = |schematic: &str, version: &str, file: &str| {
        state.image(schematic, version, file, Duration::ZERO, Clock::Instant).err().map(|refusal| refusal.status)
    };
    for (schematic, version, file, expected) in [
        (ID, "v1.12.4", "nocloud-amd64-secureboot.iso", None),
        (ID, "1.12.4", "metal-amd64.raw.zst", None),
        (ID, "v1.12.4", "nocloud-amd64.exe", Some(400)),
        (ID, "v1.12.4", "nocloud-amd64.iso.sha512", Some(402)),
        (ID, "v0.1.0", "nocloud-amd64.iso", Some(404)),
        ("00", "v1.12.4", "nocloud-amd64.iso", Some(404)),
        (ID, "latest", "nocloud-amd64.iso", Some(500)),
        (ID, "v1.12.4", "kernel-arm64", None),
        (ID, "v1.12.4", "initramfs-amd64.xz", None),
        (ID, "v1.12.4", "cmdline-metal-amd64-secureboot", None),
        (ID, "v1.12.4", "metal-amd64-uki.efi", None),
        (ID, "v1.12.4", "nocloud-installer-amd64-secureboot.tar", None),
        (ID, "v1.12.4", "nocloud-sparc.iso", Some(400)),
        (ID, "v1.12.4", "nocloud-amd64.iso.xz", Some(400)),
        (bad.as_str(), "v1.12.4", "nocloud-amd64.iso", Some(400)),
    ] {
        assert_eq!(status(schematic, version, file), expected, "{version}/{file}");
    }
}

#[test]
fn an_asset_is_built_once() {
    let mut state = state();
    let clock = Clock::Realistic { speed: 1.0 };
    let mut ready = |seconds| {
        let now = Duration::from_secs(seconds);
        state.image(ID, "v1.12.4", "nocloud-amd64.iso", now, clock).expect("it exists").1
    };
    assert_eq!(ready(10), Duration::from_secs(10) + physics::FACTORY_BUILD);
    assert_eq!(ready(500), Duration::from_secs(10) + physics::FACTORY_BUILD);
}

#[test]
fn installer_names_carry_platform_and_flavour() {
    let mut state = state();
    let mut flavour = |name: &str| {
        let reference = format!("factory.talos.dev/{name}/{ID}:v1.12.4");
        state.installer(&reference, Duration::ZERO, Clock::Instant).map(|(image, _)| (image.platform, image.secureboot))
    };
    assert_eq!(flavour("nocloud-installer-secureboot"), Ok(("nocloud".into(), true)));
    assert_eq!(flavour("nocloud-installer"), Ok(("nocloud".into(), false)));
    assert_eq!(flavour("installer-secureboot"), Ok(("metal".into(), true)));
    assert_eq!(flavour("installer"), Ok(("metal".into(), false)));
    assert!(flavour("something").is_err());
}

/// A client of the site's own factory, which follows nobody.
async fn over_the_wire(redirects: bool) -> (crate::lab::Lab, impl AsyncFn(reqwest::Method, &str) -> reqwest::Response) {
    let mut site = Site::default();
    site.factory.redirects = redirects;
    let lab =
        crate::lab::Lab::start(crate::lab::LabOptions { site, ..Default::default() }).await.expect("the lab starts");
    let root = reqwest::Certificate::from_pem(lab.endpoints().ca_pem.as_bytes()).expect("the site's authority");
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
    let client = builder.redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let base = lab.endpoints().factory.clone();
    let ask = async move |method: reqwest::Method, path: &str| {
        client.request(method, base.join(path).expect("a path")).send().await.expect("an answer")
    };
    (lab, ask)
}

#[tokio::test]
async fn an_image_has_the_headers_of_the_real_one() {
    let (_lab, ask) = over_the_wire(false).await;
    let path = format!("/image/{ID}/v1.12.4/nocloud-amd64-secureboot.iso?filename=other.iso");
    let (head, got) = (ask(reqwest::Method::HEAD, &path).await, ask(reqwest::Method::GET, &path).await);
    let header = |name: &str| (head.headers()[name].clone(), got.headers()[name].clone());
    for (name, value) in
        [("content-type", "application/x-iso9660-image"), ("content-disposition", "attachment; filename=\"other.iso\"")]
    {
        let (on_head, on_get) = header(name);
        assert_eq!((on_head.to_str().unwrap(), on_get.to_str().unwrap()), (value, value));
    }
    let length = header("content-length");
    assert_eq!(length.0, length.1);
    assert!(head.headers().contains_key("x-request-id"));
    assert_eq!(length.1.to_str().unwrap(), got.bytes().await.unwrap().len().to_string());

    let missing = ask(reqwest::Method::GET, "/image/00/v1.12.4/nocloud-amd64.iso").await;
    assert_eq!(
        (missing.status().as_u16(), missing.headers()["x-content-type-options"].to_str().unwrap()),
        (404, "nosniff")
    );
    assert_eq!(missing.text().await.unwrap(), "schematic ID \"00\" not found\n");
    for (path, part) in [
        ("/secureboot/signing-cert.pem", "-----BEGIN CERTIFICATE-----"),
        ("/version/1.12.4/overlays/official", "[]\n"),
        ("/versions", "\"v1.12.4\""),
        ("/versions?broken=true", "[]\n"),
        (&format!("/pxe/{ID}/v1.12.4/nocloud-amd64"), "#!ipxe"),
    ] {
        let text = ask(reqwest::Method::GET, path).await.text().await.unwrap();
        assert!(text.contains(part), "{path}: {text}");
    }
    let manifest = ask(reqwest::Method::HEAD, &format!("/v2/nocloud-installer/{ID}/manifests/v1.12.4")).await;
    assert!(manifest.headers()["docker-content-digest"].to_str().unwrap().starts_with("sha256:"));
}

#[tokio::test]
async fn a_factory_with_a_store_sends_downloads_there_and_no_heads() {
    let (lab, ask) = over_the_wire(true).await;
    let path = format!("/image/{ID}/v1.12.4/nocloud-amd64.iso");
    assert_eq!(ask(reqwest::Method::HEAD, &path).await.status().as_u16(), 200);
    let sent = ask(reqwest::Method::GET, &path).await;
    let expected = lab.endpoints().factory.join(&path.replace("/image/", "/store/")).unwrap();
    assert_eq!((sent.status().as_u16(), sent.headers()["location"].to_str().unwrap()), (302, expected.as_str()));
    assert_eq!(ask(reqwest::Method::GET, expected.path()).await.status().as_u16(), 200);
}
