//! Regular expressions: Envoy compiles them with RE2, and rejects a whole route configuration for one it can't. Checked with
//! the `regex` crate, which takes nearly the same syntax; what only it takes is refused as well.

mod foreign;

use super::syntax::quoted;
use regex::RegexBuilder;

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 1_024;
/// The largest compiled form, in bytes; well below the 32,768 instructions that the bootstrap allows Envoy's RE2.
const MAX_SIZE: usize = 1 << 19;

/// Checks an expression.
pub fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("an expression must not be empty".to_owned());
    }
    if text.len() > MAX_LENGTH {
        return Err(format!("the expression has {} bytes; {MAX_LENGTH} are allowed", text.len()));
    }
    match RegexBuilder::new(text).size_limit(MAX_SIZE).build() {
        Ok(_) => foreign::check(text).map_err(|what| format!("{} is not RE2: {what}", quoted(text))),
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
