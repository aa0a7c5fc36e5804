//! Regular expressions: Envoy compiles them with RE2, and rejects a whole route configuration for one it can't. Checked with
//! the `regex` crate, which takes nearly the same syntax; what only it takes is refused as well.

use super::syntax::quoted;
use regex::RegexBuilder;

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 1_024;
/// The largest compiled form, in bytes; well below the 32,768 instructions that the bootstrap allows Envoy's RE2.
const MAX_SIZE: usize = 1 << 19;
/// The most repetitions RE2 takes.
const MAX_REPEAT: u32 = 1_000;

/// Checks an expression.
pub fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("an expression must not be empty".to_owned());
    }
    if text.len() > MAX_LENGTH {
        return Err(format!("the expression has {} bytes; {MAX_LENGTH} are allowed", text.len()));
    }
    match RegexBuilder::new(text).size_limit(MAX_SIZE).build() {
        Ok(_) => foreign(text).map_or(Ok(()), |what| Err(format!("{} is not RE2: {what}", quoted(text)))),
        Err(regex::Error::CompiledTooBig(_)) => Err(format!("{} is too large when compiled", quoted(text))),
        Err(error) => Err(format!("{} is not an expression: {}", quoted(text), reason(&error.to_string()))),
    }
}

/// What and where, from the several lines the parser draws.
fn reason(drawn: &str) -> String {
    let what = drawn.lines().rev().find_map(|line| line.trim().strip_prefix("error: ")).unwrap_or(drawn).trim();
    // The expression is drawn with four spaces before it and the place marked below.
    let place = drawn.lines().find(|line| line.contains('^') && line.trim_matches(['^', ' ']).is_empty());
    match place.and_then(|line| line.find('^')).and_then(|column| column.checked_sub(4)) {
        Some(column) => format!("{what}, at character {}", column + 1),
        None => what.to_owned(),
    }
}

/// Something the crate takes and RE2 doesn't.
fn foreign(text: &str) -> Option<&'static str> {
    let mut inside_class = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        match first {
            '\\' if after.starts_with(['u', 'U', '<', '>']) || after.starts_with("b{") => {
                return Some("unknown escape");
            }
            '\\' => {
                rest = &after[after.chars().next().map_or(0, char::len_utf8)..];
                continue;
            }
            '[' if inside_class && !after.starts_with(':') => return Some("a class inside a class"),
            '[' => inside_class = true,
            ']' => inside_class = false,
            '&' | '-' | '~' if inside_class && after.starts_with(first) => return Some("set operations in a class"),
            '(' if !inside_class && flags(after).contains(['x', 'R', 'u']) => return Some("unknown flag"),
            '{' if !inside_class && repeats(after) > MAX_REPEAT => return Some("more than 1000 repetitions"),
            _ => {}
        }
        rest = after;
    }
    None
}

fn flags(after: &str) -> &str {
    let Some(flags) = after.strip_prefix('?') else { return "" };
    &flags[..flags.find(|c: char| !c.is_ascii_alphabetic() && c != '-').unwrap_or(flags.len())]
}

fn repeats(after: &str) -> u32 {
    let counts = after.split('}').next().unwrap_or_default().split(',');
    counts.filter_map(|count| count.trim().parse().ok()).max().unwrap_or(0)
}
