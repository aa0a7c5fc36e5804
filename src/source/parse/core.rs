//! Core kinds through the types of `k8s_openapi`: a wrong type names its field, unknown fields are found.

use super::notes::Notes;
use crate::model::problem::Severity;
use crate::source::yaml::marks;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `value`, which stands at `path`, as a `T`. Fields `T` doesn't know are noted with severity `unknown`.
pub fn typed<T: DeserializeOwned>(value: &Value, path: &str, unknown: Severity, notes: &mut Notes) -> Option<T> {
    let mut ignored = |at: serde_ignored::Path<'_>| {
        let mut field = path.to_owned();
        push_ignored(&mut field, &at);
        notes.push(field, unknown, "unknown field".to_owned());
    };
    let result = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(value, &mut ignored));
    result
        .map_err(|error| {
            let mut field = path.to_owned();
            error.path().iter().for_each(|segment| push_segment(&mut field, segment));
            notes.error(field, error.inner().to_string());
        })
        .ok()
}

fn push_segment(path: &mut String, segment: &serde_path_to_error::Segment) {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => marks::push_index(path, *index),
        Segment::Map { key } => marks::push_key(path, key),
        Segment::Enum { .. } | Segment::Unknown => {}
    }
}

fn push_ignored(path: &mut String, at: &serde_ignored::Path<'_>) {
    use serde_ignored::Path;
    match at {
        Path::Root => {}
        Path::Seq { parent, index } => {
            push_ignored(path, parent);
            marks::push_index(path, *index);
        }
        Path::Map { parent, key } => {
            push_ignored(path, parent);
            marks::push_key(path, key);
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            push_ignored(path, parent)
        }
    }
}
