//! Encodings are canonical: equal messages have equal bytes, whatever the order of their hash maps.

use chancery::snapshot::canonical::canonical;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::config::rbac::v3::{Permission, Policy, Principal, Rbac, permission, principal};
use envoy_types::pb::envoy::extensions::filters::network::dubbo_proxy::v3::{
    MethodMatch, method_match::ParameterMatchSpecifier,
};
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value, value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::{Message, Name};
use std::collections::BTreeSet;

fn policy() -> Policy {
    Policy {
        permissions: vec![Permission { rule: Some(permission::Rule::Any(true)) }],
        principals: vec![Principal { identifier: Some(principal::Identifier::Any(true)) }],
        ..Policy::default()
    }
}

fn rbac() -> Rbac {
    let policies = [("readers".to_owned(), policy()), ("writers".to_owned(), Policy::default())];
    Rbac { policies: policies.into_iter().collect(), ..Rbac::default() }
}

fn text(text: &str) -> Value {
    Value { kind: Some(value::Kind::StringValue(text.into())) }
}

fn object(fields: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value { kind: Some(value::Kind::StructValue(Struct { fields: fields.into_iter().collect() })) }
}

/// A cluster with metadata five levels deep, through maps, structs and a list.
fn cluster() -> Cluster {
    let inner = object([("a".to_owned(), text("1")), ("b".to_owned(), text("2")), ("c".to_owned(), text("3"))]);
    let list =
        Value { kind: Some(value::Kind::ListValue(ListValue { values: vec![inner.clone(), text("x"), inner] })) };
    let fields = [("first".to_owned(), list), ("second".to_owned(), text("y")), ("third".to_owned(), text(""))];
    let filter_metadata = [("one".to_owned(), Struct { fields: fields.into() }), ("two".to_owned(), Struct::default())];
    Cluster {
        name: "c".into(),
        metadata: Some(Metadata { filter_metadata: filter_metadata.into(), ..Metadata::default() }),
        alt_stat_name: "after the metadata".into(),
        ..Cluster::default()
    }
}

/// The distinct encodings of a hundred equal messages: plain, and made canonical.
fn encodings<M: Message + Name>(make: impl Fn() -> M) -> (usize, usize) {
    let plain: Vec<Vec<u8>> = (0..100).map(|_| make().encode_to_vec()).collect();
    let ordered: BTreeSet<Vec<u8>> = plain.iter().map(|bytes| canonical(&M::full_name(), bytes.clone())).collect();
    (plain.into_iter().collect::<BTreeSet<_>>().len(), ordered.len())
}

#[test]
fn a_two_policy_rbac_has_one_encoding() {
    let (plain, ordered) = encodings(rbac);
    assert_eq!(plain, 2, "the control: prost follows the order of the hash map");
    assert_eq!(ordered, 1);
}

#[test]
fn structs_within_structs_have_one_encoding() {
    let (plain, ordered) = encodings(cluster);
    assert!(plain > 10, "the control: prost follows the order of the hash maps, {plain}");
    assert_eq!(ordered, 1);
    let bytes = canonical(&Cluster::full_name(), cluster().encode_to_vec());
    assert_eq!(Cluster::decode(bytes.as_slice()).expect("a cluster"), cluster());
}

#[test]
fn keys_are_in_bytewise_order_and_the_rest_stays_in_place() {
    let names = ["b", "", "a\u{e9}", "az", "a", "B"];
    let all = Struct { fields: names.map(|name| (name.to_owned(), text(name))).into() };
    let bytes = canonical(&Struct::full_name(), all.encode_to_vec());
    let sorted = ["", "B", "a", "az", "a\u{e9}", "b"];
    let expected: Vec<u8> = sorted
        .into_iter()
        .flat_map(|name| Struct { fields: [(name.to_owned(), text(name))].into() }.encode_to_vec())
        .collect();
    assert_eq!(bytes, expected);
}

#[test]
fn number_keys_are_in_numeric_order() {
    let params = |numbers: &[u32]| MethodMatch {
        params_match: numbers.iter().map(|&number| (number, ParameterMatchSpecifier::default())).collect(),
        ..MethodMatch::default()
    };
    let bytes = canonical(&MethodMatch::full_name(), params(&[300, 2, 128, 0, 70_000]).encode_to_vec());
    let expected: Vec<u8> =
        [0, 2, 128, 300, 70_000].iter().flat_map(|&number| params(&[number]).encode_to_vec()).collect();
    assert_eq!(bytes, expected);
}

#[test]
fn of_entries_with_one_key_the_last_still_counts() {
    let entry = |name: &str, content: &str| Struct { fields: [(name.to_owned(), text(content))].into() };
    // An explicit empty key, which prost leaves out: field 1 of the map entry with length 0.
    let mut explicit = entry("", "explicit").encode_to_vec();
    explicit.splice(1..2, [explicit[1] + 2, 0x0a, 0]);
    let absent = entry("", "absent").encode_to_vec();
    let high = entry("z", "").encode_to_vec();
    for (order, winner) in [([&high, &explicit, &absent], "absent"), ([&high, &absent, &explicit], "explicit")] {
        let bytes = canonical(&Struct::full_name(), order.into_iter().flatten().copied().collect());
        let read = Struct::decode(bytes.as_slice()).expect("a struct");
        assert_eq!(read.fields[""], text(winner));
        assert!(bytes.ends_with(&high));
    }
}

#[test]
fn unknown_messages_and_broken_bytes_are_left_as_they_are() {
    let mut reversed = Struct { fields: [("b".to_owned(), text("2"))].into() }.encode_to_vec();
    reversed.extend(Struct { fields: [("a".to_owned(), text("1"))].into() }.encode_to_vec());
    assert_ne!(canonical(&Struct::full_name(), reversed.clone()), reversed, "the control");
    assert_eq!(canonical("nobody.knows.It", reversed.clone()), reversed);
    for broken in [&[0xff][..], &[0x0b], &[0x0a, 0x05], &[0x08, 0x01], &[0x02, 0x00], &[0x0d, 1, 2]] {
        let bytes = [reversed.as_slice(), broken].concat();
        assert_eq!(canonical(&Struct::full_name(), bytes.clone()), bytes, "{broken:x?}");
    }
}

#[test]
fn nesting_without_end_is_left_as_it_is() {
    let mut bytes = Vec::new();
    for _ in 0..20_000 {
        let mut outer = Vec::with_capacity(bytes.len() + 5);
        chancery::snapshot::wire::put_field(&mut outer, 6, &bytes); // Value.list_value
        bytes.clear();
        chancery::snapshot::wire::put_field(&mut bytes, 1, &outer); // ListValue.values
    }
    assert_eq!(canonical(&ListValue::full_name(), bytes.clone()), bytes);
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof!["[a-c]{0,2}".prop_map(|leaf| text(&leaf)), Just(Value::default())];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            btree_map("[a-d]{0,2}", inner.clone(), 0..5).prop_map(object),
            vec(inner, 0..4).prop_map(|values| Value { kind: Some(value::Kind::ListValue(ListValue { values })) }),
        ]
    })
}

proptest! {
    #[test]
    fn canonical_keeps_the_message_and_is_idempotent(value in values()) {
        let once = canonical(&Value::full_name(), value.encode_to_vec());
        prop_assert_eq!(&Value::decode(once.as_slice()).expect("a value"), &value);
        prop_assert_eq!(&canonical(&Value::full_name(), once.clone()), &once);
        let again = Value::decode(once.as_slice()).expect("a value").encode_to_vec();
        prop_assert_eq!(canonical(&Value::full_name(), again), once);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        for name in [Rbac::full_name(), Cluster::full_name(), Value::full_name(), Struct::full_name()] {
            let result = canonical(&name, bytes.clone());
            prop_assert_eq!(result.len(), bytes.len());
            prop_assert_eq!(&canonical(&name, result.clone()), &result);
        }
    }

    #[test]
    fn damaged_messages_never_panic(value in values(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = object([("b".to_owned(), value.clone()), ("a".to_owned(), value)]).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let result = canonical(&Value::full_name(), bytes.clone());
        if let Ok(read) = Value::decode(bytes.as_slice()) {
            prop_assert_eq!(Value::decode(result.as_slice()).expect("still a value"), read);
        }
    }
}
