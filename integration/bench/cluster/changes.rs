//! One endpoint after the other moves in a large cluster: how long it takes until a hundred proxies have it, and where that time
//! goes.

use super::super::figures::{Row, at};
use super::super::harness::chancery::Chancery;
use super::super::harness::{Failure, Outcome};
use super::super::parts::fleet::{self, Done};
use super::super::parts::proxy::Manner;
use super::super::parts::role::{Role, Style, now};
use super::super::parts::tally::{Goal, Report};
use super::super::parts::wire::Form;
use super::memory;
use super::objects::{NAMESPACES, PROXIES};
use chancery::snapshot::kind::Kind;
use http::Request;
use kube::Client;
use kube::core::params::WatchParams;
use kube::core::{DynamicObject, WatchEvent};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_stream::StreamExt;

/// How many endpoints move, and how far apart.
const TIMES: usize = 60;
const APART: Duration = Duration::from_millis(250);
/// How long everybody may take to have a first configuration, and one change to arrive.
const FIRST: f64 = 180.0;
const PATIENCE: f64 = 20.0;
/// What moves.
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/ns0/endpointslices";
const SLICE: &str = "service-0-0";

/// When something became of a change, in nanoseconds since it was asked for.
#[derive(Default)]
struct Steps {
    /// The API server has answered.
    answered: Vec<u64>,
    /// Somebody who watches that slice and does nothing else has heard of it.
    told: Vec<u64>,
    /// The first proxy has acknowledged it, and the last.
    first: Vec<u64>,
    last: Vec<u64>,
}

pub async fn measure(client: &Client, chancery: &Chancery) -> Outcome<Row> {
    let mut fleet: Role<fleet::Command> = Role::start(Style::Processes, "fleet", fleet::run);
    fleet.call::<Done>(&fleet::Command::Group { group: 0, form: Form::Delta, namespaces: NAMESPACES, way: None });
    let (port, began) = (chancery.xds.port(), now());
    let connect = fleet::Command::Connect { group: 0, port, count: PROXIES, manner: Manner::Prompt };
    fleet.call::<Done>(&connect);
    let goal = Goal::Configured(PROXIES);
    let report: Report = fleet.call(&fleet::Command::Await { group: 0, goal, seconds: FIRST });
    if !report.met {
        return Err(Failure::new(format!("{} of {PROXIES} have a first configuration", report.configured.len())));
    }
    let configured = report.configured.last().map_or(0, |last| last - began);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = chancery.api().metrics().await?;
    let steps = moves(client, &mut fleet).await?;
    let after = chancery.api().metrics().await?;
    let grown = |name: &str| after.sum(name, &[]) - before.sum(name, &[]);
    let computed = grown("chancery_publish_seconds_sum") / grown("chancery_publish_seconds_count").max(1.0);
    let pid = chancery.pid().ok_or_else(|| Failure::new("chancery isn't running"))?;
    let row = Row::new("cluster change", format!("an endpoint moves, N={PROXIES}"));
    let row = [("API server's answer", &steps.answered), ("a bare watcher hears", &steps.told)]
        .into_iter()
        .chain([("first ACK", &steps.first), ("last ACK", &steps.last)])
        .fold(row, |row, (what, times)| {
            row.also(format!("{what}, p50"), at(times, 0.5), "ms").also(format!("{what}, p99"), at(times, 0.99), "ms")
        });
    Ok(row.also("of which computing", computed * 1e3, "ms").also("all configured", configured as f64 / 1e6, "ms").also(
        "memory",
        memory(pid, "VmRSS:")?,
        "MB",
    ))
}

async fn moves(client: &Client, fleet: &mut Role<fleet::Command>) -> Outcome<Steps> {
    let failed = |error: kube::Error| Failure::new(error.to_string());
    let params = WatchParams::default().fields(&format!("metadata.name={SLICE}")).timeout(290);
    let watch =
        kube::core::Request::new(SLICES).watch(&params, "0").map_err(|error| Failure::new(error.to_string()))?;
    let events = client.request_events::<DynamicObject>(watch).await.map_err(failed)?;
    let mut events = Box::pin(events);
    let mut steps = Steps::default();
    for time in 0..TIMES {
        fleet.call::<Done>(&fleet::Command::Reset { group: 0, keep: false, log: false });
        let address = format!("10.98.{}.{}", time / 250, time % 250 + 1);
        let began = now();
        let version = patch(client, &format!("{SLICES}/{SLICE}"), &slice(&address)).await?;
        steps.answered.push(now() - began);
        // The watcher's own time is noted when it is looked at, which is after the answer at the earliest.
        while let Some(event) = events.next().await {
            let Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
            if object.metadata.resource_version.as_deref() == Some(&*version) {
                break;
            }
        }
        steps.told.push(now() - began);
        let goal = Goal::Acks(Kind::Endpoint as usize, PROXIES);
        let report: Report = fleet.call(&fleet::Command::Await { group: 0, goal, seconds: PATIENCE });
        let acks = &report.acks[Kind::Endpoint as usize];
        let (Some(first), Some(last), true) = (acks.first(), acks.last(), report.met) else {
            return Err(Failure::new(format!("{} of {PROXIES} have acknowledged a change", acks.len())));
        };
        steps.first.push(first - began);
        steps.last.push(last - began);
        tokio::time::sleep(APART).await;
    }
    let Steps { answered, told, first, last } = &mut steps;
    [answered, told, first, last].into_iter().for_each(|times| times.sort_unstable());
    Ok(steps)
}

/// The slice with another first endpoint.
fn slice(address: &str) -> Value {
    json!({"endpoints": [{"addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false}}]})
}

/// Changes an object; returns the state it is in then.
pub async fn patch(client: &Client, path: &str, change: &Value) -> Outcome<String> {
    let request = Request::patch(path).header("content-type", "application/merge-patch+json");
    let request = request.body(serde_json::to_vec(change)?)?;
    let stored: DynamicObject = client.request(request).await.map_err(|error| Failure::new(error.to_string()))?;
    Ok(stored.metadata.resource_version.unwrap_or_default())
}
