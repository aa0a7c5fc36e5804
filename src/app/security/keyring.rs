//! The secrets of workloads: renewed at half their life for as long as somebody holds them, but not beyond the certificate by
//! which somebody has come.
//!
//! What a certificate says, and so its version, is known before there is one: it is made and signed when it is sent for the
//! first time. So a workload that comes back and states the certificate it has keeps it, and costs neither a key nor a signature.

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
use crate::snapshot::resource::{Resource, Version};
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
    complaints: Arc<Chorus>,
}

/// What a workload is given, for how long it counts, and how soon there is to be another.
struct Given {
    layer: Layer,
    term: Term,
    renewed: Duration,
}

impl Keyring {
    /// A keyring with nothing on it.
    pub fn new(sources: Sources, lasts: Duration, metrics: SecurityMetrics) -> Self {
        let (held, stirred, complaints) = (Mutex::default(), Notify::new(), Arc::default());
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
        match self.give(holder, None) {
            Ok(Given { layer, term, renewed }) => {
                self.held().replace(holder, &layer, term, Instant::now() + renewed);
            }
            Err(reason) => {
                self.failed(&holder.0, &reason);
                self.held().put_off(holder, Instant::now() + AGAIN);
            }
        }
    }

    fn failed(&self, identity: &Identity, reason: &str) {
        failed(&self.metrics, &self.complaints, identity, reason);
    }

    /// What a workload is given: a certificate that says what the one of that version says, if that is still good.
    fn give(&self, (identity, binds): &Holder, held: Option<Version>) -> Result<Given, String> {
        let Sources { authorities, states, clock } = &self.sources;
        let authority = authorities.borrow().clone().ok_or("there is no authority yet")?;
        let domain = trust_domain(states).ok_or("the trust domain is not known yet")?;
        let (spiffe, now) = (identity.spiffe(&domain), clock.now());
        if binds.is_some_and(|ends| ends <= now) {
            return Err("the certificate by which it has come is over".to_owned());
        }
        // Certificates end at whole seconds: this one lasts no less than it should.
        let fresh = (now + 1 + self.lasts.as_secs()).min(binds.unwrap_or(u64::MAX));
        let given = self.given_by(authority, &spiffe, (now, fresh), held).map_err(|error| error.to_string())?;
        // Another one would end no later.
        let last = binds.filter(|ends| *ends == fresh).map(|ends| Duration::from_secs(ends - now));
        Ok(Given { renewed: last.unwrap_or(given.renewed), ..given })
    }

    /// What begins now and lasts until that time, at most.
    fn given_by(
        &self,
        authority: Arc<Authority>,
        spiffe: &str,
        (now, fresh): (u64, u64),
        held: Option<Version>,
    ) -> Result<Given, CaError> {
        let (half, statement) = (self.lasts / 2, Statement { signer: authority.id(), spiffe });
        let held = held.and_then(|version| statement.until(version));
        let good = held.filter(|until| (now + half.as_secs()..=fresh).contains(until));
        let until = authority.term(now, good.unwrap_or(fresh))?;
        let left = Duration::from_secs(until.saturating_sub(now));
        let mut layer = Layer::default();
        layer.insert(Arc::new(secret::roots(authority.roots())));
        let version = statement.version(until);
        layer.insert(Arc::new(self.certificate(version, authority, spiffe.to_owned(), (now, until))));
        // One that was kept has lived for a while; one of an authority that ends sooner lasts less.
        let renewed = if good.is_some() { left.saturating_sub(half) } else { left.min(self.lasts) / 2 };
        let renewed = renewed.mul_f64(0.9 + 0.2 * fastrand::f64()).max(SOONEST);
        let term = Term { from: now, renew: now + renewed.as_secs(), until };
        Ok(Given { layer, term, renewed })
    }

    /// The certificate of that version, which is made and signed when somebody is sent it.
    fn certificate(
        &self,
        version: Version,
        authority: Arc<Authority>,
        spiffe: String,
        (now, until): (u64, u64),
    ) -> Resource {
        let (metrics, complaints) = (self.metrics.clone(), self.complaints.clone());
        secret::certificate(version, move || match authority.issue(&spiffe, now, until) {
            Ok(issued) => {
                metrics.signed();
                Some((issued.chain, issued.key))
            }
            Err(error) => {
                failed(&metrics, &complaints, &spiffe, &error.to_string());
                None
            }
        })
    }
}

/// Counts it, and says so; where others fail for the same reason, only how many.
fn failed(metrics: &SecurityMetrics, complaints: &Chorus, whose: &dyn fmt::Display, reason: &str) {
    metrics.signing_failed();
    if let Some(Others { times, left_out, .. }) = complaints.hear(reason, None, std::time::Instant::now()) {
        tracing::error!(%whose, others = times, left_out, "no certificate could be signed, the last stays in use: {reason}");
    }
}

impl trust::Keyring for Keyring {
    fn hold(&self, identity: &Identity, binds: Option<u64>, held: Option<Version>) -> Arc<Private> {
        let (holder, clock) = ((identity.clone(), binds), &self.sources.clock);
        let there = self.held().good(&holder, clock.now());
        if let Some(private) = there {
            return private;
        }
        let given = self.give(&holder, held);
        let (mut guard, now) = (self.held(), Instant::now());
        // Two streams of one workload may have come at once.
        if let Some(other) = guard.good(&holder, clock.now()) {
            return other;
        }
        let (layer, term, again) = match given {
            Ok(Given { layer, term, renewed }) => {
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
