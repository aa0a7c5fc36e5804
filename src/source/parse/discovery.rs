//! Selectors of namespaces, by Kubernetes' rules for selectors of labels.

use super::notes::Notes;
use super::syntax::{self, quoted};
use crate::model::selector::{Expression, Selector, Test};
use crate::source::yaml::marks;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A selector as it is written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<ExpressionSpec>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ExpressionSpec {
    key: String,
    operator: String,
    values: Vec<String>,
}

/// Parses selectors that stand in a field.
pub fn parse(field: &str, written: Vec<Spec>, notes: &mut Notes) -> Box<[Selector]> {
    let mut selectors = Vec::with_capacity(written.len());
    for (at, spec) in written.into_iter().enumerate() {
        let mut path = field.to_owned();
        marks::push_index(&mut path, at);
        let labels = notes.check(&format!("{path}.matchLabels"), syntax::labels(&spec.match_labels));
        let mut expressions = Vec::with_capacity(spec.match_expressions.len());
        for (at, spec) in spec.match_expressions.into_iter().enumerate() {
            let mut path = format!("{path}.matchExpressions");
            marks::push_index(&mut path, at);
            expressions.extend(expression(&path, spec, notes));
        }
        selectors.push(Selector { labels: labels.unwrap_or_default(), expressions: expressions.into() });
    }
    selectors.into()
}

fn expression(path: &str, spec: ExpressionSpec, notes: &mut Notes) -> Option<Expression> {
    let ExpressionSpec { key, operator, values } = spec;
    let pair = |value: &str| syntax::labels(&BTreeMap::from([(key.clone(), value.to_owned())])).map(drop);
    notes.check(&format!("{path}.key"), pair(""))?;
    values.iter().try_for_each(|value| notes.check(&format!("{path}.values"), pair(value)))?;
    let set: BTreeSet<Arc<str>> = values.iter().map(|value| value.as_str().into()).collect();
    let test = match &*operator {
        "In" => Test::In(set),
        "NotIn" => Test::NotIn(set),
        "Exists" => Test::Exists,
        "DoesNotExist" => Test::DoesNotExist,
        // Another word was noted by the walk along the field table.
        "" => {
            notes.error(format!("{path}.operator"), "is missing");
            return None;
        }
        _ => return None,
    };
    let wants = matches!(test, Test::In(_) | Test::NotIn(_));
    if wants == values.is_empty() {
        let text = if wants { "needs at least one value" } else { "takes no values" };
        notes.error(format!("{path}.values"), format!("{} {text}", quoted(&operator)));
        return None;
    }
    Some(Expression { key: key.into(), test })
}
