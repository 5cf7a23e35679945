//! One back-off policy, used by the clients only.
//!
//! The unit of a retry is a request that was *never sent* or is *safe to
//! repeat*; deciding which is the client's, not this room's. Waiting for
//! something to happen is [`crate::wait`], not a retry.

use std::time::Duration;

use backon::ExponentialBuilder;

/// Four attempts over about a second: bridges a connection that the server closed under us
/// (pve-http-server drops idle connections after 5 s), gives up before a person wonders.
pub fn policy() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(800))
        .with_factor(3.0)
        .with_max_times(3)
}
