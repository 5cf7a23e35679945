//! How fast a scenario's time passes.
//!
//! What takes time takes none, but for scenarios that are about time. Those get
//! margins that a busy machine does not use up.

use std::time::Duration;

use crate::lab::clock::Clock;

/// No task takes longer, on however slow a machine.
pub(super) const LONGEST: Duration = Duration::from_secs(120);

/// How fast time passes. What comes before something else in a recording has to come before it here, too, on however
/// slow a machine: the shortest of these margins is 2 s. Races have less, and as many goes as they need.
pub(super) fn clock(name: &str, note: &str, race: bool) -> Clock {
    let about = |words: &[&str]| words.iter().any(|words| name.contains(words));
    let speed = match () {
        // Waits of 10 s, one or three, for a lock that is held for 15, 20 or 40 s.
        () if note.contains("held for") || about(&["while a shutdown"]) => 1.0,
        () if about(&["abort a running"]) => 2.0,
        () if race && about(&["at once", "while the create", "chain without"]) => 0.4,
        // A start of 300 ms, and a creation of 700 ms.
        () if about(&["at once"]) => 0.15,
        () if about(&["while the create", "create task runs"]) => 0.2,
        () => return Clock::Instant,
    };
    Clock::Realistic { speed }
}
