//! Objects as the API server sends them, and pages of them: JSON of which what nobody reads is dropped while it is read.

mod keep;

use crate::source::parse::fields::Field;
use keep::Keep;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
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
        Keep::object(None).deserialize(deserializer).map(Raw)
    }
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

/// What is said of the list that a page is of. The API server writes that first, so the objects are not looked at.
///
/// # Errors
/// If the page can't be read up to there.
pub fn meta(page: &str) -> Result<PageMeta, serde_json::Error> {
    let mut found = None;
    let read = serde_json::Deserializer::from_str(page).deserialize_map(Head { found: &mut found });
    // A reader that stops early is told that there is more.
    found.map_or_else(|| read.map(|()| PageMeta::default()), Ok)
}

/// Hands over the objects of a page one after the other, so that only one of them is there as a tree. Of each only `fields` are
/// kept besides what says which object it is; all if there are none.
///
/// # Errors
/// If the page can't be read. Objects before that have been handed over.
pub fn items(page: &str, fields: Option<&'static [Field]>, mut take: impl FnMut(Raw)) -> Result<(), serde_json::Error> {
    serde_json::Deserializer::from_str(page).deserialize_map(Items { fields, take: &mut take })
}

struct Head<'f> {
    found: &'f mut Option<PageMeta>,
}

impl<'de> Visitor<'de> for Head<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kubernetes objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "metadata" {
                *self.found = Some(map.next_value()?);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct Items<'t> {
    fields: Option<&'static [Field]>,
    take: &'t mut dyn FnMut(Raw),
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kubernetes objects")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "items" => map.next_value_seed(&mut self)?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element_seed(Keep::object(self.fields))? {
            (self.take)(Raw(value));
        }
        Ok(())
    }

    /// The API server writes an empty list as null now and then.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(Items { fields: self.fields, take: &mut *self.take })
    }
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
            assert!(names(&format!(r#"{{"items":[{text}]}}"#)).is_err(), "{text}");
        }
        for text in ["[]", "1", "null", "", r#"{"items":{"#, r#"{"items":[{}"#] {
            assert!(names(text).is_err() && meta(text).is_err(), "{text}");
        }
    }

    fn names(page: &str) -> Result<Vec<String>, serde_json::Error> {
        let mut names = Vec::new();
        items(page, None, |raw| names.push(raw.name().to_owned())).map(|()| names)
    }

    #[test]
    fn a_page_says_what_follows_before_its_objects_are_read() {
        let objects = r#""items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]"#;
        let about = r#""metadata":{"resourceVersion":"7","continue":"next","remainingItemCount":1}"#;
        for page in [format!("{{{about},{objects}}}"), format!("{{{objects},{about}}}")] {
            let meta = meta(&page).expect("a page");
            assert_eq!((&*meta.resource_version, &*meta.r#continue), ("7", "next"));
            assert_eq!(names(&page).expect("a page"), ["a", "b"]);
        }
        let cut = format!("{{{about},\"items\":[{{\"metadata\":{{\"name\":\"a\"");
        assert_eq!(meta(&cut).expect("it stands before the end").r#continue, "next");
        assert!(names(&cut).is_err());
        assert!(names(r#"{"items":null}"#).expect("a page").is_empty());
        assert!(meta("{}").expect("a page").r#continue.is_empty());
    }
}
