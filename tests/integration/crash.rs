//! The process dies at every line of its journal and at every call; another one goes on from there, or takes everything
//! away. etcd is bootstrapped once at most, whatever happens.
//!
//! Every file that a run writes is written between two of these: the secrets bundle, the kubeconfig and the talosconfig
//! are whole or not there, and each is followed by a call or a line.

use std::sync::atomic::{AtomicUsize, Ordering};

use pvetalos::engine::{End, Journal, JournalError, Last};
use pvetalos::event::{Leftovers, Record, StepId};
use pvetalos::lab::clock::Clock;
use pvetalos::lab::site::Site;
use pvetalos::plan::Plan;
use pvetalos::secrets::file::write_private;

use crate::harness::{Bench, Dies, Setup, Shape, assert_none, play, reopen, report, virtually};

/// Lines that a run writes, and lines that its unwinding writes.
async fn lines(shape: &Shape) -> (usize, usize) {
    let bench = Bench::of(shape).await;
    let plan = bench.plan().await;
    assert!(matches!(bench.run_wide(&plan).await, End::Committed));
    let there = bench.journal(&plan).lines().len();
    assert!(bench.unwind_until(&plan, usize::MAX).await.is_some_and(|left| left.is_empty()));
    let all = bench.journal(&plan).lines().len();
    (there, all - there)
}

async fn resumed(bench: &Bench, plan: &Plan) -> Vec<String> {
    match bench.run_wide(plan).await {
        End::Committed => bench.ills(plan).await,
        other => vec![format!("resumed: {other:?}")],
    }
}

async fn destroyed(bench: &Bench, plan: &Plan) -> Vec<String> {
    let left = bench.unwind(plan).await;
    let left = left.iter().map(|left| format!("{left:?}"));
    left.chain(bench.blemishes()).chain(bench.second_bootstrap()).collect()
}

/// Dies at line `number` of a run; answers with what was not as it should have been.
async fn die(bench: &Bench, plan: &Plan, number: usize, width: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    if bench.run_until(plan, number, width).await.is_some() {
        wrong.push("it ended before".into());
    }
    let written = bench.journal(plan).lines().len();
    if written != number && (width == 1 || written < number) {
        wrong.push(format!("{written} lines were written"));
    }
    wrong
}

/// What is in the journal of a process that died around the writing of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Whole,
    /// Everything was done up to the writing, and it did not begin.
    NotYet,
    /// The power failed in the middle.
    Torn,
}

impl Written {
    const ALL: [Self; 3] = [Self::Whole, Self::NotYet, Self::Torn];

    /// Does it to the last line of the journal.
    fn spoil(self, bench: &Bench) {
        let path = journal_file(bench);
        let whole = std::fs::read(&path).expect("a journal");
        let line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let kept = match self {
            Self::Whole => return,
            Self::NotYet => line,
            Self::Torn => line + (whole.len() - line) / 2,
        };
        write_private(&path, &whole[..kept]).expect("a journal");
    }
}

/// What comes after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Resume,
    Destroy,
}

impl Then {
    const BOTH: [Self; 2] = [Self::Resume, Self::Destroy];

    /// Whichever it is, in the end everything is taken away.
    async fn happens(self, bench: &Bench, plan: &Plan) -> Vec<String> {
        let mut wrong = if self == Self::Resume { resumed(bench, plan).await } else { Vec::new() };
        wrong.extend(destroyed(bench, plan).await);
        wrong
    }
}

/// Every line of every shape, and both ways to go on.
fn at_every_line(shape: &Shape, what: &str, ways: &[Written], width: usize) {
    let (there, _) = virtually(lines(shape));
    let scenarios = (1..=there)
        .flat_map(|number| ways.iter().flat_map(move |written| Then::BOTH.map(|then| (number, *written, then))));
    let scenarios: Vec<_> = scenarios.collect();
    let (begun, lives) = (std::time::Instant::now(), scenarios.len());
    let wrong = play(scenarios, async |(number, written, then)| {
        let bench = Bench::of(shape).await;
        let plan = bench.plan().await;
        let mut wrong = die(&bench, &plan, *number, width).await;
        written.spoil(&bench);
        wrong.extend(then.happens(&bench, &plan).await);
        wrong
    });
    report(&format!(
        "{what}: died at each of {there} lines ({ways:?}), then resumed, or destroyed: {lives} lives in {:.0?}",
        begun.elapsed()
    ));
    assert_none(&wrong);
}

#[test]
fn one_at_every_line() {
    at_every_line(&Shape::of(1, 0), "1+0", &Written::ALL, 1);
}

#[test]
fn three_and_one_at_every_line() {
    at_every_line(&Shape::of(3, 1), "3+1, lanes side by side", &[Written::Whole], usize::MAX);
}

/// Each call is sent and not served, or served and not heard of; there, and on the way back.
#[test]
fn one_at_every_call() {
    let shape = Shape::of(1, 0);
    let (_, there, back) = virtually(async { Bench::of(&shape).await.clean_life().await });
    let scenarios = (0..there.len()).flat_map(|at| Dies::BOTH.map(|dies| (at, dies)));
    let scenarios = scenarios.flat_map(|(at, dies)| Then::BOTH.map(|then| (at, dies, then)));
    let scenarios: Vec<_> = scenarios.collect();
    let (begun, lives) = (std::time::Instant::now(), scenarios.len());
    let deaths = AtomicUsize::new(0);
    let wrong = play(scenarios, async |(at, dies, then)| {
        let bench = Bench::of(&shape).await;
        let plan = bench.plan().await;
        bench.die_at(*at, *dies);
        let mut wrong = Vec::new();
        match bench.run_mortal(&plan).await {
            None => drop(deaths.fetch_add(1, Ordering::Relaxed)),
            // The last looks of a wait come or do not, as time goes.
            Some(End::Committed) if at + 5 > there.len() => {}
            Some(end) => wrong.push(format!("it ended before: {end:?}")),
        }
        wrong.extend(then.happens(&bench, &plan).await);
        wrong
    });
    report(&format!(
        "1+0: {} deaths around {} calls, then resumed, or destroyed: {lives} lives in {:.0?}",
        deaths.into_inner(),
        there.len(),
        begun.elapsed()
    ));
    assert_none(&wrong);

    let scenarios: Vec<_> = (0..back.len()).flat_map(|at| Dies::BOTH.map(|dies| (at, dies))).collect();
    let lives = scenarios.len();
    let wrong = play(scenarios, async |(at, dies)| {
        let bench = Bench::of(&shape).await;
        let plan = bench.plan().await;
        let mut wrong = Vec::new();
        match bench.run(&plan).await {
            End::Committed => {}
            end => wrong.push(format!("{end:?}")),
        }
        bench.die_at(*at, *dies);
        if bench.unwind_mortal(&plan).await.is_some() && at + 5 < back.len() {
            wrong.push("it ended before".into());
        }
        wrong.extend(destroyed_or_done(&bench, &plan).await);
        wrong
    });
    report(&format!("1+0: {lives} deaths around {} calls on the way back, then destroyed", back.len()));
    assert_none(&wrong);
}

#[test]
fn one_and_one_at_every_line_of_the_way_back() {
    let shape = Shape::of(1, 1);
    let (_, back) = virtually(lines(&shape));
    let scenarios: Vec<_> = (1..=back).flat_map(|number| Written::ALL.map(|written| (number, written))).collect();
    let wrong = play(scenarios, async |(number, written)| {
        let bench = Bench::of(&shape).await;
        let plan = bench.plan().await;
        assert!(matches!(bench.run_wide(&plan).await, End::Committed));
        drop(bench.unwind_until(&plan, *number).await);
        written.spoil(&bench);
        destroyed(&bench, &plan).await
    });
    report(&format!("1+1: died at each of {back} lines on the way back ({:?})", Written::ALL));
    assert_none(&wrong);
}

/// Nothing more is undone, or what is left of it is.
async fn destroyed_or_done(bench: &Bench, plan: &Plan) -> Vec<String> {
    if journal_file(bench).exists() { destroyed(bench, plan).await } else { bench.blemishes() }
}

/// Two files are written one after the other, with no line and no call between them: on the way back, the contexts.
#[test]
fn between_two_files() {
    let wrong = play(["kubeconfig", "talosconfig"], async |first| {
        let bench = Bench::of(&Shape::of(1, 0)).await;
        let plan = bench.plan().await;
        assert!(matches!(bench.run(&plan).await, End::Committed));
        let (kube, talos) = (bench.kubeconfig(), bench.talosconfig());
        let one = if *first == "kubeconfig" { (Some(kube.as_path()), None) } else { (None, Some(talos.as_path())) };
        pvetalos::steps::remove_contexts("it", one.0, one.1).expect("it can be changed");
        destroyed(&bench, &plan).await
    });
    assert_none(&wrong);
}

/// Who is interrupted does not die, and takes everything back itself.
#[test]
fn interrupted() {
    let shape = Shape::of(1, 1);
    let (there, _) = virtually(lines(&shape));
    let wrong = play(1..there, async |number| {
        let bench = Bench::of(&shape).await;
        let plan = bench.plan().await;
        let (end, left) = bench.interrupted(&plan, *number).await;
        let mut wrong: Vec<String> = left.iter().map(|left| format!("{left:?}")).collect();
        if !matches!(end, End::Interrupted) {
            wrong.push(format!("{end:?}"));
        }
        wrong.extend(bench.blemishes());
        wrong
    });
    report(&format!("1+1: interrupted at each of {there} lines"));
    assert_none(&wrong);
}

/// On a clock on which things take their time, it dies in the middle of them: while a VM is being created, an image
/// fetched, a system installed.
#[test]
fn in_the_middle_of_things() {
    let begun = AtomicUsize::new(0);
    let wrong = play((1..=40).map(|number| number * 7), async |number| {
        let slow = |site: &mut Site| site.clock = Clock::Realistic { speed: 1.0 };
        let bench = Bench::start(Setup::new(&Shape { patience: "900s", ..Shape::of(1, 1) }).with_site(slow)).await;
        let plan = bench.plan().await;
        if bench.run_until_event(&plan, *number).await.is_none() {
            begun.fetch_add(1, Ordering::Relaxed);
        }
        let then = if number % 2 == 0 { Then::Resume } else { Then::Destroy };
        then.happens(&bench, &plan).await
    });
    report(&format!("1+1, as slow as a real site: died in the middle {} times", begun.into_inner()));
    assert_none(&wrong);
}

/// A process that dies at each line that it writes still comes to an end.
#[tokio::test(start_paused = true)]
async fn dying_again_and_again_ends_all_the_same() {
    let bench = Bench::of(&Shape::of(1, 1)).await;
    let plan = bench.plan().await;
    // Each life is a little longer: observations are made again in each, and the next step must get its chance.
    for lives in 1.. {
        assert!(lives < 100, "it does not get on: {:?}", bench.journal(&plan).lines().last());
        match bench.run_until(&plan, 1 + lives / 2, usize::MAX).await {
            None => {}
            Some(End::Committed) => {
                report(&format!("committed in life {lives}"));
                break;
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    assert_none(&bench.ills(&plan).await);
    for lives in 1.. {
        assert!(lives < 50, "it does not get on: {:?}", bench.journal(&plan).lines().last());
        if let Some(left) = bench.unwind_until(&plan, 2).await {
            assert!(left.is_empty(), "{left:?}");
            report(&format!("destroyed in life {lives}"));
            break;
        }
        if bench.journal(&plan).state().destroyed {
            break;
        }
    }
    assert_none(&bench.blemishes());
}

fn journal_file(bench: &Bench) -> std::path::PathBuf {
    Journal::directory(&bench.state_dir(), "it").join("journal.jsonl")
}

/// What was written can be appended to again and again, whatever the last line lost.
#[tokio::test(start_paused = true)]
async fn a_journal_loses_its_torn_line_and_nothing_else() {
    let bench = Bench::of(&Shape::of(1, 0)).await;
    let plan = bench.plan().await;
    let step = StepId::of("create_vm", "it-cp-1");
    let mut journal = bench.journal(&plan);
    journal.append(Record::Started { step: step.clone() }).expect("written");
    let error = String::from("Datei nicht gefunden: größer");
    journal.append(Record::Failed { step: step.clone(), error, leftovers: Leftovers::None }).expect("written");
    drop(journal);
    let path = journal_file(&bench);
    let whole = std::fs::read(&path).expect("a journal");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
    let second = first + whole[first..].iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    let mut cuts = 0;
    for cut in second..whole.len() {
        write_private(&path, &whole[..cut]).expect("a journal");
        let mut journal = bench.journal(&plan);
        assert_eq!(journal.state().last(&step), Some(&Last::Started), "cut at {cut}");
        journal.append(Record::Started { step: step.clone() }).expect("written");
        drop(journal);
        assert_eq!(bench.journal(&plan).lines().len(), 2, "cut at {cut}");
        cuts += 1;
    }
    // Not even the header: nothing can have been done yet.
    for cut in [0, 1, first / 2, first - 1] {
        write_private(&path, &whole[..cut]).expect("a journal");
        assert!(reopen(&bench.state_dir(), "it").expect("no error").is_none(), "cut at {cut}");
        assert!(!path.exists());
    }
    report(&format!("{cuts} cuts of a line"));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_true_is_refused() {
    let bench = Bench::of(&Shape::of(1, 0)).await;
    let plan = bench.plan().await;
    assert!(bench.run_until(&plan, 6, 1).await.is_none());
    let path = journal_file(&bench);
    let good = std::fs::read_to_string(&path).expect("a journal");
    let open = |text: &str| {
        write_private(&path, text.as_bytes()).expect("a journal");
        reopen(&bench.state_dir(), "it").map(drop)
    };
    let after = |lines: usize, more: &str| {
        let mut text: Vec<&str> = good.lines().collect();
        text.insert(lines, more);
        text.join("\n") + "\n"
    };
    open(&good).expect("as it was written");

    let finished = r#"{"at":"2026-11-21T09:00:00Z","record":"finished","step":"check_health","facts":[]}"#;
    let error = open(&after(1, finished)).expect_err("finished before it started");
    assert!(matches!(error, JournalError::Order { line: 2, .. }), "{error:?}");
    let error = open(&after(3, "not a line")).expect_err("not JSON, and not at the end");
    assert!(matches!(error, JournalError::Line { line: 4, .. }), "{error:?}");
    let destroyed = r#"{"at":"2026-11-21T09:00:00Z","record":"destroyed"}"#;
    let error = open(&after(3, destroyed)).expect_err("more after the end");
    assert!(matches!(error, JournalError::Order { line: 5, .. }), "{error:?}");

    let of_format = |format: &str| good.replacen(r#""format":"1.0""#, &format!(r#""format":"{format}""#), 1);
    let error = open(&of_format("2.0")).expect_err("another major");
    assert!(matches!(&error, JournalError::Format { found, .. } if found == "2.0"), "{error:?}");
    // What a newer program wrote may be looked at, but not continued.
    let error = open(&of_format("1.7")).expect_err("a newer minor");
    assert!(matches!(&error, JournalError::Format { found, .. } if found == "1.7"), "{error:?}");
    assert!(Journal::read(&bench.state_dir(), "it").expect("readable").is_some());

    open(&good).expect("as it was written");
    let error = Journal::create(&bench.state_dir(), &plan).map(drop).expect_err("somebody was faster");
    assert!(matches!(error, JournalError::Begun { .. }), "{error:?}");
    let held = bench.journal(&plan);
    let error = Journal::open(&bench.state_dir(), "it").map(drop).expect_err("two at once");
    assert!(matches!(error, JournalError::Locked { .. }), "{error:?}");
    drop(held);
    open(&good).expect("the lock went with its holder");
}

/// A step cannot be written into a story that it does not fit: the engine would hear of its own mistake at once.
#[tokio::test(start_paused = true)]
async fn an_impossible_line_is_not_written() {
    let bench = Bench::of(&Shape::of(1, 0)).await;
    let plan = bench.plan().await;
    let mut journal = bench.journal(&plan);
    let step = StepId::new("check_health");
    let before = std::fs::read(journal_file(&bench)).expect("a journal");
    journal.append(Record::Finished { step, facts: Vec::new() }).expect_err("it never started");
    assert_eq!(std::fs::read(journal_file(&bench)).expect("a journal"), before);
}
