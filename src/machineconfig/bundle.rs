//! The secrets bundle: every CA, key and token of one cluster. Made once; losing it loses the cluster.
//!
//! The file is the one that `talosctl gen secrets` writes, so talosctl, talhelper and Terraform can take over.

mod check;
mod origin;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;
use time::OffsetDateTime;

use super::contract::Contract;
use super::go;
use super::pki::{self, Pair, PkiError};
use super::yaml::{self, Node, SyntaxError, object};
use crate::secrets::Secret;

pub use origin::KubernetesPki;

/// The cluster's own secrets. Neither printable nor serialisable; [`Bundle::to_yaml`] is the one way out.
#[derive(Clone)]
pub struct Bundle {
    pub(super) cluster_id: Secret,
    pub(super) cluster_secret: Secret,
    pub(super) bootstrap_token: Secret,
    /// For clusters older than Talos 1.3; at most one of the two is set in a valid bundle.
    pub(super) aescbc_secret: Option<Secret>,
    pub(super) secretbox_secret: Option<Secret>,
    pub(super) trustd_token: Secret,
    pub(super) etcd: Pair,
    pub(super) k8s: Pair,
    pub(super) k8s_aggregator: Pair,
    /// Key only: it signs service account tokens.
    pub(super) k8s_service_account: Secret,
    pub(super) os: Pair,
}

/// The text is no secrets bundle. Shows names of fields, never their values.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("the secrets bundle is not readable as YAML")]
    Syntax(#[from] SyntaxError),
    #[error("the secrets bundle is empty")]
    Empty,
    #[error("the secrets bundle is not a mapping of cluster, secrets, trustdinfo and certs")]
    Shape,
    #[error("{path} in the secrets bundle is not valid base64")]
    Base64 { path: &'static str },
    #[error("failed to validate secrets bundle: {}", .0.join("; "))]
    Invalid(Vec<String>),
    #[error("failed to create secrets bundle")]
    Pki(#[from] PkiError),
}

impl Bundle {
    /// Makes new secrets for a cluster. Blocks for the RSA key, about a second.
    pub fn generate(contract: &Contract) -> Result<Self, PkiError> {
        Self::with_account(contract, pki::rsa_4096()?)
    }

    fn with_account(contract: &Contract, k8s_service_account: Secret) -> Result<Self, PkiError> {
        let now = OffsetDateTime::now_utc();
        let id = pki::random::<32>()?;
        let id = if contract.standard_cluster_id { STANDARD.encode(id) } else { URL_SAFE.encode(id) };
        let key = || pki::random::<32>().map(|bytes| Secret::new(STANDARD.encode(bytes)));
        Ok(Self {
            cluster_id: Secret::new(id),
            cluster_secret: key()?,
            bootstrap_token: token()?,
            aescbc_secret: None,
            secretbox_secret: Some(key()?),
            trustd_token: token()?,
            etcd: pki::p256_ca(Some("etcd"), now)?,
            k8s: pki::p256_ca(Some("kubernetes"), now)?,
            // Talos leaves the aggregator's subject empty, and so does every cluster in the world.
            k8s_aggregator: pki::p256_ca(None, now)?,
            k8s_service_account,
            os: pki::ed25519_ca("talos", now)?,
        })
    }

    /// A bundle to look at configurations with, never to be kept: its service account's key is elliptic, since an RSA
    /// key takes longer than everything else together. Talos takes both.
    pub fn sketch() -> Result<Self, PkiError> {
        let Pair { key, .. } = pki::p256_ca(None, OffsetDateTime::now_utc())?;
        Self::with_account(&Contract::NEWEST, key)
    }

    /// Reads and validates a bundle: the file of talosctl and talhelper, the JSON spelling `Cluster.Id`, or the
    /// `machine_secrets` of Terraform's Talos provider.
    /// Unknown keys are ignored, as talosctl does.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        // Talos reads the first document and never looks at what follows.
        let documents = yaml::documents_at(text);
        let root = match (documents.list.first(), documents.end) {
            (Some((_, root)), _) if !root.is_null() => root,
            (None, Some(error)) => return Err(error.into()),
            _ => return Err(BundleError::Empty),
        };
        if let Some(wrong) = root.wrong() {
            return Err(wrong.clone().into());
        }
        if root.as_map().is_none() {
            return Err(BundleError::Shape);
        }
        let read = Read::of(root);
        let pair =
            |section, crt, key| Ok::<_, BundleError>((read.pem(section, crt, "crt")?, read.pem(section, key, "key")?));
        let etcd = pair("etcd", "certs.etcd.crt", "certs.etcd.key")?;
        let k8s = pair("k8s", "certs.k8s.crt", "certs.k8s.key")?;
        let aggregator = pair("k8saggregator", "certs.k8saggregator.crt", "certs.k8saggregator.key")?;
        let account = read.pem("k8sserviceaccount", "certs.k8sserviceaccount.key", "key")?;
        let os = pair("os", "certs.os.crt", "certs.os.key")?;
        let secret = |section, key| Secret::new(read.text(&[section, key]));
        let optional = |key| Some(read.text(&["secrets", key])).filter(|text| !text.is_empty()).map(Secret::new);
        let made = |(crt, key): (String, String)| Pair { crt, key: Secret::new(key) };
        let bundle = Self {
            cluster_id: secret("cluster", "id"),
            cluster_secret: secret("cluster", "secret"),
            bootstrap_token: secret("secrets", "bootstraptoken"),
            aescbc_secret: optional("aescbcencryptionsecret"),
            secretbox_secret: optional("secretboxencryptionsecret"),
            trustd_token: secret("trustdinfo", "token"),
            etcd: made(etcd),
            k8s: made(k8s),
            k8s_aggregator: made(aggregator),
            k8s_service_account: Secret::new(account),
            os: made(os),
        };
        let problems = check::problems(&bundle, |path| read.has(path));
        if problems.is_empty() { Ok(bundle) } else { Err(BundleError::Invalid(problems)) }
    }

    /// The file that `talosctl gen secrets` writes. Whoever keeps it, keeps it 0600.
    pub fn to_yaml(&self) -> Secret {
        let text = |secret: &Secret| Value::from(secret.expose());
        let pair = |pair: &Pair| object([("crt", pair.crt_base64()), ("key", base64(&pair.key))]);
        let mut secrets = object([("bootstraptoken", text(&self.bootstrap_token))]);
        for (key, secret) in
            [("aescbcencryptionsecret", &self.aescbc_secret), ("secretboxencryptionsecret", &self.secretbox_secret)]
        {
            if let Some(secret) = secret {
                secrets[key] = text(secret);
            }
        }
        let tree = object([
            ("cluster", object([("id", text(&self.cluster_id)), ("secret", text(&self.cluster_secret))])),
            ("secrets", secrets),
            ("trustdinfo", object([("token", text(&self.trustd_token))])),
            (
                "certs",
                object([
                    ("etcd", pair(&self.etcd)),
                    ("k8s", pair(&self.k8s)),
                    ("k8saggregator", pair(&self.k8s_aggregator)),
                    ("k8sserviceaccount", object([("key", base64(&self.k8s_service_account))])),
                    ("os", pair(&self.os)),
                ]),
            ),
        ]);
        Secret::new(yaml::emit(&tree))
    }

    /// The CA of the Talos API, PEM: what a client trusts.
    pub fn talos_ca(&self) -> &str {
        &self.os.crt
    }

    /// The CA of the Kubernetes API, PEM.
    pub fn kubernetes_ca(&self) -> &str {
        &self.k8s.crt
    }

    /// The CA of the Kubernetes API with its key, for whoever has to issue certificates as the cluster would.
    pub fn kubernetes_issuer(&self) -> &Pair {
        &self.k8s
    }

    /// The CA of the Talos API with its key.
    pub fn talos_issuer(&self) -> &Pair {
        &self.os
    }
}

impl Pair {
    pub(super) fn crt_base64(&self) -> Value {
        Value::from(STANDARD.encode(&self.crt))
    }
}

/// Base64 as configurations and bundles hold PEM; an absent half stays the empty text.
pub(super) fn base64(pem: &Secret) -> Value {
    Value::from(STANDARD.encode(pem.expose()))
}

/// `abcdef.0123456789abcdef`, every symbol equally likely.
fn token() -> Result<Secret, PkiError> {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(23);
    while text.len() < 23 {
        if text.len() == 6 {
            text.push('.');
        }
        let [byte] = pki::random::<1>()?;
        // 252 is the last multiple of 36; a byte above it would favour the first four symbols.
        if byte < 252 {
            text.push(char::from(ALPHABET[usize::from(byte % 36)]));
        }
    }
    Ok(Secret::new(text))
}

struct Read<'a> {
    root: &'a Node,
    /// Keys of talosctl's own file are exact: any other is unknown to it.
    exact: bool,
}

impl<'a> Read<'a> {
    /// The JSON spelling shows in its sections, and Terraform's in the words that it keeps apart.
    fn of(root: &'a Node) -> Self {
        let names = |node: Option<&'a Node>| node.and_then(Node::as_map).into_iter().flatten().map(|(name, _)| name);
        let sections = ["cluster", "secrets", "trustdinfo", "certs"];
        let json = names(Some(root)).any(|name| sections.iter().any(|section| name != section && same(name, section)));
        let words = ["bootstraptoken", "secretboxencryptionsecret", "k8saggregator", "k8sserviceaccount"];
        let apart = |name: &String| name.contains('_') && words.iter().any(|word| same(name, word));
        let terraform = names(root.get("secrets")).chain(names(root.get("certs"))).any(apart);
        Self { root, exact: !(json || terraform) }
    }

    fn find(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self.root, |node, key| {
            let mut entries = node.as_map()?.iter();
            entries.find(|(name, _)| if self.exact { name == key } else { same(name, key) }).map(|(_, node)| node)
        })
    }

    fn has(&self, path: &[&str]) -> bool {
        self.find(path).is_some_and(|node| !node.is_null())
    }

    fn text(&self, path: &[&str]) -> String {
        self.find(path).and_then(Node::text).unwrap_or_default().to_owned()
    }

    fn pem(&self, section: &str, path: &'static str, half: &str) -> Result<String, BundleError> {
        let bytes = go::base64(&self.text(&["certs", section, half])).map_err(|_| BundleError::Base64 { path })?;
        // What is no text is no PEM either, and the check says so.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Without case and underscores, and with a certificate that may be a `cert`, all spellings are one.
fn same(name: &str, key: &str) -> bool {
    let bare = name.replace('_', "");
    bare.eq_ignore_ascii_case(key) || (key == "crt" && bare.eq_ignore_ascii_case("cert"))
}
