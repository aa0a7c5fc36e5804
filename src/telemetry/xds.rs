//! The xDS server's metrics: methods named for events.
//!
//! Labels take values from closed sets only: never a name or a text a client sent.

use super::labelled::Labelled;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::time::Duration;

/// Seconds; from a lone change on loopback to a client that is in trouble.
const CHANGE_TO_ACK_BUCKETS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// The types that are served, as labels call them.
pub const TYPES: [&str; 5] = ["cds", "eds", "sds", "lds", "rds"];
/// How requests are understood.
const OUTCOMES: [&str; 5] = ["ack", "change", "init", "nack", "stale"];
/// What should not happen on a stream and does.
const ANOMALIES: [&str; 5] = ["late_rejection", "node_mismatch", "clusters_by_name", "missing_secret", "overdue"];
/// What wakes a stream.
const EVENTS: [&str; 7] = ["request", "snapshot", "timer", "writable", "gone", "aged", "shutdown"];

/// The xDS server's metrics. Clones share the counters.
#[derive(Clone, Debug)]
pub struct XdsMetrics {
    connections: IntGauge,
    handshakes: IntGauge,
    accept_pauses: IntCounter,
    streams: IntGauge,
    large: IntCounterVec,
    responses: Labelled,
    response_bytes: Labelled,
    requests: IntCounterVec,
    /// Of the types that are served, in their order.
    answers: [Labelled; TYPES.len()],
    refusals: IntCounterVec,
    stream_ends: IntCounterVec,
    stream_wakes: Labelled,
    left_warming: IntCounter,
    paced: IntCounter,
    anomalies: Labelled,
    change_to_ack: Histogram,
}

impl XdsMetrics {
    /// Creates the metrics in `registry`.
    pub(super) fn register(registry: &Registry) -> Self {
        let buckets = HistogramOpts::new(
            "chancery_change_to_ack_seconds",
            "Time from seeing a change to a client's ACK of a response that carries it.",
        )
        .buckets(CHANGE_TO_ACK_BUCKETS.to_vec());
        let of_type = |name, help| Labelled::new(&counters(name, help, &["type"]), &[], &TYPES);
        let requests = counters("chancery_xds_requests_total", "Requests received.", &["type", "outcome"]);
        let wakes = counters("chancery_xds_stream_wakes_total", "Turns of streams' loops.", &["event"]);
        let anomalies =
            counters("chancery_xds_anomalies_total", "What should not happen on a stream and did.", &["what"]);
        let metrics = Self {
            connections: IntGauge::new("chancery_xds_connections", "Open connections.").expect("a valid name"),
            handshakes: IntGauge::new("chancery_xds_handshakes", "TLS handshakes in progress.").expect("a valid name"),
            accept_pauses: IntCounter::new("chancery_xds_accept_pauses_total", "Times no connection could be taken.")
                .expect("a valid name"),
            streams: IntGauge::new("chancery_xds_streams", "Open ADS streams.").expect("a valid name"),
            large: counters("chancery_xds_large_messages_total", "Messages beyond half their limit.", &["direction"]),
            responses: of_type("chancery_xds_responses_total", "Responses sent."),
            response_bytes: of_type("chancery_xds_response_bytes_total", "Bytes of responses sent."),
            answers: TYPES.map(|kind| Labelled::new(&requests, &[kind], &OUTCOMES)),
            requests,
            refusals: counters("chancery_xds_refusals_total", "Streams refused.", &["reason"]),
            stream_ends: counters("chancery_xds_stream_ends_total", "Streams ended.", &["reason"]),
            stream_wakes: Labelled::new(&wakes, &[], &EVENTS),
            left_warming: IntCounter::new(
                "chancery_xds_left_warming_total",
                "Streams that asked for endpoints or secrets and, for long, not for clusters.",
            )
            .expect("a valid name"),
            paced: IntCounter::new(
                "chancery_xds_paced_total",
                "Updates of large resources that waited for their turn.",
            )
            .expect("a valid name"),
            anomalies: Labelled::new(&anomalies, &[], &ANOMALIES),
            change_to_ack: Histogram::with_opts(buckets).expect("a valid name"),
        };
        // A counter that appears with its first event has no rate then: what alerts look at is there from the start.
        for kind in TYPES {
            metrics.requests.with_label_values(&[kind, "nack"]);
        }
        ANOMALIES.iter().for_each(|what| metrics.anomalies.add(what, 0));
        metrics.enter(registry);
        metrics
    }

    fn enter(&self, registry: &Registry) {
        let counters = [self.responses.metric(), self.response_bytes.metric(), &self.requests];
        let streams =
            [&self.refusals, &self.stream_ends, self.stream_wakes.metric(), &self.large, self.anomalies.metric()];
        for counter in counters.into_iter().chain(streams) {
            registry.register(Box::new(counter.clone())).expect("each name is registered once");
        }
        for gauge in [&self.streams, &self.connections, &self.handshakes] {
            registry.register(Box::new(gauge.clone())).expect("each name is registered once");
        }
        registry.register(Box::new(self.accept_pauses.clone())).expect("each name is registered once");
        registry.register(Box::new(self.left_warming.clone())).expect("each name is registered once");
        registry.register(Box::new(self.paced.clone())).expect("each name is registered once");
        registry.register(Box::new(self.change_to_ack.clone())).expect("each name is registered once");
    }

    /// A connection has opened; it counts as open until the guard is dropped.
    pub fn connection_opened(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// A TLS handshake has begun; it counts as in progress until the guard is dropped.
    pub fn handshake_begun(&self) -> Open {
        self.handshakes.inc();
        Open(self.handshakes.clone())
    }

    /// No connection can be taken for a while; whether it is the first time.
    pub fn accepting_paused(&self) -> bool {
        self.accept_pauses.inc();
        self.accept_pauses.get() == 1
    }

    /// A stream has opened; it counts as open until the guard is dropped.
    pub fn stream_opened(&self) -> Open {
        self.streams.inc();
        Open(self.streams.clone())
    }

    /// A request or a response was larger than half its limit.
    pub fn message_was_large(&self, direction: &str) {
        self.large.with_label_values(&[direction]).inc();
    }

    /// A response of that type and size was handed to the connection.
    pub fn response_sent(&self, kind: &str, bytes: usize) {
        self.responses.add(kind, 1);
        self.response_bytes.add(kind, bytes as u64);
    }

    /// A request was understood as `outcome`: init, ack, nack, stale or change.
    pub fn request_received(&self, kind: &str, outcome: &str) {
        match TYPES.iter().position(|served| *served == kind) {
            Some(kind) => self.answers[kind].add(outcome, 1),
            None => self.requests.with_label_values(&[kind, outcome]).inc(),
        }
    }

    /// A stream was refused something it asked for and is ended for it.
    pub fn refused(&self, reason: &str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// A stream has ended.
    pub fn stream_ended(&self, reason: &str) {
        self.stream_ends.with_label_values(&[reason]).inc();
    }

    /// A stream's loop has something to do: request, snapshot, timer, writable, gone, aged or shutdown.
    pub fn stream_woke(&self, event: &str) {
        self.stream_wakes.add(event, 1);
    }

    /// A client turned out to have been left warming by an earlier stream.
    pub fn found_left_warming(&self) {
        self.left_warming.inc();
    }

    /// So many updates wait until the ones before are paid for.
    pub fn updates_waited(&self, count: u64) {
        self.paced.inc_by(count);
    }

    /// Something happened on a stream that should not: late_rejection, node_mismatch, clusters_by_name, missing_secret or overdue.
    pub fn anomaly(&self, what: &str, count: u64) {
        self.anomalies.add(what, count);
    }

    /// A client has acknowledged a change seen `age` ago.
    pub fn change_acknowledged(&self, age: Duration) {
        self.change_to_ack.observe(age.as_secs_f64());
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name")
}

/// Counts as open as long as it lives.
#[derive(Debug)]
pub struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
