//! Which changes of a configuration take effect without a reboot, and how a change is shown.
//!
//! Talos 1.13: `CanApplyImmediate` in internal/app/machined/pkg/runtime/v1alpha1/v1alpha1_runtime.go.

use serde_json::Value;

/// Parts of the `v1alpha1` document that a running machine follows at once.
const LIVE: [&str; 26] = [
    "/debug",
    "/cluster",
    "/machine/ca",
    "/machine/acceptedCAs",
    "/machine/time",
    "/machine/certSANs",
    "/machine/install",
    "/machine/network",
    "/machine/sysfs",
    "/machine/sysctls",
    "/machine/logging",
    "/machine/controlPlane",
    "/machine/kubelet",
    "/machine/kernel",
    "/machine/registries",
    "/machine/pods",
    "/machine/seccompProfiles",
    "/machine/nodeAnnotations",
    "/machine/nodeLabels",
    "/machine/nodeTaints",
    "/machine/features/kubernetesTalosAPIAccess",
    "/machine/features/kubePrism",
    "/machine/features/hostDNS",
    "/machine/features/imageCache",
    "/machine/features/nodeAddressSortAlgorithm",
    "/persist",
];

/// Why `new` cannot take `old`'s place at once; `None` if it can.
pub(super) fn obstacle(old: &str, new: &str) -> Option<String> {
    let fixed = |text: &str| -> Option<Value> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).ok()?;
        let mut main = documents.into_iter().find(|document| document.is_object() && document.get("kind").is_none())?;
        for pointer in LIVE {
            let (parent, key) = pointer.rsplit_once('/')?;
            if let Some(parent) = main.pointer_mut(parent).and_then(Value::as_object_mut) {
                parent.remove(key);
            }
        }
        // A section that is empty without its live parts says nothing.
        if let Some(machine) = main.get_mut("machine").and_then(Value::as_object_mut)
            && machine.get("features").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty)
        {
            machine.remove("features");
        }
        Some(main)
    };
    let (Some(before), Some(after)) = (fixed(old), fixed(new)) else {
        return Some("current config is not v1alpha1".into());
    };
    if before == after {
        return None;
    }
    let text = |value: &Value| serde_saphyr::to_string(value).unwrap_or_default();
    let diff = difference(&text(&before), &text(&after));
    Some(format!("this config change can't be applied in immediate mode\ndiff:\n{diff}"))
}

/// A unified diff with one hunk: what lies between the first and the last difference.
pub(super) fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let (gone, come) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    if gone.is_empty() && come.is_empty() {
        return String::new();
    }
    let (from, to) = (head.saturating_sub(3), 3.min(tail));
    let context = head - from;
    let mut lines = vec![
        "--- a".to_owned(),
        "+++ b".to_owned(),
        format!("@@ -{},{} +{0},{} @@", from + 1, context + gone.len() + to, context + come.len() + to),
    ];
    lines.extend(old[from..head].iter().map(|line| format!(" {line}")));
    lines.extend(gone.iter().map(|line| format!("-{line}")));
    lines.extend(come.iter().map(|line| format!("+{line}")));
    lines.extend(old[old.len() - tail..][..to].iter().map(|line| format!(" {line}")));
    lines.join("\n") + "\n"
}

/// As Go prints a `time.Duration`: `1m0s`, `1h30m0s`, `500ms`.
pub(super) fn spell(span: std::time::Duration) -> String {
    let (seconds, nanos) = (span.as_secs(), span.subsec_nanos());
    let fraction = |whole: u64, part: u32, digits: usize| {
        let text = format!("{whole}.{part:0digits$}");
        if part == 0 { whole.to_string() } else { text.trim_end_matches('0').to_owned() }
    };
    match seconds {
        0 if nanos == 0 => "0s".into(),
        0 if nanos >= 1_000_000 => format!("{}ms", fraction(u64::from(nanos / 1_000_000), nanos % 1_000_000, 6)),
        0 if nanos >= 1_000 => format!("{}µs", fraction(u64::from(nanos / 1_000), nanos % 1_000, 3)),
        0 => format!("{nanos}ns"),
        _ => {
            let tail = format!("{}s", fraction(seconds % 60, nanos, 9));
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => tail,
                (0, minutes) => format!("{minutes}m{tail}"),
                (hours, minutes) => format!("{hours}h{minutes}m{tail}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn some_changes_need_a_reboot() {
        let config = |more: &str| format!("version: v1alpha1\nmachine:\n  type: worker\n{more}cluster: {{}}\n");
        let plain = config("");
        assert_eq!(obstacle(&plain, &config("  sysctls: {a: '1'}\n  nodeLabels: {b: c}\n")), None);
        assert_eq!(obstacle(&plain, &config("  features: {hostDNS: {enabled: true}}\n")), None);
        let why = obstacle(&plain, &config("  udev: {rules: [x]}\n")).expect("a reboot");
        assert!(
            why.starts_with("this config change can't be applied in immediate mode\ndiff:\n--- a\n+++ b\n"),
            "{why}"
        );
        assert!(why.contains("\n+  udev:"), "{why}");
    }

    #[test]
    fn differences_are_unified_diffs() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), "");
        assert_eq!(difference("a\nb\nc\n", "a\nx\ny\nc\n"), "--- a\n+++ b\n@@ -1,3 +1,4 @@\n a\n-b\n+x\n+y\n c\n");
    }

    #[test]
    fn spans_are_spelt_as_go_spells_them() {
        for (millis, text) in
            [(60_000, "1m0s"), (90_500, "1m30.5s"), (5_400_000, "1h30m0s"), (1_500, "1.5s"), (500, "500ms"), (0, "0s")]
        {
            assert_eq!(spell(Duration::from_millis(millis)), text);
        }
    }
}
