use super::server::{Reply, Server, TOKEN, data, refuse, token};
use crate::pve::{Fingerprint, Options, Pve, PveError, Trust, seen_fingerprint};

async fn failure(options: Options) -> PveError {
    Pve::connect(options).await.err().expect("this must not connect")
}

async fn quiet() -> Server {
    Server::start(async |_| data("null")).await
}

#[tokio::test]
async fn the_right_pin_connects_and_the_token_is_sent() {
    let server = Server::start(async |_| data("[]")).await;
    let pve = server.connect().await;
    assert_eq!((pve.version().release.as_str(), pve.version().major, pve.version().minor), ("9.2.11", 9, 2));
    assert_eq!(pve.quirks().guest_agent_privilege, "VM.GuestAgent.Audit");
    assert_eq!(pve.nodes().await.expect("an empty list"), []);
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), Some(format!("PVEAPIToken={TOKEN}").as_str()));
    assert_eq!(seen[0].header("transfer-encoding"), None);
}

#[tokio::test]
async fn a_wrong_pin_shows_both_fingerprints_and_sends_nothing() {
    let server = quiet().await;
    let mut expected = server.fingerprint;
    expected.0[31] ^= 1;
    let error = failure(Options { trust: Trust::Fingerprint(expected), ..server.options() }).await;
    let text = error.to_string();
    assert!(text.contains(&expected.to_string()) && text.contains(&server.fingerprint.to_string()), "{text}");
    assert!(matches!(error, PveError::WrongFingerprint { .. }) && error.hint().is_some());
    assert!(server.requests().is_empty());
    assert_eq!(seen_fingerprint(&server.url).await.expect("it can be looked at"), server.fingerprint);
}

#[tokio::test]
async fn the_pinned_certificate_without_its_key_is_not_believed() {
    let impostor = Server::start_impostor().await;
    let error = failure(impostor.options()).await;
    assert!(matches!(error, PveError::Untrusted { .. }), "{error:?}");
    assert!(impostor.requests().is_empty());
}

#[tokio::test]
async fn a_ca_is_believed_for_what_it_signed_and_for_nothing_else() {
    let (server, stranger) = (quiet().await, quiet().await);
    let with = |pem: &str| Options { trust: Trust::Ca(pem.into()), ..server.options() };
    Pve::connect(with(&server.ca)).await.expect("its own CA");
    let error = failure(with(&stranger.ca)).await;
    assert!(matches!(&error, PveError::Untrusted { seen: Some(seen), .. } if *seen == server.fingerprint), "{error:?}");
    assert!(matches!(failure(with("no certificate")).await, PveError::Options(_)));
}

#[tokio::test]
async fn the_system_does_not_know_a_certificate_of_our_own() {
    let server = quiet().await;
    let error = failure(Options { trust: Trust::SystemRoots, ..server.options() }).await;
    // Where the system has no roots at all, not even the client can be made.
    assert!(matches!(error, PveError::Untrusted { .. } | PveError::Options(_)), "{error:?}");
}

#[tokio::test]
async fn http_is_no_endpoint() {
    let server = quiet().await;
    for url in ["http://127.0.0.1:8006", "https://127.0.0.1:8006/?a=b"] {
        let endpoints = vec![url.parse().expect("a URL")];
        assert!(matches!(failure(Options { endpoints, ..server.options() }).await, PveError::Options(_)), "{url}");
    }
    assert!(matches!(failure(Options { endpoints: Vec::new(), ..server.options() }).await, PveError::Options(_)));
}

/// An address where nobody listens.
async fn deserted() -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    format!("https://{}", listener.local_addr().expect("an address")).parse().expect("a URL")
}

#[tokio::test]
async fn a_refused_connection_was_never_sent_and_the_next_endpoint_serves() {
    let server = quiet().await;
    let alone = Options { endpoints: vec![deserted().await], ..server.options() };
    let error = failure(alone).await;
    assert!(matches!(error, PveError::NeverSent { .. }) && !error.is_outcome_unknown(), "{error:?}");
    let second = Options { endpoints: vec![deserted().await, server.url.clone()], ..server.options() };
    let pve = Pve::connect(second).await.expect("the second serves");
    pve.set("pve1", 100, &[("name", "x")]).await.expect("so do later requests");
    let neither = Options { endpoints: vec![deserted().await, deserted().await], ..server.options() };
    let error = failure(neither).await;
    assert!(matches!(&error, PveError::NoEndpoint(errors) if errors.len() == 2));
    assert_eq!(error.to_string().matches("Connection refused").count(), 2, "{error}");
}

#[tokio::test]
async fn an_endpoint_that_goes_away_makes_way_for_the_next() {
    let (first, second) = (quiet().await, quiet().await);
    // One CA per server, so both are trusted as roots.
    let trust = Trust::Ca(format!("{}{}", first.ca, second.ca).into_bytes());
    let endpoints = vec![first.url.clone(), second.url.clone()];
    let pve = Pve::connect(Options { endpoints, token: token(), trust }).await.expect("the first serves");
    assert_eq!(first.requests().len() + second.requests().len(), 0);
    drop(first);
    // Its open connection may still be in the pool: a read may be repeated, a write may not.
    pve.status("pve1", 100).await.expect_err("null is no status");
    pve.set("pve1", 100, &[("name", "x")]).await.expect("the second serves");
    assert_eq!(second.requests().last().map(String::as_str), Some("PUT /nodes/pve1/qemu/100/config"));
}

#[tokio::test]
async fn a_stand_in_with_another_certificate_is_not_believed() {
    let (first, second) = (quiet().await, quiet().await);
    let endpoints = vec![first.url.clone(), second.url.clone()];
    let pve = Pve::connect(Options { endpoints, ..first.options() }).await.expect("the first serves");
    drop(first);
    let error = pve.nodes().await.expect_err("nobody serves");
    assert!(matches!(error, PveError::NeverSent { .. }), "{error:?}");
    assert!(second.requests().is_empty());
}

#[tokio::test]
async fn a_refused_token_ends_the_search_with_the_phrase_of_an_empty_answer() {
    // The server answers /version itself, so this one is refused at another path of the same kind.
    let server = Server::start(async |_| refuse(401, "Authentication failed!", "")).await;
    let error = server.connect().await.nodes().await.expect_err("refused");
    assert!(matches!(error, PveError::Unauthorized(_)));
    assert_eq!(error.to_string(), "GET /nodes is refused (401): Authentication failed!");
    assert_eq!(server.requests().len(), 1, "a 401 takes 3 s and is never repeated");
}

#[test]
fn a_fingerprint_is_read_in_every_spelling_and_printed_in_one() {
    let printed = format!("AB{}", ":CD".repeat(31));
    for text in [printed.clone(), printed.to_lowercase(), printed.replace(':', ""), format!(" {printed}\n")] {
        assert_eq!(text.parse::<Fingerprint>().expect(&text).to_string(), printed);
    }
    for bad in ["", "AB:CD", &printed[3..], &format!("{printed}:00"), &printed.replace("AB", "XY")] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn a_lost_version_is_no_connection() {
    let server = Server::start(async |_| Reply::Hangup).await;
    let elsewhere = format!("{}prefix", server.url).parse().expect("a URL");
    // Below a prefix the path is not /api2/json/version, so the handler hangs up.
    let error = failure(Options { endpoints: vec![elsewhere], ..server.options() }).await;
    assert!(matches!(error, PveError::PerhapsDone { .. }), "{error:?}");
}
