//! Running a program that prints or takes a secret.

use std::io;
use std::io::IsTerminal;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::{Secret, SecretError, env};

/// More than any credential or secrets bundle; a program that prints more is not the right one.
const MOST: u64 = 1024 * 1024;

/// What a program that ended well printed.
pub(super) struct Printed {
    stdout: Zeroizing<Vec<u8>>,
}

impl Printed {
    pub(super) fn text(self, reference: &str) -> Result<Secret, SecretError> {
        str::from_utf8(&self.stdout).map(Secret::new).map_err(|_| SecretError::Unusable {
            reference: reference.to_owned(),
            why: "what is kept there is not UTF-8 text".into(),
        })
    }
}

/// How long a program may take: with a terminal a person may be typing a PIN.
pub(super) fn patience() -> Duration {
    Duration::from_secs(if io::stderr().is_terminal() { 120 } else { 10 })
}

/// Runs `command` to its end; `input` goes to its standard input, which is closed otherwise.
///
/// The program is killed when this future is dropped. Its standard output is in
/// no error, since it may be the secret; its standard error is, shortened.
pub(super) async fn run(
    mut command: Command,
    input: Option<&Secret>,
    patience: Duration,
    reference: &str,
) -> Result<Printed, SecretError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let io_error = |verb| move |source| SecretError::Io { verb, reference: reference.to_owned(), source };
    command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    env::conceal(&mut command);
    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SecretError::Unusable {
            reference: reference.to_owned(),
            why: format!("there is no program {program}: install it or name another provider"),
        },
        _ => SecretError::Io { verb: "start the program for", reference: reference.to_owned(), source },
    })?;

    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let (Some(mut stdin), Some(secret)) = (stdin, input) {
            // A program that ends without reading says why by its status; a broken pipe adds nothing.
            let _ended_early = stdin.write_all(secret.expose().as_bytes()).await;
            let _ended_early = stdin.shutdown().await;
        }
    };
    let whole = async { tokio::join!(feed, read(stdout), read(stderr), child.wait()) };
    let ((), stdout, stderr, status) = tokio::time::timeout(patience, whole).await.map_err(|_| {
        SecretError::TimedOut { program: program.clone(), reference: reference.to_owned(), after: patience }
    })?;
    let (stdout, stderr) = (stdout.map_err(io_error("read"))?, stderr.map_err(io_error("read"))?);
    let status = status.map_err(io_error("read"))?;
    if !status.success() {
        let said = shorten(&String::from_utf8_lossy(&stderr));
        return Err(SecretError::Program {
            program,
            reference: reference.to_owned(),
            status: status.to_string(),
            said,
        });
    }
    if stdout.len() as u64 >= MOST {
        return Err(SecretError::Unusable {
            reference: reference.to_owned(),
            why: format!("{program} prints over 1 MiB"),
        });
    }
    Ok(Printed { stdout })
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    if let Some(pipe) = pipe {
        pipe.take(MOST).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The last lines that fit into an error.
fn shorten(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    if last.is_empty() { "it said nothing".into() } else { last.chars().take(300).collect() }
}
