//! From "our UUID and our MAC" to an address that was proven.
//!
//! An address is a rumour, whoever brings it: leases move, and somebody else's
//! machine may wait for a configuration on the same network. So whatever
//! answers is asked who it is, and only a machine that shows *both* our UUID and
//! the MAC of our `net0` is ours. The UUID alone could be a clone's or a restored
//! backup's; the MAC alone could be a leftover with our address. Everything else
//! is a stranger: reported with what it showed, and never touched.
//!
//! All lanes of a run share one [`Finder`], and with it one sweep at a time: three
//! machines that boot together must not be looked for three times over.

mod error;
mod evidence;
mod finder;
mod knock;
mod static_address;
mod sweep;

pub use error::DiscoveryError;
pub use evidence::{Showed, Sighting};
pub use finder::{Finder, Found, Wanted};
pub use sweep::sweep;

/// How a machine is looked for. Closed: one file each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// At its expected address if it has one, then everywhere on the network.
    Sweep,
    /// At its one address: the machine was given it before its first boot.
    Static,
}

#[cfg(test)]
mod tests;
