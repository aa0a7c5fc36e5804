//! Which parts of an object are kept while it is read: what nobody reads is passed over and never becomes a tree.

use crate::source::parse::fields::{Field, Shape};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// What says which object it is, and in which state.
const IDENTITY: [&str; 6] = ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"];

/// What to keep of a value.
#[derive(Clone, Copy)]
pub struct Keep {
    of: Of,
    /// The fields, and those of what they hold; none: all.
    fields: Option<&'static [Field]>,
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
        Self { of: Of::Object, fields }
    }

    const fn part(fields: Option<&'static [Field]>) -> Self {
        Self { of: Of::Part, fields }
    }

    /// What to keep of a member; none: nothing.
    fn member(self, name: &str) -> Option<Self> {
        let field = self.fields.map(|fields| fields.iter().find(|field| field.name == name));
        let inside = field.flatten().and_then(|field| inside(&field.shape));
        match self.of {
            Of::Metadata if name == "managedFields" => None,
            Of::Metadata if IDENTITY.contains(&name) => Some(Self::part(None)),
            Of::Object if name == "metadata" => {
                Some(Self { of: Of::Metadata, fields: self.fields.and(inside.or(Some(&[]))) })
            }
            _ if field.is_some_and(|field| field.is_none()) => None,
            _ => Some(Self::part(inside)),
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
        match (self.of, self.fields) {
            (Of::Part, None) => serde::Deserialize::deserialize(deserializer),
            (Of::Part, Some(_)) => deserializer.deserialize_any(self),
            (Of::Object | Of::Metadata, _) => deserializer.deserialize_map(self),
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
        let mut kept = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
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
}
