//! The one watch loop: lists a kind in pages, then follows what happens, for as long as somebody listens.
//!
//! A failure never takes anything away. What is gone is told by a watch, or by a whole list that doesn't have it.

use super::api::{Api, Failure, Only};
use super::inventory::Entry;
use super::kinds::{Use, Watched};
use super::news::{Id, Item, News, State};
use super::raw::Raw;
use super::settings;
use crate::source::parse::fields::read_only;
use crate::source::parse::{self, Parsed};
use crate::telemetry::kubernetes::KubernetesMetrics;
use kube::Client;
use kube::core::WatchEvent;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;

/// How long to wait after a failure, at first and at most.
const BACK_OFF: Range<Duration> = Duration::from_millis(200)..Duration::from_secs(15);
/// How often a kind that isn't served, or that we may not see, is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How soon when that was said for the first time.
const ASK_TWICE: Duration = Duration::from_secs(1);
/// After so many failures in a row the kind is listed again: the API server may have been restored from a backup.
const FAILURES: u32 = 3;
/// A watch of which nothing was heard is not over sooner, if all is well.
const SHORTEST: Duration = Duration::from_secs(1);
/// How much longer than the API server was asked to keep a watch open it may be silent.
const GRACE: Duration = Duration::from_secs(5);

/// What a watch tells, and what it is told.
pub struct Told {
    /// Where to tell.
    pub news: mpsc::Sender<(&'static Watched, News)>,
    /// Where to count.
    pub metrics: KubernetesMetrics,
    /// Counts how often kinds that may not be seen should be asked for at once: rights have changed.
    pub again: tokio::sync::watch::Receiver<u64>,
}

/// The watch of one kind.
pub struct Watch {
    client: Client,
    kind: &'static Watched,
    only: Only,
    seconds: u32,
    news: mpsc::Sender<(&'static Watched, News)>,
    metrics: KubernetesMetrics,
    again: tokio::sync::watch::Receiver<u64>,
    /// How many failures there were since anything went well.
    failures: u32,
    /// Why it has to be listed again, if it was listed before.
    lost: Option<&'static str>,
    /// Whether the next list is asked for at once: the API server had forgotten the state of the last before all pages were read.
    whole: bool,
    /// Whether it was said that the kind isn't served, or that we may not see it, since it was watched last.
    refused: bool,
}

/// Nobody listens any more.
struct Abandoned;

/// Why a watch is over.
enum Over {
    Abandoned,
    Failed(Failure),
}

impl From<Abandoned> for Over {
    fn from(_: Abandoned) -> Self {
        Over::Abandoned
    }
}

impl From<Failure> for Over {
    fn from(failure: Failure) -> Self {
        Over::Failed(failure)
    }
}

impl Watch {
    /// A watch of some objects of a kind, which lasts so many seconds before it is opened again; nothing is silent for longer without being
    /// noticed.
    pub fn new(client: Client, kind: &'static Watched, only: Only, seconds: u32, told: Told) -> Self {
        let Told { news, metrics, again } = told;
        let (failures, lost, whole, refused) = (0, None, false, false);
        Self { client, kind, only, seconds, news, metrics, again, failures, lost, whole, refused }
    }

    /// Watches until nobody listens.
    pub async fn run(mut self) {
        loop {
            self.again.mark_unchanged();
            let Err(Over::Failed(failure)) = self.follow().await else { return };
            self.metrics.failed(&self.kind.to_string(), failure.reason());
            let pause = match &failure {
                Failure::Missing | Failure::Denied(_) if !std::mem::replace(&mut self.refused, true) => ASK_TWICE,
                Failure::Missing | Failure::Denied(_) => LOOK_AGAIN,
                // A new list tells at once what was not kept, unless that is what happens all the time.
                Failure::Expired(_) if self.failures == 0 => Duration::ZERO,
                _ => back_off(self.failures),
            };
            self.failures += 1;
            let state = match failure {
                Failure::Missing => State::Missing,
                Failure::Denied(reason) => State::Denied(reason.into()),
                other => State::Failing(other.to_string().into()),
            };
            if self.tell(News::State(state)).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(spread(pause)) => {}
                Ok(()) = self.again.changed() => {}
            }
        }
    }

    /// Lists, and watches as long as that goes well enough.
    async fn follow(&mut self) -> Result<(), Over> {
        let api = Api::discover(&self.client, self.kind, &self.only).await?;
        let (items, mut since) = self.list(&api).await.map_err(contradicted)?;
        self.tell(News::Listed(items)).await?;
        if let Some(reason) = self.lost.take() {
            self.metrics.relisted(&self.kind.to_string(), reason);
        }
        let (mut before, mut again) = (self.failures, false);
        loop {
            let watched = self.go_on(&api, &mut since, again).await;
            (before, again) = (before.min(self.failures), true);
            match watched {
                Ok(()) => {}
                Err(Over::Failed(failure)) if self.failures < before + FAILURES && is_passing(&failure) => {
                    self.failures += 1;
                    self.metrics.failed(&self.kind.to_string(), failure.reason());
                    self.tell(News::State(State::Failing(failure.to_string().into()))).await?;
                    sleep(spread(back_off(self.failures))).await;
                }
                Err(over) => {
                    if let Over::Failed(failure) = &over {
                        self.lost = Some(failure.reason());
                    }
                    return Err(over);
                }
            }
        }
    }

    /// All objects, and the state that they are of: in pages, unless that took longer than the API server keeps a state (etcd: 5
    /// min at first, as kube-apiserver has it compacted). While a page is read the API server makes the next.
    async fn list(&mut self, api: &Api) -> Result<(Vec<Item>, String), Over> {
        let (mut items, fields) = (Vec::new(), self.kind.read_as().and_then(read_only));
        self.tell(News::State(State::Listing(0))).await?;
        let mut page = if self.whole { api.whole().await? } else { api.page(None).await? };
        loop {
            let mut ahead = JoinSet::new();
            if !page.meta.r#continue.is_empty() {
                let (api, after) = (api.clone(), std::mem::take(&mut page.meta.r#continue));
                ahead.spawn(async move { api.page(Some(&after)).await });
                // The question leaves before this thread is busy.
                tokio::task::yield_now().await;
            }
            page.items(fields, |raw| items.push(self.item(raw, api.version())))?;
            if ahead.is_empty() {
                self.whole = false;
                return Ok((items, page.meta.resource_version));
            }
            self.tell(News::State(State::Listing(items.len()))).await?;
            let next = ahead.join_next().await.expect("one was asked for");
            let next = next.expect("asking does not panic, and ends early with us only");
            // From its beginning it would take as long again.
            self.whole |= matches!(next, Err(Failure::Expired(_)));
            page = next?;
        }
    }

    /// Follows what happens after a state until the watch ends in good order. An API server that was restored
    /// from a backup keeps a watch from its future open, says nothing until the future has come, and then goes on as if it were the same: so
    /// whoever comes back asks first where it is.
    async fn go_on(&mut self, api: &Api, since: &mut String, again: bool) -> Result<(), Over> {
        if again {
            api.newest().await.and_then(|newest| onward(since, newest))?;
        }
        self.watch(api, since).await
    }

    async fn watch(&mut self, api: &Api, since: &mut String) -> Result<(), Over> {
        // Watches of many kinds and replicas should not end together.
        let seconds = self.seconds - fastrand::u32(0..=self.seconds / 5);
        let silence = Duration::from_secs(seconds.into()) + GRACE;
        let mut events = api.watch(since, seconds).await?;
        self.refused = false;
        self.tell(News::State(State::Watching)).await?;
        let (version, name) = (api.version(), self.kind.to_string());
        let (begun, mut heard) = (Instant::now(), false);
        loop {
            let event = timeout(silence, events.next()).await.map_err(|_| Failure::Silent(silence))?;
            let Some(event) = event else {
                let at_once = !heard && begun.elapsed() < SHORTEST;
                return match at_once {
                    true => Err(Failure::Other("the watch ended at once".to_owned()).into()),
                    false => Ok(()),
                };
            };
            let event = event.map_err(Failure::from)?;
            self.metrics.heard(&name);
            heard = true;
            let told = state(&event)?;
            *since = match event {
                WatchEvent::Bookmark(_) => onward(since, told)?,
                // What stands between may tell events late, or twice; where the watch is only a bookmark says.
                _ => onward(since, told).unwrap_or_else(|_| since.clone()),
            };
            self.failures = 0;
            match event {
                WatchEvent::Added(raw) | WatchEvent::Modified(raw) => {
                    self.tell(News::Changed(self.item(raw, version))).await?;
                }
                WatchEvent::Deleted(raw) => self.tell(News::Gone(id(&raw))).await?,
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
            }
        }
    }

    fn item(&self, raw: Raw, version: &'static str) -> Item {
        let (id, uid) = (id(&raw), raw.uid().into());
        let entry = Entry::of(self.kind, version, &raw);
        let mut value = raw.of_kind(&self.kind.api_version(version), self.kind.kind);
        let parsed = match self.kind.used {
            Use::Read(_) => Some(parse::stored_object(&value)),
            Use::Settings => Some(settings::parse(&value)),
            Use::Listed | Use::ListedSecurity => None,
        };
        if self.kind.is_secret() {
            parse::secret::wipe(&mut value);
        }
        // Settings that are understood may be refused all the same, for what is in effect.
        let broken = self.kind.used == Use::Settings || parsed.as_ref().is_some_and(Parsed::failed);
        let entry = (broken || self.kind.has_status()).then(|| entry.into());
        Item { id, uid, parsed, entry }
    }

    async fn tell(&self, news: News) -> Result<(), Abandoned> {
        self.news.send((self.kind, news)).await.map_err(|_| Abandoned)
    }
}

fn id(raw: &Raw) -> Id {
    Id { namespace: raw.namespace().into(), name: raw.name().into() }
}

/// The state that an event leads to.
fn state(event: &WatchEvent<Raw>) -> Result<String, Failure> {
    match event {
        WatchEvent::Added(raw) | WatchEvent::Modified(raw) | WatchEvent::Deleted(raw) => Ok(raw.version().to_owned()),
        WatchEvent::Bookmark(bookmark) => Ok(bookmark.metadata.resource_version.clone()),
        WatchEvent::Error(status) => Err(Failure::of(status)),
    }
}

/// The state that is told, unless it is before the one that is known: states count up ([KEP-5504](https://kep.k8s.io/5504)), and a
/// watch tells what comes later.
fn onward(known: &str, told: String) -> Result<String, Failure> {
    match (known.parse::<u64>(), told.parse::<u64>()) {
        (Ok(at), Ok(to)) if to < at => Err(Failure::Restored { known: known.to_owned(), told }),
        _ => Ok(told),
    }
}

/// How the list failed of a kind that is served, as the API server said just before. That it isn't says nothing then: the definition
/// may have come or gone this moment, and whoever asks again is told which.
fn contradicted(over: Over) -> Over {
    match over {
        Over::Failed(Failure::Missing) => {
            Failure::Other("the API server serves it, and says that its list isn't there".to_owned()).into()
        }
        over => over,
    }
}

/// Whether the same watch may be opened again.
fn is_passing(failure: &Failure) -> bool {
    matches!(failure, Failure::Silent(_) | Failure::Other(_))
}

/// How long to wait after so many failures.
fn back_off(failures: u32) -> Duration {
    BACK_OFF.start.saturating_mul(2u32.saturating_pow(failures.min(16))).min(BACK_OFF.end)
}

/// A time between half of it and all of it.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_never_none() {
        let pauses: Vec<_> = (0..40).map(back_off).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[39]), (BACK_OFF.start, BACK_OFF.end));
        let spread: Vec<_> = (0..100).map(|_| spread(BACK_OFF.end)).collect();
        assert!(spread.iter().all(|pause| *pause >= BACK_OFF.end / 2 && *pause <= BACK_OFF.end));
        assert!(spread.iter().any(|pause| *pause != spread[0]));
    }
}
