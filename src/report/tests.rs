//! The faces, by replaying one story: two machines, one of which fails, and its unwinding.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{InMemoryTerm, MultiProgress, ProgressDrawTarget};
use uuid::Uuid;

use super::*;
use crate::event::{Leftovers, Record, Tick};
use crate::inventory::{Fact, Inventory, Role};

/// Milliseconds and what happened then.
type Story = Vec<(u64, Event)>;

fn id(step: &str) -> StepId {
    match step.split_once('/') {
        Some((verb, subject)) => StepId::of(verb, subject),
        None => StepId::new(step),
    }
}

fn started(at: u64, step: &str) -> (u64, Event) {
    (at, Event::Record(Record::Started { step: id(step) }))
}

fn finished(at: u64, step: &str, facts: Vec<Fact>) -> (u64, Event) {
    (at, Event::Record(Record::Finished { step: id(step), facts }))
}

fn waiting(at: u64, step: &str, what: &str, reason: &str) -> (u64, Event) {
    (at, Event::Tick(Tick::Waiting { step: id(step), what: what.into(), reason: reason.into() }))
}

fn bytes(at: u64, step: &str, mib: u64) -> (u64, Event) {
    (at, Event::Tick(Tick::Bytes { step: id(step), done: mib << 20, total: Some(210 << 20) }))
}

fn vm(machine: &str, role: Role, vmid: u32) -> Fact {
    let macs = vec![format!("bc:24:11:62:36:{:02x}", vmid % 100).parse().expect("a MAC address")];
    Fact::Vm { machine: machine.into(), role, node: "vs01".into(), vmid, uuid: Uuid::nil(), macs }
}

fn address(machine: &str, ip: &str) -> Fact {
    Fact::Address { machine: machine.into(), ip: ip.parse().expect("an address") }
}

const PLAN: [&str; 8] = [
    "write_secrets",
    "fetch_image/vs01",
    "create_vm/cp-1",
    "find_address/cp-1",
    "bootstrap_etcd/cp-1",
    "create_vm/wrkr-1",
    "collect_access",
    "check_health",
];

fn plan() -> Vec<StepId> {
    PLAN.iter().map(|step| id(step)).collect()
}

fn good() -> Story {
    let image = Fact::Image { node: "vs01".into(), volid: "local:iso/talos.iso".into(), created: true };
    let secrets =
        Fact::Secrets { reference: "pass: lab/talos/secrets".into(), created: true, identity: String::from("ca") };
    let access = Fact::Access {
        context: "lab".into(),
        kubeconfig: Some(PathBuf::from("/home/u/.kube/config")),
        talosconfig: Some(PathBuf::from("/home/u/.talos/config")),
    };
    vec![
        started(0, "write_secrets"),
        finished(200, "write_secrets", vec![secrets]),
        started(200, "fetch_image/vs01"),
        bytes(1200, "fetch_image/vs01", 12),
        bytes(5200, "fetch_image/vs01", 60),
        bytes(7200, "fetch_image/vs01", 84),
        finished(16_200, "fetch_image/vs01", vec![image]),
        started(16_300, "create_vm/cp-1"),
        started(16_300, "create_vm/wrkr-1"),
        finished(19_300, "create_vm/cp-1", vec![vm("cp-1", Role::ControlPlane, 7001)]),
        started(19_300, "find_address/cp-1"),
        waiting(20_000, "find_address/cp-1", "an answer", "no lease"),
        waiting(24_300, "find_address/cp-1", "an answer", "no lease"),
        waiting(25_000, "find_address/cp-1", "an answer", "no lease"),
        waiting(26_000, "find_address/cp-1", "an answer", "connection refused"),
        waiting(31_000, "find_address/cp-1", "an answer", "connection refused"),
        waiting(32_000, "find_address/cp-1", "an answer", "connection\nreset"),
        finished(33_300, "find_address/cp-1", vec![address("cp-1", "192.168.22.101")]),
        finished(34_000, "create_vm/wrkr-1", vec![vm("wrkr-1", Role::Worker, 7011)]),
        started(34_000, "bootstrap_etcd/cp-1"),
        finished(59_000, "bootstrap_etcd/cp-1", vec![Fact::Bootstrapped { machine: "cp-1".into() }]),
        started(59_000, "collect_access"),
        finished(59_500, "collect_access", vec![access]),
        started(59_500, "check_health"),
        finished(84_500, "check_health", vec![Fact::Healthy { gates: vec!["etcd".into(), "nodes".into()] }]),
        (84_600, Event::Record(Record::Committed)),
    ]
}

fn bad() -> Story {
    let failed = Record::Failed {
        step: id("create_vm/cp-1"),
        error: "create VM 7001 on node vs01: 500 no such\x1b[2J storage".into(),
        leftovers: Leftovers::Unknown,
    };
    let undo_failed = Record::UndoFailed { step: id("write_secrets"), error: "pass exited with 2".into() };
    vec![
        started(0, "write_secrets"),
        finished(100, "write_secrets", vec![]),
        started(100, "create_vm/cp-1"),
        started(100, "create_vm/wrkr-1"),
        (
            400,
            Event::Tick(Tick::Warning {
                step: Some(id("create_vm/wrkr-1")),
                text: "the task ended in WARNINGS: 1".into(),
            }),
        ),
        (1300, Event::Record(failed)),
        (1300, Event::Record(Record::UndoStarted { step: id("create_vm/cp-1") })),
        (3300, Event::Record(Record::UndoFinished { step: id("create_vm/cp-1") })),
        (3300, Event::Record(Record::UndoStarted { step: id("write_secrets") })),
        (3400, Event::Record(undo_failed)),
    ]
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `face` wrote for `story`, and the timeline.
fn replay(face: impl FnOnce(Outlet) -> Face, story: &Story) -> (String, Timeline) {
    let buffer = Buffer::default();
    let reporter = Reporter::with_face(face(Outlet::new(Box::new(buffer.clone()))));
    let mut end = 0;
    for (at, event) in story {
        reporter.hear_at(Duration::from_millis(*at), event);
        end = *at;
    }
    let timeline = reporter.finish_at(Duration::from_millis(end));
    let bytes = buffer.0.lock().expect("nobody panicked").clone();
    (String::from_utf8(bytes).expect("text"), timeline)
}

fn lines(story: &Story) -> (String, Timeline) {
    replay(|outlet| Face::Lines(Lines::new(), outlet), story)
}

#[test]
fn lines_tell_a_good_run_and_thin_out_the_waiting() {
    let expected = "\
+0.0s write_secrets …
+0.2s write_secrets done (0.2s): pass: lab/talos/secrets
+0.2s vs01 fetch_image …
+5.2s vs01 fetch_image 60.00 MiB of 210.00 MiB, 12.00 MiB/s
+16.2s vs01 fetch_image done (16.0s): local:iso/talos.iso
+16.3s cp-1 create_vm …
+16.3s wrkr-1 create_vm …
+19.3s cp-1 create_vm done (3.0s): VM 7001 on vs01
+19.3s cp-1 find_address …
+24.3s cp-1 find_address waits for an answer: no lease
+31.0s cp-1 find_address waits for an answer: connection refused
+33.3s cp-1 find_address done (14.0s): 192.168.22.101
+34.0s wrkr-1 create_vm done (17.7s): VM 7011 on vs01
+34.0s cp-1 bootstrap_etcd …
+59.0s cp-1 bootstrap_etcd done (25.0s)
+59.0s collect_access …
+59.5s collect_access done (0.5s): context lab
+59.5s check_health …
+1m24s check_health done (25.0s): 2 gates passed
+1m24s committed: every health gate passed
";
    assert_eq!(lines(&good()).0, expected);
}

#[test]
fn lines_tell_a_failure_its_leftovers_and_the_unwinding() {
    let expected = "\
+0.0s write_secrets …
+0.1s write_secrets done (0.1s)
+0.1s cp-1 create_vm …
+0.1s wrkr-1 create_vm …
+0.4s wrkr-1 create_vm warning: the task ended in WARNINGS: 1
+1.3s cp-1 create_vm FAILED (1.2s): create VM 7001 on node vs01: 500 no such [2J storage (the reply was lost, something may be there)
+1.3s cp-1 create_vm undo …
+3.3s cp-1 create_vm undone (2.0s)
+3.3s write_secrets undo …
+3.4s write_secrets undo FAILED (0.1s): pass exited with 2
";
    assert_eq!(lines(&bad()).0, expected);
}

#[test]
fn json_is_one_stamped_object_per_event() {
    let (text, _) = replay(Face::Json, &good());
    let read: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(read.len(), good().len());
    for (line, (at, event)) in read.iter().zip(good()) {
        let mut expected = serde_json::to_value(&event).expect("events serialise");
        expected["seconds"] = (f64::from(u32::try_from(at).expect("a short story")) / 1000.0).into();
        assert_eq!(*line, expected);
    }
    assert!(text.starts_with(r#"{"seconds":0.0,"record":"started","step":"write_secrets"}"#), "{text}");
    assert!(
        text.contains(r#"{"seconds":24.3,"tick":"waiting","step":"find_address/cp-1","what":"an answer""#),
        "{text}"
    );
}

/// The screen after `story`, with the running figures (real time, which a test cannot know) made equal.
fn screen(story: &[(u64, Event)]) -> (String, Reporter, InMemoryTerm) {
    let term = InMemoryTerm::new(12, 90);
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(term.clone())));
    let reporter = Reporter::with_face(Face::Live(Live::new(bars, false, &plan())));
    for (at, event) in story {
        reporter.hear_at(Duration::from_millis(*at), event);
    }
    (still(&term), reporter, term)
}

fn still(term: &InMemoryTerm) -> String {
    let figure = regex::Regex::new(r" +\d+s ").expect("a pattern");
    let spinner = regex::Regex::new("(?m)^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]").expect("a pattern");
    spinner.replace_all(&figure.replace_all(&term.contents(), " Ns "), "*").into_owned()
}

#[test]
fn the_live_screen_has_one_line_per_machine_in_the_order_of_the_plan() {
    let story = good();
    let upto = |at| story.iter().take_while(|(when, _)| *when <= at).cloned().collect::<Vec<_>>();
    let downloading = "\
✓ write_secrets         done (0.2s): pass: lab/talos/secrets
* image vs01 Ns 84.00 MiB of 210.00 MiB, 12.00 MiB/s";
    assert_eq!(screen(&upto(7200)).0, downloading);
    let machines = "\
✓ write_secrets         done (0.2s): pass: lab/talos/secrets
✓ image vs01            done (16.0s): local:iso/talos.iso
* cp-1 Ns find_address waits for an answer: connection reset
* wrkr-1 Ns create_vm";
    assert_eq!(screen(&upto(32_000)).0, machines);
    let (_, reporter, term) = screen(&story);
    let log = LogWriter::new();
    reporter.attach(&log);
    reporter.finish();
    // What is logged from here on must not redraw, and so wipe, the finished lines.
    terminal::tests::written(&log, b"later\n");
    let end = "\
✓ write_secrets         done (0.2s): pass: lab/talos/secrets
✓ image vs01            done (16.0s): local:iso/talos.iso
✓ cp-1                  done (42.7s): 192.168.22.101
✓ wrkr-1                done (17.7s): VM 7011 on vs01
✓ collect_access        done (0.5s): context lab
✓ check_health          done (25.0s): 2 gates passed";
    assert_eq!(still(&term), end);
}

#[test]
fn failures_warnings_and_log_lines_stay_above_the_live_lines() {
    let (text, reporter, _) = screen(&bad());
    let expected = "\
warning create_vm/wrkr-1: the task ended in WARNINGS: 1
failed create_vm/cp-1: create VM 7001 on node vs01: 500 no such [2J storage (the reply was
 lost, something may be there)
failed undo write_secrets: pass exited with 2
✗ write_secrets         undo write_secrets failed
- cp-1                  undone create_vm
* wrkr-1 Ns create_vm";
    assert_eq!(text, expected);
    let log = LogWriter::new();
    reporter.attach(&log);
    let line = terminal::tests::written(&log, b"a log line\n");
    assert_eq!(line, b"a log line\n");
}

#[test]
fn the_summary_says_what_there_is_and_what_to_type() {
    let story = good();
    let mut inventory = Inventory::default();
    for (_, event) in &story {
        if let Event::Record(Record::Finished { facts, .. }) = event {
            for fact in facts {
                inventory.fold(fact);
            }
        }
    }
    let (_, timeline) = lines(&story);
    let summary = Summary::new("lab", &inventory, &timeline).file("journal", "/home/u/.local/state/pvetalos/lab");
    let expected = "\
cluster lab is healthy (2 gates passed): 2 machines, 1m24s

  NAME    ROLE          NODE  VMID  MAC                ADDRESS
  cp-1    controlplane  vs01  7001  BC:24:11:62:36:01  192.168.22.101
  wrkr-1  worker        vs01  7011  BC:24:11:62:36:0B  -

Files
  kubeconfig      /home/u/.kube/config
  talosconfig     /home/u/.talos/config
  secrets bundle  pass: lab/talos/secrets
  journal         /home/u/.local/state/pvetalos/lab

Time, along the path that held up the end
  Proxmox              17.7s  20 %
  factory              16.0s  18 %
  firmware and Talos   0.0s   0 %
  etcd and Kubernetes  50.0s  59 %
  ourselves            0.9s   1 %

Next
  kubectl --kubeconfig /home/u/.kube/config --context lab get nodes
  talosctl --talosconfig /home/u/.talos/config --context lab version
  pvetalos status --profile lab
  pvetalos destroy --profile lab
";
    assert_eq!(summary.to_string(), expected);
    let read: serde_json::Value = serde_json::from_str(&summary.json()).expect("one line of JSON");
    let accounts = read["summary"]["accounts"].as_object().expect("an object");
    let sum: f64 = accounts.values().filter_map(serde_json::Value::as_f64).sum();
    assert!((sum - 84.6).abs() < 1e-6, "{accounts:?}");
    assert_eq!(read["summary"]["inventory"]["machines"]["cp-1"]["vmid"], 7001);
}

#[test]
fn a_step_cut_short_ends_with_the_run_and_says_so() {
    let (_, timeline) = lines(&bad());
    let cut = timeline.last(&id("create_vm/wrkr-1"), false).expect("it started");
    assert_eq!((cut.ended, cut.error.as_deref()), (Some(timeline.wall), Some("interrupted")));
    let xml = junit::report("rebuild lab", &[("create", &timeline)]).expect("it serialises");
    assert!(
        xml.contains(r#"<testsuites name="rebuild lab" tests="5" skipped="0" failures="2" errors="1" time="3.400">"#),
        "{xml}"
    );
    assert!(xml.contains(r#"<testcase name="undo write_secrets" classname="create" time="0.100">"#), "{xml}");
    assert!(!xml.contains('\x1b'), "{xml}");
}
