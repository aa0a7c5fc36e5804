//! Objects as the API server sends them: JSON of which what nobody reads is dropped while it is read.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// One object, without `metadata.managedFields`.
#[derive(Clone, Debug)]
pub struct Raw(Value);

impl Raw {
    fn metadata(&self, field: &str) -> &str {
        self.0.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or("")
    }

    /// Its namespace; empty for what has none.
    pub fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata("name")
    }

    /// What tells it from an earlier object of that name.
    pub fn uid(&self) -> &str {
        self.metadata("uid")
    }

    /// The state of it.
    pub fn version(&self) -> &str {
        self.metadata("resourceVersion")
    }

    /// Counts the changes of what it says; none for kinds that don't count them.
    pub fn generation(&self) -> Option<i64> {
        self.0.pointer("/metadata/generation").and_then(Value::as_i64)
    }

    /// Its status as JSON; empty for none.
    pub fn status(&self) -> String {
        self.0.get("status").map(Value::to_string).unwrap_or_default()
    }

    /// The whole of it as an object of a kind: items of a list don't say what they are.
    pub fn of_kind(self, api_version: &str, kind: &str) -> Value {
        let mut value = self.0;
        if let Some(object) = value.as_object_mut() {
            object.insert("apiVersion".to_owned(), api_version.into());
            object.insert("kind".to_owned(), kind.into());
        }
        value
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields { of: "object" }).map(Raw)
    }
}

/// Reads an object, or the metadata of one, as JSON.
#[derive(Clone, Copy)]
struct Fields {
    of: &'static str,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} of a Kubernetes object", self.of)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            match (self.of, &*key) {
                ("metadata", "managedFields") => _ = map.next_value::<IgnoredAny>()?,
                ("object", "metadata") => {
                    let metadata = map.next_value_seed(Fields { of: "metadata" })?;
                    fields.insert(key, metadata);
                }
                _ => {
                    let value = map.next_value()?;
                    fields.insert(key, value);
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// One page of a list.
#[derive(Deserialize, Debug)]
pub struct Page {
    /// About the list.
    #[serde(default)]
    pub metadata: PageMeta,
    /// The objects of this page.
    #[serde(default, deserialize_with = "items")]
    pub items: Vec<Raw>,
}

/// The API server writes an empty list as null now and then.
fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Raw>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What is said of a list.
#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "camelCase", default)]
pub struct PageMeta {
    /// The state that the list shows.
    pub resource_version: String,
    /// What to ask the next page with; empty after the last.
    pub r#continue: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_dropped_and_nothing_else() {
        let text =
            r#"{"metadata":{"name":"a","managedFields":[{"x":1}],"labels":{"l":"1"}},"spec":{"managedFields":[1]}}"#;
        let raw: Raw = serde_json::from_str(text).expect("it is an object");
        let value = raw.of_kind("v1", "Pod");
        let expected = serde_json::json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"managedFields": [1]}});
        assert_eq!(value, expected);
    }

    #[test]
    fn what_is_no_object_is_an_error_and_no_panic() {
        for text in ["[]", "1", "null", r#"{"metadata":[]}"#, r#"{"metadata":null}"#] {
            assert!(serde_json::from_str::<Raw>(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Page>(r#"{"items":null}"#).expect("a page").items.is_empty());
    }
}
