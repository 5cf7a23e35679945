//! `pvetalos doctor`: everything that can be known before a VM exists. Reads only.

use super::connect::{Connection, Files, Target};
use super::failure::Failure;
use super::lab::WhenAbsent;
use super::plan::drafted;
use super::{Global, print};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let profile = args.target.load()?;
    let connection = Connection::open(global, &profile, args.target.lab, WhenAbsent::Embed).await?;
    let version = connection.pve.version().release.clone();
    // The draft refuses with everything that is wrong; what it accepts can be created.
    let (plan, _) = drafted(global, &profile, &connection, &Files::default()).await?;
    if global.is_json() {
        print(
            &serde_json::json!({ "profile": profile.name, "pve": version, "ready": true, "notes": plan.outline.notes })
                .to_string(),
        );
        return Ok(());
    }
    print(&format!("Proxmox VE {version}: everything that profile {} needs is there", profile.name));
    for note in plan.outline.notes {
        print(&format!("  note: {note}"));
    }
    Ok(())
}
