//! Metrics of the certificate authority, of what it signs, and of who is not let in.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Metrics of security. Clones share the counters.
#[derive(Clone, Debug)]
pub struct SecurityMetrics {
    signed: IntCounter,
    failed: IntCounter,
    broken: IntGauge,
    expiry: IntGaugeVec,
    reviews: IntCounterVec,
    visitors: IntCounterVec,
}

impl SecurityMetrics {
    /// Creates the metrics in `registry`.
    pub(super) fn register(registry: &Registry) -> Self {
        let counter = |name, help| IntCounter::new(name, help).expect("a valid name");
        let expiry =
            Opts::new("chancery_ca_expiry_timestamp_seconds", "When a certificate ends, in seconds since 1970.");
        let reviews = Opts::new("chancery_token_reviews_total", "Tokens that the API server was asked about.");
        let visitors = Opts::new("chancery_admin_refusals_total", "Questions at the admin port that were refused.");
        let metrics = Self {
            reviews: IntCounterVec::new(reviews, &["result"]).expect("a valid name"),
            visitors: IntCounterVec::new(visitors, &["reason"]).expect("a valid name"),
            signed: counter("chancery_ca_certificates_signed_total", "Certificates signed for workloads."),
            failed: counter("chancery_ca_signing_failures_total", "Certificates that could not be signed."),
            broken: IntGauge::new("chancery_ca_broken", "1 while another authority is there that can't be used.")
                .expect("a valid name"),
            expiry: IntGaugeVec::new(expiry, &["certificate"]).expect("a valid name"),
        };
        for counter in [&metrics.signed, &metrics.failed] {
            registry.register(Box::new(counter.clone())).expect("each name is registered once");
        }
        registry.register(Box::new(metrics.broken.clone())).expect("each name is registered once");
        registry.register(Box::new(metrics.expiry.clone())).expect("each name is registered once");
        registry.register(Box::new(metrics.reviews.clone())).expect("each name is registered once");
        registry.register(Box::new(metrics.visitors.clone())).expect("each name is registered once");
        metrics
    }

    /// A certificate was signed for a workload.
    pub fn signed(&self) {
        self.signed.inc();
    }

    /// One could not be.
    pub fn signing_failed(&self) {
        self.failed.inc();
    }

    /// The API server was asked about a token: `accepted`, `refused`, or `failed` where there was no answer.
    pub fn token_reviewed(&self, result: &'static str) {
        self.reviews.with_label_values(&[result]).inc();
    }

    /// Whether there is another authority than the one in use, which can't be used.
    pub fn authority_is_broken(&self, broken: bool) {
        self.broken.set(i64::from(broken));
    }

    /// When a certificate ends: that of the authority, or that of the server.
    pub fn expires(&self, certificate: &'static str, at: u64) {
        self.expiry.with_label_values(&[certificate]).set(i64::try_from(at).unwrap_or(i64::MAX));
    }

    /// Somebody was not shown a page of the admin port.
    pub fn visitor_refused(&self, reason: &str) {
        self.visitors.with_label_values(&[reason]).inc();
    }
}
