//! The admin port: probes, metrics, and what chancery knows of proxies and problems, as JSON.
//!
//! Reads handles that others keep; changes nothing. [`guard`] says who may see what: each page of the table below is
//! behind it, but for those of which the table says that anybody may see them.

pub mod guard;
mod kinds;
mod objects;
pub mod port;
mod problems;
mod proxies;
mod status;

use crate::model::problem::{Problem, Severity};
use crate::model::provenance::ObjectKind;
use crate::model::reach::Standing;
use crate::model::world::State as WorldState;
use crate::peers::Asker;
use crate::snapshot::kind::Kind;
use crate::source::kubernetes::news::Kinds;
use crate::source::report::Report;
use crate::status::account::{Leadership, Writing};
use crate::telemetry::Metrics;
use crate::telemetry::readiness::Readiness;
use crate::xds::registry::Registry;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Json, Router};
use guard::{Guard, Shows, Viewer};
use objects::Wanted;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The shape of what `/api/v1/…` answers; changes with it.
const API_VERSION: &str = "chancery/v1";

/// What the admin port shows.
#[derive(Clone)]
pub struct AdminContext {
    /// Who may see what.
    pub guard: Guard,
    /// What is still waited for.
    pub readiness: Readiness,
    /// Every counter.
    pub metrics: Metrics,
    /// Who is connected.
    pub registry: Registry,
    /// What the source says of its files.
    pub reports: watch::Receiver<Arc<Report>>,
    /// What translation says of objects.
    pub problems: watch::Receiver<Arc<BTreeSet<Problem>>>,
    /// How it stands with each kind that is watched in a cluster; none of a folder.
    pub kinds: watch::Receiver<Kinds>,
    /// How proxies take their configuration: what all replicas know.
    pub standing: watch::Receiver<Arc<Standing>>,
    /// The other replicas, where there is talk among them.
    pub others: Option<Asker>,
    /// Who writes status.
    pub leadership: watch::Receiver<Leadership>,
    /// How that goes.
    pub writing: watch::Receiver<Writing>,
    /// The World.
    pub states: watch::Receiver<Option<WorldState>>,
}

/// A page.
pub struct Page {
    /// Where it is.
    pub path: &'static str,
    /// Who may see it.
    pub shows: Shows,
    /// What is on it.
    about: &'static str,
    answers: fn() -> MethodRouter<AdminContext>,
}

/// Every page there is: nothing else is answered.
pub const PAGES: [Page; 9] = [
    page("/", Shows::Process, "what there is", || get(async || index())),
    page("/livez", Shows::Process, "is the process alive", || get(async || "ok\n")),
    page("/readyz", Shows::Process, "has everything been read once", || get(readyz)),
    page("/metrics", Shows::Process, "Prometheus metrics", || get(metrics)),
    page("/api/v1/proxies", Shows::Namespaces, "who is connected, and how far each has come", || get(proxies)),
    page("/api/v1/problems", Shows::Namespaces, "what is wrong in the configuration", || get(problems)),
    page(
        "/api/v1/objects",
        Shows::Namespaces,
        "at how many proxies each policy is in effect (?kind=, namespace=, name=)",
        || get(objects),
    ),
    page("/api/v1/kinds", Shows::Cluster, "what is watched in the cluster, and how that goes", || get(kinds)),
    page("/api/v1/status", Shows::Cluster, "who writes status and events, and how that goes", || get(status)),
];

const fn page(
    path: &'static str,
    shows: Shows,
    about: &'static str,
    answers: fn() -> MethodRouter<AdminContext>,
) -> Page {
    Page { path, shows, about, answers }
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    context: AdminContext,
    shutdown: CancellationToken,
) -> Result<(), std::io::Error> {
    port::serve(listener, router(context), shutdown).await
}

fn router(context: AdminContext) -> Router {
    let open = |router: Router<AdminContext>, Page { path, shows, answers, .. }: &Page| match shows {
        Shows::Process => router.route(path, answers()),
        Shows::Namespaces | Shows::Cluster => {
            let asked = from_fn_with_state((context.clone(), *shows), guard::ask);
            router.route(path, answers().layer(asked))
        }
    };
    PAGES.iter().fold(Router::new(), open).with_state(context)
}

fn index() -> String {
    let mut text = "chancery\n\n".to_owned();
    for Page { path, about, .. } in &PAGES[1..] {
        writeln!(text, "{path:<18} {about}").expect("a text takes everything");
    }
    text
}

async fn readyz(State(context): State<AdminContext>) -> Response {
    let pending = context.readiness.pending();
    if pending.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", pending.join(", "))).into_response()
}

async fn metrics(State(context): State<AdminContext>) -> Response {
    let world = &context.metrics.world;
    let state = context.states.borrow().clone();
    for kind in ObjectKind::ALL {
        let count = state.as_ref().map_or(0, |state| state.world.count(kind));
        world.objects_counted(kind.as_str(), count);
    }
    let found = problems::collect(&context);
    for severity in [Severity::Error, Severity::Warning] {
        let count = found.iter().filter(|finding| finding.severity() == severity).count();
        world.problems_counted(&severity.to_string(), count);
    }
    let rejected = context.registry.rejections();
    Kind::ALL.iter().zip(rejected.counts).for_each(|(kind, count)| world.rejections_counted(kind.short(), count));
    world.readiness_seen(context.readiness.is_ready());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], context.metrics.render()).into_response()
}

/// The proxies that are connected here, as `/api/v1/proxies` shows them.
pub fn connected(registry: &Registry) -> Vec<Value> {
    registry.proxies().iter().map(|proxy| proxies::describe(proxy)).collect()
}

async fn proxies(State(context): State<AdminContext>, Extension(viewer): Extension<Viewer>) -> Json<Value> {
    let mut items = connected(&context.registry);
    let others = match &context.others {
        Some(others) => others.proxies().await,
        None => BTreeMap::new(),
    };
    let known = context.others.as_ref().is_none_or(Asker::is_complete);
    let partial = !known || others.values().any(Option::is_none);
    for (replica, proxies) in others {
        let of_replica = |mut proxy: Value| {
            proxy["replica"] = replica.as_str().into();
            proxy
        };
        items.extend(proxies.into_iter().flatten().map(of_replica));
    }
    items.retain(|proxy| viewer.sees(proxy["namespace"].as_str().unwrap_or_default()));
    Json(json!({"apiVersion": API_VERSION, "partial": partial, "items": items}))
}

async fn problems(State(context): State<AdminContext>, Extension(viewer): Extension<Viewer>) -> Json<Value> {
    let findings = problems::collect(&context);
    let seen = findings.iter().filter(|finding| viewer.sees(&finding.subject.namespace));
    let items: Vec<Value> = seen.map(problems::describe).collect();
    let partial = context.standing.borrow().reaches.partial;
    Json(json!({"apiVersion": API_VERSION, "partial": partial, "items": items}))
}

async fn objects(
    State(context): State<AdminContext>,
    Extension(viewer): Extension<Viewer>,
    Query(wanted): Query<Wanted>,
) -> Json<Value> {
    let mut reaches = context.standing.borrow().reaches.clone();
    reaches.objects.retain(|key, _| viewer.sees(key.namespace.as_str()));
    let items = objects::describe(&reaches, &wanted, &problems::collect(&context));
    let from_cluster = !context.kinds.borrow().is_empty();
    Json(json!({"apiVersion": API_VERSION, "fromCluster": from_cluster, "partial": reaches.partial, "items": items}))
}

async fn kinds(State(context): State<AdminContext>) -> Json<Value> {
    list(context.kinds.borrow().iter().map(kinds::describe).collect())
}

async fn status(State(context): State<AdminContext>) -> Json<Value> {
    list(vec![status::describe(&context.leadership.borrow(), &context.writing.borrow())])
}

fn list(items: Vec<Value>) -> Json<Value> {
    Json(json!({"apiVersion": API_VERSION, "items": items}))
}
