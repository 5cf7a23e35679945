//! A Talos client of the least kind: any server certificate will do.

use std::net::IpAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::lab::Lab;
use crate::machineconfig::talosconfig::Admin;
use crate::talos::wire::cosi::state_client::StateClient;
use crate::talos::wire::cosi::{GetRequest, Resource};
use crate::talos::wire::machine::machine_service_client::MachineServiceClient;
use crate::talos::wire::machine::{ApplyConfiguration, ApplyConfigurationRequest};
use crate::talos::wire::storage::storage_service_client::StorageServiceClient;

#[derive(Debug)]
struct Anything(rustls::crypto::WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// How a connection is checked and shown.
enum Trust<'a> {
    Anything,
    /// The machine authority signed the server, and us.
    Mutual(&'a Admin),
}

fn config(trust: &Trust<'_>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = match trust {
        Trust::Anything => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything(algorithms))).with_no_client_auth()
        }
        Trust::Mutual(admin) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(admin.ca_pem.as_bytes()).unwrap()).unwrap();
            let leaf = CertificateDer::from_pem_slice(admin.crt_pem.as_bytes()).unwrap();
            let key = pem::parse(admin.key_pem.expose()).unwrap();
            let key = PrivateKeyDer::Pkcs8(key.into_contents().into());
            builder.with_root_certificates(roots).with_client_auth_cert(vec![leaf], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Tries until it works: the world may be ahead of its sockets by a moment.
pub(super) async fn patiently<T, E: std::fmt::Debug>(attempt: impl AsyncFn() -> Result<T, E>) -> T {
    let trying = async {
        loop {
            if let Ok(done) = attempt().await {
                return done;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), trying).await.expect("it works within 30 s")
}

/// A connection to one machine.
#[derive(Clone)]
pub(super) struct Client(Channel);

impl Client {
    /// Without a certificate, as soon as the machine answers.
    pub(super) async fn insecure(lab: &Lab, ip: IpAddr) -> Self {
        patiently(async || Self::connect(lab, ip, Trust::Anything).await).await
    }

    /// With ours, as soon as the machine answers with its own.
    pub(super) async fn mutual(lab: &Lab, ip: IpAddr, admin: &Admin) -> Self {
        patiently(async || Self::connect(lab, ip, Trust::Mutual(admin)).await).await
    }

    /// Once: what happens to somebody with this certificate, or none.
    pub(super) async fn attempt(lab: &Lab, ip: IpAddr, admin: Option<&Admin>) -> Result<Self, String> {
        Self::connect(lab, ip, admin.map_or(Trust::Anything, Trust::Mutual)).await
    }

    async fn connect(lab: &Lab, ip: IpAddr, trust: Trust<'_>) -> Result<Self, String> {
        let address = lab.endpoints().reach.socket(ip, 50_000);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config(&trust)));
        let dial = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                // Its own address, not the one that was dialled: the certificate names both.
                let stream = connector.connect(ServerName::IpAddress(ip.into()), stream).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let channel = Endpoint::from_static("http://machine").connect_with_connector(dial).await;
        channel.map(Self).map_err(|error| format!("{error:?}"))
    }

    /// What `talosctl --cert-fingerprint` would compare: of the certificate that the machine shows now.
    pub(super) async fn fingerprint(lab: &Lab, ip: IpAddr) -> String {
        let address = lab.endpoints().reach.socket(ip, 50_000);
        let shake = async || -> std::io::Result<Vec<u8>> {
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config(&Trust::Anything)));
            let stream = TcpStream::connect(address).await?;
            let stream = connector.connect(ServerName::IpAddress(ip.into()), stream).await?;
            let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|leaf| leaf.to_vec());
            leaf.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
        };
        let leaf = patiently(shake).await;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.public_key().raw);
        base64::Engine::encode(&base64::prelude::BASE64_STANDARD, hash)
    }

    pub(super) fn channel(&self) -> Channel {
        self.0.clone()
    }

    pub(super) fn machine(&self) -> MachineServiceClient<Channel> {
        MachineServiceClient::new(self.0.clone())
    }

    pub(super) fn storage(&self) -> StorageServiceClient<Channel> {
        StorageServiceClient::new(self.0.clone())
    }

    pub(super) fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.0.clone())
    }

    pub(super) async fn get(&self, namespace: &str, kind: &str, id: &str) -> Result<Resource, Status> {
        let request = GetRequest { namespace: namespace.into(), r#type: kind.into(), id: id.into(), options: None };
        let reply = self.state().get(request).await?.into_inner();
        reply.resource.ok_or_else(|| Status::new(Code::Internal, "a reply without a resource"))
    }

    /// The YAML spec of a resource, as JSON.
    pub(super) async fn spec(&self, namespace: &str, kind: &str, id: &str) -> Result<serde_json::Value, Status> {
        let yaml = self.get(namespace, kind, id).await?.spec.unwrap_or_default().yaml_spec;
        serde_saphyr::from_str(&yaml).map_err(|error| Status::internal(error.to_string()))
    }

    pub(super) async fn apply(&self, data: Vec<u8>, mode: i32) -> Result<ApplyConfiguration, Status> {
        let request = ApplyConfigurationRequest { data, mode, ..ApplyConfigurationRequest::default() };
        Ok(self.machine().apply_configuration(request).await?.into_inner().messages.remove(0))
    }
}
