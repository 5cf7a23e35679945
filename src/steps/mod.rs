//! Everything that is ever done to a site, one step a file: `run`, and directly under it `undo`.
//!
//! Rules of a correct step:
//!
//! - *Look, then act.* Both directions may be repeated: after a crash nobody knows how far the last attempt came.
//! - *Every parameter is pinned at planning.* A step is data; what cannot be known before (a MAC, an address) is read
//!   from the inventory.
//! - *Undo touches only what carries our mark*, and "already gone" is success.
//! - What must be known even if the reply is lost is [`Context::note`]d before the request leaves.
//!
//! Steps never call one another, never print, never sleep, never read the profile.
//!
//! A closed enum and not a trait object: it serialises by itself, the compiler lists every place to extend, and no
//! future is boxed.

mod apply_config;
mod await_install;
mod bootstrap_etcd;
mod check_health;
mod collect_access;
mod context;
mod create_vm;
mod eject_iso;
mod error;
mod fetch_image;
mod find_address;
pub mod mark;
pub mod render;
mod start_vm;
mod warm_installer;
mod write_secrets;

use serde::{Deserialize, Serialize};

pub use apply_config::ApplyConfig;
pub use await_install::AwaitInstall;
pub use bootstrap_etcd::BootstrapEtcd;
pub use check_health::{CheckHealth, Gate, Looker};
pub use collect_access::{CollectAccess, check_contexts, remove_contexts};
pub use context::{Context, Deadlines, Toolbox, Turns, Vault};
pub use create_vm::{CreateVm, destroy_marked};
pub use eject_iso::EjectIso;
pub use error::StepError;
pub use fetch_image::{FetchImage, Via, remove_image};
pub use find_address::FindAddress;
pub use start_vm::StartVm;
pub use warm_installer::WarmInstaller;
pub use write_secrets::WriteSecrets;

use crate::event::StepId;
use crate::inventory::Fact;

/// What each step can do. Private: the engine sees only [`Step`].
trait Work {
    /// The step's name in plan, journal and events.
    fn id(&self) -> StepId;

    /// One line for the plan: what it does, to what.
    fn describe(&self) -> String;

    /// The calls it makes when all goes well, polls apart, one line each.
    fn calls(&self) -> Vec<String>;

    /// Whether it only looks: such a step runs again on resume, since observations age.
    fn observes(&self) -> bool {
        false
    }

    /// Does it, and says what it learned.
    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError>;

    /// Whether there is anything for [`Work::undo`] to take away; the rest goes with the VM, or was only looked at.
    fn leaves(&self) -> bool {
        false
    }

    /// Takes it away.
    async fn undo(&self, _context: &Context<'_>) -> Result<(), StepError> {
        Ok(())
    }
}

macro_rules! steps {
    ($($variant:ident),+ $(,)?) => {
        /// One step of a plan, with every parameter.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "step", rename_all = "snake_case")]
        pub enum Step {
            $($variant($variant)),+
        }

        impl Step {
            /// The step's name in plan, journal and events.
            pub fn id(&self) -> StepId {
                match self { $(Self::$variant(step) => step.id()),+ }
            }

            /// One line for the plan.
            pub fn describe(&self) -> String {
                match self { $(Self::$variant(step) => step.describe()),+ }
            }

            /// The calls it makes when all goes well, polls apart.
            pub fn calls(&self) -> Vec<String> {
                match self { $(Self::$variant(step) => step.calls()),+ }
            }

            /// Whether it only looks, and so runs again on resume.
            pub fn observes(&self) -> bool {
                match self { $(Self::$variant(step) => step.observes()),+ }
            }

            /// Whether undo has anything to take away.
            pub fn leaves(&self) -> bool {
                match self { $(Self::$variant(step) => step.leaves()),+ }
            }

            /// Does it, and says what it learned.
            pub async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
                match self { $(Self::$variant(step) => step.run(context).await),+ }
            }

            /// Takes it away; already gone is success.
            pub async fn undo(&self, context: &Context<'_>) -> Result<(), StepError> {
                match self { $(Self::$variant(step) => step.undo(context).await),+ }
            }
        }
    };
}

steps! {
    WriteSecrets,
    FetchImage,
    WarmInstaller,
    CreateVm,
    StartVm,
    FindAddress,
    ApplyConfig,
    AwaitInstall,
    EjectIso,
    BootstrapEtcd,
    CollectAccess,
    CheckHealth,
}
