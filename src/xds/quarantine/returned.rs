//! What follows from a rejection for what the response carried: it goes again, or something else in its place, or nothing.

use super::Before;
use crate::snapshot::resource::Resource;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What follows from a rejection.
#[derive(Default)]
pub(in crate::xds) struct Consequence {
    pub(in crate::xds) returned: Vec<Returned>,
    /// Names that it said there is nothing under: that was lost with the rest, and is said again.
    pub(in crate::xds) unsaid: Vec<Arc<str>>,
    /// Where the client holds all of the response but these, and nothing can be sent in their place.
    pub(in crate::xds) apart: Option<BTreeSet<Arc<str>>>,
}

/// What was rejected with the response it was sent in.
pub(in crate::xds) struct Returned {
    pub(in crate::xds) sent: Arc<Resource>,
    pub(in crate::xds) before: Before,
    /// Whether it goes again, for nobody says that it was at fault: the client may hold either form. Else it holds what it
    /// held before.
    pub(in crate::xds) again: bool,
    /// Whether what it held before goes again: its owner was sent, and Envoy waits for it until it comes, though it holds it.
    ///
    /// That ends. It goes once for a rejection, with the next response, and only if what was rejected brought something that
    /// the client had not accepted before; of that there is ever less, for it is held back, or tried in halves. A response
    /// of nothing but what was accepted before, if it is rejected, is followed by nothing. And what has an owner owns
    /// nothing, so that nothing else goes because of it.
    pub(in crate::xds) owed: bool,
}

impl Returned {
    /// Whether the client holds it all the same.
    pub(in crate::xds) fn is_applied(&self) -> bool {
        matches!(&self.before, Before::Form(form) if form.version() == self.sent.version())
    }

    /// It does not go again; what the client accepted before goes, if it is not known which of the two it holds.
    pub(in crate::xds) fn give_up(&mut self) {
        let unsure = std::mem::take(&mut self.again);
        self.owed |= unsure && self.is_known();
    }

    /// Whether it is known which form of it the client accepted last.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.before, Before::Form(_))
    }
}
