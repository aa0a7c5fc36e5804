//! A client that keeps what it is sent, by the rules of the protocol for either wire form.

use chancery::snapshot::digest::Digest;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::Version;
use chancery::snapshot::set::Snapshot;
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::response::Response;
use chancery::xds::texts::Texts;
use envoy_types::pb::envoy::config::core::v3::Node;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// How long nothing more of a kind may come while a response of it is unanswered.
const IN_FLIGHT: Duration = Duration::from_secs(1);

/// What is held of a kind, by name.
type Held = BTreeMap<(Kind, String), Version>;

/// What the client wants of one kind and knows about its sub-stream.
#[derive(Clone, Default)]
struct Wish {
    asked: bool,
    wildcard: bool,
    names: BTreeSet<String>,
    /// Whether a name was ever given on this stream.
    named: bool,
    nonce: String,
    /// Whether anything was ever accepted.
    accepted: bool,
    /// The newest response received and not answered, and when it was sent.
    unanswered: Option<(u64, Instant)>,
}

impl Wish {
    fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }
}

/// A client.
pub struct Client {
    pub wire: Wire,
    wishes: BTreeMap<Kind, Wish>,
    held: Held,
    warming: BTreeSet<String>,
    inbox: VecDeque<Response>,
}

/// Whether a resource is one of the world, not a placeholder for what does not exist.
fn is_something(resource: &chancery::snapshot::resource::Resource) -> bool {
    resource.body().contains(&b'-')
}

/// The node of every request.
pub fn node() -> Node {
    Node { id: "proxy".into(), ..Node::default() }
}

impl Client {
    pub fn new(wire: Wire) -> Self {
        let wishes = Kind::ALL.into_iter().map(|kind| (kind, Wish::default())).collect();
        Self { wire, wishes, held: Held::new(), warming: BTreeSet::new(), inbox: VecDeque::new() }
    }

    fn wish(&mut self, kind: Kind) -> &mut Wish {
        self.wishes.get_mut(&kind).expect("every kind has one")
    }

    pub fn has_asked(&self, kind: Kind) -> bool {
        self.wishes[&kind].asked
    }

    /// Wants more.
    pub fn want(&mut self, kind: Kind, names: Vec<String>, star: bool) -> Request {
        // In SotW absence means nothing for partial types: a client that reconnects with a wildcard can't learn what is gone.
        let star = star && (self.wire == Wire::Delta || kind.is_whole_set());
        let wish = self.wish(kind);
        let first = !std::mem::replace(&mut wish.asked, true);
        let legacy = kind.is_whole_set() && names.is_empty() && !star;
        wish.names.extend(names.iter().cloned());
        match self.wire {
            Wire::Delta => {
                let wish = self.wish(kind);
                wish.wildcard |= star || (first && legacy);
                let mut subscribe = names;
                subscribe.extend(star.then(|| "*".to_owned()));
                self.change(kind, subscribe, Vec::new(), Vec::new())
            }
            Wire::Sotw => {
                self.wish(kind).wildcard |= star;
                self.everything(kind)
            }
        }
    }

    /// Wants less.
    pub fn drop(&mut self, kind: Kind, names: Vec<String>, star: bool) -> Request {
        let wire = self.wire;
        let wish = self.wish(kind);
        if !wish.asked {
            return self.want(kind, names, star);
        }
        let dropped: Vec<String> = names.iter().filter(|name| wish.names.remove(*name)).cloned().collect();
        wish.wildcard &= !star;
        let request = match wire {
            Wire::Delta => {
                let mut unsubscribe = names;
                unsubscribe.extend(star.then(|| "*".to_owned()));
                self.change(kind, Vec::new(), unsubscribe, Vec::new())
            }
            Wire::Sotw => self.everything(kind),
        };
        // In Delta a client forgets what it unsubscribes from by name, even under a wildcard: the server answers.
        let delta = self.wire == Wire::Delta;
        let wish = self.wishes[&kind].clone();
        self.held.retain(|(held, name), _| *held != kind || (wish.covers(name) && !(delta && dropped.contains(name))));
        request
    }

    /// SotW: a request for all that is wanted. Without names it is a wildcard, until a name was given.
    fn everything(&mut self, kind: Kind) -> Request {
        let wish = self.wish(kind);
        let legacy = wish.names.is_empty() && !wish.named && kind.is_whole_set();
        let mut names: Vec<String> = wish.names.iter().cloned().collect();
        if wish.wildcard && !legacy {
            names.push("*".to_owned());
        }
        wish.wildcard |= legacy;
        wish.named |= !names.is_empty();
        Request { names: Names::All(names.into()), ..self.request(kind) }
    }

    fn change(
        &mut self,
        kind: Kind,
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        initial: Vec<(String, String)>,
    ) -> Request {
        Request {
            names: Names::Change {
                subscribe: subscribe.into(),
                unsubscribe: unsubscribe.into(),
                initial: initial.into_iter().collect(),
            },
            ..self.request(kind)
        }
    }

    fn request(&mut self, kind: Kind) -> Request {
        // In SotW every request carries the newest nonce; in Delta only an answer does.
        let nonce = if self.wire == Wire::Sotw { self.wish(kind).nonce.clone() } else { String::new() };
        let newest = self.wish(kind).unanswered.map(|(nonce, _)| nonce.to_string());
        let nonce = if Some(&nonce) == newest.as_ref() { String::new() } else { nonce };
        let (type_url, stated) = (kind.type_url().to_owned(), self.wish(kind).accepted);
        Request { type_url, node: Some(node()), nonce, error: None, stated, names: Names::All(Texts::default()) }
    }

    /// The same wish once more.
    pub fn repeat(&mut self, kind: Kind) -> Request {
        match self.wire {
            Wire::Sotw if self.has_asked(kind) => self.everything(kind),
            _ => self.change(kind, Vec::new(), Vec::new(), Vec::new()),
        }
    }

    /// A response arrives. At most one is in flight per kind, or one a second.
    pub fn receive(&mut self, response: Response, now: Instant) {
        if let Some((nonce, at)) = self.wish(response.kind).unanswered {
            assert!(now.duration_since(at) >= IN_FLIGHT, "{nonce} and {} are both in flight", response.nonce);
        }
        let both = response.all().next().is_some() && !response.removed.is_empty();
        assert!(!(both && response.kind.is_whole_set()), "additions and removals in one response: {response:?}");
        self.wish(response.kind).unanswered = Some((response.nonce, now));
        self.inbox.push_back(response);
    }

    /// Answers the oldest response. What it accepts it applies; of what it rejects only what is taken away.
    pub fn answer(&mut self, accept: bool) -> Option<Request> {
        let response = self.inbox.pop_front()?;
        let (kind, nonce) = (response.kind, response.nonce);
        self.apply(response, accept);
        let wish = self.wish(kind);
        wish.nonce = nonce.to_string();
        wish.accepted |= accept;
        if wish.unanswered.is_some_and(|(newest, _)| newest == nonce) {
            wish.unanswered = None;
        }
        let mut request = self.repeat(kind);
        request.nonce = nonce.to_string();
        request.error = (!accept).then(|| "rejected".to_owned());
        Some(request)
    }

    fn apply(&mut self, response: Response, accept: bool) {
        let kind = response.kind;
        let wish = self.wishes[&kind].clone();
        let before = self.held.clone();
        if self.wire == Wire::Sotw && kind.is_whole_set() {
            let there = |name: &str| response.resources.iter().any(|resource| **resource.name() == *name);
            self.held.retain(|(held, name), _| *held != kind || (!accept && there(name)));
        }
        for name in &response.removed {
            self.held.remove(&(kind, name.to_string()));
        }
        // What stands for nothing takes away.
        let applied = |resource: &&std::sync::Arc<_>| accept || !is_something(resource);
        let wanted = response.all().filter(applied).filter(|resource| wish.covers(resource.name()));
        for resource in wanted {
            let key = (kind, resource.name().to_string());
            if is_something(resource) {
                if kind == Kind::Cluster && before.get(&key) != Some(&resource.version()) {
                    self.warming.insert(key.1.clone());
                }
                self.held.insert(key.clone(), resource.version());
            } else {
                self.held.remove(&key);
            }
            if kind == Kind::Endpoint {
                self.warming.remove(&key.1);
            }
        }
    }

    /// The requests of a new stream. A client that is left warming asks for endpoints before clusters.
    pub fn reconnect(&mut self) -> Vec<Request> {
        self.inbox.clear();
        let mut kinds = Kind::ALL.to_vec();
        if !self.warming.is_empty() {
            kinds.rotate_left(1);
        }
        kinds.retain(|kind| self.has_asked(*kind));
        kinds.into_iter().map(|kind| self.ask_again(kind)).collect()
    }

    fn ask_again(&mut self, kind: Kind) -> Request {
        let wish = self.wish(kind);
        let empty = !wish.wildcard && wish.names.is_empty();
        *wish = Wish { unanswered: None, named: false, nonce: String::new(), ..wish.clone() };
        if self.wire == Wire::Sotw {
            let request = self.everything(kind);
            return request;
        }
        let wish = self.wishes[&kind].clone();
        let mut subscribe: Vec<String> = wish.names.iter().cloned().collect();
        if wish.wildcard && !(subscribe.is_empty() && kind.is_whole_set()) {
            subscribe.push("*".to_owned());
        }
        let held = self.held.iter().filter(|((held, _), _)| *held == kind);
        let initial = held.map(|((_, name), version)| (name.clone(), version.to_string())).collect();
        if empty {
            // Nothing is wanted: an empty first request would be a wildcard.
            return self.change(kind, vec!["*".to_owned()], vec!["*".to_owned()], Vec::new());
        }
        self.change(kind, subscribe, Vec::new(), initial)
    }

    /// What it holds of what it wants. A secret that is gone is never taken away, and routes may go with their listener: such
    /// are left out.
    pub fn held(&self, snapshot: &Snapshot) -> Held {
        let mut held = self.held.clone();
        held.retain(|(kind, name), _| {
            !matches!(kind, Kind::Secret | Kind::Route) || snapshot.get(*kind, name).is_some()
        });
        held
    }

    /// What it should hold.
    pub fn wanted(&self, snapshot: &Snapshot) -> Held {
        let all = Kind::ALL.into_iter().flat_map(|kind| snapshot.iter(kind));
        let wanted = all.filter(|resource| self.wishes[&resource.kind()].covers(resource.name()));
        wanted.map(|resource| ((resource.kind(), resource.name().to_string()), resource.version())).collect()
    }

    /// The version of what it should hold of a kind.
    pub fn version(&self, kind: Kind, snapshot: &Snapshot) -> Version {
        let mut digest = Digest::default();
        let wanted = snapshot.iter(kind).filter(|resource| self.wishes[&kind].covers(resource.name()));
        wanted.for_each(|resource| digest.add(resource));
        digest.version()
    }

    /// The clusters that still wait for endpoints that exist and were asked for.
    pub fn warming(&self, snapshot: &Snapshot) -> Vec<&String> {
        let known =
            |name: &str| self.wishes[&Kind::Endpoint].covers(name) && snapshot.get(Kind::Endpoint, name).is_some();
        self.warming.iter().filter(|name| known(name)).collect()
    }
}
