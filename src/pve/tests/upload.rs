use bytes::Bytes;
use futures_util::stream;

use super::server::{Reply, Server, data, refuse};
use crate::pve::error::innermost;
use crate::pve::{Lost, PveError};

const UPID: &str = "UPID:pve1:00000C4D:000BBAF9:6B01453D:imgcopy::talos@pve!ci:";

type Chunks = stream::Iter<std::vec::IntoIter<Result<Bytes, std::io::Error>>>;

fn chunks(parts: &[&'static str]) -> Chunks {
    stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect::<Vec<_>>())
}

async fn accepting() -> Server {
    Server::start(async |_| data(&format!("\"{UPID}\""))).await
}

#[tokio::test]
async fn the_bytes_are_those_that_the_servers_parser_accepts() {
    let server = accepting().await;
    let digest = "ab".repeat(32);
    let upid = server
        .connect()
        .await
        .upload("pve1", "local", "talos.iso", 10, Some(&digest), chunks(&["01234", "", "56789"]))
        .await
        .expect("accepted");
    assert_eq!(upid.kind(), "imgcopy");
    let seen = &server.seen()[0];
    assert_eq!(seen.request, "POST /nodes/pve1/storage/local/upload");
    assert_eq!(seen.header("transfer-encoding"), None);
    let boundary = seen.header("content-type").and_then(|kind| kind.strip_prefix("multipart/form-data; boundary="));
    let boundary = boundary.expect("multipart");
    assert!(boundary.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{boundary} would be quoted");
    let expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"checksum-algorithm\"\r\n\r\nsha256\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"checksum\"\r\n\r\n{digest}\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"talos.iso\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n0123456789\r\n--{boundary}--\r\n"
    );
    assert_eq!(seen.text(), expected);
    assert_eq!(seen.header("content-length"), Some(expected.len().to_string().as_str()));
}

#[tokio::test]
async fn an_image_of_another_length_than_promised_never_arrives_whole() {
    for (parts, cause) in [(&["0123"][..], "shorter than its 10 bytes"), (&["01234", "567890"], "longer")] {
        let server = accepting().await;
        let error = server
            .connect()
            .await
            .upload("pve1", "local", "talos.iso", 10, None, chunks(parts))
            .await
            .expect_err("not ten bytes");
        assert!(matches!(error, PveError::PerhapsDone { how: Lost::BeforeReply, .. }), "{error:?}");
        let source = std::error::Error::source(&error).expect("the stream's own error");
        assert!(innermost(source).contains(cause), "{source:?}");
        assert!(!server.requests().iter().any(|request| request.starts_with("POST")), "{parts:?}");
    }
}

/// Far more than the buffers between two sockets hold, so that the refusal comes while we still send.
fn endless() -> (u64, impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) {
    let chunk = Bytes::from(vec![0; 64 * 1024]);
    (64 * 1024 * 1024, stream::iter((0..1024).map(move |_| Ok(chunk.clone()))))
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_reported_as_one() {
    let server = Server::start(async |seen| match seen.request.as_str() {
        "POST /nodes/refusing/storage/local/upload" => {
            refuse(403, "Permission check failed (/storage/local, Datastore.AllocateTemplate)", "")
        }
        _ => data(r#"{"/storage/local":{"Datastore.Audit":1}}"#),
    })
    .await;
    let (length, body) = endless();
    let error =
        server.connect().await.upload("refusing", "local", "talos.iso", length, None, body).await.expect_err("refused");
    let PveError::Forbidden { path, privilege, .. } = &error else { panic!("{error:?}") };
    assert_eq!((path.as_deref(), privilege.as_deref()), (Some("/storage/local"), Some("Datastore.AllocateTemplate")));
}

#[tokio::test]
async fn an_upload_cut_off_without_an_answer_is_explained_by_what_the_token_may_do() {
    for (rights, forbidden) in [("Datastore.Audit", true), ("Datastore.AllocateTemplate", false)] {
        let server = Server::start(move |seen| {
            std::future::ready(match seen.request.as_str() {
                "POST /nodes/refusing/storage/local/upload" => Reply::Hangup,
                _ => data(&format!("{{\"/storage/local\":{{\"{rights}\":1}}}}")),
            })
        })
        .await;
        let (length, body) = endless();
        let pve = server.connect().await;
        let error = pve.upload("refusing", "local", "talos.iso", length, None, body).await.expect_err("no answer");
        assert_eq!(matches!(error, PveError::Forbidden { .. }), forbidden, "{error:?}");
        assert_eq!(matches!(error, PveError::PerhapsDone { .. }), !forbidden, "{error:?}");
    }
}
