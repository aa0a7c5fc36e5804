//! One row for each field that Istio documents: the table must have it, with the state a reader of the row expects, and a
//! manifest with it must get the answer of that state.

use crate::{findings, kind, parsed};
use chancery::source::parse::fields::{Field, Row, Shape, State, rows};
use chancery::source::parse::settings;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `Kind path state`, one a line, generated from the protocol buffers of Istio's API and reviewed; see its first lines.
const DOCUMENTED: &str = include_str!("istio-fields.txt");

fn documented() -> BTreeMap<(&'static str, &'static str), &'static str> {
    let lines = DOCUMENTED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [kind, path, state] => ((kind, path), state),
            _ => panic!("not a row: {line}"),
        })
        .collect()
}

fn word(state: State) -> &'static str {
    match state {
        State::Done => "done",
        State::Silent => "silent",
        State::NoEffect => "no-effect",
        State::Refused => "refused",
    }
}

const TABLES: [&str; 5] = ["DestinationRule", "VirtualService", "Sidecar", "PeerAuthentication", "MeshConfig"];

#[test]
fn the_tables_hold_exactly_the_documented_fields() {
    let mut ours = BTreeMap::new();
    let rows: Vec<_> = TABLES.into_iter().map(|name| (name, rows(kind(name)))).collect();
    for (name, rows) in &rows {
        for row in rows {
            assert_eq!(
                ours.insert((*name, row.path.as_str()), word(row.state)),
                None,
                "{name} {} is there twice",
                row.path
            );
        }
    }
    let documented = documented();
    let differ: Vec<_> = documented
        .keys()
        .chain(ours.keys())
        .filter(|key| documented.get(*key) != ours.get(*key))
        .map(|key| format!("{key:?}: documented {:?}, ours {:?}", documented.get(key), ours.get(key)))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(documented.len() > 300, "the list is cut");
}

/// A value of that shape that asks for something.
fn sample(field: &Field, shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!("text"),
        Shape::Duration => json!("5s"),
        Shape::Flag => json!(true),
        Shape::Whole | Shape::Number | Shape::Any => json!(5),
        Shape::Choice(choices) => {
            let asks = |choice: &&&str| !field.fine.contains(&&*json!(choice).to_string());
            json!(choices.iter().rev().find(asks))
        }
        Shape::Object(fields) => {
            let done = fields.iter().find(|field| field.state == State::Done);
            done.map_or(json!({}), |field| json!({field.name: sample(field, &field.shape)}))
        }
        Shape::List(inner) => json!([sample(field, inner)]),
        Shape::Map(inner) => json!({"key": sample(field, inner)}),
    }
}

/// `spec` with just the value at `path`, around which lists and maps have one element.
fn around(path: &str, value: Value) -> Value {
    let mut value = value;
    for step in path.trim_start_matches("spec.").split('.').rev() {
        let name = step.trim_end_matches("[]").trim_end_matches("{}");
        value = match &step[name.len()..] {
            "" => value,
            "[]" => json!([value]),
            "{}" => json!({"key": value}),
            other => panic!("{other}"),
        };
        value = json!({name: value});
    }
    value
}

fn found(kind: &str, spec: &Value) -> Vec<String> {
    if kind == "MeshConfig" {
        return findings(settings(spec)).0;
    }
    let group = if kind == "PeerAuthentication" { "security" } else { "networking" };
    let version = format!("{group}.istio.io/v1");
    let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    parsed(&object.to_string()).0
}

#[test]
fn each_field_gets_the_answer_of_its_state() {
    for name in TABLES {
        for row in rows(kind(name)) {
            let leaf = row.path.rsplit('.').next().expect("a path has a last step");
            let value = sample(row.field, &row.field.shape);
            let found = found(name, &around(&row.path, value));
            let says = |words: &str| found.iter().any(|line| line.contains(words));
            assert!(!says("unknown field"), "{name} {}: {found:#?}", row.path);
            assert!(!says("is expected"), "{name} {}: {found:#?}", row.path);
            let (refused, no_effect) =
                (says("not supported yet, so the object is not applied"), says("so it has no effect"));
            match row.state {
                // What is done may hold what isn't; the sample leaves that out.
                State::Done | State::Silent => {
                    assert!(!refused && !no_effect, "{name} {} {leaf}: {found:#?}", row.path)
                }
                State::NoEffect => assert!(no_effect && !refused, "{name} {}: {found:#?}", row.path),
                State::Refused => assert!(refused, "{name} {}: {found:#?}", row.path),
            }
        }
    }
}

/// A map of fields says something by being there, unless the table knows better: `retries: {}` is no retries at all.
#[test]
fn a_field_with_nothing_in_it_gets_the_answer_of_its_state() {
    let mut seen = Vec::new();
    for name in TABLES {
        let rows = rows(kind(name));
        for row in rows.iter().filter(|row| row.state != State::Done && matches!(row.field.shape, Shape::Object(_))) {
            if !done_around(&rows, &row.path) {
                continue;
            }
            let found = found(name, &around(&row.path, json!({})));
            let says = |words: &str| found.iter().any(|line| line.contains(words));
            let said = [says("so the object is not applied"), says("so it has no effect")];
            let meant = !row.field.fine.contains(&"{}");
            let expected = [State::Refused, State::NoEffect].map(|state| meant && row.state == state);
            assert_eq!(said, expected, "{name} {}: {found:#?}", row.path);
            seen.push(row.path.clone());
        }
    }
    for path in ["spec.http[].directResponse", "spec.trafficPolicy.loadBalancer.warmup", "tcpKeepalive"] {
        assert!(seen.iter().any(|seen| seen == path), "{seen:?}");
    }
}

#[test]
fn a_field_nobody_documents_is_an_error_wherever_it_stands() {
    for name in TABLES {
        for row in rows(kind(name)) {
            if let Shape::Object(_) = row.field.shape {
                let found = found(name, &around(&row.path, json!({"chancery": 1})));
                let says = |line: &String| line.starts_with("error: ") && line.ends_with("chancery: unknown field");
                assert!(found.iter().any(says), "{name} {}: {found:#?}", row.path);
            }
        }
    }
}

#[test]
fn every_mistyped_field_is_named() {
    for name in TABLES {
        for row in rows(kind(name)) {
            if matches!(row.field.shape, Shape::Any) {
                continue;
            }
            let wrong = if matches!(row.field.shape, Shape::List(_)) { json!({}) } else { json!([]) };
            let found = found(name, &around(&row.path, wrong));
            let last = row.path.rsplit('.').next().expect("a path has a last step");
            let says = |line: &String| line.starts_with("error: ") && line.contains(&format!("{last}: is "));
            assert!(found.iter().any(says), "{name} {}: {found:#?}", row.path);
        }
    }
}

/// Whether everything that the path is in is done.
fn done_around(rows: &[Row], path: &str) -> bool {
    let holds = |row: &Row| path.strip_prefix(&row.path).is_some_and(|rest| rest.starts_with(['.', '[', '{']));
    rows.iter().all(|row| row.state == State::Done || !holds(row))
}

#[test]
fn values_that_ask_for_nothing_are_fine() {
    let mut seen = 0;
    for name in TABLES {
        let rows = rows(kind(name));
        for row in rows.iter().filter(|row| done_around(&rows, &row.path)) {
            for fine in row.field.fine {
                let found = found(name, &around(&row.path, serde_json::from_str(fine).expect("JSON")));
                assert!(
                    !found.iter().any(|line| line.contains("not supported yet")),
                    "{name} {} {fine}: {found:#?}",
                    row.path
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 10);
}
