//! The pace of updates: what waits, for how long, and what never does. Time is an input; each proof has a run without a
//! pace as its control.

use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Ref, Resource};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::gate::Options;
use chancery::xds::pace;
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::response::Response;
use chancery::xds::session::Session;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a thousand endpoints are, in bytes.
const LARGE: usize = 119_000;
const SMALL: usize = 500;
/// The wait after an update of [`LARGE`] bytes, with few proxies connected.
const INTERVAL: Duration = Duration::from_millis(227);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Endpoints of the given numbers, padded to a size.
fn endpoints(numbers: &BTreeSet<u32>, size: usize) -> Resource {
    let mut body: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    body.resize(size, 0);
    Resource::opaque(Kind::Endpoint, "e", &body, Vec::new()).with_vital(numbers.iter())
}

/// A client that acknowledges whatever comes, at once.
struct Proxy {
    session: Session,
    layer: Layer,
    wire: Wire,
    now: Instant,
    sent: Vec<Response>,
}

impl Proxy {
    fn new(wire: Wire, pace: pace::Options) -> Self {
        let session = Session::with(wire, Options { pace, ..Options::default() });
        Self { session, layer: Layer::default(), wire, now: Instant::now(), sent: Vec::new() }
    }

    /// One that has been sent endpoints of the given numbers.
    fn with_endpoints(wire: Wire, pace: pace::Options, numbers: &BTreeSet<u32>, size: usize) -> Self {
        let mut proxy = Self::new(wire, pace);
        proxy.post([endpoints(numbers, size)]);
        proxy.ask(Kind::Cluster, &[]);
        proxy.take();
        proxy.ask(Kind::Endpoint, &["e"]);
        assert_eq!(proxy.take(), [(Kind::Endpoint, 1)]);
        proxy
    }

    fn post(&mut self, resources: impl IntoIterator<Item = Resource>) {
        resources.into_iter().for_each(|resource| self.layer.insert(Arc::new(resource)));
        let snapshot =
            Snapshot { outbound: Arc::new(self.layer.clone()), since: Some(self.now), ..Snapshot::default() };
        self.session.on_snapshot(snapshot, self.now);
        self.drain();
    }

    fn ask(&mut self, kind: Kind, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let names = match self.wire {
            Wire::Sotw => Names::All(names.into()),
            Wire::Delta => {
                Names::Change { subscribe: names.into(), unsubscribe: Default::default(), initial: Default::default() }
            }
        };
        self.say(kind, String::new(), names);
        self.drain();
    }

    fn say(&mut self, kind: Kind, nonce: String, names: Names) {
        let node =
            Some(envoy_types::pb::envoy::config::core::v3::Node { id: "proxy".to_owned(), ..Default::default() });
        let request = Request { type_url: kind.type_url().to_owned(), node, nonce, error: None, stated: false, names };
        self.session.on_request(&request, self.now).expect("a good request");
    }

    fn drain(&mut self) {
        while let Some(response) = self.session.poll(self.now) {
            let nonce = response.nonce.to_string();
            let names = match (self.wire, response.kind) {
                (Wire::Sotw, Kind::Endpoint) => Names::All(vec!["e"].into()),
                (Wire::Sotw, _) => Names::All(Default::default()),
                (Wire::Delta, _) => Names::Change {
                    subscribe: Default::default(),
                    unsubscribe: Default::default(),
                    initial: Default::default(),
                },
            };
            self.say(response.kind, nonce, names);
            self.sent.push(response);
        }
    }

    /// Lets time pass; the session is asked when it says so, and not before.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.session.deadline().filter(|next| *next <= until) {
            assert!(next > self.now, "the session's deadline does not move on");
            self.now = next;
            self.drain();
        }
        self.now = until;
    }

    /// What was sent since this was asked last: of which kind and how much.
    fn take(&mut self) -> Vec<(Kind, usize)> {
        self.sent.drain(..).map(|response| (response.kind, response.all().count())).collect()
    }

    /// The endpoints as they were sent last.
    fn told(&self) -> Option<&Arc<Resource>> {
        self.sent.iter().rev().flat_map(|response| response.all()).find(|sent| sent.kind() == Kind::Endpoint)
    }

    fn waiting(&self) -> Vec<String> {
        let paced = self.session.status().into_iter().flat_map(|status| status.paced);
        paced.map(|name| name.to_string()).collect()
    }
}

fn wires(test: impl Fn(Wire)) {
    [Wire::Delta, Wire::Sotw].into_iter().for_each(test);
}

const UPDATE: [(Kind, usize); 1] = [(Kind::Endpoint, 1)];

#[test]
fn the_first_change_goes_at_once_and_the_next_when_it_is_paid_for() {
    wires(|wire| {
        let mut numbers: BTreeSet<u32> = (0..1000).collect();
        let mut proxy = Proxy::with_endpoints(wire, pace::Options::default(), &numbers, LARGE);
        let mut add = |proxy: &mut Proxy| {
            numbers.insert(numbers.len() as u32);
            proxy.post([endpoints(&numbers, LARGE)]);
            endpoints(&numbers, LARGE).version()
        };
        add(&mut proxy);
        assert_eq!(proxy.take(), UPDATE, "the first at once");
        add(&mut proxy);
        assert_eq!((proxy.take(), proxy.waiting()), (vec![], vec!["e".to_owned()]));
        proxy.wait(millis(100));
        let newest = add(&mut proxy);
        assert_eq!(proxy.take(), [], "and neither does the one after");
        assert_eq!(proxy.session.counters().paced, 1, "one wait, however often it changes meanwhile");
        proxy.wait(INTERVAL - millis(100));
        assert_eq!(proxy.told().expect("an update").version(), newest);
        assert_eq!((proxy.take(), proxy.waiting()), (UPDATE.to_vec(), vec![]));
        proxy.wait(INTERVAL);
        assert_eq!(proxy.session.deadline(), None, "nothing is kept once all is quiet");
        add(&mut proxy);
        assert_eq!(proxy.take(), UPDATE, "and the first goes at once again");
    });
}

#[test]
fn what_is_small_or_asked_for_or_new_never_waits() {
    wires(|wire| {
        let numbers: BTreeSet<u32> = (0..10).collect();
        let mut proxy = Proxy::with_endpoints(wire, pace::Options::default(), &numbers, SMALL);
        for number in 10..20 {
            proxy.post([endpoints(&(0..=number).collect(), SMALL)]);
            assert_eq!(proxy.take(), UPDATE);
        }
        assert_eq!(proxy.session.deadline(), None, "and nothing is noted");
        let mut proxy = Proxy::with_endpoints(wire, pace::Options::default(), &numbers, LARGE);
        proxy.post([endpoints(&(0..11).collect(), LARGE)]);
        proxy.post([endpoints(&(0..12).collect(), LARGE)]);
        assert_eq!(proxy.take(), UPDATE, "one waits");
        let to_endpoints = vec![Ref { kind: Kind::Endpoint, name: "e".into() }];
        proxy.post([Resource::opaque(Kind::Cluster, "c", b"1", to_endpoints)]);
        assert_eq!(proxy.take(), [(Kind::Cluster, 1), (Kind::Endpoint, 1)], "but follows its cluster");
        if wire == Wire::Delta {
            proxy.post([endpoints(&(0..13).collect(), LARGE)]);
            assert_eq!(proxy.take(), []);
            proxy.ask(Kind::Endpoint, &["e"]);
            assert_eq!(proxy.take(), UPDATE, "and is sent to whoever asks again");
        }
    });
}

#[test]
fn what_is_lost_goes_at_once() {
    wires(|wire| {
        let mut proxy = Proxy::with_endpoints(wire, pace::Options::default(), &(0..1000).collect(), LARGE);
        proxy.post([endpoints(&(0..1001).collect(), LARGE)]);
        proxy.post([endpoints(&(0..1002).collect(), LARGE)]);
        assert_eq!((proxy.take(), proxy.waiting().len()), (UPDATE.to_vec(), 1), "an addition waits");
        proxy.post([endpoints(&(1..1003).collect(), LARGE)]);
        assert_eq!((proxy.take(), proxy.waiting().len()), (UPDATE.to_vec(), 0), "a loss does not, and takes it along");
        for first in 2..5 {
            proxy.post([endpoints(&(first..1003).collect(), LARGE)]);
            assert_eq!(proxy.take(), UPDATE, "nor do some more");
        }
        proxy.post([endpoints(&(5..1003).collect(), LARGE)]);
        assert_eq!(proxy.take(), [], "until the credit is used up");
        proxy.wait(INTERVAL);
        assert_eq!(proxy.take(), UPDATE, "and then one goes when one is paid for");
        proxy.wait(INTERVAL * 6);
        assert_eq!(proxy.session.deadline(), None);
    });
}

/// A thousand endpoints are replaced, one comes and one goes every ten milliseconds. How many times they are sent, and
/// whether in the end as they are.
fn rollout(wire: Wire, pace: pace::Options, proxies: usize) -> (usize, bool) {
    // A tenth of the bytes at ten times the price: hashing them takes the time of this test.
    const SIZE: usize = LARGE / 10;
    let pace = pace::Options { proxy: pace.proxy * 10, each: pace.each * 10, ..pace };
    let mut numbers: BTreeSet<u32> = (0..1000).collect();
    let mut proxy = Proxy::with_endpoints(wire, pace, &numbers, SIZE);
    proxy.session.on_company(proxies);
    for old in 0..1000 {
        numbers.insert(old + 1000);
        proxy.post([endpoints(&numbers, SIZE)]);
        proxy.wait(millis(5));
        numbers.remove(&old);
        proxy.post([endpoints(&numbers, SIZE)]);
        proxy.wait(millis(5));
    }
    proxy.wait(Duration::from_secs(10));
    let last = proxy.told().map(|told| told.version());
    (proxy.sent.len(), last == Some(endpoints(&numbers, SIZE).version()))
}

#[test]
fn a_rollout_sends_a_bounded_number_of_large_assignments() {
    wires(|wire| {
        let bound = 10_000 / INTERVAL.as_millis() as usize + 7;
        let (sent, arrived) = rollout(wire, pace::Options::default(), 1);
        assert!(arrived && (20..bound).contains(&sent), "{sent}, {bound} at most");
        let (fewer, arrived) = rollout(wire, pace::Options::default(), 1000);
        assert!(arrived && fewer < sent * 2 / 3, "{fewer} where a thousand have to be told");
        let none = pace::Options { most: Duration::ZERO, ..pace::Options::default() };
        assert_eq!(rollout(wire, none, 1), (2000, true), "the control: without a pace, each is sent");
    });
}

fn clusters(content: &str) -> impl Iterator<Item = Resource> {
    let children = |name: &str| vec![Ref { kind: Kind::Endpoint, name: name.into() }];
    (0..1200).map(move |number| {
        let name = if number == 0 { "e".to_owned() } else { format!("e{number}") };
        Resource::opaque(Kind::Cluster, &name, content.as_bytes(), children(&name))
    })
}

#[test]
fn a_change_of_many_clusters_lets_endpoints_in_between() {
    let change = |wire: Wire, pace: pace::Options| {
        let mut proxy = Proxy::with_endpoints(wire, pace, &(0..10).collect(), SMALL);
        proxy.post(clusters("1"));
        proxy.take();
        proxy.post(clusters("2"));
        proxy.take()
    };
    let (paced, none) = (pace::Options::default(), pace::Options { clusters: usize::MAX, ..pace::Options::default() });
    let (endpoints, part) = ((Kind::Endpoint, 1), (Kind::Cluster, 500));
    assert_eq!(change(Wire::Delta, paced), [part, endpoints, part, (Kind::Cluster, 200)]);
    assert_eq!(change(Wire::Delta, none), [(Kind::Cluster, 1200), endpoints], "the control");
    assert_eq!(change(Wire::Sotw, paced), [(Kind::Cluster, 1200), endpoints], "a set is a set");
}
