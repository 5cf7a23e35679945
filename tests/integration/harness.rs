//! A site on the lab with a stranger on it, and a cluster's whole life in the hands of a test.
//!
//! Everything goes over the real wires: the clients, the plan and the engine are
//! those of the product, and only what the command line adds is left out. What a
//! test may ask afterwards is asked of the lab's world, which nobody can deceive.

mod life;
mod play;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use pvetalos::discovery::{Finder, Method};
use pvetalos::engine::{End, Engine, Journal, JournalError, Leftover};
use pvetalos::event::{Event, Record};
use pvetalos::factory::{Factory, FactoryOptions};
use pvetalos::kube::{self, Api};
use pvetalos::lab::clock::Clock;
use pvetalos::lab::faults::{Call, Face};
use pvetalos::lab::site::{Bridge, Guest, Network, Node, Site};
use pvetalos::lab::{Lab, LabOptions};
use pvetalos::machineconfig::{Bundle, Contract, Minor, Patch, PatchSource};
use pvetalos::plan::{self, Origin, Plan, Problem};
use pvetalos::profile::{self, Mode, Profile};
use pvetalos::pve::{Options, Pve, Trust};
use pvetalos::reach::Reach;
use pvetalos::secrets::file::write_private;
use pvetalos::secrets::{Provider, Secret, Token};
use pvetalos::steps::{Looker, Step, Toolbox, Turns, Vault};
use pvetalos::talos::{self, Talos};

pub(crate) use life::Dies;
pub(crate) use play::{play, virtually};

/// The lowest free VMID is 100: the stranger is next to it, where a careless count would step on it.
pub(crate) const STRANGER: u32 = 101;

/// Made once for all tests: its RSA key costs more than a whole run on the instant clock.
pub(crate) static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let contract = Contract::for_talos("1.12.4").expect("a version that we know");
    Bundle::generate(&contract).expect("keys are made")
});

const OTHER_KUBECONFIG: &str = "apiVersion: v1
kind: Config
preferences: {}
clusters: [{ name: office, cluster: { server: 'https://10.0.0.1:6443' } }]
users: [{ name: office, user: { token: abc } }]
contexts: [{ name: office, context: { cluster: office, user: office } }]
current-context: office
";

const OTHER_TALOSCONFIG: &str = "context: office
contexts:
    office:
        endpoints: [10.0.0.1]
        ca: b2ZmaWNl
        crt: b2ZmaWNl
        key: b2ZmaWNl
";

/// A profile that tests vary. Everything on a /27, so that a sweep is short.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) control_planes: usize,
    pub(crate) workers: usize,
    /// Proxmox nodes; the machines are spread over them.
    pub(crate) nodes: usize,
    pub(crate) mode: &'static str,
    pub(crate) cni: &'static str,
    pub(crate) talos: &'static str,
    pub(crate) kubernetes: &'static str,
    /// Every deadline.
    pub(crate) patience: &'static str,
}

impl Shape {
    pub(crate) const fn of(control_planes: usize, workers: usize) -> Self {
        Self {
            control_planes,
            workers,
            nodes: 1,
            mode: "dhcp",
            cni: "flannel",
            talos: "1.12.4",
            kubernetes: "1.35.0",
            patience: "60s",
        }
    }

    pub(crate) fn profile(&self) -> String {
        let Self { mode, cni, talos, kubernetes, patience, .. } = self;
        let vip = if self.control_planes > 1 { "\n  vip: { ip: 10.83.0.9 }" } else { "" };
        let machine = |kind: &'static str, first: usize| {
            move |index: usize| format!("\n      - {{ name: it-{kind}-{}, ip: 10.83.0.{} }}", index + 1, first + index)
        };
        let group = |name: &str, machines: Vec<String>| {
            if machines.is_empty() {
                return String::new();
            }
            format!("\n  {name}:\n    assignments:{}", machines.concat())
        };
        let control = group("controlplane", (0..self.control_planes).map(machine("cp", 2)).collect());
        let workers = group("workers", (0..self.workers).map(machine("wk", 5)).collect());
        let spans = ["maintenance", "install", "bootstrap", "health", "image", "installer", "task"];
        let spans: Vec<String> = spans.iter().map(|name| format!("{name}: {patience}")).collect();
        format!(
            "name: it
disposable: true
proxmox:
  endpoints: [lab]
  storage: {{ image: local, disk: local-lvm }}
  bridge: vmbr0
talos:
  version: {talos}
  kubernetes_version: {kubernetes}
  secureboot: true
  factory:
    url: https://factory.talos.dev
    extensions: [siderolabs/qemu-guest-agent]{vip}
network:
  cidr: 10.83.0.0/27
  gateway: 10.83.0.1
  mode: {mode}
  cni: {cni}
nodes:
  cores: 2
  memory: 4Gi
  disk: 32G{control}{workers}
deadlines: {{ {} }}
",
            spans.join(", ")
        )
    }
}

/// A lab, connections to it, and a user's files.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) profile: Profile,
    pub(crate) pve: Pve,
    pub(crate) factory: Factory,
    dir: tempfile::TempDir,
    /// Hands out [`BUNDLE`] and does not make one for every run.
    stocked: bool,
    before: Before,
    /// Calls that [`Bench::take_log`] has answered and that ask for a change of the stranger.
    read: RefCell<Vec<Call>>,
}

/// What must be the same in the end.
struct Before {
    guests: BTreeSet<u32>,
    volumes: BTreeSet<String>,
    stranger: (String, bool),
}

/// Orders for [`Bench::start`].
pub(crate) struct Setup {
    pub(crate) profile: String,
    /// Name of the profile, and the file that it stands for (patches and schematics are found beside it).
    pub(crate) file: PathBuf,
    pub(crate) site: Box<dyn FnOnce(&mut Site)>,
    /// Id and secret of the token to use; the lab's own with full rights, if absent.
    pub(crate) token: Option<(&'static str, &'static str)>,
    pub(crate) stocked: bool,
}

impl Setup {
    pub(crate) fn new(shape: &Shape) -> Self {
        let nodes = shape.nodes;
        let spread = move |site: &mut Site| {
            let node = site.nodes[0].clone();
            site.nodes = (1..=nodes).map(|number| Node { name: format!("lab{number}"), ..node.clone() }).collect();
        };
        Self {
            profile: shape.profile(),
            file: PathBuf::from("it.yaml"),
            site: Box::new(spread),
            token: None,
            stocked: true,
        }
    }

    /// Changes the site further.
    pub(crate) fn with_site(self, change: impl FnOnce(&mut Site) + 'static) -> Self {
        let earlier = self.site;
        let site = Box::new(move |site: &mut Site| {
            earlier(site);
            change(site);
        });
        Self { site, ..self }
    }
}

impl Bench {
    pub(crate) async fn of(shape: &Shape) -> Self {
        Self::start(Setup::new(shape)).await
    }

    pub(crate) async fn start(setup: Setup) -> Self {
        let profile = profile::parse(&setup.profile, &setup.file).unwrap_or_else(|error| panic!("{error:?}"));
        let mut site = dressed(&profile);
        (setup.site)(&mut site);
        let disk = profile.proxmox.disk_storage.as_str();
        site.guests.push(Guest {
            vmid: STRANGER,
            name: "somebody-elses".into(),
            node: site.nodes[0].name.clone(),
            running: true,
            tags: "theirs".into(),
            config: [
                ("scsi0", format!("{disk}:8")),
                ("memory", "2048".into()),
                ("net0", format!("virtio=BC:24:11:00:00:99,bridge={}", profile.proxmox.bridge)),
            ]
            .map(|(option, text)| (option.to_owned(), text))
            .into(),
        });
        let lab = Lab::start(LabOptions { site, ..LabOptions::default() }).await.expect("the lab starts");
        lab.shared().lock().faults.log.keep_all();
        let ends = lab.endpoints();
        let (id, secret) = setup.token.unwrap_or_else(|| (ends.token_id.as_str(), ends.token_secret.expose()));
        let token = Token::parse(&Secret::new(format!("{id}\n{secret}"))).expect("a token");
        let trust = Trust::Ca(ends.ca_pem.clone().into_bytes());
        let pve =
            Pve::connect(Options { endpoints: vec![ends.pve.clone()], token, trust }).await.expect("a connection");
        let factory = Factory::new(FactoryOptions {
            base: ends.factory.clone(),
            public: profile.talos.factory.url.clone(),
            ca: Some(ends.ca_pem.clone().into_bytes()),
        })
        .expect("a client");
        // Where there is one, a directory in memory: what is synced there costs nothing.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("a directory");
        write_private(&dir.path().join("kubeconfig"), OTHER_KUBECONFIG.as_bytes()).expect("a file");
        write_private(&dir.path().join("talosconfig"), OTHER_TALOSCONFIG.as_bytes()).expect("a file");
        let guests = lab.shared().lock().pve.vms.keys().copied().collect();
        let before = Before { guests, volumes: volumes(&lab), stranger: stranger(&lab) };
        assert!(before.stranger.1, "the stranger runs");
        Self { lab, profile, pve, factory, dir, stocked: setup.stocked, before, read: RefCell::default() }
    }

    pub(crate) fn reach(&self) -> Reach {
        self.lab.endpoints().reach
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    pub(crate) fn talosconfig(&self) -> PathBuf {
        self.dir.path().join("talosconfig")
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.dir.path().join("secrets.yaml")
    }

    fn provider(&self) -> Provider {
        Provider::File { path: self.secrets() }
    }

    /// Surveys the site and drafts, or says what stands in the way.
    pub(crate) async fn drafted(&self) -> Result<Plan, Vec<Problem>> {
        let site = plan::survey(&self.profile, &self.pve, &self.factory, &self.reach()).await.expect("a survey");
        let origin = Origin { profile: self.profile.file.clone(), lab: true };
        let secrets = self.provider().reference();
        plan::draft(&self.profile, &site, &self.factory, self.pve.quirks(), &secrets, origin)
    }

    pub(crate) async fn plan(&self) -> Plan {
        self.drafted().await.unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// What a new process would hold.
    pub(crate) fn tools(&self, plan: &Plan) -> Toolbox {
        let Profile { network, talos, machines, .. } = &self.profile;
        let method = match network.mode {
            Mode::Dhcp => Method::Sweep,
            Mode::Static => Method::Static,
        };
        let minor = Minor::parse(&talos.version).expect("a known version");
        let patch = |patch: &profile::PatchRef| {
            Patch::load(&patch.text, PatchSource::File(patch.origin.clone()), &minor).expect("a patch")
        };
        let patches = machines
            .iter()
            .map(|machine| (machine.name.clone(), self.profile.patches_for(machine).map(patch).collect()));
        let vault = Vault::new(self.provider());
        Toolbox {
            pve: self.pve.clone(),
            factory: self.factory.clone(),
            finder: Finder::new(self.reach(), network.cidr, method),
            reach: self.reach(),
            turns: Turns::default(),
            vault: if self.stocked { vault.with_fresh(BUNDLE.clone()) } else { vault },
            mark: plan.mark.clone(),
            deadlines: plan.deadlines,
            patches: patches.collect(),
            kubeconfig: Some(self.kubeconfig()),
            talosconfig: Some(self.talosconfig()),
        }
    }

    /// The journal of `plan`: the one that is there, else a new one.
    pub(crate) fn journal(&self, plan: &Plan) -> Journal {
        match reopen(&self.state_dir(), &plan.mark.cluster).expect("a journal that can be read") {
            Some((journal, kept)) => {
                assert_eq!(kept, *plan, "the journal holds the plan that it was made for");
                journal
            }
            None => Journal::create(&self.state_dir(), plan).expect("a new journal"),
        }
    }

    /// Names what the faces hear from now on by the step that runs. Exact with a width of 1 only.
    pub(crate) fn labeller(&self) -> impl Fn(&Event) {
        let shared = self.lab.shared().clone();
        move |event| {
            let label = match event {
                Event::Record(Record::Started { step }) => step.to_string(),
                Event::Record(Record::UndoStarted { step }) => format!("undo {step}"),
                _ => return,
            };
            shared.lock().faults.label(label);
        }
    }

    /// Runs the plan as a new process would, one lane at a time, and tells the faces whose calls they hear.
    pub(crate) async fn run(&self, plan: &Plan) -> End {
        let (tools, listener) = (self.tools(plan), self.labeller());
        let engine = Engine::new(&tools, plan, self.journal(plan), &listener).with_width(1);
        let end = engine.run(std::future::pending()).await.expect("the journal can be written");
        self.look_from_outside();
        end
    }

    /// What is asked from now on belongs to no step.
    pub(crate) fn look_from_outside(&self) {
        self.lab.shared().lock().faults.label("");
    }

    /// Runs the plan with its lanes side by side.
    pub(crate) async fn run_wide(&self, plan: &Plan) -> End {
        let tools = self.tools(plan);
        let engine = Engine::new(&tools, plan, self.journal(plan), &|_| {});
        engine.run(std::future::pending()).await.expect("the journal can be written")
    }

    /// Takes everything away as a new process would. The journal steps aside when nothing is left.
    pub(crate) async fn unwind(&self, plan: &Plan) -> Vec<Leftover> {
        let (tools, listener) = (self.tools(plan), self.labeller());
        let engine = Engine::new(&tools, plan, self.journal(plan), &listener).with_width(1);
        let leftovers = engine.unwind().await.expect("the journal can be written");
        self.look_from_outside();
        if leftovers.is_empty() {
            engine.into_journal().close().expect("the journal steps aside");
        }
        leftovers
    }

    /// Runs until the journal has `count` more records, and stops there as a process that is killed does: exactly there
    /// with a width of 1, else when the other lanes have come to rest, too. Answers how it ended if it ended before.
    pub(crate) async fn run_until(&self, plan: &Plan, count: usize, width: usize) -> Option<End> {
        self.run_until_stopped(plan, &Stop::after(count, false), width).await
    }

    /// The same in the middle of things: counts what is shown of a wait, too.
    pub(crate) async fn run_until_event(&self, plan: &Plan, count: usize) -> Option<End> {
        self.run_until_stopped(plan, &Stop::after(count, true), usize::MAX).await
    }

    async fn run_until_stopped(&self, plan: &Plan, stop: &Stop, width: usize) -> Option<End> {
        let tools = self.tools(plan);
        let listener = |event: &Event| stop.hear(event);
        let engine = Engine::new(&tools, plan, self.journal(plan), &listener).with_width(width);
        tokio::select! {
            biased;
            () = stop.reached() => None,
            end = engine.run(std::future::pending()) => Some(end.expect("the journal can be written")),
        }
    }

    /// Is interrupted when the journal has `count` records, and takes back what it did, all in one life.
    pub(crate) async fn interrupted(&self, plan: &Plan, count: usize) -> (End, Vec<Leftover>) {
        let (tools, stop) = (self.tools(plan), Stop::after(count, false));
        let listener = |event: &Event| stop.hear(event);
        let engine = Engine::new(&tools, plan, self.journal(plan), &listener);
        let end = engine.run(stop.reached()).await.expect("the journal can be written");
        (end, engine.unwind().await.expect("the journal can be written"))
    }

    /// The same as [`Bench::run_until`] for the way back.
    pub(crate) async fn unwind_until(&self, plan: &Plan, count: usize) -> Option<Vec<Leftover>> {
        let tools = self.tools(plan);
        let stop = Stop::after(count, false);
        let listener = |event: &Event| stop.hear(event);
        let engine = Engine::new(&tools, plan, self.journal(plan), &listener).with_width(1);
        tokio::select! {
            biased;
            () = stop.reached() => None,
            left = engine.unwind() => Some(left.expect("the journal can be written")),
        }
    }

    /// The calls since the last time that this was asked, oldest first.
    pub(crate) fn take_log(&self) -> Vec<Call> {
        let calls = self.lab.shared().lock().faults.log.take();
        let about = calls.iter().filter(|call| changes(call) && call.subject == STRANGER.to_string());
        self.read.borrow_mut().extend(about.cloned());
        calls
    }

    /// etcds that were ever bootstrapped.
    pub(crate) fn etcds(&self) -> usize {
        self.lab.shared().lock().fleet.etcds().count()
    }

    /// A second bootstrap is a second cluster, whatever became of the run.
    pub(crate) fn second_bootstrap(&self) -> Option<String> {
        (self.etcds() > 1).then(|| format!("{} etcds were bootstrapped", self.etcds()))
    }

    /// Everything on the site and in the user's files that is there and should not be. The stranger is not meant.
    pub(crate) fn remains(&self) -> Vec<String> {
        let mut found = Vec::new();
        {
            let world = self.lab.shared().lock();
            let theirs = |vmid: &u32| {
                self.before.guests.contains(vmid)
                    || world.faults.foreign.contains_key(vmid)
                    || world.fleet.is_impostor(*vmid)
            };
            let more = world.pve.vms.keys().filter(|vmid| !theirs(vmid));
            found.extend(more.map(|vmid| format!("VM {vmid}")));
            let powered = world.fleet.machines().filter(|machine| !theirs(&machine.hardware.vmid));
            found.extend(powered.map(|machine| format!("machine {}", machine.hardware.name)));
        }
        let more = volumes(&self.lab).into_iter().filter(|volume| !self.before.volumes.contains(volume));
        found.extend(more.map(|volume| format!("volume {volume}")));
        if self.secrets().exists() {
            found.push("the secrets bundle".into());
        }
        let text = |path: &Path| std::fs::read_to_string(path).expect("the user's file");
        let name = &self.profile.name;
        if kube::kubeconfig::holds(&text(&self.kubeconfig()), name).expect("a kubeconfig") {
            found.push("a context in the kubeconfig".into());
        }
        if talos::talosconfig::holds(&text(&self.talosconfig()), name).expect("a talosconfig") {
            found.push("a context in the talosconfig".into());
        }
        found
    }

    /// Everything that happened to what is somebody else's.
    pub(crate) fn harm(&self) -> Vec<String> {
        let mut found = Vec::new();
        if stranger(&self.lab) != self.before.stranger {
            found.push("the stranger was changed, or lost its power".into());
        }
        let there = volumes(&self.lab);
        let lost = self.before.volumes.difference(&there);
        found.extend(lost.map(|volume| format!("volume {volume} was deleted")));
        let read = self.read.borrow();
        let world = self.lab.shared().lock();
        let about = world.faults.log.iter().chain(read.iter());
        let about = about.filter(|call| changes(call) && call.subject == STRANGER.to_string());
        found.extend(about.map(|call| format!("{} was asked for the stranger", call.name)));
        found.extend(world.harm());
        drop(world);
        let text = |path: &Path| std::fs::read_to_string(path).expect("the user's file");
        if !kube::kubeconfig::holds(&text(&self.kubeconfig()), "office").expect("a kubeconfig") {
            found.push("the kubeconfig lost its other context".into());
        }
        if !talos::talosconfig::holds(&text(&self.talosconfig()), "office").expect("a talosconfig") {
            found.push("the talosconfig lost its other context".into());
        }
        found
    }

    /// What is left of ours and what was harmed of others: nothing of either is what every end must show.
    pub(crate) fn blemishes(&self) -> Vec<String> {
        [self.remains(), self.harm()].concat()
    }

    /// Every health gate, looked at once more from outside; machines, marks, files as they should be.
    pub(crate) async fn ills(&self, plan: &Plan) -> Vec<String> {
        let mut found = self.harm();
        found.extend(self.second_bootstrap());
        let (world, theirs) = {
            let world = self.lab.shared().lock();
            (world.summary(), world.faults.foreign.len())
        };
        let machines = plan.machines().count();
        if world.guests.len() != machines + self.before.guests.len() + theirs {
            let names: Vec<_> = world.guests.iter().map(|guest| &guest.name).collect();
            found.push(format!("{machines} machines are planned, and the guests are {names:?}"));
        }
        let text = |path: &Path| std::fs::read_to_string(path).expect("the user's file");
        let name = &self.profile.name;
        if !kube::kubeconfig::holds(&text(&self.kubeconfig()), name).expect("a kubeconfig") {
            found.push("the kubeconfig has no context".into());
        }
        if !talos::talosconfig::holds(&text(&self.talosconfig()), name).expect("a talosconfig") {
            found.push("the talosconfig has no context".into());
        }
        found.extend(self.gates(plan).await);
        found
    }

    async fn gates(&self, plan: &Plan) -> Vec<String> {
        let tools = self.tools(plan);
        let check = plan.steps().find_map(|step| match step {
            Step::CheckHealth(check) => Some(check),
            _ => None,
        });
        let check = check.expect("a plan checks the health");
        let state = Journal::read(&self.state_dir(), &plan.mark.cluster).expect("readable").expect("a journal").0;
        let address = |name: &String| state.inventory.address(name).expect("an address");
        let addresses: Vec<_> =
            check.machines.iter().map(|(name, role)| (name.clone(), *role, address(name))).collect();
        let credentials = tools.vault.credentials(&check.cluster).await.expect("credentials");
        let first = Talos::secured(&tools.reach, addresses[0].2, credentials).await.expect("a connection");
        let kubeconfig = first.kubeconfig().await.expect("a kubeconfig");
        let kube = Api::from_kubeconfig(&kubeconfig, &tools.reach).expect("a client");
        let looker = Looker { check, addresses, reach: tools.reach, credentials, kube: Some(kube) };
        let mut wrong = Vec::new();
        for gate in check.gates() {
            if let Err(reason) = looker.look(gate).await {
                wrong.push(format!("{}: {reason}", gate.name()));
            }
        }
        wrong
    }
}

/// Counts records, and ticks if asked to, and says when it is enough.
struct Stop {
    left: Cell<usize>,
    ticks: bool,
    waker: RefCell<Option<std::task::Waker>>,
}

impl Stop {
    fn after(count: usize, ticks: bool) -> Self {
        Self { left: Cell::new(count), ticks, waker: RefCell::default() }
    }

    fn hear(&self, event: &Event) {
        if self.ticks || matches!(event, Event::Record(_)) {
            self.left.set(self.left.get().saturating_sub(1));
            if let (0, Some(waker)) = (self.left.get(), self.waker.borrow_mut().take()) {
                waker.wake();
            }
        }
    }

    /// Looked at before the engine goes on, since the engine yields after each record.
    fn reached(&self) -> impl Future<Output = ()> {
        std::future::poll_fn(|cx| {
            if self.left.get() == 0 {
                return std::task::Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            std::task::Poll::Pending
        })
    }
}

/// Whether a call asks for a change of anything.
pub(crate) fn changes(call: &Call) -> bool {
    match call.face {
        Face::Pve | Face::Factory => !call.name.starts_with("GET ") && !call.name.starts_with("HEAD "),
        Face::Talos => ["Bootstrap", "ApplyConfiguration", "Reboot", "Reset", "Shutdown", "Upgrade"]
            .iter()
            .any(|method| call.name.ends_with(method)),
        Face::Kube => false,
    }
}

/// A site that has what `profile` names, on the instant clock.
fn dressed(profile: &Profile) -> Site {
    let default = Site::default();
    let mut names: Vec<String> = profile.machines.iter().filter_map(|machine| machine.node.clone()).collect();
    names.sort();
    names.dedup();
    let node = |name| Node { name, ..default.nodes[0].clone() };
    let mut storages = default.storages.clone();
    let disk = &profile.proxmox.disk_storage;
    if disk.contains("zfs") {
        let mut pool = storages.remove("local-lvm").expect("a default");
        pool.kind = "zfspool".into();
        storages.insert(disk.clone(), pool);
    }
    let mut reserved: Vec<_> = profile.machines.iter().map(|machine| machine.ip).collect();
    reserved.extend(profile.talos.vip);
    reserved.push(profile.network.gateway);
    Site {
        nodes: if names.is_empty() { default.nodes.clone() } else { names.into_iter().map(node).collect() },
        storages,
        bridges: vec![Bridge { name: profile.proxmox.bridge.clone(), ..default.bridges[0].clone() }],
        network: Network {
            cidr: profile.network.cidr,
            vlan: profile.proxmox.vlan,
            reserved,
            ..default.network.clone()
        },
        clock: Clock::Instant,
        ..default
    }
}

fn volumes(lab: &Lab) -> BTreeSet<String> {
    let world = lab.shared().lock();
    let name = |volume: &pvetalos::lab::world::Volume| {
        format!("{}{}", volume.node.as_deref().map_or_else(String::new, |node| format!("{node}/")), volume.volid)
    };
    world.summary().volumes.iter().map(name).collect()
}

fn stranger(lab: &Lab) -> (String, bool) {
    let world = lab.shared().lock();
    let digest = world.pve.vms.get(&STRANGER).map_or_else(|| "gone".into(), pvetalos::lab::pve::Vm::digest);
    (digest, world.fleet.is_powered(STRANGER))
}

/// Opens the journal of `cluster` after whoever had it has let it go.
///
/// The lock goes with the last descriptor, and a child that another test starts at this moment has a copy of it until
/// it becomes another program.
pub(crate) fn reopen(state_dir: &Path, cluster: &str) -> Result<Option<(Journal, Plan)>, JournalError> {
    let begun = Instant::now();
    loop {
        match Journal::open(state_dir, cluster) {
            Err(JournalError::Locked { .. }) if begun.elapsed() < Duration::from_secs(20) => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

/// A faulty scenario per line.
pub(crate) fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} scenarios went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The counts of a test, for the log of a test run. Not by `eprintln!`: what that writes is only shown when the test
/// fails.
pub(crate) fn report(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").expect("standard error is open");
}
