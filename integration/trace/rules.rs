//! The twelve rules of the protocol as a model of one stream: what a client wants, what it was told, what it is owed. It
//! shares no code with the session. A response it can't explain is a violation, and so is a debt that is left at rest.

use super::kind::Type;
use super::unsettled::Unsettled;
use super::{Asked, Hash, Sent, World};
use chancery::snapshot::absent::{empty_endpoints, empty_routes};
use chancery::snapshot::kind::Kind;
use chancery::xds::request::Wire;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The kinds a client left warming asks for before clusters.
const AWAITED: [Kind; 2] = [Kind::Endpoint, Kind::Secret];
/// How long it may do so before everything is owed again.
const STRANDED: Duration = Duration::from_secs(30);

/// What a content refers to.
type Refs = Vec<(Kind, String)>;

/// One stream.
#[derive(Clone, Debug)]
pub struct Rules {
    wire: Wire,
    world: Option<World>,
    /// Every content a name has had: what is held back may be sent as it was.
    past: BTreeSet<(Kind, String, Hash)>,
    /// What each content of a name refers to: what is gone and stays for a while still has its children.
    children: BTreeMap<(Kind, String), BTreeMap<Hash, Refs>>,
    types: BTreeMap<Kind, Type>,
    /// Since when endpoints or secrets are asked for and clusters are not.
    stranded: Option<Duration>,
    /// What the client may hold and not state.
    unsettled: Unsettled,
}

impl Rules {
    pub fn new(wire: Wire) -> Self {
        Self::after(wire, None)
    }

    /// One whose client has come from another stream, on which not everything was settled.
    pub(super) fn after(wire: Wire, unsettled: Option<&Unsettled>) -> Self {
        Self {
            wire,
            world: None,
            past: BTreeSet::new(),
            children: BTreeMap::new(),
            types: Kind::ALL.map(|kind| (kind, Type::default())).into(),
            stranded: None,
            unsettled: unsettled.cloned().unwrap_or_default(),
        }
    }

    pub fn world(&mut self, world: &World) {
        let old = self.world.replace(world.clone()).unwrap_or_default();
        for (kind, this) in &mut self.types {
            this.guilty
                .retain(|(name, hash)| world.get(&(*kind, name.clone())).is_some_and(|entry| entry.hash == *hash));
        }
        for (key, entry) in world {
            self.children.entry(key.clone()).or_default().insert(entry.hash, entry.refs.clone());
        }
        self.past.extend(world.iter().map(|((kind, name), entry)| (*kind, name.clone(), entry.hash)));
        for (kind, this) in &mut self.types {
            let entry = |world: &World, name: &String| world.get(&(*kind, name.clone())).cloned();
            for (nonce, carried) in &this.carried {
                let moved = carried.keys().filter(|name| entry(&old, name) != entry(world, name));
                this.moved.entry(nonce.clone()).or_default().extend(moved.cloned());
            }
            if matches!(*kind, Kind::Secret | Kind::Route) {
                // Nobody says that a secret is gone, and routes may go with their listener: when it is back it may be sent
                // again.
                let is_back = |name: &String| entry(&old, name).is_none() || entry(world, name).is_none();
                if *kind == Kind::Route {
                    let stays = |name: &String| is_back(name) || entry(&old, name) == entry(world, name);
                    this.lost.extend(this.doubt.extract_if(.., |name| !stays(name)));
                }
                let lost = this.told.keys().filter(|name| entry(world, name).is_none());
                let lost: Vec<_> = lost.cloned().collect();
                this.lost.extend(lost.iter().cloned());
                this.doubt.extend(lost);
            } else {
                let told = |name: &String| this.told.get(name).copied().flatten();
                let hash = |name: &String| entry(world, name).map(|entry| entry.hash);
                let stays = |name: &String| entry(&old, name) == entry(world, name) || hash(name) == told(name);
                // It may be sent again even if it becomes again what was told.
                this.lost.extend(this.doubt.extract_if(.., |name| !stays(name)));
            }
        }
    }

    /// Whether the client wants the resource of that name.
    pub fn wants(&self, kind: Kind, name: &str) -> bool {
        self.types[&kind].covers(name)
    }

    /// What a form of a resource refers to; nothing if it is none that there was.
    pub(super) fn refs(&self, kind: Kind, name: &str, hash: Hash) -> &[(Kind, String)] {
        let forms = self.children.get(&(kind, name.to_owned()));
        forms.and_then(|forms| forms.get(&hash)).map_or(&[], |refs| refs)
    }

    /// The content that the client was last told of a name.
    pub(super) fn told(&self, kind: Kind, name: &str) -> Option<Hash> {
        self.types[&kind].told.get(name).copied().flatten()
    }

    /// The names of a kind that the client was told anything of.
    pub(super) fn told_of(&self, kind: Kind) -> Vec<(Kind, String)> {
        self.types[&kind].told.keys().map(|name| (kind, name.clone())).collect()
    }

    /// Whether the client has accepted a name in some form.
    pub(super) fn holds(&self, kind: Kind, name: &str) -> bool {
        self.types[&kind].held.get(name).is_some_and(Option::is_some)
    }

    /// The content that the client will hold of a name once it has answered everything.
    pub(super) fn prospect(&self, kind: Kind, name: &str) -> Option<Hash> {
        self.types[&kind].prospect(name).flatten()
    }

    /// Whether there is such a resource.
    pub(super) fn exists(&self, kind: Kind, name: &str) -> bool {
        self.truth(kind, name).is_some()
    }

    /// Whether the client wants everything of a kind, and it is known what it holds of it.
    pub(super) fn knows_all(&self, kind: Kind) -> bool {
        let this = &self.types[&kind];
        this.asked && this.wildcard && (this.accepted || !this.came)
    }

    /// The names that the client holds, by its answers, and that a response takes away.
    pub(super) fn taken(&self, sent: &Sent) -> Vec<String> {
        let this = &self.types[&sent.kind];
        let is_there = |name: &String| sent.resources.iter().any(|(there, _)| there == name);
        let gone = |name: &&String| sent.removed.contains(name) || (self.whole(sent.kind) && !is_there(name));
        // What is on its way may have taken it away already.
        let there = |name: &String| this.told.get(name) != Some(&None);
        let held = this.held.iter().filter(|(name, held)| held.is_some() && there(name)).map(|(name, _)| name);
        held.filter(gone).cloned().collect()
    }

    /// What the world says of a name.
    pub(super) fn truth(&self, kind: Kind, name: &str) -> Option<Hash> {
        self.world.as_ref()?.get(&(kind, name.to_owned())).map(|entry| entry.hash)
    }

    fn whole(&self, kind: Kind) -> bool {
        self.wire == Wire::Sotw && kind.is_whole_set()
    }

    /// A request is an answer, a subscription and an unsubscription at once (rules 2 to 5).
    pub fn request(&mut self, asked: &Asked, at: Duration) {
        let Some(kind) = asked.kind else { return };
        let warming = AWAITED.contains(&kind) && !self.types[&Kind::Cluster].asked;
        let (known, wire) = (self.names_of(kind), self.wire);
        self.came_from_elsewhere(kind, asked);
        let this = self.types.get_mut(&kind).expect("every kind has one");
        let first = !std::mem::replace(&mut this.asked, true);
        let left = kind == Kind::Cluster && self.stranded.is_some();
        this.came |= first && left && wire == Wire::Sotw;
        let before = this.before.remove(&asked.nonce).unwrap_or_default();
        let tolerated = kind.is_whole_set() && this.came && !this.accepted;
        if let Some(carried) = this.carried.remove(&asked.nonce) {
            match &asked.error {
                Some(error) => {
                    let moved = this.moved.remove(&asked.nonce).unwrap_or_default();
                    let guilty = this.guilty.clone();
                    this.reject(carried, &before, error, tolerated);
                    let is = |one: &(String, Hash)| self.world.as_ref()?.get(&(kind, one.0.clone())).map(|e| e.hash);
                    this.guilty
                        .retain(|one| guilty.contains(one) || (!moved.contains(&one.0) && is(one) == Some(one.1)));
                }
                // It accepts unread what it has just rejected, and that proves nothing.
                None if kind == Kind::Secret && this.found_fault_with(&carried) => {}
                None => {
                    this.accepted = true;
                    // A client may change its mind.
                    let is = |one: &(String, Hash)| carried.get(&one.0) == Some(&Some(one.1));
                    this.guilty.retain(|one| !is(one));
                    this.refused.retain(|one| !is(one));
                    this.held.extend(carried);
                }
            }
        }
        match &asked.all {
            Some(names) => this.replace(kind, names),
            None => this.change(kind, first, asked, &known),
        }
        if first {
            this.first = match wire {
                Wire::Sotw => kind.is_whole_set(),
                Wire::Delta => kind != Kind::Secret,
            } && (this.wildcard || !this.names.is_empty());
            let claims: Vec<_> = asked.initial.iter().filter(|(name, _)| this.covers(name)).collect();
            for (name, hash) in claims {
                // Equal versions are not sent again (rule 9), unless the client is left warming or will warm.
                this.owed.remove(name);
                this.told.insert(name.clone(), Some(hash.unwrap_or_default()));
                this.held.insert(name.clone(), Some(hash.unwrap_or_default()));
                if warming || this.early.contains(name) {
                    this.owed.insert(name.clone());
                }
                if kind == Kind::Secret && !known.contains(name) {
                    this.doubt.insert(name.clone());
                }
                // It may have gone with its listener, without a word.
                if kind == Kind::Route && !known.contains(name) {
                    this.doubt.insert(name.clone());
                    this.lost.insert(name.clone());
                }
            }
            if wire == Wire::Delta {
                let held = self.unsettled.iter().filter(|(of, name)| *of == kind && this.covers(name));
                let held: Vec<_> = held.map(|(_, name)| name.clone()).collect();
                this.doubt.extend(held);
            }
        }
        self.stranded = if self.types[&Kind::Cluster].asked { None } else { self.stranded.or(warming.then_some(at)) };
    }

    /// Who states a version comes from another stream, and may hold of any type what it never accepted as a whole.
    fn came_from_elsewhere(&mut self, kind: Kind, asked: &Asked) {
        if asked.stated && !self.types[&kind].asked && self.wire == Wire::Sotw {
            self.types.values_mut().for_each(|this| this.came = true);
        }
    }

    fn names_of(&self, kind: Kind) -> Vec<String> {
        let all = self.world.iter().flat_map(|world| world.keys());
        all.filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Takes a response, or says which rule it breaks.
    pub fn response(&mut self, sent: &Sent, at: Duration) -> Result<(), String> {
        if self.world.is_none() {
            return Err(format!("{sent:?} is sent although nothing is known (rule 12)"));
        }
        self.strand(at);
        let this = &self.types[&sent.kind];
        if !this.asked {
            return Err(format!("{sent:?} was not asked for (rule 1)"));
        }
        let gone = self.gone(sent)?;
        sent.resources.iter().try_for_each(|(name, hash)| self.check_resource(sent.kind, name, *hash))?;
        // What is on its way, if only to be rejected again, is no change.
        let comes = |name: &String, hash: Hash| this.carried.values().any(|all| all.get(name) == Some(&Some(hash)));
        let changed = |(name, hash): &(String, Hash)| this.told.get(name) != Some(&Some(*hash)) && !comes(name, *hash);
        let takes = gone.iter().any(|name| self.truth(sent.kind, name).is_none());
        if sent.kind.is_whole_set() && takes && sent.resources.iter().any(changed) {
            return Err(format!("{sent:?} adds and removes in one response"));
        }
        // A whole set answers also for what it does not hold.
        let is_absent = |name: &String| self.truth(sent.kind, name).is_none();
        let mut coming = this.carried.values().flat_map(BTreeMap::keys);
        let absent = self.whole(sent.kind)
            && (this.owed.iter().any(is_absent) || coming.any(|name| is_absent(name) && this.is_coming(name)));
        let news = absent || sent.resources.iter().any(|(name, hash)| self.is_news(sent.kind, name, *hash));
        if !news && gone.is_empty() && !this.first {
            return Err(format!("{sent:?} says nothing new (rule 8)"));
        }
        self.apply(sent, &gone);
        Ok(())
    }

    /// What the response says is gone: in removed, or by being left out of a whole set.
    fn gone(&self, sent: &Sent) -> Result<Vec<String>, String> {
        let this = &self.types[&sent.kind];
        let mut gone = sent.removed.clone();
        if self.whole(sent.kind) {
            let there: BTreeSet<&String> = sent.resources.iter().map(|(name, _)| name).collect();
            let left_out = |(name, told): &(&String, &Option<Hash>)| told.is_some() && !there.contains(name);
            gone.extend(this.told.iter().filter(left_out).map(|(name, _)| name.clone()));
        }
        for name in &gone {
            if self.truth(sent.kind, name).is_some_and(|truth| !this.is_left_out(name, truth)) {
                return Err(format!("{sent:?} takes away {name}, which exists (I1)"));
            }
            if !this.covers(name) {
                return Err(format!("{sent:?} takes away {name}, which nobody wants"));
            }
            let known = matches!(this.told.get(name), Some(Some(_))) || this.owed.contains(name);
            let known = known || this.is_coming(name) || this.adrift.contains(name) || this.lost.contains(name);
            // It may hold it from another stream, and was told nothing of it on this one.
            let unsettled = self.unsettled.contains(&(sent.kind, name.clone())) && !this.told.contains_key(name);
            let known = known || unsettled;
            if !known && !this.doubt.contains(name) && !self.whole(sent.kind) {
                return Err(format!("{sent:?} takes away {name}, which the client does not hold (rule 7)"));
            }
        }
        Ok(gone)
    }

    /// Whether a resource may be sent: it has to be, or it was rejected, or it is what was there for a while beneath an owner that
    /// is gone and stays, and with which it stays.
    fn is_news(&self, kind: Kind, name: &str, hash: Hash) -> bool {
        let this = &self.types[&kind];
        let was = this.told.get(name) == Some(&None) && self.past.contains(&(kind, name.to_owned(), hash));
        was || this.doubt.contains(name)
            || this.lost.contains(name)
            || this.was_rejected(name)
            || self.must(kind, name, hash)
    }

    /// Whether a resource has to be sent.
    fn must(&self, kind: Kind, name: &str, hash: Hash) -> bool {
        let this = &self.types[&kind];
        let told = this.told.get(name);
        let differs = told != Some(&Some(hash)) && (told != Some(&None) || self.truth(kind, name).is_some());
        this.owed.contains(name) || differs
    }

    fn check_resource(&self, kind: Kind, name: &str, hash: Hash) -> Result<(), String> {
        let this = &self.types[&kind];
        if !this.covers(name) {
            return Err(format!("{kind} {name} is sent to nobody who wants it"));
        }
        let placeholder = match kind {
            Kind::Route => Some(empty_routes(name).version().0),
            Kind::Endpoint if self.wire == Wire::Sotw => Some(empty_endpoints(name).version().0),
            _ => None,
        };
        if this.guilty.contains(&(name.to_owned(), hash)) && !(self.whole(kind) && this.came && !this.accepted) {
            return Err(format!("{kind} {name} is sent again although it was found at fault"));
        }
        let truth = self.truth(kind, name);
        let had = self.past.contains(&(kind, name.to_owned(), hash));
        // Virtual hosts and filter chains are held back one by one, so that the whole may be a mixture.
        let mixed = matches!(kind, Kind::Route | Kind::Listener) && truth.is_some();
        if !had && !mixed && (truth.is_some() || placeholder != Some(hash)) {
            return Err(format!("{kind} {name} is sent with other content than it has"));
        }
        if !self.whole(kind) && !self.is_news(kind, name, hash) {
            return Err(format!("{kind} {name} is sent again, unchanged and not asked for"));
        }
        Ok(())
    }

    fn apply(&mut self, sent: &Sent, gone: &[String]) {
        let kind = sent.kind;
        let mut children: Vec<(bool, Kind, String)> = Vec::new();
        for (name, hash) in sent.resources.iter().filter(|(name, hash)| self.is_news(kind, name, *hash)) {
            let refs = self.children.get(&(kind, name.clone())).and_then(|of| of.get(hash)).into_iter().flatten();
            let refs = refs.filter(|(child, _)| AWAITED.contains(child));
            // What is gone and stays in a whole set for a while is no news.
            let must = self.must(kind, name, *hash) && self.truth(kind, name).is_some();
            children.extend(refs.map(|(child, to)| (must, *child, to.clone())));
        }
        // What is gone may stay for a while.
        let there = |name: &String, hash: Hash| {
            kind.is_whole_set() || self.truth(kind, name).is_some() || self.past.contains(&(kind, name.clone(), hash))
        };
        let resources = sent.resources.iter().map(|(name, hash)| (name.clone(), there(name, *hash).then_some(*hash)));
        let mut carried: BTreeMap<_, _> = resources.chain(gone.iter().map(|name| (name.clone(), None))).collect();
        if self.whole(kind) {
            let absent = self.types[&kind].owed.iter().filter(|name| self.truth(kind, name).is_none());
            let absent: Vec<_> = absent.filter(|name| !carried.contains_key(*name)).cloned().collect();
            carried.extend(absent.into_iter().map(|name| (name, None)));
        }
        let this = self.types.get_mut(&kind).expect("every kind has one");
        this.first = false;
        let before = carried.keys().map(|name| (name.clone(), this.told.get(name).copied())).collect();
        this.before.insert(sent.nonce.clone(), before);
        for (name, hash) in &carried {
            this.owed.remove(name);
            this.doubt.remove(name);
            this.lost.remove(name);
            this.told.insert(name.clone(), *hash);
        }
        this.carried.insert(sent.nonce.clone(), carried);
        // Children follow their owner (rule 10).
        for (must, child, name) in children {
            let this = self.types.get_mut(&child).expect("every kind has one");
            if this.covers(&name) {
                if must {
                    this.owed.insert(name)
                } else {
                    this.doubt.insert(name)
                };
            } else if !this.asked {
                this.early.insert(name);
            }
        }
    }

    /// A client left warming is owed everything once more (rule 11).
    fn strand(&mut self, at: Duration) {
        if self.stranded.is_none_or(|since| at < since + STRANDED) {
            return;
        }
        self.stranded = Some(Duration::MAX - STRANDED);
        for kind in AWAITED {
            let names = self.names_of(kind);
            let this = self.types.get_mut(&kind).expect("every kind has one");
            this.owed.extend(names.into_iter().filter(|name| this.covers(name)).collect::<Vec<_>>());
        }
    }

    /// What has not been said although nothing more is to come.
    pub fn debts(&self) -> Vec<String> {
        let mut debts = Vec::new();
        for (kind, this) in self.types.iter().filter(|(_, this)| this.asked && self.world.is_some()) {
            debts.extend(this.first.then(|| format!("{kind}: the first request was never answered")));
            let names: BTreeSet<&String> = this.names.iter().chain(this.told.keys()).chain(&this.owed).collect();
            let all = self.names_of(*kind);
            for name in names.into_iter().chain(&all).filter(|name| this.covers(name)) {
                let (truth, told) = (self.truth(*kind, name), this.told.get(name).copied());
                // Nothing is ever said of a secret that does not exist.
                let rejected = truth.is_some_and(|truth| this.rejected.contains(&(name.clone(), truth)));
                if *kind == Kind::Secret && truth.is_none() || this.doubt.contains(name) || rejected {
                    continue;
                }
                if truth.is_some() && told.flatten() != truth || truth.is_none() && told.flatten().is_some() {
                    debts.push(format!("{kind} {name}: told {told:?}, but it is {truth:?}"));
                // Of what was rejected nothing is said until it changes.
                } else if this.owed.contains(name) && !(self.whole(*kind) && truth.is_none() || this.was_rejected(name))
                {
                    debts.push(format!("{kind} {name} was asked for and never answered"));
                }
            }
        }
        debts
    }
}
