//! The names of Go's types that documents decode to. They stand in errors, and follow from nothing that the user wrote.

/// Kinds by the package of their type. The same in every Talos that has the kind.
const PACKAGES: &[(&str, &str)] = &[
    (
        "network",
        "BGPInstanceConfig BlackholeRouteConfig BondConfig BridgeConfig DHCPv4Config DHCPv6Config \
         NetworkDefaultActionConfig DummyLinkConfig EthernetConfig HCloudVIPConfig HTTPProbeConfig HostnameConfig \
         KubeSpanConfig KubeSpanEndpointsConfig Layer2VIPConfig LinkAliasConfig LinkConfig NetworkRuleConfig \
         ResolverConfig RoutingRuleConfig StaticHostConfig TCPProbeConfig TimeSyncConfig VLANConfig VRFConfig \
         VethConfig WireguardConfig",
    ),
    (
        "k8s",
        "KubeAPIServerCAConfig KubeAPIServerConfig KubeAdmissionControlConfig KubeAggregatorCAConfig \
         KubeAuditPolicyConfig KubeAuthenticationConfig KubeAuthorizerConfig KubeClusterConfig \
         KubeControllerManagerConfig KubeCoreDNSConfig KubeCredentialProviderConfig KubeEtcdEncryptionConfig \
         KubeExternalManifestConfig KubeFlannelCNIConfig KubeInlineManifestConfig KubeNetworkConfig \
         KubeNodeConfig KubePrismConfig KubeProxyConfig KubeSchedulerConfig KubeServiceAccountConfig \
         KubeStaticPodConfig KubeTalosAPIAccessConfig KubeletConfig",
    ),
    (
        "runtime",
        "EnvironmentConfig EtcFileConfig EventSinkConfig KernelModuleConfig KmsgLogConfig OOMConfig \
         SecurityProfileConfig SysctlConfig SysfsConfig UdevRulesConfig UnattendedInstallConfig \
         WatchdogTimerConfig",
    ),
    (
        "block",
        "ExistingVolumeConfig ExternalVolumeConfig FilesystemScrubConfig FilesystemTrimConfig RawVolumeConfig \
         SwapVolumeConfig UserVolumeConfig VolumeConfig ZswapConfig",
    ),
    (
        "cri",
        "CRIBaseRuntimeSpecConfig CRICustomizationConfig ImageCacheConfig RegistryAuthConfig \
         RegistryMirrorConfig RegistryTLSConfig",
    ),
    ("storage", "LVMLogicalVolumeConfig LVMVolumeGroupConfig RAIDArrayConfig"),
    ("cluster", "DiscoveryIdentityConfig DiscoveryServiceConfig"),
    ("security", "ImageVerificationConfig TrustedRootsConfig"),
    ("container", "ContainerConfig"),
    ("hardware", "PCIDriverRebindConfig"),
    ("siderolink", "SideroLinkConfig"),
    ("extensions", "ExtensionServiceConfig"),
];

/// Types that are not called as their kind.
const OWN_NAMES: &[(&str, &str)] = &[
    ("ExtensionServiceConfig", "ServiceConfigV1Alpha1"),
    ("NetworkDefaultActionConfig", "DefaultActionConfigV1Alpha1"),
    ("EnvironmentConfig", "EnvironmentV1Alpha1"),
    ("EventSinkConfig", "EventSinkV1Alpha1"),
    ("KmsgLogConfig", "KmsgLogV1Alpha1"),
    ("KubeSpanEndpointsConfig", "KubespanEndpointsConfigV1Alpha1"),
    ("NetworkRuleConfig", "RuleConfigV1Alpha1"),
    ("OOMConfig", "OOMV1Alpha1"),
    ("SideroLinkConfig", "ConfigV1Alpha1"),
    ("WatchdogTimerConfig", "WatchdogTimerV1Alpha1"),
];

/// `*network.LinkConfigV1Alpha1`; for the empty kind `*v1alpha1.Config`.
pub(in crate::machineconfig) fn of_document(kind: &str) -> String {
    let holds = |(_, kinds): &&(&str, &str)| kinds.split(' ').any(|one| one == kind);
    let Some((package, _)) = PACKAGES.iter().find(holds) else { return "*v1alpha1.Config".to_owned() };
    match OWN_NAMES.iter().find(|(of, _)| *of == kind) {
        Some((_, name)) => format!("*{package}.{name}"),
        None => format!("*{package}.{kind}V1Alpha1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machineconfig::schema;

    #[test]
    fn every_kind_has_a_type() {
        for kind in schema::all() {
            assert_eq!(of_document(kind.name) == "*v1alpha1.Config", kind.name.is_empty(), "{}", kind.name);
        }
        assert_eq!(of_document("LinkConfig"), "*network.LinkConfigV1Alpha1");
        assert_eq!(of_document("SideroLinkConfig"), "*siderolink.ConfigV1Alpha1");
    }
}
