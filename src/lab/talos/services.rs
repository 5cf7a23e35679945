//! The generated service traits: one line for each method.

use tonic::{Request, Response, Status};

use super::{Face, Replies, access, apply, etcd, events, health, info, power, state};
use crate::talos::wire::{cluster, common, cosi, machine, storage, time};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl machine::machine_service_server::MachineService for Face {
    async fn apply_configuration(
        &self,
        request: Request<machine::ApplyConfigurationRequest>,
    ) -> Answer<machine::ApplyConfigurationResponse> {
        self.call("machine.MachineService/ApplyConfiguration", request, apply::apply).await.map(Response::new)
    }

    async fn bootstrap(&self, request: Request<machine::BootstrapRequest>) -> Answer<machine::BootstrapResponse> {
        self.call("machine.MachineService/Bootstrap", request, etcd::bootstrap).await.map(Response::new)
    }

    type DmesgStream = Replies<common::Data>;

    async fn dmesg(&self, request: Request<machine::DmesgRequest>) -> Answer<Self::DmesgStream> {
        self.stream("machine.MachineService/Dmesg", request, info::dmesg).await.map(Response::new)
    }

    type EventsStream = Replies<machine::Event>;

    async fn events(&self, request: Request<machine::EventsRequest>) -> Answer<Self::EventsStream> {
        self.stream("machine.MachineService/Events", request, events::events).await.map(Response::new)
    }

    async fn etcd_member_list(
        &self,
        request: Request<machine::EtcdMemberListRequest>,
    ) -> Answer<machine::EtcdMemberListResponse> {
        self.call("machine.MachineService/EtcdMemberList", request, etcd::members).await.map(Response::new)
    }

    async fn etcd_status(&self, request: Request<()>) -> Answer<machine::EtcdStatusResponse> {
        self.call("machine.MachineService/EtcdStatus", request, etcd::status).await.map(Response::new)
    }

    async fn etcd_leave_cluster(
        &self,
        request: Request<machine::EtcdLeaveClusterRequest>,
    ) -> Answer<machine::EtcdLeaveClusterResponse> {
        self.call("machine.MachineService/EtcdLeaveCluster", request, etcd::leave).await.map(Response::new)
    }

    async fn etcd_forfeit_leadership(
        &self,
        request: Request<machine::EtcdForfeitLeadershipRequest>,
    ) -> Answer<machine::EtcdForfeitLeadershipResponse> {
        self.call("machine.MachineService/EtcdForfeitLeadership", request, etcd::forfeit).await.map(Response::new)
    }

    async fn etcd_remove_member_by_id(
        &self,
        request: Request<machine::EtcdRemoveMemberByIdRequest>,
    ) -> Answer<machine::EtcdRemoveMemberByIdResponse> {
        self.call("machine.MachineService/EtcdRemoveMemberByID", request, etcd::remove).await.map(Response::new)
    }

    async fn generate_client_configuration(
        &self,
        request: Request<machine::GenerateClientConfigurationRequest>,
    ) -> Answer<machine::GenerateClientConfigurationResponse> {
        self.call("machine.MachineService/GenerateClientConfiguration", request, access::talosconfig)
            .await
            .map(Response::new)
    }

    async fn hostname(&self, request: Request<()>) -> Answer<machine::HostnameResponse> {
        self.call("machine.MachineService/Hostname", request, info::hostname).await.map(Response::new)
    }

    type KubeconfigStream = Replies<common::Data>;

    async fn kubeconfig(&self, request: Request<()>) -> Answer<Self::KubeconfigStream> {
        self.stream("machine.MachineService/Kubeconfig", request, access::kubeconfig).await.map(Response::new)
    }

    type LogsStream = Replies<common::Data>;

    async fn logs(&self, request: Request<machine::LogsRequest>) -> Answer<Self::LogsStream> {
        self.stream("machine.MachineService/Logs", request, info::logs).await.map(Response::new)
    }

    async fn memory(&self, request: Request<()>) -> Answer<machine::MemoryResponse> {
        self.call("machine.MachineService/Memory", request, info::memory).await.map(Response::new)
    }

    async fn meta_write(&self, request: Request<machine::MetaWriteRequest>) -> Answer<machine::MetaWriteResponse> {
        self.call("machine.MachineService/MetaWrite", request, info::meta_write).await.map(Response::new)
    }

    async fn meta_delete(&self, request: Request<machine::MetaDeleteRequest>) -> Answer<machine::MetaDeleteResponse> {
        self.call("machine.MachineService/MetaDelete", request, info::meta_delete).await.map(Response::new)
    }

    type ReadStream = Replies<common::Data>;

    async fn read(&self, request: Request<machine::ReadRequest>) -> Answer<Self::ReadStream> {
        self.stream("machine.MachineService/Read", request, info::read).await.map(Response::new)
    }

    async fn reboot(&self, request: Request<machine::RebootRequest>) -> Answer<machine::RebootResponse> {
        self.call("machine.MachineService/Reboot", request, power::reboot).await.map(Response::new)
    }

    async fn reset(&self, request: Request<machine::ResetRequest>) -> Answer<machine::ResetResponse> {
        self.call("machine.MachineService/Reset", request, power::reset).await.map(Response::new)
    }

    async fn rollback(&self, request: Request<machine::RollbackRequest>) -> Answer<machine::RollbackResponse> {
        self.call("machine.MachineService/Rollback", request, power::rollback).await.map(Response::new)
    }

    async fn service_list(&self, request: Request<()>) -> Answer<machine::ServiceListResponse> {
        self.call("machine.MachineService/ServiceList", request, info::services).await.map(Response::new)
    }

    async fn shutdown(&self, request: Request<machine::ShutdownRequest>) -> Answer<machine::ShutdownResponse> {
        self.call("machine.MachineService/Shutdown", request, power::shutdown).await.map(Response::new)
    }

    async fn upgrade(&self, request: Request<machine::UpgradeRequest>) -> Answer<machine::UpgradeResponse> {
        self.call("machine.MachineService/Upgrade", request, power::upgrade).await.map(Response::new)
    }

    async fn version(&self, request: Request<()>) -> Answer<machine::VersionResponse> {
        self.call("machine.MachineService/Version", request, info::version).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl storage::storage_service_server::StorageService for Face {
    async fn disks(&self, request: Request<()>) -> Answer<storage::DisksResponse> {
        self.call("storage.StorageService/Disks", request, info::disks).await.map(Response::new)
    }

    async fn block_device_wipe(
        &self,
        request: Request<storage::BlockDeviceWipeRequest>,
    ) -> Answer<storage::BlockDeviceWipeResponse> {
        self.call("storage.StorageService/BlockDeviceWipe", request, power::wipe).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl cluster::cluster_service_server::ClusterService for Face {
    type HealthCheckStream = Replies<cluster::HealthCheckProgress>;

    async fn health_check(&self, request: Request<cluster::HealthCheckRequest>) -> Answer<Self::HealthCheckStream> {
        self.stream("cluster.ClusterService/HealthCheck", request, health::check).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl time::time_service_server::TimeService for Face {
    async fn time(&self, request: Request<()>) -> Answer<time::TimeResponse> {
        self.call("time.TimeService/Time", request, info::time).await.map(Response::new)
    }

    async fn time_check(&self, request: Request<time::TimeRequest>) -> Answer<time::TimeResponse> {
        self.call("time.TimeService/TimeCheck", request, info::time_check).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl cosi::state_server::State for Face {
    async fn get(&self, request: Request<cosi::GetRequest>) -> Answer<cosi::GetResponse> {
        self.call("cosi.resource.State/Get", request, state::get).await.map(Response::new)
    }

    type ListStream = Replies<cosi::ListResponse>;

    async fn list(&self, request: Request<cosi::ListRequest>) -> Answer<Self::ListStream> {
        self.stream("cosi.resource.State/List", request, state::list).await.map(Response::new)
    }

    type WatchStream = Replies<cosi::WatchResponse>;

    async fn watch(&self, request: Request<cosi::WatchRequest>) -> Answer<Self::WatchStream> {
        self.stream("cosi.resource.State/Watch", request, state::watch).await.map(Response::new)
    }
}
