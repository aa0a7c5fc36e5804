//! One proxy of the fleet: it asks as an Envoy does (clusters, their endpoints, listeners, their routes), answers
//! every response at once and never looks into a body, but for the routes that a listener names.
//!
//! What many proxies have in common is kept once in their [`Group`]; one that is idle holds next to nothing.

use super::role::now;
use super::tally::Tally;
use super::wire::{self, Control, Form, Piece, Reader, Request, Response};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::wire::{fields, put_field};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// After how many bytes the windows are opened again.
const REOPEN: u32 = 256 << 20;
/// How much a slow proxy reads at once, and how long it rests then.
const SIP: usize = 16 << 10;
const REST: Duration = Duration::from_millis(50);

/// How a proxy behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Manner {
    Prompt,
    /// Reads little at a time.
    Slow,
    /// Rejects every response once it has its first configuration.
    Rejecting,
}

/// Names asked for, shared by all who ask for the same.
pub struct Plan {
    names: BTreeSet<Box<str>>,
    /// As a request carries them.
    encoded: Vec<u8>,
}

/// What the proxies of a namespace hold, by kind: names and versions.
#[derive(Default)]
struct Held([BTreeMap<Box<str>, Box<str>>; Kind::ALL.len()]);

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
    again: RefCell<BTreeMap<usize, Rc<[Vec<u8>]>>>,
    buffer: RefCell<Vec<u8>>,
}

impl Group {
    pub fn new(form: Form, namespaces: usize) -> Self {
        Self {
            form,
            namespaces,
            tally: RefCell::default(),
            returning: Cell::new(false),
            plans: RefCell::default(),
            routes: RefCell::default(),
            held: RefCell::new((0..namespaces).map(|_| Held::default()).collect()),
            again: RefCell::default(),
            buffer: RefCell::new(vec![0; 256 << 10]),
        }
    }

    /// Forgets the requests made for those who come back: what is held may have changed.
    pub fn renew(&self) {
        self.again.borrow_mut().clear();
    }

    fn plan(&self, names: &[&str]) -> Rc<Plan> {
        let mut hasher = Xxh3::new();
        names.iter().for_each(|name| hasher.update(name.as_bytes()));
        let make = || {
            let encoded = wire::names(names.iter().copied());
            Rc::new(Plan { names: names.iter().map(|name| Box::from(*name)).collect(), encoded })
        };
        self.plans.borrow_mut().entry(hasher.digest()).or_insert_with(make).clone()
    }

    /// The routes that a listener names.
    fn routes_of(&self, listener: &[u8]) -> Rc<[Box<str>]> {
        let find = || route_names(listener).into();
        self.routes.borrow_mut().entry(xxh3_64(listener)).or_insert_with(find).clone()
    }

    /// The requests with which a proxy of that namespace comes back.
    fn again(&self, namespace: usize) -> Rc<[Vec<u8>]> {
        let make = || {
            let held = &self.held.borrow()[namespace].0;
            let requests = ORDER.map(|kind| {
                let held = &held[kind as usize];
                let mut names = wire::held(held.iter().map(|(name, version)| (&**name, &**version)));
                if !kind.is_whole_set() {
                    names.extend(wire::names(held.keys().map(|name| &**name)));
                }
                names
            });
            Rc::from(requests)
        };
        self.again.borrow_mut().entry(namespace).or_insert_with(make).clone()
    }

    fn hold(&self, namespace: usize, kind: Kind, response: &Response<'_>) {
        let held = &mut self.held.borrow_mut()[namespace].0[kind as usize];
        for (name, version, _) in &response.resources {
            held.insert((*name).into(), (*version).into());
        }
        response.removed.iter().for_each(|name| _ = held.remove(*name));
    }
}

/// The order in which a client asks.
const ORDER: [Kind; 4] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route];

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

fn number(payload: &[u8]) -> i64 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes).into())
}

/// What was asked for of a type that is asked for by name.
#[derive(Default)]
struct Asked {
    plan: Option<Rc<Plan>>,
    /// Names beyond the plan, and those of it that went.
    extra: BTreeSet<Box<str>>,
    gone: BTreeSet<Box<str>>,
    /// How many of the first are still missing.
    missing: usize,
}

impl Asked {
    fn has(&self, name: &str) -> bool {
        let planned = self.plan.as_ref().is_some_and(|plan| plan.names.contains(name));
        (planned && !self.gone.contains(name)) || self.extra.contains(name)
    }
}

/// A proxy's state.
struct Proxy {
    group: Rc<Group>,
    index: usize,
    manner: Manner,
    /// Endpoints and routes.
    asked: [Asked; 2],
    /// Whether it has asked for listeners.
    listens: bool,
    configured: bool,
    reader: Reader,
    out: Vec<u8>,
    /// Messages that wait for room in the windows: that of the stream and that of the connection.
    waiting: VecDeque<Vec<u8>>,
    stream_window: i64,
    window: i64,
    initial_window: i64,
    unopened: u32,
    closed: bool,
}

/// Connects and stays until the server ends it or the task is dropped.
pub async fn run(group: Rc<Group>, index: usize, port: u16, manner: Manner) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Ok(socket) = TcpStream::connect(address).await {
        _ = socket.set_nodelay(true);
        let mut proxy = Proxy::new(group.clone(), index, manner);
        proxy.open();
        _ = proxy.converse(&socket).await;
    }
    group.tally.borrow_mut().closed += 1;
    group.tally.borrow().check();
}

impl Proxy {
    fn new(group: Rc<Group>, index: usize, manner: Manner) -> Self {
        let window = i64::from(wire::WINDOW);
        Self {
            group,
            index,
            manner,
            asked: Default::default(),
            listens: false,
            configured: false,
            reader: Reader::default(),
            out: Vec::new(),
            waiting: VecDeque::new(),
            stream_window: window,
            window,
            initial_window: window,
            unopened: 0,
            closed: false,
        }
    }

    fn namespace(&self) -> usize {
        self.index % self.group.namespaces
    }

    async fn converse(&mut self, socket: &TcpStream) -> std::io::Result<()> {
        let group = self.group.clone();
        while !self.closed {
            self.flush(socket)?;
            let writes = if self.out.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            let ready = socket.ready(writes).await?;
            if !ready.is_readable() && !ready.is_read_closed() {
                continue;
            }
            let limit = if self.manner == Manner::Slow { SIP } else { usize::MAX };
            let read = {
                let mut buffer = group.buffer.borrow_mut();
                let length = buffer.len().min(limit);
                match socket.try_read(&mut buffer[..length]) {
                    Ok(0) => return Ok(()),
                    Ok(read) => {
                        self.read(&buffer[..read]);
                        read
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error),
                }
            };
            if self.manner == Manner::Slow && read > 0 {
                tokio::time::sleep(REST).await;
            }
        }
        Ok(())
    }

    fn flush(&mut self, socket: &TcpStream) -> std::io::Result<()> {
        while !self.out.is_empty() {
            match socket.try_write(&self.out) {
                Ok(written) if written == self.out.len() => self.out = Vec::new(),
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What is said.
impl Proxy {
    fn open(&mut self) {
        self.out.extend_from_slice(wire::PREFACE);
        wire::put_windows(&mut self.out);
        self.out.extend_from_slice(&wire::opening(self.group.form));
        let node = self.node();
        if !self.group.returning.get() {
            return self.request(Request { node: &node, type_url: Kind::Cluster.type_url(), ..Request::default() });
        }
        let again = self.group.again(self.namespace());
        for (kind, names) in ORDER.iter().zip(again.iter()) {
            let node = if *kind == Kind::Cluster { &node[..] } else { &[] };
            self.request(Request { node, type_url: kind.type_url(), names, ..Request::default() });
        }
        let plan = |kind: Kind| {
            let held = self.group.held.borrow();
            let names: Vec<&str> = held[self.namespace()].0[kind as usize].keys().map(|name| &**name).collect();
            Asked { plan: Some(self.group.plan(&names)), ..Asked::default() }
        };
        self.asked = [plan(Kind::Endpoint), plan(Kind::Route)];
        self.configured = true;
        self.group.tally.borrow_mut().configured.push(now());
        self.group.tally.borrow().check();
    }

    /// The node: Istio's form of id, captured traffic, the name of the software.
    fn node(&self) -> Vec<u8> {
        let (index, namespace) = (self.index, self.namespace());
        let [_, a, b, c] = u32::try_from(index).expect("a small fleet").to_be_bytes();
        let id = format!("sidecar~10.{a}.{b}.{c}~p{index}.ns{namespace}~ns{namespace}.svc.cluster.local");
        let mut node = Vec::new();
        put_field(&mut node, 1, id.as_bytes());
        put_field(&mut node, 6, b"envoy");
        node
    }

    fn request(&mut self, request: Request<'_>) {
        self.waiting.push_back(request.message(self.group.form));
        self.pump();
    }

    /// Moves what fits into the windows to the bytes to be written.
    fn pump(&mut self) {
        while let Some(message) = self.waiting.front_mut() {
            let room = usize::try_from(self.window.min(self.stream_window)).unwrap_or(0).min(wire::FRAME);
            if room == 0 {
                return;
            }
            let part = room.min(message.len());
            wire::put_frame(&mut self.out, wire::DATA, 0, wire::STREAM, &message[..part]);
            self.window -= part as i64;
            self.stream_window -= part as i64;
            message.drain(..part);
            if message.is_empty() {
                self.waiting.pop_front();
            }
        }
        self.waiting = VecDeque::new();
    }

    fn asked(&mut self, kind: Kind) -> Option<&mut Asked> {
        match kind {
            Kind::Endpoint => Some(&mut self.asked[0]),
            Kind::Route => Some(&mut self.asked[1]),
            _ => None,
        }
    }

    /// Asks for these names: the first time for all, even if there are none, later for those not yet asked for.
    fn ask(&mut self, kind: Kind, wanted: &[&str], gone: &[&str]) {
        let group = self.group.clone();
        let asked = self.asked(kind).expect("a type asked for by name");
        let Some(plan) = &asked.plan else {
            let plan = group.plan(wanted);
            asked.missing = plan.names.len();
            asked.plan = Some(plan.clone());
            return self.request(Request { type_url: kind.type_url(), names: &plan.encoded, ..Request::default() });
        };
        let plan = plan.clone();
        let fresh: Vec<&str> = wanted.iter().copied().filter(|name| !asked.has(name)).collect();
        let gone: Vec<&str> = gone.iter().copied().filter(|name| asked.has(name)).collect();
        if fresh.is_empty() && gone.is_empty() {
            return;
        }
        for name in &gone {
            if !asked.extra.remove(*name) {
                asked.gone.insert((*name).into());
            }
        }
        for name in &fresh {
            if !(asked.gone.remove(*name) || plan.names.contains(*name)) {
                asked.extra.insert((*name).into());
            }
        }
        let type_url = kind.type_url();
        if group.form == Form::Delta {
            let names = wire::names(fresh.into_iter());
            return self.request(Request { type_url, names: &names, unsubscribe: &gone, ..Request::default() });
        }
        let names = self.all_names(kind);
        self.request(Request { type_url, names: &names, ..Request::default() });
    }

    /// Every name asked for of a type, as each SotW request repeats them.
    fn all_names(&mut self, kind: Kind) -> Vec<u8> {
        let Some(asked) = self.asked(kind) else { return Vec::new() };
        let Some(plan) = &asked.plan else { return Vec::new() };
        if asked.gone.is_empty() {
            let mut names = plan.encoded.clone();
            names.extend(wire::names(asked.extra.iter().map(|name| &**name)));
            return names;
        }
        let planned = plan.names.iter().filter(|name| !asked.gone.contains(*name));
        wire::names(planned.chain(&asked.extra).map(|name| &**name))
    }
}

/// What is heard.
impl Proxy {
    fn read(&mut self, input: &[u8]) {
        let group = self.group.clone();
        group.tally.borrow_mut().wire += input.len() as u64;
        self.unopened += u32::try_from(input.len()).expect("a buffer is small");
        if self.unopened >= REOPEN {
            for stream in [0, wire::STREAM] {
                wire::put_frame(&mut self.out, wire::WINDOW_UPDATE, 0, stream, &self.unopened.to_be_bytes());
            }
            self.unopened = 0;
        }
        let mut reader = std::mem::take(&mut self.reader);
        reader.read(input, &mut |piece| match piece {
            Piece::Message(content) => self.on_message(content),
            Piece::Control(frame) => self.on_control(&frame),
        });
        self.reader = reader;
    }

    fn on_control(&mut self, frame: &Control<'_>) {
        let Control { kind, flags, stream, payload } = *frame;
        match kind {
            wire::SETTINGS if flags & wire::ACK == 0 => {
                for setting in payload.chunks_exact(6).filter(|setting| setting[..2] == [0, 4]) {
                    let window = number(&setting[2..]);
                    self.stream_window += window - self.initial_window;
                    self.initial_window = window;
                }
                wire::put_frame(&mut self.out, wire::SETTINGS, wire::ACK, 0, &[]);
                self.pump();
            }
            wire::PING if flags & wire::ACK == 0 => wire::put_frame(&mut self.out, wire::PING, wire::ACK, 0, payload),
            wire::WINDOW_UPDATE => {
                let window = if stream == 0 { &mut self.window } else { &mut self.stream_window };
                *window += number(payload);
                self.pump();
            }
            wire::RST_STREAM | wire::GOAWAY => self.closed = true,
            wire::HEADERS if flags & wire::END_STREAM != 0 => self.closed = true,
            _ => {}
        }
    }

    fn on_message(&mut self, content: &[u8]) {
        let group = self.group.clone();
        let response = Response::read(group.form, content);
        let Some(kind) = Kind::from_type_url(response.type_url) else { return };
        if self.index < self.group.namespaces && group.form == Form::Delta {
            group.hold(self.index, kind, &response);
        }
        group.tally.borrow_mut().heard(self.index, kind, &response, content);
        self.acknowledge(kind, &response);
        self.follow(kind, &response);
        let mut tally = group.tally.borrow_mut();
        tally.acks[kind as usize].push(now());
        let routes = &self.asked[1];
        if !self.configured && kind == Kind::Route && routes.missing == 0 {
            self.configured = true;
            tally.configured.push(now());
        }
        tally.check();
    }

    fn acknowledge(&mut self, kind: Kind, response: &Response<'_>) {
        let names = if self.group.form == Form::Sotw { self.all_names(kind) } else { Vec::new() };
        let error = self.manner == Manner::Rejecting && self.configured;
        let (type_url, nonce, version) = (response.type_url, response.nonce, response.version);
        self.request(Request { type_url, nonce, version, names: &names, error, ..Request::default() });
    }

    /// What a response makes the proxy ask for next.
    fn follow(&mut self, kind: Kind, response: &Response<'_>) {
        match kind {
            Kind::Cluster => {
                let names = response.resources.iter().map(|(name, ..)| *name);
                let wanted: Vec<&str> = names.filter(|name| name.starts_with("outbound|")).collect();
                self.ask(Kind::Endpoint, &wanted, &response.removed);
            }
            Kind::Listener => {
                let routes: Vec<_> = response.resources.iter().map(|(.., body)| self.group.routes_of(body)).collect();
                let wanted: Vec<&str> = routes.iter().flat_map(|routes| routes.iter().map(|name| &**name)).collect();
                self.ask(Kind::Route, &wanted, &[]);
            }
            Kind::Endpoint | Kind::Route => {
                let asked = self.asked(kind).expect("a type asked for by name");
                let before = std::mem::take(&mut asked.missing);
                asked.missing = before.saturating_sub(response.resources.len() + response.removed.len());
                let complete = kind == Kind::Endpoint && asked.missing == 0;
                if complete && !self.configured && self.asked[1].plan.is_none() && !self.listens {
                    self.listens = true;
                    self.request(Request { type_url: Kind::Listener.type_url(), ..Request::default() });
                }
            }
            Kind::Secret => {}
        }
    }
}
