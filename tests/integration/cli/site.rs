//! Sites for the lab to play.

/// A small site on the instant clock, on which the lab's own profile fits. `more` is added to the top level.
pub(super) fn small(more: &str) -> String {
    format!(
        "\
nodes: [{{ name: lab1 }}]
network: {{ cidr: 10.83.0.0/24, reserved: [10.83.0.1, 10.83.0.100, 10.83.0.101, 10.83.0.111] }}
clock: instant
{more}"
    )
}
