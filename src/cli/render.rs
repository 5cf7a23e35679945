//! `pvetalos render`: what the machines of a profile would be given, as files.
//!
//! Needs no site and no network. MACs are those of the journal where the cluster exists, else the profile's, else a
//! placeholder that says so. Secrets come from where the profile keeps them, else from a bundle that is thrown away;
//! they are shown only when asked for. With `--diff` it reads what is there, a directory's files or what the machines
//! run with, and prints what would change.

mod changes;
mod running;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::connect::{bundle_file, patches, vault};
use super::failure::{Code, Failure};
use super::profile::chosen;
use super::{Global, print, say};
use crate::engine::Journal;
use crate::factory::Schematic;
use crate::inventory::{Inventory, Mac, Role};
use crate::machineconfig::{Bundle, Contract, Documents, redact, talosconfig};
use crate::plan::{configs, render};
use crate::profile::{Profile, SchematicRef};
use crate::secrets::Provider;
use crate::secrets::file::write_private;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Name of a profile in ./profiles or the config directory, or a path
    #[arg(long, short, value_name = "NAME")]
    profile: String,
    /// Directory to write NAME.yaml of every machine, talosconfig and schematic.yaml to; - is stdout
    #[arg(long, value_name = "DIR", default_value = "-")]
    out: PathBuf,
    /// Make the configurations for this contract instead of the profile's
    #[arg(long, value_name = "1.N")]
    contract: Option<String>,
    /// Write keys and tokens too, instead of ******
    #[arg(long)]
    show_secrets: bool,
    /// Show what would change, instead of writing: against the files of a directory, one running machine, or without
    /// a value all running machines of the cluster
    #[arg(long, value_name = "DIR|MACHINE", num_args = 0..=1, conflicts_with = "out")]
    #[expect(clippy::option_option, reason = "a flag with an optional value")]
    diff: Option<Option<String>>,
}

/// What `--diff` compares with.
enum Against {
    Folder(PathBuf),
    /// The machine of this name, or all.
    Running(Option<String>),
}

impl Against {
    /// A machine's name comes first: a directory of that name is `./NAME`.
    fn parse(value: Option<&str>, profile: &Profile) -> Result<Self, Failure> {
        let Some(value) = value else { return Ok(Self::Running(None)) };
        if profile.machines.iter().any(|machine| machine.name == value) {
            return Ok(Self::Running(Some(value.to_owned())));
        }
        if Path::new(value).is_dir() {
            return Ok(Self::Folder(value.into()));
        }
        let names: Vec<&str> = profile.machines.iter().map(|machine| machine.name.as_str()).collect();
        let message = format!("{value} is no directory, and no machine of {}: {}", profile.name, names.join(", "));
        Err(Failure::new(Code::Usage, message)
            .hint("write a directory to compare with: pvetalos render --out DIR")
            .hint("against the running machines, all of them: --diff with nothing behind it"))
    }
}

/// One file to be.
struct File {
    name: String,
    text: String,
    /// The configuration that `text` is, if it is one.
    documents: Option<Documents>,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let mut profile = crate::profile::load(&args.profile, &super::profile_dirs())?;
    let contract = chosen(&mut profile, args.contract.as_deref())?;
    let mut notes = profile.warnings.clone();
    let state_dir = global.state_dir()?;
    let against = args.diff.as_ref().map(|value| Against::parse(value.as_deref(), &profile)).transpose()?;
    let known = Journal::read(&state_dir, &profile.name)?;
    let on_lab = known.as_ref().is_some_and(|(_, plan)| plan.origin.lab);
    let mut inventory = known.map(|(state, _)| state.inventory).unwrap_or_default();
    // A rehearsal's bundle is for those who ask about its machines.
    let provider = match &against {
        Some(Against::Running(_)) if on_lab => bundle_file(&profile, &state_dir),
        _ => vault(&profile, &state_dir),
    };
    let ask = matches!(against, Some(Against::Running(_)));
    let bundle = bundle(&profile, &provider, &contract, args.show_secrets, ask, &mut notes).await?;
    let running = match &against {
        Some(Against::Running(only)) => {
            running::ask(global, &profile, &inventory, &bundle, on_lab, only.as_deref()).await?
        }
        _ => Vec::new(),
    };
    for asked in &running {
        inventory.machines.entry(asked.machine.clone()).or_default().macs.extend(asked.mac);
    }
    let mut files = machines(&profile, &contract, &bundle, &inventory, args.show_secrets, &mut notes)?;
    if let Some(against) = against {
        remark(&notes);
        let pairs = match &against {
            Against::Folder(folder) => beside(folder, &files)?,
            Against::Running(_) => facing(running, &files),
        };
        return changes::show(global, pairs, args.show_secrets);
    }
    files.push(access(&profile, &bundle, args.show_secrets)?);
    files.extend(schematic(&profile, &mut notes)?);
    remark(&notes);
    if args.out.as_os_str() != "-" {
        return write(global, &args.out, &files);
    }
    if global.is_json() {
        let files: serde_json::Map<String, serde_json::Value> =
            files.into_iter().map(|file| (file.name, file.text.into())).collect();
        print(&json!({ "contract": contract.to_string(), "files": files, "notes": notes }).to_string());
    } else {
        let parts: Vec<String> = files.iter().map(|file| format!("# {}\n{}", file.name, file.text)).collect();
        print(&parts.join("---\n"));
    }
    Ok(())
}

fn remark(notes: &[String]) {
    for note in notes {
        say(&format!("note: {note}"));
    }
}

/// The files of a directory, each beside what it would become.
fn beside<'a>(folder: &Path, files: &'a [File]) -> Result<Vec<changes::Pair<'a>>, Failure> {
    let mut pairs = Vec::new();
    for file in files {
        let Some(new) = &file.documents else { continue };
        let path = folder.join(&file.name);
        let from = path.display().to_string();
        let old = match std::fs::read_to_string(&path) {
            Ok(text) => Some(
                Documents::parse(&text)
                    .map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", path.display())))?,
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::new(Code::Usage, format!("cannot read {from}: {error}"))),
        };
        pairs.push(changes::Pair { name: file.name.clone(), from, old: Ok(old), new });
    }
    Ok(pairs)
}

/// What machines run with, each beside what it would be given.
fn facing(running: Vec<running::Running>, files: &[File]) -> Vec<changes::Pair<'_>> {
    let mut pairs = Vec::new();
    for asked in running {
        let file = files.iter().find(|file| file.name == format!("{}.yaml", asked.machine));
        let Some(new) = file.and_then(|file| file.documents.as_ref()) else { continue };
        let from = format!("{} (running at {})", asked.machine, asked.address);
        pairs.push(changes::Pair { name: asked.machine, from, old: asked.config.map(Some), new });
    }
    pairs
}

/// The cluster's bundle; a passing one when there is none yet, or when it cannot be read and is neither to be shown nor
/// to `ask` machines with.
async fn bundle(
    profile: &Profile,
    provider: &Provider,
    contract: &Contract,
    show: bool,
    ask: bool,
    notes: &mut Vec<String>,
) -> Result<Bundle, Failure> {
    let kept = async {
        if !provider.exists().await.map_err(|error| super::failure::chain(&error))? {
            return Ok(None);
        }
        let text = provider.read().await.map_err(|error| super::failure::chain(&error))?;
        Bundle::parse(text.expose()).map(Some).map_err(|error| super::failure::chain(&error))
    };
    let reference = provider.reference();
    match kept.await {
        Ok(Some(bundle)) => return Ok(bundle),
        Ok(None) if ask => {
            let message = format!("no cluster {} is known here: there is no secrets bundle in {reference}", profile.name);
            return Err(Failure::new(Code::Refused, message)
                .hint(format!("make it: pvetalos create --profile {}", profile.name)));
        }
        Ok(None) => notes.push(format!(
            "there is no secrets bundle in {reference} yet: keys and certificates here are made up, and kept nowhere"
        )),
        Err(why) if show || ask => {
            return Err(Failure::new(Code::Refused, format!("cannot read the secrets bundle in {reference}: {why}")));
        }
        Err(why) => notes.push(format!(
            "the secrets bundle in {reference} cannot be read ({why}): keys and certificates here are made up, and kept \
             nowhere"
        )),
    }
    let contract = *contract;
    // The real thing costs a second of RSA, which nobody sees behind asterisks.
    let made = tokio::task::spawn_blocking(move || if show { Bundle::generate(&contract) } else { Bundle::sketch() });
    made.await.expect("key generation does not panic").map_err(|error| Failure::of(Code::Defect, &error))
}

fn machines(
    profile: &Profile,
    contract: &Contract,
    bundle: &Bundle,
    inventory: &Inventory,
    show: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<File>, Failure> {
    let patches = patches(profile)?;
    let specs = configs(profile, contract).map_err(|problem| Failure::new(Code::Usage, problem.to_string()))?;
    let mut files = Vec::new();
    let mut unknown = Vec::new();
    for (at, (spec, machine)) in specs.iter().zip(&profile.machines).enumerate() {
        let known = inventory.machines.get(&machine.name).and_then(|machine| machine.macs.first().copied());
        let mac = known.or(machine.mac).unwrap_or_else(|| {
            let number = u16::try_from(at + 1).unwrap_or(u16::MAX).to_be_bytes();
            unknown.push(machine.name.as_str());
            // Locally administered, so it is nobody's card; the zeros catch the eye.
            Mac([0x02, 0, 0, 0, number[0], number[1]])
        });
        let own = patches.get(&machine.name).map(Vec::as_slice).unwrap_or_default();
        let rendered = render(spec, bundle, mac, own).map_err(|error| {
            let failure = Failure::of(Code::Usage, &error);
            failure
                .hint(format!("more about it: pvetalos profile check --profile {} --contract {contract}", profile.name))
        })?;
        notes.extend(rendered.warnings.iter().map(|warning| format!("{}: {warning}", machine.name)));
        let text = if show { rendered.yaml.expose().to_owned() } else { redact::redacted(&rendered.documents) };
        files.push(File { name: format!("{}.yaml", machine.name), text, documents: Some(rendered.documents) });
    }
    if !unknown.is_empty() {
        notes.push(format!(
            "Proxmox chooses the MAC of {} at creation: 02:00:00:00:… stands for it here",
            unknown.join(", ")
        ));
    }
    Ok(files)
}

/// A talosconfig for the machines' own addresses: the VIP is no endpoint of the Talos API.
fn access(profile: &Profile, bundle: &Bundle, show: bool) -> Result<File, Failure> {
    let addresses = |role: Option<Role>| -> Vec<String> {
        let of_role = profile.machines.iter().filter(|machine| role.is_none_or(|role| machine.role == role));
        of_role.map(|machine| machine.ip.to_string()).collect()
    };
    let admin = talosconfig::admin(bundle, &profile.name, addresses(Some(Role::ControlPlane)), addresses(None));
    let text = admin.map_err(|error| Failure::of(Code::Defect, &error))?.to_yaml();
    let text = if show {
        text.expose().to_owned()
    } else {
        redact::redacted_text(text.expose()).map_err(|error| Failure::of(Code::Defect, &error))?
    };
    Ok(File { name: "talosconfig".to_owned(), text, documents: None })
}

/// The schematic's canonical bytes, which its id is the hash of.
fn schematic(profile: &Profile, notes: &mut Vec<String>) -> Result<Option<File>, Failure> {
    let schematic = match &profile.talos.factory.schematic {
        SchematicRef::Id(id) => {
            notes.push(format!("the profile names the schematic {id} by its id only, so its text is not known"));
            return Ok(None);
        }
        SchematicRef::File { text, .. } => Schematic::parse(text).map_err(|error| Failure::of(Code::Usage, &error))?,
        SchematicRef::Inline { kernel_args, extensions } => Schematic::new(kernel_args.clone(), extensions.clone()),
    };
    let text = schematic.canonical().map_err(|error| Failure::of(Code::Usage, &error))?;
    Ok(Some(File { name: "schematic.yaml".to_owned(), text, documents: None }))
}

fn write(global: &Global, folder: &Path, files: &[File]) -> Result<(), Failure> {
    let mut written = Vec::new();
    for file in files {
        let path = folder.join(&file.name);
        write_private(&path, file.text.as_bytes())
            .map_err(|error| Failure::new(Code::Usage, format!("cannot write {}: {error}", path.display())))?;
        written.push(path.display().to_string());
    }
    if global.is_json() {
        print(&json!({ "written": written }).to_string());
    } else {
        print(&written.join("\n"));
    }
    Ok(())
}
