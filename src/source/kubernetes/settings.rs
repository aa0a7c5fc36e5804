//! The ConfigMap with the settings of the mesh: Istio's MeshConfig as YAML under one key, as Istio keeps it.

use crate::model::mesh::Mesh;
use crate::model::problem::Severity;
use crate::source::finding::{Note, Subject};
use crate::source::parse::{self, Parsed};
use crate::source::yaml;
use serde_json::Value;

/// The key.
pub const KEY: &str = "mesh";

/// Reads the settings from a ConfigMap.
pub fn parse(config_map: &Value) -> Parsed {
    let Some(text) = config_map.get("data").and_then(|data| data.get(KEY)).and_then(Value::as_str) else {
        return failed(format!("data.{KEY}"), "the settings of the mesh are missing".to_owned());
    };
    let mut content = yaml::read(text.as_bytes());
    match (content.failures.pop(), content.documents.pop()) {
        (Some(failure), _) => failed(format!("data.{KEY}"), format!("line {}: {}", failure.line, failure.text)),
        (None, _) if !content.documents.is_empty() => {
            failed(format!("data.{KEY}"), "there is more than one document".to_owned())
        }
        (None, Some(document)) => parse::settings(&document.value),
        // Nothing is said, so that everything is as it is by default.
        (None, None) => parse::settings(&Value::Object(serde_json::Map::new())),
    }
}

fn failed(field: String, text: String) -> Parsed {
    let note = Note { field, severity: Severity::Error, text };
    Parsed::Unidentified { subject: Subject::from(&Mesh::key()), notes: vec![note] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Parsed {
        parse(&serde_json::json!({"data": {KEY: text}}))
    }

    #[test]
    fn settings_are_read_and_what_is_wrong_is_said() {
        let text = "connectTimeout: 3s\n";
        assert!(matches!(parsed(text), Parsed::Known { object: Some(_), problems, .. } if problems.is_empty()));
        assert!(matches!(parsed(""), Parsed::Known { object: Some(_), problems, .. } if problems.is_empty()));
        for text in ["a: [", "connectTimeout: 3s\n---\nconnectTimeout: 4s\n"] {
            assert!(matches!(parsed(text), Parsed::Unidentified { notes, .. } if notes.len() == 1), "{text}");
        }
        assert!(parse(&serde_json::json!({"data": {"other": ""}})).failed());
        assert!(parse(&serde_json::json!({"binaryData": {KEY: ""}})).failed());
    }
}
