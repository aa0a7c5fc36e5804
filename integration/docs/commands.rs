//! Command lines in the documents: every subcommand, flag and make target they name exists.

use crate::flags::{help, offered, subcommands, words};
use crate::{documents, pages};
use std::collections::{BTreeMap, BTreeSet};

/// What commands may name.
struct Known {
    flags: BTreeMap<String, BTreeSet<String>>,
    targets: BTreeSet<String>,
}

impl Known {
    fn now() -> Self {
        let names = |name: &String| offered(&help(&words(name))).into_iter().flat_map(|(names, _)| names);
        let flags = subcommands().into_iter().map(|name| (name.clone(), names(&name).collect())).collect();
        let makefile = pages::page("Makefile");
        let targets = makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
        let plain = |name: &&str| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
        Self { flags, targets: targets.filter(plain).map(str::to_owned).collect() }
    }

    /// What is wrong with one command, as far as it is one of ours.
    fn mistakes(&self, command: &str) -> Vec<String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            [program, ref arguments @ ..] if program == "chancery" || program.ends_with("/chancery") => {
                self.chancery(arguments)
            }
            ["make", ref arguments @ ..] => {
                let names =
                    arguments.iter().take_while(|word| !word.starts_with('#')).filter(|word| !word.contains('='));
                let unknown = names.filter(|name| !self.targets.contains(**name));
                unknown.map(|name| format!("make has no target {name}")).collect()
            }
            _ => Vec::new(),
        }
    }

    fn chancery(&self, arguments: &[&str]) -> Vec<String> {
        // `chancery --help`, `chancery COMMAND`: about the whole.
        let Some(name) = arguments.first().filter(|name| name.chars().all(|letter| letter.is_ascii_lowercase())) else {
            return Vec::new();
        };
        // One of a group of commands, or one by itself.
        let both = arguments.get(1).map(|inner| format!("{name} {inner}")).filter(|both| self.flags.contains_key(both));
        let name = both.unwrap_or_else(|| (*name).to_owned());
        let Some(flags) = self.flags.get(&name) else { return vec![format!("chancery has no command {name}")] };
        let named = arguments.iter().filter(|word| word.starts_with('-')).map(|word| word.split('=').next());
        let unknown = named.flatten().filter(|flag| *flag != "--help" && !flags.contains(*flag));
        unknown.map(|flag| format!("chancery {name} has no flag {flag}")).collect()
    }
}

/// The commands of a page: the lines of its blocks, joined where they go on and parted at `;`, `|` and `&`, and its code
/// within lines.
fn commands(text: &str) -> Vec<String> {
    let blocks = pages::blocks(text, "sh").join("\n").replace("\\\n", " ");
    let mut found: Vec<String> = blocks.split(['\n', ';', '|', '&']).map(|part| part.trim().to_owned()).collect();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_command_in_the_documents_exists() {
    let known = Known::now();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for command in commands(&text) {
            seen += usize::from(command.contains("chancery ") || command.starts_with("make "));
            wrong.extend(known.mistakes(&command).iter().map(|mistake| format!("{path}: `{command}`: {mistake}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 20, "the commands are not found: {seen}");
}

/// The control.
#[test]
fn a_command_that_does_not_exist_is_seen() {
    let known = Known::now();
    let page = "Say `make tset` or `chancery serve --confg DIR`:\n\n```sh\nmake test dmeo ONCE=1  # all\nls && \
                target/debug/chancery analyze x --fail-on=error \\\n  --quiet; chancery sreve\n```\n\n`make` `chancery`\n";
    let mistakes: Vec<String> = commands(page).iter().flat_map(|command| known.mistakes(command)).collect();
    let expected = [
        "make has no target dmeo",
        "chancery analyze has no flag --quiet",
        "chancery has no command sreve",
        "make has no target tset",
        "chancery serve has no flag --confg",
    ];
    assert_eq!(mistakes, expected);
}
