//! What stands before the services: it answers for those methods that the lab has no handler for.
//!
//! A real machine refuses whoever may not call before it looks for a handler, so a
//! reader is told about rights and not about what the lab leaves out.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower::{Layer, Service};

use super::server::Peer;
use super::{Face, rights};

/// Puts the gate of this machine before its services.
pub(super) fn layer<S>(face: Face) -> impl Layer<S, Service = Gate<S>> + Clone {
    tower::layer::layer_fn(move |inner| Gate { face: face.clone(), inner })
}

#[derive(Clone)]
pub(super) struct Gate<S> {
    face: Face,
    inner: S,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        match self.face.refuse(&request) {
            Some(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
            None => Box::pin(self.inner.call(request)),
        }
    }
}

impl Face {
    fn refuse(&self, request: &Request<Body>) -> Option<Status> {
        let method = request.uri().path().trim_start_matches('/');
        let peer = request.extensions().get::<Peer>()?;
        let peer = peer.speaking_for(&MetadataMap::from_headers(request.headers().clone()));
        let world = self.shared.lock();
        let minor = self.system(&world).ok()?.minor;
        let answer = rights::without_handler(method, minor)?;
        Some(rights::admit(method, minor, self.caller(&peer)).err().unwrap_or(answer))
    }
}
