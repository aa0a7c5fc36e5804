//! One proxy of the fleet: it asks as an Envoy does (clusters, their endpoints, its secrets if it has proven who it is,
//! listeners, their routes), answers every response at once and never looks into a body, but for the routes that a listener
//! names.
//!
//! What many proxies have in common is kept once in their [`Group`]; one that is idle holds next to nothing.

use super::group::{Group, Plan};
use super::line::Line;
use super::papers::Papers;
use super::role::now;
use super::wire::{self, Control, Form, Piece, Reader, Request, Response};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{AUTHORITIES, CERTIFICATE};
use chancery::snapshot::wire::put_field;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

/// After how many bytes the windows are opened again.
const REOPEN: u32 = 256 << 20;
/// How much a slow proxy reads at once, and how long it rests then: 64 kbit/s.
const SIP: usize = 4 << 10;
const REST: Duration = Duration::from_millis(500);
/// After how long an Envoy comes again at first.
const AGAIN: Duration = Duration::from_millis(500);

/// How a proxy behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Manner {
    Prompt,
    /// Reads as from a line of 64 kbit/s once it has its first configuration, which would take minutes.
    Slow,
    /// Rejects every response once it has its first configuration.
    Rejecting,
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
    /// Whether it was asked for, and all of it has come.
    fn is_there(&self) -> bool {
        self.plan.is_some() && self.missing == 0
    }

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
    /// Endpoints, secrets and routes.
    asked: [Asked; 3],
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

/// Connects and stays until the server ends it or the task is dropped. Who is cut off while shaking hands comes again, as an
/// Envoy does: a crowded server doesn't wait long.
pub async fn run(group: Rc<Group>, index: usize, port: u16, manner: Manner) {
    let papers = group.papers(index);
    loop {
        let mut proxy = Proxy::new(group.clone(), index, manner);
        let was_let_in = proxy.visit(port, papers.as_ref()).await;
        group.tally.borrow_mut().closed += 1;
        group.tally.borrow().check();
        if was_let_in {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
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

    /// Connects and stays. Whether it came further than to a handshake.
    async fn visit(&mut self, port: u16, papers: Option<&Papers>) -> bool {
        let Ok(mut line) = Line::open(port, papers, self.manner == Manner::Slow).await else { return true };
        self.open(papers.and_then(|papers| papers.token.as_deref()));
        _ = self.converse(&mut line).await;
        !line.is_shaking_hands()
    }

    async fn converse(&mut self, line: &mut Line) -> io::Result<()> {
        let group = self.group.clone();
        let mut greeted = false;
        while !self.closed {
            line.write(&mut self.out)?;
            if !line.ready(!self.out.is_empty()).await? {
                continue;
            }
            let is_slow = self.manner == Manner::Slow && self.configured;
            let limit = if is_slow { SIP } else { usize::MAX };
            let read = {
                let mut buffer = group.buffer.borrow_mut();
                let length = buffer.len().min(limit);
                match line.read(&mut buffer[..length], &mut |bytes| self.read(bytes)) {
                    Ok(0) => return Ok(()),
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error),
                }
            };
            group.tally.borrow_mut().wire += read as u64;
            if let Some(resumed) = line.resumed().filter(|_| !greeted) {
                greeted = true;
                group.tally.borrow_mut().resumed += u64::from(resumed);
            }
            if is_slow && read > 0 {
                tokio::time::sleep(REST).await;
            }
        }
        Ok(())
    }
}

/// What is said.
impl Proxy {
    fn open(&mut self, token: Option<&str>) {
        self.out.extend_from_slice(wire::PREFACE);
        wire::put_windows(&mut self.out);
        self.out.extend_from_slice(&wire::opening(self.group.form, token));
        let node = self.node();
        if !self.group.returning.get() {
            return self.request(Request { node: &node, type_url: Kind::Cluster.type_url(), ..Request::default() });
        }
        for (kind, names) in self.group.again(self.namespace()).iter() {
            let node = if *kind == Kind::Cluster { &node[..] } else { &[] };
            self.request(Request { node, type_url: kind.type_url(), names, ..Request::default() });
        }
        let (group, namespace) = (self.group.clone(), self.namespace());
        let plan = |kind| Asked { plan: Some(group.plan_of_held(namespace, kind)), ..Asked::default() };
        self.asked = [plan(Kind::Endpoint), plan(Kind::Secret), plan(Kind::Route)];
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
            Kind::Secret => Some(&mut self.asked[1]),
            Kind::Route => Some(&mut self.asked[2]),
            Kind::Cluster | Kind::Listener => None,
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
        let [_, secrets, routes] = &self.asked;
        let last = matches!(kind, Kind::Route | Kind::Secret);
        if !self.configured && last && routes.is_there() && (!group.is_secure() || secrets.is_there()) {
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
                if self.group.is_secure() && self.asked[1].plan.is_none() {
                    self.ask(Kind::Secret, &[CERTIFICATE, AUTHORITIES], &[]);
                }
            }
            Kind::Listener => {
                let routes: Vec<_> = response.resources.iter().map(|(.., body)| self.group.routes_of(body)).collect();
                let wanted: Vec<&str> = routes.iter().flat_map(|routes| routes.iter().map(|name| &**name)).collect();
                self.ask(Kind::Route, &wanted, &[]);
            }
            Kind::Endpoint | Kind::Secret | Kind::Route => {
                let asked = self.asked(kind).expect("a type asked for by name");
                let before = std::mem::take(&mut asked.missing);
                asked.missing = before.saturating_sub(response.resources.len() + response.removed.len());
                let complete = kind == Kind::Endpoint && asked.missing == 0;
                if complete && !self.configured && self.asked[2].plan.is_none() && !self.listens {
                    self.listens = true;
                    self.request(Request { type_url: Kind::Listener.type_url(), ..Request::default() });
                }
            }
        }
    }
}
