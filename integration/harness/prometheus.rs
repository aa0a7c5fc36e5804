//! A real Prometheus: what it scrapes, the process, and questions to it.

use super::client::Client;
use super::metrics::Sample;
use super::spawner::{self, Process};
use super::{Failure, Outcome, deadline, tools};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// How long a start may take.
const START: Duration = Duration::from_secs(15);

/// Something that is scraped.
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// The path of its metrics.
    pub path: &'static str,
    /// The pod it is; its samples get that as a label, as they would by the discovery of pods.
    pub pod: String,
}

/// What an expression asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    /// The metric.
    pub name: String,
    /// Labels that it is chosen by.
    pub labels: Vec<String>,
}

/// A Prometheus; what it has stored goes with its folder.
pub struct Prometheus {
    address: SocketAddr,
    process: Process,
    client: Client,
}

impl Prometheus {
    /// Starts one that scrapes the targets four times a second, and waits until it has scraped each.
    pub async fn start(address: SocketAddr, targets: &[Target], folder: &Path) -> Outcome<Self> {
        let program = tools::prometheus()?;
        let config = folder.join("prometheus.json");
        fs::write(&config, serde_json::to_vec_pretty(&settings(targets))?)?; // JSON is YAML.
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", folder.join("prometheus").display()),
            format!("--web.listen-address={address}"),
            "--scrape.discovery-reload-interval=100ms".into(), // else it begins to scrape after five seconds
        ];
        let process = spawner::start("Prometheus", &program, &arguments, &folder.join("prometheus.log"))?;
        let mut prometheus = Self { address, process, client: Client::default() };
        let ready = prometheus.ready(targets.len()).await;
        ready.map_err(|failure| failure.with(&prometheus.process.tail()))?;
        Ok(prometheus)
    }

    async fn ready(&mut self, targets: usize) -> Outcome<()> {
        deadline::until("Prometheus has scraped every target", START, async || {
            if let Some(status) = self.process.status() {
                return Some(Err(Failure::new(format!("Prometheus ended: {status}"))));
            }
            let up = self.query("sum(up)").await.ok()?;
            (up.first()?.value == targets as f64).then_some(Ok(()))
        })
        .await?
    }

    /// What an expression that gives a vector gives now. A sample of an expression that drops the name has none.
    pub async fn query(&self, expression: &str) -> Outcome<Vec<Sample>> {
        let answer =
            self.client.get(self.address, &format!("/api/v1/query?query={}", escaped(expression)), &[]).await?;
        let read = serde_json::from_slice::<Value>(&answer.body)?;
        let result = read.pointer("/data/result").and_then(Value::as_array).filter(|_| read["status"] == "success");
        let samples = result.map(|result| result.iter().map(sample).collect());
        samples.flatten().ok_or_else(|| Failure::new(format!("{expression}: Prometheus answers {read}")))
    }

    /// What an expression asks for, as Prometheus understands it.
    pub async fn selectors(&self, expression: &str) -> Outcome<Vec<Selector>> {
        let path = format!("/api/v1/parse_query?query={}", escaped(expression));
        let answer = self.client.get(self.address, &path, &[]).await?;
        let read = serde_json::from_slice::<Value>(&answer.body)?;
        if read["status"] != "success" {
            return Err(Failure::new(format!("{expression}: Prometheus answers {read}")));
        }
        let mut found = Vec::new();
        select(&read["data"], &mut found);
        Ok(found)
    }

    /// The end of its log, for a failure's text.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}

fn settings(targets: &[Target]) -> Value {
    let jobs = targets.iter().map(|target| {
        let labelled = json!({"targets": [target.address.to_string()], "labels": {"pod": target.pod}});
        json!({"job_name": target.pod, "metrics_path": target.path, "static_configs": [labelled]})
    });
    let often = json!({"scrape_interval": "250ms", "scrape_timeout": "250ms"});
    json!({"global": often, "scrape_configs": jobs.collect::<Vec<_>>()})
}

/// Collects the selectors of a syntax tree.
fn select(tree: &Value, found: &mut Vec<Selector>) {
    if matches!(tree["type"].as_str(), Some("vectorSelector" | "matrixSelector")) {
        let all = tree["matchers"].as_array().into_iter().flatten();
        let labels = all.filter_map(|matcher| matcher["name"].as_str()).filter(|name| *name != "__name__");
        let labels = labels.map(str::to_owned).collect();
        found.push(Selector { name: tree["name"].as_str().unwrap_or_default().to_owned(), labels });
    }
    match tree {
        Value::Object(fields) => fields.values().for_each(|inner| select(inner, found)),
        Value::Array(items) => items.iter().for_each(|inner| select(inner, found)),
        _ => {}
    }
}

fn sample(result: &Value) -> Option<Sample> {
    let mut labels: BTreeMap<String, String> = serde_json::from_value(result.get("metric")?.clone()).ok()?;
    let name = labels.remove("__name__").unwrap_or_default();
    Some(Sample { name, labels, value: result.pointer("/value/1")?.as_str()?.parse().ok()? })
}

/// A text as a value in a URL's query.
fn escaped(text: &str) -> String {
    let letter = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(letter).collect()
}
