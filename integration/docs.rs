//! Documentation against what it documents: command lines, flags, make targets, JSON and the generated page of fields.
//!
//! The tutorial is done by the live tests; the table of metrics is compared by the telemetry tests.

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/fields.rs"]
mod fields;
#[path = "docs/flags.rs"]
mod flags;
#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/totals.rs"]
mod totals;

use std::fs;
use std::path::Path;

/// Every Markdown page people read as documentation: path and text.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "CHANGELOG.md".to_owned()];
    collect("docs", &mut paths);
    paths.into_iter().map(|path| (path.clone(), pages::page(&path))).collect()
}

fn collect(folder: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(pages::root().join(folder)).expect("the folder is there") {
        let name = entry.expect("a readable entry").file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if pages::root().join(&path).is_dir() {
            collect(&path, paths);
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

#[test]
fn json_examples_parse() {
    let examples: Vec<(String, String)> = documents()
        .into_iter()
        .flat_map(|(path, text)| pages::blocks(&text, "json").into_iter().map(move |block| (path.clone(), block)))
        .collect();
    assert!(examples.len() >= 2, "the examples are not found");
    for (path, example) in examples {
        let read = serde_json::from_str::<serde_json::Value>(&example);
        assert!(read.is_ok(), "{path}: {read:?}\n{example}");
    }
}

/// The control: only blocks of the language are taken, each as it stands.
#[test]
fn blocks_are_found() {
    let page = "text\n```json\n{\"a\":\n1}\n```\n```sh\nls\n```\n```\nplain\n```\n```json\n{\n```\n";
    assert_eq!(pages::blocks(page, "json"), ["{\"a\":\n1}\n", "{\n"]);
    assert_eq!(pages::blocks(page, "sh"), ["ls\n"]);
}
