//! What is held of a keyring: whose, by whom, and when it is to be signed anew.
//!
//! Times at which something is due are those of the clock that only runs. What the clock on the wall has to do with it is
//! told when that was set.

use crate::ca::term::Term;
use crate::model::identity::Identity;
use crate::snapshot::private::Private;
use crate::snapshot::set::Layer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Whose secrets, and when their certificate has to end, in seconds since 1970, if that is limited.
pub type Holder = (Identity, Option<u64>);

/// All that is held.
#[derive(Default)]
pub struct Held {
    by_holder: BTreeMap<Holder, Entry>,
    /// When which is due, each once: who comes back again and again leaves nothing behind.
    due: BTreeSet<(Instant, Holder)>,
}

/// What somebody holds, or did until lately.
struct Entry {
    /// What was handed out. Several only where the last of them was over when somebody came, and none could be signed: who
    /// had it keeps it, and who came has nothing.
    handed: Vec<Weak<Private>>,
    /// For how long the certificate counts that is in the last; none where there is none in it.
    term: Option<Term>,
    due: Instant,
}

impl Held {
    /// What others of the same hold already, if it may be handed out at that time, in seconds since 1970: a certificate that
    /// doesn't count any more, or not yet, may not.
    pub fn good(&self, holder: &Holder, now: u64) -> Option<Arc<Private>> {
        let entry = self.by_holder.get(holder)?;
        entry.term.is_none_or(|term| term.counts(now)).then(|| entry.handed.last()?.upgrade())?
    }

    /// Hands something out that is due then.
    pub fn hand(&mut self, holder: Holder, private: &Arc<Private>, term: Option<Term>, due: Instant) {
        let before = self.by_holder.remove(&holder);
        self.plan_one(&holder, before.as_ref().map(|entry| entry.due), due);
        let handed = before.map(|entry| entry.handed).unwrap_or_default();
        let mut handed: Vec<_> = handed.into_iter().filter(|private| private.strong_count() > 0).collect();
        handed.push(Arc::downgrade(private));
        self.by_holder.insert(holder, Entry { handed, term, due });
    }

    /// Replaces what is held by what counts for that long, and is due then. The last that was handed out, if somebody has it.
    pub fn replace(&mut self, holder: &Holder, layer: &Layer, term: Term, due: Instant) -> Option<Arc<Private>> {
        let entry = self.by_holder.get_mut(holder)?;
        let there: Vec<_> = entry.handed.iter().filter_map(Weak::upgrade).collect();
        there.iter().for_each(|private| private.replace(layer.clone()));
        entry.term = Some(term);
        let before = std::mem::replace(&mut entry.due, due);
        self.plan_one(holder, Some(before), due);
        there.into_iter().last()
    }

    /// Puts off what could not be replaced until then.
    pub fn put_off(&mut self, holder: &Holder, due: Instant) {
        if let Some(entry) = self.by_holder.get_mut(holder) {
            let before = std::mem::replace(&mut entry.due, due);
            self.plan_one(holder, Some(before), due);
        }
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the next that is due, and forgets what nobody holds any more.
    pub fn take_due(&mut self, now: Instant) -> Option<Holder> {
        while let Some((at, holder)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, holder));
                return None;
            }
            let Some(entry) = self.by_holder.get(&holder).filter(|entry| entry.due == at) else { continue };
            if entry.handed.iter().any(|private| private.strong_count() > 0) {
                return Some(holder);
            }
            self.by_holder.remove(&holder);
        }
        None
    }

    /// All are due within that time.
    pub fn hasten(&mut self, now: Instant, spread: Duration) {
        self.plan(|_, _| now + spread.mul_f64(fastrand::f64()));
    }

    /// The clock on the wall was set, to that many seconds since 1970: what is to be signed anew by it is due within that
    /// time, and the rest when it will be.
    pub fn reconsider(&mut self, wall: u64, now: Instant, spread: Duration) {
        self.plan(|term, due| match term {
            Some(term) if !term.is_due(wall) => now + Duration::from_secs(term.renew - wall),
            Some(_) => now + spread.mul_f64(fastrand::f64()),
            // Nothing could be signed, and it is tried again soon.
            None => due.min(now + spread),
        });
    }

    /// One is due then, and not when it was to be before.
    fn plan_one(&mut self, holder: &Holder, before: Option<Instant>, due: Instant) {
        if let Some(before) = before {
            self.due.remove(&(before, holder.clone()));
        }
        self.due.insert((due, holder.clone()));
    }

    fn plan(&mut self, due: impl Fn(Option<Term>, Instant) -> Instant) {
        self.due.clear();
        for (holder, entry) in &mut self.by_holder {
            entry.due = due(entry.term, entry.due);
            self.due.insert((entry.due, holder.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who comes back a thousand times is due once, and when it was said last.
    #[test]
    fn who_comes_back_is_due_once() {
        let (mut held, start, second) = (Held::default(), Instant::now(), Duration::from_secs(1));
        let holder = |name: &str| (Identity::new("shop".into(), name.into()), None);
        let (cart, other) = (holder("cart"), holder("other"));
        let (term, mut last) = (Term { from: 0, renew: 1, until: 2 }, start);
        for round in 1..=1000 {
            let private = Arc::new(Private::new(Layer::default()));
            last = start + second * round;
            // As who comes back does it whose last stream is gone, and who can't be signed for.
            held.replace(&cart, &Layer::default(), term, last + second);
            held.hand(cart.clone(), &private, Some(term), last);
            held.put_off(&cart, last + 2 * second);
            assert_eq!(held.due.len(), 1, "round {round}");
        }
        let private = Arc::new(Private::new(Layer::default()));
        held.hand(cart.clone(), &private, Some(term), last);
        held.hand(other.clone(), &private, Some(term), last + second);
        assert_eq!(held.due.len(), 2, "the control: somebody else is due as well");
        assert_eq!(held.next(), Some(last));
        assert_eq!(held.take_due(last), Some(cart));
        assert_eq!(held.take_due(last), None);
        assert_eq!(held.take_due(last + second), Some(other));
    }
}
