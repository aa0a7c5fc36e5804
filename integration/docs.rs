//! Documentation against what it documents: command lines, flags, make targets, JSON and the generated page of fields.
//!
//! The tutorial is done by the live tests; the table of metrics is compared by the telemetry tests.

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/fields.rs"]
mod fields;
#[path = "docs/flags.rs"]
mod flags;
#[path = "docs/folder.rs"]
mod folder;
#[path = "docs/kinds.rs"]
mod kinds;
#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/tested.rs"]
mod tested;
#[path = "docs/totals.rs"]
mod totals;

use pages::documents;

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
