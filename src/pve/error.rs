//! What can go wrong between us and Proxmox VE, told apart by what is known about the work.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::task::Upid;
use super::trust::Fingerprint;
use crate::wait::humanise;

/// A request that did not do what was asked, or of which that is not known.
#[derive(Debug, thiserror::Error)]
pub enum PveError {
    /// No connection came about: nothing was asked of anybody.
    #[error("{request} was not sent: {endpoint} cannot be reached")]
    NeverSent { request: String, endpoint: String, source: reqwest::Error },
    /// The request left and no whole answer came: the work may be done, going on, or never begun.
    #[error("{request} may have been done: {how}")]
    PerhapsDone { request: String, how: Lost, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the certificate of {endpoint} has the fingerprint {seen}, not the {expected} of the profile")]
    WrongFingerprint { endpoint: String, expected: Fingerprint, seen: Fingerprint },
    #[error("the certificate of {endpoint} is not trusted{}", seen.map_or_else(String::new, |seen| format!(" (its fingerprint is {seen})")))]
    Untrusted { endpoint: String, seen: Option<Fingerprint>, source: reqwest::Error },
    /// What the profile gives to connect with makes no client.
    #[error("cannot connect to Proxmox VE: {0}")]
    Options(String),
    /// Several endpoints were tried, none served.
    #[error("none of the endpoints serves: {}", list(.0))]
    NoEndpoint(Vec<PveError>),
    /// A name that would change the meaning of the request's path.
    #[error("{name:?} is no name of a {what}")]
    BadName { what: &'static str, name: String },
    #[error("{0}")]
    Unauthorized(Box<Refusal>),
    /// `path` and `privilege` (`A|B`: either) as the text names them; creating a VM without any right names none.
    #[error("{refusal}")]
    Forbidden { refusal: Box<Refusal>, path: Option<String>, privilege: Option<String> },
    /// Parameters were refused; [`Refusal::errors`] says which and why.
    #[error("{0}")]
    Parameter(Box<Refusal>),
    #[error("{0}")]
    NotImplemented(Box<Refusal>),
    /// The node that was asked could not connect to the one that has to do it.
    #[error("{0}: the node asked cannot reach the node that was meant")]
    ProxyConnect(Box<Refusal>),
    /// The node that was asked gave up waiting (30 s): the other one may go on working.
    #[error("{0}: the node asked gave up waiting, the work may go on")]
    ProxyLost(Box<Refusal>),
    #[error("{0}")]
    ProxyOther(Box<Refusal>),
    /// The handler refused or failed: its text is all there is to know.
    #[error("{0}")]
    Server(Box<Refusal>),
    /// Any other status.
    #[error("{0}")]
    Other(Box<Refusal>),
    /// The task ended badly. The exit text names the symptom, the log's last lines the cause.
    #[error("task {} of {} on node {} failed: {exit}{}", upid.kind(), upid.subject(), upid.node(), tail(log))]
    TaskFailed { upid: Upid, exit: String, log: Vec<String> },
    #[error("task {} of {} on node {} did not end within {}; last seen: {last}", upid.kind(), upid.subject(), upid.node(), humanise(*after))]
    TaskUnfinished { upid: Upid, after: Duration, last: String },
    /// The answer is not what this request answers. `shape` shows its keys, never its values.
    #[error("{request} answered something unexpected: {shape}")]
    Decode { request: String, shape: String, source: serde_json::Error },
    /// The guest agent took the question and answered with an error.
    #[error("the guest agent of VM {vmid} refuses: {text}")]
    Agent { vmid: u32, text: String },
    #[error("Proxmox VE {0} is not supported: 8 or newer is needed")]
    TooOld(String),
}

/// When the connection was lost after the request had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Closed or reset before the first byte of the answer.
    BeforeReply,
    /// The answer broke off.
    MidReply,
    /// No answer in time.
    TimedOut,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeReply => "the connection was lost before the answer",
            Self::MidReply => "the answer broke off",
            Self::TimedOut => "no answer came in time",
        })
    }
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `POST /nodes/pve1/qemu`.
    pub request: String,
    pub status: u16,
    /// The phrase of the status line: the first line of the text, and before libpve-http-server-perl 5.2.0 all of it.
    pub reason: String,
    /// `message` of the body, trimmed; empty when there is none.
    pub message: String,
    /// Parameter by name, and what is wrong with it.
    pub errors: BTreeMap<String, String>,
}

impl Refusal {
    /// The fullest text there is.
    pub fn text(&self) -> &str {
        if self.message.is_empty() { &self.reason } else { &self.message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is refused ({}): {}", self.request, self.status, self.text())?;
        for (name, text) in &self.errors {
            write!(f, "; {name}: {}", text.trim())?;
        }
        Ok(())
    }
}

impl From<Refusal> for PveError {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.status;
        let verification = refusal.text().starts_with("Parameter verification failed");
        let refusal = Box::new(refusal);
        match status {
            400 if verification || !refusal.errors.is_empty() => Self::Parameter(refusal),
            401 => Self::Unauthorized(refusal),
            403 => {
                let (path, privilege) = missing_privilege(refusal.text()).unzip();
                Self::Forbidden { refusal, path, privilege }
            }
            500 => Self::Server(refusal),
            501 => Self::NotImplemented(refusal),
            595 => Self::ProxyConnect(refusal),
            596 => Self::ProxyLost(refusal),
            599 => Self::ProxyOther(refusal),
            _ => Self::Other(refusal),
        }
    }
}

/// `/vms/100` and `VM.Audit` of `Permission check failed (/vms/100, VM.Audit)`.
fn missing_privilege(text: &str) -> Option<(String, String)> {
    let inner = text.split_once("Permission check failed (")?.1.rsplit_once(')')?.0;
    let (path, privilege) = inner.split_once(", ").filter(|(path, _)| path.starts_with('/'))?;
    Some((path.to_owned(), privilege.to_owned()))
}

impl PveError {
    /// The answer, if one came.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Unauthorized(refusal)
            | Self::Forbidden { refusal, .. }
            | Self::Parameter(refusal)
            | Self::NotImplemented(refusal)
            | Self::ProxyConnect(refusal)
            | Self::ProxyLost(refusal)
            | Self::ProxyOther(refusal)
            | Self::Server(refusal)
            | Self::Other(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The text of a refused request or of a failed task: which of the two it is depends on how far the work came.
    fn text(&self) -> &str {
        match self {
            Self::TaskFailed { exit, .. } => exit,
            other => other.refusal().map_or("", Refusal::text),
        }
    }

    /// The VM is not on this node: it may be on another one, or nowhere.
    pub fn is_missing_vm(&self) -> bool {
        let text = self.text();
        (text.contains("Configuration file '") && text.contains("does not exist"))
            || text.contains("unable to find configuration file for VM")
    }

    /// The VMID, or a volume of that name, is taken.
    pub fn is_taken(&self) -> bool {
        let of_vmid = self
            .refusal()
            .is_some_and(|refusal| refusal.errors.get("vmid").is_some_and(|text| text.contains("already exists")));
        of_vmid || self.text().contains("already exists") || self.text().contains("File exists")
    }

    /// Somebody else is at work on the VM or the storage: later it may go.
    pub fn is_locked(&self) -> bool {
        let text = self.text();
        text.contains("can't lock file")
            || text.contains("got lock request timeout")
            || text.contains("is locked (")
            || text.contains("got lock timeout")
    }

    /// A start found the VM running.
    pub fn is_already_running(&self) -> bool {
        self.text().contains("already running")
    }

    /// The configuration is not the one whose digest was sent along: somebody changed or replaced it.
    pub fn is_changed_meanwhile(&self) -> bool {
        self.text().contains("checksum mismatch")
    }

    /// The token may not do it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// A download found its file's name taken: it never overwrites (pve-storage 9.1: src/PVE/API2/Storage/Status.pm).
    pub fn refuses_to_overwrite(&self) -> bool {
        self.text().contains("refusing to override existing file")
    }

    /// The node could not fetch what it was told to: from elsewhere it may still be had.
    pub fn is_failed_download(&self) -> bool {
        self.text().contains("download failed")
    }

    /// No guest agent answers, or not yet (qemu-server 9.2: src/PVE/QemuServer/Agent.pm).
    pub fn is_agent_silent(&self) -> bool {
        let text = self.text();
        text.contains("QEMU guest agent is not running")
            || text.contains("No QEMU guest agent configured")
            || (text.contains("qmp command 'guest-") && text.contains("got timeout"))
            || (text.starts_with("VM ") && text.ends_with("is not running"))
    }

    /// The work may have been done, or be going on, although no success was reported.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::PerhapsDone { .. } | Self::ProxyLost(_) | Self::TaskUnfinished { .. } | Self::Decode { .. }
        )
    }

    /// The connection or a proxy failed, not the work: asking again later may help.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::NeverSent { .. }
                | Self::PerhapsDone { .. }
                | Self::ProxyConnect(_)
                | Self::ProxyLost(_)
                | Self::ProxyOther(_)
        )
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unauthorized(_) => {
                Some("check that the token exists, has not expired and that its user is enabled (pveum user token list USER)".into())
            }
            Self::Forbidden { path: Some(path), privilege: Some(privilege), .. } => Some(format!(
                "give a role with {} on {path} to the token and, if its privileges are separated, to its user too (pveum acl modify {path} --roles ROLE --users USER --tokens TOKEN)",
                privilege.replace('|', " or ")
            )),
            Self::Forbidden { .. } => {
                Some("the token, or its user, lacks a privilege that the text does not name: run the checks".into())
            }
            Self::WrongFingerprint { .. } => Some(
                "compare with `openssl x509 -fingerprint -sha256 -noout -in /etc/pve/local/pve-ssl.pem` on the node: a renewed certificate has a new fingerprint, and so has an impostor".into(),
            ),
            Self::Untrusted { .. } => Some(
                "set tls.ca to the cluster's /etc/pve/pve-root-ca.pem, or tls.fingerprint after comparing it on the node".into(),
            ),
            Self::NeverSent { .. } => Some("check that the node is up and that port 8006 is reachable from here".into()),
            Self::NoEndpoint(errors) => errors.iter().find_map(Self::hint),
            Self::ProxyConnect(_) => Some("check that the node named in the request is up and in the cluster".into()),
            Self::TaskFailed { upid, .. } => {
                Some(format!("the whole log is in the task list of node {}, or: pvenode task log {upid}", upid.node()))
            }
            _ => None,
        }
    }
}

/// Each with its last cause: several errors have no one source that could be printed below them.
fn list(errors: &[PveError]) -> String {
    let whole = |error: &PveError| match std::error::Error::source(error) {
        Some(source) => format!("{error} ({})", innermost(source)),
        None => error.to_string(),
    };
    errors.iter().map(whole).collect::<Vec<_>>().join("; ")
}

/// The last cause of a chain: those of HTTP libraries say little before it.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The last lines of a log without the line that repeats the exit text.
fn tail(log: &[String]) -> String {
    let lines: Vec<&str> = log.iter().map(String::as_str).filter(|line| !line.starts_with("TASK ")).collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!(" (log: {})", lines[lines.len().saturating_sub(3)..].join("; "))
    }
}
