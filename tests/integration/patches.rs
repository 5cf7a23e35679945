//! Bad patches, in every place that a patch can be given: what is said names the patch, its file and line, and the path
//! in the document.
//!
//! `tests/fixtures/render/bad-patches.txt` holds what is said. After a wanted change:
//! `PVETALOS_BLESS=1 cargo test --test integration patches::`, and read the difference.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A name, and the patch. Each is wrong in its own way on line 3 or below, unless it has fewer.
const BAD: [(&str, &str); 15] = [
    ("unknown field", "machine:\n  network:\n    interfaces:\n      - interface: eth0\n        mut: 1500\n"),
    ("two unknown fields", "machine:\n  kubelet:\n    imag: x\ncluster:\n  proxi: {}\n"),
    ("wrong type", "machine:\n  sysctls:\n    - vm.swappiness\n"),
    ("wrong type in a list", "cluster:\n  network:\n    podSubnets:\n      - 10.0.0.0/8\n      - {}\n"),
    (
        "merge of another type",
        "cluster:\n  apiServer:\n    auditPolicy:\n      kind: [x]\n    admissionControl:\n      - name: PodSecurity\n        configuration:\n          defaults: none\n",
    ),
    ("unknown operation", "- op: add\n  path: /debug\n  value: true\n- op: put\n  path: /machine/type\n"),
    (
        "operation without its parent",
        "- op: add\n  path: /debug\n  value: true\n- op: add\n  path: /machine/time/servers\n  value: []\n",
    ),
    (
        "operation with an unknown field",
        "- op: add\n  path: /debug\n  value: true\n- op: add\n  path: /machine/tipe\n  value: x\n",
    ),
    ("bad JSON", "[\n  {\"op\": \"add\",\n  \"path\": \"/debug\" \"value\": true}\n]\n"),
    ("bad deletion", "machine:\n  network:\n    interfaces:\n      - $patch: delete\n"),
    ("deletion of what is not there", "machine:\n  kubelet:\n    extraArgs:\n      none:\n        $patch: delete\n"),
    ("unknown kind", "machine:\n  type: worker\n---\napiVersion: v1alpha1\nkind: HostConfig\nname: x\n"),
    ("broken YAML", "machine:\n  type: worker\n  sysctls: {a: b\n"),
    (
        "documents that exclude each other",
        "apiVersion: v1alpha1\nkind: UserVolumeConfig\nname: a\n---\napiVersion: v1alpha1\nkind: ExistingVolumeConfig\nname: a\n",
    ),
    ("duplicate key", "machine:\n  type: worker\nmachine:\n  type: worker\n"),
];

/// What is no YAML, or several documents, is no map in a profile.
const UNMAPPED: [&str; 5] =
    ["bad JSON", "unknown kind", "broken YAML", "duplicate key", "documents that exclude each other"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pvetalos(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pvetalos"));
    command.current_dir(folder).args(args).arg("--color=never").env("HOME", folder).env("PVETALOS_STATE_DIR", folder);
    command.env_remove("XDG_CONFIG_HOME").output().expect("the program starts")
}

#[expect(clippy::disallowed_methods, reason = "files of a test's own folder")]
fn write(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    fs::write(path, text).expect("written");
}

/// Where a patch stands in a profile: beside the line that it replaces, what takes its place.
fn profile(place: &str, patch: &str) -> String {
    let text = fs::read_to_string(root().join("profiles/lab.yaml")).expect("the lab's profile");
    let machine = "{ name: lab-wk-2, ip: 10.83.0.112 }";
    let text = text.replacen("version: 1.12.4", "version: 1.11.6", 1).replacen(
        "kubernetes_version: 1.35.0",
        "kubernetes_version: 1.34.1",
        1,
    );
    let block = |indent: usize| {
        let lines: Vec<String> = patch.lines().map(|line| " ".repeat(indent) + line + "\n").collect();
        lines.concat()
    };
    let patches = match place {
        "all, a file" => "  patches: { all: [bad.yaml] }\n".to_owned(),
        "control plane, text" => format!("  patches:\n    controlplane:\n      - |\n{}", block(8)),
        "worker, a map" => {
            let body = block(8);
            format!("  patches:\n    worker:\n      -{}", &body[7..])
        }
        "a machine, a file" => {
            let own = "{ name: lab-wk-2, ip: 10.83.0.112, patches: [bad.yaml] }";
            assert!(text.contains(machine));
            return text.replace(machine, own);
        }
        other => panic!("{other}"),
    };
    text.replacen("talos:\n", &format!("talos:\n{patches}"), 1)
}

/// What is said, without the folder's name.
fn said(folder: &Path, output: &Output) -> String {
    let code = output.status.code().expect("no signal");
    if code == 0 {
        // Merged into what is not there, anything fits.
        return "  accepted\n".to_owned();
    }
    assert_eq!(code, 2, "{output:?}");
    let text = str::from_utf8(&output.stderr).expect("UTF-8").replace(&format!("{}/", folder.display()), "");
    text.lines()
        .filter(|line| !line.starts_with("note: "))
        .fold(String::new(), |all, line| all + "  " + line.trim_end() + "\n")
}

#[test]
fn every_bad_patch_is_named_with_its_file_line_and_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = fs::canonicalize(folder.path()).expect("there");
    for part in ["profiles", "schematics"] {
        fs::create_dir(here.join(part)).expect("made");
    }
    fs::copy(root().join("schematics/lab.yaml"), here.join("schematics/lab.yaml")).expect("copied");
    let secrets = root().join("tests/fixtures/talos/secrets/secrets-a.yaml");
    let base = root().join("tests/fixtures/talos/gen/default-1.11-controlplane/expected.yaml");
    let (secrets, base) = (secrets.to_str().expect("text"), base.to_str().expect("text"));
    let mut all = Vec::new();
    for (name, patch) in BAD {
        all.push(format!("== {name}\n"));
        write(here.join("bad.yaml"), patch);
        write(here.join("profiles/bad.yaml"), patch);
        let gen_args = [
            "config",
            "gen",
            "demo",
            "https://10.0.0.1:6443",
            "--with-secrets",
            secrets,
            "-t",
            "worker",
            "-o",
            "-",
            "--talos-version",
            "1.11",
        ];
        let inline = ["config", "patch", base, "--patch", patch];
        for (how, args) in [
            ("config patch --patch @bad.yaml", &["config", "patch", base, "--patch", "@bad.yaml"][..]),
            ("config patch --patch '…'", &inline[..]),
            ("config gen --config-patch @bad.yaml", &[&gen_args[..], &["--config-patch", "@bad.yaml"]].concat()),
        ] {
            all.push(format!("-- {how}\n{}", said(&here, &pvetalos(&here, args))));
        }
        let places = ["all, a file", "control plane, text", "worker, a map", "a machine, a file"];
        for place in places {
            if place == "worker, a map" && UNMAPPED.contains(&name) {
                continue;
            }
            let path = "profiles/lab.yaml";
            write(here.join(path), profile(place, patch));
            let output = pvetalos(&here, &["render", "--profile", path]);
            all.push(format!("-- profile: {place}\n{}", said(&here, &output)));
        }
    }
    let all = all.concat();
    let recorded = root().join("tests/fixtures/render/bad-patches.txt");
    #[expect(clippy::disallowed_methods, reason = "a switch for whoever changes the texts")]
    if std::env::var_os("PVETALOS_BLESS").is_some() {
        write(&recorded, &all);
    }
    let recorded = fs::read_to_string(&recorded).expect("recorded");
    assert!(all == recorded, "it is now:\n{all}\nand was:\n{recorded}");
}
