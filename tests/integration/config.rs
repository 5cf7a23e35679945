//! `pvetalos config`, run as a program over everything that was recorded of Talos.
//!
//! The library's tests compare more; these are about the command line: that every option of the generator has a flag,
//! that results are alone on stdout, that errors carry Talos's text, and that refusal is exit code 2.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/talos"))
}

/// Runs `pvetalos config …` where the fixtures are.
fn config(args: &[String]) -> Output {
    let program =
        Command::new(env!("CARGO_BIN_EXE_pvetalos")).arg("config").args(args).current_dir(fixtures()).output();
    program.expect("the program starts")
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("UTF-8")
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("UTF-8")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON")
}

fn cases(area: &str) -> Vec<String> {
    let entries = fs::read_dir(fixtures().join(area)).expect("the area");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("ASCII"))
        .collect();
    names.sort();
    names
}

/// Documents by the tests' own reader, which is not the one under test.
fn trees(text: &str) -> Vec<Value> {
    let options = serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true, with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).expect("YAML");
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// Runs `check` over the cases on both cores; every failure is shown.
fn all(area: &str, check: impl Fn(&str) -> Vec<String> + Sync) {
    let cases = cases(area);
    assert!(cases.len() > 50, "{area} lost its cases");
    let halves: Vec<&[String]> = cases.chunks(cases.len().div_ceil(2)).collect();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let run = |half: &'_ [String]| half.iter().flat_map(|case| check(case)).collect::<Vec<String>>();
        let handles: Vec<_> = halves.into_iter().map(|half| scope.spawn(move || run(half))).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("no panic")).collect()
    });
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn gen_flags(case: &Value) -> Vec<String> {
    let options = case["options"].as_object().expect("options");
    let text = |key: &str| options[key].as_str().expect("text").to_owned();
    let mut args = vec!["gen".to_owned(), text("clusterName"), text("endpoint")];
    let mut flag = |name: &str, value: &str| args.push(format!("--{name}={value}"));
    flag("with-secrets", case["secrets"].as_str().expect("path"));
    flag("output-types", options["role"].as_str().expect("role"));
    let list = |value: &Value| -> Vec<String> {
        value.as_array().expect("a list").iter().map(|item| item.as_str().expect("text").to_owned()).collect()
    };
    for (key, value) in options {
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match key.as_str() {
            "clusterName" | "endpoint" | "role" => {}
            "contract" => flag("talos-version", &plain),
            "kubernetesVersion" => flag("kubernetes-version", &plain),
            "installImage" => flag("install-image", &plain),
            "installDisk" => flag("install-disk", &plain),
            "dnsDomain" => flag("dns-domain", &plain),
            "discovery" => flag("with-cluster-discovery", &plain),
            "kubespan" => flag("with-kubespan", &plain),
            "allowSchedulingOnControlPlanes" => flag("allow-scheduling-on-control-planes", &plain),
            "customCNIURL" => flag("custom-cni-url", &plain),
            "localAPIServerPort" => flag("local-api-server-port", &plain),
            "kubePrismPort" => flag("kube-prism-port", &plain),
            "debug" => flag("debug", &plain),
            "additionalSANs" => list(value).iter().for_each(|san| flag("additional-sans", san)),
            "podSubnets" => flag("pod-subnets", &list(value).join(",")),
            "serviceSubnets" => flag("service-subnets", &list(value).join(",")),
            "installExtraKernelArgs" => list(value).iter().for_each(|arg| flag("install-extra-kernel-args", arg)),
            "registryMirrors" => {
                for mirror in value.as_array().expect("a list") {
                    let mirror = list(mirror);
                    mirror[1..].iter().for_each(|url| flag("registry-mirror", &format!("{}={url}", mirror[0])));
                }
            }
            "sysctls" => {
                for (key, value) in value.as_object().expect("a map") {
                    flag("sysctls", &format!("{key}={}", value.as_str().expect("text")));
                }
            }
            other => panic!("an option without a flag: {other}"),
        }
    }
    args.extend(words("-o -"));
    args
}

#[test]
fn gen_makes_what_talos_makes() {
    all("gen", |name| {
        let folder = fixtures().join("gen").join(name);
        let case = json(&folder.join("case.json"));
        let made = config(&gen_flags(&case));
        let results = case["results"].as_object().expect("results").iter();
        let wrong = results.filter_map(|(version, result)| {
            let recorded =
                || fs::read_to_string(folder.join(result["file"].as_str().expect("file"))).expect("readable");
            let why = match (result["outcome"].as_str().expect("text"), made.status.code()) {
                ("ok", Some(0)) if !made.stderr.is_empty() => format!("stderr: {}", stderr(&made)),
                ("ok", Some(0)) if stdout(&made).contains("\n#") => "comments".to_owned(),
                ("ok", Some(0)) if trees(stdout(&made)) == trees(&recorded()) => return None,
                ("error", Some(2)) if stderr(&made).contains(&recorded()) && made.stdout.is_empty() => return None,
                ("panic", Some(2)) => return None,
                (outcome, code) => format!("{outcome} in Talos, here {code:?}: {}", stderr(&made)),
            };
            Some(format!("{name} {version}: {why}"))
        });
        wrong.collect()
    });
}

#[test]
fn patch_does_what_talos_does() {
    all("patch", |name| {
        let folder = fixtures().join("patch").join(name);
        let case = json(&folder.join("case.json"));
        let results = case["results"].as_object().expect("results").iter();
        let wrong = results.filter_map(|(version, result)| {
            let base = case["base"].as_str().expect("path");
            let base = if base == "base.yaml" { format!("patch/{name}/{base}") } else { base.to_owned() };
            let mut args = vec!["patch".to_owned(), base, format!("--minor={}", minor(version))];
            for patch in case["patches"].as_array().expect("a list") {
                args.push("--patch".to_owned());
                args.push(match patch["file"].as_str() {
                    Some(file) => format!("@patch/{name}/{file}"),
                    None => patch["inline"].as_str().expect("text").to_owned(),
                });
            }
            let made = config(&args);
            let recorded =
                || fs::read_to_string(folder.join(result["file"].as_str().expect("file"))).expect("readable");
            let why = match (result["outcome"].as_str().expect("text"), made.status.code()) {
                ("ok", Some(0)) if trees(stdout(&made)) == trees(&recorded()) => return None,
                ("panic", Some(0)) if name.contains("delete-missing") => return None,
                ("panic", Some(2)) => return None,
                ("error", Some(2)) if !made.stdout.is_empty() => "a result beside the error".to_owned(),
                ("error", Some(2)) => {
                    // The words of the YAML and the JSON reader are their own; that they refuse is what counts.
                    let words = recorded();
                    let parser = ["yaml: ", "decode error: ", "JSON input", "illegal base64", "parse \"https:"];
                    if parser.iter().any(|mark| words.contains(mark)) || stderr(&made).contains(words.trim_end()) {
                        return None;
                    }
                    format!("says {}, Talos says {words}", stderr(&made))
                }
                (outcome, code) => format!("{outcome} in Talos, here {code:?}: {}", stderr(&made)),
            };
            Some(format!("{name} {version}: {why}"))
        });
        wrong.collect()
    });
}

#[test]
fn validate_says_what_talos_says() {
    all("validate", |name| {
        let folder = fixtures().join("validate").join(name);
        let (case, expected) = (json(&folder.join("case.json")), json(&folder.join("expected.json")));
        let versions = expected.as_object().expect("by version").iter();
        let wrong = versions.filter_map(|(version, recorded)| {
            let mut args = words("validate --output json");
            args.push(format!("--config=validate/{name}/config.yaml"));
            args.push(format!("--mode={}", case["mode"].as_str().expect("mode")));
            args.push(format!("--minor={}", minor(version)));
            args.extend((case["strict"] == true).then(|| "--strict".to_owned()));
            let made = config(&args);
            let result: Value = match serde_json::from_slice(&made.stdout) {
                Ok(result) => result,
                Err(error) => return Some(format!("{name} {version}: {error}: {}", stderr(&made))),
            };
            let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let valid = recorded["decode"] == "ok" && list(&recorded["errors"]).is_empty();
            let why = if made.status.code() != Some(if valid { 0 } else { 2 }) {
                format!("exit {:?}", made.status.code())
            } else if result["decode"] != recorded["decode"] {
                format!("decode {}", result["decode"])
            } else if recorded["decode"] == "error" {
                let words = recorded["decodeError"].as_str().expect("text");
                let parser = ["yaml: ", "decode error: ", "parse \"", "failed to parse disk size"];
                if parser.iter().any(|mark| words.contains(mark)) || result["decodeError"] == words {
                    return None;
                }
                format!("says {}, Talos says {words}", result["decodeError"])
            } else if list(&result["errors"]) != list(&recorded["errors"])
                || list(&result["warnings"]) != list(&recorded["warnings"])
            {
                format!("says {result}, Talos says {recorded}")
            } else if !stderr(&made).contains(recorded["text"].as_str().expect("text").trim_end()) {
                format!("prints {:?}, Talos prints {}", stderr(&made), recorded["text"])
            } else {
                return None;
            };
            Some(format!("{name} {version}: {why}"))
        });
        wrong.collect()
    });
}

/// `1.14` of `1.14.0-rc.1`.
fn minor(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[test]
fn secrets_are_made_private_and_never_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = folder.path().join("secrets.yaml");
    let args = |force: bool| {
        let mut args = vec!["secrets".to_owned(), "-o".to_owned(), bundle.display().to_string()];
        args.extend(force.then(|| "--force".to_owned()));
        args
    };
    assert!(config(&args(false)).status.success());
    assert_eq!(fs::metadata(&bundle).expect("written").permissions().mode() & 0o777, 0o600);
    let first = fs::read(&bundle).expect("written");
    let again = config(&args(false));
    assert_eq!(again.status.code(), Some(2));
    let text = format!("file \"{}\" already exists, use --force to overwrite", bundle.display());
    assert!(stderr(&again).contains(&text), "{}", stderr(&again));
    assert!(fs::read(&bundle).expect("there") == first, "the bundle changed");

    let out = folder.path().join("out").display().to_string();
    let mut args = words("gen demo https://10.0.0.10:6443 --talos-version 1.13 --output");
    args.extend([format!("{out}/"), format!("--with-secrets={}", bundle.display())]);
    assert!(config(&args).status.success());
    for file in ["controlplane.yaml", "worker.yaml", "talosconfig"] {
        let path = Path::new(&out).join(file);
        assert_eq!(fs::metadata(&path).expect("written").permissions().mode() & 0o777, 0o600, "{file}");
    }
    let refused = config(&args);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
}

#[test]
fn what_talosctl_refuses_is_refused_in_its_words() {
    for (line, text) in [
        ("gen demo https://10.0.0.10:6443 -o -", "can't use multiple output types with stdout"),
        ("gen demo https://10.0.0.10:6443 -t x -o -", "invalid output type: \"x\""),
        ("gen demo 10.0.0.10 -t worker -o -", "no scheme and port specified for the cluster endpoint URL"),
        (
            "gen demo https://a -t worker -o - --talos-version v1.14-alpha",
            "invalid talos-version: error parsing version",
        ),
        ("gen demo https://a -t worker -o - --with-secrets none", "open none: no such file or directory"),
        (
            "gen demo https://a -t worker -o - --with-secrets secrets/secrets-a.yaml --registry-mirror x",
            "invalid registry mirror spec: \"x\"",
        ),
        (
            "gen demo https://a -t worker -o - --with-secrets secrets/secrets-a.yaml --config-patch @none",
            "error parsing config JSON patch: open none: no such file or directory",
        ),
        ("patch gen/default-1.13-worker/expected.yaml --minor 1.99", "1.99"),
        ("secrets -o - --talos-version 2", "invalid talos-version"),
        (
            "gen demo https://a -t x,y -o out",
            "2 errors occurred:\n\t* invalid output type: \"x\"\n\t* invalid output type: \"y\"",
        ),
        ("gen demo https://a -t worker -o a --output-dir b", "can't use both output-dir and output"),
        (
            "gen demo https://a -t worker -o - --with-secrets secrets/validate/missing-cluster/secrets.yaml",
            "failed to validate secrets bundle: 1 error occurred:\n\t* cluster is required",
        ),
        ("secrets -o - -p none", "failed to create secrets bundle: stat none: no such file or directory"),
        ("secrets -o - -p README.md", "failed to create secrets bundle: \"README.md\" is not a directory"),
        ("secrets -o - -p secrets", "failed to create secrets bundle: open secrets/ca.crt: no such file or directory"),
        ("secrets -o - --from-controlplane-config none", "failed to load controlplane config: open none: no such file"),
        (
            "secrets -o - --from-controlplane-config gen/default-1.13-worker/expected.yaml",
            "failed to create secrets bundle from controlplane config: ",
        ),
    ] {
        let output = config(&words(line));
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(stderr(&output).contains(text) && output.stdout.is_empty(), "{line}: {}", stderr(&output));
    }
}

/// Flags are taken apart, and patches applied, as talosctl 1.14 does it.
#[test]
fn gen_speaks_as_talosctl_does() {
    let run = |more: &str| {
        let line = "gen demo https://10.0.0.10:6443 --with-secrets secrets/secrets-a.yaml --talos-version 1.11 -o -";
        let mut args = words(line);
        args.extend(more.split_whitespace().map(|word| word.replace('_', " ")));
        config(&args)
    };
    for (more, text) in [
        // The machine that bootstraps itself is made and patched too, whatever is asked for, and first.
        (
            r#"-t controlplane --config-patch [{"op":"test","path":"/machine/type","value":"controlplane"}]"#,
            "error patching configs: failure applying rfc6902 patches to talos machine config: testing value \
             /machine/type failed: test failed",
        ),
        // What is for all machines comes before what is for some.
        (
            r#"-t worker --config-patch-control-plane [{"op":"remove","path":"/a"}] --config-patch [{"op":"remove","path":"/b"}]"#,
            "error patching configs: failure applying rfc6902 patches to talos machine config: error in remove for \
             path: '/b': Unable to remove nonexistent key: b: missing value",
        ),
        ("-t worker,worker", "can't use multiple output types with stdout"),
        ("-t worker, --registry-mirror a", "can't use multiple output types with stdout"),
        ("-t x --talos-version y", "invalid output type: \"x\""),
        ("--output-types=", "at least one output type must be specified"),
        ("-t worker --registry-mirror a=b,c --talos-version y", "invalid registry mirror spec: \"c\""),
        ("-t worker --additional-sans \"a", "extraneous or missing \" in quoted-field"),
        (
            "-t worker --config-patch @none --with-secrets none",
            "failed to load secrets bundle: open none: no such file",
        ),
    ] {
        let output = run(more);
        assert_eq!(output.status.code(), Some(2), "{more}");
        assert!(stderr(&output).contains(text) && output.stdout.is_empty(), "{more}: {}", stderr(&output));
    }
    let made =
        run("-t worker --additional-sans \"a,b\",-c --additional-sans d --registry-mirror x=https://y,z=https://w");
    let tree = &trees(stdout(&made))[0];
    assert_eq!(tree["machine"]["certSANs"], serde_json::json!(["a,b", "-c", "d"]), "{}", stderr(&made));
    assert_eq!(tree["machine"]["registries"]["mirrors"]["z"]["endpoints"], serde_json::json!(["https://w"]));
}

#[test]
fn a_refused_json_patch_is_shown_as_a_strategic_one() {
    let patch = r#"[{"op":"replace","path":"/cluster/network/podSubnets","value":["10.42.0.0/16"]}]"#;
    let mut args = words("patch gen/default-1.13-controlplane/expected.yaml --patch");
    args.push(patch.to_owned());
    let output = config(&args);
    assert_eq!(output.status.code(), Some(2));
    for part in
        ["JSON6902 patches are not supported for multi-document machine configuration", "podSubnets:", "- 10.42.0.0/16"]
    {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn a_dash_is_stdin_and_switches_take_values_as_in_talosctl() {
    use std::io::Write as _;
    let with = |line: &str, input: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_pvetalos"));
        program.arg("config").args(words(line)).current_dir(fixtures());
        program
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = program.spawn().expect("the program starts");
        child.stdin.take().expect("it was asked for").write_all(input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    };
    let text = |path: &str| fs::read_to_string(fixtures().join(path)).expect("readable");
    let base = text("gen/default-1.13-controlplane/expected.yaml");
    let bundle = text("secrets/secrets-a.yaml");
    assert!(with("validate -c - -m metal --strict=false", &base).status.success());
    assert!(with("validate -c - -m metal-agent", &base).status.success());
    let patched = with("patch - -p {\"debug\":true}", &base);
    assert!(stdout(&patched).contains("debug: true"), "{}", stderr(&patched));
    let patched = with("patch gen/default-1.13-controlplane/expected.yaml -p @-", "debug: true\n");
    assert!(stdout(&patched).contains("debug: true"), "{}", stderr(&patched));
    let line = "gen demo https://10.0.0.10:6443 --with-secrets - -t worker -t controlplane -o -";
    assert!(stderr(&with(line, &bundle)).contains("can't use multiple output types with stdout"));
    // What is given twice is what was given last.
    let line = "gen demo https://10.0.0.10:6443 --with-secrets - -t worker -o x -o - --talos-version v1.11.2 --talos-version \
                v1.13.4 --with-docs=false --with-examples=f --persist=0 --force=T";
    let made = with(line, &bundle);
    let out = stdout(&made);
    assert!(out.contains("persist: false") && out.contains("kind: HostnameConfig"), "{}", stderr(&made));
    let back = with("secrets -o - --from-controlplane-config -", &base);
    let (back, kept) = (trees(stdout(&back)), case_secrets("gen/default-1.13-controlplane"));
    assert!(back == trees(&text(&kept)), "the bundle of the configuration is another one");
}

fn case_secrets(folder: &str) -> String {
    json(&fixtures().join(folder).join("case.json"))["secrets"].as_str().expect("path").to_owned()
}

#[test]
fn odd_arguments_are_refused_and_never_a_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    #[expect(clippy::disallowed_methods, reason = "files of a test's own folder")]
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let long = "x".repeat(300);
    let deep = file("deep", "[".repeat(5000).as_bytes());
    let files = [
        String::new(),
        "none".to_owned(),
        folder.path().display().to_string(),
        file("empty", b""),
        file("binary", b"machine: \xff\xfe\x00"),
        deep.clone(),
        file("scalar", b"x"),
        file("loop", b"a: &a [*a]\n"),
    ];
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (base, bundle) = ("gen/default-1.11-controlplane/expected.yaml", "secrets/secrets-a.yaml");
    let mut refused: Vec<Vec<String>> = Vec::new();
    for path in &files {
        refused.push(own(&["gen", "n", "https://a", "-t", "worker", "-o", "-", "--with-secrets", path]));
        refused.push(own(&["patch", path]));
        refused.push(own(&["validate", "-m", "metal", "-c", path]));
        refused.push(own(&["secrets", "-o", "-", "--from-controlplane-config", path]));
        refused.push(own(&["secrets", "-o", "-", "-p", path]));
    }
    for endpoint in ["", "-", "10.0.0.1", "::1", "https://", "https://[::1", "https://a:port", "http://a", "://", "%zz"]
    {
        refused.push(own(&["gen", "n", endpoint, "-t", "worker", "-o", "-", "--with-secrets", bundle]));
    }
    for patch in ["@", "@none", &format!("@{deep}"), "[", "{", "a: b", &long] {
        refused.push(own(&["patch", base, "-p", patch]));
    }
    for version in ["v", "1", ".", "1.99", "-1", "18446744073709551616.1", &long] {
        refused.push(own(&["patch", base, "--minor", version]));
        refused.push(own(&[
            "gen",
            "n",
            "https://a",
            "-t",
            "worker",
            "-o",
            "-",
            "--with-secrets",
            bundle,
            "--talos-version",
            version,
        ]));
    }
    for args in &refused {
        let output = config(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
    for (name, endpoint) in
        [("", "https://a"), (long.as_str(), "https://[fd00::1]:6443"), ("ü", "https://a:65535/path")]
    {
        let output = config(&own(&["gen", name, endpoint, "-t", "worker", "-o", "-", "--with-secrets", bundle]));
        assert!(output.status.success() && !output.stdout.is_empty(), "{name}: {}", stderr(&output));
    }
}
