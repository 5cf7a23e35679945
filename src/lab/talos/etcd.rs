//! Bootstrap and etcd membership.

use aws_lc_rs::digest;
use tonic::Status;

use super::server::Peer;
use super::{Face, Replies, replies};
use crate::lab::fleet::{BootstrapRefusal, EtcdId};
use crate::lab::world::World;
use crate::talos::wire::common::Data;
use crate::talos::wire::machine::{
    Bootstrap, BootstrapRequest, BootstrapResponse, EtcdAlarm, EtcdAlarmResponse, EtcdDefragment,
    EtcdDefragmentResponse, EtcdForfeitLeadership, EtcdForfeitLeadershipRequest, EtcdForfeitLeadershipResponse,
    EtcdLeaveCluster, EtcdLeaveClusterRequest, EtcdLeaveClusterResponse, EtcdMember, EtcdMemberListRequest,
    EtcdMemberListResponse, EtcdMemberStatus, EtcdMembers, EtcdRemoveMemberById, EtcdRemoveMemberByIdRequest,
    EtcdRemoveMemberByIdResponse, EtcdSnapshotRequest, EtcdStatus, EtcdStatusResponse,
};

pub(super) fn bootstrap(
    face: &Face,
    world: &mut World,
    _: &BootstrapRequest,
    _: &Peer,
) -> Result<BootstrapResponse, Status> {
    let minor = face.system(world)?.minor;
    match world.fleet.bootstrap(face.vmid) {
        Ok(_) => Ok(BootstrapResponse { messages: vec![Bootstrap { metadata: None }] }),
        Err(BootstrapRefusal::NotYet) => Err(Status::failed_precondition("bootstrap is not available yet")),
        Err(BootstrapRefusal::Worker) if minor.unified_maintenance => {
            Err(Status::unimplemented("bootstrap is only available on control plane nodes"))
        }
        Err(BootstrapRefusal::Worker) => {
            Err(Status::failed_precondition("bootstrap can only be performed on a control plane node"))
        }
        Err(BootstrapRefusal::NoEtcd) => {
            Err(Status::invalid_argument("etcd is not configured, bootstrap is not possible"))
        }
        Err(BootstrapRefusal::HasData) => Err(Status::already_exists("etcd data directory is not empty")),
    }
}

/// The etcd that answers on this machine, and its member id there.
fn running(face: &Face, world: &World, api: &str) -> Result<(EtcdId, u64), Status> {
    super::check_control_plane(face, world, api)?;
    let healthy = face.system(world)?.etcd_healthy;
    world.fleet.etcd_of(face.vmid).filter(|_| healthy).ok_or_else(|| {
        Status::unknown("failed to create etcd client: error building etcd client: context deadline exceeded")
    })
}

pub(super) fn members(
    face: &Face,
    world: &mut World,
    _: &EtcdMemberListRequest,
    _: &Peer,
) -> Result<EtcdMemberListResponse, Status> {
    let (id, _) = running(face, world, "member list")?;
    let url = |ip: std::net::Ipv4Addr, port: u16| format!("https://{ip}:{port}");
    let members: Vec<EtcdMember> = world
        .fleet
        .etcd(id)
        .iter()
        .flat_map(|etcd| &etcd.members)
        .map(|member| EtcdMember {
            id: member.id,
            hostname: member.hostname.clone(),
            peer_urls: member.ip.iter().map(|ip| url(*ip, 2380)).collect(),
            client_urls: member.ip.iter().map(|ip| url(*ip, 2379)).collect(),
            is_learner: false,
        })
        .collect();
    let legacy_members = members.iter().map(|member| member.hostname.clone()).collect();
    Ok(EtcdMemberListResponse { messages: vec![EtcdMembers { metadata: None, legacy_members, members }] })
}

pub(super) fn status(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<EtcdStatusResponse, Status> {
    let (id, member_id) = running(face, world, "etcd status")?;
    let leader = world.fleet.etcd(id).and_then(|etcd| etcd.members.first()).map_or(0, |member| member.id);
    let member_status = EtcdMemberStatus {
        protocol_version: "3.6.0".into(),
        storage_version: "3.6.0".into(),
        db_size: 6 << 20,
        db_size_in_use: 3 << 20,
        leader,
        raft_index: 1000,
        raft_term: 2,
        raft_applied_index: 1000,
        member_id,
        ..EtcdMemberStatus::default()
    };
    Ok(EtcdStatusResponse { messages: vec![EtcdStatus { metadata: None, member_status: Some(member_status) }] })
}

pub(super) fn leave(
    face: &Face,
    world: &mut World,
    _: &EtcdLeaveClusterRequest,
    _: &Peer,
) -> Result<EtcdLeaveClusterResponse, Status> {
    let (id, member) = running(face, world, "etcd leave")?;
    if world.fleet.etcd(id).is_none_or(crate::lab::fleet::Etcd::is_single) {
        return Err(Status::unknown("cannot leave the etcd cluster: it has no other member"));
    }
    world.fleet.remove_member(id, member);
    Ok(EtcdLeaveClusterResponse { messages: vec![EtcdLeaveCluster { metadata: None }] })
}

pub(super) fn forfeit(
    face: &Face,
    world: &mut World,
    _: &EtcdForfeitLeadershipRequest,
    _: &Peer,
) -> Result<EtcdForfeitLeadershipResponse, Status> {
    running(face, world, "etcd forfeit leadership")?;
    let message = EtcdForfeitLeadership { metadata: None, member: String::new() };
    Ok(EtcdForfeitLeadershipResponse { messages: vec![message] })
}

pub(super) fn remove(
    face: &Face,
    world: &mut World,
    request: &EtcdRemoveMemberByIdRequest,
    _: &Peer,
) -> Result<EtcdRemoveMemberByIdResponse, Status> {
    let (id, _) = running(face, world, "etcd remove member")?;
    if world.fleet.remove_member(id, request.member_id) {
        Ok(EtcdRemoveMemberByIdResponse { messages: vec![EtcdRemoveMemberById { metadata: None }] })
    } else {
        Err(Status::not_found("etcdserver: member not found"))
    }
}

/// No member has a reason to raise one.
pub(super) fn alarms(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<EtcdAlarmResponse, Status> {
    running(face, world, "etcd alarm list")?;
    Ok(EtcdAlarmResponse { messages: vec![EtcdAlarm { metadata: None, member_alarms: Vec::new() }] })
}

pub(super) fn defragment(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<EtcdDefragmentResponse, Status> {
    running(face, world, "etcd defragment")?;
    Ok(EtcdDefragmentResponse { messages: vec![EtcdDefragment { metadata: None }] })
}

/// Something that is as large as a database, and none: nobody restores from a lab.
pub(super) fn snapshot(
    face: &Face,
    world: &mut World,
    _: &EtcdSnapshotRequest,
    _: &Peer,
) -> Result<Replies<Data>, Status> {
    running(face, world, "etcd snapshot")?;
    let piece = vec![0; 1 << 20];
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for _ in 0..6 {
        sum.update(&piece);
        pieces.push(piece.clone());
    }
    // etcd's snapshots end in the checksum of what precedes it.
    pieces.push(sum.finish().as_ref().to_vec());
    let pieces = pieces.into_iter().map(|bytes| Data { metadata: None, bytes });
    Ok(replies(pieces.collect()))
}
