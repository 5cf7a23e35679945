//! Terminals: a ticket, a port on which a program waits for 10 s, and the websocket that leads to it.
//!
//! The program behind a `termproxy` port takes `USER:TICKET`, says `OK`, and then
//! is the serial console of the VM: what it prints from now on, nothing of what
//! was before. The recordings' program sent back what it was sent, and so does
//! that of a [`Scripted`](super::hypervisor::Scripted) hypervisor.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{Failure, Reply};
use super::call::{Call, no_config};
use super::hypervisor::{self, Hypervisor};
use super::websocket::{self, Frame, Kind};
use super::work::{self, Answer};
use crate::lab::clock::Clock;
use crate::lab::http::Session;
use crate::lab::world::{Shared, World};

/// How long a ticket lives, and how long the program waits (pve-access-control: src/PVE/AccessControl.pm,
/// `verify_vnc_ticket`; pve-xtermjs: termproxy).
const TICKET_LIFE: Duration = Duration::from_secs(40);
const PATIENCE: Duration = Duration::from_secs(10);

/// A terminal that was given out.
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    pub port: u16,
    ticket: String,
    /// `user@realm!token`; a ticket is nobody else's.
    user: String,
    vmid: u32,
    /// `serial0`, or another port that was asked for.
    serial: String,
    made: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The program listens.
    Waiting,
    Connected,
    Ended,
}

/// `POST .../termproxy` and `.../vncproxy`: neither whether the VM runs nor whether it has the port is looked at.
pub(super) fn prepare(call: &mut Call) -> Result<Terminal, Failure> {
    if call.world.pve.vm_on(call.node(), call.vmid()).is_none() {
        return Err(Failure::die(no_config(call.node(), call.vmid())));
    }
    let port = 5900 + call.world.pve.consoles % 100;
    call.world.pve.consoles = call.world.pve.consoles.wrapping_add(1);
    let random: Vec<u8> = (0..16).flat_map(|_| *uuid::Uuid::new_v4().as_bytes()).collect();
    let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, random);
    let terminal = Terminal {
        port,
        ticket: format!("PVEVNC:{:08X}::{secret}", call.now),
        user: call.who.id(),
        vmid: call.vmid(),
        serial: call.opt("serial").unwrap_or("serial0").to_owned(),
        made: Instant::now(),
        stage: Stage::Waiting,
    };
    let terminals = &mut call.world.pve.terminals;
    terminals.retain(|known| known.port != port && known.made.elapsed() < TICKET_LIFE * 10);
    terminals.push(terminal.clone());
    Ok(terminal)
}

/// The answer, once the UPID of the task that waits for a connection is known.
pub(super) fn answer(terminal: &Terminal) -> Answer {
    let Terminal { user, ticket, port, .. } = terminal.clone();
    Box::new(move |upid| json!({ "user": user, "ticket": ticket, "port": port.to_string(), "upid": upid }))
}

/// `GET .../vncwebsocket`: whether the ticket is the caller's, and of this VM and port.
pub(super) fn admit(call: &mut Call) -> Result<Reply, Failure> {
    let (user, vmid, port) = (call.who.id(), call.vmid(), call.number("port").unwrap_or(0));
    let life = call.world.site.clock.span(TICKET_LIFE);
    let life = if call.world.site.clock == Clock::Instant { TICKET_LIFE } else { life };
    let known = call.world.pve.terminals.iter().any(|terminal| {
        terminal.ticket == call.text("vncticket")
            && terminal.user == user
            && terminal.vmid == vmid
            && terminal.port == port
            && terminal.made.elapsed() < life
    });
    if known {
        Ok(Reply::Data(json!({ "port": port })))
    } else {
        Err(Failure::with(401, "permission denied - invalid PVEVNC ticket"))
    }
}

/// The task of a terminal: it waits for a connection, and then for its end.
pub(super) async fn work(shared: &Shared, upid: &str, vmid: u32, port: u16, clock: Clock) -> Result<(), String> {
    let stage = || stage_of(&shared.lock(), port);
    // On the instant clock a client would never be in time.
    let patience = if clock == Clock::Instant { PATIENCE } else { clock.span(PATIENCE) };
    if work::until(shared, patience, || stage() != Some(Stage::Waiting)).await {
        // Somebody may look at a console for as long as he likes; the abort of the task ends it.
        while !work::until(shared, PATIENCE, || stage() == Some(Stage::Ended)).await {}
        return Ok(());
    }
    let mut world = shared.lock();
    set_stage(&mut world, port, Stage::Ended);
    world.pve.tasks.log(upid, "failed: timed out");
    let program = format!("/usr/bin/termproxy {port} --path /vms/{vmid} --perm VM.Console");
    let flags = "--vncticket-endpoint --verify-port --ticket-fd 6";
    let terminal = format!("/usr/sbin/qm terminal {vmid} -escape 0");
    Err(format!("command '{program} {flags} -- {terminal}' failed: exit code 1"))
}

fn stage_of(world: &World, port: u16) -> Option<Stage> {
    world.pve.terminals.iter().find(|terminal| terminal.port == port).map(|terminal| terminal.stage)
}

fn set_stage(world: &mut World, port: u16, stage: Stage) {
    if let Some(terminal) = world.pve.terminals.iter_mut().find(|terminal| terminal.port == port) {
        terminal.stage = stage;
    }
}

/// What the connection becomes; `None` when nobody listens on the port.
pub(super) fn session(shared: &Shared, data: &Value) -> Option<Session> {
    let port = data["port"].as_u64().and_then(|port| u16::try_from(port).ok())?;
    let terminal = {
        let mut world = shared.lock();
        let terminal = world.pve.terminals.iter().find(|terminal| terminal.port == port)?.clone();
        if terminal.stage != Stage::Waiting {
            return None;
        }
        set_stage(&mut world, port, Stage::Connected);
        terminal
    };
    shared.wake();
    let shared = shared.clone();
    Some(Box::new(move |stream| {
        Box::pin(async move {
            let end = End { shared: shared.clone(), port };
            talk(&shared, &terminal, stream).await;
            drop(end);
        })
    }))
}

/// Tells the task that the connection is over, however it came to that.
struct End {
    shared: Shared,
    port: u16,
}

impl Drop for End {
    fn drop(&mut self) {
        set_stage(&mut self.shared.lock(), self.port, Stage::Ended);
        self.shared.wake();
    }
}

/// How often a console is looked at.
const LOOK: Duration = Duration::from_millis(100);

async fn talk<S>(shared: &Shared, terminal: &Terminal, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut input, mut output) = tokio::io::split(stream);
    let mut credentials = Vec::new();
    while !credentials.contains(&b'\n') {
        match websocket::read(&mut input).await {
            Some(Frame::Data(data)) => credentials.extend(data),
            Some(Frame::Ping(data)) => {
                websocket::write(&mut output, Kind::Pong, &data).await;
            }
            Some(Frame::Pong) => {}
            Some(Frame::Close) | None => return,
        }
    }
    let echo = matches!(&shared.lock().pve.hypervisor, Hypervisor::Scripted(script) if script.echo);
    let right = credentials == format!("{}:{}\n", terminal.user, terminal.ticket).as_bytes();
    if !(right || echo) || !websocket::write(&mut output, Kind::Binary, b"OK").await {
        return;
    }
    let begins = greeting(&shared.lock(), terminal);
    let (greeting, mut seen) = match begins {
        Ok(begins) => begins,
        Err(text) => {
            websocket::write(&mut output, Kind::Binary, text.as_bytes()).await;
            return;
        }
    };
    if !websocket::write(&mut output, Kind::Binary, greeting.as_bytes()).await {
        return;
    }
    // A frame that is half read must not be dropped, so the reader lives as long as this loop.
    let (sender, mut frames) = tokio::sync::mpsc::channel(16);
    let reader = async move {
        while let Some(frame) = websocket::read(&mut input).await {
            if sender.send(frame).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(reader);
    let mut reading = true;
    loop {
        let written = tokio::select! {
            biased;
            frame = frames.recv() => match frame {
                Some(Frame::Data(data)) if echo => {
                    websocket::write(&mut output, Kind::Binary, &[b"echo:", data.as_slice()].concat()).await
                }
                // Input and changes of size: Talos reads nothing from its console.
                Some(Frame::Data(_) | Frame::Pong) => true,
                Some(Frame::Ping(data)) => websocket::write(&mut output, Kind::Pong, &data).await,
                Some(Frame::Close) | None => false,
            },
            () = &mut reader, if reading => {
                reading = false;
                true
            }
            () = work::pause(LOOK) => {
                let text = printed(&shared.lock(), terminal.vmid, &mut seen);
                match text {
                    None => false,
                    Some(text) if text.is_empty() => true,
                    Some(text) => websocket::write(&mut output, Kind::Binary, text.as_bytes()).await,
                }
            }
        };
        if !written {
            return;
        }
    }
}

/// What the program says first, and how many lines the console had printed by then; or why it ends at once.
fn greeting(world: &World, terminal: &Terminal) -> Result<(String, u64), String> {
    let vmid = terminal.vmid;
    if !hypervisor::is_running(world, vmid) {
        return Err(format!("VM {vmid} not running\r\n"));
    }
    let serial = &terminal.serial;
    if world.pve.vms.get(&vmid).is_none_or(|vm| !vm.config.contains_key(serial)) {
        return Err("unable to find a serial interface\r\n".to_owned());
    }
    let printed = world.fleet.machine(vmid).map_or(0, |machine| machine.printed);
    Ok((format!("starting serial terminal on interface {serial} (no escape character set)\r\n"), printed))
}

/// Lines that came since `seen`; `None` when the VM is off.
fn printed(world: &World, vmid: u32, seen: &mut u64) -> Option<String> {
    if !hypervisor::is_running(world, vmid) {
        return None;
    }
    let Some(machine) = world.fleet.machine(vmid) else { return Some(String::new()) };
    // A machine that was switched off and on again counts from the start.
    let new = machine.printed.checked_sub(*seen).unwrap_or(machine.printed);
    *seen = machine.printed;
    let skip = machine.console.len().saturating_sub(usize::try_from(new).unwrap_or(usize::MAX));
    let lines = machine.console[skip..].iter().flat_map(|line| [line.as_str(), "\r\n"]);
    Some(lines.collect())
}

fn running(call: &Call) -> Result<(), Failure> {
    call.vm()?;
    if hypervisor::is_running(call.world, call.vmid()) {
        return Ok(());
    }
    Err(Failure::die(format!("VM {} not running", call.vmid())))
}

/// `PUT .../sendkey`: a key that no guest of the lab waits for.
pub(super) fn key(call: &mut Call) -> Result<Reply, Failure> {
    if call.flag("skiplock") && !call.who.is_root() {
        return Err(Failure::param("skiplock", "Only root may use this option."));
    }
    running(call)?;
    Ok(Reply::Data(Value::Null))
}

/// `POST .../monitor`: what needs no more than to look is free, the rest is for those who may change the site.
pub(super) fn monitor(call: &mut Call) -> Result<Reply, Failure> {
    let command = call.text("command").trim().to_owned();
    let looks = command == "info" || command.starts_with("info ") || command == "help";
    if !looks {
        call.require("/", &["Sys.Modify"])?;
    }
    let stopped = format!("ERROR: VM {} not running\n", call.vmid());
    call.vm()?;
    let text = match command.as_str() {
        _ if !hypervisor::is_running(call.world, call.vmid()) => stopped,
        "info status" => "VM status: running\r\n".to_owned(),
        "info name" => format!("{}\r\n", call.vm()?.name(call.vmid())),
        _ => String::new(),
    };
    Ok(Reply::Data(text.into()))
}

/// `POST /access/vncticket`: how the program behind a port asks whose ticket it was given.
pub(super) fn verify(call: &mut Call) -> Result<Reply, Failure> {
    let (user, ticket, path) = (call.text("authid"), call.text("vncticket"), call.text("path"));
    let known = call.world.pve.terminals.iter().any(|terminal| {
        terminal.ticket == ticket && terminal.user == user && path == format!("/vms/{}", terminal.vmid)
    });
    if known { Ok(Reply::Data(Value::Null)) } else { Err(Failure::with(401, "authentication failure")) }
}
