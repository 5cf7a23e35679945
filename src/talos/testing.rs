//! A machine for tests: the generated server code behind real TLS, on an address of 127/8, saying what it is told to.
//!
//! Not the lab: it has no life of its own, so a test can make it say what no sane machine would.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt, stream};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncWriteExt, copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::cosi::Resource;
use super::tls::MAINTENANCE_NAME;
use super::wire::cosi::state_server::{State, StateServer};
use super::wire::machine::machine_service_server::{MachineService, MachineServiceServer};
use super::wire::machine::*;
use super::wire::{common, cosi, specs};
use super::{APID_PORT, Credentials};
use crate::inventory::Mac;
use crate::reach::Reach;
use crate::secrets::Secret;

/// A 127.N.0.0/16 that no other test of this computer uses and no lab takes, standing for 10.20.0.0/16.
pub(crate) struct Site {
    pub(crate) reach: Reach,
    /// Whoever holds this socket has the network. Its port is below the ephemeral range, so nobody gets it by chance.
    claim: Arc<std::net::TcpListener>,
}

impl Site {
    pub(crate) fn take() -> Self {
        let site = "10.20.0.0/16".parse().expect("a network");
        let take = |n| {
            let claim = Arc::new(std::net::TcpListener::bind((Ipv4Addr::new(127, n, 255, 254), 29999)).ok()?);
            Some(Self { reach: Reach::Loopback { site, base: Ipv4Addr::new(127, n, 0, 0) }, claim })
        };
        (10..=63).find_map(take).expect("a free network in 127/8")
    }
}

pub(crate) fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 20, 0, last))
}

/// A machine CA, and what it signs.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    der: CertificateDer<'static>,
}

pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pem: String,
    key_pem: String,
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("Ed25519 is supported")
}

pub(crate) fn params(name: Option<&str>, organisation: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = params(None, Some("talos"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let certificate = params.self_signed(&key).expect("a CA signs itself");
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Leaf {
        params.extended_key_usages = vec![usage];
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a CA signs");
        Leaf {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    pub(crate) fn server(&self, name: &str, ip: IpAddr) -> Leaf {
        let mut params = params(Some(name), None);
        params.subject_alt_names = vec![SanType::IpAddress(ip)];
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// An administrator's credentials, the key labelled as Talos labels it.
    pub(crate) fn admin(&self) -> Credentials {
        self.credentials(ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub(crate) fn credentials(&self, usage: ExtendedKeyUsagePurpose) -> Credentials {
        let leaf = self.sign(params(None, Some("os:admin")), usage);
        Credentials {
            ca_pem: self.pem.clone(),
            crt_pem: leaf.pem,
            key_pem: Secret::new(leaf.key_pem.replace("PRIVATE KEY", "ED25519 PRIVATE KEY")),
        }
    }
}

/// TLS of a machine in maintenance: a CA of its own, which nobody gets to see, and no question about the client.
pub(crate) fn maintenance_tls(ip: IpAddr) -> ServerConfig {
    let leaf = Ca::new().server(MAINTENANCE_NAME, ip);
    tls().with_no_client_auth().with_single_cert(leaf.chain, leaf.key).expect("a leaf and its key")
}

/// TLS of a configured machine: mutual.
pub(crate) fn secured_tls(ca: &Ca, leaf: Leaf) -> ServerConfig {
    secured_tls_of(tls(), ca, leaf)
}

pub(crate) fn secured_tls_of(
    tls: rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>,
    ca: &Ca,
    leaf: Leaf,
) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der.clone()).expect("a CA is a root");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("one root");
    tls.with_client_cert_verifier(clients).with_single_cert(leaf.chain, leaf.key).expect("a leaf and its key")
}

pub(crate) fn tls() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default TLS versions")
}

/// What the machine does with one call.
pub(crate) enum Does {
    Answer,
    Refuse(Status),
    /// Acts, and the connection breaks before the answer is out.
    Lose,
}

/// One thing that a watch does.
pub(crate) enum Frame {
    Events(Vec<cosi::Event>),
    /// Stays silent from here on.
    Hold,
}

/// What the machine says and heard.
#[derive(Default)]
pub(crate) struct Says {
    /// Encoded specs by type and id.
    pub(crate) resources: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    /// Types that this version does not know.
    pub(crate) unknown: Mutex<Vec<String>>,
    /// How to refuse every `Get` and `List`.
    pub(crate) refuses_reading: Mutex<Option<Status>>,
    pub(crate) version: Mutex<Option<String>>,
    pub(crate) applies: Mutex<VecDeque<Does>>,
    pub(crate) applied: Mutex<Vec<ApplyConfigurationRequest>>,
    pub(crate) bootstraps: Mutex<VecDeque<Does>>,
    pub(crate) kubeconfig: Mutex<Vec<Vec<u8>>>,
    pub(crate) services: Mutex<Vec<ServiceInfo>>,
    pub(crate) members: Mutex<Vec<EtcdMember>>,
    pub(crate) watches: Mutex<VecDeque<Vec<Frame>>>,
    /// Requests for watches that came.
    pub(crate) watched: Mutex<Vec<cosi::WatchRequest>>,
    /// Breaks all connections, as when the machine is switched off in an orderly way.
    pub(crate) cut: Notify,
    /// Sends GOAWAY `ENHANCE_YOUR_CALM` over all connections and hangs up.
    pub(crate) calm: Notify,
}

impl Says {
    pub(crate) fn put<R: Resource>(&self, id: &str, spec: &R) {
        self.resources.lock().unwrap().insert((R::TYPE.into(), id.into()), spec.encode_to_vec());
    }

    /// A machine that is `uuid` and has one physical link with `mac`, at `stage`.
    pub(crate) fn identity(uuid: Uuid, mac: Mac, stage: specs::MachineStage) -> Arc<Self> {
        let says = Self::default();
        says.put("systeminformation", &specs::SystemInformationSpec { uuid: uuid.to_string(), ..Default::default() });
        says.put(
            "lo",
            &specs::LinkStatusSpec {
                r#type: specs::LinkType::LinkLoopback.into(),
                hardware_addr: vec![0; 6],
                ..Default::default()
            },
        );
        says.put(
            "eth0",
            &specs::LinkStatusSpec {
                r#type: specs::LinkType::LinkEther.into(),
                hardware_addr: mac.0.to_vec(),
                ..Default::default()
            },
        );
        says.stage(stage, true, &[]);
        Arc::new(says)
    }

    pub(crate) fn stage(&self, stage: specs::MachineStage, ready: bool, unmet: &[(&str, &str)]) {
        let unmet = unmet
            .iter()
            .map(|(name, reason)| specs::UnmetCondition { name: (*name).to_owned(), reason: (*reason).to_owned() });
        let status = specs::MachineStatusStatus { ready, unmet_conditions: unmet.collect() };
        self.put("machine", &specs::MachineStatusSpec { stage: stage.into(), status: Some(status) });
    }

    /// Serves on `ip`'s port 50000 for as long as the test runs.
    #[expect(clippy::disallowed_methods, reason = "a test's machine lives beside the test")]
    pub(crate) async fn serve(self: &Arc<Self>, site: &Site, ip: IpAddr, tls: ServerConfig) {
        let listener = TcpListener::bind(site.reach.socket(ip, APID_PORT)).await.expect("the address is ours");
        // As long as somebody answers here, the network is nobody else's.
        let claim = Arc::clone(&site.claim);
        let (sender, receiver) = mpsc::channel(16);
        let incoming = stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|stream| (Ok::<_, std::io::Error>(stream), receiver))
        });
        let server = tonic::transport::Server::builder()
            .add_service(MachineServiceServer::new(Served(self.clone())))
            .add_service(StateServer::new(Served(self.clone())))
            .serve_with_incoming(incoming);
        tokio::spawn(server);
        let mut tls = tls;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let says = self.clone();
        tokio::spawn(async move {
            let (_claim, listener) = (claim, listener);
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(says.clone().carry(tcp, acceptor.clone(), sender.clone()));
            }
        });
    }

    /// Moves bytes between one client and the server, until told to break.
    async fn carry(
        self: Arc<Self>,
        tcp: TcpStream,
        acceptor: TlsAcceptor,
        server: mpsc::Sender<tokio::io::DuplexStream>,
    ) {
        // ENHANCE_YOUR_CALM (11) as grpc-go sends it: no stream was refused.
        const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];
        let Ok(mut tls) = acceptor.accept(tcp).await else { return };
        let (mut ours, theirs) = duplex(1 << 16);
        if server.send(theirs).await.is_err() {
            return;
        }
        tokio::select! {
            _ = copy_bidirectional(&mut tls, &mut ours) => {}
            () = self.cut.notified() => {}
            () = self.calm.notified() => {
                drop(tls.write_all(&GOAWAY).await);
                drop(tls.shutdown().await);
            }
        }
    }

    async fn does(&self, script: &Mutex<VecDeque<Does>>) -> Result<(), Status> {
        let next = script.lock().unwrap().pop_front();
        match next {
            None | Some(Does::Answer) => Ok(()),
            Some(Does::Refuse(status)) => Err(status),
            Some(Does::Lose) => {
                self.cut.notify_waiters();
                std::future::pending().await
            }
        }
    }
}

struct Served(Arc<Says>);

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn replies<T: Send + 'static>(all: Vec<T>) -> Replies<T> {
    Box::pin(stream::iter(all.into_iter().map(Ok)))
}

#[tonic::async_trait]
impl State for Served {
    async fn get(&self, request: Request<cosi::GetRequest>) -> Result<Response<cosi::GetResponse>, Status> {
        let cosi::GetRequest { r#type, id, .. } = request.into_inner();
        self.0.may_read(&r#type)?;
        let found = self.0.resources.lock().unwrap().get(&(r#type.clone(), id.clone())).cloned();
        let spec = found.ok_or_else(|| Status::not_found(format!("resource {type}({id}@undefined) doesn't exist")))?;
        Ok(Response::new(cosi::GetResponse { resource: Some(resource(&r#type, &id, spec)) }))
    }

    async fn list(&self, request: Request<cosi::ListRequest>) -> Result<Response<Replies<cosi::ListResponse>>, Status> {
        let kind = request.into_inner().r#type;
        self.0.may_read(&kind)?;
        let resources = self.0.resources.lock().unwrap();
        let all = resources.iter().filter(|((r#type, _), _)| *r#type == kind);
        let all = all.map(|((_, id), spec)| cosi::ListResponse { resource: Some(resource(&kind, id, spec.clone())) });
        Ok(Response::new(replies(all.collect())))
    }

    async fn watch(
        &self,
        request: Request<cosi::WatchRequest>,
    ) -> Result<Response<Replies<cosi::WatchResponse>>, Status> {
        self.0.watched.lock().unwrap().push(request.into_inner());
        let frames = self.0.watches.lock().unwrap().pop_front().unwrap_or_default();
        let stream = stream::iter(frames).then(|frame| async {
            match frame {
                Frame::Events(event) => Ok(cosi::WatchResponse { event }),
                Frame::Hold => std::future::pending().await,
            }
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

impl Says {
    fn may_read(&self, kind: &str) -> Result<(), Status> {
        if let Some(status) = self.refuses_reading.lock().unwrap().clone() {
            return Err(status);
        }
        if self.unknown.lock().unwrap().iter().any(|unknown| unknown == kind) {
            return Err(Status::permission_denied(format!("resource type {kind:?} is not supported")));
        }
        Ok(())
    }
}

pub(crate) fn resource(kind: &str, id: &str, proto_spec: Vec<u8>) -> cosi::Resource {
    let metadata = cosi::Metadata { r#type: kind.into(), id: id.into(), ..Default::default() };
    cosi::Resource { metadata: Some(metadata), spec: Some(cosi::Spec { proto_spec, yaml_spec: String::new() }) }
}

/// The service with what the tests need; everything else is unimplemented, as up to Talos 1.12 in maintenance.
#[tonic::async_trait]
impl MachineService for Served {
    async fn kubeconfig(&self, _: Request<()>) -> Result<Response<Replies<common::Data>>, Status> {
        let parts = self.0.kubeconfig.lock().unwrap().clone();
        let parts = parts.into_iter().map(|bytes| common::Data { metadata: None, bytes });
        Ok(Response::new(replies(parts.collect())))
    }

    async fn apply_configuration(
        &self,
        request: Request<ApplyConfigurationRequest>,
    ) -> Result<Response<ApplyConfigurationResponse>, Status> {
        self.0.applied.lock().unwrap().push(request.into_inner());
        self.0.does(&self.0.applies).await?;
        let applied = ApplyConfiguration { warnings: vec!["mind the gap".into()], ..Default::default() };
        Ok(Response::new(ApplyConfigurationResponse { messages: vec![applied] }))
    }

    async fn bootstrap(&self, _: Request<BootstrapRequest>) -> Result<Response<BootstrapResponse>, Status> {
        self.0.does(&self.0.bootstraps).await?;
        Ok(Response::new(BootstrapResponse { messages: vec![Bootstrap::default()] }))
    }

    async fn version(&self, _: Request<()>) -> Result<Response<VersionResponse>, Status> {
        let Some(tag) = self.0.version.lock().unwrap().clone() else {
            return Err(Status::unimplemented("API is not implemented in maintenance mode"));
        };
        let version = Version { version: Some(VersionInfo { tag, ..Default::default() }), ..Default::default() };
        Ok(Response::new(VersionResponse { messages: vec![version] }))
    }

    async fn service_list(&self, _: Request<()>) -> Result<Response<ServiceListResponse>, Status> {
        let services = self.0.services.lock().unwrap().clone();
        Ok(Response::new(ServiceListResponse { messages: vec![ServiceList { metadata: None, services }] }))
    }

    async fn etcd_member_list(
        &self,
        _: Request<EtcdMemberListRequest>,
    ) -> Result<Response<EtcdMemberListResponse>, Status> {
        let members = self.0.members.lock().unwrap().clone();
        let members = EtcdMembers { members, ..Default::default() };
        Ok(Response::new(EtcdMemberListResponse { messages: vec![members] }))
    }
}
