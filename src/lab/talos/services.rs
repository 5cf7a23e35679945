//! The generated service traits: one line for each method.

use tonic::{Request, Response, Status};

use super::{Face, Replies, access, apply, etcd, events, health, info, inside, lifecycle, power, state};
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

    async fn dmesg(&self, request: Request<machine::DmesgRequest>) -> Answer<Replies<common::Data>> {
        self.stream("machine.MachineService/Dmesg", request, info::dmesg).await.map(Response::new)
    }

    async fn events(&self, request: Request<machine::EventsRequest>) -> Answer<Replies<machine::Event>> {
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

    async fn kubeconfig(&self, request: Request<()>) -> Answer<Replies<common::Data>> {
        self.stream("machine.MachineService/Kubeconfig", request, access::kubeconfig).await.map(Response::new)
    }

    async fn logs(&self, request: Request<machine::LogsRequest>) -> Answer<Replies<common::Data>> {
        self.stream("machine.MachineService/Logs", request, info::logs).await.map(Response::new)
    }

    async fn memory(&self, request: Request<()>) -> Answer<machine::MemoryResponse> {
        self.call("machine.MachineService/Memory", request, inside::memory).await.map(Response::new)
    }

    async fn meta_write(&self, request: Request<machine::MetaWriteRequest>) -> Answer<machine::MetaWriteResponse> {
        self.call("machine.MachineService/MetaWrite", request, info::meta_write).await.map(Response::new)
    }

    async fn meta_delete(&self, request: Request<machine::MetaDeleteRequest>) -> Answer<machine::MetaDeleteResponse> {
        self.call("machine.MachineService/MetaDelete", request, info::meta_delete).await.map(Response::new)
    }

    async fn read(&self, request: Request<machine::ReadRequest>) -> Answer<Replies<common::Data>> {
        self.stream("machine.MachineService/Read", request, inside::read).await.map(Response::new)
    }

    async fn reboot(&self, request: Request<machine::RebootRequest>) -> Answer<machine::RebootResponse> {
        self.call("machine.MachineService/Reboot", request, power::reboot).await.map(Response::new)
    }

    async fn reset(&self, request: Request<machine::ResetRequest>) -> Answer<machine::ResetResponse> {
        self.call("machine.MachineService/Reset", request, power::reset).await.map(Response::new)
    }

    async fn rollback(&self, request: Request<machine::RollbackRequest>) -> Answer<machine::RollbackResponse> {
        self.call("machine.MachineService/Rollback", request, lifecycle::rollback).await.map(Response::new)
    }

    async fn service_list(&self, request: Request<()>) -> Answer<machine::ServiceListResponse> {
        self.call("machine.MachineService/ServiceList", request, info::services).await.map(Response::new)
    }

    async fn shutdown(&self, request: Request<machine::ShutdownRequest>) -> Answer<machine::ShutdownResponse> {
        self.call("machine.MachineService/Shutdown", request, power::shutdown).await.map(Response::new)
    }

    async fn upgrade(&self, request: Request<machine::UpgradeRequest>) -> Answer<machine::UpgradeResponse> {
        self.call("machine.MachineService/Upgrade", request, lifecycle::upgrade).await.map(Response::new)
    }

    async fn containers(&self, request: Request<machine::ContainersRequest>) -> Answer<machine::ContainersResponse> {
        self.call("machine.MachineService/Containers", request, inside::containers).await.map(Response::new)
    }

    async fn copy(&self, request: Request<machine::CopyRequest>) -> Answer<Replies<common::Data>> {
        self.stream("machine.MachineService/Copy", request, inside::copy).await.map(Response::new)
    }

    async fn disk_usage(&self, request: Request<machine::DiskUsageRequest>) -> Answer<Replies<machine::DiskUsageInfo>> {
        self.stream("machine.MachineService/DiskUsage", request, inside::usage).await.map(Response::new)
    }

    async fn cpu_freq_stats(&self, request: Request<()>) -> Answer<machine::CpuFreqStatsResponse> {
        self.call("machine.MachineService/CPUFreqStats", request, inside::frequencies).await.map(Response::new)
    }

    async fn cpu_info(&self, request: Request<()>) -> Answer<machine::CpuInfoResponse> {
        self.call("machine.MachineService/CPUInfo", request, inside::cpus).await.map(Response::new)
    }

    async fn disk_stats(&self, request: Request<()>) -> Answer<machine::DiskStatsResponse> {
        self.call("machine.MachineService/DiskStats", request, inside::disks).await.map(Response::new)
    }

    async fn etcd_alarm_disarm(&self, request: Request<()>) -> Answer<machine::EtcdAlarmResponse> {
        self.call("machine.MachineService/EtcdAlarmDisarm", request, etcd::alarms).await.map(Response::new)
    }

    async fn etcd_alarm_list(&self, request: Request<()>) -> Answer<machine::EtcdAlarmResponse> {
        self.call("machine.MachineService/EtcdAlarmList", request, etcd::alarms).await.map(Response::new)
    }

    async fn etcd_defragment(&self, request: Request<()>) -> Answer<machine::EtcdDefragmentResponse> {
        self.call("machine.MachineService/EtcdDefragment", request, etcd::defragment).await.map(Response::new)
    }

    async fn etcd_snapshot(&self, request: Request<machine::EtcdSnapshotRequest>) -> Answer<Replies<common::Data>> {
        self.stream("machine.MachineService/EtcdSnapshot", request, etcd::snapshot).await.map(Response::new)
    }

    async fn image_list(
        &self,
        request: Request<machine::ImageListRequest>,
    ) -> Answer<Replies<machine::ImageListResponse>> {
        self.stream("machine.MachineService/ImageList", request, inside::images).await.map(Response::new)
    }

    async fn image_pull(&self, request: Request<machine::ImagePullRequest>) -> Answer<machine::ImagePullResponse> {
        self.call("machine.MachineService/ImagePull", request, lifecycle::pull).await.map(Response::new)
    }

    async fn list(&self, request: Request<machine::ListRequest>) -> Answer<Replies<machine::FileInfo>> {
        self.stream("machine.MachineService/List", request, inside::list).await.map(Response::new)
    }

    async fn load_avg(&self, request: Request<()>) -> Answer<machine::LoadAvgResponse> {
        self.call("machine.MachineService/LoadAvg", request, inside::load).await.map(Response::new)
    }

    async fn logs_containers(&self, request: Request<()>) -> Answer<machine::LogsContainersResponse> {
        self.call("machine.MachineService/LogsContainers", request, inside::log_names).await.map(Response::new)
    }

    async fn mounts(&self, request: Request<()>) -> Answer<machine::MountsResponse> {
        self.call("machine.MachineService/Mounts", request, inside::mounts).await.map(Response::new)
    }

    async fn netstat(&self, request: Request<machine::NetstatRequest>) -> Answer<machine::NetstatResponse> {
        self.call("machine.MachineService/Netstat", request, inside::connections).await.map(Response::new)
    }

    async fn network_device_stats(&self, request: Request<()>) -> Answer<machine::NetworkDeviceStatsResponse> {
        self.call("machine.MachineService/NetworkDeviceStats", request, inside::network).await.map(Response::new)
    }

    async fn processes(&self, request: Request<()>) -> Answer<machine::ProcessesResponse> {
        self.call("machine.MachineService/Processes", request, inside::processes).await.map(Response::new)
    }

    async fn service_restart(&self, request: Request<machine::ServiceRequest>) -> Answer<machine::ServiceResponse> {
        self.call("machine.MachineService/ServiceRestart", request, inside::restart).await.map(Response::new)
    }

    async fn service_start(&self, request: Request<machine::ServiceRequest>) -> Answer<machine::ServiceResponse> {
        self.call("machine.MachineService/ServiceStart", request, inside::start).await.map(Response::new)
    }

    async fn service_stop(&self, request: Request<machine::ServiceRequest>) -> Answer<machine::ServiceResponse> {
        self.call("machine.MachineService/ServiceStop", request, inside::stop).await.map(Response::new)
    }

    async fn stats(&self, request: Request<machine::StatsRequest>) -> Answer<machine::StatsResponse> {
        self.call("machine.MachineService/Stats", request, inside::stats).await.map(Response::new)
    }

    async fn system_stat(&self, request: Request<()>) -> Answer<machine::SystemStatResponse> {
        self.call("machine.MachineService/SystemStat", request, inside::system).await.map(Response::new)
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
    async fn health_check(
        &self,
        request: Request<cluster::HealthCheckRequest>,
    ) -> Answer<Replies<cluster::HealthCheckProgress>> {
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

    async fn list(&self, request: Request<cosi::ListRequest>) -> Answer<Replies<cosi::ListResponse>> {
        self.stream("cosi.resource.State/List", request, state::list).await.map(Response::new)
    }

    async fn watch(&self, request: Request<cosi::WatchRequest>) -> Answer<Replies<cosi::WatchResponse>> {
        self.stream("cosi.resource.State/Watch", request, state::watch).await.map(Response::new)
    }
}
