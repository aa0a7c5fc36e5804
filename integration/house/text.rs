//! Text: headers, names of files, notes to self, banners.

use super::source::{Source, Violation};
use super::table::{EMPTY_NAMES, HEADER_LINES};

/// Words of unfinished work, spelled so that this file doesn't contain them.
const NOTES: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// The violations of one file.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut found: Vec<Violation> = header(source).into_iter().collect();
    found.extend(name(source));
    for (index, line) in source.text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("//") else { continue };
        let words = comment.split(|letter: char| !letter.is_alphanumeric());
        if let Some(note) = words.into_iter().find(|word| NOTES.contains(word)) {
            found.push(source.at(index + 1, "note", format!("{note}: do it, or say why it is not done")));
        }
        if is_banner(line) {
            found.push(source.at(index + 1, "banner", "a banner: let names and files give the structure"));
        }
    }
    found
}

fn header(source: &Source) -> Option<Violation> {
    let lines = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    if lines == 0 {
        return Some(source.at(
            1,
            "header",
            "no `//!` header: say what this is, what reaches it, what it must never do",
        ));
    }
    (lines > HEADER_LINES)
        .then(|| source.over(1, "header", lines, format!("{lines} lines of header, the cap is {HEADER_LINES}")))
}

fn name(source: &Source) -> Option<Violation> {
    let stem = source.path.rsplit('/').next()?.strip_suffix(".rs")?;
    if stem == "mod" {
        return Some(source.at(1, "name", "`mod.rs`: use `name.rs` beside the folder `name`"));
    }
    let empty = EMPTY_NAMES.contains(&stem) || EMPTY_NAMES.iter().any(|word| stem.ends_with(&format!("_{word}")));
    empty.then(|| source.at(1, "name", format!("`{stem}` says nothing: name it for what it holds")))
}

fn is_banner(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else { return false };
    let text = comment.trim_start_matches(['/', '!']).trim();
    text.len() >= 4 && ['-', '=', '*', '#', '~'].iter().any(|rule| text.starts_with(&rule.to_string().repeat(4)))
}
