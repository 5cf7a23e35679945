//! Where an address of the site is reached from here.
//!
//! A real site is reached at its own addresses. The embedded lab stands for a
//! site on loopback: an address of the profile's network is reached at the
//! same host number inside a 127.N.0.0/16 that the lab took. Names, certificates
//! and configurations always speak of the site's own addresses; only the moment
//! of dialling knows the difference.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// How to dial an address of the site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// As it is.
    #[default]
    Direct,
    /// `site` (a /16 or longer) is mapped host by host onto `base`, an address 127.N.0.0.
    Loopback { site: Ipv4Net, base: Ipv4Addr },
}

impl Reach {
    /// The address to dial for `ip`. Addresses outside the mapped network stay as they are.
    pub fn ip(&self, ip: IpAddr) -> IpAddr {
        match (self, ip) {
            (Self::Loopback { site, base }, IpAddr::V4(v4)) if site.contains(&v4) => {
                let host = u32::from(v4) & u32::from(site.hostmask());
                IpAddr::V4(Ipv4Addr::from(u32::from(*base) | (host & 0xffff)))
            }
            _ => ip,
        }
    }

    /// [`Self::ip`] with a port.
    pub fn socket(&self, ip: IpAddr, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(ip), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lab_maps_host_by_host_and_leaves_others_alone() {
        let reach =
            Reach::Loopback { site: "192.168.20.0/22".parse().expect("a network"), base: Ipv4Addr::new(127, 83, 0, 0) };
        let socket = |ip: &str| reach.socket(ip.parse().expect("an address"), 50000).to_string();
        assert_eq!(socket("192.168.22.101"), "127.83.2.101:50000");
        assert_eq!(socket("192.168.23.254"), "127.83.3.254:50000");
        assert_eq!(socket("10.0.0.1"), "10.0.0.1:50000");
    }
}
