//! Envoy's command operators: `%NAME%`, `%NAME(ARGUMENTS)%`, `%NAME(ARGUMENTS):LENGTH%`. A text is taken apart as Envoy does
//! it, and every operator must be in the table, with arguments of its shape.
//!
//! A proxy refuses every listener for one operator it doesn't know, so what is not known here is refused.

pub mod operators;
pub mod shape;

use super::syntax::quoted;
use operators::{ASIDE, OPERATORS, PLAIN};
use shape::Shape;

/// What is wrong with a text; nothing if every Envoy that is served takes it.
pub fn check(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(control) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        wrong.push(format!("the control character {} is not allowed", control.escape_default()));
    }
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let here = &rest[at..];
        rest = match (here.strip_prefix("%%"), Command::read(here)) {
            (Some(after), _) => after,
            (None, Some((command, after))) => {
                wrong.extend(command.check().err().map(|reason| format!("{} {reason}", quoted(command.text))));
                after
            }
            // Where it was meant to end is a guess, so nothing behind it is looked at.
            (None, None) => {
                let hint = "begins no operator such as %REQ(USER-AGENT)%; the sign itself is written %%";
                wrong.push(format!("{} {hint}", quoted(here)));
                break;
            }
        };
    }
    wrong
}

/// One operator as it is written.
struct Command<'t> {
    text: &'t str,
    name: &'t str,
    arguments: &'t str,
    length: Option<&'t str>,
}

impl<'t> Command<'t> {
    /// The operator that `text` begins with, and what follows it. Arguments reach to the first closing bracket that the end
    /// of an operator follows, not to the first bracket (Envoy's rule).
    fn read(text: &'t str) -> Option<(Self, &'t str)> {
        let inside = text.strip_prefix('%')?;
        let name = &inside[..inside.find(|c: char| !is_of_name(c)).unwrap_or(inside.len())];
        let after = &inside[name.len()..];
        let (arguments, (length, rest)) = match after.strip_prefix('(') {
            Some(opened) => closed(opened)?,
            None => ("", end(after)?),
        };
        let text = &text[..text.len() - rest.len()];
        (!name.is_empty()).then_some((Command { text, name, arguments, length }, rest))
    }

    fn check(&self) -> Result<(), String> {
        if PLAIN.contains(&self.name) {
            return self.fits(Shape::Nothing, false);
        }
        match OPERATORS.iter().find(|operator| operator.name == self.name) {
            Some(operator) => self.fits(operator.shape, operator.length),
            None => {
                let aside = ASIDE.iter().find(|(name, _)| *name == self.name);
                let hint = aside.map(|(_, hint)| format!(": {hint}")).unwrap_or_default();
                Err(format!("is not an operator that every supported Envoy knows{hint}"))
            }
        }
    }

    fn fits(&self, shape: Shape, length: bool) -> Result<(), String> {
        if self.length.is_some() && !length {
            return Err("can't be cut to a length".to_owned());
        }
        if self.arguments.contains(['(', ')', '\n', '\t']) {
            return Err("has brackets or line breaks within its brackets; is a % missing?".to_owned());
        }
        if shape.takes(self.arguments) { Ok(()) } else { Err(shape.expected()) }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// Arguments up to the bracket that ends them, with what follows that: a length and the rest behind the operator.
fn closed(opened: &str) -> Option<(&str, (Option<&str>, &str))> {
    let line = &opened[..opened.find('\n').unwrap_or(opened.len())];
    let brackets = line.match_indices(')').map(|(at, _)| at);
    brackets.into_iter().find_map(|at| Some((&opened[..at], end(&opened[at + 1..])?)))
}

/// `%` or `:LENGTH%`.
fn end(text: &str) -> Option<(Option<&str>, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some((None, rest));
    }
    let (length, rest) = text.strip_prefix(':')?.split_once('%')?;
    // Plain digits that fit 64 bits: a sign would parse as well.
    let good = length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<u64>().is_ok();
    good.then_some((Some(length), rest))
}
