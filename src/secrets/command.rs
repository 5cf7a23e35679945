//! A program of the user's choice, run as it is written: arguments are a list, no shell looks at them.

use tokio::process::Command;

use super::{Secret, SecretError, child};

pub(super) async fn read(argv: &[String], reference: &str) -> Result<Secret, SecretError> {
    let Some((program, arguments)) = argv.split_first().filter(|(program, _)| !program.is_empty()) else {
        return Err(SecretError::Unusable { reference: reference.to_owned(), why: "it names no program".into() });
    };
    let mut command = Command::new(program);
    command.args(arguments);
    child::run(command, None, child::patience(), reference).await?.text(reference)
}
