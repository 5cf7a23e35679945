use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::server::{Reply, Server, TOKEN, data, refuse};
use crate::pve::{Download, Lost, PveError};

async fn failing(reply: Reply) -> (PveError, usize) {
    let server = Server::start(move |_| std::future::ready(reply.clone())).await;
    let error = server.connect().await.set("pve1", 100, &[("cores", "2")]).await.expect_err("refused");
    let (_, secret) = TOKEN.split_once('=').expect("a token has two parts");
    assert!(!format!("{error} {error:?}").contains(secret), "the token is in an error");
    (error, server.requests().len())
}

#[tokio::test]
async fn each_status_is_told_apart_and_keeps_its_text() {
    let phrase = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout";
    let (error, _) = failing(refuse(500, phrase, r#"{"data":null}"#)).await;
    assert!(matches!(&error, PveError::Server(refusal) if refusal.reason == phrase && refusal.message.is_empty()));
    assert!(error.is_locked() && !error.is_taken() && error.to_string().contains(phrase), "{error}");

    let body = r#"{"data":null,"message":"first line\nand a second\n"}"#;
    let (error, _) = failing(refuse(500, "first line", body)).await;
    assert!(error.to_string().ends_with("first line\nand a second"), "the body says more than the phrase: {error}");

    let (error, _) = failing(refuse(501, "Method 'PUT /foo' not implemented", "")).await;
    assert!(matches!(error, PveError::NotImplemented(_)));
    let (error, _) = failing(refuse(595, "No route to host", "")).await;
    assert!(matches!(&error, PveError::ProxyConnect(refusal) if refusal.reason == "No route to host"));
    assert!(!error.is_outcome_unknown());
    let (error, count) = failing(refuse(596, "Connection timed out", "")).await;
    assert!(matches!(error, PveError::ProxyLost(_)) && error.is_outcome_unknown() && count == 1);
    let (error, _) = failing(refuse(599, "Too many redirections", "")).await;
    assert!(matches!(error, PveError::ProxyOther(_)));
    let (error, _) = failing(refuse(506, "upload 'Content-Type 'x' not implemented", "text")).await;
    assert!(matches!(error, PveError::Other(refusal) if refusal.status == 506));
}

#[tokio::test]
async fn a_phrase_need_not_be_text_nor_a_body_json() {
    let phrase = b"unable to parse '\xfcber'".to_vec();
    let (error, _) = failing(Reply::Answer(500, phrase.clone(), "<html>".into())).await;
    assert!(error.to_string().ends_with("Internal Server Error"), "{error}");
    let (error, _) = failing(Reply::Answer(500, phrase.clone(), "unable to parse '\u{fc}ber'\n".into())).await;
    assert!(error.to_string().ends_with("unable to parse '\u{fc}ber'"), "{error}");
    let body = "{\"data\":null,\"message\":\"unable to parse '\u{fc}ber'\\n\"}";
    let (error, _) = failing(Reply::Answer(500, phrase, body.into())).await;
    assert!(error.to_string().ends_with("unable to parse '\u{fc}ber'"), "{error}");
    let (error, _) = failing(Reply::Answer(200, b"OK".to_vec(), "<html>hidden</html>".into())).await;
    assert!(matches!(error, PveError::Decode { .. }) && !error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn refused_parameters_keep_every_name_and_reason() {
    let body = r#"{"data":null,"message":"Parameter verification failed.\n","errors":{"cores":"type check ('integer') failed - got 'x'","tags":"invalid format\n"}}"#;
    let (error, _) = failing(refuse(400, "Parameter verification failed.", body)).await;
    let PveError::Parameter(refusal) = &error else { panic!("{error:?}") };
    let expected = [("cores", "type check ('integer') failed - got 'x'"), ("tags", "invalid format")];
    assert_eq!(refusal.errors, BTreeMap::from(expected.map(|(name, text)| (name.to_owned(), text.to_owned()))));
    assert!(error.to_string().contains("cores: type check"), "{error}");
}

#[tokio::test]
async fn a_missing_privilege_is_named_with_its_path() {
    for (phrase, expected) in [
        ("Permission check failed (/vms/100, VM.Audit)", Some(("/vms/100", "VM.Audit"))),
        (
            "Permission check failed (/vms/100, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted)",
            Some(("/vms/100", "VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted")),
        ),
        ("Permission check failed", None),
        ("Permission check failed (pool 'x' does not exist)", None),
        ("Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.", None),
    ] {
        let (error, _) = failing(refuse(403, phrase, "")).await;
        let PveError::Forbidden { path, privilege, .. } = &error else { panic!("{error:?}") };
        assert_eq!(path.as_deref().zip(privilege.as_deref()), expected, "{phrase}");
        assert!(error.hint().is_some_and(|hint| expected.is_none_or(|(path, _)| hint.contains(path))));
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_write_is_perhaps_done_and_not_repeated() {
    let (error, count) = failing(Reply::Hangup).await;
    assert!(matches!(error, PveError::PerhapsDone { how: Lost::BeforeReply, .. }), "{error:?}");
    assert!(error.is_outcome_unknown() && count == 1);
    let (error, count) = failing(Reply::Torn).await;
    assert!(matches!(error, PveError::PerhapsDone { how: Lost::MidReply, .. }) && count == 1, "{error:?}");
}

#[tokio::test]
async fn a_lost_answer_to_a_read_is_asked_for_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let server = Server::start(move |_| {
        let first = counting.fetch_add(1, Ordering::SeqCst) == 0;
        std::future::ready(if first { Reply::Hangup } else { data("\"104\"") })
    })
    .await;
    assert_eq!(server.connect().await.next_id().await.expect("the second answer"), 104);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn forms_are_escaped_to_the_last_character() {
    let server = Server::start(async |_| data("null")).await;
    let options = [
        ("boot", "order=scsi0;ide2"),
        ("net0", "virtio=BC:24:11:62:36:01,bridge=vmbr0,tag=7"),
        ("description", "a b+c%d&e=f\n\u{fc}~-._*"),
    ];
    server.connect().await.set("pve1", 100, &options).await.expect("accepted");
    let seen = &server.seen()[0];
    assert_eq!(
        seen.text(),
        "boot=order%3Dscsi0%3Bide2\
         &net0=virtio%3DBC%3A24%3A11%3A62%3A36%3A01%2Cbridge%3Dvmbr0%2Ctag%3D7\
         &description=a%20b%2Bc%25d%26e%3Df%0A%C3%BC~-._%2A"
    );
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen.request, "PUT /nodes/pve1/qemu/100/config");
}

#[tokio::test]
async fn vm_requests_carry_their_parameters_where_the_server_looks_for_them() {
    let upid = "\"UPID:pve1:00000C4D:000BBAF9:6B01453D:qmstop:100:talos@pve!ci:\"";
    let server = Server::start(move |_| std::future::ready(data(upid))).await;
    let pve = server.connect().await;
    pve.start("pve1", 100).await.expect("accepted");
    pve.stop("pve1", 100).await.expect("accepted");
    pve.destroy("pve1", 100).await.expect("accepted");
    assert!(pve.delete_volume("pve1", "local", "local:iso/a.iso").await.expect("accepted").is_some());
    let seen: Vec<_> = server.seen().iter().map(|seen| (seen.request.clone(), seen.text().to_owned())).collect();
    let expected = [
        ("POST /nodes/pve1/qemu/100/status/start", ""),
        ("POST /nodes/pve1/qemu/100/status/stop", "overrule-shutdown=1"),
        ("DELETE /nodes/pve1/qemu/100?destroy-unreferenced-disks=0&purge=1", ""),
        ("DELETE /nodes/pve1/storage/local/content/local%3Aiso%2Fa%2Eiso", ""),
    ];
    assert_eq!(seen, expected.map(|(request, body)| (request.to_owned(), body.to_owned())));
}

#[tokio::test]
async fn a_download_is_asked_for_with_its_checksum() {
    let upid = "\"UPID:pve1:00000C4D:000BBAF9:6B01453D:download:talos.iso:talos@pve!ci:\"";
    let server = Server::start(move |_| std::future::ready(data(upid))).await;
    let pve = server.connect().await;
    let mut what = Download {
        url: "https://factory.talos.dev/image/a/v1.12.4/metal-amd64.iso?x=1&y=2".parse().expect("a URL"),
        filename: "talos.iso".into(),
        checksum: Some(("sha256".into(), "ab".repeat(32))),
    };
    assert_eq!(pve.download_url("pve1", "local", &what).await.expect("accepted").subject(), "talos.iso");
    let seen = &server.seen()[0];
    assert_eq!(seen.request, "POST /nodes/pve1/storage/local/download-url");
    assert_eq!(
        seen.text(),
        format!(
            "checksum={}&checksum-algorithm=sha256&content=iso&filename=talos.iso\
             &url=https%3A%2F%2Ffactory.talos.dev%2Fimage%2Fa%2Fv1.12.4%2Fmetal-amd64.iso%3Fx%3D1%26y%3D2",
            "ab".repeat(32)
        )
    );
    what.checksum = Some(("crc32".into(), "ab".into()));
    assert!(matches!(pve.download_url("pve1", "local", &what).await, Err(PveError::Options(_))));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn names_that_would_change_the_path_are_refused_before_anything_is_sent() {
    let server = Server::start(async |_| data("null")).await;
    let pve = server.connect().await;
    for name in ["", "..", "a/b", "a?b", "a b", "a%2Fb"] {
        assert!(matches!(pve.stop(name, 100).await, Err(PveError::BadName { .. })), "{name:?}");
        assert!(matches!(pve.storages(name).await, Err(PveError::BadName { .. })), "{name:?}");
        assert!(matches!(pve.volumes("pve1", name, "iso").await, Err(PveError::BadName { .. })), "{name:?}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn no_more_than_eight_requests_are_under_way() {
    let gate = Arc::new(Semaphore::new(0));
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = {
        let (gate, inside, most) = (Arc::clone(&gate), Arc::clone(&inside), Arc::clone(&most));
        Server::start(move |_| {
            let (gate, inside, most) = (Arc::clone(&gate), Arc::clone(&inside), Arc::clone(&most));
            async move {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.expect("the gate is open to the end").forget();
                inside.fetch_sub(1, Ordering::SeqCst);
                data("[]")
            }
        })
        .await
    };
    let pve = server.connect().await;
    let nodes = ["a", "b", "c", "d"].into_iter().flat_map(|node| [node; 3]);
    let all = futures_util::future::join_all(nodes.map(|node| pve.storages(node)));
    let release = async {
        while inside.load(Ordering::SeqCst) < 8 {
            tokio::task::yield_now().await;
        }
        // Each turn looks at the sockets: a ninth request would have been read by then.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(12);
    };
    let (answers, ()) = tokio::join!(all, release);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn no_node_gets_more_than_three_requests_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = {
        let (gate, inside, most) = (Arc::clone(&gate), Arc::clone(&inside), Arc::clone(&most));
        Server::start(move |seen| {
            let (gate, inside, most) = (Arc::clone(&gate), Arc::clone(&inside), Arc::clone(&most));
            async move {
                if seen.request.contains("/busy/") {
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    gate.acquire().await.expect("the gate is open to the end").forget();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
                data("[]")
            }
        })
        .await
    };
    let pve = server.connect().await;
    let busy = futures_util::future::join_all((0..9).map(|_| pve.storages("busy")));
    let idle = async {
        // Another node is served meanwhile, round after round: time enough for a fourth request to show up.
        while inside.load(Ordering::SeqCst) < 3 {
            pve.storages("idle").await.expect("another node's gate is open");
        }
        for _ in 0..20 {
            pve.storages("idle").await.expect("another node's gate is open");
        }
        assert_eq!(inside.load(Ordering::SeqCst), 3);
        gate.add_permits(9);
    };
    let (answers, ()) = tokio::join!(busy, idle);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}
