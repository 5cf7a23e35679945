//! What goes to stdout, in which form, and that every command explains itself.

use serde_json::Value;

use super::desk::Desk;
use super::site;

/// The id that the Image Factory gives this schematic.
const MATHERLYNET: &str = "a7f294c4436e874167652f711750f9bc607c89f12f7c27f183584a25763a2bca";

#[test]
fn json_is_all_that_stdout_shows_when_it_was_asked_for() {
    let desk = Desk::new();
    Desk::write(&desk.work("site.yaml"), &site::small(""), 0o644);
    desk.profile("small", &[]);
    let json = |arguments: &[&str]| desk.ends(0, &[arguments, &["--output", "json"]].concat()).lines();
    let one = |arguments: &[&str]| -> Value {
        let [line] = json(arguments).try_into().unwrap_or_else(|lines| panic!("{arguments:?}: {lines:?}"));
        line
    };

    assert_eq!(one(&["lab", "status"])["running"], false);
    assert!(one(&["lab", "start", "--site", "site.yaml"])["fingerprint"].is_string());
    assert!(one(&["lab", "start"])["fingerprint"].is_string(), "one that runs already says the same");
    assert_eq!(one(&["profile", "check", "--profile", "small"])["machines"][1], "lab-wk-1");
    assert!(one(&["profile", "schema"])["properties"]["proxmox"].is_object());
    assert_eq!(one(&["schematic", "id", "--profile", "matherlynet"])["id"], MATHERLYNET);
    assert!(
        one(&["schematic", "show", "--profile", "lab"])["schematic"].as_str().is_some_and(|text| text.contains('\n'))
    );
    assert!(one(&["schematic", "url", "--profile", "lab"])["installer"].is_string());
    assert!(one(&["token", "check", "--profile", "small"])["privileges"]["/vms"].is_array());
    assert_eq!(one(&["doctor", "--profile", "small"])["ready"], true);
    assert!(one(&["discover", "--profile", "small"])["found"].is_array());
    assert!(one(&["plan", "--profile", "small"])["outline"]["image"].is_string());
    assert!(one(&["create", "--profile", "small", "--dry-run"])["outline"]["image"].is_string());

    let events = json(&["create", "--profile", "small"]);
    let (last, events) = events.split_last().expect("events");
    assert_eq!(last["summary"]["cluster"], "small");
    assert!(events.iter().all(|event| event["record"].is_string() || event["tick"].is_string()), "{events:?}");
    assert_eq!(events.iter().filter(|event| event["record"] == "committed").count(), 1);

    assert_eq!(one(&["status"])["healthy"], true);
    assert_eq!(one(&["lab", "status"])["world"]["guests"].as_array().map(Vec::len), Some(2));
    assert_eq!(json(&["destroy", "--yes"]).pop().expect("a line")["state"], "destroyed");
    assert_eq!(one(&["lab", "stop"])["stopped"], true);
}

/// The commands below `path`, as its help lists them.
fn commands(desk: &Desk, path: &[&str]) -> Vec<String> {
    let help = desk.ends(0, &[path, &["--help"]].concat());
    assert_eq!(help.err, "", "{path:?}: help that was asked for is a result");
    assert!(help.out.contains("Usage: pvetalos") && help.out.contains("--output"), "{path:?}: {}", help.out);
    let listed = help.out.split("\nCommands:\n").nth(1).unwrap_or_default();
    let listed = listed.lines().take_while(|line| !line.is_empty());
    // Continuation lines are indented further.
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_has_help_and_stands_in_completions_and_manual() {
    let desk = Desk::new();
    let top = commands(&desk, &[]);
    for known in [
        "create",
        "destroy",
        "plan",
        "status",
        "doctor",
        "discover",
        "token",
        "profile",
        "schematic",
        "lab",
        "completions",
        "man",
    ] {
        assert!(top.iter().any(|name| name == known), "{known} is not in {top:?}");
    }
    let manual = desk.ends(0, &["man"]).out;
    assert!(manual.starts_with(".ie") || manual.contains(".TH pvetalos"), "{manual}");
    let shells: Vec<String> =
        ["bash", "zsh", "fish"].iter().map(|shell| desk.ends(0, &["completions", shell]).out).collect();
    for name in &top {
        assert!(manual.contains(name.as_str()), "{name} is not in the manual");
        assert!(shells.iter().all(|script| script.contains(name.as_str())), "{name} is not completed");
        for below in commands(&desk, &[name]) {
            commands(&desk, &[name, &below]);
        }
    }
    assert!(desk.ends(0, &["--version"]).out.starts_with("pvetalos "));
    let nothing = desk.ends(2, &[]);
    assert_eq!(nothing.out, "");
    nothing.tells(&["Usage: pvetalos"]);
}

#[test]
fn the_schema_the_schematic_and_the_plan_of_the_example() {
    let desk = Desk::new();
    let schema: Value = serde_json::from_str(&desk.ends(0, &["profile", "schema"]).out).expect("a JSON Schema");
    assert!(schema["$schema"].is_string() && schema["properties"]["nodes"].is_object(), "{schema}");
    assert_eq!(desk.ends(0, &["schematic", "id", "--profile", "matherlynet"]).out.trim(), MATHERLYNET);
    assert_eq!(desk.ends(0, &["schematic", "id", "schematics/matherlynet.yaml"]).out.trim(), MATHERLYNET);
    for name in ["lab", "matherlynet"] {
        let checked = desk.ends(0, &["profile", "check", "--profile", name]);
        assert!(checked.out.contains("is a good profile"), "{}", checked.out);
    }

    let plan = desk.ends(0, &["plan", "--profile", "matherlynet", "--lab"]).out;
    let image = format!("local:iso/talos-v1.12.4-nocloud-amd64-secureboot-{MATHERLYNET}.iso");
    let installer = format!("factory.talos.dev/nocloud-installer-secureboot/{MATHERLYNET}:v1.12.4");
    for part in [
        "6 machines",
        "https://192.168.22.100:6443",
        MATHERLYNET,
        &image,
        &installer,
        "matherlynet-cp-1 (controlplane) on node vs01",
        "matherlynet-wrkr-3 (worker) on node vs01",
        "stage prepare",
        "stage machines",
        "stage cluster",
    ] {
        assert!(plan.contains(part), "{part} is not in the plan:\n{plan}");
    }
    let parameters = [
        ("vmid", "7001"),
        ("name", "matherlynet-cp-1"),
        ("tags", "pvetalos;pvetalos.matherlynet"),
        ("machine", "q35"),
        ("bios", "ovmf"),
        ("efidisk0", "local-zfs:1,efitype=4m,pre-enrolled-keys=0"),
        ("tpmstate0", "local-zfs:1,version=v2.0"),
        ("cores", "4"),
        ("memory", "8192"),
        ("cpu", "x86-64-v2-AES"),
        ("net0", "virtio=BC:24:11:62:36:01,bridge=vmbr0,tag=7"),
        ("address", "192.168.22.101/22"),
    ];
    for (name, value) in parameters {
        let stands = plan.lines().any(|line| {
            let (key, rest) = line.trim().split_once(' ').unwrap_or_default();
            key == name && rest.trim().starts_with(value)
        });
        assert!(stands, "{name} {value} is not in the plan:\n{plan}");
    }
    for call in
        ["POST /nodes/vs01/qemu", "POST /nodes/vs01/storage/local/download-url", "Bootstrap", "ApplyConfiguration"]
    {
        assert!(plan.contains(call), "{call} is not in the plan:\n{plan}");
    }
    assert_eq!(desk.ends(0, &["lab", "status", "--output", "json"]).json()["running"], false, "a plan leaves no lab");
    assert!(!desk.state("clusters").exists(), "a plan writes nothing");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let desk = Desk::new();
    let mut child =
        desk.command(&["profile", "schema"]).stdout(std::process::Stdio::piped()).spawn().expect("the binary starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn wrong_options_are_told_with_what_would_be_right() {
    let desk = Desk::new();
    desk.ends(2, &["status", "--output", "yaml"]).tells(&["yaml", "human, json"]);
    desk.ends(2, &["status", "--log", "pvetalos=loud"]).tells(&["--log takes a filter"]);
    desk.ends(2, &["lab", "start", "--pve", "7"]).tells(&["the lab imitates 9 and 8"]);
    desk.ends(2, &["lab", "start", "--site", "nowhere.yaml"]).tells(&["site description nowhere.yaml"]);
    Desk::write(&desk.work("faults.json"), "[{ \"face\": \"pve\" }]", 0o644);
    desk.ends(2, &["lab", "start", "--faults", "faults.json"]).tells(&["script of faults faults.json", "effect"]);
    let mut command = desk.command(&["create", "--profile", "lab", "--yes"]);
    command.env("PVETALOS_LAB_CLOCK", "quick");
    let outcome = super::desk::Outcome::of(command);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    outcome.tells(&["PVETALOS_LAB_CLOCK", "quick", "instant"]);
}
