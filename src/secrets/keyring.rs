//! The desktop's keyring: the Secret Service on Linux, the keychain on macOS.
//!
//! The library's calls block, for milliseconds or until a person answers a
//! prompt. They run on a thread of their own and not on tokio's blocking pool: the
//! runtime waits for that pool when it shuts down, and a prompt that nobody
//! answers would then hold the whole program.

use std::time::Duration;

use keyring_core::{Entry, Error};

use super::{Secret, SecretError, child};

/// The `service` attribute of our entries; `username` is the entry's name. `secret-tool` finds them by these.
const SERVICE: &str = "pvetalos";

pub(super) async fn read(entry: &str, reference: &str) -> Result<Secret, SecretError> {
    ask(entry, reference, |entry| entry.get_password().map(Secret::new)).await
}

pub(super) async fn write(entry: &str, secret: &Secret, reference: &str) -> Result<(), SecretError> {
    let secret = secret.clone();
    ask(entry, reference, move |entry| entry.set_password(secret.expose())).await
}

pub(super) async fn remove(entry: &str, reference: &str) -> Result<(), SecretError> {
    match ask(entry, reference, Entry::delete_credential).await {
        Err(SecretError::Missing { .. }) => Ok(()),
        other => other,
    }
}

async fn ask<T: Send + 'static>(
    entry: &str,
    reference: &str,
    question: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
) -> Result<T, SecretError> {
    let (name, subject) = (entry.to_owned(), reference.to_owned());
    let (answer, answered) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let result = open(&name).and_then(|entry| question(&entry).map_err(|error| why(&error)));
        // Nobody listens any more after the timeout.
        let _late = answer.send(result);
    });
    let patience: Duration = child::patience();
    let timed_out =
        || SecretError::TimedOut { program: "the keyring".into(), reference: subject.clone(), after: patience };
    match tokio::time::timeout(patience, answered).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(None))) => Err(SecretError::Missing { reference: subject }),
        Ok(Ok(Err(Some(why)))) => Err(SecretError::Unusable { reference: subject, why }),
        Ok(Err(_)) | Err(_) => Err(timed_out()),
    }
}

/// Connects the platform's store on first use. A store that is already set (tests have their own) is left alone.
fn open(name: &str) -> Result<Entry, Option<String>> {
    if keyring_core::get_default_store().is_none()
        && let Err(error) = keyring::Entry::store_status()
    {
        return Err(why(error));
    }
    Entry::new(SERVICE, name).map_err(|error| why(&error))
}

/// What to tell the user; `None` for an entry that is not there. Errors that carry the secret's bytes are not quoted.
fn why(error: &Error) -> Option<String> {
    match error {
        Error::NoEntry => None,
        Error::NoStorageAccess(cause) => Some(format!(
            "the keyring is locked or has no login collection ({cause}): unlock it, or use pass or file instead"
        )),
        Error::PlatformFailure(cause) => Some(format!(
            "no keyring answers ({cause}): run in a desktop session with a Secret Service, or use pass or file instead"
        )),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => Some("what is kept there is not text".into()),
        Error::Ambiguous(_) => {
            Some(format!("several entries have service {SERVICE} and this user name: remove all but one"))
        }
        other => Some(other.to_string()),
    }
}
