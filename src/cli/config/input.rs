//! The generator's inputs as flags: talosctl's own, and for what talosctl has no flag the kebab-case of its name.

use super::super::failure::Failure;
use super::refused;
use super::value::{List, boolean, list};
use crate::machineconfig::{Input, quoted};

/// The schematic of an image without any customisation, which the factory always knows.
const PLAIN_INSTALLER: &str =
    "factory.talos.dev/metal-installer/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba";

#[derive(clap::Args)]
pub(super) struct Flags {
    /// The disk to install to; empty: none is named
    #[arg(long, value_name = "DEVICE", default_value = "/dev/sda", allow_hyphen_values = true)]
    install_disk: String,
    /// The image to install [default: the factory's plain installer of the Talos version]
    #[arg(long, value_name = "IMAGE")]
    install_image: Option<String>,
    /// The Kubernetes version to run [default: the Talos version's own]
    #[arg(long, value_name = "VERSION")]
    kubernetes_version: Option<String>,
    /// More names and addresses for the certificates of the Talos and the Kubernetes API
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, value_parser = list)]
    additional_sans: Vec<List>,
    /// The cluster's DNS domain
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local", allow_hyphen_values = true)]
    dns_domain: String,
    /// Whether machines find each other through the discovery service
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    with_cluster_discovery: bool,
    /// Whether machines speak to each other through KubeSpan
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    with_kubespan: bool,
    /// A registry's mirror, as registry=url
    #[arg(long, value_name = "HOST=URL", allow_hyphen_values = true, value_parser = list)]
    registry_mirror: Vec<List>,
    /// Pod subnets [default: 10.244.0.0/16]
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pod_subnets: Vec<String>,
    /// Service subnets [default: 10.96.0.0/12]
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    service_subnets: Vec<String>,
    /// Let pods run on control planes
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    allow_scheduling_on_control_planes: bool,
    /// Manifest of a CNI to install instead of Flannel
    #[arg(long, value_name = "URL")]
    custom_cni_url: Option<String>,
    /// Port of the Kubernetes API on the machine itself
    #[arg(long, value_name = "PORT")]
    local_api_server_port: Option<u16>,
    /// Port of KubePrism; 0 turns it off [default: 7445]
    #[arg(long, value_name = "PORT")]
    kube_prism_port: Option<u16>,
    /// A kernel parameter, as key=value
    #[arg(long, value_name = "KEY=VALUE")]
    sysctls: Vec<String>,
    /// Whether the configuration outlives a reboot; anything else is of the past
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    persist: bool,
    /// Verbose logging to the console
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", hide_default_value = true, default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    debug: bool,
    /// A kernel argument of the installation; none of them on contract 1.14
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    install_extra_kernel_args: Vec<String>,
}

impl Flags {
    /// Every mirror's registry and URL.
    pub(super) fn mirrors(&self) -> Result<Vec<(String, String)>, Failure> {
        pairs(&List::joined(&self.registry_mirror), "registry mirror spec")
    }

    /// `talos` is `1.13` or `1.13.4`, with or without `v`, or empty for the newest.
    pub(super) fn input(&self, name: &str, endpoint: &str, talos: &str) -> Result<Input, Failure> {
        let talos =
            if talos.is_empty() { crate::machineconfig::Contract::NEWEST.to_string() } else { talos.to_owned() };
        let kubernetes = match &self.kubernetes_version {
            Some(version) => version.clone(),
            None => crate::talos::Minor::of(&talos).map_err(refused)?.kubernetes.default.to_owned(),
        };
        Ok(Input {
            install_disk: self.install_disk.clone(),
            install_image: self.install_image.clone().unwrap_or_else(|| installer(&talos)),
            additional_sans: List::joined(&self.additional_sans),
            dns_domain: self.dns_domain.clone(),
            pod_subnets: self.pod_subnets.clone(),
            service_subnets: self.service_subnets.clone(),
            discovery: self.with_cluster_discovery,
            kubespan: self.with_kubespan,
            debug: self.debug,
            persist: self.persist,
            allow_scheduling_on_control_planes: self.allow_scheduling_on_control_planes,
            custom_cni_url: self.custom_cni_url.clone(),
            local_api_server_port: self.local_api_server_port,
            kube_prism_port: self.kube_prism_port,
            registry_mirrors: self.mirrors()?.into_iter().map(|(host, url)| (host, vec![url])).collect(),
            sysctls: pairs(&self.sysctls, "sysctl")?.into_iter().collect(),
            install_extra_kernel_args: self.install_extra_kernel_args.clone(),
            ..Input::new(name, endpoint, &kubernetes)
        })
    }
}

fn pairs(list: &[String], what: &str) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| {
        let halves = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        halves.ok_or_else(|| refused(format!("invalid {what}: {}", quoted(text))))
    };
    list.iter().map(pair).collect()
}

/// A version without a patch means the first release of its minor, whose image stays there.
fn installer(talos: &str) -> String {
    let version = talos.trim_start_matches('v');
    let patch = if version.matches('.').count() < 2 { ".0" } else { "" };
    format!("{PLAIN_INSTALLER}:v{version}{patch}")
}
