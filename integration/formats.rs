//! Formats of access logs, and expressions: what the check takes, the oldest and the newest Envoy take; what Envoy refuses,
//! the check refuses.

#[path = "formats/corpus.rs"]
mod corpus;
#[path = "formats/expressions.rs"]
mod expressions;
mod harness;

use chancery::model::access_log::LogFormat;
use chancery::model::object::Object;
use chancery::source::parse::{Parsed, settings};
use harness::tools::{Release, envoy};
use serde_json::{Value, json};
use std::process::Command;

const RELEASES: [Release; 2] = [Release::Oldest, Release::Newest];

/// What becomes of a format in the settings of the mesh, or what is said of it.
fn parsed(format: &str, encoding: &str) -> Result<LogFormat, Vec<String>> {
    let mesh = json!({"accessLogFile": "/dev/stdout", "accessLogFormat": format, "accessLogEncoding": encoding});
    match settings(&mesh) {
        Parsed::Known { object: Some(Object::MeshConfig(mesh)), problems, .. } if problems.is_empty() => {
            Ok(mesh.access_log.clone().expect("a log").format)
        }
        Parsed::Known { problems, .. } => {
            assert!(problems.iter().all(|problem| problem.field == "accessLogFormat"), "{problems:?}");
            Err(problems.into_iter().map(|problem| problem.text).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn said(format: &str, encoding: &str) -> String {
    parsed(format, encoding).map_or_else(|said| said.join("\n"), |_| String::new())
}

/// The format as Envoy reads it.
fn written(format: &LogFormat) -> Value {
    match format {
        LogFormat::Text(text) => json!({"text_format_source": {"inline_string": &**text}}),
        LogFormat::Json(object) => json!({"json_format": &**object}),
    }
}

fn text(format: &str) -> Value {
    json!({"text_format_source": {"inline_string": format}})
}

/// Whether an Envoy takes a listener that logs in all these formats, and what it says.
fn takes(release: Release, formats: &[Value]) -> (bool, String) {
    const STDOUT: &str = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
    let loggers =
        formats.iter().map(|format| json!({"name": "x", "typed_config": {"@type": STDOUT, "log_format": format}}));
    let listener = json!({
        "name": "x",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "access_log": loggers.collect::<Vec<_>>(),
        "filter_chains": [{}],
    });
    validated(release, &json!({"static_resources": {"listeners": [listener]}}))
}

/// Whether an Envoy takes a bootstrap, and what it says.
fn validated(release: Release, bootstrap: &Value) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bootstrap.json");
    std::fs::write(&path, bootstrap.to_string()).expect("a file");
    let mut command = Command::new(envoy(release).expect("an Envoy"));
    command.args(["--mode", "validate", "--concurrency", "1", "--disable-hot-restart", "-l", "critical", "-c"]);
    let output = command.arg(&path).output().expect("Envoy runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn all_take(formats: &[Value]) {
    for release in RELEASES {
        let (taken, said) = takes(release, formats);
        assert!(taken, "{release:?}: {said}");
    }
}

#[test]
fn envoys_take_every_operator_of_the_table_and_every_shape() {
    let texts: Vec<Value> = corpus::good()
        .iter()
        .map(|format| written(&parsed(format, "TEXT").unwrap_or_else(|said| panic!("{format}: {said:?}"))))
        .collect();
    assert!(texts.len() > 250, "{}", texts.len());
    all_take(&texts);
}

#[test]
fn envoys_take_objects() {
    let deep = (0..15).fold("\"%PROTOCOL%\"".to_owned(), |inner, _| format!("{{\"a\": {inner}}}"));
    let objects = corpus::OBJECTS.iter().copied().chain([deep.as_str(), ""]);
    let formats: Vec<Value> = objects
        .map(|object| written(&parsed(object, "JSON").unwrap_or_else(|said| panic!("{object}: {said:?}"))))
        .collect();
    all_take(&formats);
    let deeper = format!("{{\"a\": {{\"a\": {deep}}}}}");
    assert!(said(&deeper, "JSON").contains("more than 16"), "{}", said(&deeper, "JSON"));
}

/// Both lists are refused here. Of the first each Envoy refuses every one, which needs a run each.
#[test]
fn what_envoys_refuse_is_refused() {
    for (format, reason) in corpus::BAD {
        let said = said(format, "TEXT");
        assert!(said.contains(reason), "{format:?}: {said:?} doesn't say {reason:?}");
    }
    let chunk = |formats: &[(&str, &str)]| {
        for (format, _) in formats {
            for release in RELEASES {
                let (taken, said) = takes(release, &[text(format)]);
                assert!(
                    !taken && !said.is_empty(),
                    "{release:?} takes {format:?}, so it needn't be in the list: {said}"
                );
            }
        }
    };
    let (one, other) = corpus::BAD.split_at(corpus::BAD.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| chunk(one));
        chunk(other);
    });
}

/// What only the newest knows, or only one of them in that form, is refused as well: proxies of both are served.
#[test]
fn what_only_newer_envoys_know_is_refused() {
    for format in corpus::NEWER {
        assert!(!said(format, "TEXT").is_empty(), "{format}");
        assert!(!takes(Release::Oldest, &[text(format)]).0, "the oldest takes {format}");
    }
    let all: Vec<Value> = corpus::NEWER.iter().map(|format| text(format)).collect();
    let (taken, said) = takes(Release::Newest, &all);
    assert!(taken, "{said}");
}

#[test]
fn what_means_nothing_is_refused_although_envoys_take_it() {
    for format in corpus::NARROWER {
        assert!(!said(format, "TEXT").is_empty(), "{format:?}");
    }
    all_take(&corpus::NARROWER.iter().map(|format| text(format)).collect::<Vec<_>>());
}

/// Whatever random text passes the check, both Envoys take.
#[test]
fn envoys_take_random_texts_that_pass() {
    let texts = corpus::random(4_000);
    let passing: Vec<Value> =
        texts.iter().filter_map(|format| parsed(format, "TEXT").ok()).map(|format| written(&format)).collect();
    assert!(passing.len() > 200 && passing.len() < texts.len() / 2, "{} of {}", passing.len(), texts.len());
    all_take(&passing);
}

#[test]
fn objects_that_are_none_are_named() {
    for (object, reason) in [
        ("[1]", "is not an object of JSON"),
        ("%PROTOCOL%", "is not an object of JSON"),
        ("{\"a\": 1,}", "trailing comma"),
        ("{\"a\": {\"b\": [1, \"%NOPE%\"]}}", "\"a.b[1]\": \"%NOPE%\" is not an operator"),
    ] {
        assert!(said(object, "JSON").contains(reason), "{object}: {}", said(object, "JSON"));
    }
    let two = said("%NOPE% %PROTOCOL(X)% %REQ(A)%", "TEXT");
    assert_eq!(two.lines().count(), 2, "everything wrong is said, not only the first: {two}");
    assert!(said(&"x".repeat(8_193), "TEXT").contains("8192 are allowed"));
    assert!(said(&"x".repeat(8_192), "TEXT").is_empty(), "the control");
}
