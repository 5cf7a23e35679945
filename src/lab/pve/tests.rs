//! The face under the script of faults, on the slow clock, with strangers, and under nonsense.

mod console;
mod life;
mod sdn;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::hypervisor::Scripted;
use super::*;
use crate::lab::clock::Clock;
use crate::lab::faults::{Effect, Face, Fault};
use crate::lab::hardware::{Firmware, Medium};
use crate::lab::http;
use crate::lab::image::Image;
use crate::lab::site::{TOKEN_ID, Token};

const SECRET: &str = "11111111-2222-4333-8444-555555555555";

/// A lab and a client of it.
struct Lab {
    shared: Shared,
    server: ServerHandle,
    ca: SiteCa,
    client: reqwest::Client,
}

async fn lab(change: impl FnOnce(&mut Site)) -> Lab {
    let mut site = Site { clock: Clock::Instant, ..Site::default() };
    site.tokens.insert(TOKEN_ID.into(), Token { secret: SECRET.into(), privsep: false, expire: 0, comment: None });
    change(&mut site);
    let ca = SiteCa::new("lab");
    let leaf = ca.leaf(&[], &["127.0.0.1".parse().unwrap()]);
    let shared = Shared::new(site);
    shared.lock().pve.hypervisor = Hypervisor::Scripted(Scripted::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = serve(shared.clone(), listener, &ca, &leaf);
    let root = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
    Lab { shared, server, ca, client }
}

impl Lab {
    /// Status and body; `None` when the connection ended without an answer.
    async fn call(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Option<(u16, Value)> {
        let url = format!("https://{}/api2/json{path}", self.server.address());
        let mut request = self.client.request(method.parse().unwrap(), url);
        request = request.header("Authorization", format!("PVEAPIToken={TOKEN_ID}={SECRET}"));
        if method != "GET" && method != "DELETE" {
            request = request.form(form);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.unwrap_or(Value::Null)))
    }

    /// The data of a call that must succeed.
    async fn data(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
        let (status, body) = self.call(method, path, form).await.expect("an answer");
        assert_eq!(status, 200, "{method} {path}: {body}");
        body["data"].clone()
    }

    async fn exit_of(&self, upid: &Value) -> Value {
        let upid = upid.as_str().expect("a UPID").replace(':', "%3A").replace('!', "%21");
        self.data("GET", &format!("/nodes/lab1/tasks/{upid}/status"), &[]).await["exitstatus"].clone()
    }

    fn script(&self, call: &str, effect: Effect) {
        let fault = Fault { face: Face::Pve, call: call.into(), subject: None, label: None, skip: 0, times: 1, effect };
        self.shared.lock().faults.script.push(fault);
    }

    fn has(&self, vmid: u32) -> bool {
        self.shared.lock().pve.vms.contains_key(&vmid)
    }
}

const CREATE: &str = "POST /nodes/{node}/qemu";

fn failure() -> (u16, String) {
    (500, "scripted".to_owned())
}

#[tokio::test]
async fn faults_act_refuse_and_lose_as_they_say() {
    let lab = lab(|_| ()).await;
    let (code, text) = failure();
    lab.script(CREATE, Effect::Refuse { code, text });
    let (status, body) = lab.call("POST", "/nodes/lab1/qemu", &[("vmid", "100")]).await.unwrap();
    assert_eq!((status, body["message"].as_str(), lab.has(100)), (500, Some("scripted\n"), false));

    lab.script(CREATE, Effect::LoseRequest);
    assert!(lab.call("POST", "/nodes/lab1/qemu", &[("vmid", "100")]).await.is_none() && !lab.has(100));

    lab.script(CREATE, Effect::LoseReply);
    assert!(lab.call("POST", "/nodes/lab1/qemu", &[("vmid", "100")]).await.is_none() && lab.has(100));

    let (code, text) = failure();
    lab.script(CREATE, Effect::ActThenFail { code, text });
    let upid = lab.data("POST", "/nodes/lab1/qemu", &[("vmid", "101")]).await;
    assert_eq!((lab.exit_of(&upid).await, lab.has(101)), (json!("scripted"), true));

    let (code, text) = failure();
    lab.script("PUT /nodes/{node}/qemu/{vmid}/config", Effect::ActThenFail { code, text });
    let (status, _) = lab.call("PUT", "/nodes/lab1/qemu/101/config", &[("tags", "x")]).await.unwrap();
    assert_eq!((status, lab.data("GET", "/nodes/lab1/qemu/101/config", &[]).await["tags"].clone()), (500, json!("x")));

    let log = &lab.shared.lock().faults.log;
    let creations = log.iter().filter(|call| call.name == CREATE).map(|call| call.subject.as_str());
    assert_eq!(creations.collect::<Vec<_>>(), ["100", "100", "100", "101"]);
    assert!(log.iter().any(|call| call.name.ends_with("/tasks/{upid}/status") && call.subject == "101"));
}

#[tokio::test]
async fn a_creation_takes_its_time_and_holds_its_id_meanwhile() {
    let lab = lab(|site| site.clock = Clock::Realistic { speed: 2.0 }).await;
    let disk = [("vmid", "100"), ("name", "a"), ("scsi0", "local-lvm:8")];
    let upid = lab.data("POST", "/nodes/lab1/qemu", &disk).await;
    let held = lab.data("GET", "/nodes/lab1/qemu/100/config", &[]).await;
    assert_eq!((held["lock"].clone(), held["scsi0"].clone()), (json!("create"), Value::Null));
    let (status, _) = lab.call("POST", "/nodes/lab1/qemu", &disk).await.unwrap();
    assert_eq!(status, 500);
    let running = |lab: &Lab| lab.shared.lock().pve.tasks.all.iter().any(|task| task.end.is_none());
    assert!(work::until(&lab.shared, Duration::from_secs(10), || !running(&lab)).await);
    assert_eq!(lab.exit_of(&upid).await, "OK");
    let config = lab.data("GET", "/nodes/lab1/qemu/100/config", &[]).await;
    assert_eq!(config["scsi0"], "local-lvm:vm-100-disk-0,size=8G");
}

#[tokio::test]
async fn what_strangers_own_is_there_and_stays() {
    let stranger = Guest {
        vmid: 100,
        name: "theirs".into(),
        node: "lab1".into(),
        running: true,
        tags: "prod".into(),
        config: [("scsi0".to_owned(), "local-lvm:32".to_owned())].into(),
    };
    let site_guest = stranger.clone();
    let lab = lab(|site| site.guests.push(site_guest)).await;
    // The script came after the site: a fresh face powers them on.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let leaf = lab.ca.leaf(&[], &[]);
    drop(serve(lab.shared.clone(), listener, &lab.ca, &leaf));
    let current = lab.data("GET", "/nodes/lab1/qemu/100/status/current", &[]).await;
    assert_eq!((current["status"].as_str(), current["maxdisk"].as_u64()), (Some("running"), Some(32 << 30)));
    let (status, body) = lab.call("DELETE", "/nodes/lab1/qemu/100", &[]).await.unwrap();
    assert_eq!((status, body["message"].as_str()), (500, Some("VM 100 is running - destroy failed\n")));

    let mine = lab.data("POST", "/nodes/lab1/qemu", &[("vmid", "101"), ("scsi0", "local-lvm:4")]).await;
    assert_eq!(lab.exit_of(&mine).await, "OK");
    let gone = lab.data("DELETE", "/nodes/lab1/qemu/101", &[]).await;
    assert_eq!(lab.exit_of(&gone).await, "OK");
    let left = lab.data("GET", "/nodes/lab1/storage/local-lvm/content?content=images", &[]).await;
    let left: Vec<&str> = left.as_array().unwrap().iter().filter_map(|row| row["volid"].as_str()).collect();
    assert_eq!(left, ["local-lvm:vm-100-disk-0"]);
}

#[tokio::test]
async fn an_imported_image_becomes_a_disk() {
    let lab = lab(|_| ()).await;
    let image = Image {
        version: "v1.12.4".into(),
        platform: "nocloud".into(),
        arch: "amd64".into(),
        secureboot: false,
        schematic: "a7".into(),
        extensions: Vec::new(),
        kernel_args: Vec::new(),
    };
    file::store(&mut lab.shared.lock(), "lab1", "local", "import", "t.qcow2", image.to_bytes().into(), 0).unwrap();
    let form = [("vmid", "100"), ("scsi0", "local-lvm:0,import-from=local:import/t.qcow2")];
    let upid = lab.data("POST", "/nodes/lab1/qemu", &form).await;
    assert_eq!(lab.exit_of(&upid).await, "OK");
    let config = lab.data("GET", "/nodes/lab1/qemu/100/config", &[]).await;
    assert_eq!(config["scsi0"], "local-lvm:vm-100-disk-0,size=1246M");
}

/// A factory on loopback that serves one image under its real name.
async fn factory(ca: &SiteCa, image: Vec<u8>) -> ServerHandle {
    let leaf = ca.leaf(&["factory.talos.dev".into()], &[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    http::serve(listener, Some(leaf.server_config()), http::Limits::PLAIN, move |_, _| {
        let image = image.clone();
        async move { Ok(http::answer(200, "OK", "application/octet-stream", image)) }
    })
}

#[tokio::test]
async fn an_image_comes_from_the_labs_factory_and_reaches_the_drive() {
    let lab = lab(|_| ()).await;
    let image = Image {
        version: "v1.12.4".into(),
        platform: "metal".into(),
        arch: "amd64".into(),
        secureboot: true,
        schematic: "a7".into(),
        extensions: Vec::new(),
        kernel_args: Vec::new(),
    };
    let server = factory(&lab.ca, image.to_bytes()).await;
    lab.shared.lock().pve.factory_endpoint = Some(FactoryEndpoint {
        hosts: vec!["factory.talos.dev".into()],
        address: server.address(),
        ca_pem: lab.ca.pem(),
    });
    let url = "https://factory.talos.dev/image/a7/v1.12.4/metal-amd64-secureboot.iso";
    let asked = [("url", url), ("content", "iso"), ("filename", "t.iso")];
    let upid = lab.data("POST", "/nodes/lab1/storage/local/download-url", &asked).await;
    assert_eq!(lab.exit_of(&upid).await, "OK");
    let elsewhere = [("url", "https://example.com/x.iso"), ("content", "iso"), ("filename", "x.iso")];
    let upid = lab.data("POST", "/nodes/lab1/storage/local/download-url", &elsewhere).await;
    assert_eq!(lab.exit_of(&upid).await, "download failed: wget: unable to resolve host address 'example.com'");
    // Bytes that are not those which were announced are not kept.
    let zeroes = "0".repeat(64);
    let wrong = [
        ("url", url),
        ("content", "iso"),
        ("filename", "w.iso"),
        ("checksum", &zeroes),
        ("checksum-algorithm", "sha256"),
    ];
    let upid = lab.data("POST", "/nodes/lab1/storage/local/download-url", &wrong).await;
    let exit = lab.exit_of(&upid).await;
    let exit = exit.as_str().unwrap();
    assert!(
        exit.starts_with("checksum mismatch: got '") && exit.ends_with(&format!("' != expect '{zeroes}'")),
        "{exit}"
    );
    let kept = lab.data("GET", "/nodes/lab1/storage/local/content", &[]).await;
    assert!(kept.as_array().unwrap().iter().all(|volume| volume["volid"] != "local:iso/w.iso"), "{kept}");

    let options = [
        ("vmid", "100"),
        ("name", "cp-1"),
        ("bios", "ovmf"),
        ("machine", "q35"),
        ("efidisk0", "local-lvm:1,efitype=4m,pre-enrolled-keys=0"),
        ("scsi0", "local-lvm:10,serial=disk%201"),
        ("ide2", "local:iso/t.iso,media=cdrom"),
        ("net0", "virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=7"),
        ("smbios1", "base64=1,serial=ZHM9bm9jbG91ZA==,uuid=11111111-2222-4333-8444-555555555555"),
        ("boot", "order=scsi0;ide2"),
        ("memory", "4096"),
        ("cores", "2"),
        ("sockets", "2"),
    ];
    let upid = lab.data("POST", "/nodes/lab1/qemu", &options).await;
    assert_eq!(lab.exit_of(&upid).await, "OK");
    let hardware = start::hardware(&lab.shared.lock(), 100).unwrap();
    assert_eq!((hardware.cores, hardware.memory_mib, hardware.cpu.as_str()), (4, 4096, "kvm64"));
    assert_eq!(hardware.serial.as_deref(), Some("ds=nocloud"));
    assert_eq!(hardware.boot, ["scsi0", "ide2"]);
    assert_eq!((hardware.nics[0].vlan, hardware.nics[0].bridge.as_str()), (Some(7), "vmbr0"));
    let vars = Some("local-lvm:vm-100-disk-0");
    assert!(
        matches!(&hardware.firmware, Firmware::Ovmf { secure_boot_capable: true, vars: found, pre_enrolled: false }
        if found.as_deref() == vars)
    );
    let medium = |device: &str| &hardware.drives.iter().find(|drive| drive.device == device).unwrap().medium;
    assert!(matches!(medium("scsi0"), Medium::Disk { bytes, serial: Some(serial), .. }
        if *bytes == 10 << 30 && serial == "disk 1"));
    let Medium::Cdrom { data, .. } = medium("ide2") else { panic!("no CD-ROM") };
    assert_eq!(Image::parse(data), Some(image));
}

#[tokio::test]
async fn nonsense_is_answered_or_dropped_and_the_face_lives_on() {
    let lab = lab(|_| ()).await;
    for bytes in [&b"\x16\x03\x01\xff\xff\0\0"[..], b"GET", b"\0\0\0\0\r\n\r\n", b"\xff\xfe", b""] {
        let mut stream = tokio::net::TcpStream::connect(lab.server.address()).await.unwrap();
        drop(stream.write_all(bytes).await);
    }
    for (method, path) in [
        ("GET", "/nodes/lab1/qemu/%00/config"),
        ("GET", "/nodes/%2e%2e/status"),
        ("GET", "/nodes/lab1/qemu/99999999999999999999/config"),
        ("DELETE", "/nodes/lab1/storage/local/content/%3a%3a"),
        ("GET", "/nodes/lab1/tasks/UPID:lab1:::::::/status"),
        ("GET", "/access/permissions?path=%ff%fe"),
        ("PUT", "/nodes/lab1/qemu/100/config?delete=,,,&boot=;"),
        ("POST", "/nodes/lab1/qemu?vmid=100&scsi0=a%3A&net0=%3D%3D"),
        ("POST", "/nodes/lab1/storage/local/download-url?url=http%3A//&content=iso&filename=.iso"),
    ] {
        let (status, _) = lab.call(method, path, &[]).await.expect("an answer");
        assert!(status >= 200, "{method} {path}");
    }
    assert_eq!(lab.data("GET", "/version", &[]).await["release"], "9.2");
}

#[tokio::test]
async fn every_call_of_the_tables_has_an_answer() {
    for version in ["8.4", "9.2"] {
        let lab = lab(|site| site.pve = version.into()).await;
        lab.data("POST", "/nodes/lab1/qemu", &[("vmid", "100")]).await;
        for endpoint in &Release::of(version).schema().endpoints {
            let known = [("{node}", "lab1"), ("{vmid}", "100"), ("{storage}", "local"), ("{userid}", "root@pam")];
            let path = known.iter().fold(endpoint.path.clone(), |path, (name, value)| path.replace(name, value));
            let path = path.replace(['{', '}'], "");
            assert!(lab.call(&endpoint.method, &path, &[]).await.is_some() || path.ends_with("/upload"), "{path}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let schema = Release::of("9.2").schema();
        for option in ["scsi0", "net0", "efidisk0", "smbios1", "boot", "cpu"] {
            drop(options::canonical(schema, option, &text));
            drop(drive::parse(schema, option, &text));
        }
        for name in schema.formats.keys() {
            drop(formats::check(schema, name, &text));
        }
        let raw = body::form(&bytes);
        drop(body::json(&bytes));
        drop(verify::parameters(schema, &schema.endpoint("POST", "/nodes/{node}/qemu").unwrap().params, &raw));
        drop(upload::parse(&bytes.clone().into(), "B"));
        drop(upload::parse(&[b"--B\r\nContent-Disposition: form-data; name=\"".as_slice(), &bytes].concat().into(), "B"));
        let _ = (size::parse(&text), disks::qcow2_size(&bytes));
        let shown = auth::Shown { cookie: None, authorization: Some(&bytes), csrf: None, writes: false };
        drop(auth::caller(&Site::default(), &login::Sessions::default(), &shown, 0));
        drop(routes::find(schema, "GET", &text));
    }
}

#[tokio::test]
async fn the_manager_starts_and_stops_what_is_highly_available_and_keeps_it_from_being_deleted() {
    let lab = lab(|_| ()).await;
    lab.data("POST", "/nodes/lab1/qemu", &[("vmid", "100"), ("name", "a")]).await;
    let (status, body) = lab.call("POST", "/cluster/ha/resources", &[("sid", "vm:101")]).await.unwrap();
    assert_eq!((status, &body["message"]), (500, &json!("resource 'vm:101' does not exists in cluster\n")));
    lab.data("POST", "/cluster/ha/resources", &[("sid", "vm:100"), ("state", "stopped"), ("max_restart", "2")]).await;
    let (_, body) = lab.call("POST", "/cluster/ha/resources", &[("sid", "100")]).await.unwrap();
    assert_eq!(body["message"], "create resource failed: resource ID 'vm:100' already defined\n");
    let resource = lab.data("GET", "/cluster/ha/resources/vm:100", &[]).await;
    assert_eq!((&resource["sid"], &resource["max_restart"]), (&json!("vm:100"), &json!(2)));

    // The task ends with the request; the start is the manager's.
    let upid = lab.data("POST", "/nodes/lab1/qemu/100/status/start", &[]).await;
    assert!(upid.as_str().is_some_and(|upid| upid.contains(":hastart:100:")), "{upid}");
    let runs = |wanted: bool| {
        let shared = lab.shared.clone();
        async move {
            let there = || hypervisor::is_running(&shared.lock(), 100) == wanted;
            work::until(&shared, std::time::Duration::from_secs(10), there).await
        }
    };
    assert!(runs(true).await);
    let current = lab.data("GET", "/nodes/lab1/qemu/100/status/current", &[]).await;
    assert_eq!(current["ha"], json!({ "managed": 1, "state": "started" }));
    assert_eq!(lab.data("GET", "/cluster/resources?type=vm", &[]).await[0]["hastate"], "started");

    let overrule = lab.call("POST", "/nodes/lab1/qemu/100/status/stop", &[("overrule-shutdown", "1")]).await.unwrap();
    assert_eq!(overrule.1["errors"]["overrule-shutdown"], "Not applicable for HA resources.");
    lab.data("POST", "/nodes/lab1/qemu/100/status/stop", &[]).await;
    assert!(runs(false).await);
    let (_, body) = lab.call("DELETE", "/nodes/lab1/qemu/100", &[]).await.unwrap();
    assert_eq!(body["message"], "unable to remove VM 100 - used in HA resources and purge parameter not set.\n");
    lab.data("DELETE", "/nodes/lab1/qemu/100?purge=1", &[]).await;
    assert!(!lab.has(100) && lab.shared.lock().pve.ha.is_empty());
    let (_, body) = lab.call("DELETE", "/cluster/ha/resources/vm:100", &[]).await.unwrap();
    assert_eq!(body["message"], "resource 'vm:100' is not HA managed\n");
}
