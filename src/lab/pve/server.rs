//! One request from head to answer, in the order in which Proxmox does it.
//!
//! Authentication, path and method, permission, proxying, parameters, handler:
//! so a 403 can hide a 400, and a path variable is used for the permission
//! before it is verified (pve-http-server, PVE::HTTPServer, PVE::RESTHandler).

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONNECTION, HeaderValue};
use serde_json::Value;

use super::answer::{self, Failure, Reply};
use super::auth::Identity;
use super::call::Call;
use super::request::{self, Asked, Sent, Unread};
use super::routes::Route;
use super::verify::{self, Errors, Raw};
use super::work::{self, Order, Work};
use super::{acl, agent, checks, config_lock, console, dispatch, download, file, ha};
use crate::lab::clock::Clock;
use crate::lab::faults::Face;
use crate::lab::faults::gate::{self, Fate, Spoil};
use crate::lab::http::{Hangup, Peer, Request, Response};
use crate::lab::world::Shared;

/// How long a refused caller waits for the news.
const PENALTY: Duration = Duration::from_secs(3);
/// How long a client waits that gets no answer at all.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

pub(super) async fn handle(shared: Shared, request: Request, peer: Arc<Peer>) -> Result<Response, Hangup> {
    let gzip = request
        .headers()
        .get(ACCEPT_ENCODING)
        .is_some_and(|value| value.to_str().is_ok_and(|value| value.contains("gzip")));
    let response = serve(&shared, request, &peer).await?;
    Ok(if gzip { answer::compress(response).await } else { response })
}

async fn serve(shared: &Shared, request: Request, peer: &Peer) -> Result<Response, Hangup> {
    if request::is_overlong(&request) {
        let clock = shared.lock().site.clock;
        work::pause(clock.span(SILENCE)).await;
        return Err(Hangup);
    }
    let asked = match request::head(shared, &request, peer) {
        Ok(asked) => asked,
        Err(response) => return Ok(*response),
    };
    let world_call = asked.route.as_ref().is_some_and(|route| route.endpoint.world);
    if let (Err(_), false) = (&asked.who, world_call) {
        // Not a byte of the body is read for a stranger.
        return observed(shared, &asked, Ok(Sent { raw: Raw::new(), file: None }), peer).await;
    }
    if let (Some(_), Ok(who)) = (&asked.multipart, &asked.who)
        && let Err(failure) = upload_permitted(shared, &asked, who)
    {
        let clock = shared.lock().site.clock;
        work::pause(clock.span(PENALTY)).await;
        return Ok(answer::bare(failure.status, failure.message.trim_end()));
    }
    let sent = match request::read(&asked, request).await {
        Ok(sent) => Ok(sent),
        Err(Unread::Answer(response)) => Err(response),
        Err(Unread::Hangup) => {
            let clock = shared.lock().site.clock;
            work::pause(clock.span(SILENCE)).await;
            return Err(Hangup);
        }
    };
    let mut response = observed(shared, &asked, sent, peer).await?;
    if asked.multipart.is_some() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Uploads are refused before their body is read.
fn upload_permitted(shared: &Shared, asked: &Asked, who: &Identity) -> Result<(), Failure> {
    let Some(route) = &asked.route else { return Ok(()) };
    let storage = route.variables.get("storage").map_or("", String::as_str);
    acl::require(&shared.lock(), who, &format!("/storage/{storage}"), &["Datastore.AllocateTemplate"])
}

/// Reports the call to the script, and does what the script says.
async fn observed(
    shared: &Shared,
    asked: &Asked,
    sent: Result<Sent, Box<Response>>,
    peer: &Peer,
) -> Result<Response, Hangup> {
    let name = format!("{} {}", asked.method, asked.route.as_ref().map_or(&asked.path, |route| &route.endpoint.path));
    let subject = subject(asked, sent.as_ref().ok());
    let failure = |code, text: &str| asked.envelope.failure(&Failure::with(code, text));
    let spoil = match gate::enter(shared, Face::Pve, &name, &subject).await {
        Ok(spoil) => spoil,
        Err(Fate::Refused { code, text }) => return Ok(failure(code, &text)),
        Err(Fate::Ended(ending)) => return Err(peer.end(ending)),
    };
    let spoiled = match &spoil {
        Spoil::Failed { text, .. } => Some(text.clone()),
        _ => None,
    };
    let task = asked.route.as_ref().is_some_and(|route| route.endpoint.method != "GET");
    let response = proceed(shared, asked, sent, spoiled).await?;
    // A call that started a task has answered with its UPID, and the task tells; any other tells itself.
    let started = task && response.extensions().get::<Started>().is_some();
    if started && matches!(spoil, Spoil::Failed { .. }) {
        return Ok(response);
    }
    spoil.http(peer, response, failure).await
}

/// Marks the answer of a call that started a task.
#[derive(Clone, Copy)]
struct Started;

/// What the call is about, for the script.
fn subject(asked: &Asked, sent: Option<&Sent>) -> String {
    let variable = |name: &str| asked.route.as_ref().and_then(|route| route.variables.get(name)).cloned();
    let given =
        |name: &str| sent.and_then(|sent| sent.raw.get(name)).or_else(|| asked.query.get(name)).map(verify::plain);
    let of_task = variable("upid").map(|upid| upid.split(':').nth(6).unwrap_or_default().to_owned());
    let file = given("filename").map(|name| file::normalise(&name));
    let found = variable("vmid").or_else(|| variable("volume")).or(of_task).or_else(|| given("vmid")).or(file);
    found.unwrap_or_default()
}

async fn proceed(
    shared: &Shared,
    asked: &Asked,
    sent: Result<Sent, Box<Response>>,
    spoiled: Option<String>,
) -> Result<Response, Hangup> {
    let clock = shared.lock().site.clock;
    let world_call = asked.route.as_ref().is_some_and(|route| route.endpoint.world);
    let nobody = Identity { user: String::new(), token: None, separate: false };
    let who = match &asked.who {
        _ if world_call => nobody,
        Ok(who) => who.clone(),
        Err(reason) => {
            work::pause(clock.span(PENALTY)).await;
            return Ok(answer::bare(401, reason));
        }
    };
    let sent = match sent {
        Ok(sent) => sent,
        Err(response) => return Ok(*response),
    };
    match call(shared, asked, &who, sent, spoiled, clock).await {
        Ok(response) => Ok(response),
        Err(Refusal::Bare(status, reason)) => Ok(answer::bare(status, &reason)),
        Err(Refusal::Plain(text)) => Ok(answer::plain(500, &text)),
        Err(Refusal::Hangup) => Err(Hangup),
        Err(Refusal::Failure(failure)) => {
            if failure.status == 401 || failure.message.trim_end() == agent::NOT_RUNNING {
                work::pause(clock.span(PENALTY)).await;
            }
            Ok(asked.envelope.failure(&failure))
        }
    }
}

enum Refusal {
    Failure(Failure),
    /// An answer of the proxy: no body, no length.
    Bare(u16, String),
    /// A 500 of the server itself: the text is the body.
    Plain(String),
    /// The connection ends.
    Hangup,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

async fn call(
    shared: &Shared,
    asked: &Asked,
    who: &Identity,
    sent: Sent,
    spoiled: Option<String>,
    clock: Clock,
) -> Result<Response, Refusal> {
    let Some(route) = &asked.route else {
        let message = format!("Method '{} {}' not implemented", asked.method, asked.path);
        return Err(Failure { status: 501, message, errors: Errors::new() }.into());
    };
    let endpoint = route.endpoint;
    let mut raw = sent.raw;
    raw.extend(asked.query.clone());
    consistent(route, &raw)?;
    if !endpoint.token && asked.shows_token {
        let text = format!("(URI '{}' not available with API token, need proper ticket.\n)", asked.path);
        return Err(Failure::with(403, format!("Permission check failed {text}")).into());
    }
    let lookup = |name: &str| route.variables.get(name).cloned().or_else(|| raw.get(name).map(verify::plain));
    checks::Asker { world: &shared.lock(), who, lookup: &lookup }.admit(endpoint)?;
    proxied(shared, route)?;
    if let Some(knock) = &asked.knock {
        knock.check().map_err(Refusal::Plain)?;
    }
    let params = verified(shared, route, raw)?;
    if config_lock::needed(endpoint) {
        config_lock::wait(shared, &params, clock).await?;
    }
    if endpoint.path.ends_with("/query-url-metadata") {
        let query = {
            let mut world = shared.lock();
            download::query(&Call { world: &mut world, who, params, now: super::now() })
        };
        let data = download::metadata(&query).await?;
        return Ok(asked.envelope.success(data, None));
    }
    let reply = {
        let mut world = shared.lock();
        let mut call = Call { world: &mut world, who, params, now: super::now() };
        match sent.file {
            Some(file) => file::upload(&mut call, file)?,
            None => dispatch::run(&mut call, &endpoint.method, &endpoint.path)?,
        }
    };
    if endpoint.method != "GET" {
        ha::attend(shared);
        shared.wake();
    }
    if let (Some(knock), Reply::Data(data)) = (&asked.knock, &reply) {
        return match console::session(shared, data) {
            Some(session) => Ok(knock.answer(session)),
            // The proxy cannot connect, and says nothing.
            None => Err(Refusal::Hangup),
        };
    }
    match reply {
        Reply::Data(data) => Ok(asked.envelope.success(data, None)),
        // pve-http-server leaves a total of zero out.
        Reply::Paged { data, total } => Ok(asked.envelope.success(data, Some(total).filter(|total| *total > 0))),
        Reply::Text(text) => Ok(answer::download(text)),
        Reply::Task(job) => {
            let data = start(shared, who, *job, spoiled, clock).await?;
            let mut response = asked.envelope.success(data, None);
            response.extensions_mut().insert(Started);
            Ok(response)
        }
    }
}

/// The node of the path must be known by exactly its name.
fn proxied(shared: &Shared, route: &Route) -> Result<(), Refusal> {
    let Some(node) = route.variables.get("node") else { return Ok(()) };
    let world = shared.lock();
    let stranger = || Refusal::Bare(596, "error:0A000086:SSL routines::certificate verify failed".into());
    if let Some(index) = world.site.nodes.iter().position(|known| known.name == *node) {
        return match &world.site.nodes[index] {
            _ if index == 0 => Ok(()),
            known if !known.online => Err(Refusal::Bare(595, "No route to host".into())),
            known if !known.trusted => Err(stranger()),
            _ => Ok(()),
        };
    }
    if world.site.nodes.iter().any(|known| known.name.eq_ignore_ascii_case(node)) {
        return Err(stranger());
    }
    let why = format!("failed to get address info for: {node}: Temporary failure in name resolution");
    Err(Failure::die(format!("hostname lookup '{node}' failed - {why}")).into())
}

/// A variable of the path may be said again, but not otherwise.
fn consistent(route: &Route, raw: &Raw) -> Result<(), Failure> {
    for (name, value) in &route.variables {
        if raw.get(name).is_some_and(|given| verify::plain(given) != *value) {
            let text = "duplicate parameter (already defined in URI) with conflicting values!";
            return Err(Failure::param(name, text));
        }
    }
    Ok(())
}

fn verified(shared: &Shared, route: &Route, mut raw: Raw) -> Result<verify::Params, Failure> {
    raw.extend(route.variables.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    let schema = shared.lock().pve.release.schema();
    verify::parameters(schema, &route.endpoint.params, &raw).map_err(Failure::params)
}

/// Starts a worker and decides what the call answers.
async fn start(
    shared: &Shared,
    who: &Identity,
    mut job: work::Job,
    spoiled: Option<String>,
    clock: Clock,
) -> Result<Value, Failure> {
    let upid = {
        let mut world = shared.lock();
        let upid = world.pve.tasks.begin(&job.node, job.kind, &job.id, &who.id(), super::now());
        // The id is taken from this moment, and so is its lock file.
        if let (Work::Create(_), Some(vm)) = (&job.work, job.vmid.and_then(|vmid| world.pve.vms.get_mut(&vmid))) {
            vm.holder = Some(upid.clone());
        }
        upid
    };
    let (answer, patience, prompt) = (job.answer.take(), job.patience, work::is_prompt(&job.work));
    let running = work::spawn(shared.clone(), Order { upid: upid.clone(), who: who.clone(), spoiled }, job);
    if prompt && clock == Clock::Instant {
        drop(running.await);
    }
    let ended = || shared.lock().pve.tasks.get(&upid).and_then(|task| task.end.clone()).map(|(_, status)| status);
    if let Some(seconds) = patience
        && work::until(shared, clock.span(Duration::from_secs(seconds)), || ended().is_some()).await
    {
        return match ended() {
            Some(status) if status != "OK" && !status.starts_with("WARNINGS") => Err(Failure::die(status)),
            _ => Ok(Value::Null),
        };
    }
    Ok(answer.map_or_else(|| upid.as_str().into(), |answer| answer(&upid)))
}
