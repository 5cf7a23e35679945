//! On a terminal: the question, the live lines, the table, and Ctrl-C. The terminal is that of `script` (util-linux).

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::json;

use super::desk::{Desk, installed};
use super::site;

/// `pvetalos` on a terminal of 100 columns and 30 lines, and everything that was drawn there.
struct Screen {
    child: Child,
    keys: ChildStdin,
    drawn: ChildStdout,
    text: String,
}

impl Screen {
    fn of(desk: &Desk, arguments: &str) -> Self {
        let inside = format!("stty cols 100 rows 30; exec {} {arguments}", env!("CARGO_BIN_EXE_pvetalos"));
        let plain = desk.command(&[]);
        let mut script = std::process::Command::new("timeout");
        script.args(["--kill-after=5", "120", "script", "-qec", &inside, "/dev/null"]).env_clear();
        script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm-256color");
        script.current_dir(desk.work("")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = script.spawn().expect("script starts");
        let (keys, drawn) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, keys, drawn, text: String::new() }
    }

    /// Reads on until `part` was drawn after everything that was waited for before.
    #[track_caller]
    fn shows(&mut self, part: &str) {
        let from = self.text.len();
        while !self.text[from..].contains(part) {
            let mut bytes = [0; 4096];
            let read = self.drawn.read(&mut bytes).unwrap_or(0);
            assert!(read > 0, "{part:?} was never drawn:\n{}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("it listens");
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        self.drawn.read_to_end(&mut rest).ok();
        self.text.push_str(&String::from_utf8_lossy(&rest));
        (self.child.wait().expect("it ends").code(), self.text)
    }
}

fn desk() -> Option<Desk> {
    if !installed("script") || !installed("stty") {
        return None;
    }
    let desk = Desk::new();
    desk.lab(&site::small(""));
    desk.profile("small", &[]);
    Some(desk)
}

#[test]
fn a_question_live_lines_and_the_table() {
    let Some(desk) = desk() else { return };
    let mut refusal = Screen::of(&desk, "create --profile small");
    refusal.shows("Create cluster small?");
    refusal.types("n");
    let (code, text) = refusal.end();
    assert!(code == Some(3) && text.contains("not confirmed: nothing was created"), "{code:?}: {text}");
    desk.assert_nothing_is_there();

    // Long enough to be seen.
    let slow = json!({ "delay": { "millis": 1500 } });
    desk.faults(&json!([{ "face": "talos", "call": "ApplyConfiguration", "times": 2, "effect": slow }]));
    let mut screen = Screen::of(&desk, "create --profile small");
    screen.shows("Create cluster small?");
    assert!(screen.text.contains("2 machines") && screen.text.contains("efidisk0"), "the plan is shown first");
    screen.types("y");
    screen.shows("apply_config");
    let (code, text) = screen.end();
    assert_eq!(code, Some(0), "{text}");
    for part in ["lab-cp-1", "lab-wk-1", "cluster small is healthy (8 gates passed)", "10.83.0.111"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (live, table) = text.rsplit_once("cluster small is healthy").expect("the summary ends it");
    assert!(live.contains("\u{1b}["), "live lines are drawn over each other");
    assert!(table.contains("ADDRESS") && table.contains("pvetalos destroy --profile small"), "{table}");

    let mut destroy = Screen::of(&desk, "destroy");
    destroy.shows("Type small to go on");
    destroy.types("smal\r");
    let (code, text) = destroy.end();
    assert!(code == Some(3) && text.contains("nothing was changed"), "{code:?}: {text}");
    let mut destroy = Screen::of(&desk, "destroy");
    destroy.shows("Type small to go on");
    destroy.types("small\r");
    let (code, text) = destroy.end();
    assert!(code == Some(0) && text.contains("cluster small is gone"), "{code:?}: {text}");
    desk.assert_nothing_is_there();
}

#[test]
fn ctrl_c_takes_everything_away_and_leaves_the_lab_alone() {
    let Some(desk) = desk() else { return };
    desk.faults(&json!([{ "face": "talos", "call": "ApplyConfiguration", "times": 1_000_000, "effect": "silent" }]));
    let mut screen = Screen::of(&desk, "create --profile small --yes");
    screen.shows("apply_config");
    screen.types("\u{3}");
    let (code, text) = screen.end();
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("interrupted: taking away what was made"), "{text}");
    assert!(text.contains("everything that was made was removed again"), "{text}");
    desk.assert_nothing_is_there();
}

#[test]
fn ctrl_c_at_a_question_gives_the_cursor_back() {
    let Some(desk) = desk() else { return };
    let mut screen = Screen::of(&desk, "create --profile small");
    screen.shows("Create cluster small?");
    screen.types("\u{3}");
    let (code, text) = screen.end();
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("interrupted: nothing was created"), "{text}");
    let (hidden, shown) = (text.rfind("\u{1b}[?25l"), text.rfind("\u{1b}[?25h"));
    assert!(hidden.is_some() && shown > hidden, "{text:?}");
    desk.assert_nothing_is_there();
}
