//! What a kubeconfig's current context says about how to get in.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use url::Url;

use super::KubeError;
use super::kubeconfig::parse;
use crate::secrets::Secret;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    current_context: String,
    contexts: Vec<NamedContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Url,
    certificate_authority_data: String,
    tls_server_name: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: String,
    client_key_data: String,
}

/// The server, and how to prove ourselves to each other.
pub(super) struct Access {
    pub(super) server: Url,
    /// The name that the server's certificate must have, if it is not the URL's host.
    pub(super) tls_name: Option<String>,
    pub(super) tls: Arc<ClientConfig>,
}

impl Access {
    /// Reads the current context: certificates and key embedded, as Talos writes them.
    pub(super) fn read(kubeconfig: &Secret) -> Result<Self, KubeError> {
        let file: File = parse(kubeconfig.expose()).map_err(KubeError::Kubeconfig)?;
        let missing = |what: &str| KubeError::Kubeconfig(format!("it has no {what} for its current context"));
        let context = file.contexts.into_iter().find(|context| context.name == file.current_context);
        let context = context.ok_or_else(|| missing("context"))?.context;
        let cluster = file.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster.ok_or_else(|| missing("cluster"))?.cluster;
        let user = file.users.into_iter().find(|user| user.name == context.user).ok_or_else(|| missing("user"))?.user;

        let mut roots = RootCertStore::empty();
        for certificate in certificates("certificate-authority-data", &cluster.certificate_authority_data)? {
            roots.add(certificate).map_err(|error| bad("certificate-authority-data", &error))?;
        }
        let chain = certificates("client-certificate-data", &user.client_certificate_data)?;
        let key = PrivateKeyDer::from_pem_slice(&decode("client-key-data", &user.client_key_data)?)
            .map_err(|_| KubeError::Kubeconfig("client-key-data holds no private key".into()))?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default TLS versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| bad("client-certificate-data", &error))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { server: cluster.server, tls_name: cluster.tls_server_name, tls: Arc::new(tls) })
    }
}

fn bad(what: &str, error: &impl std::fmt::Display) -> KubeError {
    KubeError::Kubeconfig(format!("{what}: {error}"))
}

fn decode(what: &str, data: &str) -> Result<Vec<u8>, KubeError> {
    BASE64_STANDARD.decode(data).map_err(|_| KubeError::Kubeconfig(format!("{what} is no base64")))
}

fn certificates(what: &str, data: &str) -> Result<Vec<CertificateDer<'static>>, KubeError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&decode(what, data)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(KubeError::Kubeconfig(format!("{what} holds no certificate"))),
    }
}
