//! One type on one stream in the model: what a client wants of it, what it was told, holds and is owed.

use super::oracles::applied;
use super::{Asked, Hash};
use chancery::snapshot::kind::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// One type on one stream (rule 1).
#[derive(Clone, Debug, Default)]
pub(super) struct Type {
    pub(super) asked: bool,
    pub(super) wildcard: bool,
    pub(super) named: bool,
    pub(super) names: BTreeSet<String>,
    /// What the client was told of a name, or states to hold: its content, or that there is none.
    pub(super) told: BTreeMap<String, Option<Hash>>,
    /// What the client holds, by its answers.
    pub(super) held: BTreeMap<String, Option<Hash>>,
    /// Names to be answered whatever was told.
    pub(super) owed: BTreeSet<String>,
    /// Whether an answer is owed that may carry nothing.
    pub(super) first: bool,
    /// What an unanswered response carried, by nonce.
    pub(super) carried: BTreeMap<String, BTreeMap<String, Option<Hash>>>,
    /// What had been told before of the names in it, by nonce; none where nothing had.
    pub(super) before: BTreeMap<String, BTreeMap<String, Option<Option<Hash>>>>,
    /// The names that have changed in the world since a response, by nonce: with that a rejection is over.
    pub(super) moved: BTreeMap<String, BTreeSet<String>>,
    /// What was ever found at fault.
    pub(super) refused: BTreeSet<(String, Hash)>,
    /// What of that has stayed as it was in the world since it was sent.
    pub(super) guilty: BTreeSet<(String, Hash)>,
    /// Whether anything was accepted on the stream.
    pub(super) accepted: bool,
    /// Whether the client came from another stream, of which nothing is known.
    pub(super) came: bool,
    /// Names of which it is not known what the client holds.
    pub(super) doubt: BTreeSet<String>,
    /// Names that went without a word since they were told: what was told may be told again.
    pub(super) lost: BTreeSet<String>,
    /// What was in a response that was rejected: it need not be what the client ends up with.
    pub(super) rejected: BTreeSet<(String, Hash)>,
    /// Names that were dropped while a response that carries them was not answered: wanted again, they may be held.
    pub(super) adrift: BTreeSet<String>,
    /// Names whose owner was sent before the type was asked for.
    pub(super) early: BTreeSet<String>,
}

impl Type {
    /// Whether a whole set may go without a name that there is: what it is was rejected, and the client neither holds
    /// another form of it nor is about to.
    pub(super) fn is_left_out(&self, name: &str, truth: Hash) -> bool {
        let refused = |hash: Hash| self.refused.contains(&(name.to_owned(), hash));
        let taken = self.carried.values().any(|carried| carried.get(name) == Some(&None));
        let holds = self.held.get(name).is_some_and(Option::is_some) || (self.came && !self.accepted && !taken);
        let mut coming = self.carried.values().filter_map(|carried| carried.get(name).copied().flatten());
        refused(truth) && !holds && coming.all(refused)
    }

    /// Whether a response that is not answered yet carries a name: if only what will be rejected again.
    pub(super) fn is_coming(&self, name: &str) -> bool {
        self.carried.values().any(|carried| matches!(carried.get(name), Some(Some(_))))
    }

    /// Whether something of a response was found at fault before.
    pub(super) fn found_fault_with(&self, carried: &BTreeMap<String, Option<Hash>>) -> bool {
        let guilty = |(name, hash): (&String, &Option<Hash>)| {
            hash.is_some_and(|hash| self.guilty.contains(&(name.clone(), hash)))
        };
        carried.iter().any(guilty)
    }

    pub(super) fn was_rejected(&self, name: &str) -> bool {
        self.rejected.iter().any(|(of, _)| of == name)
    }

    pub(super) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }
}

impl Type {
    /// What was rejected is not held, and what was alone or named is at fault. What Envoy may have applied all the same may
    /// be sent again.
    pub(super) fn reject(
        &mut self,
        carried: BTreeMap<String, Option<Hash>>,
        before: &BTreeMap<String, Option<Option<Hash>>>,
        error: &str,
        tolerated: bool,
    ) {
        let news = |(name, hash): &(&String, &Option<Hash>)| before.get(*name) != Some(&Some(**hash));
        let changed = carried.iter().filter(news).filter_map(|(name, hash)| Some((name.clone(), (*hash)?)));
        let changed: Vec<(String, Hash)> = changed.collect();
        let alone = carried.len() == 1;
        let taken = carried.iter().filter(|(name, _)| applied(error, name));
        self.held.extend(taken.map(|(name, hash)| (name.clone(), *hash)));
        let told = carried.iter().filter(|(name, hash)| self.told.get(*name) == Some(*hash));
        self.doubt.extend(told.map(|(name, _)| name.clone()));
        let apart = error.starts_with("Error adding/updating ");
        self.rejected.extend(changed);
        for (name, hash) in carried.into_iter().filter_map(|(name, hash)| Some((name, hash?))) {
            let named = apart && !applied(error, &name);
            // What it holds all the same was not at fault before.
            if (alone || named) && self.held.get(&name) != Some(&Some(hash)) {
                self.guilty.insert((name.clone(), hash));
                self.refused.insert((name.clone(), hash));
            }
            if apart && !named {
                continue;
            }
            // What a client may hold from another stream can't be left out of a set.
            match self.prospect(&name).filter(|held| !tolerated || held.is_some()) {
                Some(held) => _ = self.told.insert(name, held),
                None if tolerated => {}
                None => _ = self.told.remove(&name),
            }
        }
    }

    /// What the client will hold of a name once it has answered everything.
    pub(super) fn prospect(&self, name: &str) -> Option<Option<Hash>> {
        let refused = |hash: Hash| self.refused.contains(&(name.to_owned(), hash));
        let carried = self.carried.iter().filter_map(|(nonce, carried)| Some((nonce, *carried.get(name)?)));
        let coming = carried.filter(|(_, hash)| !hash.is_some_and(refused));
        let last = coming.max_by_key(|(nonce, _)| nonce.parse::<u64>().unwrap_or_default());
        last.map(|(_, hash)| hash).or_else(|| self.held.get(name).copied())
    }

    /// SotW: everything wanted from now on.
    pub(super) fn replace(&mut self, kind: Kind, names: &[String]) {
        let (before, held) = (self.wildcard, self.names.clone());
        self.wildcard =
            names.iter().any(|name| name == "*") || (names.is_empty() && !self.named && kind.is_whole_set());
        self.named |= !names.is_empty();
        self.names = names.iter().filter(|name| *name != "*").cloned().collect();
        self.owed.extend(self.names.difference(&held).cloned());
        self.first |= self.wildcard && !before && kind.is_whole_set();
        self.forget();
    }

    /// Delta: an explicit subscription is always answered (rule 11), and so is a name dropped under a wildcard.
    pub(super) fn change(&mut self, kind: Kind, first: bool, asked: &Asked, known: &[String]) {
        let star = |names: &[String]| names.iter().any(|name| name == "*");
        let opened = star(&asked.subscribe) || (first && asked.subscribe.is_empty() && kind.is_whole_set());
        let before = self.wildcard;
        self.wildcard = (before || opened) && !star(&asked.unsubscribe);
        let new = asked.subscribe.iter().filter(|name| *name != "*");
        self.names.extend(new.clone().cloned());
        self.owed.extend(new.cloned());
        for name in &asked.unsubscribe {
            // What was never asked for is not dropped either.
            if self.names.remove(name) && self.wildcard {
                self.owed.insert(name.clone());
            }
        }
        if opened && self.wildcard {
            self.first |= kind != Kind::Secret;
            let again = known.iter().filter(|_| before);
            self.owed.extend(again.cloned());
        }
        self.forget();
    }

    pub(super) fn forget(&mut self) {
        let (wildcard, names) = (self.wildcard, self.names.clone());
        let dropped = self.told.keys().filter(|name| !self.covers(name) && self.is_coming(name));
        let dropped: Vec<String> = dropped.cloned().collect();
        self.adrift.extend(dropped);
        self.held.retain(|name, _| wildcard || names.contains(name));
        self.told.retain(|name, _| wildcard || names.contains(name));
        self.owed.retain(|name| wildcard || names.contains(name));
        self.doubt.retain(|name| wildcard || names.contains(name));
    }
}
