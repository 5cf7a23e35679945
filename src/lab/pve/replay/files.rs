//! The recording's download server.

use tokio::net::TcpListener;

use crate::lab::fixture::Served;
use crate::lab::http::{self, Limits, ServerHandle};

/// Serves its files on a port of its own.
pub(super) async fn serve() -> ServerHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    http::serve(listener, None, Limits::PLAIN, |request, _| async move {
        Ok(match Served.file(request.uri().path()) {
            Some((data, kind)) => http::answer(200, "OK", kind, data),
            None => http::answer(404, "File not found", "text/html", ""),
        })
    })
}
