//! The flags of each subcommand, from `--help` and from the tables of the reference page, which must agree.

use crate::pages;
use std::collections::BTreeSet;
use std::process::Command;

const PAGE: &str = "docs/reference/cli.md";

/// A flag's spellings, such as `-f` and `--file`, and its default; `required` or `none` where it has none.
pub type Flags = BTreeSet<(Vec<String>, String)>;

/// What `chancery ARGUMENTS --help` prints.
pub fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    // Help shows the values of the variables a flag can come from.
    let variables = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CHANCERY_"));
    for name in variables {
        command.env_remove(name);
    }
    let output = command.args(arguments).arg("--help").output().expect("chancery runs");
    assert!(output.status.success(), "{arguments:?} --help: {}", output.status);
    String::from_utf8(output.stdout).expect("help is text")
}

/// The subcommands, from the help of the whole; those of a subcommand in its place.
pub fn subcommands() -> BTreeSet<String> {
    let one = |name: String| match listed(&help(&[&name])) {
        inner if inner.is_empty() => vec![name],
        inner => inner.iter().map(|inner| format!("{name} {inner}")).collect(),
    };
    listed(&help(&[])).into_iter().flat_map(one).collect()
}

fn listed(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).and_then(|list| list.split("\n\n").next());
    let names = list.into_iter().flat_map(str::lines).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// A subcommand's name as arguments.
pub fn words(name: &str) -> Vec<&str> {
    name.split(' ').collect()
}

/// The flags in a help text; `--help` itself is left out.
pub fn offered(help: &str) -> Flags {
    let usage = help.lines().find(|line| line.starts_with("Usage:")).expect("help has a usage");
    let options = help.split("Options:\n").nth(1).unwrap_or_default();
    let mut entries: Vec<String> = Vec::new();
    for line in options.lines() {
        // A long description stands in lines of its own, further in, and so do the values that are possible.
        let text = line.trim_start();
        if text.starts_with('-') && !text.starts_with("- ") {
            entries.push(line.trim().to_owned());
        } else if let Some(entry) = entries.last_mut() {
            entry.push_str("  ");
            entry.push_str(line.trim());
        }
    }
    let flags = entries.iter().map(|entry| {
        let names = spellings(entry.split("  ").next().unwrap_or_default());
        let required = names.iter().any(|name| usage.contains(&format!(" {name} ")));
        let default = entry.split_once("[default: ").and_then(|(_, rest)| rest.split(']').next());
        (names, default.unwrap_or(if required { "required" } else { "none" }).to_owned())
    });
    flags.filter(|(names, _)| !names.contains(&"--help".to_owned())).collect()
}

/// The words that are flags.
fn spellings(text: &str) -> Vec<String> {
    let words = text.split([' ', ',']).filter(|word| word.starts_with('-'));
    words.map(str::to_owned).collect()
}

/// The flags in the table under `## chancery NAME`.
fn documented(page: &str, name: &str) -> Flags {
    let section = page.split("\n## ").find_map(|section| section.strip_prefix(&format!("chancery {name}\n")));
    let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| `-"));
    let flags = rows.map(|row| {
        let mut cells = row.split(" | ").map(|cell| cell.trim_matches('`'));
        let (flag, default) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        (spellings(&format!("-{flag}")), default.to_owned())
    });
    flags.collect()
}

/// What differs between the page and the help texts.
fn differences(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let named: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("## chancery ")).map(str::to_owned).collect();
    let all = subcommands();
    found.extend(named.symmetric_difference(&all).map(|name| format!("chancery {name} is only in one of the two")));
    for name in &all {
        let (ours, theirs) = (documented(page, name), offered(&help(&words(name))));
        found.extend(ours.difference(&theirs).map(|flag| format!("chancery {name}: only the page has {flag:?}")));
        found.extend(theirs.difference(&ours).map(|flag| format!("chancery {name}: only the help has {flag:?}")));
    }
    found
}

#[test]
fn the_reference_has_every_flag_with_its_default() {
    let differences = differences(&pages::page(PAGE));
    assert!(differences.is_empty(), "{PAGE}:\n{}", differences.join("\n"));
    let page = pages::page(PAGE);
    let known = help(&["serve"]);
    let variables = page.split(|letter: char| !letter.is_ascii_uppercase() && letter != '_');
    for name in variables.filter(|word| word.starts_with("CHANCERY_")) {
        assert!(known.contains(&format!("[env: {name}=]")), "{PAGE}: no flag can come from {name}");
    }
}

/// The control: a flag missing, a flag too many, another default and a missing command are each seen.
#[test]
fn a_difference_is_seen() {
    let page = pages::page(PAGE);
    for (from, to, count) in [
        ("`127.0.0.1:15014`", "`127.0.0.1:15015`", 4),
        ("| `--stats-port", "| `--stat-port", 2),
        ("| `--log-level", "| --log-level", 1),
        ("| required |", "| none |", 8),
        ("## chancery analyze", "## chancery check", 3),
    ] {
        let changed = page.replace(from, to);
        assert_ne!(changed, page, "{from} is not on the page");
        let found = differences(&changed);
        assert_eq!(found.len(), count, "{from} -> {to}: {found:#?}");
    }
}
