//! What a node makes of the container in a Pod: its variables, and its arguments with those in them.

use crate::harness::{Failure, Outcome};
use crate::rendered::NAMESPACE;
use serde_json::Value;

/// What containers listen on; here each has an address of its own instead.
const EVERYWHERE: &str = "0.0.0.0";

/// The variables of the container, for a Pod with a name and an address.
pub fn variables(spec: &Value, pod: &str, ip: &str) -> Outcome<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for variable in spec.pointer("/containers/0/env").and_then(Value::as_array).into_iter().flatten() {
        let field = variable.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str);
        let value = match (variable["value"].as_str(), field) {
            (Some(value), None) => value,
            (None, Some("metadata.name")) => pod,
            (None, Some("status.podIP")) => ip,
            (None, Some("metadata.namespace")) => NAMESPACE,
            (None, Some("spec.serviceAccountName")) => spec["serviceAccountName"].as_str().unwrap_or_default(),
            _ => return Err(Failure::new(format!("a node knows more than this test: {variable}"))),
        };
        variables.push((variable["name"].as_str().unwrap_or_default().to_owned(), value.to_owned()));
    }
    Ok(variables)
}

/// The arguments of the container, at an address of the Pod's own.
pub fn arguments(spec: &Value, variables: &[(String, String)], ip: &str) -> Vec<String> {
    let own = spec.pointer("/containers/0/args").and_then(Value::as_array).into_iter().flatten();
    let filled = |text: &str| {
        let filled = |text: String, (name, value): &(String, String)| text.replace(&format!("$({name})"), value);
        variables.iter().fold(text.replace(EVERYWHERE, ip), filled)
    };
    own.filter_map(Value::as_str).map(filled).collect()
}
