//! What was seen at an address, and whether it proves anything.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::finder::Wanted;
use crate::reach::Reach;
use crate::talos::{Credentials, Identity, Meaning, Talos, TalosError};
use crate::wait::humanise;

/// For an answer to who it is. Whatever else listens there and stays silent must not hold up the search for others.
const PATIENCE: Duration = Duration::from_secs(2);

/// What answered at an address.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub ip: IpAddr,
    /// Whether it proved to be of our cluster, by a certificate of its CA.
    pub secured: bool,
    pub showed: Showed,
}

#[derive(Clone, Debug)]
pub enum Showed {
    /// It said who it is.
    Identity(Identity),
    /// It runs with a configuration that is not ours to ask about.
    Configured,
    /// It did not say, and this is why.
    Nothing(String),
}

impl Sighting {
    /// Asks whatever answers at `ip` who it is: in maintenance mode, or with `credentials` as a machine of ours.
    pub(super) async fn of(reach: &Reach, ip: IpAddr, credentials: Option<&Credentials>) -> Self {
        let showed = match timeout(PATIENCE, ask(reach, ip, credentials)).await {
            Ok(Ok(identity)) => Showed::Identity(identity),
            Ok(Err(error)) => match error.meaning() {
                Some(Meaning::NotInMaintenance | Meaning::AnotherCluster) => Showed::Configured,
                _ => Showed::Nothing(error.chain()),
            },
            Err(_) => Showed::Nothing(format!("no answer within {}", humanise(PATIENCE))),
        };
        Self { ip, secured: credentials.is_some() && matches!(showed, Showed::Identity(_)), showed }
    }

    /// Ours by proof: our UUID, and the MAC of our `net0`.
    pub fn proves(&self, wanted: &Wanted) -> bool {
        let Showed::Identity(identity) = &self.showed else { return false };
        let Some(net0) = wanted.macs.first() else { return false };
        identity.uuid == Some(wanted.uuid) && identity.macs.contains(net0)
    }

    /// Shows one half of the proof and not the other: worth a word to the user.
    pub fn resembles(&self, wanted: &Wanted) -> bool {
        let Showed::Identity(identity) = &self.showed else { return false };
        let uuid = identity.uuid == Some(wanted.uuid);
        let mac = wanted.macs.first().is_some_and(|net0| identity.macs.contains(net0));
        uuid != mac
    }
}

async fn ask(reach: &Reach, ip: IpAddr, credentials: Option<&Credentials>) -> Result<Identity, TalosError> {
    let talos = match credentials {
        Some(credentials) => Talos::secured(reach, ip, credentials).await?,
        None => Talos::maintenance(reach, ip).await?,
    };
    talos.identity().await
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.showed {
            Showed::Configured => write!(f, "{} runs with another configuration", self.ip),
            Showed::Nothing(why) => write!(f, "{} does not say who it is: {why}", self.ip),
            Showed::Identity(identity) => {
                write!(f, "{} shows UUID ", self.ip)?;
                match identity.uuid {
                    Some(uuid) => write!(f, "{uuid}")?,
                    None => f.write_str("none")?,
                }
                f.write_str(" and MAC ")?;
                match identity.macs.as_slice() {
                    [] => f.write_str("none"),
                    [first, rest @ ..] => {
                        rest.iter().fold(write!(f, "{first}"), |done, mac| done.and_then(|()| write!(f, ", {mac}")))
                    }
                }
            }
        }
    }
}
