//! What a client is told to use it has: whatever names a cluster goes after the client has accepted that, and a cluster stays
//! until nothing that the client will hold names it.
//!
//! Judged where both are known: for clients that want all clusters, of units that they have accepted before on the stream.

use super::oracles::streams;
use super::rules::Rules;
use super::unsettled::unsettled;
use super::{Asked, Event, Hash, Sent, What};
use chancery::snapshot::kind::Kind;
use chancery::xds::request::Wire;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The kinds that name clusters.
pub(super) const NAMERS: [Kind; 2] = [Kind::Listener, Kind::Route];
/// How long a unit waits for what it names.
const HOLD: Duration = Duration::from_secs(15);

/// A name of a kind.
type Key = (Kind, String);

/// Units name nothing that the client lacks.
pub fn references(events: &[Event]) -> Vec<String> {
    let mut wrong = Vec::new();
    let unsettled = unsettled(events);
    for stream in streams(events) {
        let mut look = Look::new(Rules::new(Wire::Delta));
        for event in stream {
            match &event.what {
                What::Opened(wire) => look = Look::new(Rules::after(*wire, unsettled.get(&event.stream))),
                What::World(world) => look.rules.world(world),
                What::Asked(asked) => look.asked(asked, event.at),
                What::Sent(sent) => {
                    wrong.extend(look.sent(sent, event.at).into_iter().map(|text| format!("{text}: {event}")));
                }
                What::Rest | What::Waiting(_) => {}
            }
            look.note(event.at);
        }
    }
    wrong
}

/// What is known of one stream.
struct Look {
    rules: Rules,
    /// What was sent and is not answered, by kind and nonce.
    open: BTreeMap<Key, Vec<String>>,
    /// The units that were accepted in some form.
    accepted: BTreeSet<Key>,
    /// Since when the client has been told something else of a unit than what it is.
    since: BTreeMap<Key, Duration>,
    /// Units that were sent when their time was over.
    overdue: BTreeSet<Key>,
    /// Forms of units that were what the world had when it had no such cluster as they name, and has none since.
    dangling: BTreeSet<(Key, Hash, String)>,
}

impl Look {
    fn new(rules: Rules) -> Self {
        let (open, accepted, since, overdue, dangling) = Default::default();
        Self { rules, open, accepted, since, overdue, dangling }
    }

    fn asked(&mut self, asked: &Asked, at: Duration) {
        self.rules.request(asked, at);
        let Some(kind) = asked.kind else { return };
        if let (Some(names), None) = (self.open.remove(&(kind, asked.nonce.clone())), &asked.error) {
            self.accepted.extend(names.into_iter().map(|name| (kind, name)));
        }
        self.accepted.retain(|(of, name)| *of != kind || self.rules.wants(kind, name));
        // What was not wanted before it was answered is new when it is wanted again: nobody knows whether it is held.
        let open = self.open.iter_mut().filter(|((of, _), _)| *of == kind);
        open.for_each(|(_, names)| names.retain(|name| self.rules.wants(kind, name)));
    }

    fn sent(&mut self, sent: &Sent, at: Duration) -> Vec<String> {
        let mut wrong = Vec::new();
        if NAMERS.contains(&sent.kind) {
            for (name, hash) in &sent.resources {
                wrong.extend(self.judge((sent.kind, name.clone()), *hash, at));
            }
            let names = sent.resources.iter().map(|(name, _)| name.clone());
            self.open.insert((sent.kind, sent.nonce.clone()), names.collect());
        }
        let taken = self.rules.taken(sent);
        // What is wrong with the response itself is for the rules to say.
        let fine = self.rules.response(sent, at).is_ok();
        if sent.kind == Kind::Cluster && fine {
            wrong.extend(taken.iter().flat_map(|name| self.used(name)));
        }
        wrong
    }

    /// Whether a unit that is sent names a cluster that the client has not accepted.
    fn judge(&mut self, unit: Key, hash: Hash, at: Duration) -> Option<String> {
        let (kind, name) = &unit;
        let told = self.rules.told(*kind, name);
        let known = told.is_some_and(|told| told != hash) && self.accepted.contains(&unit);
        if !known || !self.rules.knows_all(Kind::Cluster) {
            return None;
        }
        let lacks =
            |cluster: &String| self.rules.exists(Kind::Cluster, cluster) && !self.rules.holds(Kind::Cluster, cluster);
        let lacking = clusters(&self.rules, *kind, name, hash).into_iter().find(lacks);
        let over = self.since.get(&unit).is_some_and(|since| at >= *since + HOLD) || self.overdue.contains(&unit);
        match lacking {
            None => {
                self.overdue.remove(&unit);
                None
            }
            Some(_) if over => {
                self.overdue.insert(unit);
                None
            }
            Some(cluster) => Some(format!("{kind} {name} names {cluster}, which the client has not accepted")),
        }
    }

    /// The units that name a cluster that is taken away and are to name it no more.
    fn used(&self, cluster: &String) -> Vec<String> {
        if !self.rules.knows_all(Kind::Cluster) || self.rules.exists(Kind::Cluster, cluster) {
            return Vec::new();
        }
        let names = |key: &&Key, hash: Option<Hash>| {
            hash.is_some_and(|hash| clusters(&self.rules, key.0, &key.1, hash).contains(cluster))
        };
        // What has led nowhere for a time leads nowhere still, and nothing is owed to it.
        let dangles = |key: &&Key, hash: Option<Hash>| {
            hash.is_some_and(|hash| self.dangling.contains(&((*key).clone(), hash, cluster.clone())))
        };
        let is_over = |key: &&Key| self.rules.exists(key.0, &key.1) && !names(key, self.rules.truth(key.0, &key.1));
        let uses = |key: &&Key| {
            let form = self.rules.prospect(key.0, &key.1);
            names(key, form) && !dangles(key, form) && is_over(key)
        };
        let users = self.accepted.iter().filter(uses);
        users.map(|(kind, name)| format!("{cluster} is taken away, and {kind} {name} still names it")).collect()
    }

    fn note(&mut self, at: Duration) {
        // Routes may go without a word, with their listener: those that come back are new.
        self.accepted.retain(|(kind, name)| self.rules.exists(*kind, name));
        let open = self.open.iter_mut();
        open.for_each(|((kind, _), names)| names.retain(|name| self.rules.exists(*kind, name)));
        self.dangling.retain(|(.., cluster)| !self.rules.exists(Kind::Cluster, cluster));
        for unit in NAMERS.into_iter().flat_map(|kind| self.rules.told_of(kind)) {
            let Some(hash) = self.rules.truth(unit.0, &unit.1) else { continue };
            let missing = clusters(&self.rules, unit.0, &unit.1, hash).into_iter();
            let missing = missing.filter(|cluster| !self.rules.exists(Kind::Cluster, cluster));
            self.dangling.extend(missing.map(|cluster| (unit.clone(), hash, cluster)));
        }
        for unit in NAMERS.into_iter().flat_map(|kind| self.rules.told_of(kind)) {
            let (told, truth) = (self.rules.told(unit.0, &unit.1), self.rules.truth(unit.0, &unit.1));
            if told == truth {
                self.since.remove(&unit);
            } else {
                self.since.entry(unit).or_insert(at);
            }
        }
    }
}

/// The clusters that a form of a unit names.
fn clusters(rules: &Rules, kind: Kind, name: &str, hash: Hash) -> BTreeSet<String> {
    let refs = rules.refs(kind, name, hash).iter();
    refs.filter(|(of, _)| *of == Kind::Cluster).map(|(_, cluster)| cluster.clone()).collect()
}
