//! Many scenarios, each in a world and a time of its own.
//!
//! Time is virtual: when nothing is left to do but wait, the clock jumps to the
//! next timer. Everything that a scenario talks to lives in the same thread, and
//! loopback delivers at once, so "nothing to do" means that nothing is under way
//! either. No deadline, pause or retry costs real time.

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A month. No scenario waits that long: one that does would wait for ever.
const AGE: Duration = Duration::from_secs(2_600_000);

/// Runs `work` on virtual time.
#[track_caller]
pub(crate) fn virtually<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(AGE, work).await }).expect("it ends")
}

/// Plays scenarios on every core, each on its own virtual time, and answers everything that was wrong.
pub(crate) fn play<T: Debug + Sync>(
    scenarios: impl IntoIterator<Item = T>,
    play: impl AsyncFn(&T) -> Vec<String> + Sync,
) -> Vec<String> {
    let scenarios: Vec<T> = scenarios.into_iter().collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            // One that panics is one that went wrong; the others are played all the same.
            let played = std::panic::catch_unwind(AssertUnwindSafe(|| virtually(play(scenario))));
            let wrong = played.unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                vec![format!("panicked: {}", text.unwrap_or_else(|| "see above".into()))]
            });
            if !wrong.is_empty() {
                found.lock().expect("no panic").push(format!("{scenario:?}: {wrong:?}"));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    found.into_inner().expect("no panic")
}
