//! Addresses that the cluster reserves for cards on vnets.

use super::*;
use crate::lab::site::{Acl, Vnet, Zone};

/// A lab whose machines' network is the vnet `apps`, with three addresses for DHCP, the gateway's among them.
async fn lab_on_vnet(change: impl FnOnce(&mut Site)) -> Lab {
    lab(|site| {
        let at = |last: u8| std::net::Ipv4Addr::new(10, 83, 0, last);
        let apps = Vnet {
            name: "apps".into(),
            alias: Some("what runs".into()),
            cidr: site.network.cidr,
            gateway: Some(at(10)),
            dhcp_range: (at(10), at(12)),
        };
        let away = Vnet {
            name: "away".into(),
            alias: None,
            cidr: "10.84.0.0/24".parse().unwrap(),
            gateway: None,
            dhcp_range: ([10, 84, 0, 1].into(), [10, 84, 0, 9].into()),
        };
        site.zones.push(Zone { name: "simple".into(), vnets: vec![apps, away] });
        change(site);
    })
    .await
}

impl Lab {
    async fn made(&self, vmid: &str, net: &str) {
        let cdrom = ("ide2", "local:iso/talos.iso,media=cdrom");
        let form = [("vmid", vmid), ("name", "one"), ("cpu", "host"), ("net0", net), cdrom];
        let upid = self.data("POST", "/nodes/lab1/qemu", &form).await;
        assert_eq!(self.exit_of(&upid).await, "OK");
    }

    /// Address and VM of every reservation on `apps`.
    async fn reserved(&self) -> Vec<(String, u64)> {
        let rows = self.data("GET", "/cluster/sdn/ipams/pve/status", &[]).await;
        let rows = rows.as_array().unwrap().iter().filter(|row| row["vnet"] == "apps");
        rows.filter_map(|row| Some((row["ip"].as_str()?.to_owned(), row["vmid"].as_u64()?))).collect()
    }

    fn store_image(&self) {
        let image = Image {
            version: "v1.12.4".into(),
            platform: "nocloud".into(),
            arch: "amd64".into(),
            secureboot: false,
            schematic: "a7".into(),
            extensions: Vec::new(),
            kernel_args: Vec::new(),
        };
        file::store(&mut self.shared.lock(), "lab1", "local", "iso", "talos.iso", image.to_bytes().into(), 0).unwrap();
    }

    /// The addresses of a machine that has just come up.
    fn booted(&self, vmid: u32) -> Vec<String> {
        let mut world = self.shared.lock();
        for _ in 0..100 {
            world.advance();
            let system = world.fleet.machine(vmid).and_then(|machine| machine.system.as_ref());
            if let Some(system) = system.filter(|system| !system.addresses.is_empty()) {
                return system.addresses.iter().map(|address| address.ip.to_string()).collect();
            }
        }
        panic!("VM {vmid} has no address")
    }
}

fn at(ip: &str, vmid: u64) -> (String, u64) {
    (ip.to_owned(), vmid)
}

#[tokio::test]
async fn a_machine_has_the_reserved_address_at_every_boot_until_it_goes() {
    let lab = lab_on_vnet(|_| ()).await;
    lab.shared.lock().pve.hypervisor = Hypervisor::Fleet;
    lab.store_image();
    lab.made("100", "virtio=BC:24:11:00:00:01,bridge=apps").await;
    let rows = lab.data("GET", "/cluster/sdn/ipams/pve/status", &[]).await;
    let gateway =
        json!({ "zone": "simple", "subnet": "10.83.0.0/24", "vnet": "apps", "ip": "10.83.0.10", "gateway": 1 });
    let lease = json!({ "zone": "simple", "subnet": "10.83.0.0/24", "vnet": "apps", "ip": "10.83.0.11", "vmid": 100,
        "mac": "BC:24:11:00:00:01", "hostname": "one" });
    assert_eq!((&rows[0], &rows[1]), (&gateway, &lease));
    for _ in 0..3 {
        lab.data("POST", "/nodes/lab1/qemu/100/status/start", &[]).await;
        assert_eq!(lab.booted(100), ["10.83.0.11"]);
        lab.data("POST", "/nodes/lab1/qemu/100/status/stop", &[]).await;
    }
    let upid = lab.data("DELETE", "/nodes/lab1/qemu/100", &[]).await;
    assert_eq!((lab.exit_of(&upid).await, lab.reserved().await), (json!("OK"), Vec::new()));
}

#[tokio::test]
async fn a_full_range_is_told_by_the_creation_and_ends_the_start() {
    let lab = lab_on_vnet(|_| ()).await;
    lab.store_image();
    for vmid in ["100", "101", "102"] {
        lab.made(vmid, "virtio,bridge=apps").await;
    }
    assert_eq!(lab.reserved().await, [at("10.83.0.11", 100), at("10.83.0.12", 101)]);
    let why = "can't find any free ip in zone simple for IPv4 at /usr/share/perl5/PVE/Network/SDN/Vnets.pm line 154.";
    let told = |kind: &str| {
        let world = lab.shared.lock();
        let mut tasks = world.pve.tasks.all.iter().filter(|task| task.kind == kind && task.id == "102");
        tasks.any(|task| task.log.iter().any(|line| line == why))
    };
    assert!(told("qmcreate"));
    let upid = lab.data("POST", "/nodes/lab1/qemu/102/status/start", &[]).await;
    assert_eq!(lab.exit_of(&upid).await, "start failed: QEMU exited with code 1");
    assert!(told("qmstart"));
    let (status, body) =
        lab.call("PUT", "/nodes/lab1/qemu/102/config", &[("net1", "virtio,bridge=apps")]).await.unwrap();
    let net1 = format!("unable to apply pending change net1 : {why}\n");
    assert_eq!((status, &body["errors"]["net1"]), (400, &json!(net1)));

    lab.data("PUT", "/nodes/lab1/qemu/100/config", &[("delete", "net0")]).await;
    let upid = lab.data("POST", "/nodes/lab1/qemu/102/status/start", &[]).await;
    assert_eq!(
        lab.exit_of(&upid).await,
        "start failed: QEMU exited with code 1",
        "the card that waited took the address"
    );
    lab.data("PUT", "/nodes/lab1/qemu/101/config", &[("net0", "virtio,bridge=away")]).await;
    let upid = lab.data("POST", "/nodes/lab1/qemu/102/status/start", &[]).await;
    assert_eq!(lab.exit_of(&upid).await, "OK");
    assert_eq!(lab.reserved().await, [at("10.83.0.11", 102), at("10.83.0.12", 102)]);
}

#[tokio::test]
async fn a_reservation_follows_the_card_and_a_clone_has_its_own() {
    let lab = lab_on_vnet(|_| ()).await;
    lab.store_image();
    lab.made("100", "virtio=BC:24:11:00:00:01,bridge=apps").await;
    let config = "/nodes/lab1/qemu/100/config";
    lab.data("PUT", config, &[("net0", "virtio=BC:24:11:00:00:02,bridge=apps")]).await;
    let rows = lab.data("GET", "/cluster/sdn/ipams/pve/status", &[]).await;
    assert_eq!((&rows[1]["ip"], &rows[1]["mac"]), (&json!("10.83.0.11"), &json!("BC:24:11:00:00:02")));
    let upid = lab.data("POST", "/nodes/lab1/qemu/100/clone", &[("newid", "101"), ("full", "1")]).await;
    assert_eq!(lab.exit_of(&upid).await, "OK");
    assert_eq!(lab.reserved().await, [at("10.83.0.11", 100), at("10.83.0.12", 101)]);
    lab.data("PUT", config, &[("net0", "virtio=BC:24:11:00:00:02,bridge=vmbr0")]).await;
    assert_eq!(lab.reserved().await, [at("10.83.0.12", 101)]);
    // A simple vnet knows no VLANs.
    lab.data("PUT", config, &[("net0", "virtio,bridge=away,tag=7")]).await;
    let upid = lab.data("POST", "/nodes/lab1/qemu/100/status/start", &[]).await;
    assert_eq!(lab.exit_of(&upid).await, "start failed: QEMU exited with code 1");
}

#[tokio::test]
async fn a_vnet_is_shown_and_used_by_those_who_may() {
    let rights = |path: &str, role: &str| Acl {
        path: path.into(),
        to: vec![TOKEN_ID.into()],
        role: role.into(),
        propagate: true,
    };
    let lab = lab_on_vnet(|site| {
        site.tokens.get_mut(TOKEN_ID).unwrap().privsep = true;
        site.acl = vec![
            rights("/vms", "PVEVMAdmin"),
            rights("/nodes", "PVEAuditor"),
            rights("/sdn/zones/simple/apps", "PVESDNAdmin"),
        ];
    })
    .await;
    let (all, node) = ("/cluster/sdn/vnets", "/nodes/lab1/network?type");
    let names = async |path: &str, key: &str| -> Vec<String> {
        let rows = lab.data("GET", path, &[]).await;
        rows.as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(all, "vnet").await, ["apps"]);
    assert_eq!(names(&format!("{node}=any_bridge"), "iface").await, ["apps"]);
    assert_eq!(names(&format!("{node}=vnet"), "iface").await, ["apps"]);
    assert!(names(&format!("{node}=any_local_bridge"), "iface").await.is_empty());
    assert!(names("/cluster/sdn/zones", "zone").await.is_empty());
    assert_eq!(names("/nodes/lab1/sdn/zones", "zone").await, ["simple"]);
    assert_eq!(names("/cluster/sdn/ipams/pve/status", "vnet").await, ["apps"]);
    let form = [("vmid", "100"), ("net0", "virtio,bridge=away,tag=7")];
    let (status, body) = lab.call("POST", "/nodes/lab1/qemu", &form).await.unwrap();
    let text = "Permission check failed (/sdn/zones/simple/away/7, SDN.Use)\n";
    assert_eq!((status, &body["message"]), (403, &json!(text)));
    // Nor can a card there be copied, or taken out.
    let card = ("net0".to_owned(), "virtio=BC:24:11:00:00:01,bridge=away".to_owned());
    let taken = Vm { node: "lab1".into(), config: [card].into(), ..Vm::default() };
    lab.shared.lock().pve.vms.insert(100, taken);
    let text = "Permission check failed (/sdn/zones/simple/away, SDN.Use)\n";
    for (method, path, form) in [
        ("POST", "clone", ("newid", "101")),
        ("PUT", "config", ("delete", "net0")),
        ("PUT", "config", ("net0", "virtio")),
    ] {
        let path = format!("/nodes/lab1/qemu/100/{path}");
        let (status, body) = lab.call(method, &path, &[form]).await.unwrap();
        assert_eq!((status, &body["message"]), (403, &json!(text)), "{method} {path}");
    }

    lab.shared.lock().site.acl.push(rights("/sdn/zones", "PVESDNAdmin"));
    assert_eq!(names("/cluster/sdn/zones?type=simple", "zone").await, ["simple"]);
    assert_eq!(names("/nodes/lab1/sdn/zones/simple/content", "vnet").await, ["apps", "away"]);
    assert_eq!(names("/nodes/lab1/sdn/zones/simple/bridges", "name").await, ["apps", "away"]);
    assert_eq!(names("/nodes/lab1/sdn/zones/localnetwork/bridges", "name").await, ["vmbr0"]);
    assert_eq!(names(&format!("{node}=any_bridge"), "iface").await, ["vmbr0", "apps", "away"]);
}
