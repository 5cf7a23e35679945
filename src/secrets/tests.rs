use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::file::write_private;
use super::*;

fn file(path: impl Into<PathBuf>) -> Provider {
    Provider::File { path: path.into() }
}

fn command(argv: &[&str]) -> Provider {
    Provider::Command { argv: argv.iter().map(|word| (*word).to_owned()).collect() }
}

async fn text(provider: &Provider) -> Result<String, SecretError> {
    provider.read().await.map(|secret| secret.expose().to_owned())
}

async fn complaint(provider: &Provider) -> String {
    text(provider).await.expect_err("this cannot be read").to_string()
}

#[tokio::test]
async fn a_file_is_kept_whole_private_and_in_private_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a/b/secrets.yaml");
    let provider = file(&path);
    assert!(!provider.exists().await.expect("can be looked for"));
    assert!(matches!(text(&provider).await, Err(SecretError::Missing { .. })));
    for content in ["first: longer than the second\n", "second\n\n"] {
        provider.write(&Secret::new(content)).await.expect("written");
        assert_eq!(text(&provider).await.expect("read"), content);
    }
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&folder.path().join("a"))), (0o600, 0o700));
    let names: Vec<_> = path.parent().expect("a folder").read_dir().expect("listed").collect();
    assert_eq!(names.len(), 1, "temporary files stayed: {names:?}");
    provider.remove().await.expect("removed");
    provider.remove().await.expect("already gone is no error");
    assert!(!provider.exists().await.expect("can be looked for"));
}

#[tokio::test]
async fn a_file_that_others_may_read_is_refused_by_name_and_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    write_private(&path, b"talos@pve!ci=hidden").expect("written");
    for mode in [0o640, 0o604, 0o620] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
        let complaint = complaint(&file(&path)).await;
        assert!(complaint.contains(&format!("{mode:03o}")) && complaint.contains("chmod 600"), "{complaint}");
        assert!(!complaint.contains("hidden"), "{complaint}");
    }
}

#[tokio::test]
async fn a_link_stays_a_link_and_its_target_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    write_private(&target, b"old").expect("written");
    std::os::unix::fs::symlink(&target, &link).expect("linked");
    write_private(&link, b"new").expect("written");
    assert!(link.symlink_metadata().expect("it is there").is_symlink());
    assert_eq!(text(&file(&target)).await.expect("read"), "new");
}

/// Two that change one file at once take turns, and neither loses what the other one wrote.
#[test]
fn whoever_changes_a_file_waits_for_its_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    let add = |line: usize| {
        let draft = super::file::Draft::of(&path).expect("a turn");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        draft.put(format!("{text}{line}\n").as_bytes()).expect("written");
    };
    std::thread::scope(|scope| {
        for first in 0..4 {
            scope.spawn(move || (0..25).for_each(|line| add(first * 25 + line)));
        }
    });
    let text = std::fs::read_to_string(&path).expect("read");
    let mut lines: Vec<usize> = text.lines().map(|line| line.parse().expect("a number")).collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..100).collect::<Vec<_>>());
    assert_eq!(folder.path().read_dir().expect("listed").count(), 1, "a draft stayed");
}

#[test]
fn what_a_dead_process_left_is_removed_and_what_a_live_one_writes_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, beside) = (folder.path().join("bundle"), folder.path().join(".bundle.pvetalos"));
    write_private(&beside, b"half a bun").expect("written");
    super::file::tidy(&path).expect("removed");
    assert!(!beside.exists());
    let draft = super::file::Draft::of(&path).expect("a turn");
    super::file::tidy(&path).expect("left alone");
    assert!(beside.exists());
    draft.put(b"whole").expect("it is still there");
    assert_eq!(std::fs::read(&path).expect("read"), b"whole");
    write_private(&beside, b"half a bun").expect("written");
    write_private(&path, b"whole again").expect("written over it");
    assert_eq!(std::fs::read(&path).expect("read"), b"whole again");
    drop(super::file::Draft::of(&path).expect("a turn"));
    assert_eq!(folder.path().read_dir().expect("listed").count(), 1, "a draft stayed");
}

/// Somebody who may write there puts a link where a draft is going to be.
#[test]
fn a_draft_is_not_written_through_a_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, target) = (folder.path().join("bundle"), folder.path().join("elsewhere"));
    write_private(&target, b"theirs").expect("written");
    std::os::unix::fs::symlink(&target, folder.path().join(".bundle.pvetalos")).expect("linked");
    write_private(&path, b"secret").expect("written");
    assert_eq!(std::fs::read(&target).expect("read"), b"theirs");
    assert_eq!(std::fs::read(&path).expect("read"), b"secret");
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_missing_and_none_can_be_written() {
    let absent = Provider::Env { name: "PVETALOS_NO_SUCH_VARIABLE".into() };
    assert!(!absent.exists().await.expect("can be looked for"));
    assert!(matches!(text(&absent).await, Err(SecretError::Missing { .. })));
    assert!(matches!(absent.write(&Secret::new("x")).await, Err(SecretError::ReadOnly { .. })));
    assert!(matches!(absent.remove().await, Err(SecretError::ReadOnly { .. })));
}

#[tokio::test]
async fn a_command_runs_without_a_shell_and_with_its_input_closed() {
    assert_eq!(text(&command(&["printf", "%s", "$HOME; `id`"])).await.expect("it runs"), "$HOME; `id`");
    assert_eq!(text(&command(&["cat"])).await.expect("its input is closed"), "");
}

#[tokio::test]
async fn a_command_that_fails_is_named_with_what_it_said_and_not_with_what_it_printed() {
    let failing = command(&["sh", "-c", "echo hidden; echo no such vault >&2; exit 3"]);
    let said = complaint(&failing).await;
    assert!(said.contains("no such vault") && said.contains('3') && !said.contains("hidden"), "{said}");
    let absent = complaint(&command(&["pvetalos-no-such-program", "hidden"])).await;
    assert!(absent.contains("there is no program pvetalos-no-such-program") && !absent.contains("hidden"), "{absent}");
    assert!(complaint(&command(&["head", "-c", "1048576", "/dev/zero"])).await.contains("1 MiB"));
    assert!(complaint(&command(&["printf", "\\377"])).await.contains("UTF-8"));
    assert!(complaint(&command(&[])).await.contains("names no program"));
}

#[tokio::test]
async fn a_command_that_hangs_is_given_up() {
    let reference = "command:sleep";
    let mut sleep = tokio::process::Command::new("sleep");
    sleep.arg("60");
    let result = child::run(sleep, None, Duration::from_millis(50), reference).await;
    assert!(matches!(result, Err(SecretError::TimedOut { .. })));
}

#[tokio::test]
async fn entries_that_would_leave_the_password_store_are_refused() {
    for entry in ["", "../x", "/etc/x", "a/../b", "a/", "a\0b"] {
        let provider = Provider::Pass { entry: entry.into() };
        assert!(matches!(text(&provider).await, Err(SecretError::Unusable { .. })), "{entry:?}");
    }
}

#[test]
fn a_reference_leads_back_to_its_place() {
    for reference in ["pass:matherlynet/pve/api-token", "keyring:token", "env:PVE_TOKEN", "file:/run/token:1"] {
        let provider: Provider = reference.parse().expect(reference);
        assert_eq!(provider.reference(), reference);
        assert_eq!(format!("{provider:?}"), reference);
    }
    assert_eq!(command(&["op", "read", "op://vault/hidden"]).reference(), "command:op");
    for bad in ["", "pass", "pass:", "command:op", "token"] {
        assert!(bad.parse::<Provider>().is_err(), "{bad:?}");
    }
}
