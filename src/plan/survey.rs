//! Reads the site: everything that the plan and its checks need, and nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::net::TcpStream;

use crate::factory::{Factory, FactoryError};
use crate::profile::Profile;
use crate::pve::{Bridge, Guest, Node, Pve, PveError, Storage, Version, Volume};
use crate::reach::Reach;
use crate::talos::APID_PORT;

/// The site as it is now.
#[derive(Debug)]
pub struct Survey {
    pub version: Version,
    /// `USER@REALM!NAME`: whose rights these are.
    pub token: String,
    /// Effective privileges by the paths of [`paths`].
    pub privileges: BTreeMap<String, BTreeSet<String>>,
    pub nodes: Vec<Node>,
    /// Storages, bridges and ISO images of the nodes that the profile names (of all, if it leaves a choice).
    pub storages: BTreeMap<String, Vec<Storage>>,
    pub bridges: BTreeMap<String, Vec<Bridge>>,
    pub images: BTreeMap<String, Vec<Volume>>,
    pub guests: Vec<Guest>,
    /// VMIDs of the profile that are taken.
    pub taken: BTreeSet<u32>,
    pub next_id: u32,
    /// Talos versions, and the official extensions of the profile's; an error when the factory did not say.
    pub factory: Result<FactoryFacts, FactoryError>,
    /// Addresses of the profile at which somebody is already, and what shows it.
    pub answering: BTreeMap<IpAddr, String>,
}

/// What the factory can build.
#[derive(Debug)]
pub struct FactoryFacts {
    pub versions: Vec<String>,
    /// Empty when the version is unknown to it.
    pub extensions: BTreeSet<String>,
}

/// The ACL paths whose privileges decide whether a create can work, in the order in which they are checked.
pub fn paths(profile: &Profile) -> Vec<String> {
    let proxmox = &profile.proxmox;
    let mut paths = vec![
        guest_path(profile),
        format!("/storage/{}", proxmox.disk_storage),
        format!("/storage/{}", proxmox.image_storage),
        bridge_path(profile),
    ];
    paths.extend(profile.machines.iter().filter_map(|machine| machine.node.as_ref()).map(|node| node_path(node)));
    paths.dedup();
    paths
}

/// Where the right to make VMs is looked for. The VMID need not exist: any id that nobody has granted for itself will do.
pub(super) fn guest_path(profile: &Profile) -> String {
    match (&profile.proxmox.pool, profile.machines.iter().find_map(|machine| machine.vmid)) {
        (Some(pool), _) => format!("/pool/{pool}"),
        (None, Some(vmid)) => format!("/vms/{vmid}"),
        (None, None) => String::from("/vms"),
    }
}

pub(super) fn bridge_path(profile: &Profile) -> String {
    let tag = profile.proxmox.vlan.map_or_else(String::new, |vlan| format!("/{vlan}"));
    format!("/sdn/zones/localnetwork/{}{tag}", profile.proxmox.bridge)
}

pub(super) fn node_path(node: &str) -> String {
    format!("/nodes/{node}")
}

/// Reads everything, side by side.
pub async fn survey(profile: &Profile, pve: &Pve, factory: &Factory, reach: &Reach) -> Result<Survey, PveError> {
    let nodes = pve.nodes().await?;
    let wanted: BTreeSet<String> = profile.machines.iter().filter_map(|machine| machine.node.clone()).collect();
    let open = profile.machines.iter().any(|machine| machine.node.is_none());
    let named: Vec<String> = nodes
        .iter()
        .filter(|node| node.online && (open || wanted.contains(&node.name)))
        .map(|node| node.name.clone())
        .collect();
    let mut paths = paths(profile);
    paths.extend(named.iter().map(|node| node_path(node)));
    let (privileges, by_node, guests, next_id, taken, factory, answering) = futures_util::try_join!(
        privileges(pve, paths),
        try_join_all(named.iter().map(|node| read_node(pve, node, &profile.proxmox.image_storage))),
        pve.guests(),
        pve.next_id(),
        taken(profile, pve),
        async { Ok(ask_factory(profile, factory).await) },
        async { Ok(answering(profile, reach).await) },
    )?;
    let mut survey = Survey {
        version: pve.version().clone(),
        token: pve.token_id().to_owned(),
        privileges,
        nodes,
        storages: BTreeMap::new(),
        bridges: BTreeMap::new(),
        images: BTreeMap::new(),
        guests,
        taken,
        next_id,
        factory,
        answering,
    };
    for (node, (storages, bridges, images)) in named.into_iter().zip(by_node) {
        survey.storages.insert(node.clone(), storages);
        survey.bridges.insert(node.clone(), bridges);
        survey.images.insert(node, images);
    }
    Ok(survey)
}

async fn privileges(pve: &Pve, paths: Vec<String>) -> Result<BTreeMap<String, BTreeSet<String>>, PveError> {
    let unique: BTreeSet<String> = paths.into_iter().collect();
    try_join_all(unique.into_iter().map(async |path| {
        let mut effective = pve.permissions(Some(&path)).await?;
        let here = effective.remove(&path).unwrap_or_default();
        Ok((path, here))
    }))
    .await
    .map(|pairs| pairs.into_iter().collect())
}

type NodeFacts = (Vec<Storage>, Vec<Bridge>, Vec<Volume>);

async fn read_node(pve: &Pve, node: &str, image_storage: &str) -> Result<NodeFacts, PveError> {
    let (storages, bridges) = futures_util::try_join!(pve.storages(node), pve.bridges(node))?;
    let readable =
        |storage: &&Storage| storage.name == image_storage && storage.content.contains("iso") && storage.active;
    let images = match storages.iter().find(readable) {
        Some(_) => pve.volumes(node, image_storage, "iso").await?,
        None => Vec::new(),
    };
    Ok((storages, bridges, images))
}

/// `nextid?vmid=` sees every guest of the cluster, also those that the token may not see.
async fn taken(profile: &Profile, pve: &Pve) -> Result<BTreeSet<u32>, PveError> {
    let asked = profile.machines.iter().filter_map(|machine| machine.vmid);
    let answers = try_join_all(asked.map(async |vmid| Ok::<_, PveError>((vmid, pve.vmid_free(vmid).await?)))).await?;
    Ok(answers.into_iter().filter(|(_, free)| !free).map(|(vmid, _)| vmid).collect())
}

async fn ask_factory(profile: &Profile, factory: &Factory) -> Result<FactoryFacts, FactoryError> {
    let version = format!("v{}", profile.talos.version);
    let versions = factory.versions().await?;
    let extensions = if versions.contains(&version) { factory.extensions(&version).await? } else { Vec::new() };
    Ok(FactoryFacts { versions, extensions: extensions.into_iter().map(|extension| extension.name).collect() })
}

/// Ports of what is likely to sit at an address that was thought free: a Talos machine, a server, a router.
const PORTS: [u16; 5] = [APID_PORT, 6443, 22, 80, 443];

/// Every address that the profile gives out must be free: a second owner is found only when nothing works.
async fn answering(profile: &Profile, reach: &Reach) -> BTreeMap<IpAddr, String> {
    let addresses =
        profile.machines.iter().map(|machine| IpAddr::V4(machine.ip)).chain(profile.talos.vip.map(IpAddr::V4));
    let knocks = addresses.flat_map(|ip| PORTS.map(|port| knock(reach, ip, port)));
    join_all(knocks).await.into_iter().rev().flatten().collect()
}

/// What shows that somebody is at `ip`.
///
/// Refusing is an answer too, but one that every loopback address gives, and that a firewall may give for ports that
/// are not needed. At Talos's own port it stands in the way whoever gives it.
async fn knock(reach: &Reach, ip: IpAddr, port: u16) -> Option<(IpAddr, String)> {
    let address = reach.socket(ip, port);
    match tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(address)).await {
        Ok(Ok(_)) => Some((ip, format!("port {port} is open"))),
        Ok(Err(error)) => {
            let refused = error.kind() == ErrorKind::ConnectionRefused;
            (refused && port == APID_PORT && !address.ip().is_loopback())
                .then(|| (ip, format!("a host is there that refuses port {port}")))
        }
        Err(_) => None,
    }
}
