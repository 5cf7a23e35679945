//! `pvetalos profile`: lint, and the schema for editors.

use super::failure::Failure;
use super::{Global, print, say};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Read a profile and say everything that is wrong with it
    Check {
        #[arg(long, short, value_name = "NAME")]
        profile: String,
    },
    /// Print the JSON Schema of profiles, for editors
    Schema,
}

pub(super) fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Check { profile } => {
            let profile = crate::profile::load(&profile, &super::profile_dirs())?;
            super::connect::patches(&profile)?;
            profile.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
            if global.is_json() {
                let machines: Vec<&str> = profile.machines.iter().map(|machine| machine.name.as_str()).collect();
                print(
                    &serde_json::json!({ "profile": profile.name, "machines": machines, "warnings": profile.warnings })
                        .to_string(),
                );
            } else {
                print(&format!("{} is a good profile: {} machines", profile.file.display(), profile.machines.len()));
            }
            Ok(())
        }
        Command::Schema => {
            let schema = crate::profile::schema();
            let pretty = if global.is_json() { serde_json::to_string } else { serde_json::to_string_pretty };
            print(&pretty(&schema).expect("a schema is plain data"));
            Ok(())
        }
    }
}
