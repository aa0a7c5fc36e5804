//! The secrets of workloads: signed when they are asked for, renewed at half their life for as long as somebody holds them,
//! but not beyond the certificate by which somebody has come.
//!
//! A workload that comes back and states the certificate it has keeps it: the one that is made then says the same and is
//! not sent, unless it is asked for anew.

use super::{Authorities, now, trust_domain};
use crate::alarm::Alarm;
use crate::ca::authority::Authority;
use crate::ca::material::CaError;
use crate::model::identity::Identity;
use crate::model::world::State;
use crate::snapshot::private::Private;
use crate::snapshot::resource::Version;
use crate::snapshot::set::Layer;
use crate::telemetry::security::SecurityMetrics;
use crate::translate::secret::{self, Statement};
use crate::xds::trust;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long to wait before something is signed again that could not be.
const AGAIN: Duration = Duration::from_secs(5);
/// How soon anything is signed again at all: of an authority that ends nothing lasts.
const SOONEST: Duration = Duration::from_millis(500);
/// Over how long the certificates of all are renewed when another authority takes over, or the trust domain is another.
const SPREAD: Duration = Duration::from_secs(2);

/// The secrets of workloads.
pub struct Keyring {
    authorities: Authorities,
    states: watch::Receiver<Option<State>>,
    /// How long a certificate lasts.
    lasts: Duration,
    metrics: SecurityMetrics,
    held: Mutex<Held>,
    stirred: Notify,
}

/// Whose secrets, and when their certificate has to end, in seconds since 1970, if that is limited.
type Holder = (Identity, Option<u64>);

#[derive(Default)]
struct Held {
    by_holder: BTreeMap<Holder, Entry>,
    /// When which is due; what an entry doesn't say as well has been put off.
    due: BTreeSet<(Instant, Holder)>,
}

/// What somebody holds, or did until lately.
struct Entry {
    private: Weak<Private>,
    due: Instant,
}

impl Held {
    fn private(&self, holder: &Holder) -> Option<Arc<Private>> {
        self.by_holder.get(holder)?.private.upgrade()
    }

    fn put(&mut self, holder: Holder, private: &Arc<Private>, due: Instant) {
        self.due.insert((due, holder.clone()));
        self.by_holder.insert(holder, Entry { private: Arc::downgrade(private), due });
    }

    /// Takes the next that is due, and forgets whom nobody holds any more.
    fn take_due(&mut self, now: Instant) -> Option<(Holder, Arc<Private>)> {
        while let Some((at, holder)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, holder));
                return None;
            }
            match self.by_holder.get(&holder).filter(|entry| entry.due == at).map(|entry| entry.private.upgrade()) {
                Some(Some(private)) => return Some((holder, private)),
                Some(None) => _ = self.by_holder.remove(&holder),
                None => {}
            }
        }
        None
    }

    /// All are due within that time.
    fn hasten(&mut self, now: Instant, spread: Duration) {
        self.due.clear();
        for (holder, entry) in &mut self.by_holder {
            entry.due = now + spread.mul_f64(fastrand::f64());
            self.due.insert((entry.due, holder.clone()));
        }
    }
}

/// What is signed for a workload, and when it is to be signed anew.
struct Signed {
    layer: Layer,
    renewed: Duration,
}

impl Keyring {
    /// A keyring with nothing on it.
    pub fn new(
        authorities: Authorities,
        states: watch::Receiver<Option<State>>,
        lasts: Duration,
        metrics: SecurityMetrics,
    ) -> Self {
        Self { authorities, states, lasts, metrics, held: Mutex::default(), stirred: Notify::new() }
    }

    /// Renews until the process ends.
    pub async fn run(self: Arc<Self>) {
        let (mut authorities, mut states) = (self.authorities.clone(), self.states.clone());
        authorities.mark_unchanged();
        let mut domain = trust_domain(&states);
        let mut alarm = Alarm::default();
        loop {
            let next = self.held().due.first().map(|(at, _)| *at);
            tokio::select! {
                () = alarm.at(next) => {}
                () = self.stirred.notified() => {}
                changed = authorities.changed() => match changed {
                    Ok(()) => self.held().hasten(Instant::now(), SPREAD),
                    Err(_) => return std::future::pending().await,
                },
                Ok(()) = states.changed() => {
                    let newest = trust_domain(&states);
                    if newest != domain {
                        domain = newest;
                        self.held().hasten(Instant::now(), SPREAD);
                    }
                }
            }
            while let Some((holder, private)) = self.next_due() {
                self.renew(holder, &private);
                // Thousands may be due at once, and streams are to be served between.
                tokio::task::yield_now().await;
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_due(&self) -> Option<(Holder, Arc<Private>)> {
        self.held().take_due(Instant::now())
    }

    fn renew(&self, holder: Holder, private: &Arc<Private>) {
        let again = match self.sign(&holder, None) {
            Ok(Signed { layer, renewed }) => {
                private.replace(layer);
                renewed
            }
            Err(reason) => {
                self.failed(&holder.0, &reason);
                AGAIN
            }
        };
        self.held().put(holder, private, Instant::now() + again);
    }

    fn failed(&self, identity: &Identity, reason: &str) {
        self.metrics.signing_failed();
        tracing::error!(%identity, "no certificate could be signed, the last stays in use: {reason}");
    }

    /// Signs for a workload; a certificate that says what the one of that version says, if that is still good.
    fn sign(&self, (identity, binds): &Holder, held: Option<Version>) -> Result<Signed, String> {
        let authority = self.authorities.borrow().clone().ok_or("there is no authority yet")?;
        let domain = trust_domain(&self.states).ok_or("the trust domain is not known yet")?;
        let spiffe = identity.spiffe(&domain);
        let now = now();
        if binds.is_some_and(|ends| ends <= now) {
            return Err("the certificate by which it has come is over".to_owned());
        }
        // Certificates end at whole seconds: this one lasts no less than it should.
        let fresh = (now + 1 + self.lasts.as_secs()).min(binds.unwrap_or(u64::MAX));
        let signed = self.signed_by(&authority, &spiffe, (now, fresh), held).map_err(|error| error.to_string())?;
        // Another one would end no later.
        let last = binds.filter(|ends| *ends == fresh).map(|ends| Duration::from_secs(ends - now));
        Ok(Signed { renewed: last.unwrap_or(signed.renewed), ..signed })
    }

    /// Signs what begins now and lasts until that time, at most.
    fn signed_by(
        &self,
        authority: &Authority,
        spiffe: &str,
        (now, fresh): (u64, u64),
        held: Option<Version>,
    ) -> Result<Signed, CaError> {
        let (half, statement) = (self.lasts / 2, Statement { signer: authority.id(), spiffe });
        let held = held.and_then(|version| statement.until(version));
        let good = held.filter(|until| (now + half.as_secs()..=fresh).contains(until));
        let issued = authority.issue(spiffe, now, good.unwrap_or(fresh))?;
        self.metrics.signed();
        let left = Duration::from_secs(issued.until.saturating_sub(now));
        let mut layer = Layer::default();
        let version = statement.version(issued.until);
        layer.insert(Arc::new(secret::certificate(version, &issued.chain, &issued.key)));
        layer.insert(Arc::new(secret::roots(authority.roots())));
        // One that was kept has lived for a while; one of an authority that ends sooner lasts less.
        let renewed = if good.is_some() { left.saturating_sub(half) } else { left.min(self.lasts) / 2 };
        Ok(Signed { layer, renewed: renewed.mul_f64(0.9 + 0.2 * fastrand::f64()).max(SOONEST) })
    }
}

impl trust::Keyring for Keyring {
    fn hold(&self, identity: &Identity, binds: Option<u64>, held: Option<Version>) -> Arc<Private> {
        let holder = (identity.clone(), binds);
        if let Some(private) = self.held().private(&holder) {
            return private;
        }
        let (layer, again) = match self.sign(&holder, held) {
            Ok(Signed { layer, renewed }) => (layer, renewed),
            Err(reason) => {
                self.failed(identity, &reason);
                (Layer::default(), AGAIN)
            }
        };
        let private = Arc::new(Private::new(layer));
        let mut guard = self.held();
        // Two streams of one workload may have come at once.
        if let Some(other) = guard.private(&holder) {
            return other;
        }
        guard.put(holder, &private, Instant::now() + again);
        drop(guard);
        self.stirred.notify_one();
        private
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}
