//! The standard Unix password manager, as the program `pass`.
//!
//! A subprocess and not a library: the user's gpg-agent, git hooks and
//! extensions stay in charge. Two traps of `pass show` decide the shape (pass
//! 1.7.4): for a *directory* it prints a tree and succeeds, so the file is looked
//! for first; for a locked key without a terminal gpg says "No secret key", which
//! is not what is wrong.

use std::path::{Component, Path, PathBuf};

use tokio::process::Command;

use super::{Secret, SecretError, child, env};

pub(super) async fn read(entry: &str, reference: &str) -> Result<Secret, SecretError> {
    if !exists(entry, reference)? {
        return Err(SecretError::Missing { reference: reference.to_owned() });
    }
    let mut command = pass();
    command.args(["show", "--", entry]);
    child::run(command, None, child::patience(), reference).await.map_err(explain)?.text(reference)
}

pub(super) async fn write(entry: &str, secret: &Secret, reference: &str) -> Result<(), SecretError> {
    let store = store(reference)?;
    locate(&store, entry, reference)?;
    if !store.join(".gpg-id").exists() {
        return Err(SecretError::Unusable {
            reference: reference.to_owned(),
            why: format!("there is no password store in {}: pass init KEY", store.display()),
        });
    }
    let mut command = pass();
    command.args(["insert", "-m", "-f", "--", entry]);
    child::run(command, Some(secret), child::patience(), reference).await.map_err(explain)?;
    Ok(())
}

pub(super) async fn remove(entry: &str, reference: &str) -> Result<(), SecretError> {
    if !exists(entry, reference)? {
        return Ok(());
    }
    let mut command = pass();
    command.args(["rm", "-f", "--", entry]);
    child::run(command, None, child::patience(), reference).await?;
    Ok(())
}

pub(super) fn exists(entry: &str, reference: &str) -> Result<bool, SecretError> {
    let file = locate(&store(reference)?, entry, reference)?;
    Ok(file.is_file())
}

/// The file of `entry`. An entry that is a folder is refused here, before `pass` prints its listing.
fn locate(store: &Path, entry: &str, reference: &str) -> Result<PathBuf, SecretError> {
    let unusable = |why: &str| SecretError::Unusable { reference: reference.to_owned(), why: why.to_owned() };
    let plain = Path::new(entry).components().all(|part| matches!(part, Component::Normal(_)));
    if entry.is_empty() || !plain || entry.ends_with('/') || entry.contains('\0') {
        return Err(unusable("an entry is a path inside the store, such as matherlynet/pve/api-token"));
    }
    let file = store.join(format!("{entry}.gpg"));
    if !file.is_file() && store.join(entry).is_dir() {
        return Err(unusable("it is a folder of the store, not an entry"));
    }
    Ok(file)
}

fn store(reference: &str) -> Result<PathBuf, SecretError> {
    env::var("PASSWORD_STORE_DIR")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::var("HOME").map(|home| PathBuf::from(home).join(".password-store")))
        .ok_or_else(|| SecretError::Unusable {
            reference: reference.to_owned(),
            why: "neither PASSWORD_STORE_DIR nor HOME is set".into(),
        })
}

fn pass() -> Command {
    let mut command = Command::new("pass");
    // A pinentry for the terminal has to be told which one, since its standard input is closed.
    if env::var("GPG_TTY").is_none()
        && let Some(terminal) = ["/proc/self/fd/2", "/proc/self/fd/0"]
            .iter()
            .filter_map(|fd| std::fs::read_link(fd).ok())
            .find(|target| target.starts_with("/dev/pts") || target.starts_with("/dev/tty"))
    {
        command.env("GPG_TTY", terminal);
    }
    command
}

fn explain(error: SecretError) -> SecretError {
    match error {
        SecretError::Program { program, reference, status, mut said } if said.contains("No secret key") => {
            said.push_str("; the key is absent, or locked and nothing could ask for its passphrase: unlock gpg-agent");
            SecretError::Program { program, reference, status, said }
        }
        other => other,
    }
}
