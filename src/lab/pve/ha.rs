//! High availability: VMs whose state the cluster's manager keeps, and not whoever starts or stops them.
//!
//! A start or stop of such a VM is a `hastart` or `hastop` task that ends as soon
//! as the request is written down. The manager looks about every 10 s, and then
//! acts in tasks of its own (pve-ha-manager 5.0: src/PVE/API2/HA/Resources.pm,
//! src/PVE/HA/Config.pm; qemu-server 9.2: src/PVE/API2/Qemu.pm).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::answer::{Failure, Reply};
use super::auth::Identity;
use super::call::Call;
use super::hypervisor;
use super::incident::later;
use super::power::Shutdown;
use super::verify::Params;
use super::work::{self, Job, Order, Work};
use crate::lab::world::{Shared, World};

/// How soon the manager acts on a request.
const ROUND: Duration = Duration::from_secs(10);

/// A resource: its options as given, and what the manager is about to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Resource {
    options: Params,
    /// The manager has seen that the VM is not in the requested state.
    underway: bool,
}

impl Resource {
    /// `started`, `stopped`, `disabled` or `ignored`; `enabled` is an old word for the first.
    fn state(&self) -> &str {
        match self.options.get("state").map(String::as_str) {
            None | Some("enabled") => "started",
            Some(state) => state,
        }
    }
}

/// `vm:100`, or `100` for short.
fn vmid_of(sid: &str) -> u32 {
    sid.strip_prefix("vm:").unwrap_or(sid).parse().unwrap_or(0)
}

fn missing(vmid: u32) -> String {
    format!("no such resource 'vm:{vmid}'")
}

/// Whether starts and stops of a VM are the manager's.
pub(super) fn is_managed(world: &World, vmid: u32) -> bool {
    world.pve.ha.get(&vmid).is_some_and(|resource| resource.state() != "ignored")
}

/// `ha` of `status/current`.
pub(super) fn shown(world: &World, vmid: u32) -> Value {
    let Some(resource) = world.pve.ha.get(&vmid) else { return json!({ "managed": 0 }) };
    let mut shown = json!({ "managed": 1, "state": resource.state() });
    if let Some(group) = resource.options.get("group") {
        shown["group"] = group.as_str().into();
    }
    shown
}

/// `hastate` of `/cluster/resources`.
pub(super) fn state(world: &World, vmid: u32) -> Option<String> {
    world.pve.ha.get(&vmid).map(|resource| resource.state().to_owned())
}

fn row(world: &World, vmid: u32, resource: &Resource) -> Value {
    let texts = format!("{:?}", world.pve.ha);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, texts.as_bytes());
    let mut row: Map<String, Value> = resource
        .options
        .iter()
        .map(|(name, text)| (name.clone(), text.parse::<i64>().map_or_else(|_| text.as_str().into(), Value::from)))
        .collect();
    row.insert("sid".into(), format!("vm:{vmid}").into());
    row.insert("type".into(), "vm".into());
    row.insert("digest".into(), hex::encode(digest).into());
    row.into()
}

/// `GET /cluster/ha/resources`
pub(super) fn list(call: &mut Call) -> Reply {
    let wanted = call.opt("type").is_none_or(|kind| kind == "vm");
    let all = call.world.pve.ha.iter().filter(|_| wanted);
    Reply::Data(all.map(|(vmid, resource)| row(call.world, *vmid, resource)).collect::<Vec<_>>().into())
}

/// `GET /cluster/ha/resources/{sid}`
pub(super) fn get(call: &mut Call) -> Result<Reply, Failure> {
    let vmid = vmid_of(call.text("sid"));
    let found = call.world.pve.ha.get(&vmid).ok_or_else(|| Failure::die(missing(vmid)))?;
    Ok(Reply::Data(row(call.world, vmid, found)))
}

/// `POST /cluster/ha/resources`
pub(super) fn create(call: &mut Call) -> Result<Reply, Failure> {
    if !call.world.pve.quorate {
        return Err(Failure::die("cluster not ready - no quorum?"));
    }
    let sid = call.text("sid").to_owned();
    let vmid = vmid_of(&sid);
    if sid.starts_with("ct:") || call.opt("type").is_some_and(|kind| kind != "vm") {
        return Err(Failure::die("types does not match"));
    }
    if !call.world.pve.vms.contains_key(&vmid) {
        return Err(Failure::die(format!("resource 'vm:{vmid}' does not exists in cluster")));
    }
    if call.world.pve.ha.contains_key(&vmid) {
        return Err(Failure::die(format!("create resource failed: resource ID 'vm:{vmid}' already defined")));
    }
    let mut options = call.params.clone();
    options.retain(|name, _| name != "sid" && name != "type");
    call.world.pve.ha.insert(vmid, Resource { options, underway: false });
    Ok(Reply::Data(Value::Null))
}

/// `PUT /cluster/ha/resources/{sid}`
pub(super) fn update(call: &mut Call) -> Result<Reply, Failure> {
    let vmid = vmid_of(call.text("sid"));
    if let Some(group) = call.opt("group") {
        return Err(Failure::die(format!("HA group '{group}' does not exist")));
    }
    let delete: Vec<String> = super::formats::split_list(call.text("delete")).into_iter().map(str::to_owned).collect();
    let failed = |text: String| Failure::die(format!("update resource failed: {text}"));
    let mut given = call.params.clone();
    given.retain(|name, _| !["sid", "digest", "delete"].contains(&name.as_str()));
    let resource = call.world.pve.ha.get_mut(&vmid).ok_or_else(|| failed(missing(vmid)))?;
    resource.options.extend(given);
    resource.options.retain(|name, _| !delete.contains(name));
    Ok(Reply::Data(Value::Null))
}

/// `DELETE /cluster/ha/resources/{sid}`: the VM goes on as it is.
pub(super) fn delete(call: &mut Call) -> Result<Reply, Failure> {
    let vmid = vmid_of(call.text("sid"));
    match call.world.pve.ha.remove(&vmid) {
        Some(_) => Ok(Reply::Data(Value::Null)),
        None => Err(Failure::die(format!("resource 'vm:{vmid}' is not HA managed"))),
    }
}

/// A new VM is given to the manager at once: `ha-managed` of 9.
pub(super) fn adopt(world: &mut World, vmid: u32, started: bool) {
    let state = if started { "started" } else { "stopped" };
    let options = Params::from([("state".to_owned(), state.to_owned())]);
    world.pve.ha.insert(vmid, Resource { options, underway: false });
}

/// `GET /cluster/ha/groups`: from release 9 on, rules have taken their place, and a site without groups counts as migrated.
pub(super) fn groups(call: &Call) -> Result<Reply, Failure> {
    if call.release().nine() {
        return Err(Failure::die("cannot index groups: ha groups have been migrated to rules"));
    }
    Ok(Reply::Data(json!([])))
}

/// `GET /cluster/ha/status/current`
pub(super) fn status(call: &mut Call) -> Reply {
    let world = &*call.world;
    let quorate = i32::from(world.pve.quorate);
    let node = &world.site.nodes[0].name;
    let mut rows = vec![json!({
        "id": "quorum", "type": "quorum", "node": node, "quorate": quorate,
        "status": if quorate == 1 { "OK".to_owned() } else { format!("No quorum on node '{node}'!") },
    })];
    if world.pve.release.nine() {
        // The manager holds its watchdog only while it has something to manage.
        let (state, watchdog) = if world.pve.ha.is_empty() { ("standby", "standby") } else { ("armed", "active") };
        rows.push(json!({
            "id": "fencing", "type": "fencing", "node": node, "armed-state": state,
            "status": format!("{state} (CRM watchdog {watchdog})"),
        }));
    }
    for (vmid, resource) in &world.pve.ha {
        let on = world.pve.vms.get(vmid).map_or("", |vm| vm.node.as_str());
        let (sid, state) = (format!("vm:{vmid}"), resource.state());
        rows.push(json!({
            "id": format!("service:{sid}"), "type": "service", "sid": sid, "node": on, "state": state,
            "crm_state": state, "request_state": state, "status": format!("{sid} ({on}, {state})"),
        }));
    }
    Reply::Data(rows.into())
}

/// The task that stands for a start or stop of a managed VM.
pub(super) fn request(call: &Call, start: bool) -> Reply {
    let kind = if start { "hastart" } else { "hastop" };
    Reply::Task(Job::plain(kind, call.node(), call.vmid().to_string(), Work::Request { vmid: call.vmid(), start }))
}

/// What that task does: it writes the request down.
pub(super) fn write_down(world: &mut World, upid: &str, vmid: u32, start: bool) {
    let word = if start { "start" } else { "stop" };
    world.pve.tasks.log(upid, format!("Requesting HA {word} for VM {vmid}"));
    if let Some(resource) = world.pve.ha.get_mut(&vmid) {
        resource.options.insert("state".into(), if start { "started" } else { "stopped" }.into());
    }
}

/// Lets the manager look: whatever is not in its requested state is dealt with in the next round.
pub(super) fn attend(shared: &Shared) {
    let mut world = shared.lock();
    if world.pve.ha.is_empty() {
        return;
    }
    let round = world.site.clock.span(ROUND);
    for vmid in differing(&world) {
        if let Some(resource) = world.pve.ha.get_mut(&vmid) {
            resource.underway = true;
            later(shared.clone(), round, move |shared| act(shared, vmid));
        }
    }
}

fn differing(world: &World) -> Vec<u32> {
    let differs = |(vmid, resource): (&u32, &Resource)| {
        let runs = hypervisor::is_running(world, *vmid);
        let wrong = match resource.state() {
            "started" => !runs,
            "ignored" => false,
            _ => runs,
        };
        (wrong && !resource.underway && world.pve.vms.contains_key(vmid)).then_some(*vmid)
    };
    world.pve.ha.iter().filter_map(differs).collect()
}

/// The manager's own start or shutdown.
fn act(shared: &Shared, vmid: u32) {
    let mut world = shared.lock();
    if let Some(resource) = world.pve.ha.get_mut(&vmid) {
        resource.underway = false;
    }
    if !differing(&world).contains(&vmid) {
        return;
    }
    let start = world.pve.ha.get(&vmid).is_some_and(|resource| resource.state() == "started");
    let Some(vm) = world.pve.vms.get(&vmid) else { return };
    let (node, agent) = (vm.node.clone(), vm.agent());
    let (kind, what) = if start {
        ("qmstart", Work::Start)
    } else {
        ("qmshutdown", Work::Shutdown(Shutdown { timeout: 60, force: true, agent }))
    };
    let root = Identity { user: "root@pam".into(), token: None, separate: false };
    let upid = world.pve.tasks.begin(&node, kind, &vmid.to_string(), &root.user, super::now());
    drop(work::spawn(shared.clone(), Order { upid, who: root, spoiled: None }, *Job::vm(kind, &node, vmid, what)));
}
