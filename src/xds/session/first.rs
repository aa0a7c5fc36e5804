//! A first request that asks what most clients of an audience ask: everything on the roll.
//!
//! What such a client wants, holds and is to be told is known without a look at a single name; any other request is
//! looked at name by name, with the same outcome.

use super::view::View;
use crate::snapshot::digest::Digest;
use crate::snapshot::kind::Kind;
use crate::snapshot::names::NameSum;
use crate::snapshot::resource::Version;
use crate::snapshot::roll::Roll;
use crate::xds::request::Names;
use crate::xds::subscription::{Subscription, WILDCARD};
use std::sync::Arc;

/// What such a request asks for.
pub(super) struct First {
    pub(super) subscription: Subscription,
    pub(super) roll: Arc<Roll>,
    /// What the client holds of it: nothing, or all of it as it is now.
    pub(super) held: Option<Digest>,
}

/// What a first request asks for, if that is everything on the roll and the client holds nothing or all of it.
pub(super) fn recognise(kind: Kind, names: &Names, view: &View) -> Option<First> {
    let roll = view.roll(kind)?;
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
        let sum: NameSum = asked.iter().collect();
        (sum == roll.names().sum()).then(|| Subscription::to(roll.names().clone()))?
    };
    let Some(initial) = initial.filter(|initial| !initial.is_empty()) else {
        return Some(First { subscription, roll, held: None });
    };
    let mut current = roll.digest();
    if wildcard {
        view.inbound(kind).for_each(|resource| current.add(resource));
    }
    let mut stated = Digest::default();
    for (name, version) in initial.iter() {
        stated.add_named(name, Version::parse(version)?);
    }
    (stated == current).then_some(First { subscription, roll, held: Some(current) })
}
