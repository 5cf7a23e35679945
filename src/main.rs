//! Parse, run, print the failure, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    pvetalos::cli::main()
}
