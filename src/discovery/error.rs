//! Why a machine was not found.

use std::io;
use std::net::IpAddr;

use ipnet::Ipv4Net;

#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// `source` repeats what was last seen, strangers included.
    #[error("find {machine} on the network; check on its console that it has booted Talos and has an address")]
    NotFound { machine: String, source: Box<dyn std::error::Error + Send + Sync> },

    /// The profile gives the machine no address and no network to look in.
    #[error("{machine} has no address to look at, and its discovery method looks nowhere else")]
    NoAddress { machine: String },

    /// Without the MAC of its `net0` nothing could prove a machine to be ours.
    #[error("no MAC address is known for {machine}, so it cannot be told from others")]
    NoMac { machine: String },

    /// This computer could not even try: no route, or no more sockets.
    #[error("look for machines on {network}: cannot connect to {address} from here")]
    Sweep { network: Ipv4Net, address: IpAddr, source: io::Error },
}
