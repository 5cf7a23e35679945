//! What VMs go through beside being created and started, and the people who may do it.

use super::*;
use crate::lab::site::{Acl, User};

async fn vm(lab: &Lab, vmid: &str, more: &[(&str, &str)]) {
    let own = [("vmid", vmid), ("name", "one"), ("net0", "virtio,bridge=vmbr0"), ("scsi0", "local-lvm:4")];
    let form: Vec<(&str, &str)> = own.iter().chain(more).copied().collect();
    let upid = lab.data("POST", "/nodes/lab1/qemu", &form).await;
    assert_eq!(lab.exit_of(&upid).await, "OK");
}

async fn message(lab: &Lab, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
    let (status, body) = lab.call(method, path, form).await.unwrap();
    assert!(status >= 400, "{method} {path}: {body}");
    if body["errors"].is_object() { body["errors"].clone() } else { body["message"].clone() }
}

#[tokio::test]
async fn a_template_is_cloned_and_never_started() {
    let lab = lab(|_| ()).await;
    vm(&lab, "100", &[("description", "d")]).await;
    lab.data("POST", "/nodes/lab1/qemu/100/template", &[]).await;
    let config = lab.data("GET", "/nodes/lab1/qemu/100/config", &[]).await;
    assert_eq!((&config["template"], &config["scsi0"]), (&json!(1), &json!("local-lvm:base-100-disk-0,size=4G")));
    let upid = lab.data("POST", "/nodes/lab1/qemu/100/status/start", &[]).await;
    assert_eq!(lab.exit_of(&upid).await, "you can't start a vm if it's a template");

    let upid =
        lab.data("POST", "/nodes/lab1/qemu/100/clone", &[("newid", "101"), ("name", "two"), ("full", "1")]).await;
    assert_eq!(lab.exit_of(&upid).await, "OK");
    let copy = lab.data("GET", "/nodes/lab1/qemu/101/config", &[]).await;
    assert_eq!((&copy["name"], &copy["scsi0"]), (&json!("two"), &json!("local-lvm:vm-101-disk-0,size=4G")));
    assert!(copy["template"].is_null() && copy["net0"] != config["net0"] && copy["smbios1"] != config["smbios1"]);
    let taken = message(&lab, "POST", "/nodes/lab1/qemu/100/clone", &[("newid", "101")]).await;
    assert_eq!(taken, "unable to create VM 101: config file already exists\n");
    let linked =
        message(&lab, "POST", "/nodes/lab1/qemu/100/clone", &[("newid", "102"), ("storage", "local-lvm")]).await;
    assert_eq!(linked, "parameter 'storage' not allowed for linked clones\n");
    lab.data("DELETE", "/nodes/lab1/qemu/100", &[]).await;
    lab.data("DELETE", "/nodes/lab1/qemu/101", &[]).await;
    assert!(lab.shared.lock().pve.volumes.is_empty());
}

#[tokio::test]
async fn a_snapshot_keeps_a_configuration_and_a_rollback_brings_it_back() {
    let lab = lab(|_| ()).await;
    vm(&lab, "100", &[("memory", "512")]).await;
    let snapshots = "/nodes/lab1/qemu/100/snapshot";
    lab.data("POST", snapshots, &[("snapname", "before"), ("description", "why")]).await;
    lab.data("PUT", "/nodes/lab1/qemu/100/config", &[("memory", "1024")]).await;
    let again = lab.data("POST", snapshots, &[("snapname", "before")]).await;
    assert_eq!(lab.exit_of(&again).await, "snapshot name 'before' already used");
    let rows = lab.data("GET", snapshots, &[]).await;
    assert_eq!((&rows[0]["description"], &rows[1]["parent"]), (&json!("why"), &json!("before")));
    assert_eq!(lab.data("GET", &format!("{snapshots}/before/config"), &[]).await["memory"], "512");
    lab.data("POST", &format!("{snapshots}/before/rollback"), &[]).await;
    assert_eq!(lab.data("GET", "/nodes/lab1/qemu/100/config", &[]).await["memory"], "512");
    lab.data("DELETE", &format!("{snapshots}/before"), &[]).await;
    let gone = lab.data("DELETE", &format!("{snapshots}/before"), &[]).await;
    assert_eq!(lab.exit_of(&gone).await, "snapshot 'before' does not exist");

    let reserved = message(&lab, "POST", snapshots, &[("snapname", "current")]).await;
    assert_eq!(reserved, "unable to use snapshot name 'current' (reserved name)\n");
}

#[tokio::test]
async fn a_vm_moves_to_another_node_and_a_disk_to_another_storage() {
    let lab = lab(|site| {
        let other = crate::lab::site::Node { name: "lab2".into(), ..site.nodes[0].clone() };
        site.nodes.push(other);
        let fast = crate::lab::site::Storage { nodes: vec!["lab1".into()], ..site.storages["local-lvm"].clone() };
        site.storages.insert("fast".into(), fast);
    })
    .await;
    vm(&lab, "100", &[]).await;
    let upid =
        lab.data("POST", "/nodes/lab1/qemu/100/move_disk", &[("disk", "scsi0"), ("storage", "fast"), ("delete", "1")]);
    assert_eq!(lab.exit_of(&upid.await).await, "OK");
    assert_eq!(lab.data("GET", "/nodes/lab1/qemu/100/config", &[]).await["scsi0"], "fast:vm-100-disk-0,size=4G");
    let here = message(&lab, "POST", "/nodes/lab1/qemu/100/migrate", &[("target", "lab1")]).await;
    assert_eq!(here["target"], "target is local node.");
    let refused = message(&lab, "POST", "/nodes/lab1/qemu/100/migrate", &[("target", "lab2")]).await;
    assert_eq!(refused, "storage 'fast' is not available on node 'lab2'\n");
    lab.data("POST", "/nodes/lab1/qemu/100/move_disk", &[("disk", "scsi0"), ("storage", "local-lvm"), ("delete", "1")])
        .await;
    let upid = lab.data("POST", "/nodes/lab1/qemu/100/migrate", &[("target", "lab2")]).await;
    assert_eq!(lab.exit_of(&upid).await, "OK");
    let gone = message(&lab, "GET", "/nodes/lab1/qemu/100/config", &[]).await;
    assert_eq!(gone, "Configuration file 'nodes/lab1/qemu-server/100.conf' does not exist\n");
    assert_eq!(lab.data("GET", "/cluster/resources?type=vm", &[]).await[0]["node"], "lab2");
    lab.data("DELETE", "/nodes/lab2/qemu/100", &[]).await;
    assert!(lab.shared.lock().pve.volumes.is_empty());
}

#[tokio::test]
async fn a_node_that_is_off_or_unknown_by_its_certificate_is_not_reached() {
    let lab = lab(|site| {
        let like = site.nodes[0].clone();
        site.nodes.push(crate::lab::site::Node { name: "off".into(), online: false, ..like.clone() });
        site.nodes.push(crate::lab::site::Node { name: "other".into(), trusted: false, ..like });
    })
    .await;
    assert_eq!(lab.call("GET", "/nodes/off/status", &[]).await.unwrap().0, 595);
    assert_eq!(lab.call("GET", "/nodes/other/status", &[]).await.unwrap().0, 596);
    let nodes = lab.data("GET", "/nodes", &[]).await;
    let told: Vec<_> =
        nodes.as_array().unwrap().iter().map(|node| (&node["status"], node["ssl_fingerprint"].is_null())).collect();
    // Whoever asks first wakes the status daemons of a cluster on the instant clock.
    assert_eq!(told[1], (&json!("offline"), false));
    assert_eq!((told[0].1, told[2].1), (false, true));
}

#[tokio::test]
async fn a_token_that_was_made_over_the_api_has_what_its_entries_give() {
    let lab = lab(|_| ()).await;
    vm(&lab, "100", &[]).await;
    let refused = message(&lab, "POST", "/access/roles", &[("roleid", "pveMine")]).await;
    assert!(refused["roleid"].as_str().unwrap().contains("namespace"), "{refused}");
    lab.data("POST", "/access/roles", &[("roleid", "Mine"), ("privs", "VM.Audit,VM.PowerMgmt")]).await;
    lab.data("POST", "/access/users", &[("userid", "a@pve")]).await;
    let made = lab.data("POST", "/access/users/a@pve/token/tt", &[]).await;
    for to in [("users", "a@pve"), ("tokens", "a@pve!tt")] {
        lab.data("PUT", "/access/acl", &[("path", "/vms/100"), ("roles", "Mine"), to]).await;
    }
    let unknown = message(&lab, "PUT", "/access/acl", &[("path", "/vms"), ("roles", "No"), ("users", "a@pve")]).await;
    assert_eq!(unknown, "ACL update failed: role 'No' does not exist\n");
    let ask = |path: &'static str| {
        let url = format!("https://{}/api2/json{path}", lab.server.address());
        let secret = made["value"].as_str().unwrap().to_owned();
        let request = lab.client.get(url).header("Authorization", format!("PVEAPIToken=a@pve!tt={secret}"));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!((ask("/nodes/lab1/qemu/100/config").await, ask("/storage/local").await), (200, 403));
    let listed = lab.data("GET", "/access/users?full=1", &[]).await;
    let user = listed.as_array().unwrap().iter().find(|user| user["userid"] == "a@pve").unwrap();
    assert_eq!(user["tokens"][0]["tokenid"], "tt");
    lab.data("DELETE", "/access/users/a@pve/token/tt", &[]).await;
    assert_eq!(ask("/version").await, 401);
    lab.data("DELETE", "/access/users/a@pve", &[]).await;
    lab.data("DELETE", "/access/roles/Mine", &[]).await;
    assert!(lab.shared.lock().site.acl.iter().all(|entry| entry.to.is_empty()));
}

#[tokio::test]
async fn an_entry_counts_below_its_path_when_it_says_so() {
    let ask = async |propagate: bool| {
        let lab = lab(|site| {
            let token = Token { secret: SECRET.into(), privsep: false, expire: 0, comment: None };
            site.users.insert("a@pve".into(), User::default());
            site.tokens.insert("a@pve!tt".into(), token);
            let entry = |path: &str, propagate| Acl {
                path: path.into(),
                to: vec!["a@pve".into()],
                role: "PVEAuditor".into(),
                propagate,
            };
            site.acl.extend([entry("/vms", propagate), entry("/storage/local", false)]);
        })
        .await;
        vm(&lab, "100", &[]).await;
        let mut statuses = Vec::new();
        for path in
            ["/nodes/lab1/qemu/100/config", "/nodes/lab1/storage/local/status", "/nodes/lab1/storage/local-lvm/status"]
        {
            let url = format!("https://{}/api2/json{path}", lab.server.address());
            let request = lab.client.get(url).header("Authorization", format!("PVEAPIToken=a@pve!tt={SECRET}"));
            statuses.push(request.send().await.unwrap().status().as_u16());
        }
        statuses
    };
    assert_eq!(ask(true).await, [200, 200, 403]);
    assert_eq!(ask(false).await, [403, 200, 403]);
}

#[tokio::test]
async fn an_answer_of_the_proxy_has_no_body_and_the_work_goes_on() {
    let lab = lab(|_| ()).await;
    vm(&lab, "100", &[]).await;
    lab.script(
        "PUT /nodes/{node}/qemu/{vmid}/config",
        Effect::ActThenFail { code: 596, text: "Connection timed out".into() },
    );
    let (status, body) = lab.call("PUT", "/nodes/lab1/qemu/100/config", &[("tags", "x")]).await.unwrap();
    assert_eq!((status, body), (596, Value::Null));
    assert_eq!(lab.data("GET", "/nodes/lab1/qemu/100/config", &[]).await["tags"], "x");
}

#[tokio::test]
async fn a_tag_needs_a_bridge_that_knows_tags_or_a_port() {
    let bridge = |name: &str, ports: &str, vlan_aware| crate::lab::site::Bridge {
        name: name.into(),
        vlan_aware,
        ports: ports.into(),
        active: true,
    };
    let lab = lab(|site| site.bridges.extend([bridge("inner", "", false), bridge("outer", "eno2", false)])).await;
    for (vmid, name, ends) in
        [("100", "inner", "start failed: QEMU exited with code 1"), ("101", "outer", "OK"), ("102", "vmbr0", "OK")]
    {
        let net = format!("virtio,bridge={name},tag=7");
        lab.data("POST", "/nodes/lab1/qemu", &[("vmid", vmid), ("net0", &net)]).await;
        let upid = lab.data("POST", &format!("/nodes/lab1/qemu/{vmid}/status/start"), &[]).await;
        assert_eq!(lab.exit_of(&upid).await, ends, "{name}");
    }
    let world = lab.shared.lock();
    let told = world
        .pve
        .tasks
        .all
        .iter()
        .flat_map(|task| &task.log)
        .any(|line| line == "no physical interface on bridge 'inner'");
    assert!(told);
}

#[tokio::test]
async fn a_new_vm_is_unknown_to_the_cluster_until_its_node_speaks() {
    let lab = lab(|site| site.clock = Clock::Realistic { speed: 1000.0 }).await;
    let upid = lab.data("POST", "/nodes/lab1/qemu", &[("vmid", "100"), ("name", "new"), ("tags", "t")]).await;
    let ended = || lab.shared.lock().pve.tasks.get(upid.as_str().unwrap()).is_some_and(|task| task.end.is_some());
    assert!(work::until(&lab.shared, std::time::Duration::from_secs(10), ended).await);
    // From now on nobody speaks for an hour.
    lab.shared.lock().site.clock = Clock::Realistic { speed: 0.01 };
    let row = lab.data("GET", "/cluster/resources?type=vm", &[]).await[0].clone();
    assert_eq!((&row["status"], row.get("name"), &row["tags"]), (&json!("unknown"), None, &json!("t")));
    speak(&mut lab.shared.lock());
    let row = lab.data("GET", "/cluster/resources?type=vm", &[]).await[0].clone();
    assert_eq!((&row["status"], &row["name"]), (&json!("stopped"), &json!("new")));
}

#[tokio::test]
async fn a_password_gives_a_ticket_that_reads_and_writes_with_its_token() {
    let lab = lab(|_| ()).await;
    let person = [("userid", "ann@pve"), ("password", "long enough")];
    lab.data("POST", "/access/users", &person).await;
    lab.data("PUT", "/access/acl", &[("path", "/"), ("users", "ann@pve"), ("roles", "Administrator")]).await;
    let url = |path: &str| format!("https://{}/api2/json{path}", lab.server.address());
    let login = |password: &'static str| {
        let form = [("username", "ann"), ("realm", "pve"), ("password", password)];
        lab.client.post(url("/access/ticket")).form(&form).send()
    };
    assert_eq!(login("something else").await.unwrap().status().as_u16(), 401);
    let answer: Value = login("long enough").await.unwrap().json().await.unwrap();
    let (ticket, csrf) = (answer["data"]["ticket"].as_str().unwrap(), answer["data"]["CSRFPreventionToken"].as_str());
    assert_eq!(
        (&answer["data"]["username"], &answer["data"]["cap"]["dc"]["Sys.Audit"]),
        (&json!("ann@pve"), &json!(1))
    );
    let cookie = format!("PVEAuthCookie={}", ticket.replace('+', "%2B").replace('=', "%3D").replace(':', "%3A"));
    let read = lab.client.get(url("/version")).header("Cookie", &cookie).send().await.unwrap();
    assert_eq!(read.status().as_u16(), 200);
    let write = |token: &str| {
        let request = lab.client.post(url("/pools")).header("Cookie", &cookie).header("CSRFPreventionToken", token);
        request.form(&[("poolid", "hers")]).send()
    };
    assert_eq!(write("wrong").await.unwrap().status().as_u16(), 401);
    assert!(!lab.shared.lock().pve.pools.contains_key("hers"));
    assert_eq!(write(csrf.unwrap()).await.unwrap().status().as_u16(), 200);
    assert!(lab.shared.lock().pve.pools.contains_key("hers"));
}

#[tokio::test]
async fn a_linked_clone_keeps_its_template_from_being_deleted() {
    let lab = lab(|site| site.storages.get_mut("local").unwrap().content.push("images".into())).await;
    lab.data("POST", "/nodes/lab1/qemu", &[("vmid", "100"), ("scsi0", "local:1")]).await;
    lab.data("POST", "/nodes/lab1/qemu/100/template", &[]).await;
    lab.data("POST", "/nodes/lab1/qemu/100/clone", &[("newid", "101")]).await;
    let copy = lab.data("GET", "/nodes/lab1/qemu/101/config", &[]).await;
    assert_eq!(copy["scsi0"], "local:100/base-100-disk-0.raw/101/vm-101-disk-0.qcow2,size=1G");
    let upid = lab.data("DELETE", "/nodes/lab1/qemu/100", &[]).await;
    let refused = "base volume 'local:100/base-100-disk-0.raw' is still in use by linked cloned";
    assert_eq!((lab.exit_of(&upid).await, lab.has(100)), (json!(refused), true));
    lab.data("DELETE", "/nodes/lab1/qemu/101", &[]).await;
    lab.data("DELETE", "/nodes/lab1/qemu/100", &[]).await;
    assert!(lab.shared.lock().pve.volumes.is_empty());
}

#[tokio::test]
async fn a_login_cookie_wins_over_a_token() {
    let lab = lab(|_| ()).await;
    let ask = |cookie: &'static str| {
        let url = format!("https://{}/api2/json/version", lab.server.address());
        let token = format!("PVEAPIToken={TOKEN_ID}={SECRET}");
        let request = lab.client.get(url).header("Authorization", token).header("Cookie", cookie);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!((ask("PVEAuthCookie=PVE:root@pam:0::x").await, ask("lang=en").await), (401, 200));
}

#[tokio::test]
async fn an_abort_that_comes_before_the_worker_listens_is_heard() {
    let shared = crate::lab::world::Shared::new(crate::lab::site::Site::default());
    let who = Identity { user: "root@pam".into(), token: None, separate: false };
    let upid = {
        let mut world = shared.lock();
        let node = world.site.nodes[0].name.clone();
        let upid = world.pve.tasks.begin(&node, "vncproxy", "100", "root@pam", 0);
        let params = [("node", node), ("upid", upid.clone())].map(|(name, text)| (name.to_owned(), text)).into();
        let mut call = call::Call { world: &mut world, who: &who, params, now: 0 };
        assert!(tasks::abort(&mut call).is_ok());
        upid
    };
    let order = work::Order { upid: upid.clone(), who, spoiled: None };
    // It would wait 10 s for somebody to connect.
    work::run(shared.clone(), order, *work::Job::vm("vncproxy", "lab1", 100, work::Work::Console { port: 5900 })).await;
    let world = shared.lock();
    let end = world.pve.tasks.get(&upid).and_then(|task| task.end.clone());
    assert_eq!(end.map(|(_, status)| status).as_deref(), Some("received interrupt"));
}
