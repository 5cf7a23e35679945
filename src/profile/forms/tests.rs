use super::*;

fn size(text: &str) -> Option<u64> {
    Size::read(text).map(|size| size.0)
}

#[test]
fn a_size_has_three_spellings_and_a_bare_number_is_mib() {
    assert_eq!(size("8192"), Some(8192));
    assert_eq!(size("8192M"), Some(8192));
    assert_eq!(size("8Gi"), Some(8192));
    assert_eq!(size("8G"), Some(8192));
    assert_eq!(size("64GiB"), Some(65536));
    assert_eq!(size("1T"), Some(1 << 20));
    for bad in ["", "0", "G", "1.5G", "-1", "8K", "8 bananas", "99999999999999999999", "18014398509481984G"] {
        assert_eq!(size(bad), None, "{bad:?} was accepted");
    }
}

#[test]
fn versions_lose_their_v_and_keep_their_prerelease() {
    let version = |text| Version::read(text).map(|version| version.0);
    assert_eq!(version("v1.12.4").as_deref(), Some("1.12.4"));
    assert_eq!(version("1.14.0-rc.1").as_deref(), Some("1.14.0-rc.1"));
    for bad in ["1.12", "1.12.4.5", "latest", "1.12.x", "1.12.4-", "1.012.4", "v", "1.12.4-a..b", "1.12.4-ä"] {
        assert_eq!(version(bad), None, "{bad:?} was accepted");
    }
    let minor = |text| Minor::read(text).map(|minor| minor.0);
    assert_eq!(minor("v1.12").as_deref(), Some("1.12"));
    assert_eq!(minor("1.12.4").as_deref(), Some("1.12"));
    assert_eq!(minor("1"), None);
}

#[test]
fn a_label_is_lower_case_and_at_most_63_long() {
    let ok = |text: &str| Label::read(text).is_some();
    assert!(ok("lab-cp-1") && ok("a") && ok(&"a".repeat(63)));
    assert!(!ok(&"a".repeat(64)) && !ok("") && !ok("-a") && !ok("a-") && !ok("Lab") && !ok("a.b") && !ok("a_b"));
}

#[test]
fn a_host_is_an_address_or_a_name() {
    let ok = |text: &str| Host::read(text).is_some();
    assert!(ok("192.168.22.100") && ok("k8s.example.net") && ok("fd00::1") && ok("lab"));
    assert!(!ok("https://k8s") && !ok("k8s:6443") && !ok("192.168.22") && !ok("192.168.22.256") && !ok(""));
}

#[test]
fn an_endpoint_loses_the_api_path_that_people_paste() {
    let url = |text| match Endpoint::read(text) {
        Some(Endpoint::Url(url)) => Some(url.to_string()),
        _ => None,
    };
    assert_eq!(url("https://pve1:8006/api2/json").as_deref(), Some("https://pve1:8006/"));
    assert!(matches!(Endpoint::read("lab"), Some(Endpoint::Lab)));
    for bad in ["http://pve1:8006", "pve1", "https://root:x@pve1:8006", "https://pve1/other", "ftp://pve1"] {
        assert_eq!(url(bad), None, "{bad:?} was accepted");
    }
}

#[test]
fn a_fingerprint_is_32_bytes_with_or_without_colons() {
    let colons = ["AB"; 32].join(":");
    assert_eq!(Fingerprint::read(&colons).map(|print| print.0), Some([0xab; 32]));
    assert_eq!(Fingerprint::read(&"ab".repeat(32)).map(|print| print.0), Some([0xab; 32]));
    for bad in [["AB"; 31].join(":"), "ab".repeat(20), "zz".repeat(32), format!("{colons}:"), String::new()] {
        assert!(Fingerprint::read(&bad).is_none(), "{bad:?} was accepted");
    }
}

#[test]
fn a_deadline_is_between_a_second_and_a_day() {
    let span = |text| Span::read(text).map(|span| span.0.as_secs());
    assert_eq!(span("10m"), Some(600));
    assert_eq!(span("1h30m"), Some(5400));
    assert_eq!(span("90s"), Some(90));
    for bad in ["0s", "-5m", "25h", "10", "soon", ""] {
        assert_eq!(span(bad), None, "{bad:?} was accepted");
    }
}

#[test]
fn a_network_with_host_bits_is_answered_with_the_network() {
    let (message, fix) = complaint("ipv4-network", "192.168.22.1/22").expect("host bits are refused");
    assert_eq!(message, "192.168.22.1/22 has host bits set");
    assert_eq!(fix, "write the network itself: 192.168.20.0/22");
    assert_eq!(complaint("ipv4-network", "192.168.20.0/22"), None);
}
