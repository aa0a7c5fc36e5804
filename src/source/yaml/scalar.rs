//! Plain scalars: which text stands for null, a boolean or a number.
//!
//! YAML 1.2's core schema, and what Kubernetes' own reading adds and manifests rely on: `yes`, `no`, `on`, `off` are
//! booleans, and an integer with a leading zero is octal (`0644`). `y` and `n` stay strings. Infinities and NaN have no
//! JSON form and stay strings. Quoted text never gets here.

use serde_json::{Number, Value};

/// The value an unquoted text stands for.
pub fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::from(text), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    match radix(digits) {
        Some((radix, digits)) => integer(negative, digits, radix),
        None if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            integer(negative, digits, 10).or_else(|| float(text))
        }
        None if is_float(digits) => float(text),
        None => None,
    }
}

fn radix(digits: &str) -> Option<(u32, &str)> {
    match digits.as_bytes() {
        [b'0', b'x', _, ..] => Some((16, &digits[2..])),
        [b'0', b'o', _, ..] => Some((8, &digits[2..])),
        [b'0', b'b', _, ..] => Some((2, &digits[2..])),
        [b'0', rest @ ..] if !rest.is_empty() && rest.iter().all(|byte| (b'0'..=b'7').contains(byte)) => {
            Some((8, &digits[1..]))
        }
        _ => None,
    }
}

fn integer(negative: bool, digits: &str, radix: u32) -> Option<Number> {
    // The standard parser takes a sign, which would allow two.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0i64.checked_sub_unsigned(magnitude).map(Number::from) } else { Some(Number::from(magnitude)) }
}

fn is_float(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent))
}

fn float(text: &str) -> Option<Number> {
    Number::from_f64(text.parse().ok()?)
}
