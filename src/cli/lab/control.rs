//! The lab's handle: one JSON line in, one JSON line out, over a Unix socket.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::lab::Lab;
use crate::lab::faults::Fault;

/// What a running lab can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    Status,
    /// Replaces the script of faults.
    Faults(Vec<Fault>),
    Stop,
}

/// The socket inside the lab's directory.
pub(super) fn socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// Asks the lab of `dir`. An error means that none is running there.
pub(super) async fn ask(dir: &Path, request: Request) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket(dir)).await?;
    let mut line = serde_json::to_string(&request)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).await?;
    Ok(serde_json::from_str(&reply)?)
}

/// Answers until it is asked to stop.
pub(super) async fn serve(listener: UnixListener, lab: &Lab) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut line = String::new();
        // A client that breaks off is its own affair.
        if BufReader::new(&mut stream).read_line(&mut line).await.is_err() {
            continue;
        }
        let (reply, stop) = match serde_json::from_str(&line) {
            Ok(Request::Status) => (serde_json::to_value(lab.shared().lock().summary()).unwrap_or_default(), false),
            Ok(Request::Faults(script)) => {
                lab.shared().lock().faults.script = script;
                (Value::Bool(true), false)
            }
            Ok(Request::Stop) => (Value::Bool(true), true),
            Err(error) => (Value::String(error.to_string()), false),
        };
        stream.write_all(format!("{reply}\n").as_bytes()).await.ok();
        if stop {
            return Ok(());
        }
    }
}
