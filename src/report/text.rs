//! How figures, facts and other people's sentences are put.

use std::path::Path;
use std::time::Duration;

use crate::event::Leftovers;
use crate::inventory::Fact;

/// `0.4s`, `12.3s`, `2m03s`, `1h02m`: tenths as long as anybody would notice them.
pub(super) fn span(span: Duration) -> String {
    let tenths = span.as_millis() / 100;
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{}.{}s", tenths / 10, tenths % 10),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// The same without tenths below a minute, for what is redrawn all the time.
pub(super) fn running(elapsed: Duration) -> String {
    if elapsed.as_secs() < 60 { format!("{}s", elapsed.as_secs()) } else { span(elapsed) }
}

/// `1 machine`, `3 machines`.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Seconds for programs. Dividing whole milliseconds gives the `f64` that prints as `12.345`; `as_secs_f64` adds,
/// and may print `12.345000000000001`.
pub(super) fn as_seconds(span: Duration) -> f64 {
    f64::from(u32::try_from(span.as_millis()).unwrap_or(u32::MAX)) / 1000.0
}

/// `84.00 MiB of 210.00 MiB, 12.10 MiB/s`; the rate needs some time to have passed.
pub(super) fn transfer(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let bytes = indicatif::BinaryBytes;
    let of = total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
    let rate = match elapsed.as_millis() {
        0 => String::new(),
        millis => format!(", {}/s", bytes(u64::try_from(u128::from(done) * 1000 / millis).unwrap_or(u64::MAX))),
    };
    format!("{}{of}{rate}", bytes(done))
}

/// `text` as one line without control characters: error texts come from servers, and an escape sequence in one
/// must not reach the terminal.
pub(super) fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a step's facts amount to in a few words, if they are worth any.
pub(super) fn facts(facts: &[Fact]) -> Option<String> {
    let said: Vec<_> = facts.iter().filter_map(fact).collect();
    if said.is_empty() { None } else { Some(said.join(", ")) }
}

fn fact(fact: &Fact) -> Option<String> {
    let made = |what: &str, created: bool| if created { what.to_owned() } else { format!("{what}, was there") };
    Some(match fact {
        Fact::Secrets { reference, created, .. } => made(reference, *created),
        Fact::Image { volid, created, .. } => made(volid, *created),
        Fact::Vm { node, vmid, .. } => format!("VM {vmid} on {node}"),
        Fact::Address { ip, .. } | Fact::Installed { ip, .. } => ip.to_string(),
        Fact::Healthy { gates } => format!("{} passed", count(gates.len(), "gate")),
        Fact::Access { context, .. } => format!("context {context}"),
        Fact::Installer { .. }
        | Fact::VmidTried { .. }
        | Fact::Configuring { .. }
        | Fact::Applied { .. }
        | Fact::BootstrapChosen { .. }
        | Fact::Bootstrapped { .. } => return None,
    })
}

/// What a failure may have left, as a clause.
pub(super) fn leftovers(leftovers: Leftovers) -> &'static str {
    match leftovers {
        Leftovers::None => "nothing was made",
        Leftovers::Marked => "what was made carries our mark",
        Leftovers::Unknown => "the reply was lost, something may be there",
    }
}

/// `path` as it can be pasted into a shell.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_the_digits_that_matter() {
        let of = |millis| span(Duration::from_millis(millis));
        assert_eq!([of(0), of(449), of(59_999)], ["0.0s", "0.4s", "59.9s"]);
        assert_eq!([of(60_000), of(123_900), of(3_720_000)], ["1m00s", "2m03s", "1h02m"]);
        assert_eq!(running(Duration::from_millis(12_900)), "12s");
    }

    #[test]
    fn a_transfer_has_a_rate_once_time_has_passed() {
        let mib = 1024 * 1024;
        let seconds = Duration::from_secs;
        assert_eq!(transfer(84 * mib, Some(210 * mib), seconds(7)), "84.00 MiB of 210.00 MiB, 12.00 MiB/s");
        assert_eq!(transfer(84 * mib, None, Duration::ZERO), "84.00 MiB");
    }

    #[test]
    fn what_a_server_says_cannot_steer_the_terminal() {
        assert_eq!(one_line("500 no such\n\x1b[2Jvolume\r\n"), "500 no such [2Jvolume");
    }

    #[test]
    fn paths_paste_into_a_shell() {
        assert_eq!(quoted(Path::new("/home/u/.kube/config")), "/home/u/.kube/config");
        assert_eq!(quoted(Path::new("/home/u's/a b")), r"'/home/u'\''s/a b'");
    }
}
