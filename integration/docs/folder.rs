//! The page of the folder: its tables hold the kinds that are read, and the settings of the mesh that are in effect.

use crate::pages;
use chancery::model::provenance::ObjectKind;
use chancery::source::parse::fields::{State, fields};
use std::collections::BTreeSet;

const PAGE: &str = "docs/reference/folder.md";

/// The first cells of the table under a heading.
fn cells(page: &str, heading: &str) -> Vec<String> {
    let after = page.split(heading).nth(1).expect("there is such a heading");
    let table = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table.skip(2).filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect()
}

/// The names in code, each up to its first dot.
fn named(cells: &[String]) -> BTreeSet<&str> {
    let codes = cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
    codes.map(|name| name.split('.').next().unwrap_or_default()).collect()
}

#[test]
fn the_kinds_are_those_that_are_read() {
    let cells = cells(&pages::page(PAGE), "\n## Files\n");
    let kinds = ObjectKind::ALL.into_iter().filter(|kind| *kind != ObjectKind::MeshConfig);
    let kinds: BTreeSet<&str> = kinds.map(ObjectKind::as_str).collect();
    assert_eq!(cells.iter().map(String::as_str).collect::<BTreeSet<_>>(), kinds);
    assert_eq!(cells.len(), kinds.len(), "each is there once");
}

#[test]
fn the_settings_are_those_in_effect() {
    let cells = cells(&pages::page(PAGE), "\n## Settings of the mesh\n");
    let done = fields(ObjectKind::MeshConfig).iter().filter(|field| field.state == State::Done);
    assert_eq!(named(&cells), done.map(|field| field.name).collect());
}

/// The control: only the table under the heading is read, and every name of a cell.
#[test]
fn cells_are_found() {
    let page = "| a | b |\n\n## H\ntext\n\n| x | y |\n|---|---|\n| `c.d`, `e` | `no` |\n| f | g |\n\n| `other` | h |\n";
    let found = cells(page, "\n## H\n");
    assert_eq!(found, ["`c.d`, `e`", "f"]);
    assert_eq!(named(&found), BTreeSet::from(["c", "e"]));
}
