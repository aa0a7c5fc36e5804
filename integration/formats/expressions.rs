//! Regular expressions of VirtualServices: what the check takes, the oldest and the newest Envoy take, and what they
//! refuse is refused before a proxy sees it, because a proxy would refuse every route of its port.

use super::{RELEASES, corpus, validated};
use crate::harness::tools::Release;
use chancery::source::parse::{Parsed, object};
use serde_json::json;

/// What is said of an expression where one may be written; nothing if it is taken.
fn said(expression: &str) -> String {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"hosts": ["c"], "http": [{
            "match": [{"uri": {"regex": expression}}],
            "route": [{"destination": {"host": "c"}}],
        }]},
    });
    let Parsed::Known { problems, object, .. } = object(&rule) else { panic!("a VirtualService") };
    assert_eq!(object.is_some(), problems.is_empty(), "{expression:?}: {problems:?}");
    assert!(problems.iter().all(|problem| problem.field == "spec.http[0].match[0].uri.regex"), "{problems:?}");
    problems.into_iter().map(|problem| problem.text).collect()
}

/// Whether an Envoy takes routes with all these expressions, and what it says. Its limits are those of the bootstrap.
fn takes(release: Release, expressions: &[String]) -> (bool, String) {
    const MANAGER: &str =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let routes = expressions
        .iter()
        .map(|expression| json!({"match": {"safe_regex": {"regex": expression}}, "direct_response": {"status": 200}}));
    let host = json!({"name": "a", "domains": ["*"], "routes": routes.collect::<Vec<_>>()});
    let manager = json!({
        "@type": MANAGER,
        "stat_prefix": "a",
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "route_config": {"virtual_hosts": [host]},
    });
    let listener = json!({
        "name": "a",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    });
    let layer = json!({"name": "static", "static_layer": {"re2.max_program_size.error_level": 32_768}});
    validated(release, &json!({"layered_runtime": {"layers": [layer]}, "static_resources": {"listeners": [listener]}}))
}

/// What all must take.
const GOOD: &[&str] = &[
    "/items/[0-9]+",
    "/(a|b|)*?x{2,5}?",
    "(?i)/API/(?P<name>[^/]+)/.*",
    "(?s-m:a.b)(?U)c",
    "(a{10}){100}",
    "(?:a{3}){333}",
    "(a{500}){2,}",
    "((a+)+)+",
    "(a*)*",
    "^*$*\\b+\\B?",
    "\\A.*\\z",
    "\\d\\D\\w\\W\\s\\S\\a\\f\\t\\n\\r\\v\\_\\/\\-",
    "\\x41\\xff\\x{41}\\x{fF}",
    "[[:alpha:][:^digit:]\\d\\pL-]",
    "[]a^-]",
    "[^]]",
    "\\pN\\PL\\p{Lu}\\P{Any}\\p{Latin}[\\p{Nd}]\\p{Common}",
    "\u{e9}\u{65e5}[\u{e9}-\u{ed}]",
    "}",
    "|",
    "()",
];

/// What no Envoy takes, and what is said of it.
const BAD: &[(&str, &str)] = &[
    ("a**", "a repetition of a repetition"),
    ("a+?*", "a repetition of a repetition"),
    ("a{2}{3}", "a repetition of a repetition"),
    ("a*??", "a repetition of a repetition"),
    ("(a{100}){20}", "more than 1000 repetitions"),
    ("(a{334}){3}", "more than 1000 repetitions"),
    ("((a{9}b){9}c){9,99}", "more than 1000 repetitions"),
    ("x{1001}", "more than 1000 repetitions"),
    ("[[:foo:]]", "a class inside a class"),
    ("(?P<a.b>x)", "a group's name"),
    ("\\p{Alphabetic}", "a Unicode class"),
    ("\\p{Letter}", "a Unicode class"),
    ("\\p{Cn}", "a Unicode class"),
    ("\\p{LC}", "a Unicode class"),
    ("\\p{lu}", "a Unicode class"),
    ("\\p{Emoji}", "a Unicode class"),
    ("[^\\p{sc=Greek}]", "a Unicode class"),
    ("\\u0041", "unknown escape"),
    ("[\\U00000041]", "unknown escape"),
    ("(?x)a b", "unknown flag"),
    ("(?u:a)", "unknown flag"),
    ("(?R)a", "unknown flag"),
    ("a(?=b)", "look-around"),
    ("(?<!a)b", "look-around"),
    ("(a)\\1", "backreferences"),
    ("(a", "unclosed group"),
    ("a)", "unopened group"),
    ("[a", "unclosed character class"),
    ("[z-a]", "the start must be <= the end"),
    ("*a", "missing expression"),
    ("a{5,2}", "the start must be <= the end"),
    ("\\Z", "unrecognized escape"),
];

/// What only Envoys take that compare characters.
const OLDER: &[(&str, &str)] =
    &[("\\x{100}", "none is more than"), ("[a-\\x{ffff}]", "none is more than"), ("(?P<\u{e9}>x)", "a group's name")];

/// What Envoys take as something else than it says, or what this check can't follow.
const NARROWER: &[&str] = &[
    "\\b{start}a",
    "(?P<n>a)(?P<n>b)",
    "(((\\pL{9}){9}){9})",
    "\\<a",
    "[a[b]",
    "[a&&b]",
    "[a--b]",
    "a{",
    "a{,5}",
    "\\Qa.b\\E",
    "\\C",
    "\\07",
    "\\p{Greek}",
    "\\p{^L}",
    "(?i)(?i-)a|\\p{Han}",
];

#[test]
fn envoys_take_expressions_that_pass() {
    for expression in GOOD {
        assert_eq!(said(expression), "", "{expression}");
    }
    all_take(&GOOD.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
}

/// Each Envoy refuses every one, which needs a run each.
#[test]
fn expressions_that_envoys_refuse_are_refused() {
    for (expression, reason) in BAD {
        let said = said(expression);
        assert!(said.contains(reason), "{expression:?}: {said:?} doesn't say {reason:?}");
        for release in RELEASES {
            let (taken, said) = takes(release, &[(*expression).to_owned()]);
            assert!(
                !taken && !said.is_empty(),
                "{release:?} takes {expression:?}, so it needn't be in the list: {said}"
            );
        }
    }
}

#[test]
fn expressions_that_only_older_envoys_know_are_refused() {
    for (expression, reason) in OLDER {
        assert!(said(expression).contains(reason), "{expression:?}");
        assert!(!takes(Release::Newest, &[(*expression).to_owned()]).0, "the newest takes {expression:?}");
    }
    let all: Vec<_> = OLDER.iter().map(|(expression, _)| (*expression).to_owned()).collect();
    let (taken, said) = takes(Release::Oldest, &all);
    assert!(taken, "{said}");
}

#[test]
fn expressions_that_mean_something_else_to_envoys_are_refused() {
    for expression in NARROWER {
        assert!(!said(expression).is_empty(), "{expression:?}");
    }
}

/// Whatever random expression passes the check, both Envoys take.
#[test]
fn envoys_take_random_expressions_that_pass() {
    let all = random(20_000);
    let passing: Vec<String> = all.iter().filter(|expression| said(expression).is_empty()).cloned().collect();
    assert!(passing.len() > 2_000 && passing.len() < all.len() * 3 / 4, "{} of {}", passing.len(), all.len());
    all_take(&passing);
}

fn all_take(expressions: &[String]) {
    for release in RELEASES {
        let (taken, said) = takes(release, expressions);
        assert!(taken, "{release:?}: {said}");
    }
}

/// Expressions put together from pieces, always the same ones.
fn random(count: usize) -> Vec<String> {
    const PIECES: &[&str] = &[
        "a",
        "b",
        ".",
        "*",
        "+",
        "?",
        "{2}",
        "{3,}",
        "{1,40}",
        "{30}",
        "(",
        ")",
        "(?:",
        "(?i)",
        "(?P<n>",
        "|",
        "^",
        "$",
        "\\b",
        "[",
        "]",
        "[^",
        "-",
        "&&",
        "[:alpha:]",
        "\\d",
        "\\pL",
        "\\p{Lu}",
        "\\p{Greek}",
        "\\x41",
        "\\x{e9}",
        "\\x{17f}",
        "\u{e9}",
        "/",
        "\\.",
        "(a{9})",
        "(\\w+)",
    ];
    let mut draw = corpus::draw();
    let mut one = |_| (0..2 + draw(7)).map(|_| PIECES[draw(PIECES.len())]).collect::<String>();
    (0..count).map(&mut one).collect()
}
