//! Waiting for a named condition, with a deadline and the last reason.
//!
//! The only place that sleeps. A bare sleep guesses; a probe looks. Every
//! probe says *why not yet*, the reason shows on screen while we wait, and the
//! timeout repeats it.

use std::time::Duration;

use tokio::time::Instant;

/// What a probe found.
pub enum Probe<T, E> {
    Ready(T),
    /// Not yet, and why: a fragment that fits after "waiting for X: ".
    NotYet(String),
    /// It will never come: stop waiting.
    Never(E),
}

/// How the wait ended without the thing.
#[derive(Debug, thiserror::Error)]
pub enum WaitError<E> {
    #[error("{what} did not come within {}; last seen: {last}", humanise(*after))]
    TimedOut { what: String, after: Duration, last: String },
    #[error(transparent)]
    Never(E),
}

/// How often to look: from `first`, growing by half each time, to `max`.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub first: Duration,
    pub max: Duration,
}

impl Pace {
    /// For things that a healthy site does in seconds (a Proxmox task, a port that opens).
    pub const BRISK: Self = Self { first: Duration::from_millis(40), max: Duration::from_secs(1) };
    /// For things that take a minute on a healthy site (an installation, etcd).
    pub const STEADY: Self = Self { first: Duration::from_millis(60), max: Duration::from_secs(2) };
}

/// Probes until `probe` is ready, says never, or `deadline` (a span from now) has passed.
///
/// `waiting` hears each reason. A probe that is still running at the deadline is
/// dropped, so a hanging connection cannot stretch the wait.
pub async fn until<T, E>(
    what: &str,
    pace: Pace,
    deadline: Duration,
    mut waiting: impl FnMut(&str),
    mut probe: impl AsyncFnMut() -> Probe<T, E>,
) -> Result<T, WaitError<E>> {
    let end = Instant::now() + deadline;
    let mut interval = pace.first;
    let mut last = String::from("nothing yet");
    loop {
        let Ok(found) = tokio::time::timeout_at(end, probe()).await else { break };
        match found {
            Probe::Ready(value) => return Ok(value),
            Probe::Never(error) => return Err(WaitError::Never(error)),
            Probe::NotYet(reason) => {
                waiting(&reason);
                last = reason;
            }
        }
        if Instant::now() + interval >= end {
            break;
        }
        pause(interval).await;
        interval = (interval + interval / 2).min(pace.max);
    }
    Err(WaitError::TimedOut { what: what.to_owned(), after: deadline, last })
}

#[expect(clippy::disallowed_methods, reason = "this is the room that the lint sends everybody to")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// `90s`, `5m`, `300ms`: short, and exact enough for a person.
pub fn humanise(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{}ms", span.as_millis()),
        1..=119 => format!("{seconds}s"),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_timeout_repeats_the_last_reason() {
        let mut seen = Vec::new();
        let result: Result<(), WaitError<std::io::Error>> = until(
            "port 50000",
            Pace::BRISK,
            Duration::from_millis(400),
            |reason| seen.push(reason.to_owned()),
            async || Probe::NotYet("connection refused".into()),
        )
        .await;
        let text = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(text, "port 50000 did not come within 400ms; last seen: connection refused");
        // After 0, 40, 100, 190 and 325 ms.
        assert_eq!(seen.len(), 5, "{seen:?}");
    }

    #[tokio::test]
    async fn a_hanging_probe_cannot_outlive_the_deadline() {
        let result: Result<(), WaitError<std::io::Error>> =
            until("a reply", Pace::BRISK, Duration::from_millis(50), |_| {}, std::future::pending).await;
        assert_eq!(
            result.expect_err("nothing came").to_string(),
            "a reply did not come within 50ms; last seen: nothing yet"
        );
    }

    #[test]
    fn spans_read_as_people_say_them() {
        assert_eq!(humanise(Duration::from_millis(300)), "300ms");
        assert_eq!(humanise(Duration::from_secs(90)), "90s");
        assert_eq!(humanise(Duration::from_mins(5)), "5m");
        assert_eq!(humanise(Duration::from_secs(150)), "2m30s");
    }
}
