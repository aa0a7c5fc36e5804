//! Random sequences of requests, changes, answers and pauses against the session, with a client that believes what it is
//! sent: whatever happens, it ends up holding what it subscribed to.

#[path = "session/clash.rs"]
mod clash;
#[path = "session/client.rs"]
mod client;
#[path = "session/lacking.rs"]
mod lacking;
#[path = "session/lingering.rs"]
mod lingering;
#[path = "session/near.rs"]
mod near;
#[path = "session/pace.rs"]
mod pace;
mod trace;

use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Ref, Resource};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::gate::Options;
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::session::Session;
use client::Client;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::Code;
use trace::{Asked, Sent, Trace, What};

/// The names of every kind; small, so that sequences meet.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// The content of everything at the end.
const NEVER_REJECTED: u8 = 3;

/// One step of a random sequence. A name list is a bit mask over [`NAMES`].
#[derive(Clone, Debug)]
enum Step {
    Put(Kind, usize, u8),
    Remove(Kind, usize),
    Post,
    Want(Kind, u8, bool),
    Drop(Kind, u8, bool),
    Read,
    Answer(bool),
    Nonsense(Kind, u8, bool),
    Pause(u16),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || (0..Kind::ALL.len()).prop_map(|index| Kind::ALL[index]);
    prop_oneof![
        4 => (kind(), 0..NAMES.len(), 0..3u8).prop_map(|(kind, name, content)| Step::Put(kind, name, content)),
        2 => (kind(), 0..NAMES.len()).prop_map(|(kind, name)| Step::Remove(kind, name)),
        4 => Just(Step::Post),
        4 => (kind(), 0..8u8, prop::bool::weighted(0.2)).prop_map(|(kind, mask, star)| Step::Want(kind, mask, star)),
        2 => (kind(), 0..8u8, prop::bool::weighted(0.2)).prop_map(|(kind, mask, star)| Step::Drop(kind, mask, star)),
        6 => Just(Step::Read),
        6 => prop::bool::weighted(0.9).prop_map(Step::Answer),
        1 => (kind(), 0..8u8, any::<bool>()).prop_map(|(kind, nonce, error)| Step::Nonsense(kind, nonce, error)),
        2 => (0..1500u16).prop_map(Step::Pause),
        1 => Just(Step::Reconnect),
    ]
}

fn listed(mask: u8) -> Vec<String> {
    NAMES.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, name)| (*name).to_owned()).collect()
}

/// A session with a shorter drain time, so that everything is over within the bound of the oracles.
fn open(wire: Wire) -> Session {
    Session::with(wire, Options { listener_linger: Duration::from_secs(10), ..Options::default() })
}

struct Run {
    now: Instant,
    layer: Layer,
    snapshot: Snapshot,
    session: Session,
    client: Client,
    start: Instant,
    trace: Trace,
    stream: usize,
}

impl Run {
    fn new(wire: Wire) -> Self {
        let mut session = open(wire);
        let now = Instant::now();
        session.on_snapshot(Snapshot::default(), now);
        let (layer, snapshot) = (Layer::default(), Snapshot::default());
        let (client, trace) = (Client::new(wire), Trace::default());
        let mut run = Self { now, layer, snapshot, session, client, start: now, trace, stream: 0 };
        run.opened();
        run
    }

    fn opened(&mut self) {
        self.stream = self.trace.open(self.now - self.start, self.client.wire);
        self.note(What::World(trace::world(&self.snapshot)));
    }

    fn note(&mut self, what: What) {
        self.trace.note(self.now - self.start, self.stream, what);
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Put(kind, name, content) => self.put(*kind, NAMES[*name], *content),
            Step::Remove(kind, name) => self.layer.remove(*kind, NAMES[*name]),
            Step::Post => self.post(),
            Step::Want(kind, mask, star) => {
                let request = self.client.want(*kind, listed(*mask), *star);
                self.tell(&request);
            }
            Step::Drop(kind, mask, star) => {
                let request = self.client.drop(*kind, listed(*mask), *star);
                self.tell(&request);
            }
            Step::Read => _ = self.read(),
            Step::Answer(accept) => _ = self.answer(*accept),
            Step::Nonsense(kind, nonce, error) => self.nonsense(*kind, *nonce, *error),
            Step::Pause(millis) => self.now += Duration::from_millis(u64::from(*millis)),
            Step::Reconnect => self.reconnect(),
        }
    }

    fn put(&mut self, kind: Kind, name: &str, content: u8) {
        let children: &[Kind] = match kind {
            Kind::Cluster => &[Kind::Endpoint, Kind::Secret],
            Kind::Listener => &[Kind::Cluster, Kind::Route],
            Kind::Route => &[Kind::Cluster],
            Kind::Endpoint | Kind::Secret => &[],
        };
        let refs = children.iter().map(|kind| Ref { kind: *kind, name: name.into() }).collect();
        let body = format!("{name}-{content}");
        self.layer.insert(Arc::new(Resource::opaque(kind, name, body.as_bytes(), refs)));
    }

    fn post(&mut self) {
        self.snapshot = Snapshot { outbound: Arc::new(self.layer.clone()), ..Snapshot::default() };
        self.session.on_snapshot(self.snapshot.clone(), self.now);
        self.note(What::World(trace::world(&self.snapshot)));
    }

    fn tell(&mut self, request: &Request) {
        self.note(What::Asked(Asked::from(request)));
        self.session.on_request(request, self.now).expect("a request within all limits");
    }

    /// The server sends one response, if it has one.
    fn read(&mut self) -> bool {
        let response = self.session.poll(self.now);
        let sent = response.is_some();
        if let Some(response) = response {
            self.note(What::Sent(Sent::from(&response)));
            self.client.receive(response, self.now);
        }
        sent
    }

    /// The client applies and answers the oldest response it has received.
    fn answer(&mut self, accept: bool) -> bool {
        let answer = self.client.answer(accept);
        answer.iter().for_each(|request| self.tell(request));
        answer.is_some()
    }

    /// An answer to something that was perhaps never sent.
    fn nonsense(&mut self, kind: Kind, nonce: u8, error: bool) {
        let mut request = self.client.repeat(kind);
        request.nonce = if nonce == 0 { "no number".to_owned() } else { (u64::from(nonce) + 1_000).to_string() };
        request.error = error.then(|| "nonsense".to_owned());
        if self.client.has_asked(kind) {
            self.tell(&request);
        }
    }

    fn reconnect(&mut self) {
        self.session = open(self.client.wire);
        self.session.on_snapshot(self.snapshot.clone(), self.now);
        self.opened();
        for request in self.client.reconnect() {
            self.tell(&request);
        }
    }

    /// Lets everything be sent and accepted, in versions that were never rejected; the session's own deadlines are the only
    /// clock.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for kind in Kind::ALL {
            let names: Vec<_> = self.layer.own(kind).keys().cloned().collect();
            names.iter().for_each(|name| self.put(kind, name, NEVER_REJECTED));
        }
        self.post();
        for _ in 0..1_000 {
            if self.read() || self.answer(true) {
                continue;
            }
            let Some(deadline) = self.session.deadline() else { return Ok(()) };
            prop_assert!(deadline > self.now, "a deadline that is over and nothing to send");
            self.now = deadline;
        }
        Err(TestCaseError::fail("the session never comes to rest"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_ends_up_with_what_it_subscribed_to(
        delta in any::<bool>(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut run = Run::new(if delta { Wire::Delta } else { Wire::Sotw });
        for step in &steps {
            run.play(step);
        }
        run.settle()?;
        let (held, wanted) = (run.client.held(&run.snapshot), run.client.wanted(&run.snapshot));
        prop_assert_eq!(held, wanted);
        run.note(What::Rest);
        // This client rejects whatever it likes, and is sent nothing else for it.
        let mut violations = run.trace.violations();
        violations.retain(|text| !text.contains("rejected: "));
        prop_assert!(violations.is_empty(), "{}\nin this trace:\n{}", violations.join("\n"), run.trace);
        let warming = run.client.warming(&run.snapshot);
        prop_assert!(warming.is_empty(), "clusters wait for endpoints: {:?}", warming);
        for status in run.session.status() {
            prop_assert_eq!(status.waiting, 0);
            let version = run.client.version(status.kind, &run.snapshot);
            prop_assert_eq!(status.desired, version, "{}: the version is not that of what it holds", status.kind);
            prop_assert!(status.sent.is_none_or(|(version, _)| version == status.desired), "{:?}", status);
        }
    }

    #[test]
    fn no_request_makes_it_panic(
        delta in any::<bool>(),
        requests in prop::collection::vec((0..7usize, any::<u8>(), any::<u8>(), "[*abc]?", any::<bool>()), 1..60),
    ) {
        let mut run = Run::new(if delta { Wire::Delta } else { Wire::Sotw });
        NAMES.iter().for_each(|name| Kind::ALL.iter().for_each(|kind| run.put(*kind, name, 0)));
        run.post();
        for (kind, mask, nonce, extra, error) in requests {
            let names = || { let mut names = listed(mask); names.push(extra.clone()); names.push(extra.clone()); names };
            let request = Request {
                type_url: Kind::ALL.get(kind).map_or("type.googleapis.com/x", |kind| kind.type_url()).to_owned(),
                node: Some(client::node()),
                nonce: if nonce < 100 { nonce.to_string() } else { String::new() },
                error: error.then(|| "\u{1b}[0m".repeat(2_000)),
                stated: error,
                names: match delta {
                    true => Names::Change {
                        subscribe: names().into(),
                        unsubscribe: listed(nonce).into(),
                        initial: listed(nonce ^ mask).into_iter().map(|name| (name, "00")).collect(),
                    },
                    false => Names::All(names().into()),
                },
            };
            run.tell(&request);
            while run.session.poll(run.now).is_some() {}
            run.now += Duration::from_millis(u64::from(nonce) * 5);
        }
        let longest = Kind::ALL.iter().filter_map(|kind| run.session.rejection(*kind)).map(|r| r.message.len()).max();
        prop_assert!(longest.unwrap_or_default() <= 4096);
    }
}

#[test]
fn names_are_limited_per_request_and_per_stream() {
    let names =
        |from: usize, count: usize| (from..from + count).map(|index| format!("name-{index}")).collect::<Vec<_>>();
    let subscribe = |names: Vec<String>| Names::Change {
        subscribe: names.into(),
        unsubscribe: Default::default(),
        initial: Default::default(),
    };
    let (type_url, nonce) = (Kind::Endpoint.type_url().to_owned(), String::new());
    let request = |names| Request {
        type_url: type_url.clone(),
        node: Some(client::node()),
        nonce: nonce.clone(),
        error: None,
        stated: false,
        names,
    };
    let now = Instant::now();
    let refused = "100001 eds names were asked for; the limit is 100000 names per type";

    let mut at_once = Session::new(Wire::Sotw);
    let refusal = at_once.on_request(&request(Names::All(names(0, 100_001).into())), now).expect_err("too many names");
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (Code::ResourceExhausted, refused));

    let mut in_parts = Session::new(Wire::Delta);
    in_parts.on_request(&request(subscribe(names(0, 100_000))), now).expect("as many as allowed");
    in_parts.on_request(&request(subscribe(names(0, 100_000))), now).expect("the same again");
    let refusal = in_parts.on_request(&request(subscribe(names(100_000, 1))), now).expect_err("one too many");
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (Code::ResourceExhausted, refused));
}

/// A stream that has caught up shares the names of the snapshot and holds nothing else of it.
#[test]
fn a_stream_that_has_caught_up_holds_no_names_of_its_own() {
    let mut run = Run::new(Wire::Delta);
    run.put(Kind::Endpoint, "a", 0);
    run.post();
    let resource = run.snapshot.get(Kind::Endpoint, "a").expect("just put").clone();
    let before = Arc::strong_count(resource.name());
    let request = run.client.want(Kind::Endpoint, listed(1), false);
    run.tell(&request);
    while run.read() || run.answer(true) {}
    assert_eq!(Arc::strong_count(resource.name()), before + 1, "the subscription's, and no copy");
}
