//! `Kubeconfig` and `GenerateClientConfiguration`: credentials signed by the configuration's authorities.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use time::Duration;
use tonic::Status;

use super::server::Peer;
use super::{Face, Replies, pki, replies};
use crate::lab::fleet::applied::Applied;
use crate::lab::world::World;
use crate::talos::wire::common::Data;
use crate::talos::wire::machine::{
    GenerateClientConfiguration, GenerateClientConfigurationRequest, GenerateClientConfigurationResponse,
};

pub(super) fn kubeconfig(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<Replies<Data>, Status> {
    let config = control_plane(face, world, "kubeconfig")?;
    let (cert, key) =
        pki::client(&config.cluster_ca, Some("admin"), &["system:masters".to_owned()], Duration::days(365))
            .map_err(|error| Status::unknown(error.to_string()))?;
    // The API server's key label is SEC1's or PKCS#8's; both are read by client-go.
    let text = kubeconfig_text(config, &cert, &key);
    let archive = archive(text.as_bytes()).map_err(|error| Status::unknown(error.to_string()))?;
    // In pieces, as it comes from a real machine.
    let pieces = archive.chunks(archive.len() / 3 + 1);
    Ok(replies(pieces.map(|piece| Data { metadata: None, bytes: piece.to_vec() }).collect()))
}

fn control_plane<'a>(face: &Face, world: &'a World, api: &str) -> Result<&'a Applied, Status> {
    super::check_control_plane(face, world, api)?;
    face.system(world)?.config.as_deref().ok_or_else(|| Status::failed_precondition("there is no configuration"))
}

fn kubeconfig_text(config: &Applied, cert: &str, key: &str) -> String {
    let name = &config.cluster_name;
    let base64 = |text: &str| BASE64_STANDARD.encode(text);
    format!(
        "apiVersion: v1
kind: Config
clusters:
    - name: {name}
      cluster:
        server: {server}
        certificate-authority-data: {ca}
users:
    - name: admin@{name}
      user:
        client-certificate-data: {cert}
        client-key-data: {key}
contexts:
    - context:
        cluster: {name}
        namespace: default
        user: admin@{name}
      name: admin@{name}
current-context: admin@{name}
",
        server = config.endpoint,
        ca = base64(&config.cluster_ca.cert),
        cert = base64(cert),
        key = base64(key),
    )
}

/// A gzip of a tar that was never closed: one header, the text, and neither padding nor end.
fn archive(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_path("kubeconfig")?;
    header.set_mode(0o600);
    header.set_size(text.len() as u64);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(header.as_bytes())?;
    gzip.write_all(text)?;
    gzip.finish()
}

pub(super) fn talosconfig(
    face: &Face,
    world: &mut World,
    request: &GenerateClientConfigurationRequest,
    _: &Peer,
) -> Result<GenerateClientConfigurationResponse, Status> {
    let config = control_plane(face, world, "client configuration")?;
    let ttl = request.crt_ttl.map_or(0, |ttl| ttl.seconds);
    if ttl <= 0 {
        return Err(Status::invalid_argument("crt_ttl should be positive"));
    }
    let (crt, key) = pki::client(&config.machine_ca, None, &request.roles, Duration::seconds(ttl))
        .map_err(|error| Status::unknown(error.to_string()))?;
    let base64 = |text: &str| BASE64_STANDARD.encode(text);
    let name = &config.cluster_name;
    let talosconfig = format!(
        "context: {name}\ncontexts:\n    {name}:\n        endpoints: []\n        ca: {}\n        crt: {}\n        key: {}\n",
        base64(&config.machine_ca.cert),
        base64(&crt),
        base64(&key),
    );
    let message = GenerateClientConfiguration {
        metadata: None,
        ca: config.machine_ca.cert.clone().into_bytes(),
        crt: crt.into_bytes(),
        key: key.into_bytes(),
        talosconfig: talosconfig.into_bytes(),
    };
    Ok(GenerateClientConfigurationResponse { messages: vec![message] })
}
