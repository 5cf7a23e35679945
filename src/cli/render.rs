//! `pvetalos render`: what the machines of a profile would be given, as files.
//!
//! Needs no site and no network. MACs are those of the journal where the cluster exists, else the profile's, else a
//! placeholder that says so. Secrets come from where the profile keeps them, else from a bundle that is thrown away;
//! they are shown only when asked for.

mod changes;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::connect::{patches, vault};
use super::failure::{Code, Failure};
use super::profile::chosen;
use super::{Global, print, say};
use crate::engine::Journal;
use crate::factory::Schematic;
use crate::inventory::{Inventory, Mac, Role};
use crate::machineconfig::{Bundle, Contract, Documents, redact, talosconfig};
use crate::plan::{configs, render};
use crate::profile::{Profile, SchematicRef};
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
    /// Show what changed against the files of a directory, instead of writing
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    diff: Option<PathBuf>,
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
    let inventory = Journal::read(&state_dir, &profile.name)?.map(|(state, _)| state.inventory).unwrap_or_default();
    let bundle = bundle(&profile, &contract, &state_dir, args.show_secrets, &mut notes).await?;
    let mut files = machines(&profile, &contract, &bundle, &inventory, args.show_secrets, &mut notes)?;
    if let Some(folder) = &args.diff {
        remark(&notes);
        return changes::show(global, folder, &files, args.show_secrets);
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

/// The cluster's bundle; a passing one when there is none yet, or when it cannot be read and is not to be shown.
async fn bundle(
    profile: &Profile,
    contract: &Contract,
    state_dir: &Path,
    show: bool,
    notes: &mut Vec<String>,
) -> Result<Bundle, Failure> {
    let provider = vault(profile, state_dir);
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
        Ok(None) => notes.push(format!(
            "there is no secrets bundle in {reference} yet: keys and certificates here are made up, and kept nowhere"
        )),
        Err(why) if show => {
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
