//! What can go wrong between us and a Kubernetes API.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),

    #[error("connect to the Kubernetes API at {server}")]
    Unreachable { server: String, source: io::Error },

    /// The answer ended before it was complete, or was no HTTP.
    #[error("GET {path} of the Kubernetes API at {server}")]
    Broken { server: String, path: String, source: hyper::Error },

    #[error("GET {path} of the Kubernetes API at {server}: no answer within {seconds}s")]
    Timeout { server: String, path: String, seconds: u64 },

    /// `message` is the API's own.
    #[error("GET {path} of the Kubernetes API at {server}: {status}: {message}")]
    Refused { server: String, path: String, status: u16, message: String },

    #[error("GET {path} of the Kubernetes API at {server}: the answer makes no sense")]
    Nonsense { server: String, path: String, source: serde_json::Error },
}

impl KubeError {
    /// The error with its causes on one line: for the reason of a wait.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
