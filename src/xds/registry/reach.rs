//! At how many of the connected proxies what a policy says is in effect.
//!
//! A proxy is concerned by the objects that shaped what is posted for it, and has what they say once it has accepted it.
//! Costs a look at each proxy, what is in transition, and the policies of each audience.

use super::Proxy;
use crate::model::audience::Subject;
use crate::model::provenance::{ObjectKey, ObjectRef};
use crate::model::reach::{Identity, Reach, Reaches};
use crate::snapshot::board::Board;
use crate::snapshot::kind::Kind;
use crate::snapshot::set::{Layer, Snapshot};
use crate::snapshot::sources::differences;
use crate::xds::session::lacking::Lacking;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Surveys the proxies again and again; knows which policies shaped what is posted, and keeps that up to date.
#[derive(Debug, Default)]
pub struct Surveyor {
    indexes: BTreeMap<Subject, Index>,
}

/// The policies that shaped a layer.
#[derive(Debug)]
struct Index {
    layer: Arc<Layer>,
    /// How many parts of it each shaped.
    parts: BTreeMap<ObjectKey, usize>,
}

/// Proxies for which the same is posted.
#[derive(Debug)]
struct Group {
    outbound: Subject,
    inbound: Subject,
    snapshot: Snapshot,
    tally: Tally,
}

/// How many proxies there are, and what they lack.
#[derive(Debug, Default)]
struct Tally {
    proxies: usize,
    /// Those that lack everything.
    bare: usize,
    /// How many of the others lack what an object says.
    lacking: BTreeMap<ObjectKey, usize>,
}

impl Surveyor {
    /// How far each of the policies has come. What was posted has to be made of them, or of newer ones.
    pub fn survey(&mut self, policies: &[ObjectRef], board: &Board, proxies: &[Arc<Proxy>]) -> Reaches {
        let groups = group(proxies, board);
        self.index(&groups);
        let mut reaches: BTreeMap<ObjectKey, Reach> = BTreeMap::new();
        let mut outbound: BTreeMap<&Subject, Tally> = BTreeMap::new();
        for group in &groups {
            outbound.entry(&group.outbound).or_default().add(&group.tally);
            // Who is concerned by both halves is counted with the outbound one.
            let beside = &self.indexes[&group.outbound];
            let objects = self.indexes[&group.inbound].parts.keys().filter(|key| !beside.parts.contains_key(*key));
            objects.for_each(|key| group.tally.count(key, &mut reaches));
        }
        for (subject, tally) in outbound {
            self.indexes[subject].parts.keys().for_each(|key| tally.count(key, &mut reaches));
        }
        let reach = |policy: &ObjectRef| {
            let reach = reaches.get(&policy.key).copied().unwrap_or_default();
            let identity = policy.uid.as_deref().map(Identity::of);
            (policy.key.clone(), Reach { generation: policy.generation, identity, ..reach })
        };
        Reaches { objects: policies.iter().map(reach).collect(), partial: false }
    }

    /// Brings the indexes of all that is posted up to date, and forgets those for whom nobody is left.
    fn index(&mut self, groups: &[Group]) {
        let mut before = std::mem::take(&mut self.indexes);
        for Group { outbound, inbound, snapshot, .. } in groups {
            for (subject, layer) in [(outbound, &snapshot.outbound), (inbound, &snapshot.inbound)] {
                if !self.indexes.contains_key(subject) {
                    let index = before.remove(subject).unwrap_or_else(Index::empty).moved(layer);
                    self.indexes.insert(subject.clone(), index);
                }
            }
        }
    }
}

impl Index {
    fn empty() -> Self {
        Self { layer: Arc::default(), parts: BTreeMap::new() }
    }

    /// The index of another layer. Costs what differs.
    fn moved(mut self, layer: &Arc<Layer>) -> Self {
        let old = std::mem::replace(&mut self.layer, layer.clone());
        if Arc::ptr_eq(&old, layer) {
            return self;
        }
        for kind in Kind::ALL {
            for name in layer.differs_from(&old, kind) {
                let form = |layer: &'_ Arc<Layer>| layer.get(kind, &name).cloned();
                let (before, after) = (form(&old), form(layer));
                for part in differences(before.as_deref(), after.as_deref()) {
                    policies(part.before()).for_each(|key| self.lose(key));
                    policies(part.after()).for_each(|key| *self.parts.entry(key.clone()).or_default() += 1);
                }
            }
        }
        self
    }

    fn lose(&mut self, key: &ObjectKey) {
        if let Some(parts) = self.parts.get_mut(key) {
            *parts -= 1;
            if *parts == 0 {
                self.parts.remove(key);
            }
        }
    }
}

fn policies<'a>(sources: impl Iterator<Item = &'a ObjectRef>) -> impl Iterator<Item = &'a ObjectKey> {
    sources.map(|source| &source.key).filter(|key| key.kind.is_policy())
}

/// Puts proxies together for which the same is posted. Of several streams of one proxy the last is looked at: the others
/// are about to end.
fn group(proxies: &[Arc<Proxy>], board: &Board) -> Vec<Group> {
    let newest: BTreeMap<_, _> = proxies.iter().map(|proxy| (&*proxy.node_id, proxy)).collect();
    let mut groups: BTreeMap<[usize; 2], Group> = BTreeMap::new();
    for proxy in newest.values() {
        // Who is not placed yet waits, and has nothing.
        let Some((placement, snapshot)) = board.posted_for(&proxy.facts) else { continue };
        let lacking = proxy.lacking(&snapshot);
        let key = [&snapshot.outbound, &snapshot.inbound].map(|layer| Arc::as_ptr(layer).addr());
        let group = groups.entry(key).or_insert_with(|| Group {
            outbound: Subject::Audience(placement.audience),
            inbound: Subject::Workload(placement.workload),
            snapshot,
            tally: Tally::default(),
        });
        group.tally.note(&lacking);
    }
    groups.into_values().collect()
}

impl Tally {
    fn note(&mut self, lacking: &Lacking) {
        self.proxies += 1;
        match lacking {
            Lacking::Everything => self.bare += 1,
            Lacking::These(objects) => objects.iter().for_each(|key| self.lack(key, 1)),
        }
    }

    fn lack(&mut self, key: &ObjectKey, proxies: usize) {
        match self.lacking.get_mut(key) {
            Some(count) => *count += proxies,
            None => _ = self.lacking.insert(key.clone(), proxies),
        }
    }

    fn add(&mut self, other: &Tally) {
        self.proxies += other.proxies;
        self.bare += other.bare;
        other.lacking.iter().for_each(|(key, proxies)| self.lack(key, *proxies));
    }

    /// Counts all of them for an object that concerns them.
    fn count(&self, key: &ObjectKey, reaches: &mut BTreeMap<ObjectKey, Reach>) {
        let reach = match reaches.get_mut(key) {
            Some(reach) => reach,
            None => reaches.entry(key.clone()).or_default(),
        };
        reach.targeted += self.proxies;
        reach.live += self.proxies - self.bare - self.lacking.get(key).copied().unwrap_or_default();
    }
}
