//! The only place of this room that touches stdout and stderr.

use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::fmt::MakeWriter;

/// Live lines on stderr. Redraws are limited to 20 a second, and nothing is drawn where stderr is no terminal.
pub(super) fn bars() -> MultiProgress {
    MultiProgress::with_draw_target(ProgressDrawTarget::stderr())
}

/// Lines on their way to a writer, through a queue and a thread.
///
/// A thread, because a pipe whose reader has stopped blocks the writer, and the
/// run must not stand still for a pager. Nothing is dropped; the queue is as
/// long as the run's events at most. An error of the writer (broken pipe) ends
/// the writing and nothing else.
pub(super) struct Outlet {
    queue: Option<Sender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Outlet {
    pub(super) fn new(mut writer: Box<dyn Write + Send>) -> Self {
        let (queue, lines) = channel::<String>();
        let thread = std::thread::spawn(move || {
            for mut line in lines {
                // One write per line, so that it stays whole beside the log's.
                line.push('\n');
                if writer.write_all(line.as_bytes()).and_then(|()| writer.flush()).is_err() {
                    break;
                }
            }
        });
        Self { queue: Some(queue), thread: Some(thread) }
    }

    pub(super) fn send(&self, line: Option<String>) {
        if let (Some(queue), Some(line)) = (&self.queue, line) {
            // The thread is gone when the reader is: nobody is left to tell.
            drop(queue.send(line));
        }
    }
}

/// Writes out what is queued.
impl Drop for Outlet {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Where log lines go: stderr, and above the live lines while a reporter shows some.
///
/// Made once, given to `tracing_subscriber::fmt().with_writer(…)` at the start of the program, and attached
/// ([`Reporter::attach`](super::Reporter::attach)) to the reporter when there is one.
#[derive(Clone, Default)]
pub struct LogWriter(Arc<Mutex<Option<MultiProgress>>>);

impl LogWriter {
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn attach(&self, bars: &MultiProgress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bars.clone());
    }

    /// To stderr again, as the lines have become text that must not be redrawn.
    pub(super) fn detach(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn write_to(&self, out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
        // The lock is not held while drawing: a log line born in there would wait for itself.
        let bars = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match bars {
            Some(bars) => bars.suspend(|| out.write_all(bytes)),
            None => out.write_all(bytes),
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_to(&mut io::stderr(), bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What reaches the writer behind `log`.
    pub(in super::super) fn written(log: &LogWriter, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        log.write_to(&mut out, bytes).expect("a vector takes everything");
        out
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_pipe_ends_the_showing_and_not_the_run() {
        let outlet = Outlet::new(Box::new(Broken));
        for _ in 0..1000 {
            outlet.send(Some("a line".into()));
        }
        drop(outlet);
    }

    #[test]
    fn a_reader_that_does_not_read_holds_up_nobody() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let outlet = Outlet::new(Box::new(writer));
        // A pipe holds 64 KiB; nobody reads before all of these are sent.
        for _ in 0..4 {
            outlet.send(Some("x".repeat(64 * 1024)));
        }
        let read = std::thread::spawn(move || io::read_to_string(reader));
        drop(outlet);
        let text = read.join().expect("the reader ends").expect("the pipe is readable");
        assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [64 * 1024; 4]);
    }
}
