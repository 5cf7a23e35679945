//! `pvetalos schematic`: what the factory would call it, without asking the factory.

use serde_json::json;

use super::failure::{Code, Failure};
use super::{Global, print};
use crate::factory::{Asset, Schematic, registry};
use crate::profile::{Profile, SchematicRef};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// The schematic's id
    Id(Args),
    /// Its canonical text, byte for byte
    Show(Args),
    /// The boot image's URL and the installer's reference
    Url(Args),
}

#[derive(clap::Args)]
pub(super) struct Args {
    /// The profile whose schematic it is
    #[arg(long, short, value_name = "NAME", required_unless_present = "file")]
    profile: Option<String>,
    /// A schematic file, for id and show
    #[arg(value_name = "FILE", conflicts_with = "profile")]
    file: Option<std::path::PathBuf>,
}

pub(super) fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let show = |json: serde_json::Value, human: &str| {
        if global.is_json() { print(&json.to_string()) } else { print(human) }
    };
    match command {
        Command::Id(args) => args.id().map(|id| show(json!({ "id": id }), &id)),
        Command::Show(args) => {
            let text = args.schematic()?.ok_or_else(|| usage("the profile names an id, not a schematic"))?.canonical();
            text.map(|text| show(json!({ "schematic": text }), &text)).map_err(|error| Failure::of(Code::Usage, &error))
        }
        Command::Url(args) => {
            let profile =
                args.loaded()?.ok_or_else(|| usage("url needs --profile: it depends on version and flavour"))?;
            let asset = Asset {
                schematic: args.id()?,
                version: format!("v{}", profile.talos.version),
                platform: profile.talos.platform.clone(),
                arch: String::from("amd64"),
                secureboot: profile.talos.secureboot,
            };
            let url = &profile.talos.factory.url;
            let (image, installer) = (asset.url(url), asset.installer(&registry(url)));
            show(json!({ "image": image, "installer": installer }), &format!("{image}\n{installer}"));
            Ok(())
        }
    }
}

impl Args {
    fn loaded(&self) -> Result<Option<Profile>, Failure> {
        let load = |name: &String| crate::profile::load(name, &super::profile_dirs()).map_err(Failure::from);
        self.profile.as_ref().map(load).transpose()
    }

    fn schematic(&self) -> Result<Option<Schematic>, Failure> {
        let text = match (&self.file, self.loaded()?) {
            (Some(path), _) => std::fs::read_to_string(path)
                .map_err(|error| usage(&format!("cannot read {}: {error}", path.display())))?,
            (None, Some(profile)) => match profile.talos.factory.schematic {
                SchematicRef::File { text, .. } => text,
                SchematicRef::Inline { kernel_args, extensions } => {
                    return Ok(Some(Schematic::new(kernel_args, extensions)));
                }
                SchematicRef::Id(_) => return Ok(None),
            },
            (None, None) => return Err(usage("a profile or a file is needed")),
        };
        Schematic::parse(&text).map(Some).map_err(|error| Failure::of(Code::Usage, &error))
    }

    fn id(&self) -> Result<String, Failure> {
        match (self.schematic()?, self.loaded()?) {
            (Some(schematic), _) => schematic.id().map_err(|error| Failure::of(Code::Usage, &error)),
            (None, Some(Profile { talos, .. })) => match talos.factory.schematic {
                SchematicRef::Id(id) => Ok(id),
                _ => Err(usage("the profile has no schematic")),
            },
            (None, None) => Err(usage("a profile or a file is needed")),
        }
    }
}

fn usage(message: &str) -> Failure {
    Failure::new(Code::Usage, message)
}
