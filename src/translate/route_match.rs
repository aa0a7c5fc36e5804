//! Conditions of routes.

use crate::model::route::HttpMatch;
use crate::model::text::StringMatch;
use envoy::header_matcher::HeaderMatchSpecifier;
use envoy::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3 as envoy;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};

/// The condition every request meets.
pub fn everything() -> envoy::RouteMatch {
    envoy::RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() }
}

/// Whether every request meets the condition, so that routes after it are never reached.
pub fn is_everything(condition: &HttpMatch) -> bool {
    let any_path = match &condition.uri {
        None => true,
        Some(StringMatch::Prefix(prefix)) => &**prefix == "/",
        Some(StringMatch::Regex(regex)) => matches!(&**regex, ".*" | "/.*"),
        Some(StringMatch::Exact(_)) => false,
    };
    any_path && condition.method.is_none() && condition.headers.is_empty()
}

/// Builds a condition: all parts must hold.
pub fn build(condition: &HttpMatch) -> envoy::RouteMatch {
    let path = match &condition.uri {
        None => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.to_string()),
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::Prefix(prefix.to_string()),
        Some(StringMatch::Regex(regex)) => PathSpecifier::SafeRegex(expression(regex)),
    };
    let method = condition.method.iter().map(|method| header(":method", Some(method)));
    let headers = condition.headers.iter().map(|(name, value)| header(name, value.as_ref()));
    envoy::RouteMatch { path_specifier: Some(path), headers: method.chain(headers).collect(), ..Default::default() }
}

fn header(name: &str, value: Option<&StringMatch>) -> envoy::HeaderMatcher {
    let specifier = match value {
        None => HeaderMatchSpecifier::PresentMatch(true),
        Some(value) => HeaderMatchSpecifier::StringMatch(string(value)),
    };
    envoy::HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() }
}

fn string(value: &StringMatch) -> StringMatcher {
    let pattern = match value {
        StringMatch::Exact(text) => MatchPattern::Exact(text.to_string()),
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        StringMatch::Regex(text) => MatchPattern::SafeRegex(expression(text)),
    };
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

fn expression(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..Default::default() }
}
