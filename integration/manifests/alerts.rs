//! The alerts, tried by promtool: each fires because of the series that `alerts.yaml` says, with these words, and not because of
//! others; and the page about them has each.

use crate::harness::{Failure, Outcome, monitoring, spawner, tools};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const PAGE: &str = "docs/reference/alerts.md";

/// What is expected of an alert.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    alert: String,
    /// The time at which it is asked for.
    at: String,
    fires: BTreeMap<String, String>,
    quiet: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    summary: String,
}

fn cases() -> Outcome<Vec<Case>> {
    Ok(serde_yaml_ng::from_str(&fs::read_to_string(tools::root().join("integration/manifests/alerts.yaml"))?)?)
}

/// The alerts, each with its severity.
fn severities(rules: &Value) -> BTreeMap<String, String> {
    let all = rules["groups"].as_array().into_iter().flatten().filter_map(|group| group["rules"].as_array()).flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.map(|rule| (text(&rule["alert"]), text(&rule["labels"]["severity"]))).collect()
}

/// Both tests of a case, as promtool has them.
fn tests(case: &Case, severity: &str) -> [Value; 2] {
    let mut labels = case.labels.clone();
    labels.insert("severity".to_owned(), severity.to_owned());
    let fired = json!([{"exp_labels": labels, "exp_annotations": {"summary": case.summary}}]);
    [(&case.fires, fired), (&case.quiet, json!([]))].map(|(series, expected)| {
        let scraped = |(series, values): (&String, &String)| {
            let series = series.replace('{', "{namespace=\"mesh\",job=\"chancery\",");
            json!({"series": series, "values": values})
        };
        let asked = json!([{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}]);
        json!({"interval": "1m", "input_series": series.iter().map(scraped).collect::<Vec<_>>(), "alert_rule_test": asked})
    })
}

/// What promtool says to cases; nothing if it finds them right.
fn tried(rules: &Value, cases: &[Case]) -> Outcome<Option<String>> {
    let (folder, severities, mut rules) = (tempfile::tempdir()?, severities(rules), rules.clone());
    // What is to be done is no template of anything: the summaries are compared.
    let groups = rules["groups"].as_array_mut().into_iter().flatten();
    let each = groups.filter_map(|group| group["rules"].as_array_mut()).flatten();
    each.filter_map(|rule| rule["annotations"].as_object_mut()).for_each(|texts| _ = texts.remove("description"));
    fs::write(folder.path().join("rules.json"), rules.to_string())?;
    let severity = |case: &Case| severities.get(&case.alert).cloned().unwrap_or_default();
    let all: Vec<Value> = cases.iter().flat_map(|case| tests(case, &severity(case))).collect();
    let file = folder.path().join("tests.json");
    fs::write(&file, json!({"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": all}).to_string())?;
    let arguments = ["test", "rules", &file.to_string_lossy()];
    Ok(spawner::output(&tools::promtool()?, &arguments).err().map(|failure| failure.0))
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() -> Outcome<()> {
    let (rules, cases) = (monitoring::rules()?, cases()?);
    let tried_ones: Vec<&String> = cases.iter().map(|case| &case.alert).collect();
    let severities = severities(&rules);
    let mut named = tried_ones.clone();
    named.sort();
    assert_eq!(named, severities.keys().collect::<Vec<_>>(), "each has a case");
    assert!(severities.values().all(|severity| ["page", "ticket"].contains(&severity.as_str())), "{severities:?}");
    assert_eq!(tried(&rules, &cases)?, None);
    Ok(())
}

/// The control, for every alert: the other series, and another text, are seen.
#[test]
fn an_alert_that_does_otherwise_is_seen() -> Outcome<()> {
    let (rules, cases) = (monitoring::rules()?, cases()?);
    for case in &cases {
        let swapped = Case { fires: case.quiet.clone(), quiet: case.fires.clone(), ..case.clone() };
        let said =
            tried(&rules, &[swapped])?.ok_or_else(|| Failure::new(format!("{}: nothing is wrong", case.alert)))?;
        // Neither of both is right.
        assert!(said.matches(&format!("alertname: {}", case.alert)).count() >= 2, "{said}");
    }
    let other = Case { summary: "Nothing.".into(), ..cases[0].clone() };
    assert!(tried(&rules, &[other])?.is_some());
    Ok(())
}

/// The rows of the page: each alert with its severity.
fn documented(page: &str) -> BTreeMap<String, String> {
    let rows = page.lines().filter(|line| line.starts_with("| `Chancery"));
    let cell = |line: &str, at: usize| line.split('|').nth(at).unwrap_or_default().trim().trim_matches('`').to_owned();
    rows.map(|line| (cell(line, 1), cell(line, 2))).collect()
}

#[test]
fn the_page_has_each_alert() -> Outcome<()> {
    let (page, severities) = (fs::read_to_string(tools::root().join(PAGE))?, severities(&monitoring::rules()?));
    assert_eq!(documented(&page), severities);
    assert_ne!(documented(&page.replace("`ChanceryLosses`", "`ChanceryLoss`")), severities, "the control");
    Ok(())
}

/// No two panels of a dashboard are in one place, each is described, and is asked of the data source that is chosen.
fn faults(board: &Value) -> Vec<String> {
    let (mut faults, mut taken) = (Vec::new(), BTreeMap::new());
    for panel in board["panels"].as_array().into_iter().flatten() {
        let title = panel["title"].as_str().unwrap_or_default();
        let number = |name: &str| panel["gridPos"][name].as_u64().unwrap_or(99);
        for cell in (number("x")..number("x") + number("w")).flat_map(|x| (0..number("h")).map(move |y| (x, y))) {
            let (x, y) = (cell.0, cell.1 + number("y"));
            if x >= 24 || taken.insert((x, y), title).is_some() {
                faults.push(format!("{title} is where something is"));
                break;
            }
        }
        if panel["type"] != "row" && panel["description"].as_str().is_none_or(str::is_empty) {
            faults.push(format!("{title} is not described"));
        }
        let sources = panel["targets"].as_array().into_iter().flatten().map(|target| &target["datasource"]["uid"]);
        if sources.chain(panel.get("datasource").map(|source| &source["uid"])).any(|uid| uid != "${datasource}") {
            faults.push(format!("{title} asks another"));
        }
    }
    faults
}

#[test]
fn dashboards_have_no_fault() -> Outcome<()> {
    let (boards, mut ids) = (monitoring::dashboards()?, Vec::new());
    for (name, board) in &boards {
        assert_eq!(faults(board), Vec::<String>::new(), "{name}");
        ids.push(board["uid"].to_string());
        let mut wrong = board.clone();
        let panel = wrong["panels"].as_array_mut().and_then(|panels| panels.last_mut());
        let panel = panel.ok_or_else(|| Failure::new(format!("{name} is empty")))?;
        panel["gridPos"]["y"] = 0.into();
        panel["description"] = "".into();
        panel["datasource"]["uid"] = "another".into();
        assert_eq!(faults(&wrong).len(), 3, "the control: {:?}", faults(&wrong));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), boards.len(), "{ids:?}");
    Ok(())
}
