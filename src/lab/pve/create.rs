//! `POST /nodes/{node}/qemu`: the id is reserved at once, the rest is a worker's.

use serde_json::{Value, json};

use super::answer::{Failure, Reply};
use super::auth::Identity;
use super::call::Call;
use super::disks::Workshop;
use super::drive::{self, Source};
use super::hypervisor::Hypervisor;
use super::options;
use super::rights::{self, Guarded};
use super::verify::Params;
use super::vm::Vm;
use super::work::{Job, Order, Work, Worker};
use super::{acl, change, ha, machine, sdn, sources};
use crate::lab::world::{Shared, World};

/// Parameters of the call that are not options of the VM.
const NOT_OPTIONS: &[&str] = &[
    "node",
    "vmid",
    "pool",
    "archive",
    "force",
    "storage",
    "unique",
    "start",
    "bwlimit",
    "live-restore",
    "ha-managed",
    "import-working-storage",
];

/// A creation that passed every check.
pub(super) struct Creation {
    pub options: Params,
    pub pool: Option<String>,
    pub start: bool,
    /// The description is empty, and not merely blank.
    pub undescribed: bool,
    /// The manager of high availability takes it over.
    pub managed: bool,
}

impl Creation {
    /// Storages on which it wants new images.
    pub(super) fn storages(&self, shared: &Shared) -> Vec<String> {
        let schema = shared.lock().pve.release.schema();
        let drives = self.options.iter().filter_map(|(option, text)| drive::parse(schema, option, text));
        let wanted = drives.filter_map(|drive| match drive::source(drive.get("file")?) {
            Source::New { storage, .. } | Source::CloudInit { storage } => Some(storage.to_owned()),
            _ => None,
        });
        wanted.collect()
    }
}

pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    let (vmid, node) = (call.vmid(), call.node().to_owned());
    let pool = call.opt("pool").map(str::to_owned);
    let mut options: Params = call.params.clone();
    options.retain(|option, _| !NOT_OPTIONS.contains(&option.as_str()));
    options::prepare(&mut options)?;
    permitted(call, vmid, pool.as_deref(), &mut options)?;
    let (schema, release) = (call.schema(), call.release());
    for (option, text) in &mut options {
        // qemu-server 8.4 stores the tags of a new VM as they come.
        let raw = option == "tags" && !release.nine() && !text.is_empty();
        if !drive::is_name(option) && !raw {
            *text = options::canonical(schema, option, text);
        }
    }
    if let Some(other) = call.world.pve.vms.get(&vmid) {
        let text = format!("unable to create VM {vmid} - VM {vmid} already exists on node '{}'", other.node);
        return Err(Failure::die(text));
    }
    let undescribed = call.opt("description").is_some_and(str::is_empty);
    let (start, managed) = (call.flag("start"), call.flag("ha-managed"));
    let mut reserved = Vm { node: node.clone(), ..Vm::default() };
    reserved.config.insert("lock".into(), "create".into());
    call.world.pve.vms.insert(vmid, reserved);
    Ok(Reply::Task(Job::vm(
        "qmcreate",
        &node,
        vmid,
        Work::Create(Creation { options, pool, start, undescribed, managed }),
    )))
}

/// Every check, in upstream's order.
fn permitted(call: &Call, vmid: u32, pool: Option<&str>, options: &mut Params) -> Result<(), Failure> {
    let (world, who) = (&*call.world, call.who);
    if !world.pve.quorate {
        return Err(Failure::die("cluster not ready - no quorum?"));
    }
    if let Some(pool) = pool.filter(|pool| !world.pve.pools.contains_key(*pool)) {
        return Err(Failure::forbidden(&format!("pool '{pool}' does not exist")));
    }
    if let Some(storage) = call.opt("storage") {
        call.require(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    }
    if call.flag("ha-managed") {
        call.require("/", &["Sys.Console"])?;
    }
    let vm = format!("/vms/{vmid}");
    let here = |privilege: &str| {
        acl::may(world, who, &vm, privilege)
            || pool.is_some_and(|pool| acl::may(world, who, &format!("/pool/{pool}"), privilege))
    };
    if call.flag("start") && call.release().nine() && !here("VM.PowerMgmt") {
        return Err(Failure::forbidden(&format!("{vm}, VM.PowerMgmt")));
    }
    if !here("VM.Allocate") {
        return Err(Failure::with(403, "Permission check failed"));
    }
    if let Some(archive) = call.opt("archive").filter(|archive| !archive.is_empty()) {
        if let Some(drive) = options.keys().find(|option| drive::is_name(option)) {
            return Err(Failure::param(drive, "option conflicts with option 'archive'"));
        }
        if archive == "-" {
            return Err(Failure::die("pipe requires cli environment"));
        }
        sources::volume_access(world, who, Some(vmid), archive, Some("backup"))?;
    }
    if options.is_empty() {
        return Ok(());
    }
    options::resolve_cdrom(options);
    sources::access(world, who, vmid, options, call.opt("storage"))?;
    let guarded = Guarded { world, who, vmid, pool };
    guarded.options(options.keys().map(String::as_str))?;
    for (option, text) in options.iter().filter(|(option, _)| drive::indexed(option, "serial")) {
        guarded.serial(option, text == "socket", "set")?;
    }
    for stem in ["usb", "hostpci", "rng", "virtiofs"] {
        for (option, text) in options.iter().filter(|(option, _)| drive::indexed(option, stem)) {
            guarded.device(option, text)?;
        }
    }
    rights::bridges(world, who, options)?;
    change::custom_cpu(world, who, options.get("cpu"), None)?;
    sources::drive_params(world, options)
}

/// The worker: disks, configuration, pool. Whatever fails, nothing is left.
pub(super) fn work(world: &mut World, worker: &Worker, creation: &Creation) -> Result<(), String> {
    let vmid = worker.job.vmid.unwrap_or(0);
    let node = worker.job.node.as_str();
    let World { site, pve, .. } = &mut *world;
    let (release, schema) = (pve.release, pve.release.schema());
    let mut shop = Workshop::new(site, &mut pve.volumes, &pve.locked_storages, release, (node, vmid), worker.now);
    shop.present.clone_from(&creation.options);
    shop.template = creation.options.get("template").is_some_and(|text| text == "1");
    let made = shop.drives(&creation.options);
    let lines = std::mem::take(&mut shop.log);
    let (made_volumes, imprints) = (shop.made.clone(), std::mem::take(&mut shop.imprints));
    if made.is_err() {
        shop.undo();
    }
    for line in lines {
        pve.tasks.log(&worker.order.upid, line);
    }
    let failed = |text: String| format!("unable to create VM {vmid} - {text}");
    let drives = match made {
        Ok(drives) => drives,
        Err(text) => {
            pve.vms.remove(&vmid);
            return Err(failed(text));
        }
    };
    let mut config = creation.options.clone();
    config.extend(drives);
    if config.get("boot").is_none_or(String::is_empty) {
        config.insert("boot".into(), options::default_boot(schema, &config));
    }
    let (vga, kept) = (config.get("vga").map_or("", String::as_str), config.get("machine").map_or("", String::as_str));
    let refused = machine::clipboard(schema, vga).and_then(|()| machine::check(schema, kept));
    let ostype = config.get("ostype").cloned().unwrap_or_default();
    if let Some((pinned, line)) = machine::pinned(release, config.get("machine"), &ostype) {
        pve.tasks.log(&worker.order.upid, line);
        config.insert("machine".into(), pinned);
    }
    config.entry("smbios1".into()).or_insert_with(|| format!("uuid={}", uuid::Uuid::new_v4()));
    config.entry("vmgenid".into()).or_insert_with(|| uuid::Uuid::new_v4().to_string());
    config.insert("meta".into(), format!("creation-qemu={},ctime={}", release.qemu(), worker.now));
    if creation.undescribed {
        config.remove("description");
    }
    let refused = refused.map_err(Failure::die);
    if let Err(failure) = refused.and_then(|()| tags_permitted(world, &worker.order.who, vmid, &config)) {
        let places = made_volumes.iter().filter_map(|volid| super::volume::place(&world.site, node, volid));
        for place in places.collect::<Vec<_>>() {
            world.pve.volumes.remove(&place);
        }
        world.pve.vms.remove(&vmid);
        return Err(failed(failure.text()));
    }
    if let Some(vm) = world.pve.vms.get_mut(&vmid) {
        vm.config = config;
        vm.tidy(schema);
    }
    if let Some(pool) = creation.pool.as_ref().and_then(|pool| world.pve.pools.get_mut(pool)) {
        pool.vms.insert(vmid);
    }
    sdn::reserve_all(world, &worker.order.upid, vmid);
    for (volid, head) in imprints {
        world.fleet.imprint(&volid, &head);
    }
    if creation.managed {
        ha::adopt(world, vmid, creation.start);
    } else if creation.start {
        autostart(world, worker, vmid);
    }
    Ok(())
}

/// qemu-server 9.2: the worker asserts the right to set tags, and does not look at the pool.
fn tags_permitted(world: &World, who: &Identity, vmid: u32, config: &Params) -> Result<(), Failure> {
    if !world.pve.release.nine() || config.get("tags").is_none_or(|tags| tags.trim().is_empty()) {
        return Ok(());
    }
    acl::require(world, who, &format!("/vms/{vmid}"), &["VM.Config.Options"])
}

/// The start is a task of its own, of which the creation knows nothing.
fn autostart(world: &mut World, worker: &Worker, vmid: u32) {
    world.pve.tasks.log(&worker.order.upid, "Execute autostart");
    start_beside(world, worker, vmid);
}

/// Starts a VM by a task of its own, on behalf of another's worker.
pub(super) fn start_beside(world: &mut World, worker: &Worker, vmid: u32) {
    let order = &worker.order;
    let upid = world.pve.tasks.begin(&worker.job.node, "qmstart", &vmid.to_string(), &order.who.id(), worker.now);
    // What no guest has to boot for is over before anybody asks.
    let prompt = matches!(world.pve.hypervisor, Hypervisor::Scripted(_));
    if prompt || world.site.clock == crate::lab::clock::Clock::Instant {
        let result = super::start::work(world, &upid, &worker.job.node, vmid, false);
        world.pve.tasks.finish(&upid, result, worker.now);
    } else {
        let start = Order { upid, who: order.who.clone(), spoiled: None };
        drop(super::work::spawn(
            worker.shared.clone(),
            start,
            *Job::vm("qmstart", &worker.job.node, vmid, Work::Start),
        ));
    }
}

/// `GET /cluster/nextid`. Nothing is reserved by asking.
pub(super) fn next_id(call: &mut Call) -> Result<Reply, Failure> {
    let taken = &call.world.pve.vms;
    if let Some(vmid) = call.number("vmid") {
        if taken.contains_key(&vmid) {
            return Err(Failure::param("vmid", format!("VM {vmid} already exists")));
        }
        return Ok(Reply::Data(json!(vmid.to_string())));
    }
    let free = (100..1_000_000).find(|vmid| !taken.contains_key(vmid));
    let none = || Failure::die("unable to get any free VMID in range [100, 999999]");
    free.map(|vmid| Reply::Data(Value::from(vmid.to_string()))).ok_or_else(none)
}
