//! The syntax of names, labels, hosts, ports, headers, expressions and durations. Nothing a manifest says is trusted: these
//! texts end up in resource names and in Envoy's configuration. Every check answers why not, in one sentence.

use crate::model::labels::Labels;
use crate::model::name::{Host, Namespace};
use serde_json::Number;
use std::collections::BTreeMap;
use std::time::Duration;

/// A DNS label (RFC 1123): Kubernetes' rule for namespaces, Services and port names, Istio's for subsets.
pub fn label(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > 63 {
        return Err(format!("{} is longer than 63 characters", quoted(text)));
    }
    if is_part(text) {
        Ok(())
    } else {
        Err(format!(
            "{} is not a name: lower-case letters, digits and '-' are allowed, '-' not at the ends",
            quoted(text)
        ))
    }
}

/// Whether a text is a DNS label but for its length.
fn is_part(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || c == '-')
}

/// A DNS subdomain as Kubernetes means it: its rule for the names of most objects. A part of it may be longer than a DNS label.
pub fn subdomain(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > 253 {
        return Err(format!("{} is longer than 253 characters", quoted(text)));
    }
    if text.split('.').all(is_part) {
        return Ok(());
    }
    Err(format!(
        "{} is not a name: lower-case letters, digits, '-' and '.' are allowed, '-' and '.' not at the ends of a part",
        quoted(text)
    ))
}

/// A name of the DNS (RFC 1123), which can be looked up.
pub fn dns_name(text: &str) -> Result<(), String> {
    if text.len() > 253 {
        return Err(format!("{} is longer than 253 characters", quoted(text)));
    }
    if !text.contains('.') {
        return label(text);
    }
    if text.split('.').all(|part| label(part).is_ok()) {
        return Ok(());
    }
    // All of it is shown, because whoever wrote it looks for all of it.
    Err(format!(
        "{} is not a DNS name: parts of 1 to 63 lower-case letters, digits and '-' are expected, '-' not at their ends",
        quoted(text)
    ))
}

/// A host of a rule, resolved: a short name, a full name, or a wildcard `*.example.com` or `*`.
pub fn host(text: &str, namespace: &Namespace) -> Result<Host, String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    let host = Host::resolve(text, namespace);
    match host.as_str() {
        "*" => Ok(()),
        name => dns_name(name.strip_prefix("*.").unwrap_or(name)).map_err(|_| {
            format!("{} is not a host: a DNS name is expected, possibly with a leading '*.'", quoted(text))
        }),
    }?;
    Ok(host)
}

/// A host that is no wildcard.
pub fn plain_host(text: &str, namespace: &Namespace) -> Result<Host, String> {
    let host = host(text, namespace)?;
    if host.is_wildcard() { Err(format!("{} is a wildcard; one host is expected", quoted(text))) } else { Ok(host) }
}

/// Labels by Kubernetes' rules.
pub fn labels(written: &BTreeMap<String, String>) -> Result<Labels, String> {
    for (key, value) in written {
        let (prefix, name) = key.split_once('/').map_or((None, &**key), |(prefix, name)| (Some(prefix), name));
        prefix.map_or(Ok(()), subdomain).map_err(|text| format!("label key {}: {text}", quoted(key)))?;
        label_text(name).map_err(|text| format!("label key {}: {text}", quoted(key)))?;
        if !value.is_empty() {
            label_text(value).map_err(|text| format!("label {}: {text}", quoted(key)))?;
        }
    }
    Ok(written.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
}

fn label_text(text: &str) -> Result<(), String> {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| edge(c) || matches!(c, '-' | '_' | '.');
    if text.len() <= 63 && text.starts_with(edge) && text.ends_with(edge) && text.chars().all(inner) {
        Ok(())
    } else {
        Err(format!(
            "{} is not at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
            quoted(text)
        ))
    }
}

/// A port number.
pub fn port(number: i64) -> Result<u16, String> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("{number} is not a port; it must be between 1 and 65535"))
}

/// A number within bounds, which are what Envoy and Istio take.
pub fn within(number: &Number, least: u32, most: u32) -> Result<u32, String> {
    let value = number.as_u64().and_then(|value| u32::try_from(value).ok());
    value
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| format!("is {number}; it must be between {least} and {most}"))
}

/// The name of an HTTP header, lower-cased. Pseudo-headers and claims of tokens are refused.
pub fn header(name: &str) -> Result<String, String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.starts_with(':') {
        Err(format!("{} is a pseudo-header; match uri and method by their own fields", quoted(name)))
    } else if name.starts_with('@') {
        Err(format!("{}: matching claims of tokens is not supported yet", quoted(name)))
    } else if name.is_empty() || name.len() > 256 || !name.chars().all(token) {
        Err(format!("{} is not the name of an HTTP header", quoted(name)))
    } else {
        Ok(name.to_ascii_lowercase())
    }
}

/// A duration as Istio and Go write it: `1.5s`, `100ms`, `1h2m`. At most 365 days, whole milliseconds, as in Istio.
pub fn duration(text: &str) -> Result<Duration, String> {
    const MOST: u128 = 365 * 24 * 3_600_000_000_000;
    let nanos =
        nanos(text).ok_or_else(|| format!("{} is not a duration; write it like 1.5s, 100ms or 1h2m", quoted(text)))?;
    if nanos > MOST {
        return Err(format!("{text} is longer than 365 days"));
    }
    if nanos % 1_000_000 != 0 {
        return Err(format!("{text} is not a whole number of milliseconds"));
    }
    // Bounded above, so it fits.
    Ok(Duration::from_millis(u64::try_from(nanos / 1_000_000).unwrap_or(u64::MAX)))
}

/// A duration of at least a millisecond.
pub fn positive(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() { Err(format!("is {text}; it must be at least 1ms")) } else { Ok(duration) }
    })
}

/// A duration of at least a second.
pub fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let long = |duration: &Duration| *duration >= Duration::from_secs(1);
    duration(text).and_then(|found| Some(found).filter(long).ok_or(format!("is {text}; it must be at least 1s")))
}

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn nanos(text: &str) -> Option<u128> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0u128;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| number + end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == &rest[number..unit])?;
        total = total.checked_add(scaled(&rest[..number], *scale)?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 15 || fraction.len() > 15 || fraction.contains('.') {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    // Digits below a nanosecond round down.
    let part = digits(fraction)? * scale / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(digits(whole)? * scale + part)
}

/// A text as it is shown to its author: escaped, and cut when long.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}
