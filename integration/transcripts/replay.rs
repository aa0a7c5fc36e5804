//! Replays one transcript: reads its input lines, drives a session, writes both kinds of line.

use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Ref, Resource, Version};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::response::Response;
use chancery::xds::session::Session;
use envoy_types::pb::envoy::config::core::v3::Node;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is written when the server sends nothing.
const SILENT: &str = "server silent";

/// Whether a line says what the server does.
pub fn is_output(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let outputs = ["server", "refused", "counters", "latency", "cds", "eds", "sds", "lds", "rds"];
    outputs.contains(&word)
}

/// What happens when the input lines of `text` do, in the form of a transcript.
pub fn replay(text: &str) -> Result<String, String> {
    let mut stage = Stage::new();
    let mut out = String::new();
    for line in text.lines() {
        if is_output(line) {
            continue;
        }
        out += line;
        out += "\n";
        for said in stage.play(line).map_err(|error| format!("{line:?}: {error}"))? {
            out += &said;
            out += "\n";
        }
    }
    Ok(out)
}

struct Stage {
    now: Instant,
    layer: Layer,
    known: bool,
    session: Option<Session>,
    introduced: bool,
    /// The newest time from a change to its ACK.
    latency: Option<Duration>,
    versions: BTreeMap<Version, usize>,
}

impl Stage {
    fn new() -> Self {
        Stage {
            now: Instant::now(),
            layer: Layer::default(),
            known: false,
            session: None,
            introduced: false,
            latency: None,
            versions: BTreeMap::new(),
        }
    }

    fn play(&mut self, line: &str) -> Result<Vec<String>, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.split_first() {
            None => Ok(Vec::new()),
            Some((word, _)) if word.starts_with('#') => Ok(Vec::new()),
            Some((&"world", rest)) => self.world(rest),
            Some((&"stream", [wire])) => self.stream(wire),
            Some((&"client", [kind, rest @ ..])) => self.client(kind, rest),
            Some((&"time", [time])) => self.time(time),
            Some((&"show", [what])) => self.show(what),
            Some(_) => Err("not a line of the grammar".into()),
        }
    }

    fn world(&mut self, words: &[&str]) -> Result<Vec<String>, String> {
        let mut kind = None;
        for word in words {
            match (short(word), kind) {
                (Some(named), _) => kind = Some(named),
                (None, Some(kind)) => self.change(kind, word)?,
                (None, None) => return Err(format!("{word:?} is not a type")),
            }
        }
        self.known = true;
        let snapshot = self.snapshot();
        let Some(session) = &mut self.session else { return Ok(Vec::new()) };
        session.on_snapshot(snapshot, self.now);
        Ok(self.drain())
    }

    fn change(&mut self, kind: Kind, word: &str) -> Result<(), String> {
        if let Some(name) = word.strip_prefix('-') {
            self.layer.remove(kind, name);
            return Ok(());
        }
        let (head, refs) = word.split_once('>').unwrap_or((word, ""));
        let (name, content) = head.split_once('=').ok_or_else(|| format!("{word:?} has no content"))?;
        let refs = refs.split(',').filter(|text| !text.is_empty()).map(reference).collect::<Result<_, _>>()?;
        self.layer.insert(Arc::new(Resource::opaque(kind, name, content.as_bytes(), refs)));
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { outbound: Arc::new(self.layer.clone()), since: Some(self.now), ..Snapshot::default() }
    }

    fn stream(&mut self, wire: &str) -> Result<Vec<String>, String> {
        let wire = match wire {
            "sotw" => Wire::Sotw,
            "delta" => Wire::Delta,
            other => return Err(format!("{other:?} is not a wire form")),
        };
        let mut session = Session::new(wire);
        if self.known {
            session.on_snapshot(self.snapshot(), self.now);
        }
        self.session = Some(session);
        self.introduced = false;
        Ok(Vec::new())
    }

    fn client(&mut self, kind: &str, words: &[&str]) -> Result<Vec<String>, String> {
        let request = self.request(kind, words)?;
        let session = self.session.as_mut().ok_or("no stream is open")?;
        match session.on_request(&request, self.now) {
            Ok(received) => {
                self.latency = received.and_then(|received| received.change_to_ack).or(self.latency);
                Ok(self.drain())
            }
            Err(refusal) => {
                self.session = None;
                Ok(vec![format!("refused {:?}: {refusal}", refusal.code())])
            }
        }
    }

    fn request(&mut self, kind: &str, words: &[&str]) -> Result<Request, String> {
        let type_url = match (kind, short(kind)) {
            (_, Some(kind)) => kind.type_url().to_owned(),
            ("none", _) => String::new(),
            (url, _) => url.to_owned(),
        };
        let mut asked = Asked::default();
        asked.read(&words.join(" "))?;
        let node = asked.node.or_else(|| (!self.introduced).then(|| "proxy".to_owned()));
        self.introduced = true;
        let node = node.filter(|id| id != "none").map(|id| Node { id, ..Node::default() });
        let names = match asked.all {
            Some(names) => Names::All(names),
            None => {
                let initial = asked.have.iter().map(|(name, content)| (name.clone(), version(content))).collect();
                Names::Change { subscribe: asked.subscribe, unsubscribe: asked.unsubscribe, initial }
            }
        };
        Ok(Request { type_url, node, nonce: asked.nonce, error: asked.error, names })
    }

    fn time(&mut self, time: &str) -> Result<Vec<String>, String> {
        let millis = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
            (Some(number), _) => number.parse().map(Duration::from_millis),
            (None, Some(number)) => number.parse().map(Duration::from_secs),
            (None, None) => return Err(format!("{time:?} is not a time")),
        };
        let until = self.now + millis.map_err(|error| error.to_string())?;
        let mut said = Vec::new();
        while let Some(next) = self.session.as_ref().and_then(Session::deadline).filter(|next| *next <= until) {
            if next <= self.now {
                return Err("the session's deadline does not move on".into());
            }
            self.now = next;
            said.extend(self.drain());
        }
        self.now = until;
        said.retain(|line| line != SILENT);
        let late = self.drain();
        if late != [SILENT] {
            return Err(format!("{late:?} is sent, but at no deadline of the session"));
        }
        Ok(if said.is_empty() { late } else { said })
    }

    /// Everything the session has to say, the connection always being writable.
    fn drain(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(response) = self.session.as_mut().and_then(|session| session.poll(self.now)) {
            said.push(self.response(&response));
        }
        if said.is_empty() {
            said.push(SILENT.to_owned());
        }
        said
    }

    fn response(&mut self, response: &Response) -> String {
        let version = self.label(Some(response.version));
        let mut line = format!("server {} {} {version}:", response.kind, response.nonce);
        for resource in &response.resources {
            line += &format!(" {}={}", resource.name(), content(resource));
        }
        if !response.removed.is_empty() {
            line += &format!(" removed {}", response.removed.join(" "));
        }
        line
    }

    fn label(&mut self, version: Option<Version>) -> String {
        let Some(version) = version else { return "-".to_owned() };
        let next = self.versions.len() + 1;
        format!("v{}", self.versions.entry(version).or_insert(next))
    }

    fn show(&mut self, what: &str) -> Result<Vec<String>, String> {
        let session = self.session.as_ref().ok_or("no stream is open")?;
        if what == "counters" {
            let c = session.counters();
            let all = [
                ("stale", c.stale),
                ("late", c.late_rejections),
                ("node_mismatches", c.node_mismatches),
                ("unknown_types", c.unknown_types),
                ("missing_secrets", c.missing_secrets),
            ];
            let some: Vec<_> = all.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!(" {name}={n}")).collect();
            return Ok(vec![format!("counters{}", some.concat())]);
        }
        if what == "latency" {
            return Ok(vec![self.latency.map_or("latency -".to_owned(), |latency| format!("latency {latency:?}"))]);
        }
        let kind = short(what).ok_or("neither a type nor counters nor latency")?;
        let Some(status) = session.status().into_iter().find(|status| status.kind == kind) else {
            return Ok(vec![format!("{kind} not asked for")]);
        };
        let desired = self.label(Some(status.desired));
        let sent = self.label(status.sent.map(|(version, _)| version));
        let acked = self.label(status.acked.map(|(version, _)| version));
        let nacked = match &status.nacked {
            Some(rejection) => format!("{} {:?}", self.label(Some(rejection.version)), rejection.message),
            None => "-".to_owned(),
        };
        let waiting = status.waiting;
        Ok(vec![format!("{kind} desired {desired} sent {sent} acked {acked} nacked {nacked} waiting {waiting}")])
    }
}

/// The words of a client line.
#[derive(Default)]
struct Asked {
    all: Option<Vec<String>>,
    subscribe: Vec<String>,
    unsubscribe: Vec<String>,
    have: Vec<(String, String)>,
    nonce: String,
    error: Option<String>,
    node: Option<String>,
}

impl Asked {
    fn read(&mut self, text: &str) -> Result<(), String> {
        let mut text = text.trim().to_owned();
        if let Some((head, message)) = text.clone().split_once('"') {
            self.error = Some(message.trim_end_matches('"').to_owned());
            text = head.to_owned();
        }
        if let Some(rest) = text.clone().strip_prefix('[') {
            let (names, rest) = rest.split_once(']').ok_or("a list of names without an end")?;
            self.all = Some(names.split_whitespace().map(str::to_owned).collect());
            text = rest.to_owned();
        }
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            match (word, word.split_at(1)) {
                ("ack" | "nack", _) => self.nonce = words.next().ok_or("an answer without a nonce")?.to_owned(),
                (_, ("+", name)) => self.subscribe.push(name.to_owned()),
                (_, ("-", name)) => self.unsubscribe.push(name.to_owned()),
                _ => self.read_pair(word)?,
            }
        }
        Ok(())
    }

    fn read_pair(&mut self, word: &str) -> Result<(), String> {
        match (word.strip_prefix("node="), word.strip_prefix("have:").and_then(|have| have.split_once('='))) {
            (Some(id), _) => self.node = Some(id.to_owned()),
            (None, Some((name, content))) => self.have.push((name.to_owned(), content.to_owned())),
            (None, None) => return Err(format!("{word:?} is not part of a request")),
        }
        Ok(())
    }
}

fn short(word: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.short() == word)
}

fn reference(text: &str) -> Result<Ref, String> {
    let (kind, name) = text.split_once(':').ok_or_else(|| format!("{text:?} is not a reference"))?;
    Ok(Ref { kind: short(kind).ok_or_else(|| format!("{kind:?} is not a type"))?, name: name.into() })
}

/// The version of a resource of that content; it does not depend on kind or name.
fn version(content: &str) -> String {
    Resource::opaque(Kind::Cluster, "any", content.as_bytes(), Vec::new()).version().to_string()
}

/// What a resource was made of: a placeholder is the only one that carries an encoded name.
fn content(resource: &Resource) -> String {
    let name = resource.name().as_bytes();
    let placeholder = resource.body().len() == name.len() + 2 && resource.body().ends_with(name);
    if placeholder { "empty".to_owned() } else { String::from_utf8_lossy(resource.body()).into_owned() }
}
