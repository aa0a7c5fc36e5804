//! What is installed to have chancery watched: the alerts and the dashboards of the chart, every expression in them, and whether
//! a Prometheus that scrapes what they are about understands and answers them.

use super::metrics::Sample;
use super::prometheus::{Prometheus, Selector};
use super::{Failure, Outcome, deadline, tools};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How long an expression may give nothing: a rate needs two scrapes.
const SOON: Duration = Duration::from_secs(15);
/// Labels that a target has from how it is scraped.
const OF_TARGETS: [&str; 3] = ["namespace", "job", "pod"];
/// What Grafana puts in place of its variables, when all is chosen.
const CHOSEN: [(&str, &str); 5] =
    [("$namespace", ".*"), ("$job", ".*"), ("$pod", ".*"), ("$host", ".*"), ("$__rate_interval", "30s")];

/// An expression, as Prometheus is asked it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expression {
    /// The alert, or the dashboard and what of it.
    pub place: String,
    pub text: String,
    /// The labels that each line is named by; an alert has none.
    pub named: Vec<String>,
    /// Whether it always has an answer where what it asks of is there.
    pub shown: bool,
}

/// Where they are.
fn folder() -> PathBuf {
    tools::root().join("manifests/helm/chancery/monitoring")
}

/// The rules, as Prometheus reads them.
pub fn rules() -> Outcome<Value> {
    let object: Value = serde_yaml_ng::from_str(&fs::read_to_string(folder().join("rules.yaml"))?)?;
    Ok(object["spec"].clone())
}

/// The dashboards by the names of their files.
pub fn dashboards() -> Outcome<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder().join("dashboards"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        found.insert(name, serde_json::from_str(&fs::read_to_string(path)?)?);
    }
    Ok(found)
}

/// Every expression of the alerts and of the dashboards.
pub fn expressions() -> Outcome<Vec<Expression>> {
    let mut found = Vec::new();
    for rule in rules()?["groups"].as_array().into_iter().flatten().flat_map(|group| list(group, "rules")) {
        let (place, text) = (text(rule, "alert")?, text(rule, "expr")?);
        found.push(Expression { place, text, named: Vec::new(), shown: false });
    }
    for (name, board) in &dashboards()? {
        for variable in list(&board["templating"], "list").filter(|variable| variable["type"] == "query") {
            let query = text(variable, "query")?;
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "));
            let (query, label) = inner.ok_or_else(|| Failure::new(format!("{name}: {query}")))?;
            let place = format!("{name}: the variable {}", text(variable, "name")?);
            let named = Vec::from_iter((!OF_TARGETS.contains(&label)).then(|| label.to_owned()));
            found.push(Expression { place, text: chosen(query)?, named, shown: true });
        }
        for panel in list(board, "panels") {
            for target in list(panel, "targets") {
                let place = format!("{name}: {}", text(panel, "title")?);
                let (query, legend) = (chosen(&text(target, "expr")?)?, text(target, "legendFormat")?);
                let named = legend.split("{{").skip(1).filter_map(|part| part.split("}}").next());
                found.push(Expression { place, text: query, named: named.map(str::to_owned).collect(), shown: true });
            }
        }
    }
    Ok(found)
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

fn text(value: &Value, name: &str) -> Outcome<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| Failure::new(format!("no {name} in {value}")))
}

/// An expression with a choice in place of each variable.
fn chosen(text: &str) -> Outcome<String> {
    let text = CHOSEN.iter().fold(text.to_owned(), |text, (variable, choice)| text.replace(variable, choice));
    if text.contains('$') { Err(Failure::new(format!("an unknown variable: {text}"))) } else { Ok(text) }
}

/// The labels of each metric of the reference, by its name.
fn documented() -> Outcome<BTreeMap<String, Vec<String>>> {
    let page = fs::read_to_string(tools::root().join("docs/reference/metrics.md"))?;
    let rows = page.lines().filter(|line| line.starts_with("| `chancery_"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").map(|label| label.trim_matches('`').to_owned());
        let (name, labels) = (cells[1].trim_matches('`'), labels.collect::<Vec<_>>());
        match cells[2] {
            "histogram" => {
                ["bucket", "sum", "count"].map(|part| (format!("{name}_{part}"), vec!["le".into()])).to_vec()
            }
            _ => vec![(name.to_owned(), labels)],
        }
    };
    Ok(rows.flat_map(row).collect())
}

/// Whether what a selector asks for is on the page of metrics.
fn is_documented(selector: &Selector, documented: &BTreeMap<String, Vec<String>>) -> Outcome<()> {
    let Some(labels) = documented.get(&selector.name) else {
        return Err(Failure::new(format!("no metric is called {}", selector.name)));
    };
    let strange = selector.labels.iter().find(|label| !labels.contains(label) && !OF_TARGETS.contains(&&***label));
    match strange {
        Some(label) => Err(Failure::new(format!("{} has no label {label}", selector.name))),
        None => Ok(()),
    }
}

/// Puts every expression to a Prometheus: it must understand each, and answer those that ask only for what it has scraped, with
/// the labels that lines are named by. Returns the metrics that it has not scraped.
pub async fn answered(prometheus: &Prometheus, expressions: &[Expression]) -> Outcome<BTreeSet<String>> {
    let (documented, mut unknown) = (documented()?, BTreeSet::new());
    for expression in expressions {
        let missing = missing(prometheus, expression, &documented).await;
        let missing = missing.map_err(|failure| Failure::new(&expression.place).with(&failure.0))?;
        if expression.shown && missing.is_empty() {
            shows(prometheus, expression).await?;
        } else {
            prometheus.query(&expression.text).await?;
        }
        unknown.extend(missing);
    }
    Ok(unknown)
}

/// The metrics of an expression that were not scraped.
async fn missing(
    prometheus: &Prometheus,
    expression: &Expression,
    documented: &BTreeMap<String, Vec<String>>,
) -> Outcome<Vec<String>> {
    let selectors = prometheus.selectors(&expression.text).await?;
    if selectors.is_empty() {
        return Err(Failure::new(format!("it asks for nothing: {}", expression.text)));
    }
    let mut missing = Vec::new();
    for selector in selectors {
        if !selector.name.starts_with("envoy_") {
            is_documented(&selector, documented)?;
        }
        if prometheus.query(&format!("count({})", selector.name)).await?.is_empty() {
            missing.push(selector.name);
        }
    }
    Ok(missing)
}

async fn shows(prometheus: &Prometheus, expression: &Expression) -> Outcome<()> {
    // What compares may have nothing to say.
    let compares = [" > ", " < ", " == "].iter().any(|sign| expression.text.contains(sign));
    let named = |rows: &[Sample]| {
        let has = |label: &String| rows.iter().any(|row| row.labels.get(label).is_some_and(|value| !value.is_empty()));
        expression.named.iter().all(has)
    };
    let what = format!("{} is answered: {}", expression.place, expression.text);
    deadline::until(&what, SOON, async || {
        let rows = prometheus.query(&expression.text).await.ok()?;
        (compares || !rows.is_empty() && named(&rows)).then_some(())
    })
    .await
}

/// The control: each kind of mistake is seen by a Prometheus that answers the expression of `like`.
pub async fn mistakes_are_seen(prometheus: &Prometheus, like: &str) -> Outcome<()> {
    let right = format!("sum by (type) ({like}{{namespace=~\".*\"}})");
    for (text, named, expected) in [
        (right.replace(like, "chancery_nothing"), "type", "no metric is called"),
        (right.replace("namespace", "colour"), "type", "has no label"),
        (right.replace("sum by", "sum of"), "type", "parse error"),
        (right.clone(), "kind", "is answered"),
        (right.replace("=~", "!~"), "type", "is answered"),
    ] {
        let wrong = Expression { place: "a mistake".into(), text, named: vec![named.into()], shown: true };
        match answered(prometheus, std::slice::from_ref(&wrong)).await {
            Err(failure) if failure.0.contains(expected) => {}
            other => return Err(Failure::new(format!("the control: {wrong:?} is taken: {other:?}"))),
        }
    }
    let right = Expression { place: String::new(), text: right, named: vec!["type".into()], shown: true };
    answered(prometheus, &[right]).await.map(drop)
}
