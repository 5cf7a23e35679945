//! What is wrong with a profile: always a list, each with its place and what to do.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `network.gateway`, `nodes.workers.assignments[0].ip`; empty when the file as a whole is meant.
    pub path: String,
    /// Counted from 1. `None` where the value came from no line of the file.
    pub line: Option<u64>,
    pub column: Option<u64>,
    /// Continues the path: `10.0.0.1 is outside network.cidr 192.168.20.0/22`.
    pub message: String,
    /// What to do, as an order: `choose an address inside it`. May be empty.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{} ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No file of that name in any of the directories.
    #[error("there is no profile {name}: looked for {}{}", join(looked), hint(known, nearest.as_ref()))]
    NotFound {
        name: String,
        /// Every path that was tried.
        looked: Vec<PathBuf>,
        /// The profiles that do exist there.
        known: Vec<String>,
        nearest: Option<String>,
    },
    #[error("read the profile {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// One line for each problem, in the order of the file.
    #[error("{}", lines(file, problems))]
    Invalid { file: PathBuf, problems: Vec<Problem> },
}

impl ProfileError {
    /// Everything that is wrong inside the file; empty when no file was read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            Self::NotFound { .. } | Self::Read { .. } => &[],
        }
    }
}

fn join(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn hint(known: &[String], nearest: Option<&String>) -> String {
    let exist = if known.is_empty() { String::new() } else { format!("; there are: {}", known.join(", ")) };
    nearest.map_or(exist.clone(), |nearest| format!("{exist}; did you mean {nearest}?"))
}

fn lines(file: &std::path::Path, problems: &[Problem]) -> String {
    let line = |problem: &Problem| match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}: {problem}", file.display()),
        _ => format!("{}: {problem}", file.display()),
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
