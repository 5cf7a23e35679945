//! Who calls, and what that somebody may do.
//!
//! Client certificates name a user (common name) and groups (organisations). The lab
//! has issued no token, so every token is wrong. Of the groups that a new cluster
//! knows, `system:masters` may do everything; everybody who is known at all may ask
//! what there is and what they may do (Kubernetes: `system:discovery`,
//! `system:basic-user`).

use http::HeaderMap;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::status;
use crate::lab::http::{Peer, Response};

/// Somebody who proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
}

impl Caller {
    /// `None`: nobody, or somebody with no more than a token.
    pub(super) fn of(peer: &Peer) -> Option<Self> {
        let leaf = peer.certificates.first()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let text = |name: &x509_parser::x509::AttributeTypeAndValue<'_>| name.as_str().ok().map(str::to_owned);
        let name = parsed.subject().iter_common_name().find_map(text)?;
        let groups = parsed.subject().iter_organization().filter_map(text);
        Some(Self { name, groups: groups.chain(["system:authenticated".to_owned()]).collect() })
    }

    /// The one whom the caller speaks for, which masters alone may do: `kubectl --as`.
    pub(super) fn speaking_for(self, headers: &HeaderMap) -> Result<Self, Box<Response>> {
        let all = |name: &str| headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned);
        let Some(name) = all("impersonate-user").next() else { return Ok(self) };
        if !self.is_master() {
            let message = format!(
                "users {name:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
                self.name
            );
            let details = json!({"name": name, "kind": "users"});
            return Err(Box::new(status::refuse(403, "Forbidden", &message, Some(details))));
        }
        let groups = all("impersonate-group").chain(["system:authenticated".to_owned()]);
        Ok(Self { groups: groups.collect(), name })
    }

    pub(super) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }

    pub(super) fn may_use(&self, kind: &Kind) -> bool {
        self.is_master() || kind.review
    }

    pub(super) fn user_info(&self) -> Value {
        json!({
            "username": self.name, "groups": self.groups,
            "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=lab"]},
        })
    }
}
