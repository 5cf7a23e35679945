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

/// A Proxmox client of the least kind.
struct Pve {
    client: reqwest::Client,
    base: url::Url,
    authorization: String,
}

impl Pve {
    fn of(lab: &Lab) -> Self {
        let end = lab.endpoints();
        Self {
            client: web(lab),
            base: end.pve.join("api2/json/").unwrap(),
            authorization: format!("PVEAPIToken={}={}", end.token_id, end.token_secret.expose()),
        }
    }

    async fn send(&self, method: reqwest::Method, path: &str, form: &[(&str, &str)]) -> serde_json::Value {
        let request = self.client.request(method, self.base.join(path).unwrap());
        let request = request.header("Authorization", &self.authorization);
        let request = if form.is_empty() { request } else { request.form(form) };
        let reply = request.send().await.unwrap();
        let (status, text) = (reply.status(), reply.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["data"].take()
    }

    /// Starts a task and waits for its good end.
    async fn task(&self, lab: &Lab, method: reqwest::Method, path: &str, form: &[(&str, &str)]) {
        let upid = self.send(method, path, form).await.as_str().expect("a task").to_owned();
        let ended = |world: &World| world.pve.tasks.all.iter().find(|task| task.upid == upid)?.end.clone();
        let (_, status) = lab.until("end of the task", ended).await;
        assert_eq!(status, "OK", "{path}");
    }
}

#[tokio::test]
async fn a_vm_made_over_the_proxmox_api_becomes_a_machine() {
    use reqwest::Method;
    let lab = lab().await;
    let pve = Pve::of(&lab);
    let url = format!("https://factory.talos.dev/image/{VANILLA}/v1.12.4/nocloud-amd64-secureboot.iso");
    let download = [("content", "iso"), ("filename", "talos.iso"), ("url", url.as_str())];
    pve.task(&lab, Method::POST, "nodes/lab1/storage/local/download-url", &download).await;
    let vm = [
        ("vmid", "100"),
        ("name", "cp-1"),
        ("bios", "ovmf"),
        ("machine", "q35"),
        ("efidisk0", "local-lvm:0,efitype=4m,pre-enrolled-keys=0"),
        ("cpu", "x86-64-v2-AES"),
        ("memory", "4096"),
        ("cores", "2"),
        ("scsihw", "virtio-scsi-pci"),
        ("scsi0", "local-lvm:64"),
        ("ide2", "local:iso/talos.iso,media=cdrom"),
        ("ide0", "local-lvm:cloudinit"),
        ("ipconfig0", "ip=10.83.0.7/24,gw=10.83.0.1"),
        ("net0", "virtio,bridge=vmbr0"),
        ("agent", "1"),
        ("boot", "order=scsi0;ide2"),
        ("ostype", "l26"),
    ];
    pve.task(&lab, Method::POST, "nodes/lab1/qemu", &vm).await;
    pve.task(&lab, Method::POST, "nodes/lab1/qemu/100/status/start", &[]).await;
    let ip = lab.address(100).await;
    assert_eq!(ip, IpAddr::from([10, 83, 0, 7]), "the seed drive gives the address");
    {
        let world = lab.shared().lock();
        let system = system(&world, 100).expect("it runs");
        assert!(system.secure_boot && system.hostname == "cp-1", "{:?}", world.fleet.machine(100));
    }
    super::client::Client::insecure(&lab, ip).await;
    pve.task(&lab, Method::POST, "nodes/lab1/qemu/100/status/stop", &[]).await;
    pve.task(&lab, Method::DELETE, "nodes/lab1/qemu/100?purge=1&destroy-unreferenced-disks=1", &[]).await;
    let summary = lab.shared().lock().summary();
    assert!(summary.guests.is_empty() && summary.machines.is_empty());
    assert_eq!(summary.volumes.iter().map(|volume| volume.volid.as_str()).collect::<Vec<_>>(), ["local:iso/talos.iso"]);
}
