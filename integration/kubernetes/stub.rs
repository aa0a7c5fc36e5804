//! An API server that answers what a function says.

use http::{Request, Response};
use http_body_util::Full;
use kube::Client;
use kube::client::Body;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A code and a body; none for a question that gets no answer.
type Answer = Option<(u16, String)>;

/// What is answered to a question.
type Answers = dyn Fn(&Request<Body>) -> Answer + Send + Sync;

/// What answers.
#[derive(Clone)]
struct Stub(Arc<Answers>);

/// A client of it.
pub fn client(answer: impl Fn(&Request<Body>) -> Answer + Send + Sync + 'static) -> Client {
    Client::new(Stub(Arc::new(answer)), "default")
}

impl tower_service::Service<Request<Body>> for Stub {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = (self.0)(&request);
        Box::pin(async move {
            let Some((code, body)) = answer else { return std::future::pending().await };
            Ok(Response::builder().status(code).body(Full::from(body)).expect("a response"))
        })
    }
}

/// Whether a question has something to say of that.
pub fn asks(request: &Request<Body>, key: &str) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.split_once('=').is_some_and(|(name, value)| name == key && !value.is_empty()))
}
