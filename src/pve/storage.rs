//! Storages, and the images on them.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proxmox_api::nodes::NodesClient;
use proxmox_api::nodes::node::storage::storage::download_url::{Content, PostParams};
use serde::{Deserialize, Deserializer};
use url::Url;

use super::error::PveError;
use super::task::Upid;
use super::{Pve, lenient, names};

/// A storage as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Storage {
    #[serde(rename = "storage")]
    pub name: String,
    /// `dir`, `lvmthin`, `zfspool`, `rbd`, …
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    pub kind: String,
    /// What it may hold: `images`, `iso`, `import`, …
    #[serde(default, deserialize_with = "content")]
    pub content: BTreeSet<String>,
    /// Mounted or reachable now.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub active: bool,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub enabled: bool,
    /// The same volumes on every node.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub shared: bool,
    /// Bytes; missing while the storage is not active.
    #[serde(default, deserialize_with = "lenient::number")]
    pub avail: Option<u64>,
    /// Bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub total: Option<u64>,
}

/// A comma list whose order is random.
fn content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let text = lenient::text(deserializer)?;
    Ok(text.split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned).collect())
}

/// A volume. One that is listed is complete: downloads and uploads are renamed into place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Volume {
    /// `local:iso/talos.iso`.
    pub volid: String,
    /// Bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub format: String,
    /// The VM it belongs to.
    #[serde(default, deserialize_with = "lenient::parsed")]
    pub vmid: Option<u32>,
}

/// What a node has to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    pub url: Url,
    /// As it will be called on the storage: only `[a-zA-Z0-9_.-]`, ending in `.iso` or `.img`.
    pub filename: String,
    /// Algorithm (`sha256`, …) and hexadecimal digest. With it the request may be repeated: a right file that is
    /// already there is success, while without it any file of that name is an error.
    pub checksum: Option<(String, String)>,
}

/// What a node sees at a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct UrlMetadata {
    #[serde(default, deserialize_with = "lenient::parsed")]
    pub filename: Option<String>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    #[serde(default, deserialize_with = "lenient::parsed")]
    pub mimetype: Option<String>,
}

impl Pve {
    /// The storages of `node` that the token may see, enabled or not. A dead network storage makes this slow.
    pub async fn storages(&self, node: &str) -> Result<Vec<Storage>, PveError> {
        self.read(&format!("/nodes/{}/storage", names::node(node)?)).await
    }

    /// The volumes of one content type. Never asks for all: that may inspect every image, for longer than 30 s.
    pub async fn volumes(&self, node: &str, storage: &str, content: &str) -> Result<Vec<Volume>, PveError> {
        let path = format!("/nodes/{}/storage/{}/content", names::node(node)?, names::storage(storage)?);
        self.query(&path, &[("content", content)]).await
    }

    /// Has `node` fetch an ISO image. The node itself must reach the URL.
    pub async fn download_url(&self, node: &str, storage: &str, what: &Download) -> Result<Upid, PveError> {
        let bad = |error: String| PveError::Options(format!("this download cannot be asked for: {error}"));
        let filename = what.filename.clone().try_into().map_err(|error| bad(format!("{error:?}")))?;
        let url = what.url.to_string().try_into().map_err(|error| bad(format!("{error:?}")))?;
        let mut parameters = PostParams::new(Content::Iso, filename, url);
        if let Some((algorithm, digest)) = &what.checksum {
            parameters.checksum_algorithm = Some(algorithm.as_str().try_into().map_err(bad)?);
            parameters.checksum = Some(digest.clone());
        }
        let nodes = NodesClient::new(self.clone());
        let client = nodes.node(names::node(node)?).storage().storage(names::storage(storage)?).download_url();
        Upid::started(&client.post(parameters).await?)
    }

    /// Asks `node` to look at `url`: whether it can reach it, and how large the file is.
    pub async fn query_url_metadata(&self, node: &str, url: &Url) -> Result<UrlMetadata, PveError> {
        let path = format!("/nodes/{}/query-url-metadata", names::node(node)?);
        self.query(&path, &[("url", url.as_str())]).await
    }

    /// Removes a volume; one that is already gone is no error. No task when it was done at once.
    pub async fn delete_volume(&self, node: &str, storage: &str, volid: &str) -> Result<Option<Upid>, PveError> {
        let volid = utf8_percent_encode(volid, NON_ALPHANUMERIC);
        let path = format!("/nodes/{}/storage/{}/content/{volid}", names::node(node)?, names::storage(storage)?);
        let no_query: [(&str, &str); 0] = [];
        let answer: Option<String> = proxmox_api::client::Client::delete(self, &path, &no_query).await?;
        answer.as_deref().map(Upid::started).transpose()
    }
}
