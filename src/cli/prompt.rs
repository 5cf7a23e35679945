//! Questions, asked only of a terminal.

use std::io::IsTerminal;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{Code, Failure};

/// Asks yes or no. Without a terminal nobody can answer: `unattended` says what that means.
pub(super) fn confirm(question: &str, unattended: bool) -> Result<bool, Failure> {
    if !is_interactive() {
        return Ok(unattended);
    }
    // The question hides the cursor. With a handler, Ctrl-C ends the question and not the process, which would leave
    // the terminal without one.
    let _letters = Letters::only();
    let heard = signal(SignalKind::interrupt()).map_err(|error| Failure::of(Code::Defect, &error))?;
    let answer = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
    drop(heard);
    answer.map_err(|error| {
        console::Term::stderr().show_cursor().ok();
        let dialoguer::Error::IO(error) = error;
        if error.kind() == std::io::ErrorKind::Interrupted {
            return Failure::new(Code::Interrupted, "interrupted: nothing was created");
        }
        Failure::of(Code::Usage, &error)
    })
}

/// While it lives, Ctrl-C at the terminal is a letter that the question reads.
///
/// The question itself sees to that only while it reads. A Ctrl-C between its drawing and its reading would be a signal,
/// which the handler takes, and the question would wait on.
struct Letters(Option<Termios>);

impl Letters {
    fn only() -> Self {
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ISIG);
            tcsetattr(std::io::stdin(), OptionalActions::Now, &modes).ok();
        }
        Self(before)
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            tcsetattr(std::io::stdin(), OptionalActions::Now, before).ok();
        }
    }
}

/// Asks for a word to be typed, as the last guard before something is destroyed.
pub(super) fn confirm_by_name(name: &str, what: &str) -> Result<bool, Failure> {
    if !is_interactive() {
        return Err(Failure::new(Code::Usage, format!("{what} needs a confirmation, and stdin is no terminal"))
            .hint("pass --yes"));
    }
    let typed: String = dialoguer::Input::new()
        .with_prompt(format!("{what}. Type {name} to go on"))
        .allow_empty(true)
        .interact_text()
        .map_err(|error| Failure::of(Code::Usage, &error))?;
    Ok(typed == name)
}

fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}
