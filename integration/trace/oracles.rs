//! What must hold of every trace, whoever made it: one function for each, from events to what is wrong.

use super::holding::Holding;
use super::late::{Lingers, Unsent, Warming};
use super::references::{NAMERS, references};
use super::rules::Rules;
use super::unsettled::{Unsettled, unsettled};
use super::{Asked, Event, Hash, Sent, What};
use chancery::snapshot::kind::Kind;
use chancery::xds::request::Wire;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is wrong with a trace.
pub type Oracle = fn(&[Event]) -> Vec<String>;

/// Every oracle, by name.
pub const ALL: &[(&str, Oracle)] = &[
    ("rules", rules),
    ("nothing unfounded is taken away (I1)", unfounded_removals),
    ("accepted is what is desired (I2)", accepted_is_desired),
    ("a response has a reason (I3)", reasons),
    ("what waits is bounded (I4)", bounded),
    ("order on the wire (P49)", order),
    ("one in flight (P55)", in_flight),
    ("nonces are unique (P42)", nonces),
    ("equal content is not sent again (P11, P52)", resends),
    ("what is named is there (P50, P51)", references),
];

/// How long after the last change everything has to be accepted.
const BOUND: Duration = Duration::from_secs(60);
/// How long nothing more of a type is sent while a response of it is unanswered.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// How much earlier a response may be seen than it was sent, seen from the one before: relays take their time.
const JITTER: Duration = Duration::from_millis(100);
/// How many responses of a type may be unanswered: one a second for as long as a client may be silent in a test.
const UNANSWERED: usize = 4000;

/// The events of each stream.
pub(super) fn streams(events: &[Event]) -> Vec<Vec<&Event>> {
    let mut streams: BTreeMap<usize, Vec<&Event>> = BTreeMap::new();
    for event in events {
        streams.entry(event.stream).or_default().push(event);
    }
    streams.into_values().collect()
}

/// Each stream obeys the twelve rules, and owes nothing at rest.
fn rules(events: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    let unsettled = unsettled(events);
    for stream in streams(events) {
        let mut rules = Rules::new(Wire::Delta);
        for event in stream {
            match &event.what {
                What::Opened(wire) => rules = Rules::after(*wire, unsettled.get(&event.stream)),
                What::World(world) => rules.world(world),
                What::Asked(asked) => rules.request(asked, event.at),
                What::Sent(sent) => wrong.extend(rules.response(sent, event.at).err()),
                What::Rest => wrong.extend(rules.debts()),
                What::Waiting(_) => {}
            }
        }
    }
    wrong
}

/// I1: whatever is taken away is missing from a world that has arrived; before one has, nothing is said at all.
fn unfounded_removals(events: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    for stream in streams(events) {
        let (mut world, mut sotw) = (None, false);
        let mut held: BTreeMap<Kind, Holding> = BTreeMap::new();
        let mut wanted: BTreeMap<Kind, Option<BTreeSet<&String>>> = BTreeMap::new();
        let mut named: BTreeSet<Kind> = BTreeSet::new();
        for event in stream {
            if let What::Asked(Asked { kind: Some(kind), nonce, error, .. }) = &event.what {
                held.entry(*kind).or_default().answer(nonce, error.as_ref());
            }
            match &event.what {
                What::Opened(wire) => sotw = *wire == Wire::Sotw,
                What::World(new) => world = Some(new),
                What::Asked(Asked { kind: Some(kind), all: Some(names), .. }) => {
                    // The empty list means all until a name was given.
                    let all = names.iter().any(|name| name == "*") || (names.is_empty() && !named.contains(kind));
                    named.extend((!names.is_empty()).then_some(*kind));
                    let names: BTreeSet<&String> = names.iter().collect();
                    held.entry(*kind).or_default().keep(|name| all || names.contains(name));
                    wanted.insert(*kind, (!all).then_some(names));
                }
                What::Sent(sent) => {
                    let there: BTreeSet<&String> = sent.resources.iter().map(|(name, _)| name).collect();
                    let before = held.entry(sent.kind).or_default();
                    let mut gone: Vec<&String> = sent.removed.iter().collect();
                    if sotw && sent.kind.is_whole_set() {
                        let left = before.names().into_iter().filter(|name| !there.contains(*name));
                        let still = |name: &&String| match wanted.get(&sent.kind) {
                            Some(Some(names)) => names.contains(name),
                            _ => true,
                        };
                        gone.extend(left.filter(still));
                    }
                    let exists =
                        |name: &&String| world.is_none_or(|world| world.contains_key(&(sent.kind, (*name).clone())));
                    wrong.extend(gone.iter().filter(|name| exists(name)).map(|name| format!("{name} in {event}")));
                    wrong.extend(world.is_none().then(|| format!("nothing is known yet: {event}")));
                    if sotw && sent.kind.is_whole_set() {
                        before.sent(sent);
                    }
                }
                _ => {}
            }
        }
    }
    wrong
}

/// Whether Envoy applies a resource of a response it rejects with these words.
pub fn applied(error: &str, name: &str) -> bool {
    let culprit = |(at, _): (usize, &str)| {
        let before = error[..at].ends_with([' ', '\n']);
        before && error[at + name.len()..].starts_with(": ")
    };
    error.starts_with("Error adding/updating ") && !error.match_indices(name).any(culprit)
}

/// I2: at rest the newest response of each type is answered, and what it carried that is still wanted as it was, was not
/// rejected; all within the bound after the last change.
fn accepted_is_desired(events: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    for stream in streams(events) {
        let (mut changed, mut last, mut world) = (Duration::ZERO, Duration::ZERO, None);
        let mut rules = Rules::new(Wire::Delta);
        let mut open: BTreeMap<Kind, (&Sent, &Event)> = BTreeMap::new();
        let mut rejected: BTreeMap<Kind, (&Sent, &Event, &String)> = BTreeMap::new();
        for event in stream {
            match &event.what {
                What::Opened(wire) => rules = Rules::new(*wire),
                What::World(new) => (changed, world) = (event.at, Some(new)),
                What::Sent(sent) => {
                    last = event.at;
                    open.insert(sent.kind, (sent, event));
                }
                What::Asked(asked) => {
                    rules.request(asked, event.at);
                    let Some(kind) = asked.kind else { continue };
                    if open.get(&kind).is_some_and(|(sent, _)| sent.nonce == asked.nonce) {
                        let (sent, event) = open.remove(&kind).expect("just seen");
                        rejected.remove(&kind);
                        rejected.extend(asked.error.as_ref().map(|error| (kind, (sent, event, error))));
                    }
                }
                What::Rest => {
                    wrong.extend(open.values().map(|(_, event)| format!("never answered: {event}")));
                    let wanted = |(sent, _, error): &&(&Sent, &Event, &String)| {
                        let refused = |name: &String| rules.wants(sent.kind, name) && !applied(error, name);
                        let is = |name: &String| world?.get(&(sent.kind, name.clone())).map(|entry| entry.hash);
                        sent.resources.iter().any(|(name, hash)| refused(name) && is(name) == Some(*hash))
                    };
                    wrong.extend(rejected.values().filter(wanted).map(|(_, event, _)| format!("rejected: {event}")));
                    let after = last.saturating_sub(changed);
                    wrong
                        .extend((after > BOUND).then(|| format!("something was sent {after:?} after the last change")));
                }
                What::Waiting(_) => {}
            }
        }
    }
    wrong
}

/// I3: since the last response of the type there was a request of the type, an answer to clusters or listeners, a change of
/// the world, or an owner, or something that named clusters and may have let them go; one such reason is good for two
/// responses, of which one adds and one removes, and for one of each secret. Time is a reason for a client left warming, and for
/// clusters that only routes or listeners of before named.
fn reasons(events: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    for stream in streams(events) {
        let mut left: BTreeMap<Kind, usize> = BTreeMap::new();
        let (mut warming, mut unsent, mut lingers) = (Warming::default(), Unsent::default(), Lingers::default());
        let mut secrets = 2;
        for event in stream {
            warming.see(event);
            lingers.see(event);
            if let What::World(world) = &event.what {
                secrets = world.keys().filter(|(kind, _)| *kind == Kind::Secret).count().max(secrets);
            }
            let good_for = |kind: Kind| if kind == Kind::Secret { secrets } else { 2 };
            match &event.what {
                What::World(_) => {
                    unsent.note(&left, event.at);
                    left.extend(Kind::ALL.map(|kind| (kind, good_for(kind))));
                }
                What::Asked(Asked { kind: Some(kind), .. }) => {
                    left.insert(*kind, good_for(*kind));
                    if kind.is_whole_set() {
                        for kind in [Kind::Cluster, Kind::Listener, Kind::Route] {
                            let left = left.entry(kind).or_default();
                            *left = (*left).max(2);
                        }
                    }
                }
                What::Sent(sent) => {
                    let reasons = left.entry(sent.kind).or_default();
                    let mut late = || {
                        warming.is_over(event, sent.kind)
                            || unsent.is_over(event, sent.kind)
                            || (sent.kind == Kind::Cluster && lingers.is_over(event))
                    };
                    let none = *reasons == 0 && !late();
                    wrong.extend(none.then(|| event.to_string()));
                    *reasons = reasons.saturating_sub(1);
                    if sent.kind.is_whole_set() {
                        left.extend([Kind::Endpoint, Kind::Secret].map(|kind| (kind, good_for(kind))));
                    }
                    // With what goes, what it named may go.
                    if NAMERS.contains(&sent.kind) {
                        let clusters = left.entry(Kind::Cluster).or_default();
                        *clusters = if sent.removed.is_empty() { (*clusters).max(1) } else { (*clusters + 1).min(3) };
                    }
                }
                _ => {}
            }
        }
    }
    wrong
}

/// I4: what waits for a client is no more than there are names, and responses without an answer do not pile up.
fn bounded(events: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    let unsettled = unsettled(events);
    for stream in streams(events) {
        let mut names: BTreeSet<(Kind, String)> = BTreeSet::new();
        let mut open: BTreeMap<Kind, usize> = BTreeMap::new();
        for event in stream {
            match &event.what {
                What::Opened(_) => names.extend(unsettled.get(&event.stream).into_iter().flatten().cloned()),
                What::World(world) => names.extend(world.keys().cloned()),
                What::Asked(asked) => {
                    let Some(kind) = asked.kind else { continue };
                    let named =
                        asked.all.iter().flatten().chain(&asked.subscribe).chain(asked.initial.iter().map(|(n, _)| n));
                    names.extend(named.map(|name| (kind, name.clone())));
                    open.insert(kind, 0);
                }
                What::Sent(sent) => {
                    let count = open.entry(sent.kind).or_default();
                    *count += 1;
                    wrong
                        .extend((*count > UNANSWERED).then(|| format!("{count} responses without an answer: {event}")));
                }
                What::Waiting(count) => {
                    wrong.extend(
                        (*count > names.len()).then(|| format!("{count} of {} names wait: {event}", names.len())),
                    );
                }
                _ => {}
            }
        }
    }
    wrong
}

/// P49: what is sent at one moment adds in the order clusters, endpoints, secrets, listeners, routes, and only then removes.
fn order(events: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    let unsettled = unsettled(events);
    for stream in streams(events) {
        let mut last: Option<(Duration, bool, Kind)> = None;
        let mut sets: BTreeMap<Kind, BTreeSet<&(String, Hash)>> = BTreeMap::new();
        let mut held: BTreeSet<(Kind, &String)> = BTreeSet::new();
        let mut named: BTreeSet<Kind> = BTreeSet::new();
        let mut sotw = false;
        let mut refused: BTreeSet<Kind> = BTreeSet::new();
        let mut unsure = unsettled_kinds(&unsettled, &stream);
        for event in stream {
            if let What::Asked(Asked { kind: Some(kind), error: Some(_), .. }) = &event.what {
                refused.insert(*kind);
                unsure.insert(*kind);
            }
            match &event.what {
                What::Sent(sent) => {
                    let set: BTreeSet<_> = sent.resources.iter().collect();
                    let before = sets.insert(sent.kind, set.clone()).unwrap_or_default();
                    // A whole set that is part of the last one takes something away.
                    let there = |(name, _): &&(String, Hash)| before.iter().any(|(other, _)| other == name);
                    let smaller = sotw && sent.kind.is_whole_set() && set.len() < before.len();
                    // After a rejection it may be what goes on without what was at fault.
                    if refused.remove(&sent.kind) && smaller && set.iter().all(there) {
                        continue;
                    }
                    let shrinks = smaller && set.is_subset(&before);
                    // What was never sent is answered as removed in its turn among the additions.
                    let takes = sent.removed.iter().any(|name| held.contains(&(sent.kind, name)));
                    if sotw && sent.kind.is_whole_set() {
                        held.retain(|(kind, _)| *kind != sent.kind);
                    }
                    held.extend(sent.resources.iter().map(|(name, _)| (sent.kind, name)));
                    sent.removed.iter().for_each(|name| _ = held.remove(&(sent.kind, name)));
                    // After a rejection or without the wildcard nobody can tell from here what is held.
                    if set.is_empty() && !sent.removed.is_empty() && unsure.contains(&sent.kind) {
                        continue;
                    }
                    let removes = shrinks || (set.is_empty() && takes);
                    let together = last.filter(|(at, ..)| *at == event.at);
                    let backwards =
                        together.is_some_and(|(_, removed, kind)| !removes && (removed, kind) > (removes, sent.kind));
                    // Endpoints and secrets follow a listener that names them.
                    let follows =
                        matches!(sent.kind, Kind::Endpoint | Kind::Secret) && !together.is_some_and(|last| last.1);
                    wrong.extend((backwards && !follows).then(|| format!("after {last:?}: {event}")));
                    last = Some((event.at, removes, sent.kind));
                }
                What::Opened(wire) => sotw = *wire == Wire::Sotw,
                What::Waiting(_) => {}
                What::Asked(Asked { kind: Some(kind), initial, all, unsubscribe, .. }) => {
                    last = None;
                    let names = all.iter().flatten();
                    if named.contains(kind) || names.clone().next().is_some() {
                        named.insert(*kind);
                        let wanted: BTreeSet<&String> = names.collect();
                        let all = wanted.iter().any(|name| *name == "*");
                        sets.entry(*kind).or_default().retain(|(name, _)| all || wanted.contains(name));
                    }
                    unsubscribe.iter().for_each(|name| _ = held.remove(&(*kind, name)));
                    unsure.extend(unsubscribe.iter().any(|name| name == "*").then_some(*kind));
                    held.extend(initial.iter().map(|(name, _)| (*kind, name)));
                }
                _ => last = None,
            }
        }
    }
    wrong
}

/// The kinds of which not everything is settled when the stream opens.
fn unsettled_kinds(unsettled: &BTreeMap<usize, Unsettled>, stream: &[&Event]) -> BTreeSet<Kind> {
    let names = stream.first().and_then(|event| unsettled.get(&event.stream));
    names.into_iter().flatten().map(|(kind, _)| *kind).collect()
}

/// P55: while a response of a type is unanswered, the next comes a second later at the earliest.
fn in_flight(events: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    for stream in streams(events) {
        let mut open: BTreeMap<Kind, (&String, Duration)> = BTreeMap::new();
        for event in stream {
            match &event.what {
                What::Sent(sent) => {
                    if let Some((nonce, at)) = open.insert(sent.kind, (&sent.nonce, event.at)) {
                        let early = event.at + JITTER < at + IN_FLIGHT;
                        wrong.extend(early.then(|| format!("{nonce} is unanswered: {event}")));
                    }
                }
                What::Asked(Asked { kind: Some(kind), nonce, .. })
                    if open.get(kind).is_some_and(|(open, _)| *open == nonce) =>
                {
                    open.remove(kind);
                }
                _ => {}
            }
        }
    }
    wrong
}

/// P42: no two responses of a stream have one nonce, and none has an empty one.
fn nonces(events: &[Event]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let sent = events.iter().filter_map(|event| match &event.what {
        What::Sent(sent) => Some((event, &sent.nonce)),
        _ => None,
    });
    sent.filter(|(event, nonce)| nonce.is_empty() || !seen.insert((event.stream, *nonce)))
        .map(|(event, _)| event.to_string())
        .collect()
}

/// P11, P52: a response is not repeated: with what the last of its type carried, and no request or owner since that could
/// have asked for it.
fn resends(events: &[Event]) -> Vec<String> {
    type Content = (Vec<(String, Hash)>, Vec<String>);
    let content = |sent: &Sent| -> Content { (sent.resources.clone(), sent.removed.clone()) };
    let mut wrong = Vec::new();
    for stream in streams(events) {
        let mut last: BTreeMap<Kind, Content> = BTreeMap::new();
        let mut wish: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        let (mut rejected, mut loose): (BTreeSet<Kind>, BTreeSet<Kind>) = Default::default();
        let mut warming = Warming::default();
        for event in stream {
            warming.see(event);
            match &event.what {
                What::Asked(Asked { kind: Some(kind), all, subscribe, unsubscribe, error, .. }) => {
                    rejected.extend(error.as_ref().map(|_| *kind));
                    // What the world was meanwhile, the client may have been told in between, and has lost.
                    if error.is_some() && loose.contains(kind) {
                        last.remove(kind);
                    }
                    let names = all.iter().flatten().chain(unsubscribe);
                    let new: Vec<String> = names.cloned().collect();
                    let repeats = all.is_some() && wish.get(kind) == Some(&new);
                    if !subscribe.is_empty() || !(repeats || new.is_empty()) {
                        last.remove(kind);
                    }
                    wish.insert(*kind, new);
                }
                // Nobody says that a secret is gone, or routes that went with their listener: back again, they are sent again.
                What::World(world) => {
                    loose.extend(Kind::ALL);
                    last.retain(|kind, _| !rejected.contains(kind));
                    for kind in [Kind::Secret, Kind::Route] {
                        let lost = |(name, _): &(String, Hash)| !world.contains_key(&(kind, name.clone()));
                        if last.get(&kind).is_some_and(|(resources, _)| resources.iter().any(lost)) {
                            last.remove(&kind);
                        }
                    }
                }
                What::Sent(sent) => {
                    let this = content(sent);
                    if last.get(&sent.kind) == Some(&this) && !warming.is_over(event, sent.kind) {
                        wrong.push(event.to_string());
                    }
                    last.insert(sent.kind, this);
                    rejected.remove(&sent.kind);
                    loose.remove(&sent.kind);
                    if matches!(sent.kind, Kind::Cluster | Kind::Listener) {
                        last.remove(&Kind::Endpoint);
                        last.remove(&Kind::Secret);
                    }
                }
                _ => {}
            }
        }
    }
    wrong
}
