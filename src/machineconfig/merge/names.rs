//! The names of Go's structs and fields on the way to values whose merging can fail.
//!
//! Talos shows the place of a failure by these, and they follow from nothing that the user wrote. Only free-form
//! objects can hold two values that do not fit together, so only the ways to those are here (and the one field that
//! Talos 1.13 cannot merge). They are the same in 1.11 – 1.14.

/// Kind, path, and the steps there, without the package.
const CHAINS: [(&str, &str, &str); 30] = [
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
    ("RoutingRuleConfig", "src", "RoutingRuleConfigV1Alpha1.RuleSrc"),
];

/// `merge field v1alpha1.Config.MachineConfig: merge field …: `; the path itself where it has no names.
pub(super) fn chain(kind: &str, path: &str) -> String {
    let Some((.., steps)) = CHAINS.iter().find(|(of, at, _)| *of == kind && *at == path) else {
        return format!("merge field {path}: ");
    };
    let package = match kind {
        "" => "v1alpha1",
        "RoutingRuleConfig" => "network",
        _ => "k8s",
    };
    steps.split(' ').fold(String::new(), |text, step| text + "merge field " + package + "." + step + ": ")
}
