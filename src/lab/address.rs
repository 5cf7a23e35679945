//! The loopback network that stands for the site's.
//!
//! Linux routes all of 127/8 to loopback, so each lab takes one `127.N.0.0/16`
//! and its machines listen on real ports at addresses of their own. Holding a
//! bound socket in the block is the claim: it ends with the process, however
//! that ends, and labs of tests that run side by side never meet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::Ipv4Net;
use tokio::net::{TcpListener, TcpStream};

use crate::reach::Reach;

/// The second octets that labs share.
const OCTETS: std::ops::RangeInclusive<u8> = 64..=250;

/// Where the claim is held: a host number that no network of a site has a machine at.
const CLAIM: u16 = 49_999;

/// A `127.N.0.0/16` that is ours while this lives, or a [`Socket`] in it.
#[derive(Clone, Debug)]
pub struct Block {
    base: Ipv4Addr,
    _claim: Arc<std::net::TcpListener>,
}

/// A socket that takes connections, and holds the block that it is in.
///
/// A server ends a moment after its handle was dropped. If the claim ended before the last server, the next lab would
/// take the block and find strangers in it.
#[derive(Debug)]
pub struct Socket {
    // Closed first: fields are dropped in their order.
    listener: TcpListener,
    _block: Option<Block>,
}

impl Block {
    /// Takes a free block. `None` if all are taken, or the platform has no 127/8.
    pub fn claim() -> Option<Self> {
        // Labs that start at the same moment should not race for the same block.
        let count = u32::from(OCTETS.end() - OCTETS.start()) + 1;
        let start = std::process::id() % count;
        (0..count).find_map(|step| {
            let offset = u8::try_from((start + step) % count).expect("the range is below 256");
            let octet = OCTETS.start() + offset;
            let address = SocketAddr::from((Ipv4Addr::new(127, octet, 255, 254), CLAIM));
            let claim = std::net::TcpListener::bind(address).ok()?;
            Some(Self { base: Ipv4Addr::new(127, octet, 0, 0), _claim: Arc::new(claim) })
        })
    }

    /// How addresses of `site` are dialled.
    pub fn reach(&self, site: Ipv4Net) -> Reach {
        Reach::Loopback { site, base: self.base }
    }

    /// Listens on an address in the block.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<Socket> {
        Ok(Socket { listener: TcpListener::bind(address).await?, _block: Some(self.clone()) })
    }
}

impl Socket {
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept().await
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One that is in nobody's block.
impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Self {
        Self { listener, _block: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_claimed(block: Ipv4Addr) -> bool {
        let [_, octet, ..] = block.octets();
        std::net::TcpListener::bind((Ipv4Addr::new(127, octet, 255, 254), CLAIM)).is_err()
    }

    #[test]
    fn two_labs_never_share_a_block() {
        let (one, two) = (Block::claim().unwrap(), Block::claim().unwrap());
        assert_ne!(one.base, two.base);
    }

    #[tokio::test]
    async fn a_block_is_claimed_until_its_last_socket_is_closed() {
        let block = Block::claim().unwrap();
        let base = block.base;
        let socket = block.listen(SocketAddr::from((base, 50_000))).await.unwrap();
        drop(block);
        assert!(is_claimed(base));
        drop(socket);
        // A child that another test starts at this moment has copies of our sockets until it becomes another program.
        while is_claimed(base) {
            tokio::task::yield_now().await;
        }
    }
}
