//! Golden cases: manifests and a question in, resources and problems out, as text that people read.
//!
//! `<case>.in.yaml` starts with the question (`proxy`, `show`, optionally `mesh`: its settings, `only`: prefixes of resource names, and `digest`:
//! one line for each filter chain), followed by the manifests; `<case>.out.yaml` is the answer. `CHANCERY_REWRITE=1` rewrites the answers.

#[path = "golden/digest.rs"]
mod digest;

use chancery::cli::translate::{answer, print};
use chancery::model::audience::{Interception, ProxyFacts};
use chancery::model::world::World;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::print::{Format, text};
use chancery::source::parse::{Parsed, object, settings};
use chancery::source::yaml;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What a case asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// `pod.namespace`.
    proxy: String,
    /// Whether its traffic is captured.
    #[serde(default)]
    captured: bool,
    /// Whether it has proven who it is.
    #[serde(default)]
    authenticated: bool,
    /// Short names of kinds.
    show: Vec<String>,
    /// Settings of the mesh.
    mesh: Option<Value>,
    /// Where given, only resources whose name starts with one of these.
    only: Option<Vec<String>>,
    /// Whether each filter chain is shown in one line.
    #[serde(default)]
    digest: bool,
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/golden");
    let entries = fs::read_dir(folder).expect("the golden folder is there");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let mut cases: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(".in.yaml")).collect();
    cases.sort();
    cases
}

fn facts(question: &Question) -> ProxyFacts {
    let (pod, namespace) = question.proxy.rsplit_once('.').expect("proxy is pod.namespace");
    let interception = if question.captured { Interception::Redirect } else { Interception::default() };
    let facts = ProxyFacts::new(namespace.into(), pod.into(), interception);
    ProxyFacts { authenticated: question.authenticated, ..facts }
}

/// Reads manifests as a source would; returns what it says about them.
fn read(documents: impl Iterator<Item = Parsed>, world: &mut World) -> Vec<String> {
    let mut said = Vec::new();
    for parsed in documents {
        match parsed {
            Parsed::Known { object, problems, .. } => {
                said.extend(problems.iter().map(ToString::to_string));
                world.apply(object.into_iter().map(|object| (object.key().clone(), Some(object))));
            }
            other => said.push(format!("{other:?}")),
        }
    }
    said
}

fn ask(input: &str) -> String {
    let content = yaml::read(input.as_bytes());
    assert_eq!(content.failures, []);
    let (question, manifests) = content.documents.split_first().expect("a question comes first");
    let question: Question = serde_json::from_value(question.value.clone()).expect("a valid question");
    let mut world = World::default();
    let settings = question.mesh.iter().map(settings);
    let objects = manifests.iter().map(|document| object(&document.value));
    let mut problems = read(settings.chain(objects), &mut world);
    let answer = answer(&world, facts(&question)).expect("the proxy's Pod is there");
    problems.extend(answer.problems.iter().map(ToString::to_string));
    let kind = |short: &String| Kind::ALL.into_iter().find(|kind| kind.short() == short).expect("a known kind");
    let kinds: Vec<_> = question.show.iter().map(kind).collect();
    let mut out: Map<String, Value> = Map::new();
    let Value::Object(resources) = print(&answer.snapshot, &kinds).expect("what we encode can be printed") else {
        unreachable!("print returns an object")
    };
    out.extend(resources.into_iter().map(|(kind, list)| {
        let list = filter(list, question.only.as_deref());
        (kind, if question.digest { digest::chains(list) } else { list })
    }));
    let violations: Vec<_> = answer.violations.iter().map(ToString::to_string).collect();
    for (name, list) in [("problems", problems), ("violations", violations)] {
        if !list.is_empty() {
            out.insert(name.to_owned(), json!(list));
        }
    }
    text(&Value::Object(out), Format::Yaml)
}

fn filter(list: Value, only: Option<&[String]>) -> Value {
    let (Value::Array(list), Some(only)) = (&list, only) else { return list };
    let name =
        |value: &Value| value.get("name").or(value.get("cluster_name")).and_then(Value::as_str).map(str::to_owned);
    let wanted = |value: &&Value| only.iter().any(|prefix| name(value).is_some_and(|name| name.starts_with(prefix)));
    list.iter().filter(wanted).cloned().collect()
}

#[test]
fn every_case_has_its_answer() {
    let rewrite = std::env::var_os("CHANCERY_REWRITE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let out = PathBuf::from(case.to_string_lossy().replace(".in.yaml", ".out.yaml"));
        let found = ask(&fs::read_to_string(&case).expect("a readable case"));
        if rewrite {
            fs::write(&out, &found).expect("the golden folder is writable");
        } else if fs::read_to_string(&out).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", out.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nmake golden rewrites the answers; read the difference", wrong.join("\n"));
}

/// The control: a different manifest gives a different answer.
#[test]
fn another_weight_is_another_answer() {
    let case = cases().into_iter().find(|case| case.ends_with("weights.in.yaml")).expect("the case of weights");
    let input = fs::read_to_string(case).expect("a readable case");
    assert_ne!(ask(&input), ask(&input.replace("weight: 90", "weight: 89")));
}
