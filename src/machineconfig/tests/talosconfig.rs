use serde_json::Value;
use x509_parser::prelude::*;

use super::{bundle, cases, json, read, run, trees};
use crate::machineconfig::talosconfig::{Admin, client};

#[test]
fn issues_what_talos_issues() {
    run("talosconfig", &cases("talosconfig"), |case| {
        let recorded = json(format!("talosconfig/{case}/case.json"));
        let certificate = json(format!("talosconfig/{case}/certificate.json"));
        let bundle = bundle(recorded["secrets"].as_str().expect("path"));
        let endpoints: Vec<String> = serde_json::from_value(recorded["endpoints"].clone()).expect("texts");
        // A certificate of ours has one role; of several the strongest, which Talos puts first, is the one to compare.
        let role = certificate["organizations"][0].as_str().expect("text");
        let cluster = recorded["clusterName"].as_str().expect("text");
        let admin = client(&bundle, role, cluster, endpoints, Vec::new()).map_err(|error| error.to_string())?;

        let written = admin.to_yaml();
        let mut ours = trees(written.expose());
        let theirs = trees(&read(format!("talosconfig/{case}/expected-structure.yaml")).replace(": random", ""));
        for half in ["crt", "key"] {
            ours[0]["contexts"][cluster][half] = theirs[0]["contexts"][cluster][half].clone();
        }
        let keys = |value: &Value| value.as_object().expect("a mapping").keys().cloned().collect::<Vec<_>>();
        if ours != theirs || keys(&ours[0]["contexts"][cluster]) != keys(&theirs[0]["contexts"][cluster]) {
            return Err("the talosconfig differs".to_owned());
        }

        let block = ::pem::parse(&admin.crt_pem).map_err(|error| error.to_string())?;
        let (_, crt) = parse_x509_certificate(block.contents()).map_err(|error| error.to_string())?;
        let ca = ::pem::parse(&bundle.os.crt).map_err(|error| error.to_string())?;
        let (_, ca) = parse_x509_certificate(ca.contents()).map_err(|error| error.to_string())?;
        crt.verify_signature(Some(ca.public_key())).map_err(|error| error.to_string())?;
        let authority = crt.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| hex::encode(id.0)),
            _ => None,
        });
        let mut extensions: Vec<Value> = crt
            .iter_extensions()
            .map(|extension| serde_json::json!({ "critical": extension.critical, "oid": extension.oid.to_id_string() }))
            .collect();
        let mut recorded_extensions = certificate["extensions"].as_array().expect("a list").clone();
        extensions.sort_by_key(Value::to_string);
        recorded_extensions.sort_by_key(Value::to_string);
        let usage = crt.key_usage().expect("readable").expect("there").value.flags;
        let extended = crt.extended_key_usage().expect("readable").expect("there").value;
        let hours = (crt.validity().not_after.timestamp() - crt.validity().not_before.timestamp()) / 3600;
        let key = ::pem::parse(admin.key_pem.expose()).map_err(|error| error.to_string())?;
        let facts = [
            ("authority", authority.as_deref() == certificate["authorityKeyId"].as_str()),
            ("subject", crt.subject().to_string() == format!("O={role}")),
            ("issuer", certificate["issuer"] == crt.issuer().to_string()),
            ("extensions", extensions == recorded_extensions),
            ("key usage", certificate["keyUsage"] == usage),
            ("client only", extended.client_auth && !extended.server_auth && !extended.any),
            ("lifetime", certificate["validityHours"] == hours),
            ("key label", certificate["keyPEMLabel"] == key.tag()),
            ("key length", certificate["keyDERLength"] == key.contents().len()),
            ("newlines", admin.crt_pem.ends_with('\n') && admin.key_pem.expose().ends_with('\n')),
        ];
        let wrong: Vec<&str> = facts.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("differs in {wrong:?}")) }
    });
}

#[test]
fn reads_its_own_talosconfig() {
    let bundle = bundle("secrets/secrets-a.yaml");
    let nodes = vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
    let made = client(&bundle, "os:admin", "demo", vec!["10.0.0.1".to_owned()], nodes).expect("issued");
    let read = Admin::parse(made.to_yaml().expose()).unwrap_or_else(|error| panic!("{error}"));
    assert!(read.to_yaml().expose() == made.to_yaml().expose());
    assert_eq!((read.endpoints, read.nodes), (made.endpoints, made.nodes));
    assert!(Admin::parse("context: x\ncontexts: {}\n").is_err());
}
