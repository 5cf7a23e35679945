//! The files that the recording's download server offered.

use std::io::Write;

use tokio::net::TcpListener;

use crate::lab::http::{self, Limits, ServerHandle};

/// An empty qcow2 image of `bytes`, as long as the recorded one.
pub(super) fn qcow2(bytes: u64) -> Vec<u8> {
    let mut image = b"QFI\xfb\0\0\0\x03".to_vec();
    image.resize(24, 0);
    image.extend(bytes.to_be_bytes());
    image.resize(196_616, 0);
    image
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Content and type of a file, by path.
fn file(path: &str) -> Option<(Vec<u8>, &'static str)> {
    let binary = "application/octet-stream";
    // Its SHA-256 is in the recorded requests.
    let iso = || vec![b'I'; 300_000];
    Some(match path {
        "/" => (vec![b' '; 502], "text/html"),
        "/good.iso" => (iso(), "application/x-iso9660-image"),
        "/good.iso.gz" => (gzip(&iso()), "application/gzip"),
        "/disk.qcow2" => (qcow2(24 << 20), binary),
        "/disk.raw" => (vec![0; 1 << 20], binary),
        "/fake.qcow2" => (iso(), binary),
        _ => return None,
    })
}

/// Serves them on a port of its own.
pub(super) async fn serve() -> ServerHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    http::serve(listener, None, Limits::PLAIN, |request, _| async move {
        Ok(match file(request.uri().path()) {
            Some((data, kind)) => http::answer(200, "OK", kind, data),
            None => http::answer(404, "File not found", "text/html", ""),
        })
    })
}
