//! From a registered call to the handler that plays it.

use serde_json::{Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::snapshots::{self, Deed};
use super::work::{Job, Work};
use super::{
    access, agent, api_tokens, clone, cluster, config, console, content, create, destroy, download, entries, groups,
    ha, login, migrate, network, nodes, pools, power, relocate, resize, roles, sdn, status, tasks, template, users,
};

/// Calls the handler of `method` and `path`, the registered pattern.
pub(super) fn run(call: &mut Call, method: &str, path: &str) -> Result<Reply, Failure> {
    if let Some(listing) = call.schema().directories.get(path).filter(|_| method == "GET") {
        return Ok(Reply::Data(listing.clone()));
    }
    if call.schema().endpoint(method, path).is_some_and(|endpoint| endpoint.known_only) {
        if path.contains("/qemu/{vmid}") {
            call.vm()?;
        }
        return unplayed(method, path);
    }
    match path.strip_prefix("/nodes/{node}") {
        Some(rest) => match rest.strip_prefix("/qemu") {
            Some(rest) => vm(call, method, rest, path),
            None => node(call, method, rest, path),
        },
        None => site(call, method, path),
    }
}

/// Below `/nodes/{node}/qemu`.
fn vm(call: &mut Call, method: &str, rest: &str, path: &str) -> Result<Reply, Failure> {
    let of_vm = rest.strip_prefix("/{vmid}").unwrap_or_default();
    if let Some(command) = of_vm.strip_prefix("/agent/") {
        return if command == "exec" { agent::exec(call) } else { agent::command(call, command) };
    }
    match (method, rest) {
        ("GET", "") => Ok(status::list(call)),
        ("POST", "") => create::call(call),
        ("DELETE", "/{vmid}") => destroy::call(call),
        _ => match (method, of_vm) {
            ("GET", "/config") => config::get(call),
            ("PUT", "/config") => config::put(call),
            ("POST", "/config") => config::post(call),
            ("GET", "/pending") => config::pending(call),
            ("GET", "/snapshot") => snapshots::list(call),
            ("POST", "/snapshot") => snapshots::call(call, Deed::Take),
            ("DELETE", "/snapshot/{snapname}") => snapshots::call(call, Deed::Drop),
            ("POST", "/snapshot/{snapname}/rollback") => snapshots::call(call, Deed::Rollback),
            ("GET", "/snapshot/{snapname}/config") => snapshots::config(call),
            ("PUT", "/snapshot/{snapname}/config") => snapshots::describe(call),
            ("POST", "/template") => template::call(call),
            ("POST", "/clone") => clone::call(call),
            ("GET", "/migrate") => migrate::preconditions(call),
            ("POST", "/migrate") => migrate::call(call),
            ("POST", "/move_disk") => relocate::call(call),
            ("GET", "/feature") => config::feature(call),
            ("PUT", "/unlink") => config::unlink(call),
            ("PUT", "/resize") => resize::call(call),
            ("GET", "/status/current") => status::current(call),
            ("POST", "/status/start") => power::start_call(call),
            ("POST", "/status/stop") => power::stop_call(call),
            ("POST", "/status/shutdown") => power::shutdown_call(call),
            ("POST", "/status/reset") => power::reset_call(call),
            ("POST", "/status/reboot") => power::reboot_call(call),
            ("POST", "/status/suspend") => power::suspend_call(call),
            ("POST", "/status/resume") => power::resume_call(call),
            ("POST", "/agent") => agent::by_name(call),
            ("POST", "/termproxy" | "/vncproxy") => terminal(call),
            ("GET", "/vncwebsocket") => console::admit(call),
            ("PUT", "/sendkey") => console::key(call),
            ("POST", "/monitor") => console::monitor(call),
            ("PUT", "/firewall/options") => {
                call.vm()?;
                Ok(Reply::Data(Value::Null))
            }
            ("GET", "/firewall/options") => {
                call.vm()?;
                // The digest of an empty file.
                Ok(Reply::Data(json!({ "digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709" })))
            }
            _ => {
                call.vm()?;
                unplayed(method, path)
            }
        },
    }
}

/// A terminal's ticket names the task that waits for a connection.
fn terminal(call: &mut Call) -> Result<Reply, Failure> {
    let terminal = console::prepare(call)?;
    let mut job = Job::vm("vncproxy", call.node(), call.vmid(), Work::Console { port: terminal.port });
    job.answer = Some(console::answer(&terminal));
    Ok(Reply::Task(job))
}

/// Below `/nodes/{node}`, but for VMs.
fn node(call: &mut Call, method: &str, rest: &str, path: &str) -> Result<Reply, Failure> {
    match (method, rest) {
        ("GET", "/status") => Ok(nodes::status(call)),
        ("GET", "/version") => Ok(nodes::version(call)),
        ("GET", "/certificates/info") => Ok(nodes::certificates(call)),
        ("GET", "/capabilities/qemu/cpu") => Ok(nodes::cpu_models(call)),
        ("GET", "/capabilities/qemu/machines") => Ok(nodes::machines(call)),
        ("GET", "/network") => Ok(network::list(call)),
        ("GET", "/network/{iface}") => network::one(call),
        ("GET", "/sdn/zones/{zone}/bridges") => network::zone_bridges(call),
        ("GET", "/dns") => Ok(nodes::dns()),
        ("GET", "/time") => Ok(nodes::time(call)),
        ("GET", "/syslog") => Ok(nodes::syslog()),
        ("GET", "/sdn/zones") => Ok(sdn::zones_of_node(call)),
        ("GET", "/sdn/zones/{zone}/content") => Ok(sdn::content(call)),
        ("GET", "/lxc") => Ok(Reply::Data(json!([]))),
        ("GET", "/storage") => content::storages(call),
        ("GET", "/storage/{storage}/status") => content::status(call),
        ("GET", "/storage/{storage}/content") => content::list(call),
        ("POST", "/storage/{storage}/content") => content::allocate(call),
        ("GET", "/storage/{storage}/content/{volume}") => content::attributes(call),
        ("DELETE", "/storage/{storage}/content/{volume}") => content::delete(call),
        ("POST", "/storage/{storage}/download-url") => download::call(call),
        ("GET", "/tasks") => Ok(tasks::list(call)),
        ("GET", "/tasks/{upid}/status") => tasks::status(call),
        ("GET", "/tasks/{upid}/log") => tasks::log(call),
        ("DELETE", "/tasks/{upid}") => tasks::abort(call),
        _ => unplayed(method, path),
    }
}

/// Everything that is not a node's.
fn site(call: &mut Call, method: &str, path: &str) -> Result<Reply, Failure> {
    match (method, path) {
        ("GET", "/version") => Ok(nodes::version(call)),
        ("GET", "/nodes") => Ok(nodes::list(call)),
        ("GET", "/cluster/resources") => Ok(cluster::resources(call)),
        ("GET", "/cluster/nextid") => create::next_id(call),
        ("GET", "/cluster/status") => Ok(cluster::cluster_status(call)),
        ("GET", "/cluster/options") => Ok(cluster::options(call)),
        ("GET", "/cluster/tasks") => Ok(tasks::of_cluster(call)),
        ("GET", "/cluster/sdn/zones") => Ok(sdn::zones(call)),
        ("GET", "/cluster/sdn/vnets") => Ok(sdn::all_vnets(call)),
        ("GET", "/cluster/sdn/ipams/{ipam}/status") => sdn::status(call),
        ("GET", "/cluster/backup" | "/cluster/replication") => Ok(Reply::Data(json!([]))),
        ("GET", "/cluster/ha/groups") => ha::groups(call),
        ("GET", "/cluster/ha/resources") => Ok(ha::list(call)),
        ("POST", "/cluster/ha/resources") => ha::create(call),
        ("GET", "/cluster/ha/resources/{sid}") => ha::get(call),
        ("PUT", "/cluster/ha/resources/{sid}") => ha::update(call),
        ("DELETE", "/cluster/ha/resources/{sid}") => ha::delete(call),
        ("GET", "/cluster/ha/status/current") => Ok(ha::status(call)),
        ("GET", "/storage") => Ok(content::definitions(call)),
        ("GET", "/storage/{storage}") => content::one_definition(call),
        ("GET", "/pools") => pools::list(call),
        ("GET", "/pools/{poolid}") => pools::get(call),
        ("POST", "/pools") => pools::create(call),
        ("PUT", "/pools" | "/pools/{poolid}") => pools::update(call),
        ("DELETE", "/pools" | "/pools/{poolid}") => pools::delete(call),
        ("GET", "/access/permissions") => access::permissions(call),
        ("GET", "/access/domains") => Ok(access::domains(call)),
        ("GET", "/access/ticket") => Ok(Reply::Data(Value::Null)),
        ("POST", "/access/ticket") => login::ticket(call),
        ("PUT", "/access/password") => login::password(call),
        ("POST", "/access/vncticket") => console::verify(call),
        _ => people(call, method, path),
    }
}

/// Users, groups, tokens, roles, and who may do what.
fn people(call: &mut Call, method: &str, path: &str) -> Result<Reply, Failure> {
    let Some((kind, rest)) = path.strip_prefix("/access/").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        return unplayed(method, path);
    };
    match (method, kind, rest) {
        ("GET", "domains", _) => users::realm(call),
        ("GET", "users", "") => Ok(users::list(call)),
        ("POST", "users", "") => users::create(call),
        ("GET", "users", "{userid}") => users::read(call),
        ("PUT", "users", "{userid}") => users::update(call),
        ("DELETE", "users", "{userid}") => Ok(users::delete(call)),
        ("GET", "users", "{userid}/token") => api_tokens::list(call),
        ("GET", "users", _) => api_tokens::read(call),
        ("POST", "users", _) => api_tokens::create(call),
        ("PUT", "users", _) => api_tokens::update(call),
        ("DELETE", "users", _) => api_tokens::delete(call),
        ("GET", "groups", "") => Ok(groups::list(call)),
        ("POST", "groups", _) => groups::create(call),
        ("GET", "groups", _) => groups::read(call),
        ("PUT", "groups", _) => groups::update(call),
        ("DELETE", "groups", _) => groups::delete(call),
        ("GET", "roles", "") => Ok(roles::list(call)),
        ("POST", "roles", _) => roles::create(call),
        ("GET", "roles", _) => roles::read(call),
        ("PUT", "roles", _) => roles::update(call),
        ("DELETE", "roles", _) => roles::delete(call),
        ("GET", "acl", _) => Ok(entries::list(call)),
        ("PUT", "acl", _) => entries::modify(call),
        _ => unplayed(method, path),
    }
}

/// Known to Proxmox and to the tables, but nothing the product does leads here.
fn unplayed(method: &str, path: &str) -> Result<Reply, Failure> {
    Err(Failure::die(format!("the lab does not play '{method} {path}'")))
}
