//! Manifests and folders: what becomes of every field, of broken files, and of files that change while being watched.

#[path = "folder/authentication.rs"]
mod authentication;
#[path = "folder/broken.rs"]
mod broken;
#[path = "folder/catalog.rs"]
mod catalog;
#[path = "folder/core_fields.rs"]
mod core_fields;
#[path = "folder/elsewhere.rs"]
mod elsewhere;
#[path = "folder/fields.rs"]
mod fields;
#[path = "folder/forbidden.rs"]
mod forbidden;
#[path = "folder/hostile.rs"]
mod hostile;
#[path = "folder/mesh.rs"]
mod mesh;
#[path = "folder/parsing.rs"]
mod parsing;
#[path = "folder/places.rs"]
mod places;
#[path = "folder/random.rs"]
mod random;
#[path = "folder/secret_fields.rs"]
mod secret_fields;
#[path = "folder/watching.rs"]
mod watching;
#[path = "folder/yaml.rs"]
mod yaml;

use chancery::model::object::Object;
use chancery::model::provenance::ObjectKind;
use chancery::model::world::Change;
use chancery::source::directory::catalog::{Catalog, Update};
use chancery::source::parse::{self, Parsed};
use std::path::Path;

/// The kind of that name.
fn kind(name: &str) -> ObjectKind {
    ObjectKind::ALL.into_iter().find(|kind| kind.as_str() == name).expect("a kind")
}

/// Parses one document.
fn parse(text: &str) -> Parsed {
    let content = chancery::source::yaml::read(text.as_bytes());
    assert_eq!(content.failures, [], "{text}");
    parse::object(&content.documents[0].value)
}

/// The findings of one document as `severity: field: text`, and the object.
fn parsed(text: &str) -> (Vec<String>, Option<Object>) {
    findings(parse(text))
}

fn findings(parsed: Parsed) -> (Vec<String>, Option<Object>) {
    match parsed {
        Parsed::Known { object, problems, .. } => {
            let line = |problem: chancery::model::problem::Problem| {
                format!("{}: {}: {}", problem.severity, problem.field, problem.text)
            };
            (problems.into_iter().map(line).collect(), object)
        }
        other => panic!("not identified: {other:?}"),
    }
}

/// Tells a catalog what a file holds now.
fn put(catalog: &mut Catalog, path: &str, text: &str) -> Vec<Change> {
    catalog.apply([(Path::new(path).into(), Update::Bytes(text.as_bytes().to_vec()))])
}

/// The names of changed objects, `-` before those that went away.
fn names(changes: &[Change]) -> Vec<String> {
    let name = |(key, object): &Change| format!("{}{}", if object.is_some() { "" } else { "-" }, key.name);
    changes.iter().map(name).collect()
}

/// A DestinationRule for host `host`.
fn rule(name: &str, host: &str) -> String {
    let head = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:";
    format!("{head}\n  name: {name}\n  namespace: shop\nspec:\n  host: {host}\n")
}
