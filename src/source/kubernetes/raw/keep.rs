//! Which parts of an object are kept while it is read: what nobody reads is passed over and never becomes a tree.
//!
//! An API server stores what is nested as deep as somebody likes, where the definition of a kind keeps unknown fields, as Istio's do
//! in a status. Beyond a depth that no field has, words stand in its place: whoever reads that object says so, and no other
//! object is concerned.

use crate::source::parse::fields::{Field, Shape};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// How many levels of an object are read.
const DEEPEST: u8 = 64;
/// What stands in place of what is deeper. No field that is read is a text there, so it is an error of that field.
const TOO_DEEP: &str = "(nested deeper than 64 levels)";
/// What says which object it is, and in which state.
const IDENTITY: [&str; 6] = ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"];

/// What to keep of a value.
#[derive(Clone, Copy)]
pub struct Keep {
    of: Of,
    /// The fields, and those of what they hold; none: all.
    fields: Option<&'static [Field]>,
    /// In how many levels of the object it is.
    depth: u8,
}

/// What a value is, as far as it has to be known here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Object,
    Metadata,
    Part,
}

impl Keep {
    /// Keeps these fields of an object and what identifies it, or all but `metadata.managedFields`.
    pub fn object(fields: Option<&'static [Field]>) -> Self {
        Self { of: Of::Object, fields, depth: 0 }
    }

    /// What to keep of something inside of it.
    fn inner(self, of: Of, fields: Option<&'static [Field]>) -> Self {
        Self { of, fields, depth: self.depth + 1 }
    }

    fn is_too_deep(self) -> bool {
        self.depth >= DEEPEST
    }

    /// What to keep of a member; none: nothing.
    fn member(self, name: &str) -> Option<Self> {
        let field = self.fields.map(|fields| fields.iter().find(|field| field.name == name));
        let inside = field.flatten().and_then(|field| inside(&field.shape));
        match self.of {
            Of::Metadata if name == "managedFields" => None,
            Of::Metadata if IDENTITY.contains(&name) => Some(self.inner(Of::Part, None)),
            Of::Object if name == "metadata" => Some(self.inner(Of::Metadata, self.fields.and(inside.or(Some(&[]))))),
            _ if field.is_some_and(|field| field.is_none()) => None,
            _ => Some(self.inner(Of::Part, inside)),
        }
    }
}

/// The fields of what a field holds, or of each element of it; none if all is kept.
fn inside(shape: &'static Shape) -> Option<&'static [Field]> {
    match shape {
        Shape::Object(fields) => Some(fields),
        Shape::List(inner) => inside(inner),
        _ => None,
    }
}

impl<'de> DeserializeSeed<'de> for Keep {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.of {
            Of::Part => deserializer.deserialize_any(self),
            Of::Object | Of::Metadata => deserializer.deserialize_map(self),
        }
    }
}

/// What is not of the type that its field has is kept, so that whoever reads it can say so.
impl<'de> Visitor<'de> for Keep {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.of {
            Of::Object => "a Kubernetes object",
            Of::Metadata => "the metadata of a Kubernetes object",
            Of::Part => "JSON",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        if self.is_too_deep() {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(TOO_DEEP.into());
        }
        let mut kept = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            match self.member(&name) {
                Some(keep) => {
                    let value = map.next_value_seed(keep)?;
                    kept.insert(name, value);
                }
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        if self.is_too_deep() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(TOO_DEEP.into());
        }
        let mut kept = Vec::new();
        while let Some(value) = seq.next_element_seed(self.inner(Of::Part, self.fields))? {
            kept.push(value);
        }
        Ok(Value::Array(kept))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::provenance::ObjectKind;
    use crate::source::parse::fields::read_only;
    use crate::source::parse::stored_object;
    use serde_json::json;

    fn kept(value: &Value, fields: Option<&'static [Field]>) -> Value {
        Keep::object(fields).deserialize(value).expect("an object")
    }

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"app": "a"},
                "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "m"}],
                "annotations": {"long": "text"}, "ownerReferences": [{"kind": "ReplicaSet"}]},
            "spec": {"nodeName": "node", "serviceAccountName": "s", "volumes": [{"name": "v"}],
                "containers": [{"name": "c", "image": "i", "env": [{"name": "E"}],
                    "ports": [{"name": "http", "containerPort": 80, "hostPort": 80}]}]},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "Ready"}]}})
    }

    #[test]
    fn of_a_pod_what_is_read_is_kept_and_means_the_same() {
        let (pod, fields) = (pod(), read_only(ObjectKind::Pod));
        let small = kept(&pod, fields);
        let expected = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"app": "a"},
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "node", "serviceAccountName": "s",
                "containers": [{"ports": [{"name": "http", "containerPort": 80}]}]},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}});
        assert_eq!(small, expected);
        let mut named = small;
        named["apiVersion"] = "v1".into();
        named["kind"] = "Pod".into();
        assert_eq!(format!("{:?}", stored_object(&named)), format!("{:?}", stored_object(&pod)));
        assert_eq!(kept(&pod, None)["metadata"].get("managedFields"), None);
        assert_eq!(kept(&pod, None)["spec"], pod["spec"], "all of it without a table");
    }

    #[test]
    fn what_has_another_type_than_expected_is_kept_for_who_says_so() {
        for odd in [json!([1, "a", null]), json!("text"), json!(true), json!(-1), json!(1.5), json!(null)] {
            let value = json!({"metadata": {"name": "p"}, "spec": odd, "status": {"podIPs": odd}});
            let kept = kept(&value, read_only(ObjectKind::Pod));
            assert_eq!((&kept["spec"], &kept["status"]["podIPs"]), (&odd, &odd));
        }
    }

    /// An object with something in a field that is nested so deep.
    fn nested(kind: &str, field: &str, levels: usize) -> String {
        let (open, close) = (r#"{"a":["#.repeat(levels / 2), "]}".repeat(levels / 2));
        let head = r#""metadata":{"name":"p","namespace":"n"},"spec":{}"#;
        format!(r#"{{"apiVersion":"security.istio.io/v1","kind":"{kind}",{head},"{field}":{open}{close}}}"#)
    }

    #[test]
    fn what_is_nested_too_deep_is_an_error_of_that_field_and_of_nothing_else() {
        let read = |text: &str| {
            let mut text = serde_json::Deserializer::from_str(text);
            Keep::object(None).deserialize(&mut text).expect("it is read")
        };
        for levels in [20, 130, 20_000] {
            let status = read(&nested("PeerAuthentication", "status", levels));
            assert!(!stored_object(&status).failed(), "{levels}: nobody reads its status");
            let spec = stored_object(&read(&nested("PeerAuthentication", "spec", levels)));
            assert!(spec.failed(), "{levels}: a is no field");
        }
        let deep = read(&nested("PeerAuthentication", "status", 130)).to_string();
        let shallow = read(&nested("PeerAuthentication", "status", 20)).to_string();
        assert!(deep.contains(TOO_DEEP) && !shallow.contains(TOO_DEEP), "{deep}");
        let usual: Result<Value, _> = serde_json::from_str(&nested("PeerAuthentication", "status", 130));
        assert!(
            usual.is_err(),
            "the control: read in the usual way, such an object is an error of all that comes with it"
        );
    }
}
