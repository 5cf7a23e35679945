//! The loopback network that stands for the site's.
//!
//! Linux routes all of 127/8 to loopback, so each lab takes one `127.N.0.0/16`
//! and its machines listen on real ports at addresses of their own. Holding a
//! bound socket in the block is the claim: it ends with the process, however
//! that ends, and labs of tests that run side by side never meet.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use ipnet::Ipv4Net;

use crate::reach::Reach;

/// The second octets that labs share.
const OCTETS: std::ops::RangeInclusive<u8> = 64..=250;

/// Where the claim is held: a host number that no network of a site has a machine at.
const CLAIM: u16 = 49_999;

/// A `127.N.0.0/16` that is ours while this lives.
#[derive(Debug)]
pub struct Block {
    base: Ipv4Addr,
    _claim: TcpListener,
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
            let claim = TcpListener::bind(SocketAddr::from((Ipv4Addr::new(127, octet, 255, 254), CLAIM))).ok()?;
            Some(Self { base: Ipv4Addr::new(127, octet, 0, 0), _claim: claim })
        })
    }

    /// How addresses of `site` are dialled.
    pub fn reach(&self, site: Ipv4Net) -> Reach {
        Reach::Loopback { site, base: self.base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_labs_never_share_a_block() {
        let (one, two) = (Block::claim().unwrap(), Block::claim().unwrap());
        assert_ne!(one.base, two.base);
    }
}
