//! Readiness and metrics, as an operator sees them.

#[path = "telemetry/reference.rs"]
mod reference;

use chancery::snapshot::kind::Kind;
use chancery::telemetry::Metrics;
use chancery::telemetry::logging::{Format, LoggingError, init};
use chancery::telemetry::readiness::Readiness;
use chancery::telemetry::xds::TYPES;
use std::time::Duration;

#[test]
fn readiness_waits_for_every_token() {
    let readiness = Readiness::default();
    assert!(readiness.is_ready());
    let tokens = (readiness.block("b"), readiness.block("a"), readiness.block("a"));
    assert_eq!(readiness.pending(), ["a", "b"]);
    drop(tokens.0);
    drop(tokens.1);
    assert_eq!(readiness.pending(), ["a"], "one of two tokens of that name is left");
    drop(tokens.2);
    assert!(readiness.is_ready());
}

#[test]
fn events_are_counted_by_name() {
    let metrics = Metrics::new();
    let stream = metrics.xds.stream_opened();
    metrics.xds.response_sent("cds", 70);
    metrics.xds.response_sent("cds", 30);
    metrics.xds.request_received("eds", "nack");
    metrics.xds.refused("no_node");
    metrics.xds.stream_ended("shutdown");
    metrics.xds.change_acknowledged(Duration::from_millis(3));
    let text = metrics.render();
    for line in [
        "chancery_xds_streams 1",
        r#"chancery_xds_responses_total{type="cds"} 2"#,
        r#"chancery_xds_response_bytes_total{type="cds"} 100"#,
        r#"chancery_xds_requests_total{outcome="nack",type="eds"} 1"#,
        r#"chancery_xds_refusals_total{reason="no_node"} 1"#,
        r#"chancery_xds_stream_ends_total{reason="shutdown"} 1"#,
        r#"chancery_change_to_ack_seconds_bucket{le="0.002"} 0"#,
        r#"chancery_change_to_ack_seconds_bucket{le="0.005"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing from:\n{text}");
    }
    drop(stream);
    assert!(metrics.render().lines().any(|line| line == "chancery_xds_streams 0"));
}

/// Or else the first of them would be no rise.
#[test]
fn nacks_are_counted_from_none() {
    let (metrics, none) = (Metrics::new(), r#"chancery_xds_requests_total{outcome="nack",type="#);
    let all: Vec<String> = metrics.render().lines().filter(|line| line.starts_with(none)).map(Into::into).collect();
    assert_eq!(all.len(), Kind::ALL.len());
    for kind in Kind::ALL {
        assert!(TYPES.contains(&kind.short()) && all.contains(&format!("{none}\"{kind}\"}} 0")), "{kind}: {all:?}");
    }
}

#[test]
fn logging_is_set_up_once_and_checks_its_level() {
    assert!(matches!(init(Format::Text, "no=such=level"), Err(LoggingError::Level(_))));
    init(Format::Json, "off").expect("the first time");
    assert!(matches!(init(Format::Text, "off"), Err(LoggingError::Twice(_))));
    assert_eq!("json".parse(), Ok(Format::Json));
    assert!("xml".parse::<Format>().is_err());
}
