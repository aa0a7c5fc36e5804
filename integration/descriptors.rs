//! The table of maps agrees with the descriptor set it is generated from.
//!
//! `proto/envoy.fds` comes in; `proto/maps.txt` is compared with what follows from it, or, when CHANCERY_REWRITE is set,
//! written.

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const HEAD: &str = "\
# Messages that lead to protobuf maps, with the fields that do: NUMBER=MESSAGE, NUMBER=map, NUMBER=map:MESSAGE.
# Generated from envoy.fds by `make descriptors`; don't edit.
";

#[test]
fn the_table_of_maps_follows_from_the_descriptor_set() {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/proto/maps.txt");
    let descriptors = std::fs::read(format!("{root}/proto/envoy.fds")).expect("proto/envoy.fds");
    let expected = table(&DescriptorPool::decode(descriptors.as_slice()).expect("a descriptor set"));
    if std::env::var_os("CHANCERY_REWRITE").is_some() {
        std::fs::write(&path, &expected).expect("proto/maps.txt");
    }
    let held = std::fs::read_to_string(&path).expect("proto/maps.txt; run: make descriptors");
    assert!(held == expected, "proto/maps.txt is not what follows from proto/envoy.fds; run: make descriptors");
    assert!(held.contains("\nenvoy.config.rbac.v3.RBAC 2=map:envoy.config.rbac.v3.Policy\n"), "{held}");
}

/// The table as text, sorted by message.
fn table(pool: &DescriptorPool) -> String {
    let messages: Vec<MessageDescriptor> = pool.all_messages().filter(|message| !message.is_map_entry()).collect();
    let leading = leading(&messages);
    let mut lines = BTreeMap::new();
    for message in messages.iter().filter(|message| leading.contains(message.full_name())) {
        let mut line = message.full_name().to_owned();
        for field in message.fields() {
            if let Some(content) = content(&field, &leading) {
                write!(line, " {}={content}", field.number()).expect("a string takes everything");
            }
        }
        lines.insert(message.full_name().to_owned(), line);
    }
    lines.into_values().fold(HEAD.to_owned(), |text, line| text + &line + "\n")
}

/// The names of all messages that hold a map, themselves or further down: grown until nothing is added, since messages
/// may hold themselves.
fn leading(messages: &[MessageDescriptor]) -> BTreeSet<String> {
    let mut leading = BTreeSet::new();
    loop {
        let more: Vec<_> = messages.iter().filter(|message| !leading.contains(message.full_name())).collect();
        let found =
            more.into_iter().filter(|message| message.fields().any(|field| content(&field, &leading).is_some()));
        let found: Vec<String> = found.map(|message| message.full_name().to_owned()).collect();
        if found.is_empty() {
            return leading;
        }
        leading.extend(found);
    }
}

/// What the table says of a field; none if it leads to no map.
fn content(field: &FieldDescriptor, leading: &BTreeSet<String>) -> Option<String> {
    let message = |field: &FieldDescriptor| match field.kind() {
        Kind::Message(message) if leading.contains(message.full_name()) => Some(message.full_name().to_owned()),
        _ => None,
    };
    if field.is_map() {
        let value = message(&field.kind().as_message()?.map_entry_value_field());
        return Some(value.map_or("map".to_owned(), |value| format!("map:{value}")));
    }
    message(field).filter(|_| !field.is_group())
}
