//! The user's kubeconfig and talosconfig, with a cluster in them that is none of ours.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::desk::Desk;

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters:
- name: work
  cluster: { server: https://work.example.net:6443 }
contexts:
- name: work
  context: { cluster: work, user: me }
current-context: work
users:
- name: me
  user: { token: the-token-of-work }
";

const TALOSCONFIG: &str = "\
context: work
contexts:
    work:
        endpoints: [192.0.2.1]
        ca: Y2E=
        crt: Y3J0
        key: a2V5
";

/// Puts both files there, readable by everybody as careless tools leave them.
pub(super) fn of_another_cluster(desk: &Desk) {
    Desk::write(&desk.home(".kube/config"), KUBECONFIG, 0o644);
    Desk::write(&desk.home(".talos/config"), TALOSCONFIG, 0o644);
}

/// Expects the other cluster's entries in both, ours as `there` says, and that nobody else can read them.
#[track_caller]
pub(super) fn assert_kept(desk: &Desk, ours: &str, there: bool) {
    for (path, theirs) in [
        (".kube/config", &["https://work.example.net:6443", "the-token-of-work"][..]),
        (".talos/config", &["192.0.2.1", "Y2E=", "Y3J0", "a2V5"]),
    ] {
        let path = desk.home(path);
        let text = std::fs::read_to_string(&path).expect("the file is there");
        for part in theirs {
            assert!(text.contains(part), "{part} was lost from {}:\n{text}", path.display());
        }
        assert_eq!(text.contains(ours), there, "{ours} in {}:\n{text}", path.display());
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

pub(super) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}
