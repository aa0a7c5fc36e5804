//! A bell for one listener: rung from anywhere, heard once. It waits in no list, so that listening again costs next to
//! nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A bell.
#[derive(Default, Debug)]
pub struct Bell(Mutex<State>);

#[derive(Default, Debug)]
struct State {
    rung: bool,
    listener: Option<Waker>,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings, and wakes who listens.
    pub fn ring(&self) {
        let mut state = self.state();
        state.rung = true;
        let listener = state.listener.take();
        drop(state);
        listener.into_iter().for_each(Waker::wake);
    }

    /// Whether it has rung since it was heard last; whoever asks listens from now on.
    pub fn poll_heard(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if std::mem::take(&mut state.rung) {
            return Poll::Ready(());
        }
        if !state.listener.as_ref().is_some_and(|listener| listener.will_wake(context.waker())) {
            state.listener = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Counts as heard.
    pub fn silence(&self) {
        self.state().rung = false;
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}
