//! `pvetalos lab`: the simulated site as a background process.
//!
//! The process holds the world; a socket in the state directory is its handle.
//! Asking over the socket, and not signalling a process id from a file, means that
//! nobody else's process is ever stopped.

mod control;
mod dress;
mod process;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::failure::{Code, Failure};
use super::{Global, print, say};
use crate::lab::clock::Clock;
use crate::lab::site::Site;
use crate::lab::{Endpoints, Lab, LabOptions};
use crate::profile::Profile;
use crate::pve::{Options, Trust};
use crate::reach::Reach;
use crate::report::columns;
use crate::secrets::{Secret, Token, env};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Start the simulated site in the background and say where it is
    Start(StartArgs),
    /// Stop it; its world is gone
    Stop,
    /// What is on it
    Status,
    /// The background process itself
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(clap::Args)]
pub(super) struct StartArgs {
    /// A site description (YAML or JSON), or one by name: one-node, one-node-8.4, three-nodes, matherlynet
    #[arg(long, value_name = "FILE|NAME", conflicts_with = "profile")]
    site: Option<PathBuf>,
    /// Dress the site as the fixture of a recording of real Proxmox VE describes it
    ///
    /// FILE is a recording with `fixture` and `scenarios`, or a bare fixture object. Users, tokens with their secrets,
    /// roles, ACL, storages, files and network are the fixture's; guests do not boot. Time passes as on the real
    /// server, so that its waits (3 s after a 401, 10 s for a lock) can be seen; --clock instant or --speed change that.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "site"])]
    fixture: Option<PathBuf>,
    /// With --fixture: which scenario (id or name) or category the site is for
    ///
    /// What a scenario adds (its `fixture` and `note`, and what its answers show to have been there) is added too. A
    /// category has the VMs that the recordings name for it: 310 for permission, 320 for read, 340 for create-error.
    /// Without this option, and with a recording of more than one scenario, all three are there.
    #[arg(long, value_name = "NAME", requires = "fixture")]
    scenario: Option<String>,
    /// Dress the site as this profile describes it
    #[arg(long, short, value_name = "NAME")]
    profile: Option<String>,
    /// Proxmox VE release to imitate: 9 or 8
    #[arg(long, value_name = "MAJOR")]
    pve: Option<String>,
    /// Everything at once, or as slow as a real site
    #[arg(long, value_enum)]
    clock: Option<ClockKind>,
    /// With --clock realistic: how many seconds of the site pass in one of ours
    #[arg(long, value_name = "N")]
    speed: Option<f64>,
    /// Port of the Proxmox API on 127.0.0.1 [default: any]
    #[arg(long, default_value = "0", hide_default_value = true)]
    port: u16,
    /// A script of faults (JSON list)
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ClockKind {
    Instant,
    Realistic,
}

/// What becomes of a lab that a command needs and that is not running.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenAbsent {
    /// Start it in the background: the cluster has to outlive the command.
    Start,
    /// Start it inside this process, for a command that only reads.
    Embed,
    /// There is nothing to do without it.
    Fail,
}

/// Where a lab answers. Written to the state directory with mode 0600: it holds the token.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Info {
    pub pve: Url,
    pub ca_pem: String,
    /// `ca_pem` as a file; empty for a lab inside this process.
    #[serde(default)]
    pub ca_file: PathBuf,
    pub fingerprint: String,
    pub token_id: String,
    pub token_secret: String,
    pub factory: Url,
    pub reach: Reach,
    /// Started by a `create`, and so stopped when the last cluster is destroyed.
    pub implicit: bool,
    pub pid: u32,
}

/// A lab that can be used.
pub(super) struct Access {
    pub info: Info,
    /// Keeps an embedded lab alive.
    _embedded: Option<Lab>,
}

impl Info {
    fn of(endpoints: &Endpoints, implicit: bool) -> Self {
        Self {
            pve: endpoints.pve.clone(),
            ca_pem: endpoints.ca_pem.clone(),
            ca_file: PathBuf::new(),
            fingerprint: endpoints.fingerprint.clone(),
            token_id: endpoints.token_id.clone(),
            token_secret: endpoints.token_secret.expose().to_owned(),
            factory: endpoints.factory.clone(),
            reach: endpoints.reach,
            implicit,
            pid: std::process::id(),
        }
    }
}

impl Access {
    /// How to connect to the lab's Proxmox.
    pub(super) fn pve_options(&self) -> Result<Options, Failure> {
        let text = Secret::new(format!("{}\n{}", self.info.token_id, self.info.token_secret));
        let token = Token::parse(&text).map_err(|error| Failure::of(Code::Defect, &error))?;
        let trust = Trust::Ca(self.info.ca_pem.clone().into_bytes());
        Ok(Options { endpoints: vec![self.info.pve.clone()], token, trust })
    }
}

/// The lab for `profile`: the one that runs, or one that is dressed for it.
pub(super) async fn access(global: &Global, profile: &Profile, when_absent: WhenAbsent) -> Result<Access, Failure> {
    let dir = directory(global)?;
    if let Some(info) = process::running(&dir).await {
        fits(&info, profile)?;
        return Ok(Access { info, _embedded: None });
    }
    match when_absent {
        WhenAbsent::Start => {
            let site = Site { clock: clock_from_environment()?, ..dress::site(profile) };
            let orders = process::Orders { site, port: 0, faults: Vec::new(), implicit: true, fixture: None };
            let info = process::start(&dir, &orders).await?;
            say(&format!("started the lab, a simulated site ({})", info.pve));
            Ok(Access { info, _embedded: None })
        }
        WhenAbsent::Embed => {
            let site = Site { clock: Clock::Instant, ..dress::site(profile) };
            let lab = Lab::start(LabOptions { site, ..LabOptions::default() })
                .await
                .map_err(|e| Failure::of(Code::Refused, &e))?;
            Ok(Access { info: Info::of(lab.endpoints(), true), _embedded: Some(lab) })
        }
        WhenAbsent::Fail => Err(Failure::new(Code::Refused, "the lab is not running, and so it holds nothing")),
    }
}

/// A lab has one network; a profile of another one needs another lab.
fn fits(info: &Info, profile: &Profile) -> Result<(), Failure> {
    match info.reach {
        Reach::Loopback { site, .. } if !site.contains(&profile.network.cidr) => Err(Failure::new(
            Code::Refused,
            format!(
                "the lab that is running has the network {site}, profile {} has {}",
                profile.name, profile.network.cidr
            ),
        )
        .hint(format!("dress it anew: pvetalos lab stop && pvetalos lab start --profile {}", profile.name))),
        _ => Ok(()),
    }
}

/// `PVETALOS_LAB_CLOCK`: `instant`, or a speed such as `10`.
fn clock_from_environment() -> Result<Clock, Failure> {
    let Some(text) = env::var("PVETALOS_LAB_CLOCK") else { return Ok(Site::default().clock) };
    let text = text.to_string_lossy();
    match text.as_ref() {
        "instant" => Ok(Clock::Instant),
        speed => speed.parse().map(|speed| Clock::Realistic { speed }).map_err(|_| {
            Failure::new(
                Code::Usage,
                format!("PVETALOS_LAB_CLOCK is {text:?}: it takes instant, or a speed such as 10"),
            )
        }),
    }
}

/// Whether no lab answers.
pub(super) async fn is_absent(global: &Global) -> bool {
    match directory(global) {
        Ok(dir) => process::running(&dir).await.is_none(),
        Err(_) => true,
    }
}

/// Stops a lab that a `create` had started, once its last cluster is gone.
pub(super) async fn stop_if_implicit(global: &Global) {
    let Ok(dir) = directory(global) else { return };
    let state = global.state_dir().map(|dir| crate::engine::Journal::clusters(&dir)).unwrap_or_default();
    if !state.is_empty() {
        return;
    }
    if process::running(&dir).await.is_some_and(|info| info.implicit) {
        process::stop(&dir).await.ok();
    }
}

fn directory(global: &Global) -> Result<PathBuf, Failure> {
    Ok(global.state_dir()?.join("lab"))
}

pub(super) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Start(args) => start(global, args).await,
        Command::Stop => {
            let stopped = process::stop(&directory(global)?).await?;
            if global.is_json() {
                print(&serde_json::json!({ "running": false, "stopped": stopped }).to_string());
            } else {
                say(if stopped { "the lab is stopped" } else { "the lab is not running" });
            }
            Ok(())
        }
        Command::Status => status(global).await,
        Command::Serve { dir } => process::serve(&dir).await,
    }
}

async fn start(global: &Global, args: StartArgs) -> Result<(), Failure> {
    let dir = directory(global)?;
    if let Some(info) = process::running(&dir).await {
        say("the lab is running already");
        print_info(global, &info);
        return Ok(());
    }
    let major = match args.pve.as_deref() {
        None => None,
        Some("9" | "9.2") => Some(9),
        Some("8" | "8.4") => Some(8),
        Some(other) => return Err(Failure::new(Code::Usage, format!("--pve {other}: the lab imitates 9 and 8"))),
    };
    let fixture =
        args.fixture.as_deref().map(|path| dress::read_fixture(path, args.scenario.as_deref())).transpose()?;
    let mut site = match (&fixture, &args.site, &args.profile) {
        (Some(fixture), ..) => fixture.site(major),
        (None, Some(path), _) => dress::read(path)?,
        (None, None, Some(name)) => dress::site(&crate::profile::load(name, &super::profile_dirs())?),
        (None, None, None) => Site::default(),
    };
    if let Some(major) = major {
        site.pve = if major == 8 { "8.4".into() } else { "9.2".into() };
    }
    match (args.clock, args.speed) {
        (Some(ClockKind::Instant), _) => site.clock = Clock::Instant,
        (_, Some(speed)) => site.clock = Clock::Realistic { speed },
        (Some(ClockKind::Realistic), None) => site.clock = Clock::Realistic { speed: 1.0 },
        (None, None) if args.site.is_none() && fixture.is_none() => site.clock = clock_from_environment()?,
        (None, None) => {}
    }
    let faults = args.faults.as_deref().map(dress::read_faults).transpose()?.unwrap_or_default();
    let orders = process::Orders { site, port: args.port, faults, implicit: false, fixture };
    let info = process::start(&dir, &orders).await?;
    print_info(global, &info);
    Ok(())
}

fn print_info(global: &Global, info: &Info) {
    if global.is_json() {
        print(&serde_json::to_string(info).expect("plain data"));
        return;
    }
    let Reach::Loopback { site, base } = info.reach else { return };
    print(&format!(
        "Proxmox API   {}\nfingerprint   {}\nauthority     {}\ntoken         {}={}\nfactory       {}\nnetwork       {site}, reached at {base}",
        info.pve,
        info.fingerprint,
        info.ca_file.display(),
        info.token_id,
        info.token_secret,
        info.factory
    ));
}

/// The world's guests and volumes, for people.
fn table(world: &serde_json::Value) -> String {
    let list = |key: &str| world[key].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let machines = list("machines");
    let mut guests = columns();
    guests.set_header(["VMID", "NAME", "NODE", "POWER", "STAGE", "ADDRESSES"]);
    for guest in list("guests") {
        let machine = machines.iter().find(|machine| machine["vmid"] == guest["vmid"]);
        let addresses: Vec<String> = ["addresses", "shared_addresses"]
            .iter()
            .filter_map(|key| machine.and_then(|machine| machine[*key].as_array()))
            .flatten()
            .map(text)
            .collect();
        guests.add_row([
            text(&guest["vmid"]),
            text(&guest["name"]),
            text(&guest["node"]),
            String::from(if guest["running"] == true { "on" } else { "off" }),
            machine.map_or_else(String::new, |machine| text(&machine["stage"])),
            addresses.join(" "),
        ]);
    }
    let mut volumes = columns();
    volumes.set_header(["VOLUME", "NODE"]);
    for volume in list("volumes") {
        volumes.add_row([text(&volume["volid"]), text(&volume["node"])]);
    }
    format!("\n{}\n\n{}", guests.trim_fmt(), volumes.trim_fmt())
}

async fn status(global: &Global) -> Result<(), Failure> {
    let dir = directory(global)?;
    let Some(info) = process::running(&dir).await else {
        print(if global.is_json() { r#"{"running":false}"# } else { "the lab is not running" });
        return Ok(());
    };
    let world = control::ask(&dir, control::Request::Status)
        .await
        .map_err(|error| Failure::of(Code::Defect, &error).hint("look into the lab's log beside its socket"))?;
    if global.is_json() {
        print(&serde_json::json!({ "running": true, "pid": info.pid, "pve": info.pve, "world": world }).to_string());
    } else {
        print(&format!("the lab runs at {}\n{}", info.pve, table(&world)));
    }
    Ok(())
}
