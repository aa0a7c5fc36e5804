//! What all policy kinds share: the walk over `spec` along the field table, and reading what is supported into a struct.

use super::fields::{Field, Shape, State, fields, worse};
use super::notes::Notes;
use super::syntax::quoted;
use crate::model::provenance::ObjectKind;
use crate::source::yaml::marks;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Checks every field of a policy object against its table and reads `spec` as a `T`.
///
/// All unknown, unsupported and mistyped fields are noted. None if `spec` can't be read even without them.
pub fn spec<T: DeserializeOwned>(value: &Value, kind: ObjectKind, notes: &mut Notes) -> Option<T> {
    for name in value.as_object().into_iter().flat_map(Map::keys) {
        if !matches!(&**name, "apiVersion" | "kind" | "metadata" | "spec" | "status") {
            notes.error(marks::key("", name), "unknown field");
        }
    }
    let Some(Value::Object(spec)) = value.get("spec") else {
        notes.error("spec", "is missing or not a map");
        return None;
    };
    read(spec, (kind, "spec"), notes)
}

/// Checks settings of the mesh against their table and reads them as a `T`, like [`spec`].
pub fn settings<T: DeserializeOwned>(value: &Value, notes: &mut Notes) -> Option<T> {
    let Value::Object(members) = value else {
        notes.error("", "settings of the mesh are a map, such as connectTimeout: 5s");
        return None;
    };
    read(members, (ObjectKind::MeshConfig, ""), notes)
}

fn read<T: DeserializeOwned>(
    members: &Map<String, Value>,
    (kind, path): (ObjectKind, &str),
    notes: &mut Notes,
) -> Option<T> {
    let mut walk = Walk { notes, path: path.to_owned(), mistyped: false };
    walk.object(fields(kind), members, State::Done);
    let mistyped = walk.mistyped;
    let members = without_nulls(&Value::Object(members.clone()));
    let read = serde_path_to_error::deserialize(&members);
    // A mistyped field was noted by the walk already, in words for people.
    read.map_err(|error| {
        if !mistyped {
            let field = error.path().to_string();
            notes.error(if path.is_empty() { field } else { format!("{path}.{field}") }, error.inner().to_string())
        }
    })
    .ok()
}

struct Walk<'n> {
    notes: &'n mut Notes,
    path: String,
    mistyped: bool,
}

impl Walk<'_> {
    fn object(&mut self, fields: &'static [Field], members: &Map<String, Value>, around: State) {
        for (name, value) in members {
            let length = self.path.len();
            marks::push_key(&mut self.path, name);
            match fields.iter().find(|field| field.name == name) {
                Some(field) if !value.is_null() => self.field(field, value, around),
                Some(_) => {}
                None => self.notes.error(self.path.clone(), unknown(fields, name)),
            }
            self.path.truncate(length);
        }
    }

    fn field(&mut self, field: &'static Field, value: &Value, around: State) {
        let state = if asks(field, value) { worse(around, field.state) } else { around };
        if state != around {
            let text = field.text;
            match state {
                State::Refused => {
                    self.notes
                        .error(self.path.clone(), format!("not supported yet, so the object is not applied: {text}"));
                }
                State::NoEffect => self.notes.warning(self.path.clone(), without_effect(field)),
                State::Silent | State::Done => {}
            }
        }
        self.value(&field.shape, value, state);
    }

    fn value(&mut self, shape: &'static Shape, value: &Value, state: State) {
        match (shape, value) {
            (Shape::Text | Shape::Duration, Value::String(_)) | (Shape::Flag, Value::Bool(_)) => {}
            (Shape::Number, Value::Number(_)) | (Shape::Any, _) => {}
            (Shape::Whole, Value::Number(number)) if !number.is_f64() => {}
            (Shape::Choice(choices), Value::String(text)) if choices.contains(&&**text) => {}
            (Shape::Object(fields), Value::Object(members)) => self.object(fields, members, state),
            (Shape::List(inner), Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    let length = self.path.len();
                    marks::push_index(&mut self.path, at);
                    self.value(inner, item, state);
                    self.path.truncate(length);
                }
            }
            (Shape::Map(inner), Value::Object(members)) => {
                for (name, member) in members {
                    let length = self.path.len();
                    marks::push_key(&mut self.path, name);
                    self.value(inner, member, state);
                    self.path.truncate(length);
                }
            }
            _ => {
                self.mistyped = true;
                self.notes.error(self.path.clone(), mistyped(shape, value));
            }
        }
    }
}

/// What the warning about a field without effect says.
pub(super) fn without_effect(field: &Field) -> String {
    format!("not supported yet, so it has no effect: {}", field.text)
}

/// Whether a value asks for something that the field's state must answer. A map of fields does so by being there: `retries`
/// without any is another wish than no `retries`, unless the table says that it is fine.
pub(super) fn asks(field: &Field, value: &Value) -> bool {
    let said = matches!(field.shape, Shape::Object(_)) && value.is_object();
    !value.is_null() && (said || !is_empty(value)) && !is_fine(field, value)
}

fn is_fine(field: &Field, value: &Value) -> bool {
    !field.fine.is_empty() && field.fine.contains(&value.to_string().as_str())
}

/// Whether a value asks for nothing: an empty list or map.
fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
}

fn unknown(fields: &[Field], name: &str) -> String {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let wanted = plain(name);
    let near = |field: &&Field| {
        let known = plain(field.name);
        known == wanted || known.strip_suffix('s') == Some(&wanted) || wanted.strip_suffix('s') == Some(&known)
    };
    match fields.iter().find(near) {
        Some(field) => format!("unknown field; did you mean {}?", field.name),
        None => "unknown field".to_owned(),
    }
}

fn mistyped(shape: &Shape, value: &Value) -> String {
    let expected = match shape {
        Shape::Text => "a string",
        Shape::Duration => "a duration such as 1.5s",
        Shape::Flag => "true or false",
        Shape::Whole => "a whole number",
        Shape::Number => "a number",
        Shape::Object(_) | Shape::Map(_) => "a map",
        Shape::List(_) => "a list",
        Shape::Any => "anything",
        Shape::Choice(choices) => return format!("is {}; it must be one of {}", shown(value), choices.join(", ")),
    };
    format!("is {}; {expected} is expected", shown(value))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("{value}, without quotes"),
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

/// Kubernetes takes null for absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let present = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
