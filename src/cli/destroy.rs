//! `pvetalos destroy`: takes a cluster away and proves that nothing is left.
//!
//! With a journal, every step that ever started is undone. Then, and also when the
//! journal is lost, the site itself is asked: whatever carries the cluster's mark
//! and proves it is destroyed; whatever only claims it is named and left alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::connect::{Connection, Files, Target};
use super::create::{Signals, conclude, left, unwritten};
use super::failure::{Code, Failure};
use super::lab::WhenAbsent;
use super::{Global, print, prompt, say};
use crate::engine::{Engine, Journal};
use crate::event::{Event, StepId};
use crate::inventory::Inventory;
use crate::plan::Plan;
use crate::profile::Profile;
use crate::report::{LogWriter, Reporter};
use crate::steps::mark::{Claim, Mark};
use crate::steps::{Context, destroy_marked, remove_image};
use crate::wait::{self, Pace, Probe};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The cluster's profile [default: the one cluster that the local state knows]
    #[arg(long, short, value_name = "NAME")]
    profile: Option<String>,
    /// The cluster is on the simulated site although its profile names a real one
    #[arg(long)]
    lab: bool,
    #[command(flatten)]
    files: Files,
    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(global: &Global, args: Args, log: &LogWriter) -> Result<(), Failure> {
    let state_dir = global.state_dir()?;
    let target = target(args.profile, args.lab, &state_dir)?;
    let profile = target.load()?;
    let name = profile.name.clone();
    if !args.yes && !prompt::confirm_by_name(&name, &format!("This destroys cluster {name} and all its data"))? {
        return Err(Failure::new(Code::Refused, "not confirmed: nothing was changed"));
    }
    let open = Journal::open(&state_dir, &name)?;
    let when_absent = if open.is_some() { WhenAbsent::Fail } else { WhenAbsent::Embed };
    if let Some(open) = &open
        && lost_lab(global, &profile, &target).await
    {
        forget(&profile, open, &state_dir)?;
        if global.is_json() {
            print(&serde_json::json!({ "cluster": name, "state": "destroyed" }).to_string());
        }
        return Ok(());
    }
    let connection = Connection::open(global, &profile, target.lab, when_absent).await?;
    let mut signals = Signals::new()?;
    let work = take_away(global, &profile, &connection, open, &args.files, log);
    tokio::select! {
        done = work => done?,
        () = signals.next() => {
            return Err(Failure::new(Code::Left, "interrupted: the cluster is partly taken away")
                .hint(format!("run it again: pvetalos destroy --profile {name}")));
        }
    }
    connection.after_destroy(global).await;
    Ok(())
}

/// The profile that was named, or that of the only cluster there is.
fn target(profile: Option<String>, lab: bool, state_dir: &Path) -> Result<Target, Failure> {
    if let Some(profile) = profile {
        // The journal remembers that a cluster was put onto the lab.
        let stem = Path::new(&profile).file_stem().map_or(profile.clone(), |stem| stem.to_string_lossy().into_owned());
        let on_lab = Journal::read(state_dir, &stem)?.is_some_and(|(_, plan)| plan.origin.lab);
        return Ok(Target { profile, lab: lab || on_lab });
    }
    super::status::only_cluster(state_dir)
}

async fn take_away(
    global: &Global,
    profile: &Profile,
    connection: &Connection,
    open: Option<(Journal, Plan)>,
    files: &Files,
    log: &LogWriter,
) -> Result<(), Failure> {
    let state_dir = global.state_dir()?;
    let name = &profile.name;
    let steps = open.as_ref().map_or_else(Vec::new, |(_, plan)| plan.step_ids());
    let reporter = Reporter::new(global.style(), &steps);
    reporter.attach(log);
    let listener = |event: &Event| reporter.hear(event);
    let mut story = None;
    let mut known = None;
    if let Some((journal, plan)) = open {
        let tools = connection.toolbox(profile, plan.mark.clone(), &state_dir, files);
        let engine = Engine::new(&tools, &plan, journal, &listener);
        let leftovers = match engine.unwind().await {
            Ok(leftovers) => leftovers,
            Err(error) => {
                let inventory = engine.into_journal().state().inventory.clone();
                reporter.finish();
                let failure = Failure::new(Code::Left, format!("cluster {name} is not gone"));
                return Err(unwritten(failure, &error, &inventory, name));
            }
        };
        if !leftovers.is_empty() {
            reporter.finish();
            return Err(left(Failure::new(Code::Left, format!("cluster {name} is not gone")), &leftovers, name));
        }
        known = Some(Known { mark: plan.mark.clone(), inventory: engine.inventory() });
        story = conclude(engine.into_journal(), &leftovers)?;
    }
    let audit = sweep_marks(profile, connection, &state_dir, files, known.as_ref(), &listener).await;
    reporter.finish();
    // What the journal knew is gone, and nobody has seen yet that nothing else is there: that is no refusal.
    let audit = audit.map_err(|failure| match story {
        Some(_) => Failure { code: Code::Left, ..failure }
            .hint("everything that the journal knew of was removed; the site could not be asked for more")
            .hint(format!("ask again with: pvetalos destroy --profile {name}")),
        None => failure,
    })?;
    if story.is_none() {
        remove_access(profile, connection, &state_dir, files)?;
    }
    if !audit.failed.is_empty() {
        let failure = Failure::new(Code::Left, format!("cluster {name} is not gone"));
        return Err(audit.failed.into_iter().fold(failure, |failure, text| failure.hint(format!("left: {text}"))));
    }
    if global.is_json() {
        print(
            &serde_json::json!({
                "cluster": name, "state": "destroyed", "by_mark": audit.destroyed, "left_alone": audit.left_alone,
            })
            .to_string(),
        );
        return Ok(());
    }
    for text in &audit.left_alone {
        say(&format!("left alone: {text}"));
    }
    for text in &audit.destroyed {
        say(&format!("found by its mark and destroyed: {text}"));
    }
    say(&format!("cluster {name} is gone: no VM on the site carries its mark"));
    if let Some(story) = story {
        say(&format!("  {story}"));
    }
    Ok(())
}

/// What the site itself had to say.
#[derive(Default)]
pub(super) struct Audit {
    destroyed: Vec<String>,
    /// Claims to be ours and cannot prove it.
    left_alone: Vec<String>,
    failed: Vec<String>,
}

impl Audit {
    /// Everything that is left, in one text; `None` when nothing is.
    pub(super) fn left(&self) -> Option<String> {
        (!self.failed.is_empty()).then(|| format!("left: {}", self.failed.join("; ")))
    }
}

/// What the journal knew of a run that was taken away.
pub(super) struct Known {
    pub mark: Mark,
    pub inventory: Inventory,
}

impl Known {
    /// Whether the run ever asked for `vmid` for this machine. It noted each number before it asked.
    fn asked_for(&self, machine: &str, vmid: u32) -> bool {
        let tried = self.inventory.machines.get(machine).map(|machine| machine.tried.as_slice()).unwrap_or_default();
        tried.iter().any(|(_, tried)| *tried == vmid)
    }
}

/// [`sweep_marks`] for requests that were dropped while they were under way.
///
/// Dropping a connection takes nothing back: a request that waits in Proxmox's accept queue is carried out later, when
/// undo has looked and found nothing. A queue behind three workers is short, so a few seconds' looking settles it.
pub(super) async fn audit_after_flight(
    profile: &Profile,
    connection: &Connection,
    state_dir: &Path,
    files: &Files,
    known: &Known,
    listener: &dyn Fn(&Event),
) -> Result<Audit, Failure> {
    let looks = std::cell::Cell::new(0);
    let what = "requests that were under way to have settled";
    let pace = Pace { first: Duration::from_millis(700), max: Duration::from_secs(1) };
    let waited = wait::until(
        what,
        pace,
        Duration::from_secs(10),
        |_| {},
        async || {
            looks.set(looks.get() + 1);
            match sweep_marks(profile, connection, state_dir, files, Some(known), listener).await {
                Ok(audit) if looks.get() < 4 && audit.failed.is_empty() => {
                    Probe::NotYet(String::from("too early to tell"))
                }
                Ok(audit) => Probe::Ready(audit),
                Err(failure) => Probe::Never(std::io::Error::other(failure.message)),
            }
        },
    );
    waited.await.map_err(|error| Failure::of(Code::Left, &error))
}

/// Asks the site for everything with the cluster's tag, destroys what proves to be ours, and asks again.
async fn sweep_marks(
    profile: &Profile,
    connection: &Connection,
    state_dir: &Path,
    files: &Files,
    known: Option<&Known>,
    listener: &dyn Fn(&Event),
) -> Result<Audit, Failure> {
    let mut audit = Audit::default();
    let mut images = BTreeMap::new();
    for (vmid, claim, node) in claims(profile, connection, known, &mut audit).await? {
        let what = format!("VM {vmid} {} on node {node}", claim.machine);
        let tools = connection.toolbox(profile, claim.mark.clone(), state_dir, files);
        let inventory = Inventory::default();
        let tick = |tick| listener(&Event::Tick(tick));
        let context = Context {
            tools: &tools,
            inventory: &inventory,
            step: StepId::of("destroy_vm", &claim.machine),
            tick: &tick,
            durable: &|_| Ok(()),
        };
        match destroy_marked(&context, &claim.machine, &node, vmid).await {
            Ok(()) => {
                audit.destroyed.push(what);
                images.extend(claim.image.map(|volid| ((node, volid), claim.mark)));
            }
            Err(error) => audit.failed.push(format!("{what}: {error}")),
        }
    }
    for ((node, volid), mark) in images {
        let tools = connection.toolbox(profile, mark, state_dir, files);
        let inventory = Inventory::default();
        let tick = |tick| listener(&Event::Tick(tick));
        let step = StepId::of("delete_image", &node);
        let context = Context { tools: &tools, inventory: &inventory, step, tick: &tick, durable: &|_| Ok(()) };
        // What cannot be deleted is an image, and no part of the cluster: it is named, and that is all.
        if let Err(error) = remove_image(&context, &node, &volid).await {
            audit.left_alone.push(format!("{volid} on node {node}: {error}"));
        }
    }
    // The proof: asked once more, the site shows none.
    let mut again = Audit::default();
    for (vmid, claim, node) in claims(profile, connection, known, &mut again).await? {
        let what = format!("VM {vmid} {} on node {node} is still there", claim.machine);
        if !audit.failed.iter().any(|known| known.contains(&format!("VM {vmid} "))) {
            audit.failed.push(what);
        }
    }
    Ok(audit)
}

async fn claims(
    profile: &Profile,
    connection: &Connection,
    known: Option<&Known>,
    audit: &mut Audit,
) -> Result<Vec<Proven>, Failure> {
    let tag = Mark::tag(&profile.name);
    let mut proven = Vec::new();
    for guest in connection.pve.guests().await? {
        if guest.lxc || !guest.tags.contains(&tag) {
            continue;
        }
        let name = guest.name.as_deref().unwrap_or("without a name");
        match connection.pve.config(&guest.node, guest.vmid).await {
            Ok(config) => match Claim::proven(&config) {
                Some(claim)
                    if known.is_some_and(|known| {
                        known.mark == claim.mark && !known.asked_for(&claim.machine, guest.vmid)
                    }) =>
                {
                    audit.left_alone.push(format!(
                        "VM {} {name} has the UUID of {}, for which we never asked for that number: a restored copy",
                        guest.vmid, claim.machine
                    ));
                }
                Some(claim) if claim.mark.cluster == profile.name => proven.push((guest.vmid, claim, guest.node)),
                _ => audit.left_alone.push(format!(
                    "VM {} {name} has the tag {tag}, but its UUID is not one that we gave: a clone or a copy",
                    guest.vmid
                )),
            },
            Err(error) if error.is_missing_vm() => {}
            Err(error) => audit.failed.push(format!("VM {} {name} cannot be looked at: {error}", guest.vmid)),
        }
    }
    Ok(unique(proven, audit))
}

/// A VM that proves to be ours: its number, what it says of itself, and its node.
type Proven = (u32, Claim, String);

/// Of two VMs that prove to be the same machine one is a restored copy, and without a journal nobody can say which.
fn unique(proven: Vec<Proven>, audit: &mut Audit) -> Vec<Proven> {
    let mut by_machine: BTreeMap<(uuid::Uuid, String), Vec<Proven>> = BTreeMap::new();
    for found in proven {
        by_machine.entry((found.1.mark.nonce, found.1.machine.clone())).or_default().push(found);
    }
    let mut only = Vec::new();
    for ((_, machine), mut found) in by_machine {
        if let [_] = found.as_slice() {
            only.append(&mut found);
            continue;
        }
        let vmids: Vec<String> = found.iter().map(|(vmid, ..)| vmid.to_string()).collect();
        let vmids = vmids.join(" and ");
        audit.failed.push(format!("VMs {vmids} both prove to be {machine}: destroy the copy by hand, then try again"));
    }
    only
}

/// Takes the contexts out when no journal tells where they are: from the usual files, by the cluster's name.
fn remove_access(profile: &Profile, connection: &Connection, state_dir: &Path, files: &Files) -> Result<(), Failure> {
    let tools = connection.toolbox(profile, Mark::new(&profile.name), state_dir, files);
    crate::steps::remove_contexts(&profile.name, tools.kubeconfig.as_deref(), tools.talosconfig.as_deref())
        .map_err(|error| Failure::of(Code::Left, &error))
}

/// The journal tells of a lab that is not running any more.
async fn lost_lab(global: &Global, profile: &Profile, target: &Target) -> bool {
    let on_lab = target.lab || profile.proxmox.endpoints == crate::profile::Endpoints::Lab;
    on_lab && super::lab::is_absent(global).await
}

/// Nothing is left of a lab that ended but what is in our own files.
pub(super) fn forget(profile: &Profile, open: &(Journal, Plan), state_dir: &Path) -> Result<(), Failure> {
    if let Some((_, kubeconfig, talosconfig)) = &open.0.state().inventory.access {
        crate::steps::remove_contexts(&profile.name, kubeconfig.as_deref(), talosconfig.as_deref())
            .map_err(|error| Failure::of(Code::Left, &error))?;
    }
    std::fs::remove_dir_all(Journal::directory(state_dir, &profile.name))
        .map_err(|error| Failure::of(Code::Left, &error))?;
    say(&format!("the lab that held cluster {} is not running any more, so nothing of it is left", profile.name));
    Ok(())
}
