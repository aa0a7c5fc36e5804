//! Reading YAML: scalars, lines, limits. Each limit is shown from both sides.

use chancery::source::yaml::{Content, MAX_DEPTH, MAX_STRING, read};
use serde_json::{Value, json};

fn value(text: &str) -> Value {
    let content = read(text.as_bytes());
    assert_eq!(content.failures, [], "{text}");
    content.documents.into_iter().next().map_or(Value::Null, |document| document.value)
}

/// Line and text of the only failure.
fn failure(text: impl AsRef<[u8]>) -> (u32, String) {
    let Content { failures, .. } = read(text.as_ref());
    assert_eq!(failures.len(), 1, "{failures:?}");
    (failures[0].line, failures[0].text.clone())
}

#[test]
fn plain_scalars() {
    for (text, expected) in [
        ("yes", json!(true)),
        ("On", json!(true)),
        ("FALSE", json!(false)),
        ("off", json!(false)),
        ("y", json!("y")),
        ("~", json!(null)),
        ("0644", json!(420)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("08", json!(8)),
        ("-5", json!(-5)),
        ("+5", json!(5)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000.0)),
        (".5", json!(0.5)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.2.3", json!("1.2.3")),
        ("1_000", json!("1_000")),
        ("5s", json!("5s")),
        ("--5", json!("--5")),
        ("0x-1", json!("0x-1")),
        (".", json!(".")),
        (".inf", json!(".inf")),
        ("1e999", json!("1e999")),
        ("'yes'", json!("yes")),
        ("\"5\"", json!("5")),
        ("!!str 5", json!("5")),
        ("2026-01-02T03:04:05Z", json!("2026-01-02T03:04:05Z")),
    ] {
        assert_eq!(value(&format!("a: {text}")), json!({"a": expected}), "{text}");
    }
    assert_eq!(value("a: |\n  5\n"), json!({"a": "5\n"}));
    assert_eq!(value("on: 1\n5: 2\n"), json!({"true": 1, "5": 2}), "keys are strings, as in Kubernetes");
}

#[test]
fn json_is_yaml() {
    assert_eq!(value("{\"a\": [1, true, null, \"x\"],\n\t\"b\": {}}"), json!({"a": [1, true, null, "x"], "b": {}}));
}

#[test]
fn every_field_has_its_line() {
    let text = "# first\na:\n  b:\n  - c: 1\n    d: {e: 2,\n      f: 3}\n  - x\n\"g.h\":\n  i: 4\n";
    let content = read(text.as_bytes());
    let marks = &content.documents[0].marks;
    let lines = [
        "",
        "a",
        "a.b",
        "a.b[0]",
        "a.b[0].c",
        "a.b[0].d",
        "a.b[0].d.e",
        "a.b[0].d.f",
        "a.b[1]",
        "[\"g.h\"]",
        "[\"g.h\"].i",
    ];
    assert_eq!(lines.map(|path| marks.locate(path)), [2, 2, 3, 4, 4, 5, 5, 6, 7, 8, 9]);
    assert_eq!(marks.locate("a.b[0].d.nothing[3].here"), 5, "the nearest that is there");
    assert_eq!(marks.locate("nothing"), 2);
}

#[test]
fn several_documents() {
    let content = read(b"a: 1\n---\n---\n# only a comment\n---\nb: 2\n...\n");
    let values: Vec<_> = content.documents.iter().map(|document| document.value.clone()).collect();
    assert_eq!(values, [json!({"a": 1}), json!({"b": 2})], "empty ones are not listed");
    assert_eq!(content.documents[1].marks.locate("b"), 6);
}

#[test]
fn what_comes_before_broken_syntax_is_there() {
    let content = read(b"a: 1\n---\nb: [1,\n");
    assert_eq!((content.documents.len(), content.failures.len()), (1, 1));
    assert!(content.failures[0].text.starts_with("not YAML: "), "{content:?}");
}

#[test]
fn what_comes_after_a_broken_rule_is_there_too() {
    let content = read(b"a: 1\na: 2\n---\nb: 3\n");
    assert_eq!(content.documents[0].value, json!({"b": 3}));
    assert_eq!((content.failures[0].line, &*content.failures[0].text), (2, "the key \"a\" is there twice"));
}

#[test]
fn not_utf8_and_nul() {
    assert_eq!(failure(b"a: 1\nb: \xe9\n"), (2, "the file is not UTF-8 from here on".to_owned()));
    assert_eq!(failure("a: 1\n\nb: \0\n").0, 3);
    assert_eq!(value("\u{feff}a: 1"), json!({"a": 1}), "a byte order mark is fine");
}

#[test]
fn depth_is_limited_and_the_stack_is_safe() {
    let nested = |levels: usize| format!("a: {}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(value(&nested(MAX_DEPTH - 1)).is_object());
    let (line, text) = failure(nested(MAX_DEPTH));
    assert_eq!((line, &*text), (1, "maps and lists are nested more than 64 levels deep"));
    failure(nested(1_000));
    let block: String = (0..1_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert_eq!(failure(block).0, 65);
    let dashes = "- ".repeat(100_000);
    assert_eq!(failure(dashes).0, 1);
}

#[test]
fn strings_are_limited() {
    assert!(value(&format!("a: {}", "x".repeat(MAX_STRING))).is_object());
    assert_eq!(
        failure(format!("\na: {}", "x".repeat(MAX_STRING + 1))),
        (2, "a string is longer than 1 MiB".to_owned())
    );
}

#[test]
fn files_are_limited() {
    let size = chancery::source::yaml::MAX_FILE;
    let text = format!("a: 1 #{}", "x".repeat(size - 6));
    assert_eq!(value(&text), json!({"a": 1}));
    assert_eq!(failure(format!("{text}x")), (1, "the file is larger than 16 MiB".to_owned()));
}

#[test]
fn aliases_and_merge_keys() {
    assert_eq!(
        value("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}"),
        json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}})
    );
    assert_eq!(value("a: &x {b: 1, c: 1}\nd: {b: 2, <<: [*x]}")["d"], json!({"b": 2, "c": 1}), "what is written wins");
    assert_eq!(failure("a: 1\nb: {<<: 5}").1, "<< must name a map or a list of maps");
    assert!(failure("a: &x [*x]").1.contains("an alias must name something that is complete"));
    failure("a: &x 1\n---\nb: *x");
}

#[test]
fn aliases_have_a_budget() {
    let bomb = |levels: usize| {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..=levels {
            let before = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        text
    };
    assert!(value(&bomb(2)).is_object());
    let (line, text) = failure(bomb(9));
    assert_eq!(text, "aliases copy more than 100000 values");
    assert!(line <= 6, "{line}");
    let wide = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), "*a,".repeat(100));
    assert_eq!(failure(wide).1, "aliases copy more than 100000 values", "text costs too");
}

#[test]
fn odd_keys_and_tags() {
    assert_eq!(failure("? [a]\n: 1").1, "a key must be a string, not a map or a list");
    assert_eq!(failure("? ~\n: 1").1, "a key must be a string, not null");
    assert!(failure("a: !thing x").1.contains("has no meaning"));
}
