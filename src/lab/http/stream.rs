//! Bodies that go on: an answer that carries a stream beside it is sent in pieces, as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;

use super::Response;

type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// The stream of an answer: taken out once, when it is sent.
#[derive(Clone)]
struct Tail(Arc<Mutex<Option<Pieces>>>);

/// The same answer with this body.
pub fn with_body(mut response: Response, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    response.extensions_mut().insert(Tail(Arc::new(Mutex::new(Some(Box::pin(pieces))))));
    response
}

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// As hyper sends it.
pub(super) fn sent(mut response: Response) -> http::Response<Either<Full<Bytes>, StreamBody<Frames>>> {
    let tail = response.extensions_mut().remove::<Tail>();
    let pieces = tail.and_then(|Tail(pieces)| pieces.lock().unwrap_or_else(PoisonError::into_inner).take());
    response.map(|body| match pieces {
        None => Either::Left(body),
        Some(pieces) => Either::Right(StreamBody::new(Box::pin(pieces.map(|piece| Ok(Frame::data(piece)))) as Frames)),
    })
}
