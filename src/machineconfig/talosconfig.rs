//! The talosconfig: which machines to talk to, and the client certificate to do it with.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::bundle::{Bundle, base64};
use super::pki::{self, Pair, PkiError};
use super::yaml::{self, Node, SyntaxError, object};
use crate::secrets::Secret;

/// An administrator's access to one cluster.
#[derive(Clone)]
pub struct Admin {
    /// Name of the context: the cluster's name.
    pub context: String,
    /// Control planes through which the API is reached, host or `host:port`.
    pub endpoints: Vec<String>,
    /// Machines that a command means when none is named.
    pub nodes: Vec<String>,
    pub ca_pem: String,
    pub crt_pem: String,
    pub key_pem: Secret,
}

/// The text is no talosconfig with a usable context.
#[derive(Debug, thiserror::Error)]
pub enum TalosconfigError {
    #[error("the talosconfig is not readable as YAML")]
    Syntax(#[from] SyntaxError),
    #[error("the talosconfig has no context {0:?}")]
    NoContext(String),
    #[error("context {context:?} of the talosconfig has no valid {field}")]
    Field { context: String, field: &'static str },
}

/// Issues a client certificate for `os:admin`, valid for 365 days from now.
pub fn admin(bundle: &Bundle, cluster: &str, endpoints: Vec<String>, nodes: Vec<String>) -> Result<Admin, PkiError> {
    client(bundle, "os:admin", cluster, endpoints, nodes)
}

/// As [`admin`], for another of Talos's roles, such as `os:reader`.
pub fn client(
    bundle: &Bundle,
    role: &str,
    cluster: &str,
    endpoints: Vec<String>,
    nodes: Vec<String>,
) -> Result<Admin, PkiError> {
    let Pair { crt, key } = pki::client(&bundle.os, role, OffsetDateTime::now_utc())?;
    Ok(Admin {
        context: cluster.to_owned(),
        endpoints,
        nodes,
        ca_pem: bundle.os.crt.clone(),
        crt_pem: crt,
        key_pem: key,
    })
}

impl Admin {
    /// A talosconfig of this one context, which is also its current one. Keep it 0600.
    pub fn to_yaml(&self) -> Secret {
        let contexts = Map::from_iter([(self.context.clone(), self.context_tree())]);
        let tree = object([("context", self.context.as_str().into()), ("contexts", Value::Object(contexts))]);
        Secret::new(yaml::emit(&tree))
    }

    /// The value under `contexts.<name>`, for merging into a file that holds others.
    pub fn context_tree(&self) -> Value {
        let mut tree = object([("endpoints", self.endpoints.clone().into())]);
        if !self.nodes.is_empty() {
            tree["nodes"] = self.nodes.clone().into();
        }
        tree["ca"] = base64(&Secret::new(self.ca_pem.as_str()));
        tree["crt"] = base64(&Secret::new(self.crt_pem.as_str()));
        tree["key"] = base64(&self.key_pem);
        tree
    }

    /// Reads the current context of a talosconfig. Unknown keys are ignored, as talosctl does.
    pub fn parse(text: &str) -> Result<Self, TalosconfigError> {
        let documents = yaml::documents(text)?;
        let root = documents.first();
        let context = root.and_then(|root| root.get("context")).and_then(Node::text).unwrap_or_default().to_owned();
        let node = root.and_then(|root| root.get("contexts")?.get(&context));
        let node = node.ok_or_else(|| TalosconfigError::NoContext(context.clone()))?;
        let list = |key: &str| match node.get(key).map(|node| &node.data) {
            Some(yaml::Data::List(items)) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let pem = |field: &'static str| {
            use base64::Engine as _;
            let wrong = || TalosconfigError::Field { context: context.clone(), field };
            let text = node.get(field).and_then(Node::text).ok_or_else(wrong)?;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| wrong())?;
            String::from_utf8(bytes).map_err(|_| wrong())
        };
        Ok(Self {
            endpoints: list("endpoints"),
            nodes: list("nodes"),
            ca_pem: pem("ca")?,
            crt_pem: pem("crt")?,
            key_pem: Secret::new(pem("key")?),
            context,
        })
    }
}
