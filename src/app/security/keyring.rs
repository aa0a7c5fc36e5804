//! The secrets of workloads: signed when they are asked for, renewed at half their life for as long as somebody holds them,
//! but not beyond the certificate by which somebody has come.
//!
//! A workload that comes back and states the certificate it has keeps it: the one that is made then says the same and is
//! not sent, unless it is asked for anew.

mod held;

use super::{Authorities, trust_domain};
use crate::alarm::Alarm;
use crate::ca::authority::Authority;
use crate::ca::material::CaError;
use crate::ca::term::Term;
use crate::clock::{Clock, Watch};
use crate::model::identity::Identity;
use crate::model::world::State;
use crate::snapshot::private::Private;
use crate::snapshot::resource::Version;
use crate::snapshot::set::Layer;
use crate::telemetry::security::SecurityMetrics;
use crate::translate::secret::{self, Statement};
use crate::xds::chorus::{Chorus, Others};
use crate::xds::trust;
use held::{Held, Holder};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long to wait before something is signed again that could not be.
const AGAIN: Duration = Duration::from_secs(5);
/// How soon anything is signed again at all: of an authority that ends nothing lasts.
const SOONEST: Duration = Duration::from_millis(500);
/// Over how long the certificates of all are renewed when another authority takes over, or the trust domain is another.
const SPREAD: Duration = Duration::from_secs(2);

/// How often it is looked whether the clock was set.
const LOOK: Duration = Duration::from_secs(2);

/// What is to be known to sign.
pub struct Sources {
    /// Who signs.
    pub authorities: Authorities,
    /// Where the trust domain is found.
    pub states: watch::Receiver<Option<State>>,
    /// What says what time it is.
    pub clock: Clock,
}

/// The secrets of workloads.
pub struct Keyring {
    sources: Sources,
    /// How long a certificate lasts.
    lasts: Duration,
    metrics: SecurityMetrics,
    held: Mutex<Held>,
    stirred: Notify,
    complaints: Chorus,
}

/// What is signed for a workload, for how long it counts, and how soon it is to be signed anew.
struct Signed {
    layer: Layer,
    term: Term,
    renewed: Duration,
}

impl Keyring {
    /// A keyring with nothing on it.
    pub fn new(sources: Sources, lasts: Duration, metrics: SecurityMetrics) -> Self {
        let (held, stirred, complaints) = (Mutex::default(), Notify::new(), Chorus::default());
        Self { sources, lasts, metrics, held, stirred, complaints }
    }

    /// Renews until the process ends.
    pub async fn run(self: Arc<Self>) {
        let (mut authorities, mut states) = (self.sources.authorities.clone(), self.sources.states.clone());
        authorities.mark_unchanged();
        let (mut domain, mut clock) = (trust_domain(&states), Watch::new(self.sources.clock.clone()));
        let (mut alarm, mut look) = (Alarm::default(), tokio::time::interval(LOOK));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.held().next();
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
                _ = look.tick() => if clock.was_set() {
                    let now = self.sources.clock.now();
                    tracing::warn!(now, "the clock was set: certificates that don't count by it are signed anew");
                    self.held().reconsider(now, Instant::now(), SPREAD);
                },
            }
            while let Some(holder) = self.next_due() {
                self.renew(&holder);
                // Thousands may be due at once, and streams are to be served between.
                tokio::task::yield_now().await;
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_due(&self) -> Option<Holder> {
        self.held().take_due(Instant::now())
    }

    fn renew(&self, holder: &Holder) {
        match self.sign(holder, None) {
            Ok(Signed { layer, term, renewed }) => {
                self.held().replace(holder, &layer, term, Instant::now() + renewed);
            }
            Err(reason) => {
                self.failed(&holder.0, &reason);
                self.held().put_off(holder, Instant::now() + AGAIN);
            }
        }
    }

    /// Counts it, and says so; where others fail for the same reason, only how many.
    fn failed(&self, identity: &Identity, reason: &str) {
        self.metrics.signing_failed();
        if let Some(Others { times, left_out, .. }) = self.complaints.hear(reason, None, std::time::Instant::now()) {
            tracing::error!(%identity, others = times, left_out, "no certificate could be signed, the last stays in use: {reason}");
        }
    }

    /// Signs for a workload; a certificate that says what the one of that version says, if that is still good.
    fn sign(&self, (identity, binds): &Holder, held: Option<Version>) -> Result<Signed, String> {
        let Sources { authorities, states, clock } = &self.sources;
        let authority = authorities.borrow().clone().ok_or("there is no authority yet")?;
        let domain = trust_domain(states).ok_or("the trust domain is not known yet")?;
        let (spiffe, now) = (identity.spiffe(&domain), clock.now());
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
        let renewed = renewed.mul_f64(0.9 + 0.2 * fastrand::f64()).max(SOONEST);
        let term = Term { from: now, renew: now + renewed.as_secs(), until: issued.until };
        Ok(Signed { layer, term, renewed })
    }
}

impl trust::Keyring for Keyring {
    fn hold(&self, identity: &Identity, binds: Option<u64>, held: Option<Version>) -> Arc<Private> {
        let (holder, clock) = ((identity.clone(), binds), &self.sources.clock);
        let there = self.held().good(&holder, clock.now());
        if let Some(private) = there {
            return private;
        }
        let signed = self.sign(&holder, held);
        let (mut guard, now) = (self.held(), Instant::now());
        // Two streams of one workload may have come at once.
        if let Some(other) = guard.good(&holder, clock.now()) {
            return other;
        }
        let (layer, term, again) = match signed {
            Ok(Signed { layer, term, renewed }) => {
                // Who holds what counts no more is given this as well.
                if let Some(private) = guard.replace(&holder, &layer, term, now + renewed) {
                    self.stirred.notify_one();
                    return private;
                }
                (layer, Some(term), renewed)
            }
            // Nor is anybody else given what counts no more.
            Err(reason) => {
                self.failed(identity, &reason);
                (Layer::default(), None, AGAIN)
            }
        };
        let private = Arc::new(Private::new(layer));
        guard.hand(holder, &private, term, now + again);
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
