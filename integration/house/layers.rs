//! Who may use whom: each mention of a path in `src` against the table.

use super::paths::{self, Mention};
use super::source::{Source, Violation};
use super::table::{DECODERS, ENCODER, RESERVED, ROOMS, Room, SNAPSHOT_TOKIO, TOP};

/// The violations of one file; files outside `src` have no layers.
pub fn check(source: &Source) -> Vec<Violation> {
    if !source.is_product() {
        return Vec::new();
    }
    let name = source.room();
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        return vec![source.at(
            1,
            "unknown-room",
            format!("`{name}` is not in the table of rooms: add it, with what it may use"),
        )];
    };
    let mut found: Vec<Violation> = paths::mentions(source)
        .iter()
        .filter_map(|mention| ours(room, mention).or_else(|| others(source, room, mention)).map(|text| (mention, text)))
        .map(|(mention, text)| source.at(mention.line, "layers", text))
        .collect();
    found.dedup();
    found
}

/// What is wrong with a mention of a path of ours.
fn ours(room: &Room, mention: &Mention) -> Option<String> {
    let (first, inside) = mention.path.split_first()?;
    if !matches!(first.as_str(), "crate" | "chancery") {
        return None;
    }
    let target = inside.first().map_or("*", String::as_str);
    if target == room.name {
        return None;
    }
    if mention.exported && room.name != "lib" {
        return Some(format!(
            "`{}` re-exports `{}`: nobody passes on what is another room's",
            room.name,
            mention.text()
        ));
    }
    if TOP.contains(&target) && !TOP.contains(&room.name) {
        return Some(format!("`{}` uses `{}`: nobody may use {target}", room.name, mention.text()));
    }
    let allowed = |prefix: &&str| *prefix == "*" || within(prefix, inside);
    if target == "*" && !room.may.contains(&"*") {
        return Some(format!("`{}` uses `{}`: name the room that is meant", room.name, mention.text()));
    }
    (!room.may.iter().any(allowed)).then(|| {
        let may = if room.may.is_empty() { "nothing of ours".into() } else { room.may.join(", ") };
        format!("`{}` uses `{}`: it may use {may}", room.name, mention.text())
    })
}

fn within(prefix: &str, inside: &[String]) -> bool {
    let prefix: Vec<&str> = prefix.split("::").collect();
    inside.len() >= prefix.len() && inside.iter().zip(&prefix).all(|(own, wanted)| own == wanted)
}

/// What is wrong with a mention of a path of others.
fn others(source: &Source, room: &Room, mention: &Mention) -> Option<String> {
    if mention.path.len() < 2 && mention.path.first().is_none_or(|first| first == "Message") {
        return None;
    }
    if let Some(never) = room.never.iter().find(|never| mention.reaches(never)) {
        return Some(format!("`{}` uses `{}`: never {never} here", room.name, mention.text()));
    }
    if let Some((reserved, whose)) = RESERVED.iter().find(|(reserved, _)| mention.reaches(reserved))
        && !whose.iter().any(|prefix| source.path.starts_with(prefix))
    {
        return Some(format!("`{}`: {reserved} is for {} only", mention.text(), whose.join(", ")));
    }
    let (board, parts) = SNAPSHOT_TOKIO;
    let on_board = source.path == board || source.path.starts_with(&board.replace(".rs", "/"));
    let watches = on_board && parts.iter().any(|part| within(part, &mention.path));
    if room.name == "snapshot" && mention.path[0] == "tokio" && !watches {
        return Some(format!("`{}`: in snapshot only {board} may use {}", mention.text(), parts.join(" and ")));
    }
    let encodes = mention.path.iter().any(|segment| segment == "prost")
        && mention.path.iter().any(|s| s == "Message" || s == "encoding");
    let decoder = source.path == ENCODER || DECODERS.iter().any(|prefix| source.path.starts_with(prefix));
    (encodes && !decoder).then(|| format!("`{}`: messages are encoded in {ENCODER} only", mention.text()))
}
