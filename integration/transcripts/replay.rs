//! Plays the lines of a transcript: drives a session, writes what it says, records what happens.

mod door;
mod words;

use crate::trace::{self, Asked, Sent, Trace, What};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::lint;
use chancery::snapshot::resource::{Resource, Version};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::gate::Options;
use chancery::xds::identity::{self, Credential};
use chancery::xds::refusal::Refusal;
use chancery::xds::registry::parted::Parted;
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::response::Response;
use chancery::xds::session::Session;
use door::Door;
use envoy_types::pb::envoy::config::core::v3::Node;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use words::{Question, content, credential, list, metadata, resource, short, version, waits};

/// The node that a client has unless it says otherwise.
const NODE: &str = "proxy";
/// What is written when the server sends nothing.
const SILENT: &str = "server silent";

/// A session and its world, driven by lines.
pub struct Stage {
    start: Instant,
    now: Instant,
    layer: Layer,
    known: bool,
    session: Option<Session>,
    introduced: bool,
    /// What the process remembers of clients that have gone.
    parted: Parted,
    /// What the connection has proven; a stream with one waits for its node to be admitted.
    credential: Option<Credential>,
    /// The newest time from a change to its ACK.
    latency: Option<Duration>,
    versions: BTreeMap<Version, usize>,
    /// Whether the connection takes what is written to it.
    room: bool,
    /// The door that streams wait at, in transcripts about it.
    door: Option<Door>,
    /// What has happened.
    pub trace: Trace,
    stream: usize,
    /// How long sessions wait for what.
    options: Options,
    /// What the session has said although it did not say that there was more.
    unasked: Option<String>,
}

impl Stage {
    /// One whose sessions wait for so long.
    pub fn new(options: Options) -> Self {
        let start = Instant::now();
        Stage {
            start,
            now: start,
            layer: Layer::default(),
            known: false,
            session: None,
            introduced: false,
            parted: Parted::default(),
            credential: None,
            latency: None,
            versions: BTreeMap::new(),
            unasked: None,
            room: true,
            door: None,
            trace: Trace::default(),
            stream: 0,
            options,
        }
    }

    fn note(&mut self, what: What) {
        self.trace.note(self.now - self.start, self.stream, what);
    }

    /// Nothing more is to come: what was sent is judged by that.
    pub fn rest(&mut self) {
        self.note(What::Rest);
    }

    /// Gives the session what the world is now.
    fn post(&mut self) {
        let snapshot = self.snapshot();
        if let Some(session) = &mut self.session {
            session.on_snapshot(snapshot.clone(), self.now);
            self.note(What::World(trace::world(&snapshot)));
        }
    }

    /// Does what an input line says; returns what the server does. An error where it does what nobody would have asked it for.
    pub fn play(&mut self, line: &str) -> Result<Vec<String>, String> {
        let said = self.act(line)?;
        self.unasked.take().map_or(Ok(said), Err)
    }

    fn act(&mut self, line: &str) -> Result<Vec<String>, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.split_first() {
            None => Ok(Vec::new()),
            Some((word, _)) if word.starts_with('#') => Ok(Vec::new()),
            Some((&"world", rest)) => self.world(rest),
            Some((&"stream", [wire])) => self.stream(wire, None),
            Some((&"stream", [wire, "as", who])) => self.stream(wire, Some(credential(who)?)),
            Some((&"client", [kind, rest @ ..])) => self.client(kind, rest),
            Some((&"time", [time])) => self.time(time),
            Some((&"full", [])) => self.room(false),
            Some((&"room", [])) => self.room(true),
            Some((&"replica", [])) => self.replica(),
            Some((&"show", [what])) => self.show(what),
            Some((&"admission", [room])) => Door::new(room).map(|door| self.door = Some(door)).map(|()| Vec::new()),
            Some((&("comes" | "leaves" | "sends" | "done"), _)) => {
                let door = self.door.as_mut().ok_or("there is no door")?;
                door.play(&words).map(|said| vec![said])
            }
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
        self.post();
        Ok(if self.session.is_some() { self.drain() } else { Vec::new() })
    }

    fn change(&mut self, kind: Kind, word: &str) -> Result<(), String> {
        if let Some(name) = word.strip_prefix('-') {
            self.layer.remove(kind, name);
            return Ok(());
        }
        self.layer.insert(Arc::new(resource(kind, word)?));
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { outbound: Arc::new(self.layer.clone()), since: Some(self.now), ..Snapshot::default() }
    }

    /// Another process that has come to the same world in another order.
    fn replica(&mut self) -> Result<Vec<String>, String> {
        let mut layer = Layer::default();
        for kind in Kind::ALL.into_iter().rev() {
            for old in self.layer.own(kind).values().rev() {
                let refs = old.refs().cloned().collect();
                layer.insert(Arc::new(Resource::opaque(kind, old.name(), &old.body(), refs)));
            }
        }
        self.layer = layer;
        (self.session, self.parted) = (None, Parted::default());
        Ok(Vec::new())
    }

    fn room(&mut self, room: bool) -> Result<Vec<String>, String> {
        self.room = room;
        Ok(if room { self.drain() } else { Vec::new() })
    }

    fn stream(&mut self, wire: &str, credential: Option<Credential>) -> Result<Vec<String>, String> {
        let wire = match wire {
            "sotw" => Wire::Sotw,
            "delta" => Wire::Delta,
            other => return Err(format!("{other:?} is not a wire form")),
        };
        if let Some(gone) = self.session.take() {
            self.parted.note(NODE, gone.unsettled(), self.now);
        }
        let mut session = Session::with(wire, self.options);
        self.parted.recall(NODE, self.now).into_iter().for_each(|unsettled| session.recall(unsettled));
        self.session = Some(session);
        self.stream = self.trace.open(self.now - self.start, wire);
        if self.known && credential.is_none() {
            self.post();
        }
        self.credential = credential;
        self.introduced = false;
        self.room = true;
        Ok(Vec::new())
    }

    fn client(&mut self, kind: &str, words: &[&str]) -> Result<Vec<String>, String> {
        let request = self.request(kind, words)?;
        self.note(What::Asked(Asked::from(&request)));
        let session = self.session.as_mut().ok_or("no stream is open")?;
        let received =
            session.on_request(&request, self.now).and_then(|received| self.admit(&request).map(|()| received));
        match received {
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

    /// The node of the first request is held against what the connection has proven; only then anything is computed.
    fn admit(&mut self, request: &Request) -> Result<(), Refusal> {
        let Some(credential) = self.credential.take() else { return Ok(()) };
        identity::admit(&request.node.clone().unwrap_or_default(), &credential)?;
        if self.known {
            self.post();
        }
        Ok(())
    }

    fn request(&mut self, kind: &str, words: &[&str]) -> Result<Request, String> {
        let type_url = match (kind, short(kind)) {
            (_, Some(kind)) => kind.type_url().to_owned(),
            ("none", _) => String::new(),
            (url, _) => url.to_owned(),
        };
        let mut asked = Question::default();
        asked.read(&words.join(" "))?;
        let node = asked.node.or_else(|| (!self.introduced).then(|| NODE.to_owned()));
        self.introduced = true;
        let metadata = asked.account.map(|account| metadata("SERVICE_ACCOUNT", account));
        let node = node.filter(|id| id != "none").map(|id| Node { id, metadata, ..Node::default() });
        let names = match asked.all {
            Some(names) => Names::All(names.into()),
            None => {
                let initial = asked.have.iter().map(|(name, content)| (name.clone(), version(content))).collect();
                Names::Change { subscribe: asked.subscribe.into(), unsubscribe: asked.unsubscribe.into(), initial }
            }
        };
        Ok(Request { type_url, node, nonce: asked.nonce, error: asked.error, stated: asked.stated, names })
    }

    fn time(&mut self, time: &str) -> Result<Vec<String>, String> {
        let millis = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
            (Some(number), _) => number.parse().map(Duration::from_millis),
            (None, Some(number)) => number.parse().map(Duration::from_secs),
            (None, None) => return Err(format!("{time:?} is not a time")),
        };
        let until = self.now + millis.map_err(|error| error.to_string())?;
        let mut said = Vec::new();
        // Without room to write nobody asks the session: the time it states is that of its next response.
        let next = |session: &Session| session.deadline().filter(|next| *next <= until);
        while let Some(next) = self.session.as_ref().filter(|_| self.room).and_then(next) {
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

    /// What the session says next, if there is room for it. Nobody would ask it if it did not say that there is more.
    fn next(&mut self) -> Option<Response> {
        let (now, session) = (self.now, self.session.as_mut().filter(|_| self.room)?);
        let asked = session.has_more() || session.deadline().is_some_and(|deadline| deadline <= now);
        let response = session.poll(now);
        if let (false, Some(response)) = (asked, &response) {
            self.unasked = Some(format!("nobody would have asked for {response:?}"));
        }
        response
    }

    /// Everything the session has to say, as long as there is room for it.
    fn drain(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while self.unasked.is_none()
            && let Some(response) = self.next()
        {
            self.note(What::Sent(Sent::from(&response)));
            said.push(self.response(&response));
        }
        let waiting = self.session.iter().flat_map(|session| session.status()).map(|status| status.waiting).sum();
        self.note(What::Waiting(waiting));
        if said.is_empty() {
            said.push(SILENT.to_owned());
        }
        said
    }

    fn response(&mut self, response: &Response) -> String {
        let version = self.label(Some(response.version));
        let mut line = format!("server {} {} {version}:", response.kind, response.nonce);
        let resources = response.all().map(|resource| format!("{}={}", resource.name(), content(resource)));
        line += &list(resources.collect());
        if !response.removed.is_empty() {
            line += &format!(" removed{}", list(response.removed.iter().map(|name| name.to_string()).collect()));
        }
        line
    }

    fn label(&mut self, version: Option<Version>) -> String {
        let Some(version) = version else { return "-".to_owned() };
        let next = self.versions.len() + 1;
        format!("v{}", self.versions.entry(version).or_insert(next))
    }

    fn show(&mut self, what: &str) -> Result<Vec<String>, String> {
        if what == "lint" {
            let found: Vec<_> = lint::layer(&self.layer).iter().map(|violation| format!("lint {violation}")).collect();
            return Ok(if found.is_empty() { vec!["lint -".to_owned()] } else { found });
        }
        let session = self.session.as_ref().ok_or("no stream is open")?;
        if what == "counters" {
            let c = session.counters();
            let all = [
                ("stale", c.stale),
                ("late", c.late_rejections),
                ("node_mismatches", c.node_mismatches),
                ("unknown_types", c.unknown_types),
                ("missing_secrets", c.missing_secrets),
                ("stranded", c.stranded),
                ("clusters_by_name", c.clusters_by_name),
                ("overdue", c.overdue),
                ("paced", c.paced),
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
        let waits = waits(&status);
        Ok(vec![format!("{kind} desired {desired} sent {sent} acked {acked} nacked {nacked} waiting {waiting}{waits}")])
    }
}
