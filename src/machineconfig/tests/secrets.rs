use serde_json::json;
use x509_parser::prelude::*;

use super::{bundle, cases, json as fixture, read, run, trees};
use crate::machineconfig::{Bundle, BundleError, Contract};

#[test]
fn accepts_and_refuses_bundles_as_talos_does() {
    run("secrets", &cases("secrets/validate"), |case| {
        let recorded = fixture(format!("secrets/validate/{case}/expected.json"));
        let made = Bundle::parse(&read(format!("secrets/validate/{case}/secrets.yaml")));
        for (version, result) in recorded.as_object().expect("versions") {
            let errors: Vec<&str> =
                result["errors"].as_array().into_iter().flatten().filter_map(|error| error.as_str()).collect();
            let same = match &made {
                Ok(_) => result["decode"] == "ok" && errors.is_empty(),
                // Errors of certificate parsing compare up to the parser's own words.
                Err(BundleError::Invalid(ours)) => {
                    ours.len() == errors.len()
                        && ours
                            .iter()
                            .zip(&errors)
                            .all(|(a, b)| a == b || (b.contains("asn1:") && b.starts_with(a.as_str())))
                }
                Err(_) => result["decode"] == "error",
            };
            if !same {
                let ours = made.as_ref().err().map(ToString::to_string);
                return Err(format!("{version}: ours {ours:?}, Talos's {result}"));
            }
        }
        Ok(())
    });
}

#[test]
fn writes_the_file_that_it_read() {
    for name in ["secrets-a", "secrets-b", "secrets-c"] {
        let path = format!("secrets/{name}.yaml");
        let written = bundle(&path).to_yaml();
        assert!(trees(written.expose()) == trees(&read(&path)), "{name} changed");
        assert!(written.expose() == read(&path), "{name} is spelled differently");
    }
}

#[test]
fn a_new_bundle_is_what_talos_would_make() {
    let contract = Contract::parse("1.13").expect("known");
    let made = Bundle::generate(&contract).expect("generated");
    let again = Bundle::parse(made.to_yaml().expose()).unwrap_or_else(|error| panic!("{error}"));
    assert!(made.to_yaml().expose() == again.to_yaml().expose());
    let reference = bundle("secrets/secrets-c.yaml");
    for (ours, theirs) in [
        (&made.etcd, &reference.etcd),
        (&made.k8s, &reference.k8s),
        (&made.k8s_aggregator, &reference.k8s_aggregator),
        (&made.os, &reference.os),
    ] {
        let (ours_pem, theirs_pem) = (::pem::parse(&ours.crt).unwrap(), ::pem::parse(&theirs.crt).unwrap());
        let (_, ours_crt) = parse_x509_certificate(ours_pem.contents()).unwrap();
        let (_, theirs_crt) = parse_x509_certificate(theirs_pem.contents()).unwrap();
        assert_eq!(ours_crt.subject().to_string(), theirs_crt.subject().to_string());
        assert_eq!(ours_crt.issuer().to_string(), theirs_crt.issuer().to_string());
        assert_eq!(ours_crt.signature_algorithm, theirs_crt.signature_algorithm);
        assert_eq!(ours_crt.raw_serial().len(), 16);
        ours_crt.verify_signature(None).expect("self-signed");
        let lifetime =
            |crt: &X509Certificate<'_>| crt.validity().not_after.timestamp() - crt.validity().not_before.timestamp();
        assert_eq!(lifetime(&ours_crt), 87_600 * 3600);
        assert_eq!(lifetime(&ours_crt), lifetime(&theirs_crt));
        // The same extensions, equally critical, with the same content but for the random key id.
        let extensions = |crt: &X509Certificate<'_>| {
            let skip_id = |extension: &X509Extension<'_>| {
                let id = extension.oid.to_id_string();
                let value = if id == "2.5.29.14" { vec![0; extension.value.len()] } else { extension.value.to_vec() };
                (id, extension.critical, value)
            };
            let mut list: Vec<_> = crt.extensions().iter().map(skip_id).collect();
            list.sort();
            list
        };
        assert_eq!(extensions(&ours_crt), extensions(&theirs_crt));
        let (a, b) = (::pem::parse(ours.key.expose()).unwrap(), ::pem::parse(theirs.key.expose()).unwrap());
        assert_eq!(a.tag(), b.tag());
        assert_eq!(a.contents().len(), b.contents().len());
        assert_eq!(ours.key.expose().lines().count(), theirs.key.expose().lines().count());
    }
    let account = ::pem::parse(made.k8s_service_account.expose()).unwrap();
    let recorded = bundle("secrets/secrets-a.yaml");
    assert_eq!(account.tag(), ::pem::parse(recorded.k8s_service_account.expose()).unwrap().tag());
    assert!(aws_lc_rs::rsa::KeyPair::from_der(account.contents()).is_ok(), "not PKCS#1");
    assert!(account.contents().len() > 2300, "not 4096 bits");
    let (id, key) = made.bootstrap_token.expose().split_once('.').expect("a token has a dot");
    assert_eq!((id.len(), key.len()), (6, 16));
    assert!(made.trustd_token.expose() != made.bootstrap_token.expose());
}

#[test]
fn reads_the_spelling_of_other_tools() {
    let ours = trees(&read("secrets/secrets-a.yaml"));
    let cert = |name: &str| json!({ "Crt": ours[0]["certs"][name]["crt"], "Key": ours[0]["certs"][name]["key"] });
    let other = json!({
        "Cluster": { "Id": ours[0]["cluster"]["id"], "Secret": ours[0]["cluster"]["secret"] },
        "Secrets": {
            "BootstrapToken": ours[0]["secrets"]["bootstraptoken"],
            "SecretboxEncryptionSecret": ours[0]["secrets"]["secretboxencryptionsecret"],
        },
        "TrustdInfo": { "Token": ours[0]["trustdinfo"]["token"] },
        "Certs": {
            "Etcd": cert("etcd"), "K8s": cert("k8s"), "K8sAggregator": cert("k8saggregator"),
            "K8sServiceAccount": { "Key": ours[0]["certs"]["k8sserviceaccount"]["key"] }, "OS": cert("os"),
        },
    });
    let read = Bundle::parse(&other.to_string()).unwrap_or_else(|error| panic!("{error}"));
    assert!(trees(read.to_yaml().expose()) == ours);

    let cert = |name: &str| json!({ "cert": ours[0]["certs"][name]["crt"], "key": ours[0]["certs"][name]["key"] });
    let terraform = json!({
        "cluster": ours[0]["cluster"],
        "secrets": {
            "bootstrap_token": ours[0]["secrets"]["bootstraptoken"],
            "secretbox_encryption_secret": ours[0]["secrets"]["secretboxencryptionsecret"],
        },
        "trustdinfo": ours[0]["trustdinfo"],
        "certs": {
            "etcd": cert("etcd"), "k8s": cert("k8s"), "k8s_aggregator": cert("k8saggregator"),
            "k8s_serviceaccount": ours[0]["certs"]["k8sserviceaccount"], "os": cert("os"),
        },
    });
    let read = Bundle::parse(&terraform.to_string()).unwrap_or_else(|error| panic!("{error}"));
    assert!(trees(read.to_yaml().expose()) == ours);
}
