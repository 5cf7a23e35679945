//! Fetching the administrator's kubeconfig.

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;

use super::{Talos, TalosError};
use crate::secrets::Secret;

/// The machine makes a key and signs a certificate for every call.
const DEADLINE: Duration = Duration::from_secs(10);

/// A kubeconfig is some 3 KiB; a megabyte of one is somebody's mistake or malice.
const MAX_SIZE: u64 = 1 << 20;

impl Talos {
    /// A new kubeconfig, valid for a year. Control planes only. It is given out before Kubernetes runs: no evidence of health.
    pub async fn kubeconfig(&self) -> Result<Secret, TalosError> {
        const METHOD: &str = "Kubeconfig";
        let bad = |reason: String| TalosError::Reply { address: self.address(), method: METHOD, reason };
        let (packed, failure) = self
            .call(METHOD, DEADLINE, async {
                let mut stream = self.machine().kubeconfig(()).await?.into_inner();
                let (mut packed, mut failure) = (Vec::new(), None);
                while let Some(data) = stream.message().await? {
                    packed.extend_from_slice(&data.bytes);
                    if packed.len() as u64 > MAX_SIZE {
                        return Err(tonic::Status::out_of_range("the kubeconfig is larger than 1 MiB"));
                    }
                    let error = data.metadata.map(|metadata| metadata.error).filter(|error| !error.is_empty());
                    failure = failure.or(error);
                }
                Ok((packed, failure))
            })
            .await?;
        match failure {
            Some(failure) => Err(bad(failure)),
            None => unpack(&packed).map(Secret::new).map_err(bad),
        }
    }
}

/// The first entry of the tar. The server never closes it (Talos 1.13: pkg/kubeconfig/generate.go), so asking for a
/// second entry would fail.
fn unpack(packed: &[u8]) -> Result<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(packed).take(MAX_SIZE));
    let mut entries = archive.entries().map_err(|error| error.to_string())?;
    let entry = entries.next().ok_or("the archive is empty")?.map_err(|error| error.to_string())?;
    let mut text = String::new();
    entry.take(MAX_SIZE).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.is_empty() { Err("the kubeconfig is empty".into()) } else { Ok(text) }
}
