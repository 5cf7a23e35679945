use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::server::{Reply, Seen, Server, data, refuse};
use crate::pve::{PveError, TaskEnd, Upid};

const UPID: &str = "UPID:pve1:00000C4D:000BBAF9:6B01453D:qmcreate:383:talos@pve!ci:";

fn upid() -> Upid {
    UPID.parse().expect("this is a task id")
}

const NO_SUCH_TASK: &str =
    r#"{"data":null,"message":"Parameter verification failed.\n","errors":{"upid":"no such task"}}"#;

fn status(exit: Option<&str>) -> Reply {
    let rest = exit.map_or_else(|| "\"running\"".to_owned(), |exit| format!("\"stopped\",\"exitstatus\":\"{exit}\""));
    data(&format!("{{\"upid\":\"{UPID}\",\"pid\":3149,\"status\":{rest}}}"))
}

/// Answers the polls one after the other, the last one for ever, and the log with `log`.
async fn site(polls: Vec<Reply>, log: &[&str]) -> Server {
    let lines: Vec<String> =
        log.iter().enumerate().map(|(n, line)| format!("{{\"n\":{},\"t\":\"{line}\"}}", n + 1)).collect();
    let log = format!("[{}]", lines.join(","));
    let polled = Arc::new(AtomicUsize::new(0));
    Server::start(move |seen: Seen| {
        let reply = if seen.request.contains("/log?limit=0") {
            data(&log)
        } else {
            polls[polled.fetch_add(1, Ordering::SeqCst).min(polls.len() - 1)].clone()
        };
        std::future::ready(reply)
    })
    .await
}

async fn wait(server: &Server) -> (Result<TaskEnd, PveError>, Vec<String>) {
    let mut reasons = Vec::new();
    let pve = server.connect().await;
    let end = pve.wait_task(&upid(), Duration::from_secs(20), |reason| reasons.push(reason.to_owned())).await;
    (end, reasons)
}

#[tokio::test]
async fn a_task_is_polled_through_late_lists_and_lost_answers_to_its_end() {
    let polls = vec![
        refuse(400, "Parameter verification failed.", NO_SUCH_TASK),
        status(None),
        refuse(596, "Connection timed out", ""),
        refuse(595, "No route to host", ""),
        status(Some("OK")),
    ];
    let server = site(polls, &[]).await;
    let (end, reasons) = wait(&server).await;
    assert_eq!(end.expect("done"), TaskEnd::default());
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert_eq!(reasons[1], "task qmcreate of 383 is running");
    let path = "GET /nodes/pve1/tasks/UPID%3Apve1%3A00000C4D%3A000BBAF9%3A6B01453D%3Aqmcreate%3A383%3Atalos%40pve%21ci%3A/status";
    assert_eq!(server.requests()[0], path);
}

#[tokio::test]
async fn warnings_are_success_with_something_to_read() {
    let log = ["WARN: no efidisk configured! Using temporary efivars disk.", "TASK WARNINGS: 1"];
    let (end, _) = wait(&site(vec![status(Some("WARNINGS: 1"))], &log).await).await;
    let end = end.expect("warnings are no failure");
    assert_eq!((end.warnings, end.log), (1, log.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn a_failure_carries_its_text_and_the_end_of_its_log() {
    let noise: Vec<String> = (0..100).map(|n| format!("transferred {n}%")).collect();
    let mut log: Vec<&str> = noise.iter().map(String::as_str).collect();
    log.extend([
        "kvm: -netdev tap: bridge 'vmbr9' does not exist",
        "TASK ERROR: start failed: QEMU exited with code 1",
    ]);
    let (end, _) = wait(&site(vec![status(Some("start failed: QEMU exited with code 1"))], &log).await).await;
    let error = end.expect_err("failed");
    let PveError::TaskFailed { exit, log, .. } = &error else { panic!("{error:?}") };
    assert_eq!((exit.as_str(), log.len()), ("start failed: QEMU exited with code 1", 20));
    let text = error.to_string();
    assert!(text.starts_with("task qmcreate of 383 on node pve1 failed: start failed"), "{text}");
    assert!(text.contains("bridge 'vmbr9' does not exist") && !text.contains("TASK ERROR"), "{text}");
}

#[tokio::test]
async fn a_failed_task_speaks_of_missing_and_taken_vms_too() {
    for (exit, missing, taken, locked) in [
        ("Configuration file 'nodes/pve1/qemu-server/383.conf' does not exist", true, false, false),
        ("unable to find configuration file for VM 383 on node 'pve1'", true, false, false),
        ("unable to create VM 383 - VM 383 already exists on node 'pve1'", false, true, false),
        ("can't lock file '/var/lock/qemu-server/lock-383.conf' - got timeout", false, false, true),
        ("VM is locked (create)", false, false, true),
        ("unable to create VM 383 - cfs-lock 'storage-data' error: got lock request timeout", false, false, true),
    ] {
        let (end, _) = wait(&site(vec![status(Some(exit))], &[]).await).await;
        let error = end.expect_err("failed");
        assert_eq!((error.is_missing_vm(), error.is_taken(), error.is_locked()), (missing, taken, locked), "{exit}");
    }
}

#[tokio::test]
async fn a_task_that_was_seen_and_then_is_unknown_is_an_error_at_once() {
    let polls = vec![status(None), refuse(400, "Parameter verification failed.", NO_SUCH_TASK)];
    let (end, reasons) = wait(&site(polls, &[]).await).await;
    assert!(matches!(end, Err(PveError::Parameter(_))));
    assert_eq!(reasons.len(), 1);
}

#[tokio::test]
async fn a_task_that_does_not_end_is_given_up_with_the_last_reason() {
    let server = site(vec![status(None)], &[]).await;
    let pve = server.connect().await;
    let error = pve.wait_task(&upid(), Duration::from_millis(120), |_| {}).await.expect_err("it runs on");
    assert!(matches!(&error, PveError::TaskUnfinished { last, .. } if last.ends_with("is running")), "{error}");
    assert!(error.is_outcome_unknown());
}

#[tokio::test]
async fn running_tasks_of_a_vm_are_listed() {
    let entry =
        format!(r#"[{{"upid":"{UPID}","user":"talos@pve!ci","status":"RUNNING","saved":"0"}},{{"upid":"odd"}}]"#);
    let server = Server::start(move |_| std::future::ready(data(&entry))).await;
    assert_eq!(server.connect().await.active_tasks("pve1", 383).await.expect("listed"), [upid()]);
    assert_eq!(server.requests(), ["GET /nodes/pve1/tasks?source=active&vmid=383"]);
}

#[test]
fn a_task_id_is_taken_apart_and_nothing_else_is_one() {
    let id = upid();
    assert_eq!((id.node(), id.kind(), id.subject(), id.to_string()), ("pve1", "qmcreate", "383", UPID.to_owned()));
    let nine: Upid = "UPID:pve1:00000C4D:100BBAF9A:6B01453D:imgcopy::root@pam:".parse().expect("nine digits, no id");
    assert_eq!(nine.subject(), "-");
    for bad in [
        "",
        "foo",
        &UPID[..UPID.len() - 1],
        "UPID:a/b:00000C4D:000BBAF9:6B01453D:qmcreate:383:talos@pve:",
        "UPID:pve1:C4D:000BBAF9:6B01453D:qmcreate:383:talos@pve:",
    ] {
        assert!(bad.parse::<Upid>().is_err(), "{bad:?}");
    }
}
