use super::*;
use crate::inventory::Role;
use crate::profile::{Endpoints, SchematicRef, SecretRef};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles")
}

#[test]
fn the_lab_profile_is_sound() {
    let profile = load("lab", &[shipped()]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(profile.name, "lab");
    assert!(profile.disposable && profile.talos.secureboot);
    assert_eq!(profile.proxmox.endpoints, Endpoints::Lab);
    assert_eq!((profile.of_role(Role::ControlPlane).count(), profile.of_role(Role::Worker).count()), (3, 2));
    assert_eq!(profile.network.api_endpoint, "10.83.0.100", "the VIP when nothing else is given");
    assert_eq!(profile.warnings, Vec::<String>::new());
}

#[test]
fn the_matherlynet_profile_is_sound_and_resolves_from_machine_to_role() {
    let profile = load("matherlynet", &[shipped()]).unwrap_or_else(|error| panic!("{error}"));
    let sizes: Vec<_> = profile.machines.iter().map(|m| (m.name.as_str(), m.cores, m.memory_mib, m.disk_gib)).collect();
    assert_eq!(sizes[0], ("matherlynet-cp-1", 4, 8192, 64));
    assert_eq!(sizes[5], ("matherlynet-wrkr-3", 8, 16384, 256));
    assert_eq!(profile.machines[0].vmid, Some(7001));
    assert_eq!(profile.machines[0].mac.map(|mac| mac.to_string()).as_deref(), Some("BC:24:11:62:36:01"));
    assert_eq!(profile.proxmox.vlan, Some(7));
    assert_eq!(profile.proxmox.token, Some(SecretRef::Pass("matherlynet/pve/api-token".into())));
    assert_eq!(profile.patches_for(&profile.machines[0]).count(), 5);
    assert_eq!(profile.patches_for(&profile.machines[3]).count(), 4);
    let SchematicRef::File { path, text } = &profile.talos.factory.schematic else { panic!("it names a file") };
    assert!(path.ends_with("../schematics/matherlynet.yaml") && text.contains("udp://127.0.0.1:6050"));
    assert_eq!(profile.warnings, Vec::<String>::new());
}

#[test]
fn a_profile_is_found_in_the_first_directory_or_by_its_path() {
    let (first, second) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let dirs = [first.path().to_owned(), second.path().to_owned()];
    let lab = std::fs::read_to_string(shipped().join("lab.yaml")).expect("it is shipped");
    let lab = lab.replace("    schematic: ../schematics/lab.yaml", "    extensions: [siderolabs/gvisor]");
    put(&dirs[1].join("lab.yaml"), &lab);
    assert!(load("lab", &dirs).expect("it is sound").disposable);
    put(&dirs[0].join("lab.yaml"), &lab.replace("disposable: true", "disposable: false"));
    assert!(!load("lab", &dirs).expect("it is sound").disposable, "the first directory wins");
    let path = dirs[1].join("lab.yaml");
    assert!(load(path.to_str().expect("it is text"), &[]).expect("it is sound").disposable);
}

#[test]
fn a_missing_profile_names_what_was_tried_what_exists_and_what_is_near() {
    let error = load("matherlynt", &[PathBuf::from("/nowhere"), shipped()]).expect_err("it is mistyped").to_string();
    for part in
        ["/nowhere/matherlynt.yaml", "profiles/matherlynt.yaml", "lab, matherlynet", "did you mean matherlynet?"]
    {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    let error = load("./other.yaml", &[shipped()]).expect_err("there is no such path").to_string();
    assert!(error.contains("looked for ./other.yaml"), "{error}");
}

#[test]
fn paths_inside_begin_at_the_profile() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "
name: p
proxmox:
  endpoints: [https://pve1:8006]
  token: { file: secrets/token }
  tls: { ca: ca.pem }
  storage: { image: local, disk: local-lvm }
talos:
  version: 1.12.4
  kubernetes_version: 1.35.0
  factory: { schematic: s.yaml }
  patches:
    all: [a.yaml, { machine: { env: { A: \"017\" } } }, \"machine:\\n  env: {}\\n\"]
network: { cidr: 10.0.0.0/24, gateway: 10.0.0.1 }
nodes: { controlplane: { assignments: [{ name: cp, ip: 10.0.0.2, patches: [m.yaml] }] } }
";
    let path = dir.path().join("p.yaml");
    let error = parse(text, &path).expect_err("the files are missing");
    let missing: Vec<&str> = error.problems().iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        missing,
        [
            "proxmox.tls.ca",
            "talos.factory.schematic",
            "talos.patches.all[0]",
            "nodes.controlplane.assignments[0].patches[0]"
        ]
    );
    for (file, text) in [("ca.pem", "x"), ("s.yaml", "customization: {}\n"), ("a.yaml", "a"), ("m.yaml", "m")] {
        put(&dir.path().join(file), text);
    }
    let profile = parse(text, &path).unwrap_or_else(|error| panic!("{error}"));
    let patches = &profile.talos.patches.all;
    assert_eq!(
        (patches[0].origin.as_str(), patches[0].text.as_str()),
        (dir.path().join("a.yaml").to_str().expect("text"), "a")
    );
    assert_eq!(patches[1].origin, format!("{}:13", path.display()));
    let inline: serde_json::Value = serde_saphyr::from_str(&patches[1].text).expect("it was written as YAML");
    assert_eq!(inline, serde_json::json!({ "machine": { "env": { "A": "017" } } }), "a quoted number stays text");
    assert_eq!(patches[2].text, "machine:\n  env: {}\n");
    assert_eq!(profile.machines[0].patches[0].text, "m");
    assert_eq!(profile.proxmox.token, Some(SecretRef::File(dir.path().join("secrets/token"))));
}

#[expect(clippy::disallowed_methods, reason = "a test makes its own files")]
fn put(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the directory is ours");
}
