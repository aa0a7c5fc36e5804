//! Gathers the news of all kinds into batches, the first of which holds everything.
//!
//! Nothing leaves before every kind was listed once and is followed, or its absence is somebody's decision: what the first batch leaves
//! out is taken for gone by every proxy that knew it from an earlier process.

use super::inventory::Inventory;
use super::kinds::{Need, Watched};
use super::news::{KindStatus, Kinds, News, State};
use super::store::Store;
use super::tally::Tally;
use super::trouble::Trouble;
use crate::model::world::{Batch, Change};
use crate::source::report::Report;
use crate::telemetry::kubernetes::KubernetesMetrics;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// Where everything goes.
pub struct Sinks {
    /// Differences.
    pub batches: mpsc::Sender<Batch>,
    /// What is wrong.
    pub reports: watch::Sender<Arc<Report>>,
    /// What a status is written on.
    pub inventory: watch::Sender<Inventory>,
    /// How it stands with each kind.
    pub kinds: watch::Sender<Kinds>,
    /// Counters.
    pub metrics: KubernetesMetrics,
    /// Makes the watches of kinds that may not be seen ask again at once.
    pub again: watch::Sender<u64>,
}

/// How many news are put into one batch at most.
const MOST: usize = 4096;

/// Nobody listens any more.
struct Abandoned;

/// Gathers what is told of these kinds until nobody listens or nothing is watched.
pub async fn run(kinds: &[&'static Watched], mut news: mpsc::Receiver<(&'static Watched, News)>, sinks: Sinks) {
    let mut gatherer = Gatherer::new(kinds, sinks);
    let mut waiting = Vec::with_capacity(MOST);
    while news.recv_many(&mut waiting, MOST).await > 0 {
        let at = Instant::now();
        let mut changes = Vec::new();
        waiting.drain(..).for_each(|(kind, news)| gatherer.take(kind, news, &mut changes));
        if gatherer.send(changes, at).await.is_err() {
            return;
        }
    }
}

/// How it stands with kinds of which nothing is known.
pub fn unknown(kinds: &[&'static Watched]) -> Kinds {
    let state = || State::Listing(0);
    // What is never in effect is not missed.
    let settled = |kind: &Watched| !kind.is_in_effect();
    let since = Instant::now();
    kinds.iter().map(|kind| KindStatus { kind, state: state(), since, settled: settled(kind), objects: 0 }).collect()
}

struct Gatherer {
    store: Store,
    status: Kinds,
    /// Where each kind is among them, by where it is in memory: each line of the table is there once.
    places: BTreeMap<usize, usize>,
    /// Those that were told of since they were counted last.
    touched: BTreeSet<usize>,
    /// Those that are waited for.
    unsettled: BTreeSet<usize>,
    tally: Tally,
    trouble: Trouble,
    /// Kinds that were listed once, each with where.
    listed: BTreeSet<String>,
    /// Kinds that could not be listed at some time before.
    troubled: BTreeSet<String>,
    /// Kinds of which it was said that there is nothing to be seen, since they were listed last.
    refused: BTreeSet<String>,
    /// Whether the first batch was sent.
    begun: bool,
    revision: u64,
    sinks: Sinks,
}

impl Gatherer {
    fn new(kinds: &[&'static Watched], sinks: Sinks) -> Self {
        let (status, places) = (unknown(kinds), kinds.iter().enumerate().map(|(place, kind)| (address(kind), place)));
        let unsettled = (0..kinds.len()).filter(|place| !status[*place].settled).collect();
        Self {
            store: Store::default(),
            places: places.collect(),
            touched: (0..kinds.len()).collect(),
            unsettled,
            status,
            tally: Tally::new(kinds),
            trouble: Trouble::default(),
            listed: BTreeSet::new(),
            troubled: BTreeSet::new(),
            refused: BTreeSet::new(),
            begun: false,
            revision: 0,
            sinks,
        }
    }

    fn settle(&mut self, place: usize, settled: bool) {
        self.status[place].settled = settled;
        match settled {
            true => self.unsettled.remove(&place),
            false => self.unsettled.insert(place),
        };
    }

    fn take(&mut self, kind: &'static Watched, news: News, changes: &mut Vec<Change>) {
        let Some(place) = self.places.get(&address(kind)).copied() else { return };
        self.touched.insert(place);
        match news {
            News::Listed(items) => {
                self.listed.insert(kind.place());
                self.store.replace(kind, items, changes);
                self.refused.remove(&kind.place());
                if kind.need != Need::Optional && self.troubled.remove(&kind.place()) && !self.begun {
                    self.doubt();
                }
            }
            News::Changed(item) => self.store.set(kind, item, changes),
            News::Gone(id) => self.store.remove(kind, &id, changes),
            News::State(state) => {
                self.trouble.note(kind, &state);
                // One that may be listed and not followed is listed again and again: that tells nothing of others.
                if state.reason().is_some() && !self.listed.contains(&kind.place()) {
                    self.troubled.insert(kind.place());
                }
                if !self.begun && kind.is_in_effect() {
                    self.weigh(place, &state);
                }
                let status = &mut self.status[place];
                // Tries that fail turn the state, and what is known gets older all the same.
                if (status.state == State::Watching) != (state == State::Watching) {
                    status.since = Instant::now();
                }
                status.state = state;
            }
        }
    }

    /// Whether a kind is still waited for before anything leaves: until it was listed and is followed, or its absence is somebody's
    /// decision. A list that may not be followed is a state of which nobody hears when it is over.
    fn weigh(&mut self, place: usize, state: &State) {
        let KindStatus { kind, .. } = self.status[place];
        let listed = self.listed.contains(&kind.place());
        let decided = is_decision(kind.need, state) && !self.refused.insert(kind.place());
        match state {
            State::Listing(_) => {}
            State::Watching | State::Failing(_) => self.settle(place, listed),
            State::Missing | State::Denied(_) => self.settle(place, decided || (listed && kind.need == Need::Optional)),
        }
    }

    /// A kind that is waited for can be listed and could not be before: whatever was in the way may have been in the way of others.
    fn doubt(&mut self) {
        for place in 0..self.status.len() {
            let kind = self.status[place].kind;
            let known = self.listed.contains(&kind.place()) || !kind.is_in_effect();
            self.settle(place, known && self.status[place].settled);
        }
        self.sinks.again.send_modify(|count| *count += 1);
    }

    /// Counts what was told of, for the metrics of each kind wherever it is watched.
    fn count(&mut self) {
        for place in std::mem::take(&mut self.touched) {
            let status = &mut self.status[place];
            status.objects = self.store.count(status.kind);
            let (kind, sum) = self.tally.note(place, status.objects, status.state == State::Watching);
            self.sinks.metrics.counted(kind, sum.objects, sum.behind == 0);
        }
    }

    async fn send(&mut self, mut changes: Vec<Change>, at: Instant) -> Result<(), Abandoned> {
        self.trouble.log();
        self.count();
        self.sinks.kinds.send_replace(self.status.clone());
        if self.revision != self.store.revision() {
            self.revision = self.store.revision();
            self.sinks.reports.send_replace(Arc::new(self.store.report().clone()));
        }
        self.sinks.inventory.send_if_modified(|known| {
            let changed = !known.ptr_eq(self.store.inventory());
            known.clone_from(self.store.inventory());
            changed
        });
        if !self.begun {
            if !self.unsettled.is_empty() {
                return Ok(());
            }
            self.begun = true;
            changes = self.store.begin();
        } else if changes.is_empty() {
            return Ok(());
        }
        self.sinks.batches.send(Batch { changes, at }).await.map_err(|_| Abandoned)
    }
}

/// Where a line of the table is in memory.
fn address(kind: &'static Watched) -> usize {
    std::ptr::from_ref(kind).addr()
}

/// Whether it is somebody's decision that there is nothing to know of a kind, once it was said twice: rights and definitions reach an
/// API server some time after they were made, or after it was started. What only fails may hold anything.
fn is_decision(need: Need, state: &State) -> bool {
    match state {
        State::Missing => need != Need::Required,
        State::Denied(_) => need == Need::Optional,
        State::Listing(_) | State::Watching | State::Failing(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::kinds::within;
    use crate::telemetry::Metrics;
    use std::time::Duration;

    fn sinks(metrics: &Metrics) -> Sinks {
        Sinks {
            batches: mpsc::channel(8).0,
            reports: watch::Sender::new(Arc::default()),
            inventory: watch::Sender::default(),
            kinds: watch::Sender::default(),
            metrics: metrics.kubernetes.clone(),
            again: watch::Sender::new(0),
        }
    }

    /// What was counted once is not counted again because of news of others.
    #[tokio::test]
    async fn news_of_a_kind_in_a_namespace_cost_what_that_has() {
        let names: Vec<String> = (0..20).map(|name| name.to_string()).collect();
        let (kinds, metrics) = (within(&names, &[]), Metrics::new());
        let mut gatherer = Gatherer::new(&kinds, sinks(&metrics));
        gatherer.count();
        let has = |text: &str| metrics.render().lines().any(|line| line == text);
        assert!(has("chancery_kubernetes_objects{kind=\"pods\"} 0"), "at first all are counted");
        metrics.kubernetes.counted("pods", 77, true);
        metrics.kubernetes.counted("services", 77, true);
        let services = *kinds.iter().find(|kind| kind.plural == "services").expect("it is watched");
        gatherer.take(services, News::State(State::Watching), &mut Vec::new());
        assert_eq!(gatherer.touched.len(), 1);
        gatherer.count();
        assert!(has("chancery_kubernetes_objects{kind=\"pods\"} 77"), "nobody counted them again");
        assert!(has("chancery_kubernetes_objects{kind=\"services\"} 0"), "the control: news came of these");
        assert!(has("chancery_kubernetes_synced{kind=\"services\"} 0"), "nineteen other places are not followed");
    }

    /// What is not watched gets older, however often it is asked for and whatever is answered.
    #[test]
    fn the_time_goes_on_until_a_kind_is_watched_or_is_not_any_more() {
        let kinds = within(&[], &[]);
        let mut gatherer = Gatherer::new(&kinds, sinks(&Metrics::new()));
        let place = kinds.iter().position(|kind| kind.plural == "sidecars").expect("it is watched");
        let before = Instant::now().checked_sub(Duration::from_secs(60)).expect("there was a time before");
        let mut goes_on = |state: State| {
            gatherer.status[place].since = before;
            gatherer.take(kinds[place], News::State(state), &mut Vec::new());
            gatherer.status[place].since == before
        };
        let down = || {
            let (failing, denied) = (State::Failing("no".into()), State::Denied("no".into()));
            [State::Listing(0), failing.clone(), State::Listing(0), denied, State::Listing(7), failing, State::Missing]
        };
        assert!(down().into_iter().all(&mut goes_on), "it was never watched");
        assert!(!goes_on(State::Watching) && goes_on(State::Watching), "it is, and the next watch follows");
        assert!(!goes_on(State::Failing("no".into())), "it is not any more");
        assert!(down().into_iter().all(&mut goes_on), "it is asked for again and again");
        assert!(!goes_on(State::Watching), "the control: it is watched again");
    }

    #[test]
    fn only_a_decision_replaces_a_list() {
        let denied = || State::Denied("no".into());
        assert!(is_decision(Need::Optional, &State::Missing) && is_decision(Need::Optional, &denied()));
        assert!(is_decision(Need::Served, &State::Missing) && !is_decision(Need::Served, &denied()));
        assert!(!is_decision(Need::Required, &State::Missing) && !is_decision(Need::Required, &denied()));
        for need in [Need::Required, Need::Served, Need::Optional] {
            assert!(!is_decision(need, &State::Listing(10)) && !is_decision(need, &State::Failing("slow".into())));
        }
    }
}
