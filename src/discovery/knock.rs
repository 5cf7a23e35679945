//! Is the port open? One TCP connection attempt, without a word.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::reach::Reach;
use crate::talos::APID_PORT;

/// A machine on the same network answers within milliseconds; a lost SYN is repeated only after a second, so waiting
/// longer than this finds nothing that the next sweep would not.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// What a knock heard.
#[derive(Debug)]
pub(super) enum Heard {
    Open,
    /// Refused, unreachable, or silent: there is no Talos there now.
    Nothing,
    /// The attempt failed on this side: sockets or neighbour table exhausted, no route.
    Failed(io::Error),
}

pub(super) async fn knock(reach: &Reach, ip: IpAddr) -> Heard {
    match timeout(PATIENCE, TcpStream::connect(reach.socket(ip, APID_PORT))).await {
        Ok(Ok(_)) => Heard::Open,
        Err(_) => Heard::Nothing,
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::TimedOut => Heard::Nothing,
            _ => Heard::Failed(error),
        },
    }
}
