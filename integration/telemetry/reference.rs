//! The reference page of metrics against what is rendered once every event has happened, both ways.

use chancery::telemetry::Metrics;
use chancery::telemetry::publish::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PAGE: &str = "docs/reference/metrics.md";

/// By name: the type, and the labels as `a, b`.
type Families = BTreeMap<String, (String, String)>;

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}

fn page() -> String {
    fs::read_to_string(root().join(PAGE)).expect("the page is there")
}

/// A scrape after each event has happened once.
fn after_every_event() -> String {
    let metrics = Metrics::new();
    let (_connection, _stream) = (metrics.xds.connection_opened(), metrics.xds.stream_opened());
    let _handshake = metrics.xds.handshake_begun();
    metrics.xds.accepting_paused();
    metrics.xds.message_was_large("request");
    metrics.admission.waits().is_over();
    metrics.admission.admitted(1);
    metrics.memory.measured(1, 1, true);
    metrics.security.signed();
    metrics.security.signing_failed();
    metrics.security.token_reviewed("accepted");
    metrics.security.authority_is_broken(true);
    metrics.security.expires("server", 1);
    metrics.security.visitor_refused("no_credential");
    metrics.xds.response_sent("cds", 1);
    metrics.xds.request_received("cds", "init");
    metrics.xds.refused("no_node");
    metrics.xds.stream_ended("finished");
    metrics.xds.stream_woke("timer");
    metrics.xds.change_acknowledged(Duration::from_millis(1));
    metrics.publish.stepped(Step {
        seconds: 0.1,
        selected: 1,
        built: 1,
        posted: 1,
        kept_back: 1,
        faults: 1,
        losses: 1,
    });
    metrics.kubernetes.counted("services", 1, true);
    metrics.kubernetes.heard("services");
    metrics.kubernetes.relisted("services", "expired");
    metrics.kubernetes.failed("services", "silent");
    metrics.status.led(true);
    metrics.status.waited(1);
    metrics.status.wrote("written");
    metrics.status.event_sent("written");
    metrics.status.dropped(1);
    metrics.world.objects_counted("Pod", 1);
    metrics.world.problems_counted("error", 1);
    metrics.world.rejections_counted("lds", 1);
    metrics.world.readiness_seen(true);
    metrics.render()
}

fn rendered(text: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.insert(name.to_owned(), (kind.to_owned(), String::new()));
        } else if let Some((name, rest)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let pairs = rest.split('}').next().unwrap_or_default().split(',');
            let labels: BTreeSet<&str> = pairs.filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
            let labels: Vec<&str> = labels.into_iter().filter(|label| *label != "le").collect();
            if let Some((_, known)) = families.get_mut(name) {
                *known = labels.join(", ");
            }
        }
    }
    families
}

fn documented(page: &str) -> Families {
    let rows = page.lines().filter(|line| line.starts_with("| `chancery_"));
    let families = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels: BTreeSet<&str> = cells[3].split(", ").map(|label| label.trim_matches('`')).collect();
        let labels = Vec::from_iter(labels).join(", ");
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
    });
    families.collect()
}

/// Every metric name in the sources of telemetry.
fn written(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let text = fs::read_to_string(entry.expect("a readable entry").path()).expect("a source can be read");
        let quoted = text.split('"').filter(|part| part.starts_with("chancery_"));
        names.extend(quoted.map(str::to_owned));
    }
    names
}

#[test]
fn the_page_has_every_metric_with_type_and_labels() {
    let (documented, rendered) = (documented(&page()), rendered(&after_every_event()));
    let differ: Vec<_> = documented
        .iter()
        .chain(&rendered)
        .map(|(name, _)| name)
        .filter(|name| documented.get(*name) != rendered.get(*name))
        .map(|name| format!("{name}: the page has {:?}, a scrape {:?}", documented.get(name), rendered.get(name)))
        .collect();
    assert!(differ.is_empty(), "{PAGE}:\n{}", differ.join("\n"));
}

/// A metric nobody has counted on yet isn't rendered: each name in the sources must come from an event above.
#[test]
fn no_event_is_forgotten() {
    let rendered: BTreeSet<String> = rendered(&after_every_event()).into_keys().collect();
    assert_eq!(written(&root().join("src/telemetry")), rendered);
}

/// The control: another name, type or label is seen on either side.
#[test]
fn a_difference_is_seen() {
    let page = page();
    for (from, to) in [
        ("| `chancery_ready` |", "| `chancery_steady` |"),
        ("| `chancery_objects` | gauge |", "| `chancery_objects` | counter |"),
        ("| `type`, `outcome` |", "| `type` |"),
    ] {
        assert_ne!(documented(&page), documented(&page.replace(from, to)), "{from}");
    }
    let text = after_every_event();
    for (from, to) in [("chancery_ready", "chancery_steady"), ("outcome=", "result="), (" gauge\n", " counter\n")] {
        assert_ne!(rendered(&text), rendered(&text.replace(from, to)), "{from}");
    }
}
