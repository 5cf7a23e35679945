//! Starting, finding and stopping the lab's background process.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::control::{self, Request};
use super::{Code, Failure, Info};
use crate::lab::faults::Fault;
use crate::lab::fixture::Fixture;
use crate::lab::site::Site;
use crate::lab::{Lab, LabOptions};
use crate::secrets::file::write_private;
use crate::wait::{self, Pace, Probe};

/// What the background process is told.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    pub site: Site,
    pub port: u16,
    pub faults: Vec<Fault>,
    pub implicit: bool,
    /// A recording's fixture on top of the site.
    pub fixture: Option<Fixture>,
}

const ORDERS: &str = "orders.json";
const INFO: &str = "lab.json";
const LOG: &str = "lab.log";
/// The authority, as a file for programs that want one.
const CA: &str = "ca.pem";
const PATIENCE: Duration = Duration::from_secs(20);

/// The lab of `dir`, if one answers there.
pub(super) async fn running(dir: &Path) -> Option<Info> {
    control::ask(dir, Request::Status).await.ok()?;
    serde_json::from_slice(&std::fs::read(dir.join(INFO)).ok()?).ok()
}

/// Starts the process and waits until it answers.
pub(super) async fn start(dir: &Path, orders: &Orders) -> Result<Info, Failure> {
    let failed = |error: std::io::Error| Failure::new(Code::Refused, format!("cannot start the lab: {error}"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    std::fs::remove_file(dir.join(INFO)).ok();
    write_private(&dir.join(ORDERS), &serde_json::to_vec(orders).expect("plain data")).map_err(failed)?;
    let log =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(dir.join(LOG)).map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    // A process group of its own: Ctrl-C is meant for the command in the foreground, not for the site.
    let mut child = Command::new(program)
        .args(["lab", "serve", "--dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let pace = Pace { first: Duration::from_millis(10), max: Duration::from_millis(200) };
    wait::until(
        "the lab",
        pace,
        PATIENCE,
        |_| {},
        async || match (running(dir).await, child.try_wait()) {
            (Some(info), _) => Probe::Ready(info),
            (None, Ok(Some(status))) => Probe::Never(std::io::Error::other(format!(
                "it ended with {status}: {}",
                std::fs::read_to_string(dir.join(LOG)).unwrap_or_default().trim()
            ))),
            (None, _) => Probe::NotYet(String::from("it does not answer")),
        },
    )
    .await
    .map_err(|error| Failure::of(Code::Refused, &error))
}

/// Asks the process to end and waits until it does not answer any more. `false`: none was running.
pub(super) async fn stop(dir: &Path) -> Result<bool, Failure> {
    if control::ask(dir, Request::Stop).await.is_err() {
        return Ok(false);
    }
    let gone = wait::until(
        "the lab's end",
        Pace::BRISK,
        PATIENCE,
        |_| {},
        async || match control::ask(dir, Request::Status).await {
            Ok(_) => Probe::<(), std::io::Error>::NotYet(String::from("it still answers")),
            Err(_) => Probe::Ready(()),
        },
    );
    gone.await.map_err(|error| Failure::of(Code::Defect, &error))?;
    for file in [INFO, ORDERS, CA] {
        std::fs::remove_file(dir.join(file)).ok();
    }
    Ok(true)
}

/// The background process: runs the site until it is asked to stop.
pub(super) async fn serve(dir: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(Code::Defect, error);
    let orders = std::fs::read(dir.join(ORDERS)).map_err(|e| failed(&e))?;
    let orders: Orders = serde_json::from_slice(&orders).map_err(|e| failed(&e))?;
    let options = LabOptions { site: orders.site, port: orders.port, fixture: orders.fixture };
    let lab = Lab::start(options).await.map_err(|e| failed(&e))?;
    lab.shared().lock().faults.script = orders.faults;
    let ca_file = dir.join(CA);
    write_private(&ca_file, lab.endpoints().ca_pem.as_bytes()).map_err(|e| failed(&e))?;
    let info = Info { ca_file, ..Info::of(lab.endpoints(), orders.implicit) };
    let info = serde_json::to_vec(&info).expect("plain data");
    write_private(&dir.join(INFO), &info).map_err(|e| failed(&e))?;
    let socket = control::socket(dir);
    std::fs::remove_file(&socket).ok();
    let listener = UnixListener::bind(&socket).map_err(|e| failed(&e))?;
    // The terminal that started us may close.
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).map_err(|e| failed(&e))?;
    let serving = control::serve(listener, &lab);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            ended = &mut serving => {
                std::fs::remove_file(&socket).ok();
                return ended.map_err(|e| failed(&e));
            }
            _ = hangup.recv() => {}
        }
    }
}
