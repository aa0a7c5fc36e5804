//! Proxies that are alike, and what they have in common: names, requests, what is held, whom they show themselves to be.
//!
//! Kept once, so that a proxy that is idle holds next to nothing.

use super::papers::{Mint, Papers, Way};
use super::tally::Tally;
use super::wire::{self, Form, Response};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::wire::fields;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Names asked for, shared by all who ask for the same.
pub struct Plan {
    pub names: BTreeSet<Box<str>>,
    /// As a request carries them.
    pub encoded: Vec<u8>,
}

/// What the proxies of a namespace hold, by kind: names and versions.
#[derive(Default)]
struct Held([BTreeMap<Box<str>, Box<str>>; Kind::ALL.len()]);

/// A request for each kind, in the order in which a client asks.
pub type Again = Rc<[(Kind, Vec<u8>)]>;

/// Proxies that are alike.
pub struct Group {
    pub form: Form,
    pub namespaces: usize,
    pub tally: RefCell<Tally>,
    /// Whether those that connect come back with what they held.
    pub returning: Cell<bool>,
    plans: RefCell<BTreeMap<u64, Rc<Plan>>>,
    /// The routes that a listener names, by the hash of its bytes.
    routes: RefCell<BTreeMap<u64, Rc<[Box<str>]>>>,
    /// By namespace; the first proxy of each sees to it.
    held: RefCell<Vec<Held>>,
    /// Whole requests of those who come back, by namespace, without node.
    again: RefCell<BTreeMap<usize, Again>>,
    /// Who makes their papers, if they come over TLS.
    mint: Option<Mint>,
    pub buffer: RefCell<Vec<u8>>,
}

impl Group {
    pub fn new(form: Form, namespaces: usize, way: Option<Way>) -> Self {
        Self {
            form,
            namespaces,
            tally: RefCell::default(),
            returning: Cell::new(false),
            plans: RefCell::default(),
            routes: RefCell::default(),
            held: RefCell::new((0..namespaces).map(|_| Held::default()).collect()),
            again: RefCell::default(),
            mint: way.map(|way| Mint::new(way, namespaces)),
            buffer: RefCell::new(vec![0; 256 << 10]),
        }
    }

    /// Forgets the requests made for those who come back: what is held may have changed.
    pub fn renew(&self) {
        self.again.borrow_mut().clear();
    }

    /// Whether its proxies come over TLS, and so have secrets.
    pub fn is_secure(&self) -> bool {
        self.mint.is_some()
    }

    /// Makes what so many proxies need to come over TLS, if they do.
    pub fn prepare(&self, count: usize) {
        self.mint.iter().for_each(|mint| mint.prepare(count));
    }

    /// What a proxy needs to come over TLS; none where it comes in plain text.
    pub fn papers(&self, index: usize) -> Option<Papers> {
        self.mint.as_ref().map(|mint| mint.papers(index))
    }

    /// Names to be asked for.
    pub fn plan(&self, names: &[&str]) -> Rc<Plan> {
        let mut hasher = Xxh3::new();
        names.iter().for_each(|name| hasher.update(name.as_bytes()));
        let make = || {
            let encoded = wire::names(names.iter().copied());
            Rc::new(Plan { names: names.iter().map(|name| Box::from(*name)).collect(), encoded })
        };
        self.plans.borrow_mut().entry(hasher.digest()).or_insert_with(make).clone()
    }

    /// The routes that a listener names.
    pub fn routes_of(&self, listener: &[u8]) -> Rc<[Box<str>]> {
        let find = || route_names(listener).into();
        self.routes.borrow_mut().entry(xxh3_64(listener)).or_insert_with(find).clone()
    }

    /// Names to be asked for by a proxy of that namespace that comes back: those it held.
    pub fn plan_of_held(&self, namespace: usize, kind: Kind) -> Rc<Plan> {
        let held = self.held.borrow();
        let names: Vec<&str> = held[namespace].0[kind as usize].keys().map(|name| &**name).collect();
        self.plan(&names)
    }

    /// The requests with which a proxy of that namespace comes back.
    pub fn again(&self, namespace: usize) -> Again {
        let request = |kind: Kind| {
            let held = &self.held.borrow()[namespace].0[kind as usize];
            let mut names = wire::held(held.iter().map(|(name, version)| (&**name, &**version)));
            if !kind.is_whole_set() {
                names.extend(wire::names(held.keys().map(|name| &**name)));
            }
            (kind, names)
        };
        let kinds = Kind::ALL.into_iter().filter(|kind| self.is_secure() || *kind != Kind::Secret);
        self.again.borrow_mut().entry(namespace).or_insert_with(|| kinds.map(request).collect()).clone()
    }

    /// Notes what a proxy of that namespace has been given.
    pub fn hold(&self, namespace: usize, kind: Kind, response: &Response<'_>) {
        let held = &mut self.held.borrow_mut()[namespace].0[kind as usize];
        for (name, version, _) in &response.resources {
            held.insert((*name).into(), (*version).into());
        }
        response.removed.iter().for_each(|name| _ = held.remove(*name));
    }
}

/// Names of route configurations below a listener: of each filter's `rds` (HttpConnectionManager, field 3), found by
/// walking listener (filter_chains 3, default_filter_chain 25), chain (filters 3) and typed configuration (4, value 2).
fn route_names(listener: &[u8]) -> Vec<Box<str>> {
    let value = wire::part(listener, 2);
    let mut found = Vec::new();
    for chain in fields(value).map_while(|field| field).filter(|field| matches!(field.number, 3 | 25)) {
        let chain = &value[chain.content];
        for filter in fields(chain).map_while(|field| field).filter(|field| field.number == 3) {
            let any = wire::part(&chain[filter.content], 4);
            if !wire::part(any, 1).ends_with(b"HttpConnectionManager") {
                continue;
            }
            let name = wire::part(wire::part(wire::part(any, 2), 3), 2);
            if let Ok(name) = std::str::from_utf8(name)
                && !name.is_empty()
            {
                found.push(name.into());
            }
        }
    }
    found
}
