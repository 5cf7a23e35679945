//! The site of the recordings, and what single scenarios add to it.

use serde_json::{Value, json};

use super::super::hypervisor::{Hypervisor, Scripted};
use super::super::vm::Vm;
use super::files;
use crate::lab::clock::Clock;
use crate::lab::site::{Acl, Bridge, Guest, Node, Site, Storage, Token, User};
use crate::lab::world::{Shared, World};

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The site that `fixture` describes.
fn site(major: u8, fixture: &Value) -> Site {
    let object = |name: &str| fixture[name].as_object().unwrap().clone();
    let mut site =
        Site { pve: if major == 8 { "8.4".into() } else { "9.2".into() }, clock: Clock::Instant, ..Site::default() };
    site.nodes = vec![Node { name: fixture["node"].as_str().unwrap().into(), cpus: 2, memory: 24 }];
    site.users = object("users")
        .into_iter()
        .map(|(name, user)| {
            let enable = user["enable"] != 0;
            (name, User { enable, expire: user["expire"].as_i64().unwrap_or(0) })
        })
        .collect();
    site.tokens = object("tokens")
        .into_iter()
        .map(|(name, token)| {
            let secret = token["secret"].as_str().unwrap().to_owned();
            let expire = token["expire"].as_i64().unwrap_or(0);
            (name, Token { secret, privsep: token["privsep"] == 1, expire })
        })
        .collect();
    site.roles = object("roles").into_iter().map(|(name, role)| (name, role.as_str().unwrap().to_owned())).collect();
    let entries = fixture["acl"].as_array().unwrap().iter();
    site.acl =
        entries.map(|entry| acl(entry[0].as_str().unwrap(), &texts(&entry[1]), entry[2].as_str().unwrap())).collect();
    site.pools = vec!["talos".into()];
    site.storages = object("storages")
        .into_iter()
        .map(|(name, storage)| {
            let storage = Storage {
                kind: storage["type"].as_str().unwrap().into(),
                content: storage["content"].as_str().unwrap().split(',').map(str::to_owned).collect(),
                path: storage["path"].as_str().map(str::to_owned),
                shared: false,
                disabled: storage["disable"] == 1,
                total: 100,
                used: 10,
                nodes: Vec::new(),
            };
            (name, storage)
        })
        .collect();
    let bridge = |name: &str, ports: &str, vlan_aware: bool, active: bool| Bridge {
        name: name.into(),
        ports: ports.into(),
        vlan_aware,
        active,
    };
    site.bridges =
        vec![bridge("vmbr0", "eno1", true, true), bridge("vmbr1", "", false, true), bridge("vmbr9", "", false, false)];
    site
}

fn acl(path: &str, to: &[String], role: &str) -> Acl {
    Acl { path: path.into(), to: to.to_vec(), role: role.into(), propagate: true }
}

/// The VM that scenarios start with: one disk, one card whose MAC ends in the VMID's last digit.
fn guest(vmid: u32, tags: &str, more: &[(&str, &str)]) -> Guest {
    let mac = format!("virtio=BC:24:11:00:00:0{},bridge=vmbr0", vmid % 10);
    let own = [("memory", "512"), ("scsi0", "data:1"), ("scsihw", "virtio-scsi-pci"), ("net0", mac.as_str())];
    let config = own.into_iter().chain(more.iter().copied());
    Guest {
        vmid,
        name: format!("vm{vmid}"),
        node: "pve1".into(),
        running: false,
        tags: tags.into(),
        config: config.map(|(option, text)| (option.to_owned(), text.to_owned())).collect(),
    }
}

/// The world in which `scenario` plays.
pub(super) fn world(major: u8, fixture: &Value, scenario: &Value) -> Shared {
    let text = |name: &str| scenario[name].as_str().unwrap_or_default();
    let (category, name, note) = (text("category"), text("name"), text("note"));
    let mut site = site(major, fixture);
    match category {
        "permission" if name.starts_with("one privilege missing") => minus(&mut site, text("fixture")),
        "permission" => site.guests.push(guest(310, "", &[])),
        "read" => site.guests.push(guest(320, "t1", &[])),
        "create-error" => site.guests.push(guest(340, "", &[])),
        "protocol" => site.guests.push(guest(385, "", &[])),
        "race" if name == "delete twice at once" => site.guests.push(guest(350, "", &[])),
        "lifecycle" if name == "cluster without quorum" => site.guests.push(guest(364, "", &[])),
        "cluster" => {
            for other in ["pve2", "pve3"] {
                site.nodes.push(Node { name: other.into(), cpus: 2, memory: 24 });
            }
            site.guests.push(Guest { node: "pve2".into(), ..guest(500, "pvetalos", &[]) });
        }
        _ => {}
    }
    if name.contains("at once")
        || name.contains("while the create")
        || name.contains("create task runs")
        || name.contains("chain without")
    {
        site.clock = Clock::Realistic { speed: 2.0 };
    }
    let shared = Shared::new(site);
    {
        let mut world = shared.lock();
        let agent = if note == "agent answers simulated" { agent_answers() } else { Vec::new() };
        world.pve.hypervisor = Hypervisor::Scripted(Scripted {
            deaf: note.contains("ignores power-down") || name == "killed worker",
            broken: note.contains("made to fail"),
            agent,
            ..Scripted::default()
        });
        world.pve.broadcast.by_hand = true;
        world.pve.quorate = name != "cluster without quorum";
        world.pve.addresses.insert("pve1".into(), ("192.168.77.11/24".into(), "192.168.77.1".into()));
        if let Some(pool) = world.pve.pools.get_mut("talos") {
            pool.comment = "pool for tests".into();
        }
        furnish(&mut world, category, name);
        remember(&mut world, category, name);
    }
    shared
}

/// Files and half-made VMs.
fn furnish(world: &mut World, category: &str, name: &str) {
    let mut file = |name: &str, data: Vec<u8>| store(world, name, data);
    file("iso/talos.iso", vec![0; 524_288]);
    if matches!(category, "import" | "upload" | "download") {
        file("import/disk.raw", vec![0; 16 << 20]);
    }
    if category == "import" {
        file("import/disk.qcow2", files::qcow2(24 << 20));
        file("import/broken.qcow2", b"not a qcow2".to_vec());
    }
    match name {
        "start with a missing iso file" => file("iso/gone.iso", vec![0; 4096]),
        "delete with delay" => file("iso/dd.iso", vec![0; 4096]),
        "storage lock held by somebody else during create" => {
            world.pve.locked_storages.insert("data".into());
        }
        "vm left over with lock: create" => {
            let mut vm = Vm { node: "pve1".into(), ..Vm::default() };
            vm.config.insert("lock".into(), "create".into());
            world.pve.vms.insert(363, vm);
        }
        _ => {}
    }
}

/// What scenarios before this one left behind, where the recording shows it.
fn remember(world: &mut World, category: &str, name: &str) {
    let nine = world.pve.release.major == 9;
    let mut task = |kind: &str, vmid: &str, owner: &str, result: Result<(), String>, warnings: u32| {
        let upid = world.pve.tasks.begin("pve1", kind, vmid, owner, 1_795_244_700);
        if let Some(task) = world.pve.tasks.get_mut(&upid) {
            task.warnings = warnings;
        }
        world.pve.tasks.finish(&upid, result, 1_795_244_701);
    };
    let root = "root@pam!full";
    if category == "read" && name.starts_with("GET /nodes/pve1/tasks") {
        for (kind, vmid) in [("qmcreate", "310"), ("qmstop", "310"), ("qmdestroy", "310"), ("qmcreate", "320")] {
            task(kind, vmid, root, Ok(()), 0);
        }
    }
    if name == "task list filters" {
        let ci = "talos@pve!ci";
        task("qmcreate", "384", ci, Ok(()), 0);
        task("qmstop", "384", root, Ok(()), 0);
        task("qmdestroy", "384", root, Ok(()), 0);
        let missing = "unable to create VM 383 - volume 'local:iso/missing.iso' does not exist";
        task("qmcreate", "383", ci, Err(missing.into()), 0);
        task("qmstart", "383", ci, Ok(()), 1);
        task("qmshutdown", "383", ci, Err("VM quit/powerdown failed - got timeout".into()), 0);
    }
    if category == "read" && !nine {
        let volume = super::super::volume::Volume {
            content: "images",
            format: "raw".into(),
            bytes: 1 << 30,
            used: 4096,
            ctime: 1_795_244_700,
            vmid: Some(397),
            data: bytes::Bytes::new(),
        };
        let place = super::super::volume::place(&world.site, "pve1", "data:397/foo.raw").unwrap();
        world.pve.volumes.insert(place, volume);
        world.pve.pools.get_mut("talos").unwrap().vms.insert(399);
    }
    let Some(vm) = world.pve.vms.get_mut(&385) else { return };
    let mut set = |option: &str, text: &str| vm.config.insert(option.into(), text.into());
    if matches!(name, "repeated parameter" | "invalid UTF-8 and percent escapes" | "content types") {
        set("name", "injected");
        set("description", if name == "content types" { "a\0b" } else { "a b c+d" });
        set("tags", if name == "repeated parameter" { "a" } else { "z" });
        if nine {
            set("net0", "virtio=BC:24:11:B6:EC:3A");
        }
    }
}

fn store(world: &mut World, name: &str, data: Vec<u8>) {
    let (kind, file) = name.split_once('/').unwrap();
    super::super::file::store(world, "pve1", "local", kind, file, data.into(), 1_795_244_647).unwrap();
}

/// The extra user of the scenarios that take one privilege away: their fixture tells its role.
fn minus(site: &mut Site, fixture: &str) {
    let (_, role) = fixture.split_once("has on /vms the role: ").unwrap();
    let (role, _) = role.split_once(';').unwrap();
    let token = Token { secret: "00000000-0000-4000-8000-000000000021".into(), privsep: false, expire: 0 };
    site.users.insert("minus@pve".into(), User { enable: true, expire: 0 });
    site.tokens.insert("minus@pve!t1".into(), token);
    site.roles.insert("Minus".into(), role.to_owned());
    let to = ["minus@pve".to_owned()];
    for (path, role) in [
        ("/vms", "Minus"),
        ("/storage/data", "TalosStorage"),
        ("/storage/local", "TalosImagesRW"),
        ("/sdn/zones/localnetwork/vmbr0", "TalosNet"),
    ] {
        site.acl.push(acl(path, &to, role));
    }
    site.guests.push(guest(311, "", &[("agent", "1"), ("serial0", "socket")]));
}

fn agent_answers() -> Vec<(String, Value)> {
    let interfaces = json!([
        { "name": "lo", "statistics": { "rx-bytes": 1 }, "hardware-address": "00:00:00:00:00:00",
          "ip-addresses": [{ "ip-address-type": "ipv4", "prefix": 8, "ip-address": "127.0.0.1" }] },
        { "name": "eth0", "hardware-address": "bc:24:11:00:00:01", "ip-addresses": [
            { "ip-address": "10.0.0.5", "prefix": 24, "ip-address-type": "ipv4" },
            { "ip-address": "fe80::1", "prefix": 64, "ip-address-type": "ipv6" }] },
        { "name": "sit0" },
    ]);
    let info = json!({ "version": "8.2.0", "supported_commands": [
        { "name": "guest-ping", "enabled": true, "success-response": true }] });
    [
        ("network-get-interfaces", interfaces),
        ("ping", json!({})),
        ("info", info),
        ("get-osinfo", json!({ "id": "talos", "name": "Talos", "pretty-name": "Talos (v1.11.0)" })),
        ("get-host-name", json!({ "host-name": "talos-1" })),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
