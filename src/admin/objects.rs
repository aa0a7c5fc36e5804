//! How far the policies have come at the proxies they concern, and what is wrong with each.

use crate::model::provenance::ObjectKey;
use crate::model::reach::{Reach, Reaches};
use crate::source::finding::{Finding, Subject};
use serde::Deserialize;
use serde_json::{Value, json};

/// Which objects are asked for; what is left out says nothing.
#[derive(Deserialize, Default, Debug)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

impl Wanted {
    fn includes(&self, key: &ObjectKey) -> bool {
        let says = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        says(&self.kind, key.kind.as_str())
            && says(&self.namespace, key.namespace.as_str())
            && says(&self.name, key.name.as_str())
    }
}

/// The policies asked for as JSON.
pub fn describe(reaches: &Reaches, wanted: &Wanted, findings: &[Finding]) -> Vec<Value> {
    let objects = reaches.objects.iter().filter(|(key, _)| wanted.includes(key));
    objects.map(|(key, reach)| object(key, reach, findings)).collect()
}

fn object(key: &ObjectKey, reach: &Reach, findings: &[Finding]) -> Value {
    let subject = Subject::from(key);
    let problems = findings.iter().filter(|finding| finding.subject == subject);
    json!({
        "object": key.to_string(),
        "kind": key.kind.as_str(),
        "namespace": key.namespace.as_str(),
        "name": key.name.as_str(),
        "generation": reach.generation,
        "identity": reach.identity.map(|identity| identity.to_string()),
        "proxies": reach.targeted,
        "inEffectAt": reach.live,
        "problems": problems.map(super::problems::describe).collect::<Vec<_>>(),
    })
}
