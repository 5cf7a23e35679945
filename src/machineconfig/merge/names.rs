//! The names of Go's structs and fields on the way to values whose merging can fail.
//!
//! Talos shows the place of a failure by these, and they follow from nothing that the user wrote. Only free-form
//! objects can hold two values that do not fit together, and some types keep fields to themselves, so only the ways to
//! those are here. They are the same in 1.11 – 1.14.

use crate::machineconfig::go::types;

/// Kind, path, and the steps there, without the package.
const CHAINS: [(&str, &str, &str); 39] = [
    ("KubeletConfig", "config", "KubeletConfigV1Alpha1.KubeletConfig"),
    ("KubeAPIServerConfig", "resources.requests", "KubeAPIServerConfigV1Alpha1.PodResources ResourcesConfig.Requests"),
    ("KubeAPIServerConfig", "resources.limits", "KubeAPIServerConfigV1Alpha1.PodResources ResourcesConfig.Limits"),
    ("KubeSchedulerConfig", "config", "KubeSchedulerConfigV1Alpha1.PodConfig"),
    ("KubeSchedulerConfig", "resources.requests", "KubeSchedulerConfigV1Alpha1.PodResources ResourcesConfig.Requests"),
    ("KubeSchedulerConfig", "resources.limits", "KubeSchedulerConfigV1Alpha1.PodResources ResourcesConfig.Limits"),
    (
        "KubeControllerManagerConfig",
        "resources.requests",
        "KubeControllerManagerConfigV1Alpha1.PodResources ResourcesConfig.Requests",
    ),
    (
        "KubeControllerManagerConfig",
        "resources.limits",
        "KubeControllerManagerConfigV1Alpha1.PodResources ResourcesConfig.Limits",
    ),
    ("KubeProxyConfig", "config", "KubeProxyConfigV1Alpha1.ProxyConfig"),
    ("KubeProxyConfig", "resources.requests", "KubeProxyConfigV1Alpha1.ProxyResources ResourcesConfig.Requests"),
    ("KubeProxyConfig", "resources.limits", "KubeProxyConfigV1Alpha1.ProxyResources ResourcesConfig.Limits"),
    ("KubeFlannelCNIConfig", "backendExtraConfig", "KubeFlannelCNIConfigV1Alpha1.FlannelBackendExtraConfig"),
    (
        "KubeFlannelCNIConfig",
        "resources.requests",
        "KubeFlannelCNIConfigV1Alpha1.FlannelResources ResourcesConfig.Requests",
    ),
    (
        "KubeFlannelCNIConfig",
        "resources.limits",
        "KubeFlannelCNIConfigV1Alpha1.FlannelResources ResourcesConfig.Limits",
    ),
    ("KubeAdmissionControlConfig", "configuration", "KubeAdmissionControlConfigV1Alpha1.PluginConfig"),
    ("KubeEtcdEncryptionConfig", "config", "KubeEtcdEncryptionConfigV1Alpha1.Config"),
    ("KubeAuthorizerConfig", "webhook", "KubeAuthorizerConfigV1Alpha1.AuthorizerWebhook"),
    ("KubeStaticPodConfig", "pod", "KubeStaticPodConfigV1Alpha1.PodSpec"),
    (
        "",
        "machine.kubelet.extraConfig",
        "Config.MachineConfig MachineConfig.MachineKubelet KubeletConfig.KubeletExtraConfig",
    ),
    (
        "",
        "machine.kubelet.credentialProviderConfig",
        "Config.MachineConfig MachineConfig.MachineKubelet KubeletConfig.KubeletCredentialProviderConfig",
    ),
    ("", "machine.baseRuntimeSpecOverrides", "Config.MachineConfig MachineConfig.MachineBaseRuntimeSpecOverrides"),
    (
        "",
        "cluster.apiServer.admissionControl.configuration",
        "Config.ClusterConfig ClusterConfig.APIServerConfig APIServerConfig.AdmissionControlConfig AdmissionPluginConfig.PluginConfiguration",
    ),
    (
        "",
        "cluster.apiServer.resources.requests",
        "Config.ClusterConfig ClusterConfig.APIServerConfig APIServerConfig.ResourcesConfig ResourcesConfig.Requests",
    ),
    (
        "",
        "cluster.apiServer.resources.limits",
        "Config.ClusterConfig ClusterConfig.APIServerConfig APIServerConfig.ResourcesConfig ResourcesConfig.Limits",
    ),
    (
        "",
        "cluster.controllerManager.resources.requests",
        "Config.ClusterConfig ClusterConfig.ControllerManagerConfig ControllerManagerConfig.ResourcesConfig ResourcesConfig.Requests",
    ),
    (
        "",
        "cluster.controllerManager.resources.limits",
        "Config.ClusterConfig ClusterConfig.ControllerManagerConfig ControllerManagerConfig.ResourcesConfig ResourcesConfig.Limits",
    ),
    (
        "",
        "cluster.scheduler.resources.requests",
        "Config.ClusterConfig ClusterConfig.SchedulerConfig SchedulerConfig.ResourcesConfig ResourcesConfig.Requests",
    ),
    (
        "",
        "cluster.scheduler.resources.limits",
        "Config.ClusterConfig ClusterConfig.SchedulerConfig SchedulerConfig.ResourcesConfig ResourcesConfig.Limits",
    ),
    (
        "",
        "cluster.scheduler.config",
        "Config.ClusterConfig ClusterConfig.SchedulerConfig SchedulerConfig.SchedulerConfig",
    ),
    (
        "",
        "cluster.controlPlane.endpoint",
        "Config.ClusterConfig ClusterConfig.ControlPlane ControlPlaneConfig.Endpoint",
    ),
    (
        "",
        "machine.install.diskSelector.size",
        "Config.MachineConfig MachineConfig.MachineInstall InstallConfig.InstallDiskSelector InstallDiskSelector.Size",
    ),
    ("DiscoveryServiceConfig", "endpoint", "DiscoveryServiceConfigV1Alpha1.EndpointURL"),
    ("HTTPProbeConfig", "url", "HTTPProbeConfigV1Alpha1.HTTPEndpoint"),
    ("KmsgLogConfig", "url", "KmsgLogV1Alpha1.KmsgLogURL"),
    ("KubeClusterConfig", "endpoint", "KubeClusterConfigV1Alpha1.ClusterEndpointConfig"),
    ("KubeExternalManifestConfig", "url", "KubeExternalManifestConfigV1Alpha1.URLSpec"),
    (
        "KubeServiceAccountConfig",
        "issuer.issuerURL",
        "KubeServiceAccountConfigV1Alpha1.ServiceIssuer IssuerServiceAccountConfig.IssuerURL",
    ),
    ("RoutingRuleConfig", "src", "RoutingRuleConfigV1Alpha1.RuleSrc"),
    ("SideroLinkConfig", "apiUrl", "ConfigV1Alpha1.APIUrlConfig"),
];

/// `merge field v1alpha1.Config.MachineConfig: merge field …: `; the path itself where it has no names.
pub(super) fn chain(kind: &str, path: &str) -> String {
    let Some((.., steps)) = CHAINS.iter().find(|(of, at, _)| *of == kind && *at == path) else {
        return format!("merge field {path}: ");
    };
    let target = types::of_document(kind);
    let package = target.trim_start_matches('*').split('.').next().unwrap_or_default();
    steps.split(' ').fold(String::new(), |text, step| text + "merge field " + package + "." + step + ": ")
}

/// The same for steps that name their packages themselves.
pub(super) fn steps(named: &str) -> String {
    named.split(' ').fold(String::new(), |text, step| text + "merge field " + step + ": ")
}
