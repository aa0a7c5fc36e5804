//! A client that talks to a session in lines of a transcript, and behaves as Envoy was seen to behave.
//!
//! It withholds answers about clusters while one warms, applies the good part of clusters and listeners it rejects and
//! whatever they remove, rejects other types as a whole, though routes before the bad one are in effect, accepts a secret
//! unread if it is the one it has just rejected, forgets endpoints with their cluster, and when it comes back asks with what
//! it holds: for endpoints and not for clusters if it was left warming.

use crate::replay::Stage;
use crate::trace::{Event, Sent, What};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::Resource;
use chancery::xds::gate::Options;
use chancery::xds::request::Wire;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// When Envoy gives up waiting for endpoints.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// How long its listeners drain: less than the oracles allow for everything to be over.
const DRAIN: Duration = Duration::from_secs(10);
/// Every content a resource of the model can have; those from the fourth on are rejected.
pub const CONTENTS: [&str; 5] = ["1", "2", "3", "bad1", "bad2"];

/// What a resource refers to.
pub fn refs(kind: Kind, name: &str, content: &str) -> Vec<(Kind, String)> {
    let secret = content == "3";
    match kind {
        Kind::Cluster if secret => vec![(Kind::Endpoint, name.into()), (Kind::Secret, "s".into())],
        Kind::Cluster => vec![(Kind::Endpoint, name.into())],
        Kind::Listener => vec![(Kind::Route, name.into())],
        Kind::Route => vec![(Kind::Cluster, target(content).into())],
        _ => Vec::new(),
    }
}

/// The cluster that routes of that content name.
fn target(content: &str) -> &'static str {
    match content {
        "1" => "a",
        "2" | "bad1" => "b",
        _ => "c",
    }
}

/// What Envoy says of clusters and listeners it refuses one by one; of others, not who it is.
fn complaint(kind: Kind, culprits: &[&str]) -> String {
    let each = |end: &str| culprits.iter().map(|name| format!("{name}: it is bad{end}")).collect::<Vec<_>>();
    match kind {
        Kind::Cluster => format!("Error adding/updating cluster(s) {}", each("").join(", ")),
        Kind::Listener => format!("Error adding/updating listener(s) {}", each("\\n").concat()),
        _ => "something is bad".to_owned(),
    }
}

fn content(hash: u128) -> &'static str {
    let of =
        |content: &&str| Resource::opaque(Kind::Cluster, "any", content.as_bytes(), Vec::new()).version().0 == hash;
    CONTENTS.into_iter().find(of).unwrap_or("empty")
}

/// What it holds of a kind, by name.
type Held = BTreeMap<String, &'static str>;

/// One type on the stream.
#[derive(Default)]
struct Type {
    asked: bool,
    /// The names it asks for; clusters and listeners are all asked for.
    names: BTreeSet<String>,
    held: Held,
    /// What it will report to hold: what it has acknowledged.
    reported: Held,
    nonce: String,
    /// Whether anything was ever accepted, on this stream or an earlier one.
    accepted: bool,
}

/// A client of one session.
pub struct Client {
    pub stage: Stage,
    /// The transcript so far.
    pub log: Vec<String>,
    wire: Wire,
    types: BTreeMap<Kind, Type>,
    inbox: VecDeque<Sent>,
    /// How many events of the trace it has looked at.
    taken: usize,
    /// Clusters that warm: what they wait for, and since when.
    warming: BTreeMap<String, (BTreeSet<(Kind, String)>, Duration)>,
    /// Answers about clusters that are withheld.
    withheld: Vec<(String, Option<String>)>,
    /// The content of each secret that it has seen last.
    seen: Held,
    /// What it has accepted on this stream.
    accepted: BTreeSet<(Kind, String)>,
    /// Whether its connection takes what is written to it.
    room: bool,
    now: Duration,
    pub error: Option<String>,
}

impl Client {
    pub fn new(wire: Wire) -> Self {
        let types = Kind::ALL.map(|kind| (kind, Type::default())).into();
        let stage = Stage::new(Options { listener_linger: DRAIN, ..Options::default() });
        let (log, inbox, withheld) = (Vec::new(), VecDeque::new(), Vec::new());
        let (warming, now, error) = (BTreeMap::new(), Duration::ZERO, None);
        let (seen, accepted, room) = (Held::new(), BTreeSet::new(), true);
        let mut client =
            Self { stage, log, wire, types, inbox, taken: 0, warming, withheld, seen, accepted, room, now, error };
        client.open();
        client
    }

    /// Says a line, and takes what comes.
    pub fn say(&mut self, line: &str) {
        if self.error.is_some() {
            return;
        }
        self.log.push(line.trim_end().to_owned());
        match self.stage.play(line.trim_end()) {
            Ok(said) => self.log.extend(said),
            Err(error) => self.error = Some(error),
        }
        let new = &self.stage.trace.events[self.taken..];
        self.inbox.extend(
            new.iter().filter_map(|event| if let What::Sent(sent) = &event.what { Some(sent.clone()) } else { None }),
        );
        self.taken = self.stage.trace.events.len();
    }

    /// How many responses it was sent.
    pub fn sent(&self) -> usize {
        let is_sent = |event: &&Event| matches!(event.what, What::Sent(_));
        self.stage.trace.events.iter().filter(is_sent).count()
    }

    /// No more than so many were sent.
    pub fn limit(&mut self, most: usize) {
        let sent = self.sent();
        if sent > most && self.error.is_none() {
            self.error = Some(format!("{sent} responses were sent, {most} are the most there is a reason for"));
        }
    }

    /// Its connection takes what is written to it from now on, or no more.
    pub fn set_room(&mut self, room: bool) {
        self.room = room;
        self.say(if room { "room" } else { "full" });
    }

    fn this(&mut self, kind: Kind) -> &mut Type {
        self.types.get_mut(&kind).expect("every kind has one")
    }

    /// A new stream. What it holds it states, in Delta; what it asks for first depends on whether it was left warming.
    pub fn open(&mut self) {
        self.inbox.clear();
        self.withheld.clear();
        self.accepted.clear();
        self.room = true;
        let wire = self.wire.short();
        self.say(&format!("stream {wire}"));
        for this in self.types.values_mut() {
            (this.asked, this.nonce) = (false, String::new());
        }
        if self.warming.is_empty() {
            self.ask_first(Kind::Cluster);
        }
        for kind in [Kind::Endpoint, Kind::Secret, Kind::Listener, Kind::Route] {
            if kind.is_whole_set() || !self.types[&kind].names.is_empty() {
                self.ask_first(kind);
            }
        }
    }

    fn ask_first(&mut self, kind: Kind) {
        let have: String =
            self.types[&kind].reported.iter().map(|(name, content)| format!(" have:{name}={content}")).collect();
        let this = self.this(kind);
        this.asked = true;
        let names: Vec<String> = this.names.iter().cloned().collect();
        match self.wire {
            Wire::Sotw => {
                let again = if self.types[&kind].accepted { " again" } else { "" };
                self.say(&format!("client {kind} [{}]{again}", names.join(" ")));
            }
            Wire::Delta => {
                let plus: String = names.iter().map(|name| format!(" +{name}")).collect();
                self.say(&format!("client {kind}{plus}{have}"));
            }
        }
    }

    /// Asks for other names than before.
    fn subscribe(&mut self, kind: Kind, names: BTreeSet<String>) {
        let wire = self.wire;
        let this = self.this(kind);
        let old = std::mem::replace(&mut this.names, names);
        let new = this.names.clone();
        // What nobody asks for any more is forgotten, without a word from the server.
        this.held.retain(|name, _| new.contains(name));
        this.reported.retain(|name, _| new.contains(name));
        self.accepted.retain(|(of, name)| *of != kind || new.contains(name));
        if kind == Kind::Secret {
            self.seen.retain(|name, _| new.contains(name));
        }
        if old == new {
            return;
        }
        let this = self.this(kind);
        if !this.asked {
            return self.ask_first(kind);
        }
        match wire {
            Wire::Sotw => self.answer(kind, None),
            Wire::Delta => {
                let plus = new.difference(&old).map(|name| format!(" +{name}"));
                let minus = old.difference(&new).map(|name| format!(" -{name}"));
                let words: String = plus.chain(minus).collect();
                self.say(&format!("client {kind}{words}"));
            }
        }
    }

    /// An answer, or in SotW only the names: they come with the newest nonce.
    fn answer(&mut self, kind: Kind, answer: Option<(String, Option<String>)>) {
        let this = self.this(kind);
        let words = match &answer {
            Some((nonce, None)) => format!(" ack {nonce}"),
            Some((nonce, Some(error))) => format!(" nack {nonce} \"{error}\""),
            None if this.nonce.is_empty() => String::new(),
            None => format!(" ack {}", this.nonce),
        };
        if let Some((nonce, error)) = answer {
            this.accepted |= error.is_none();
            this.nonce = nonce;
        }
        let names: Vec<String> = this.names.iter().cloned().collect();
        match self.wire {
            Wire::Sotw => self.say(&format!("client {kind} [{}]{words}", names.join(" "))),
            Wire::Delta => self.say(&format!("client {kind}{words}")),
        }
    }

    /// Takes the oldest response, applies what is good of it and answers; whether there was one.
    pub fn read(&mut self) -> bool {
        let Some(sent) = self.inbox.pop_front() else { return false };
        let mut resources: Vec<(String, &str)> =
            sent.resources.iter().map(|(name, hash)| (name.clone(), content(*hash))).collect();
        let all = resources.clone();
        if sent.kind == Kind::Secret {
            // It remembers the bytes before it reads them.
            resources.retain(|(name, content)| self.seen.insert(name.clone(), content) != Some(content));
        }
        let bad = |content: &str| content.starts_with("bad");
        let culprits: Vec<&str> = resources.iter().filter(|(_, c)| bad(c)).map(|(name, _)| name.as_str()).collect();
        let error = (!culprits.is_empty()).then(|| complaint(sent.kind, &culprits));
        let partly = sent.kind.is_whole_set();
        if error.is_none() || partly {
            let good: Vec<_> = resources.iter().filter(|(_, c)| !bad(c)).cloned().collect();
            let there: BTreeSet<&String> = resources.iter().map(|(name, _)| name).collect();
            let whole = self.wire == Wire::Sotw && partly;
            let held = self.this(sent.kind).held.keys();
            let left: Vec<String> = held.filter(|name| whole && !there.contains(name)).cloned().collect();
            let gone: Vec<String> = sent.removed.iter().cloned().chain(left).collect();
            self.apply(sent.kind, &good, &gone);
            if error.is_none() {
                self.came(sent.kind, all.iter().map(|(name, _)| name));
                let (there, absent): (Vec<_>, Vec<_>) = all.iter().partition(|(_, content)| *content != "empty");
                self.accepted.extend(there.iter().map(|(name, _)| (sent.kind, name.clone())));
                let lost = absent.iter().map(|(name, _)| name).chain(&gone);
                lost.for_each(|name| _ = self.accepted.remove(&(sent.kind, name.clone())));
                let this = self.this(sent.kind);
                gone.iter().for_each(|name| _ = this.reported.remove(name));
                this.reported.extend(all);
            }
        }
        if sent.kind == Kind::Route && error.is_some() {
            let before: Vec<_> = resources.iter().take_while(|(_, c)| !bad(c)).cloned().collect();
            self.apply(sent.kind, &before, &[]);
        }
        let answer = (sent.nonce.clone(), error);
        // Answers go in the order of the responses.
        if sent.kind == Kind::Cluster {
            self.withheld.push(answer);
        } else {
            self.answer(sent.kind, Some(answer));
        }
        self.follow();
        true
    }

    fn apply(&mut self, kind: Kind, good: &[(String, &'static str)], gone: &[String]) {
        for name in gone {
            self.this(kind).held.remove(name);
            if kind == Kind::Cluster {
                self.warming.remove(name);
            }
        }
        for (name, content) in good {
            let old = self.this(kind).held.insert(name.clone(), content);
            if kind == Kind::Cluster && old != Some(content) {
                self.warming.insert(name.clone(), (refs(kind, name, content).into_iter().collect(), self.now));
            }
        }
        self.came(kind, good.iter().map(|(name, _)| name).chain(gone));
    }

    /// What a cluster waits for has come, or is known not to exist.
    fn came<'a>(&mut self, kind: Kind, names: impl Iterator<Item = &'a String>) {
        let came: Vec<(Kind, String)> = names.map(|name| (kind, name.clone())).collect();
        for (awaited, _) in self.warming.values_mut() {
            came.iter().for_each(|one| _ = awaited.remove(one));
        }
    }

    /// Asks for what its clusters and listeners name, and no more; answers what it has withheld once nothing warms.
    fn follow(&mut self) {
        let named = |client: &Self, kind: Kind, child: Kind| -> BTreeSet<String> {
            let held = &client.types[&kind].held;
            let all = held.iter().flat_map(|(name, content)| refs(kind, name, content));
            all.filter(|(of, _)| *of == child).map(|(_, name)| name).collect()
        };
        self.subscribe(Kind::Endpoint, named(self, Kind::Cluster, Kind::Endpoint));
        self.subscribe(Kind::Secret, named(self, Kind::Cluster, Kind::Secret));
        self.subscribe(Kind::Route, named(self, Kind::Listener, Kind::Route));
        self.warming.retain(|_, (awaited, _)| !awaited.is_empty());
        if self.warming.is_empty() {
            if !self.types[&Kind::Cluster].asked {
                self.ask_first(Kind::Cluster);
            }
            for answer in std::mem::take(&mut self.withheld) {
                self.answer(Kind::Cluster, Some(answer));
            }
        }
    }

    /// Time passes; endpoints that do not come are not waited for for ever.
    pub fn wait(&mut self, millis: u64) {
        let idle = self.inbox.is_empty() && self.room;
        self.say(&format!("time {millis}ms"));
        self.now += Duration::from_millis(millis);
        let now = self.now;
        if idle && self.inbox.is_empty() {
            self.complain(now);
        }
        for (awaited, since) in self.warming.values_mut().filter(|(_, since)| now >= *since + FETCH_TIMEOUT) {
            awaited.retain(|(kind, _)| *kind != Kind::Endpoint);
            _ = since;
        }
        self.follow();
    }

    /// A cluster that it gives up waiting for, although everything that came was read, never gets endpoints that were accepted.
    fn complain(&mut self, now: Duration) {
        let over = self.warming.iter().filter(|(_, (_, since))| now >= *since + FETCH_TIMEOUT);
        let awaited = over.flat_map(|(name, (awaited, _))| awaited.iter().map(move |one| (name, one)));
        let mut vain = awaited.filter(|(_, one)| one.0 == Kind::Endpoint && self.accepted.contains(one));
        let wrong =
            vain.next().map(|(name, _)| format!("cluster {name} waits in vain for endpoints that were accepted"));
        self.error = self.error.take().or(wrong);
    }

    /// Reads and answers until nothing comes any more. Time passes: more than anything in the session waits for.
    pub fn settle(&mut self) {
        self.set_room(true);
        for quiet in 0..200 {
            if !self.read() && quiet > 0 && !self.read_after_a_while() {
                break;
            }
            if self.error.is_some() {
                return;
            }
        }
        self.stage.rest();
    }

    fn read_after_a_while(&mut self) -> bool {
        for _ in 0..3 {
            self.wait(16_000);
            if self.read() {
                return true;
            }
        }
        false
    }

    /// What it holds and should not, or the reverse.
    pub fn differences(&self, world: &BTreeMap<(Kind, String), &'static str>) -> Vec<String> {
        let mut wrong: Vec<String> =
            self.warming.iter().map(|(name, waits)| format!("{name} warms: {waits:?}")).collect();
        for (kind, this) in &self.types {
            let wanted =
                world.iter().filter(|((of, name), _)| of == kind && (kind.is_whole_set() || this.names.contains(name)));
            let wanted: Held = wanted.map(|((_, name), content)| (name.clone(), *content)).collect();
            let mut held = this.held.clone();
            held.retain(|name, content| *content != "empty" && (wanted.contains_key(name) || kind.is_whole_set()));
            if held != wanted {
                wrong.push(format!("{kind}: holds {held:?}, should hold {wanted:?}"));
            }
        }
        wrong
    }
}
