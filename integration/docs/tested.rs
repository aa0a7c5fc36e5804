//! What the page of compatibility says is tested with which Envoy, against the lists of tests themselves.

use crate::pages;
use std::collections::BTreeSet;

const PAGE: &str = "docs/reference/compatibility.md";

/// The files that the tests between two words of a list of tests are in.
fn listed<'t>(list: &'t str, from: &str, to: &str) -> BTreeSet<&'t str> {
    let after = list.split_once(from).expect("the list begins").1;
    let part = after.split_once(to).expect("the list ends").0;
    part.lines().filter_map(|line| Some(line.trim().split_once("::")?.0)).collect()
}

fn names<'n>(files: impl IntoIterator<Item = &'n &'n str>) -> String {
    files.into_iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ")
}

/// What the row of live tests says of the oldest Envoy.
fn oldest(list: &str) -> String {
    let (every, newest) = (listed(list, "\n    every:", "\n    newest:"), listed(list, "\n    newest:", "\n);"));
    let (whole, part) = (every.difference(&newest), every.intersection(&newest));
    let shared = listed(list, "\nshared_out!(", "\n);");
    format!("all of {}; the core of {}; in one variant {}", names(whole), names(part), names(&shared))
}

#[test]
fn the_page_says_what_is_tested() {
    let live = oldest(&pages::page("integration/live.rs"));
    let live = format!("| `live`: what applications see, in both variants of the protocol | all | {live} |");
    let capture = pages::page("integration/capture.rs");
    let again = names(&listed(&capture, "\n    sotw:", "\n);"));
    let capture = format!("| `capture` in the other variant | the core of {again} | none |");
    let page = pages::page(PAGE);
    for row in [live, capture] {
        assert!(page.contains(&format!("\n{row}\n")), "{PAGE} should have the row\n{row}");
    }
}

/// The control: a test that is for the newest only makes its file one of which the core is tested.
#[test]
fn another_list_is_another_row() {
    let list = |last: &str| {
        format!("\n    every:\n  a::x,\n  b::y;\n    newest:\n  {last}::z;\n);\n\nshared_out!(\n  c::x,\n);\n")
    };
    assert_eq!(oldest(&list("b")), "all of `a`; the core of `b`; in one variant `c`");
    assert_eq!(oldest(&list("a")), "all of `b`; the core of `a`; in one variant `c`");
}
