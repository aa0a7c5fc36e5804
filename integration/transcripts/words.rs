//! The words of a transcript's lines: names, contents, references, requests.

use chancery::model::identity::Identity;
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Fragment, Ref, Resource};
use chancery::xds::identity::Credential;
use chancery::xds::quarantine::Charge;
use chancery::xds::session::status::TypeStatus;
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use std::sync::Arc;

/// How many names a line lists in full.
const LISTED: usize = 30;

/// The words of a client line.
#[derive(Default)]
pub struct Question {
    pub all: Option<Vec<String>>,
    pub subscribe: Vec<String>,
    pub unsubscribe: Vec<String>,
    pub have: Vec<(String, String)>,
    pub nonce: String,
    pub error: Option<String>,
    /// SotW: whether a version is stated.
    pub stated: bool,
    pub node: Option<String>,
    pub account: Option<String>,
}

impl Question {
    /// Reads what follows the type.
    pub fn read(&mut self, text: &str) -> Result<(), String> {
        let mut text = text.trim().to_owned();
        if let Some((head, message)) = text.clone().split_once('"') {
            self.error = Some(message.trim_end_matches('"').replace("\\n", "\n").replace("\\\"", "\""));
            text = head.to_owned();
        }
        if let Some(rest) = text.clone().strip_prefix('[') {
            let (names, rest) = rest.split_once(']').ok_or("a list of names without an end")?;
            let names: Result<Vec<_>, _> = names.split_whitespace().map(expand).collect();
            self.all = Some(names?.concat());
            text = rest.to_owned();
        }
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            match (word, word.split_at(1)) {
                ("again", _) => self.stated = true,
                ("ack" | "nack", _) => self.nonce = words.next().ok_or("an answer without a nonce")?.to_owned(),
                (_, ("+", name)) => self.subscribe.extend(expand(name)?),
                (_, ("-", name)) => self.unsubscribe.push(name.to_owned()),
                _ => self.read_pair(word)?,
            }
        }
        Ok(())
    }

    fn read_pair(&mut self, word: &str) -> Result<(), String> {
        if let Some(account) = word.strip_prefix("account=") {
            self.account = Some(account.to_owned());
            return Ok(());
        }
        match (word.strip_prefix("node="), word.strip_prefix("have:").and_then(|have| have.split_once('='))) {
            (Some(id), _) => self.node = Some(id.to_owned()),
            (None, Some((name, content))) => self.have.push((name.to_owned(), content.to_owned())),
            (None, None) => return Err(format!("{word:?} is not part of a request")),
        }
        Ok(())
    }
}

/// `shop/cart`: a workload of namespace `shop` that runs as `cart`.
pub fn credential(text: &str) -> Result<Credential, String> {
    let (namespace, account) = text.split_once('/').ok_or_else(|| format!("{text:?} is not a workload"))?;
    Ok(Credential::Workload(Identity::new(namespace.into(), account.into())))
}

/// Node metadata of one text.
pub fn metadata(key: &str, text: String) -> Struct {
    let value = Value { kind: Some(ValueKind::StringValue(text)) };
    Struct { fields: [(key.to_owned(), value)].into_iter().collect() }
}

/// The kind of that short name.
pub fn short(word: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.short() == word)
}

/// `eds:a`.
pub fn reference(text: &str) -> Result<Ref, String> {
    let (kind, name) = text.split_once(':').ok_or_else(|| format!("{text:?} is not a reference"))?;
    Ok(Ref { kind: short(kind).ok_or_else(|| format!("{kind:?} is not a type"))?, name: name.into() })
}

/// `a=1>eds:a`, or with fragments after its own content `r=1;x=1>cds:a;y=2`.
pub fn resource(kind: Kind, word: &str) -> Result<Resource, String> {
    let mut parts = word.split(';');
    let (name, content, refs) = part(parts.next().unwrap_or_default())?;
    let whole = Resource::opaque(kind, name, content.as_bytes(), refs);
    let fragments: Fragments = parts
        .map(|text| {
            let (name, content, refs) = part(text)?;
            Ok(Arc::new(Fragment::opaque(name, format!(";{name}={content}").as_bytes(), refs)))
        })
        .collect::<Result<_, String>>()?;
    Ok(if fragments.is_empty() { whole } else { whole.with_fragments(fragments) })
}

fn part(text: &str) -> Result<(&str, &str, Vec<Ref>), String> {
    let (head, refs) = text.split_once('>').unwrap_or((text, ""));
    let (name, content) = head.split_once('=').ok_or_else(|| format!("{text:?} has no content"))?;
    let refs = refs.split(',').filter(|text| !text.is_empty()).map(reference).collect::<Result<_, _>>()?;
    Ok((name, content, refs))
}

/// What a type waits for; nothing is said where there is nothing.
pub fn waits(status: &TypeStatus) -> String {
    let held = status.held.iter().map(|wait| {
        let part = wait.part.as_ref().map_or(String::new(), |part| format!("/{part}"));
        format!("{}{part}>{}", wait.name, wait.clusters.join(","))
    });
    let names = |names: &[Arc<str>]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let charged = |found: bool| {
        let charges = status.rejected.iter().filter(move |charge| charge.found == found);
        let name = |charge: &Charge| match &charge.unit.part {
            Some(part) => format!("{}/{part}", charge.unit.name),
            None => charge.unit.name.to_string(),
        };
        charges.map(name).collect()
    };
    let lists = [
        ("held", held.collect()),
        ("rejected", charged(true)),
        ("suspected", charged(false)),
        ("lingering", names(&status.lingering)),
        ("warming", names(&status.warming)),
    ];
    let some = lists.into_iter().filter(|(_, words)| !words.is_empty());
    some.map(|(what, words)| format!(" {what}{}", list(words))).collect()
}

/// The version of a resource of that content; it does not depend on kind or name.
pub fn version(content: &str) -> String {
    Resource::opaque(Kind::Cluster, "any", content.as_bytes(), Vec::new()).version().to_string()
}

/// `n{3}` stands for `n0`, `n1` and `n2`.
pub fn expand(word: &str) -> Result<Vec<String>, String> {
    let Some((name, count)) = word.strip_suffix('}').and_then(|word| word.split_once('{')) else {
        return Ok(vec![word.to_owned()]);
    };
    let count: usize = count.parse().map_err(|_| format!("{word:?} has no number"))?;
    Ok((0..count).map(|index| format!("{name}{index}")).collect())
}

/// The words, each after a space; of very many only the first and the last.
pub fn list(words: Vec<String>) -> String {
    match &words[..] {
        [first, .., last] if words.len() > LISTED => format!(" {first} .. {last} ({} in all)", words.len()),
        _ => words.iter().map(|word| format!(" {word}")).collect(),
    }
}

/// What a resource was made of: a placeholder is the only one that carries an encoded name.
pub fn content(resource: &Resource) -> String {
    let name = resource.name().as_bytes();
    let placeholder = resource.body().len() == name.len() + 2 && resource.body().ends_with(name);
    if placeholder { "empty".to_owned() } else { String::from_utf8_lossy(&resource.body()).into_owned() }
}
