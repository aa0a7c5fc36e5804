//! The house test: who may use whom, sizes, names and words, checked over everything in `src` and `integration`.
//!
//! Reads files with syn, so that a path is a path however it is spelled. Reports every violation of a run at once, as
//! `file:line: rule: what to do`. The rules' data is in `house/table.rs`; `house/controls.rs` proves that each rule can
//! fail. Never touches what it reads.

#[path = "house/controls.rs"]
mod controls;
#[path = "house/files.rs"]
mod files;
#[path = "house/layers.rs"]
mod layers;
#[path = "house/paths.rs"]
mod paths;
#[path = "house/shape.rs"]
mod shape;
#[path = "house/source.rs"]
mod source;
#[path = "house/table.rs"]
mod table;
#[path = "house/text.rs"]
mod text;
#[path = "house/words.rs"]
mod words;

use source::{Source, Violation};
use std::path::Path;

/// Everything wrong with one file by itself.
fn inspect(source: &Source) -> Vec<Violation> {
    let mut found = text::check(source);
    found.extend(shape::check(source));
    found.extend(words::check(source));
    found.extend(layers::check(source));
    found
}

#[test]
fn the_house_stands() {
    // What cargo says now, not when this was built: a shared build cache must not make us read another checkout.
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&root);
    let (sources, mut found) = source::read(root);
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "nothing read under {}", root.display());
    found.extend(sources.iter().flat_map(inspect));
    found.extend(files::check(&sources, &source::files(root, "integration/golden")));
    found.extend(
        source::documents(root)
            .iter()
            .flat_map(|(path, text)| files::dead_links(path, text, |target| root.join(target).exists())),
    );
    let (mut left, stale) = table::excused(found);
    left.extend(stale);
    left.sort();
    let list: Vec<String> = left.iter().map(Violation::to_string).collect();
    assert!(list.is_empty(), "{} violations of the house rules:\n{}", list.len(), list.join("\n"));
}
