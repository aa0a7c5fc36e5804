//! What the client of a stream holds, as far as the stream knows.

use super::Track;
use crate::snapshot::resource::{Resource, Version};
use crate::xds::session::view::View;
use std::sync::Arc;

impl Track {
    /// What the client was last told of a name on this stream; none if it doesn't want it.
    pub(in crate::xds) fn last_told<'a>(&'a self, name: &str, snapshot: &'a View) -> Option<&'a Arc<Resource>> {
        let wanted = self.asked && self.subscription.covers(name);
        if wanted { self.backlog.last_told(name, snapshot) } else { None }
    }

    /// Whether the client states to hold that version of a name from an earlier stream.
    pub(in crate::xds::session) fn is_claimed(&self, name: &str, version: Version) -> bool {
        self.backlog.is_claimed(name, version)
    }

    /// Whether the client has yet to hear of a name; of a type that it has not asked for nobody knows what it holds.
    pub(in crate::xds) fn is_unknown(&self, name: &str, snapshot: &View) -> bool {
        !self.asked || self.backlog.is_unknown(name, snapshot)
    }

    /// What the client was told of names about which there is something new to say.
    pub(in crate::xds) fn outdated(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.backlog.outdated()
    }

    /// Whether the client may hold a name in some form although it states nothing of it.
    pub(in crate::xds) fn is_doubtful(&self, name: &str) -> bool {
        self.doubtful.contains(name)
    }
}
