//! `pvetalos create`: the whole story, top to bottom.
//!
//! A journal that is there decides what this command means: a committed one says
//! so and changes nothing, one that was being unwound is unwound to its end first
//! (a refusal would strand the nightly job that was cut off), any other is resumed.

use super::connect::{Connection, Files, Target};
use super::failure::{Code, Failure};
use super::lab::WhenAbsent;
use super::plan::{drafted, show};
use super::{Global, destroy, print, prompt, say};
use crate::engine::{End, Engine, Journal, JournalError, Leftover};
use crate::event::Event;
use crate::inventory::Inventory;
use crate::plan::{self, Plan};
use crate::profile::{Endpoints, Profile};
use crate::report::{LogWriter, Reporter, Summary};
use crate::steps::{Toolbox, check_contexts};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    files: Files,
    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
    /// Leave everything as it is when something fails, for inspection
    #[arg(long)]
    keep: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(global: &Global, args: Args, log: &LogWriter) -> Result<(), Failure> {
    let profile = args.target.load()?;
    let state_dir = global.state_dir()?;
    if args.dry_run {
        return super::plan::run(global, super::plan::Args { target: args.target }).await;
    }
    let on_lab = args.target.lab || profile.proxmox.endpoints == Endpoints::Lab;
    let open = match Journal::open(&state_dir, &profile.name)? {
        // The world of a lab ends with its process, and so does what the journal tells of it.
        Some(open) if on_lab && super::lab::is_absent(global).await => {
            super::destroy::forget(&profile, &open, &state_dir)?;
            None
        }
        Some((journal, _)) if journal.state().committed => {
            announce_running(global, &profile);
            return Ok(());
        }
        open => open,
    };
    let connection = Connection::open(global, &profile, args.target.lab, WhenAbsent::Start).await?;

    let (plan, journal, tools) = match prepare(global, &args, &profile, &connection, open, log).await {
        Ok(prepared) => prepared,
        Err(failure) => {
            connection.after_destroy(global).await;
            return Err(failure);
        }
    };

    let reporter = Reporter::new(global.style(), &remaining(&plan, &journal));
    reporter.attach(log);
    let listener = |event: &Event| reporter.hear(event);
    let engine = Engine::new(&tools, &plan, journal, &listener);
    let mut signals = Signals::new()?;
    let end = engine.run(signals.first()).await;
    let (failure, code) = match end {
        Ok(End::Committed) => {
            let inventory = engine.into_journal().state().inventory.clone();
            let timeline = reporter.finish();
            let summary = Summary::new(&profile.name, &inventory, &timeline);
            print(&if global.is_json() { summary.json() } else { summary.to_string() });
            return Ok(());
        }
        Ok(end) => {
            let message = match &end {
                End::Failed(failure) => format!("{} failed: {}", failure.step, failure.error),
                End::Committed | End::Interrupted => String::from("interrupted"),
            };
            let code = Code::of_run(&end, true);
            (Failure::new(code, message), code)
        }
        // What is not in the journal is not begun. What filled the disk may be gone by now, and then it can be undone.
        Err(error) => (Failure::of(Code::Removed, &error), Code::Removed),
    };
    if args.keep && code != Code::Interrupted {
        drop(engine);
        reporter.finish();
        return Err(Failure { code: Code::Kept, ..failure }.hint("everything was left as it is, as --keep asks").hint(
            format!("go on with the same command, or take it away: pvetalos destroy --profile {}", profile.name),
        ));
    }
    // A second signal ends the process at once; the journal makes a later `destroy` sufficient.
    let unwound = tokio::select! {
        unwound = engine.unwind() => unwound,
        () = signals.next() => {
            return Err(Failure::new(Code::Left, "interrupted twice: what was made is still there")
                .hint(format!("run: pvetalos destroy --profile {}", profile.name)));
        }
    };
    let unwound = match unwound {
        Ok(unwound) => unwound,
        Err(error) => {
            let inventory = engine.into_journal().state().inventory.clone();
            reporter.finish();
            return Err(unwritten(failure, &error, &inventory, &profile.name));
        }
    };
    let known = destroy::Known { mark: plan.mark.clone(), inventory: engine.inventory() };
    let story = conclude(engine.into_journal(), &unwound)?;
    if unsettled(&known.inventory) && story.is_some() {
        let audit =
            destroy::audit_after_flight(&profile, &connection, &state_dir, &args.files, &known, &listener).await;
        if let Some(left) = audit?.left() {
            reporter.finish();
            return Err(Failure { code: Code::Left, ..failure }.hint(left));
        }
    }
    reporter.finish();
    connection.after_destroy(global).await;
    Err(match story {
        Some(story) => failure.hint("everything that was made was removed again").hint(story),
        None => left(failure, &unwound, &profile.name),
    })
}

/// Whether a create request left whose end nobody saw: it may still be on its way through Proxmox's own queue.
fn unsettled(inventory: &Inventory) -> bool {
    inventory.machines.values().any(|machine| machine.vmid.is_none() && !machine.tried.is_empty())
}

/// What is to be run: the rest of an earlier run, or a new plan.
async fn prepare(
    global: &Global,
    args: &Args,
    profile: &Profile,
    connection: &Connection,
    open: Option<(Journal, Plan)>,
    log: &LogWriter,
) -> Result<(Plan, Journal, Toolbox), Failure> {
    let Some((journal, plan)) = open else { return begin(global, args, profile, connection).await };
    let state_dir = global.state_dir()?;
    if journal.state().unwinding() {
        say(&format!("an earlier run of {} was being taken away; finishing that first", profile.name));
        let tools = connection.toolbox(profile, plan.mark.clone(), &state_dir, &args.files);
        finish_unwinding(global, &plan, journal, &tools, log).await?;
        return begin(global, args, profile, connection).await;
    }
    unchanged(&plan, profile)?;
    let tools = connection.full_toolbox(profile, plan.mark.clone(), &state_dir, &args.files)?;
    say(&format!("resuming an earlier run of {}", profile.name));
    Ok((plan, journal, tools))
}

/// Surveys, drafts, tries the configurations out, shows, asks, and opens the journal.
async fn begin(
    global: &Global,
    args: &Args,
    profile: &Profile,
    connection: &Connection,
) -> Result<(Plan, Journal, Toolbox), Failure> {
    let state_dir = global.state_dir()?;
    let (plan, tools) = drafted(global, profile, connection, &args.files).await?;
    check_contexts(tools.kubeconfig.as_deref(), tools.talosconfig.as_deref())
        .map_err(|error| Failure::of(Code::Refused, &error).hint("see --kubeconfig and --talosconfig"))?;
    if !args.yes {
        if !global.is_json() {
            say(&show(&plan));
        }
        if !prompt::confirm(&format!("Create cluster {}?", profile.name), true)? {
            return Err(Failure::new(Code::Refused, "not confirmed: nothing was created"));
        }
    }
    let journal = Journal::create(&state_dir, &plan)?;
    Ok((plan, journal, tools))
}

fn announce_running(global: &Global, profile: &Profile) {
    if global.is_json() {
        print(&serde_json::json!({ "cluster": profile.name, "state": "running", "changed": false }).to_string());
    } else {
        say(&format!("cluster {} is running; nothing was changed", profile.name));
        say(&format!("  its health: pvetalos status --profile {}", profile.name));
    }
}

/// A run is resumed only with the profile that it was drafted from: the plan pins everything.
fn unchanged(plan: &Plan, profile: &Profile) -> Result<(), Failure> {
    if plan.profile == plan::fingerprint(profile) {
        return Ok(());
    }
    let message = format!("profile {} was changed since the run that would be resumed", profile.name);
    Err(Failure::new(Code::Refused, message)
        .hint("undo the change")
        .hint(format!("or take away what that run made: pvetalos destroy --profile {}", profile.name)))
}

async fn finish_unwinding(
    global: &Global,
    plan: &Plan,
    journal: Journal,
    tools: &Toolbox,
    log: &LogWriter,
) -> Result<(), Failure> {
    let reporter = Reporter::new(global.style(), &plan.step_ids());
    reporter.attach(log);
    let listener = |event: &Event| reporter.hear(event);
    let engine = Engine::new(tools, plan, journal, &listener);
    let leftovers = match engine.unwind().await {
        Ok(leftovers) => leftovers,
        Err(error) => {
            let inventory = engine.into_journal().state().inventory.clone();
            reporter.finish();
            let failure = Failure::new(Code::Left, "the earlier run could not be taken away");
            return Err(unwritten(failure, &error, &inventory, &plan.mark.cluster));
        }
    };
    let story = conclude(engine.into_journal(), &leftovers)?;
    reporter.finish();
    if story.is_some() {
        return Ok(());
    }
    let failure = Failure::new(Code::Left, "the earlier run could not be taken away");
    Err(left(failure, &leftovers, &plan.mark.cluster))
}

/// Closes the journal if nothing is left, and says where the story is kept.
pub(super) fn conclude(journal: Journal, leftovers: &[Leftover]) -> Result<Option<String>, Failure> {
    if !leftovers.is_empty() {
        return Ok(None);
    }
    let path = journal.close().map_err(|error| Failure::of(Code::Left, &error))?;
    Ok(Some(format!("what was done, line by line: {}", path.display())))
}

/// Names what is left because the journal cannot be written, and nothing is taken away that is not in it.
pub(super) fn unwritten(failure: Failure, error: &JournalError, inventory: &Inventory, cluster: &str) -> Failure {
    let failure = Failure::of(Code::Left, error).hint(failure.message);
    let named = inventory.machines.iter().fold(failure, |failure, (name, machine)| {
        machine.tried.iter().fold(failure, |failure, (node, vmid)| {
            failure.hint(format!("left: VM {vmid} on node {node}, if it is {name}"))
        })
    });
    named.hint(format!("see to it that the journal can be written, then: pvetalos destroy --profile {cluster}"))
}

/// Names what is left.
pub(super) fn left(failure: Failure, leftovers: &[Leftover], cluster: &str) -> Failure {
    let named = leftovers.iter().fold(Failure { code: Code::Left, ..failure }, |failure, leftover| {
        failure.hint(format!("left: {}: {}", leftover.step, leftover.error))
    });
    named.hint(format!("try again with: pvetalos destroy --profile {cluster}"))
}

fn remaining(plan: &Plan, journal: &Journal) -> Vec<crate::event::StepId> {
    let finished = |step: &&crate::steps::Step| {
        let last = journal.state().last(&step.id());
        !matches!(last, Some(crate::engine::Last::Finished)) || step.observes()
    };
    plan.steps().filter(finished).map(crate::steps::Step::id).collect()
}

/// Ctrl-C, SIGTERM and SIGHUP, which all mean the same here.
pub(super) struct Signals {
    kinds: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| Failure::of(Code::Defect, &error));
        let kinds = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        Ok(Self { kinds })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.kinds;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// The first signal, with a word about what it does.
    async fn first(&mut self) {
        self.next().await;
        say("interrupted: taking away what was made (once more to leave it)");
    }
}
