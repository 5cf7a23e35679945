//! `pvetalos token`: put the Proxmox API token where the profile looks for it, and try it.

use std::io::{IsTerminal, Read};

use super::connect::{Connection, provider, token};
use super::failure::{Code, Failure};
use super::lab::WhenAbsent;
use super::{Global, print, say};
use crate::secrets::{Provider, Secret, Token};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Keep a token where the profile says (or in the OS keyring, under --entry)
    Set {
        /// The profile whose proxmox.token says where it is kept
        #[arg(long, short, value_name = "NAME", required_unless_present = "entry")]
        profile: Option<String>,
        /// Entry of the OS keyring, without a profile
        #[arg(long, conflicts_with = "profile")]
        entry: Option<String>,
    },
    /// Read the token, connect with it, and show what it may do
    Check {
        #[arg(long, short, value_name = "NAME")]
        profile: String,
    },
}

pub(super) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Set { profile, entry } => set(global, profile, entry).await,
        Command::Check { profile } => check(global, &profile).await,
    }
}

async fn set(global: &Global, profile: Option<String>, entry: Option<String>) -> Result<(), Failure> {
    let place = match (profile, entry) {
        (Some(name), _) => {
            let profile = crate::profile::load(&name, &super::profile_dirs())?;
            let reference = profile.proxmox.token.as_ref();
            provider(reference.ok_or_else(|| Failure::new(Code::Usage, "the profile names no token (proxmox.token)"))?)
        }
        (None, Some(entry)) => Provider::Keyring { entry },
        (None, None) => return Err(Failure::new(Code::Usage, "--profile or --entry is needed")),
    };
    let text = Secret::new(ask()?);
    let token = Token::parse(&text).map_err(|error| Failure::of(Code::Usage, &error))?;
    // First line the id, last line the secret: the form that `pass` users keep, whatever form was typed.
    let kept = Secret::new(format!("{}\n{}\n", token.id, token.secret.expose()));
    place.write(&kept).await.map_err(|error| Failure::of(Code::Refused, &error))?;
    if global.is_json() {
        print(&serde_json::json!({ "token": token.id, "kept": place.reference() }).to_string());
    } else {
        say(&format!("the token {} is kept in {}", token.id, place.reference()));
    }
    Ok(())
}

/// From the terminal without echo, or from a pipe: a token never stands on a command line.
fn ask() -> Result<String, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(Code::Usage, error);
    if !std::io::stdin().is_terminal() {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| failed(&error))?;
        return Ok(text);
    }
    let id: String = dialoguer::Input::new()
        .with_prompt("Token id (USER@REALM!NAME)")
        .interact_text()
        .map_err(|error| failed(&error))?;
    let secret = dialoguer::Password::new().with_prompt("Secret").interact().map_err(|error| failed(&error))?;
    Ok(format!("{id}\n{secret}"))
}

async fn check(global: &Global, name: &str) -> Result<(), Failure> {
    let profile = crate::profile::load(name, &super::profile_dirs())?;
    let on_lab = profile.proxmox.endpoints == crate::profile::Endpoints::Lab;
    let id = if on_lab { String::from("the lab's own token") } else { token(&profile).await?.id };
    let connection = Connection::open(global, &profile, false, WhenAbsent::Embed).await?;
    let version = connection.pve.version();
    let mut privileges = Vec::new();
    for path in crate::plan::paths(&profile) {
        let have = connection.pve.permissions(Some(&path)).await?.remove(&path).unwrap_or_default();
        privileges.push((path, have));
    }
    if global.is_json() {
        let privileges: serde_json::Map<String, serde_json::Value> =
            privileges.into_iter().map(|(path, have)| (path, serde_json::json!(have))).collect();
        print(&serde_json::json!({ "token": id, "pve": version.release, "privileges": privileges }).to_string());
        return Ok(());
    }
    print(&format!("{id} works on Proxmox VE {}", version.release));
    for (path, have) in privileges {
        let list: Vec<String> = have.into_iter().collect();
        print(&format!("  {path}: {}", if list.is_empty() { String::from("nothing") } else { list.join(" ") }));
    }
    Ok(())
}
