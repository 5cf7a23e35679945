//! Plays one scenario and tells the first difference.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::TcpListener;

use super::compare::{Norm, difference};
use super::wire::{Answer, Connection};
use super::{files, pace, protocol, socket};
use crate::lab::clock::Clock;
use crate::lab::fixture::{Fixture, qcow2};
use crate::lab::pve::hypervisor::Hypervisor;
use crate::lab::pve::{self, work};
use crate::lab::tls::SiteCa;
use crate::lab::world::Shared;

/// A scenario that is being played.
pub(super) struct Play<'a> {
    pub(super) shared: Shared,
    pub(super) address: SocketAddr,
    pub(super) ca: String,
    tokens: &'a Value,
    /// What the recording calls by another name than we do: UPIDs, digests, ports of servers.
    names: BTreeMap<String, String>,
    /// All that the requests say.
    pub(super) given: String,
    /// The answer to the last request for a console.
    ticket: Value,
    /// What root got when he logged in.
    session: Value,
}

/// The world in which `scenario` plays. What takes time takes none, but for scenarios that are about it.
fn world(major: u8, fixture: &Value, scenario: &Value) -> Shared {
    let text = |name: &str| scenario[name].as_str().unwrap_or_default();
    let (name, note) = (text("name"), text("note"));
    let alone = serde_json::json!({ "fixture": fixture, "scenarios": [scenario] });
    let fixture = Fixture::of(&alone, None).unwrap();
    let mut site = fixture.site(Some(major));
    site.clock = pace::clock(name, note, scenario["category"] == "race");
    let shared = Shared::new(site);
    fixture.dress(&mut shared.lock());
    // One that speaks every 10 s would speak at every call of the instant clock.
    shared.lock().pve.broadcast.by_hand = true;
    shared
}

/// Where the scenario's answers are not the recorded ones: nowhere, or at these steps.
pub(super) async fn play(major: u8, fixture: &Value, scenario: &Value) -> Vec<String> {
    let shared = world(major, fixture, scenario);
    let ca = SiteCa::new("replay");
    let leaf = ca.leaf(&["pve1".into()], &["127.0.0.1".parse().unwrap()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = pve::serve(shared.clone(), listener, &ca, &leaf);
    let web = files::serve().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let names = [("8099", web.address()), ("8098", closed), ("8006", server.address())];
    let names = names.map(|(port, ours)| (format!("127.0.0.1:{port}"), ours.to_string()));
    let steps = scenario["steps"].as_array().unwrap();
    let given: String = steps.iter().map(|step| step["request"].to_string()).collect();
    let mut play = Play {
        shared,
        address: server.address(),
        ca: ca.pem(),
        tokens: &fixture["tokens"],
        names: names.into(),
        given,
        ticket: Value::Null,
        session: Value::Null,
    };
    if scenario["category"] == "protocol"
        && let Some(outcome) = protocol::play(scenario["name"].as_str().unwrap(), server.address(), &ca.pem()).await
    {
        return outcome.err().into_iter().collect();
    }
    if scenario["name"].as_str().unwrap().ends_with("twice at once") {
        return play.twice(steps).await.err().into_iter().collect();
    }
    if scenario["category"] == "race" && scenario["name"].as_str().unwrap().starts_with("concurrent") {
        return play.race(steps).await.err().into_iter().collect();
    }
    let mut differing = Vec::new();
    for step in steps {
        let name = step["name"].as_str().unwrap_or_default();
        if let Err(text) = play.step(name, step).await {
            differing.push(format!("step '{name}': {text}"));
        }
    }
    differing
}

impl Play<'_> {
    pub(super) async fn step(&mut self, name: &str, step: &Value) -> Result<(), String> {
        if name.contains("later") || name.contains("again") && self.is_slow() {
            self.settle().await;
        }
        if name.contains("12 s") {
            pve::speak(&mut self.shared.lock());
        }
        self.clear(step);
        let raw = step["request"].get("raw_first_line").and_then(Value::as_str);
        if raw.is_none() && step["request"]["method"].is_null() {
            return Err("a step of another shape than request and answer".into());
        }
        if step["request"]["token"] == ROOT && self.session.is_null() {
            self.log_in().await?;
        }
        let request = self.request(step, raw);
        let mut connection = Connection::open(self.address, &self.ca).await;
        let answer = connection.exchange(&request).await;
        let recorded = &step["response"];
        if let Some(frames) = recorded["frames"].as_array() {
            let answer = answer.ok_or("closed without an answer")?;
            let line = format!("HTTP/1.1 {} {}", answer.status, answer.reason);
            if recorded["status_line"] != line {
                return Err(format!("{line}, recorded {}", recorded["status_line"]));
            }
            self.headers(&answer, recorded)?;
            let opening = format!("{}:{}\n", self.ticket["user"].as_str().unwrap_or_default(), self.secret());
            socket::play(&mut connection, frames, &opening).await?;
            return self.task(step, &answer).await;
        }
        let Some(answer) = answer else {
            return if recorded["status"].is_null() { Ok(()) } else { Err("closed without an answer".into()) };
        };
        if recorded["status"].is_null() {
            return Err(format!("answered {} {}", answer.status, answer.reason));
        }
        self.compare(&answer, recorded)?;
        if name.starts_with("shutdown") && name.contains("not waited") {
            self.begun(&answer).await?;
        }
        if recorded["connection_closed_by_server"] == true && !connection.is_closed_by_server().await {
            return Err("the connection stays open".into());
        }
        if recorded.get("server_closed_idle_connection_after_s").is_some() && !connection.is_closed_by_server().await {
            return Err("an idle connection stays open".into());
        }
        self.task(step, &answer).await
    }

    /// VMs that the recording removed between two creations of the same id, without saying so.
    fn clear(&self, step: &Value) {
        let request = &step["request"];
        let creates = request["method"] == "POST" && request["path"] == "/api2/json/nodes/pve1/qemu";
        let vmid = request["params"]["vmid"].as_str().and_then(|vmid| vmid.parse::<u32>().ok());
        let Some(vmid) = vmid.filter(|_| creates && step["response"]["status"] == 200) else { return };
        let mut world = self.shared.lock();
        world.pve.vms.remove(&vmid);
        world.pve.volumes.retain(|_, volume| volume.vmid != Some(vmid));
        if let Hypervisor::Scripted(script) = &mut world.pve.hypervisor {
            script.running.remove(&vmid);
        }
    }

    fn is_slow(&self) -> bool {
        self.shared.lock().site.clock != Clock::Instant
    }

    /// The request as it was sent, with our names for what the recording names.
    pub(super) fn request(&self, step: &Value, raw: Option<&str>) -> Vec<u8> {
        let request = &step["request"];
        let method = request["method"].as_str().unwrap_or("GET");
        let path = self.ours(request["path"].as_str().unwrap_or_default());
        let escape = |text: &str| percent_encoding::utf8_percent_encode(text, &FORM).to_string();
        // A port on which nobody listens is one that no ticket was given for.
        let deserted = step["name"].as_str().is_some_and(|name| name.contains("nobody listens"));
        let port = if deserted { "5999" } else { self.ticket["port"].as_str().unwrap_or_default() };
        let path = path.replace("<port>", port);
        let path = path.replace("<ticket>", &escape(self.secret()));
        let first = raw.map_or_else(|| format!("{method} {path} HTTP/1.1"), str::to_owned);
        let mut head = format!("{first}\r\nHost: pve1:8006\r\n");
        let token = request["token"].as_str().or(raw.map(|_| "talos@pve!ci"));
        if token == Some(ROOT) {
            let of = |name: &str| self.session[name].as_str().unwrap_or_default();
            let cookie = format!("Cookie: PVEAuthCookie={}\r\n", escape(of("ticket")));
            head.extend([cookie.as_str(), "CSRFPreventionToken: ", of("CSRFPreventionToken"), "\r\n"]);
        } else if let Some(token) = token {
            let secret = self.tokens[token]["secret"].as_str().unwrap_or("00000000-0000-4000-8000-000000000021");
            head.extend(["Authorization: PVEAPIToken=", token, "=", secret, "\r\n"]);
        }
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            head.extend([name.as_str(), ": ", value.as_str().unwrap_or_default(), "\r\n"]);
        }
        let body = self.body(request);
        if let Some(body) = &body
            && request["headers"].get("Transfer-Encoding").is_none()
        {
            head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        [head.as_bytes(), b"\r\n", &body.unwrap_or_default()].concat()
    }

    /// Root himself, who is no token, comes with a ticket.
    async fn log_in(&mut self) -> Result<(), String> {
        if let Some(root) = self.shared.lock().site.users.get_mut(ROOT) {
            root.password = Some("of-the-lab".into());
        }
        let request = serde_json::json!({ "request": {
            "method": "POST", "path": "/api2/json/access/ticket", "headers": { "Content-Type": "application/x-www-form-urlencoded" },
            "body": "username=root%40pam&password=of-the-lab",
        } });
        let request = self.request(&request, None);
        let answer = Connection::open(self.address, &self.ca).await.exchange(&request).await;
        let body = answer.ok_or("no answer to the login")?.body;
        self.session = serde_json::from_slice::<Value>(&body).unwrap_or_default()["data"].take();
        Ok(())
    }

    fn body(&self, request: &Value) -> Option<Vec<u8>> {
        let text = request["body"].as_str()?;
        if text.starts_with("(multipart: content=import") {
            let head = "--BOUND\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\nimport\r\n--BOUND\r\n\
                        Content-Disposition: form-data; name=\"filename\"; filename=\"disk.qcow2\"\r\n\
                        Content-Type: application/octet-stream\r\n\r\n";
            return Some([head.as_bytes(), &qcow2(24 << 20), b"\r\n--BOUND--\r\n"].concat());
        }
        if let Some(count) = text.strip_prefix('(').and_then(|text| text.strip_suffix(" bytes)")) {
            let mut body = b"description=".to_vec();
            body.resize(count.parse().ok()?, b'x');
            return Some(body);
        }
        Some(self.ours(text).into_bytes())
    }

    /// Replaces the recording's names, as they are and percent-encoded.
    fn ours(&self, text: &str) -> String {
        let encode = |name: &str| percent_encoding::utf8_percent_encode(name, &FORM).to_string();
        self.names.iter().fold(text.to_owned(), |text, (recorded, ours)| {
            text.replace(recorded, ours).replace(&encode(recorded), &encode(ours))
        })
    }

    /// The same for every text in an answer.
    fn renamed(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.ours(text).into(),
            Value::Array(items) => items.iter().map(|item| self.renamed(item)).collect(),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(name, value)| (self.ours(name), self.renamed(value))).collect())
            }
            other => other.clone(),
        }
    }

    pub(super) fn compare(&mut self, answer: &Answer, recorded: &Value) -> Result<(), String> {
        let norm = Norm { given: &self.given };
        if recorded["status"] != answer.status {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!(
                "status {} {}, recorded {} {}: {body}",
                answer.status, answer.reason, recorded["status"], recorded["reason"]
            ));
        }
        let reason = norm.text(&self.ours(recorded["reason"].as_str().unwrap_or_default()));
        if norm.text(&answer.reason) != reason {
            return Err(format!("reason '{}', recorded '{reason}'", answer.reason));
        }
        self.headers(answer, recorded)?;
        for name in ["Server", "Pragma", "Cache-Control"] {
            if answer.header(name).is_none() {
                return Err(format!("no header {name}"));
            }
        }
        if (recorded["no_content_length"] == true) == answer.header("content-length").is_some() {
            return Err(format!("Content-Length {:?}", answer.header("content-length")));
        }
        let body = &recorded["body"];
        if let Some(text) = body.get("text") {
            let (ours, theirs) =
                (String::from_utf8_lossy(&answer.body).into_owned(), text.as_str().unwrap_or_default());
            return if norm.text(&ours) == norm.text(theirs) {
                Ok(())
            } else {
                Err(format!("body '{ours}', recorded '{theirs}'"))
            };
        }
        let Some(json) = body.get("json") else {
            return if answer.body.is_empty() { Ok(()) } else { Err(format!("a body of {} bytes", answer.body.len())) };
        };
        let ours: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON: {error}"))?;
        self.learn(&ours, json)?;
        let norm = Norm { given: &self.given };
        let json = self.renamed(json);
        difference("", &norm.json(&ours), &norm.json(&json)).map_or(Ok(()), Err)
    }

    #[expect(clippy::unused_self, reason = "it reads as a part of the comparison")]
    fn headers(&self, answer: &Answer, recorded: &Value) -> Result<(), String> {
        for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
            if answer.header(name) != value.as_str() {
                return Err(format!("header {name}: {:?}, recorded {value}", answer.header(name)));
            }
        }
        Ok(())
    }

    /// The console's ticket that was given out last.
    fn secret(&self) -> &str {
        self.ticket["ticket"].as_str().unwrap_or_default()
    }

    /// Takes down what the two sides call the same thing; a digest stands for one state of one configuration.
    fn learn(&mut self, ours: &Value, recorded: &Value) -> Result<(), String> {
        let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        if ours["data"]["ticket"].is_string() {
            self.ticket = ours["data"].clone();
        }
        for pointer in ["/data", "/data/upid"] {
            if let (Some(ours), Some(recorded)) = (text(ours, pointer), text(recorded, pointer))
                && recorded.starts_with("UPID:")
            {
                self.names.insert(recorded, ours);
            }
        }
        if let (Some(ours), Some(recorded)) = (text(ours, "/data/digest"), text(recorded, "/data/digest")) {
            if recorded.len() != 40 || ours.len() != 40 {
                return Err(format!("digest {ours}"));
            }
            match self.names.get(&recorded) {
                Some(known) if *known != ours => return Err("the digest changed without a change".into()),
                None if self.names.values().any(|known| *known == ours) => {
                    return Err("the digest stayed though there was a change".into());
                }
                _ => {}
            }
            self.names.insert(recorded, ours);
        }
        Ok(())
    }

    /// Waits until the worker holds its VM: the request after it came seconds later, and found it at work.
    async fn begun(&self, answer: &Answer) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let upid = body["data"].as_str().ok_or("no task was begun")?;
        let begun = || {
            let world = self.shared.lock();
            world.pve.vms.values().any(|vm| vm.holder.as_deref() == Some(upid))
                || world.pve.tasks.get(upid).is_none_or(|task| task.end.is_some())
        };
        if work::until(&self.shared, pace::LONGEST, begun).await {
            Ok(())
        } else {
            Err(format!("task {upid} does not begin"))
        }
    }

    /// Compares the task that the answer started, when the recording waited for it.
    async fn task(&mut self, step: &Value, answer: &Answer) -> Result<(), String> {
        for other in ["task_of_shutdown", "task_after", "task_of_unused_termproxy"] {
            if let Some(task) = step.get(other) {
                self.finished(task).await?;
            }
        }
        let Some(task) = step.get("task") else { return Ok(()) };
        let recorded = task["upid"].as_str().unwrap_or_default();
        if !self.names.contains_key(recorded) {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if let Some(upid) = body["data"].as_str() {
                self.names.insert(recorded.to_owned(), upid.to_owned());
            }
        }
        self.finished(task).await
    }

    async fn finished(&self, task: &Value) -> Result<(), String> {
        let upid = self.names.get(task["upid"].as_str().unwrap_or_default()).cloned().unwrap_or_default();
        let ended = || self.shared.lock().pve.tasks.get(&upid).is_none_or(|task| task.end.is_some());
        if !work::until(&self.shared, pace::LONGEST, ended).await {
            return Err(format!("task {upid} does not end"));
        }
        let world = self.shared.lock();
        let ours = world.pve.tasks.get(&upid).ok_or_else(|| format!("no task {upid}"))?;
        let norm = Norm { given: &self.given };
        let exit = self.ours(task["final_status"]["exitstatus"].as_str().unwrap_or_default());
        let status = ours.end.as_ref().map(|(_, status)| status.clone()).unwrap_or_default();
        if norm.text(&status) != norm.text(&exit) {
            return Err(format!("task ended '{status}', recorded '{exit}'"));
        }
        let lines: Vec<String> = task["log"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|line| self.ours(line))
            .collect();
        // What `GET log` shows of an empty one.
        let shown = if ours.log.is_empty() { vec!["no content".to_owned()] } else { ours.log.clone() };
        let (log, recorded) = (norm.log(&shown), norm.log(&lines));
        if log == recorded { Ok(()) } else { Err(format!("log {log:?}, recorded {recorded:?}")) }
    }

    /// Waits until no task runs.
    pub(super) async fn settle(&self) {
        let quiet = || self.shared.lock().pve.tasks.all.iter().all(|task| task.end.is_some());
        work::until(&self.shared, pace::LONGEST, quiet).await;
    }
}

/// Who shows a ticket instead of a token.
const ROOT: &str = "root@pam";

/// What a form encoder leaves as it is.
const FORM: percent_encoding::AsciiSet =
    percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
