//! Contracts 1.9 to 1.13: one v1alpha1 document, from 1.12 on with a few documents beside it.

use serde_json::{Value, json};

use super::{Maker, audit_policy, pod_security};
use crate::machineconfig::bundle::base64;
use crate::machineconfig::pki::Pair;

const EXCLUDE_FROM_LB: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

impl Maker<'_> {
    pub(super) fn legacy(&self) -> Vec<Value> {
        let mut trees = vec![json!({
            "version": "v1alpha1",
            "debug": self.input.debug,
            "persist": self.input.persist,
            "machine": self.machine(),
            "cluster": self.cluster(),
        })];
        let document = |kind: &str, key: &str, value: Value| {
            let mut tree = json!({ "apiVersion": "v1alpha1", "kind": kind });
            tree[key] = value;
            tree
        };
        if self.contract.multidoc_network {
            trees.extend(self.mirrors());
            trees.push(document("HostnameConfig", "auto", "stable".into()));
        }
        if self.contract.multidoc_kubespan && self.input.kubespan {
            trees.push(document("KubeSpanConfig", "enabled", true.into()));
        }
        trees
    }

    /// The CA with its key on control planes; workers get the key's field, empty.
    pub(super) fn ca(&self, pair: &Pair) -> Value {
        let key = if self.control_plane { base64(&pair.key) } else { "".into() };
        json!({ "crt": pair.crt_base64(), "key": key })
    }

    fn machine(&self) -> Value {
        let input = self.input;
        let mut machine = json!({
            "type": self.machine_type(),
            "token": self.bundle.trustd_token.expose(),
            "ca": self.ca(&self.bundle.os),
            "certSANs": input.additional_sans,
            "kubelet": {
                "image": self.image("ghcr.io/siderolabs/kubelet"),
                "defaultRuntimeSeccompProfileEnabled": true,
                "disableManifestsDirectory": true,
            },
            "install": { "disk": input.install_disk, "image": input.install_image, "wipe": false },
            "features": {
                "diskQuotaSupport": true,
                "hostDNS": { "enabled": true, "forwardKubeDNSToHost": true },
            },
            "sysctls": input.sysctls,
        });
        if !self.contract.multidoc_kubespan {
            machine["network"] = if input.kubespan { json!({ "kubespan": { "enabled": true } }) } else { json!({}) };
        }
        if !input.install_extra_kernel_args.is_empty() {
            machine["install"]["extraKernelArgs"] = json!(input.install_extra_kernel_args);
        }
        if self.contract.grub_uses_uki_cmdline {
            machine["install"]["grubUseUKICmdline"] = true.into();
        }
        if self.contract.legacy_locked_features {
            machine["features"]["rbac"] = true.into();
            machine["features"]["apidCheckExtKeyUsage"] = true.into();
        }
        if !self.contract.multidoc_network {
            machine["features"]["stableHostname"] = true.into();
            for (registry, urls) in self.registries() {
                machine["registries"]["mirrors"][registry] = json!({ "endpoints": urls });
            }
        }
        if let Some(port) = self.kube_prism() {
            machine["features"]["kubePrism"] = json!({ "enabled": true, "port": port });
        }
        if self.control_plane {
            machine["nodeLabels"] = json!({ EXCLUDE_FROM_LB: "" });
        }
        machine
    }

    fn cluster(&self) -> Value {
        let (input, bundle) = (self.input, self.bundle);
        let mut cluster = json!({
            "id": bundle.cluster_id.expose(),
            "secret": bundle.cluster_secret.expose(),
            "controlPlane": { "endpoint": input.endpoint },
            "clusterName": input.cluster_name,
            "network": {
                "dnsDomain": input.dns_domain,
                "podSubnets": self.pod_subnets(),
                "serviceSubnets": self.service_subnets(),
            },
            "token": bundle.bootstrap_token.expose(),
            "ca": self.ca(&bundle.k8s),
            "discovery": {
                "enabled": input.discovery,
                "registries": { "kubernetes": { "disabled": true }, "service": {} },
            },
        });
        if let Some(url) = &self.cni {
            cluster["network"]["cni"] = json!({ "name": "custom", "urls": [url] });
        }
        if self.control_plane {
            self.control_plane_only(&mut cluster);
        }
        cluster
    }

    fn control_plane_only(&self, cluster: &mut Value) {
        let (input, bundle) = (self.input, self.bundle);
        let component = |name: &str| json!({ "image": self.image(&format!("registry.k8s.io/{name}")) });
        if let Some(port) = input.local_api_server_port.filter(|port| *port != 0) {
            cluster["controlPlane"]["localAPIServerPort"] = port.into();
        }
        for (key, secret) in
            [("aescbcEncryptionSecret", &bundle.aescbc_secret), ("secretboxEncryptionSecret", &bundle.secretbox_secret)]
        {
            if let Some(secret) = secret {
                cluster[key] = secret.expose().into();
            }
        }
        cluster["aggregatorCA"] = self.ca(&bundle.k8s_aggregator);
        cluster["serviceAccount"] = json!({ "key": base64(&bundle.k8s_service_account) });
        cluster["apiServer"] = component("kube-apiserver");
        let host = self.contract.endpoint_in_sans.then(|| self.endpoint.hostname().to_owned());
        let sans: Vec<String> = host.into_iter().chain(input.additional_sans.iter().cloned()).collect();
        if !sans.is_empty() {
            cluster["apiServer"]["certSANs"] = json!(sans);
        }
        if self.contract.legacy_locked_features {
            cluster["apiServer"]["disablePodSecurityPolicy"] = true.into();
        }
        cluster["apiServer"]["admissionControl"] = json!([{ "name": "PodSecurity", "configuration": pod_security() }]);
        cluster["apiServer"]["auditPolicy"] = audit_policy();
        cluster["controllerManager"] = component("kube-controller-manager");
        cluster["proxy"] = component("kube-proxy");
        cluster["scheduler"] = component("kube-scheduler");
        cluster["etcd"] = json!({ "ca": self.ca(&bundle.etcd) });
        if input.allow_scheduling_on_control_planes {
            cluster["allowSchedulingOnControlPlanes"] = true.into();
        }
    }
}
