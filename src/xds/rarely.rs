//! What hardly ever happens, waited for beside what always does: polled only when it asks for it.
//!
//! The end of a server or of a connection is known by taking a lock that all streams share. Who waits for it and for
//! requests would take it for every request.

use crate::snapshot::bell::Bell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Waits for another future.
pub struct Rarely<F> {
    future: F,
    asks: Arc<Bell>,
}

impl<F: Future + Unpin> Rarely<F> {
    /// Waits for `future`.
    pub fn new(future: F) -> Self {
        let asks = Arc::new(Bell::default());
        asks.ring();
        Self { future, asks }
    }
}

impl<F: Future + Unpin> Future for Rarely<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // It may ask again while it is polled, and has to be heard then.
        while self.asks.poll_heard(context).is_ready() {
            let waker = Waker::from(self.asks.clone());
            if let Poll::Ready(output) = Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    }
}
