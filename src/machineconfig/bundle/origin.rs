//! Bundles that are not new: out of a control plane's configuration, or around the PKI of a Kubernetes that is there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Bundle, BundleError, check};
use crate::machineconfig::contract::Contract;
use crate::machineconfig::documents::Documents;
use crate::machineconfig::pki::{self, Pair};
use crate::secrets::Secret;

/// What kubeadm keeps in `/etc/kubernetes/pki`, PEM.
pub struct KubernetesPki {
    /// `ca.crt`, `ca.key`.
    pub ca: Pair,
    /// `etcd/ca.crt`, `etcd/ca.key`.
    pub etcd: Pair,
    /// `front-proxy-ca.crt`, `front-proxy-ca.key`.
    pub front_proxy: Pair,
    /// `sa.key`.
    pub service_account: Secret,
}

impl Bundle {
    /// The bundle that a control plane's configuration was made with
    /// (Talos 1.14: pkg/machinery/config/generate/secrets/bundle.go, `NewBundleFromConfig`).
    ///
    /// Talos writes what it finds; here a bundle that Talos would refuse to use is an error at once, such as a worker's,
    /// which has no keys.
    pub fn from_config(documents: &Documents) -> Result<Self, BundleError> {
        let from = Source { documents };
        let optional = |text: String| Some(text).filter(|text| !text.is_empty()).map(Secret::new);
        let bundle = Self {
            cluster_id: Secret::new(from.either(&["cluster", "id"], "DiscoveryIdentityConfig", &["clusterID"])),
            cluster_secret: Secret::new(from.either(
                &["cluster", "secret"],
                "DiscoveryIdentityConfig",
                &["clusterSecret"],
            )),
            bootstrap_token: Secret::new(from.v1(&["cluster", "token"])),
            aescbc_secret: optional(from.v1(&["cluster", "aescbcEncryptionSecret"])),
            secretbox_secret: from.secretbox().or(optional(from.v1(&["cluster", "secretboxEncryptionSecret"]))),
            trustd_token: Secret::new(from.v1(&["machine", "token"])),
            etcd: from.pair(&["cluster", "etcd", "ca"], ""),
            k8s: from.pair(&["cluster", "ca"], "KubeAPIServerCAConfig"),
            k8s_aggregator: from.pair(&["cluster", "aggregatorCA"], "KubeAggregatorCAConfig"),
            k8s_service_account: from.service_account(),
            os: from.pair(&["machine", "ca"], ""),
        };
        let problems = check::problems(&bundle, |path| match path {
            ["certs", "etcd"] => !bundle.etcd.crt.is_empty(),
            ["certs", "k8s"] => !bundle.k8s.crt.is_empty(),
            ["certs", "k8saggregator"] => !bundle.k8s_aggregator.crt.is_empty(),
            ["certs", "k8sserviceaccount"] => !bundle.k8s_service_account.expose().is_empty(),
            ["certs", "os"] => !bundle.os.crt.is_empty(),
            _ => true,
        });
        if problems.is_empty() { Ok(bundle) } else { Err(BundleError::Invalid(problems)) }
    }

    /// A new bundle around the CAs of a Kubernetes that is there, and its bootstrap token if one is given.
    pub fn from_kubernetes_pki(
        pki: KubernetesPki,
        bootstrap_token: Option<Secret>,
        contract: &Contract,
    ) -> Result<Self, BundleError> {
        let mut problems = Vec::new();
        for (file, pair) in [("ca", &pki.ca), ("etcd/ca", &pki.etcd), ("front-proxy-ca", &pki.front_proxy)] {
            problems.extend(pki::check_certificate(&pair.crt).err().map(|why| format!("{file}.crt: {why}")));
            problems.extend(pki::check_key(pair.key.expose()).err().map(|why| format!("{file}.key: {why}")));
        }
        problems.extend(pki::check_key(pki.service_account.expose()).err().map(|why| format!("sa.key: {why}")));
        if !problems.is_empty() {
            return Err(BundleError::Invalid(problems));
        }
        let made = Self::with_account(contract, pki.service_account)?;
        Ok(Self {
            bootstrap_token: bootstrap_token.unwrap_or(made.bootstrap_token),
            etcd: pki.etcd,
            k8s: pki.ca,
            k8s_aggregator: pki.front_proxy,
            ..made
        })
    }
}

struct Source<'a> {
    documents: &'a Documents,
}

impl Source<'_> {
    fn v1(&self, path: &[&str]) -> String {
        let value = self.documents.v1alpha1().and_then(|document| document.get(path));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn of(&self, kind: &str, path: &[&str]) -> String {
        let value = self.documents.of_kind(kind).next().and_then(|document| document.get(path));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn either(&self, path: &[&str], kind: &str, field: &[&str]) -> String {
        Some(self.v1(path)).filter(|text| !text.is_empty()).unwrap_or_else(|| self.of(kind, field))
    }

    /// A CA in base64 where v1alpha1 has it, else as PEM in the document that took its place.
    fn pair(&self, path: &[&str], kind: &str) -> Pair {
        let half = |key: &str| pem(&self.v1(&[path, &[key]].concat()));
        let crt = half("crt");
        if crt.is_empty() && !kind.is_empty() {
            let key = Secret::new(self.of(kind, &["issuingCA", "key"]));
            return Pair { crt: self.of(kind, &["issuingCA", "cert"]), key };
        }
        Pair { crt, key: Secret::new(half("key")) }
    }

    fn service_account(&self) -> Secret {
        let key = pem(&self.v1(&["cluster", "serviceAccount", "key"]));
        if !key.is_empty() {
            return Secret::new(key);
        }
        Secret::new(self.of("KubeServiceAccountConfig", &["issuer", "privateKey"]))
    }

    /// The first key of the first provider of what encrypts Kubernetes Secrets: the document is free-form, and this is
    /// where the generator puts it.
    fn secretbox(&self) -> Option<Secret> {
        let document = self.documents.of_kind("KubeEtcdEncryptionConfig").next()?;
        let resources = document.get(&["config", "resources"])?.as_array()?;
        let secrets = |resource: &&Value| {
            resource["resources"].as_array().is_some_and(|names| names.iter().any(|name| name == "secrets"))
        };
        let key = resources.iter().find(secrets)?.pointer("/providers/0/secretbox/keys/0/secret")?.as_str()?;
        Some(Secret::new(key))
    }
}

/// Decoding has refused what is no base64 already.
fn pem(base64: &str) -> String {
    STANDARD.decode(base64).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Role;
    use crate::machineconfig::tests::bundle;
    use crate::machineconfig::{Input, generate};

    #[test]
    fn a_control_planes_configuration_gives_its_bundle_back() {
        for minor in ["1.9", "1.11", "1.12", "1.13", "1.14"] {
            let contract = Contract::parse(minor).expect("known");
            for file in ["secrets/secrets-a.yaml", "secrets/secrets-b.yaml", "secrets/secrets-c.yaml"] {
                let kept = bundle(file);
                let made = |role| {
                    let input = Input::new("lab", "https://10.0.0.10:6443", "1.35.0");
                    Bundle::from_config(&generate(&contract, &kept, role, &input).expect("made"))
                };
                let back = made(Role::ControlPlane).unwrap_or_else(|error| panic!("{minor}: {error}"));
                assert!(back.to_yaml().expose() == kept.to_yaml().expose(), "{minor} {file}");
                assert!(made(Role::Worker).is_err(), "{minor}: a worker has no keys");
            }
        }
    }

    #[test]
    fn the_pki_of_a_kubernetes_is_taken_over() {
        let (theirs, other) = (bundle("secrets/secrets-a.yaml"), bundle("secrets/secrets-b.yaml"));
        let pki = |ca: &Pair| KubernetesPki {
            ca: ca.clone(),
            etcd: theirs.etcd.clone(),
            front_proxy: theirs.k8s_aggregator.clone(),
            service_account: theirs.k8s_service_account.clone(),
        };
        let token = Some(Secret::new("abcdef.0123456789abcdef"));
        let made = Bundle::from_kubernetes_pki(pki(&theirs.k8s), token, &Contract::NEWEST).expect("made");
        assert_eq!(made.bootstrap_token.expose(), "abcdef.0123456789abcdef");
        assert!(made.k8s.key.expose() == theirs.k8s.key.expose() && made.etcd.crt == theirs.etcd.crt);
        assert!(made.k8s_aggregator.crt == theirs.k8s_aggregator.crt && made.os.crt != theirs.os.crt);
        assert!(made.k8s_service_account.expose() == theirs.k8s_service_account.expose());
        let broken = Pair { crt: other.k8s.crt, key: Secret::new("no key") };
        let error = Bundle::from_kubernetes_pki(pki(&broken), None, &Contract::NEWEST).err().expect("refused");
        assert!(error.to_string().contains("ca.key: failed to parse PEM block"), "{error}");
    }
}
