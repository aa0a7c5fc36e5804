//! The conditions of a rule: path, method, headers.

use crate::model::route::HttpMatch;
use crate::model::text::StringMatch;
use crate::source::parse::notes::Notes;
use crate::source::parse::{expression, syntax};
use crate::source::yaml::marks;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One entry of `match` as written.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct MatchSpec {
    name: String,
    uri: Option<StringSpec>,
    method: Option<StringSpec>,
    headers: BTreeMap<String, StringSpec>,
    /// Conditions the field table refuses; with them a match is not empty.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StringSpec {
    exact: Option<String>,
    prefix: Option<String>,
    regex: Option<String>,
}

/// Keys of `headers` that Istio ignores: they have fields of their own.
const FIELDS_NOT_HEADERS: [&str; 4] = ["uri", "scheme", "method", "authority"];

impl MatchSpec {
    /// Validates the match, which stands at `path`.
    pub fn parse(self, path: &str, notes: &mut Notes) -> HttpMatch {
        if self.uri.is_none() && self.method.is_none() && self.headers.is_empty() && self.others.is_empty() {
            notes.error(path, "a match without conditions matches every request; leave it out if that is meant");
        }
        let name = self.name.into();
        let headers_path = format!("{path}.headers");
        let uri = self.uri.and_then(|spec| spec.required(&format!("{path}.uri"), Place::Path, notes));
        let method = self.method.and_then(|spec| spec.required(&format!("{path}.method"), Place::Value, notes));
        let headers = headers(self.headers, &headers_path, notes);
        HttpMatch { name, uri, method, headers }
    }
}

fn headers(
    written: BTreeMap<String, StringSpec>,
    path: &str,
    notes: &mut Notes,
) -> Vec<(Arc<str>, Option<StringMatch>)> {
    let mut headers: Vec<(Arc<str>, Option<StringMatch>)> = Vec::new();
    for (name, spec) in written {
        let path = marks::key(path, &name);
        if FIELDS_NOT_HEADERS.contains(&&*name) {
            notes.error(
                &path,
                format!("{name} is not a header to Istio, which ignores it here; use the field of that name"),
            );
            continue;
        }
        let value = spec.parse(&path, Place::Value, notes);
        let Some(name) = notes.check(&path, syntax::header(&name)) else { continue };
        if headers.iter().any(|(other, _)| **other == *name) {
            notes.error(&path, format!("the header {name} is there twice, in different case"));
        }
        headers.push((name.into(), value));
    }
    headers.sort();
    headers
}

/// What a string is matched with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A path, where an empty prefix is every path.
    Path,
    /// A value, where Envoy takes no empty prefix.
    Value,
}

impl StringSpec {
    /// The match; none asks for presence only, as no condition and the expression `*` do in Istio.
    fn parse(self, path: &str, place: Place, notes: &mut Notes) -> Option<StringMatch> {
        let given = [self.exact.is_some(), self.prefix.is_some(), self.regex.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            notes.error(path, "only one of exact, prefix and regex is allowed");
        }
        if place == Place::Path {
            unreachable(path, [("exact", &self.exact), ("prefix", &self.prefix)], notes);
        }
        match (self.exact, self.prefix, self.regex) {
            (Some(text), _, _) => Some(StringMatch::Exact(text.into())),
            (_, Some(text), _) => {
                if text.is_empty() && place == Place::Value {
                    notes.error(format!("{path}.prefix"), "must not be empty");
                }
                Some(StringMatch::Prefix(text.into()))
            }
            (_, _, Some(text)) if text == "*" && place == Place::Value => None,
            (_, _, Some(text)) => {
                notes.check(&format!("{path}.regex"), expression::check(&text))?;
                Some(StringMatch::Regex(text.into()))
            }
            (None, None, None) => None,
        }
    }

    /// The match of something every request has.
    fn required(self, path: &str, place: Place, notes: &mut Notes) -> Option<StringMatch> {
        if self.exact.is_none() && self.prefix.is_none() && self.regex.is_none() {
            notes.error(path, "one of exact, prefix and regex is needed");
        }
        self.parse(path, place, notes)
    }
}

/// Says of paths that no request has them; the query is not part of what is matched.
fn unreachable(path: &str, texts: [(&str, &Option<String>); 2], notes: &mut Notes) {
    for (field, text) in texts {
        let Some(text) = text.as_deref().filter(|text| field == "exact" || !text.is_empty()) else { continue };
        // `*` is what OPTIONS asks for when it is about the whole server.
        if (!text.starts_with('/') && text != "*") || text.contains(['?', '#']) {
            let text = "matches no request: a path begins with / and ends before the query";
            notes.warning(format!("{path}.{field}"), text);
        }
    }
}
