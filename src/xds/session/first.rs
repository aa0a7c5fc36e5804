//! A first request that asks what most clients of an audience ask: everything on the roll.
//!
//! What such a client wants, holds and is to be told is known without a look at a single name; any other request is
//! looked at name by name, with the same outcome.

use super::view::View;
use crate::snapshot::digest::Digest;
use crate::snapshot::kind::Kind;
use crate::snapshot::set::Layer;
use crate::xds::request::Names;
use crate::xds::subscription::{Subscription, WILDCARD};

/// What such a request asks for.
pub(super) struct First<'a> {
    pub(super) subscription: Subscription,
    /// Where what it asks for is.
    pub(super) layer: &'a Layer,
    /// What the client holds of it: nothing, or all of it as it is now.
    pub(super) held: Option<Digest>,
}

/// What a first request asks for, if that is everything on the roll and the client holds nothing or all of it.
pub(super) fn recognise<'a>(kind: Kind, names: &Names, view: &'a View) -> Option<First<'a>> {
    // Secrets are sent one by one.
    let layer = view.plain(kind).filter(|_| kind != Kind::Secret)?;
    let (asked, initial) = match names {
        Names::All(names) => (names, None),
        Names::Change { subscribe, unsubscribe, initial } if unsubscribe.is_empty() => (subscribe, Some(initial)),
        Names::Change { .. } => return None,
    };
    let wildcard = match asked.iter().next() {
        None => kind.is_whole_set(),
        Some(first) => first == WILDCARD && asked.len() == 1,
    };
    let subscription = if wildcard {
        Subscription::everything()
    } else {
        let all = layer.names(kind);
        (asked.sum() == all.sum()).then(|| Subscription::to(all))?
    };
    let Some(initial) = initial.filter(|initial| !initial.is_empty()) else {
        return Some(First { subscription, layer, held: None });
    };
    let mut current = layer.digest(kind);
    if wildcard {
        view.inbound(kind).for_each(|resource| current.add(resource));
    }
    (initial.digest()? == current).then_some(First { subscription, layer, held: Some(current) })
}
