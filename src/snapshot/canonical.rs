//! Canonical protobuf bytes: entries of every map sorted by key, at wire level.
//!
//! Plain prost encoding follows the random order of hash maps; versions must not. Bytes of a message come in, the same
//! bytes with map entries in order go out: nothing is decoded and no length changes. Where maps are is read from a
//! table generated from the committed descriptor set. Never panics; what is not well-formed is left as it is.

use super::wire::{self, Field};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Deeper messages are left as they are: no protobuf implementation decodes them.
const MAX_DEPTH: usize = 100;
/// Field numbers of the entry of a map.
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("../../proto/maps.txt")));

/// Returns `bytes`, the encoding of a message of type `name`, with the entries of every map field sorted by key: text
/// bytewise, numbers by their unsigned value. Equal messages encoded by prost give equal bytes. Extensions packed in an
/// `Any` are not looked into: `resource::any` made them canonical already.
pub fn canonical(name: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(&message) = TABLE.names.get(name)
        && is_sorted(message, &bytes, 0) == Some(false)
    {
        sort(message, &mut bytes);
    }
    bytes
}

/// Which fields of which messages lead to maps.
struct Table {
    names: BTreeMap<&'static str, usize>,
    messages: Vec<BTreeMap<u32, Way>>,
}

/// What a field that leads to a map holds.
#[derive(Clone, Copy)]
struct Way {
    /// Whether the field is a map itself.
    is_map: bool,
    /// The message in it, if that leads to maps; for a map, its entry.
    message: Option<usize>,
}

impl Table {
    /// Reads lines of a message's name and its fields: `NUMBER=MESSAGE`, `NUMBER=map` or `NUMBER=map:MESSAGE`.
    fn parse(text: &'static str) -> Table {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let name = |line: &'static str| line.split(' ').next().expect("generated: a line has a name");
        let names: BTreeMap<_, _> = lines.iter().enumerate().map(|(index, line)| (name(line), index)).collect();
        let mut table = Table { names, messages: vec![BTreeMap::new(); lines.len()] };
        for (index, line) in lines.into_iter().enumerate() {
            for field in line.split(' ').skip(1) {
                let (number, content) = field.split_once('=').expect("generated: NUMBER=CONTENT");
                let way = table.way(content);
                table.messages[index].insert(number.parse().expect("generated: a number"), way);
            }
        }
        table
    }

    fn way(&mut self, content: &str) -> Way {
        match content.strip_prefix("map") {
            Some(value) => Way { is_map: true, message: value.strip_prefix(':').map(|value| self.entry(value)) },
            None => Way { is_map: false, message: Some(self.names[content]) },
        }
    }

    /// Adds the entry of a map whose values lead to maps.
    fn entry(&mut self, value: &str) -> usize {
        let way = Way { is_map: false, message: Some(self.names[value]) };
        self.messages.push(BTreeMap::from([(ENTRY_VALUE, way)]));
        self.messages.len() - 1
    }
}

/// The key of a map entry, as far as order needs it. An absent key is the default one, which may be written as well.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Default,
    Number(u64),
    Text(&'a [u8]),
}

impl Key<'_> {
    /// The key of an encoded entry; none if it is not well-formed.
    fn of(entry: &[u8]) -> Option<Key<'_>> {
        let mut key = Key::Default;
        for field in wire::fields(entry) {
            let field = field?;
            if field.number == ENTRY_KEY {
                key = field.value.map_or_else(|| Key::Text(&entry[field.content]), Key::Number);
            }
        }
        Some(if matches!(key, Key::Number(0) | Key::Text([])) { Key::Default } else { key })
    }
}

/// Whether the entries of all maps are in order; none if the bytes are not well-formed or too deep.
fn is_sorted(message: usize, bytes: &[u8], depth: usize) -> Option<bool> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut sorted = true;
    let mut last: BTreeMap<u32, Key<'_>> = BTreeMap::new();
    for field in wire::fields(bytes) {
        let field = field?;
        let Some(way) = TABLE.messages[message].get(&field.number) else { continue };
        if field.value.is_some() {
            return None;
        }
        let content = &bytes[field.content];
        if way.is_map {
            let key = Key::of(content)?;
            sorted &= last.get(&field.number).is_none_or(|last| *last <= key);
            last.insert(field.number, key);
        }
        if let Some(inner) = way.message {
            sorted &= is_sorted(inner, content, depth + 1)?;
        }
    }
    Some(sorted)
}

/// Sorts the entries of all maps of a message that [`is_sorted`] found well-formed.
fn sort(message: usize, bytes: &mut [u8]) {
    let mut fields: Vec<Field> = wire::fields(bytes).flatten().collect();
    let mut maps: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, field) in fields.iter().enumerate() {
        let Some(way) = TABLE.messages[message].get(&field.number) else { continue };
        if let Some(inner) = way.message {
            sort(inner, &mut bytes[field.content.clone()]);
        }
        if way.is_map {
            maps.entry(field.number).or_default().push(index);
        }
    }
    for places in maps.values() {
        let mut entries: Vec<Field> = places.iter().map(|&place| fields[place].clone()).collect();
        // Stable: of entries with one key the last counts, and must stay the last.
        entries.sort_by(|a, b| Key::of(&bytes[a.content.clone()]).cmp(&Key::of(&bytes[b.content.clone()])));
        for (&place, entry) in places.iter().zip(entries) {
            fields[place] = entry;
        }
    }
    if !maps.is_empty() {
        let moved: Vec<u8> = fields.iter().flat_map(|field| &bytes[field.whole.clone()]).copied().collect();
        bytes.copy_from_slice(&moved);
    }
}
