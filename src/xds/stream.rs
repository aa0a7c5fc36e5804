//! One connection's loop: requests, snapshots, time and room to write come in, responses go out.
//!
//! The loop asks the session for a response only when it can be written, so a slow client gets the newest state, never a
//! queue of old ones.

mod member;

pub use member::Guest;

use super::admission::{Admission, Turn};
use super::channel::{Heard, Incoming, Outgoing};
use super::chorus::Others;
use super::frames::Frames;
use super::identity;
use super::limits::Options;
use super::rarely::Rarely;
use super::refusal::{Large, Refusal};
use super::registry::{Proxy, Registry, SharedSession};
use super::request::{Request, Wire};
use super::response::Response;
use super::session::{Counters, Outcome, Received, Session};
use super::shares::{Part, Shares};
use super::shelf::Shelf;
use crate::alarm::Alarm;
use crate::model::audience::ProxyFacts;
use crate::snapshot::board::Board;
use crate::snapshot::kind::Kind;
use crate::snapshot::set::Snapshot;
use crate::telemetry::Metrics;
use crate::telemetry::readiness::Readiness;
use envoy_types::pb::envoy::config::core::v3::Node;
use member::{Member, Vault, next_snapshot, user_agent};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Span, debug, info, info_span, warn};

/// How long the end of a stream may take to be handed to the connection.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// How long a stream may be open before it says who asks.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// How long a stream whose connection is too old waits until nothing is in flight.
const SETTLE: Duration = Duration::from_secs(10);

/// What every stream shares.
#[derive(Debug)]
pub struct XdsContext {
    /// Where snapshots come from.
    pub board: Arc<Board>,
    /// Who is connected.
    pub registry: Registry,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether anything may be answered.
    pub readiness: Readiness,
    /// How many are configured at once.
    pub admission: Admission,
    /// What one client may have at once.
    pub shares: Shares,
    /// What was joined to be sent.
    pub shelf: Shelf,
    /// What an operator can set.
    pub options: Options,
}

/// What may end every stream of a connection.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The server is going away.
    pub shutdown: CancellationToken,
    /// The connection is too old: its streams end when nothing is in flight on them.
    pub aged: CancellationToken,
}

/// Something that happens once in a stream's life, if at all.
type Once<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send + 'a)>;

/// What may end a stream from outside. Asked again after the connection turned out too old, which is said once.
struct Endings<'a> {
    shutdown: Once<'a>,
    gone: Once<'a>,
    aged: Option<Once<'a>>,
}

impl Future for Endings<'_> {
    type Output = Event<'static>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Event<'static>> {
        if self.shutdown.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::Shutdown);
        }
        if self.gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::Gone);
        }
        let aged = self.aged.as_mut().is_some_and(|aged| aged.as_mut().poll(context).is_ready());
        self.aged.take_if(|_| aged).map_or(Poll::Pending, |_| Poll::Ready(Event::Aged))
    }
}

/// Everything a stream waits for.
enum Event<'a> {
    Heard(Heard),
    Snapshot(Snapshot),
    Timer,
    Writable(mpsc::Permit<'a, Outgoing>),
    Gone,
    Aged,
    Shutdown,
}

impl Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Event::Heard(_) => "request",
            Event::Snapshot(_) => "snapshot",
            Event::Timer => "timer",
            Event::Writable(_) => "writable",
            Event::Gone => "gone",
            Event::Aged => "aged",
            Event::Shutdown => "shutdown",
        }
    }
}

/// Why a stream ends.
enum End {
    /// The client has finished, and is told so.
    Finished,
    /// The connection is too old; the client comes back on another.
    Aged,
    /// The connection is gone.
    Gone,
    /// The server ends it.
    Refused(Refusal),
}

impl End {
    fn reason(&self) -> &'static str {
        match self {
            End::Finished => "finished",
            End::Aged => "aged",
            End::Gone => "connection_gone",
            End::Refused(refusal) => refusal.reason(),
        }
    }
}

/// One stream.
pub struct Stream {
    context: Arc<XdsContext>,
    /// What is logged is logged in it. The stream's loop is not run in it: entering it at every turn would cost more than
    /// all that is hardly ever logged.
    span: Span,
    wire: Wire,
    guest: Guest,
    part: Part,
    session: SharedSession,
    member: Option<Member>,
    /// When the wait for a first request, and then for a first snapshot, is over; none once that has arrived.
    patience: Option<Instant>,
    /// Whether the session may have something to send.
    wants_to_write: bool,
    /// While the client is given its first configuration.
    turn: Option<Turn>,
    /// When the stream ends whatever is in flight, if its connection is too old.
    leaves: Option<Instant>,
    /// Whether a message came near its limit.
    large: bool,
    alarm: Alarm,
}

impl Stream {
    /// A stream that has just opened.
    pub fn new(context: Arc<XdsContext>, wire: Wire, guest: Guest, part: Part) -> Self {
        let span = info_span!("stream", wire = wire.short(), peer = guest.peer.map(tracing::field::display));
        let session = SharedSession::new(Session::with(wire, context.options.gate));
        let patience = Some(Instant::now() + FIRST_REQUEST);
        let (wants_to_write, large) = (false, false);
        let (member, turn, leaves) = (None, None, None);
        let alarm = Alarm::default();
        Self { context, span, wire, guest, part, session, member, patience, wants_to_write, turn, leaves, large, alarm }
    }

    /// Runs until either side ends it.
    pub async fn run(mut self, mut incoming: Incoming, outgoing: mpsc::Sender<Outgoing>, ends: Ends) {
        let _open = self.context.metrics.xds.stream_opened();
        let end = match self.admitted(&mut incoming, &outgoing, &ends).await {
            Ok(turn) => {
                self.turn = Some(turn);
                self.converse(&mut incoming, &outgoing, &ends).await
            }
            Err(end) => end,
        };
        self.context.metrics.xds.stream_ended(end.reason());
        let node = self.member.take().map(|member| member.listed.proxy().node_id.clone());
        let status = match &end {
            End::Gone => return debug!(parent: &self.span, "the connection is gone"),
            End::Finished | End::Aged => Status::ok(""),
            End::Refused(refusal) => {
                self.context.metrics.xds.refused(refusal.reason());
                // Of many that come back together not each is worth a line: that there is too little memory is said once.
                match refusal {
                    Refusal::Short => debug!(parent: &self.span, "refused the stream: {refusal}"),
                    _ => info!(parent: &self.span, reason = refusal.reason(), node, "ended the stream: {refusal}"),
                }
                Status::new(refusal.code(), refusal.to_string())
            }
        };
        self.turn = None;
        // A client that does not read does not get to hold the loop: its connection ends with the sender.
        _ = tokio::time::timeout(FAREWELL, outgoing.send(Outgoing::End(status))).await;
    }

    /// Waits until the client has begun to say something and it is its turn. Nothing is read or computed before.
    async fn admitted(
        &mut self,
        incoming: &mut Incoming,
        outgoing: &mpsc::Sender<Outgoing>,
        ends: &Ends,
    ) -> Result<Turn, End> {
        let begun = async {
            tokio::time::timeout(FIRST_REQUEST, incoming.begun()).await.map_err(|_| Refusal::Silent(FIRST_REQUEST))?;
            let turn = self.context.admission.enter(&self.part).await;
            // Those before may have taken what there was.
            if self.context.admission.is_shut() { Err(Refusal::Short) } else { Ok(turn) }
        };
        tokio::select! {
            () = ends.shutdown.cancelled() => Err(End::Refused(Refusal::ShuttingDown)),
            () = outgoing.closed() => Err(End::Gone),
            turn = begun => turn.map_err(End::Refused),
        }
    }

    async fn converse(&mut self, incoming: &mut Incoming, outgoing: &mpsc::Sender<Outgoing>, ends: &Ends) -> End {
        let (shutdown, aged) = (pin!(ends.shutdown.cancelled()), pin!(ends.aged.cancelled()));
        let gone = pin!(outgoing.closed());
        let mut endings = Rarely::new(Endings { shutdown, gone, aged: Some(aged) });
        loop {
            let event = self.next_event(incoming, outgoing, &mut endings).await;
            if let Err(end) = self.handle(event).and_then(|()| self.write_what_fits(outgoing)) {
                return end;
            }
            if self.leaves.is_some_and(|leaves| leaves <= Instant::now() || self.session.lock().is_settled()) {
                return End::Aged;
            }
        }
    }

    async fn next_event<'a>(
        &mut self,
        incoming: &mut Incoming,
        outgoing: &'a mpsc::Sender<Outgoing>,
        endings: &mut Rarely<Endings<'_>>,
    ) -> Event<'a> {
        let turn = self.turn.as_ref().map(Turn::ends);
        let deadline = [self.session_deadline(), self.patience, turn, self.leaves, self.guest.leaves];
        let deadline = deadline.into_iter().flatten().min();
        tokio::select! {
            event = endings => event,
            heard = incoming.next() => Event::Heard(heard),
            snapshot = next_snapshot(self.member.as_mut()) => Event::Snapshot(snapshot),
            () = self.alarm.at(deadline) => Event::Timer,
            permit = outgoing.reserve(), if self.wants_to_write => permit.map_or(Event::Gone, Event::Writable),
        }
    }

    /// When the session has to be asked again. While it has something to send, room to write wakes it, not time: a client
    /// that does not read would be waited for with a deadline that has passed.
    fn session_deadline(&self) -> Option<Instant> {
        if self.wants_to_write { None } else { self.session.lock().deadline().map(Instant::from_std) }
    }

    fn handle(&mut self, event: Event<'_>) -> Result<(), End> {
        self.context.metrics.xds.stream_woke(event.name());
        let mut is_due = false;
        match event {
            Event::Heard(Heard::Request(request, size)) => {
                self.on_request(&request).map_err(End::Refused)?;
                self.weigh("request", size, self.context.options.max_request);
            }
            Event::Heard(Heard::Finished) => return Err(End::Finished),
            Event::Heard(Heard::Refused(refusal)) => return Err(End::Refused(refusal)),
            Event::Snapshot(snapshot) => self.on_snapshot(snapshot),
            Event::Timer => {
                self.on_timer().map_err(End::Refused)?;
                is_due = true;
            }
            Event::Writable(permit) => {
                self.wants_to_write = self.write(permit).map_err(End::Refused)?;
                return Ok(());
            }
            Event::Aged => self.leaves = Some(self.guest.at_most(Instant::now() + SETTLE)),
            Event::Gone | Event::Heard(Heard::Gone) => return Err(End::Gone),
            Event::Shutdown => return Err(End::Refused(Refusal::ShuttingDown)),
        }
        self.wants_to_write = self.wants_to_write || is_due || self.session.lock().has_more();
        Ok(())
    }

    /// Writes responses as long as the connection takes them: what has just happened is mostly to be told at once.
    fn write_what_fits(&mut self, outgoing: &mpsc::Sender<Outgoing>) -> Result<(), End> {
        while self.wants_to_write
            && let Ok(permit) = outgoing.try_reserve()
        {
            self.wants_to_write = self.write(permit).map_err(End::Refused)?;
        }
        Ok(())
    }

    fn on_request(&mut self, request: &Request) -> Result<(), Refusal> {
        let now = Instant::now().into_std();
        let received = self.take(request, now)?;
        if let (None, Some(node)) = (&self.member, &request.node) {
            self.join(node)?;
            self.member.iter_mut().for_each(|member| member.hear(request));
        }
        self.finish_turn();
        self.context.registry.stir();
        let Some(Received { kind, outcome, change_to_ack }) = received else { return Ok(()) };
        if outcome == Outcome::Init || !request.names.is_empty() {
            self.follow();
        }
        let metrics = &self.context.metrics.xds;
        metrics.request_received(kind.map_or("unknown", |kind| kind.short()), outcome.short());
        if let Some(age) = change_to_ack {
            metrics.change_acknowledged(age);
        }
        if let (Outcome::Nack, Some(kind)) = (outcome, kind) {
            self.complain(kind, now);
        }
        Ok(())
    }

    /// Says that a response was rejected; where others are rejecting the same for the same reason, only how many.
    fn complain(&self, kind: Kind, now: std::time::Instant) {
        let session = self.session.lock();
        let message = session.rejection(kind).map_or("", |rejection| rejection.message.as_str());
        let from = self.guest.peer.map(|peer| peer.ip());
        match self.context.registry.complaints().rejections.hear(&format!("{kind} {message}"), from, now) {
            Some(Others { times, peers, left_out, .. }) => {
                warn!(parent: &self.span, %kind, message, others = times, peers, left_out, "the client rejected a response");
            }
            None => debug!(parent: &self.span, %kind, message, "the client rejected a response"),
        }
    }

    /// Hands a request to the session. One that asks for something is answered from the newest there is, for the stream is
    /// not told of changes in what it did not want.
    fn take(&mut self, request: &Request, now: std::time::Instant) -> Result<Option<Received>, Refusal> {
        let mut session = self.session.lock();
        let asks = request.nonce.is_empty() || !request.names.is_empty();
        let member = self.member.as_mut().filter(|_| asks);
        let newer = member.and_then(|member| {
            member.hear(request);
            member.unlock(&self.guest);
            member.seat.newer()
        });
        if let Some(snapshot) = newer {
            self.feed(&mut session, snapshot, now);
        }
        let before = session.counters();
        let received = session.on_request(request, now);
        self.count(&before, &session.counters());
        received
    }

    /// Counts what has happened in the session.
    fn count(&self, before: &Counters, after: &Counters) {
        let metrics = &self.context.metrics.xds;
        metrics.updates_waited(after.paced - before.paced);
        let changes = before.anomalies().into_iter().zip(after.anomalies()).filter(|(before, after)| before != after);
        for ((what, before), (_, after)) in changes {
            metrics.anomaly(what, after - before);
            debug!(parent: &self.span, what, "an anomaly");
        }
    }

    fn on_snapshot(&mut self, mut snapshot: Snapshot) {
        // The first means that the proxy's Pod is known.
        if let Some(member) = &mut self.member
            && member.unlock(&self.guest)
            && let Some(newer) = member.seat.newer()
        {
            snapshot = Snapshot { since: snapshot.since.or(newer.since), ..newer };
        }
        self.feed(&mut self.session.lock(), snapshot, Instant::now().into_std());
        if self.patience.take().is_some() {
            self.follow();
        }
    }

    fn feed(&self, session: &mut Session, snapshot: Snapshot, now: std::time::Instant) {
        session.on_company(self.context.board.seated());
        session.on_snapshot(snapshot, now);
    }

    /// Says on the board what the client wants to hear of by now.
    fn follow(&mut self) {
        if let Some(member) = &mut self.member {
            member.seat.wants(self.session.lock().interest());
        }
    }

    /// The first request says who asks.
    fn join(&mut self, node: &Node) -> Result<(), Refusal> {
        let facts = identity::admit(node, &self.guest.credential)?;
        let mut proxy = Proxy::new(node.id.clone(), facts.clone(), self.wire, self.session.clone());
        (proxy.peer, proxy.means) = (self.guest.peer, self.guest.means);
        proxy.user_agent = user_agent(node);
        let seat = self.context.board.join(facts.clone());
        let seat = seat.ok_or_else(|| Refusal::Crowded(format!("{}/{}", facts.namespace, facts.pod)))?;
        let (wire, user_agent) = (self.wire.short(), &proxy.user_agent);
        info!(parent: &self.span, node = node.id, wire, user_agent, "a proxy has connected");
        let listed = self.context.registry.enter(proxy);
        self.patience = Some(Instant::now() + self.context.options.pod_wait);
        self.member = Some(Member { facts, seat, listed, vault: Vault::Closed });
        Ok(())
    }

    /// The turn is over when the client has acknowledged everything.
    fn finish_turn(&mut self) {
        if let Some(turn) = self.turn.take_if(|_| self.session.lock().is_settled()) {
            turn.is_over();
        }
    }

    /// Says when a message comes near its limit, the first time on each stream.
    fn weigh(&mut self, what: &'static str, size: usize, limit: usize) {
        if size <= limit / 2 {
            return;
        }
        self.context.metrics.xds.message_was_large(what);
        if !std::mem::replace(&mut self.large, true) {
            let node = self.member.as_ref().map(|member| member.listed.proxy().node_id.as_str());
            warn!(parent: &self.span, node, size, limit, "a {what} is larger than half its limit");
        }
    }

    fn on_timer(&mut self) -> Result<(), Refusal> {
        self.turn.take_if(|turn| turn.ends() <= Instant::now());
        if self.guest.leaves.take_if(|leaves| *leaves <= Instant::now()).is_some() {
            self.leaves = Some(self.guest.at_most(Instant::now() + SETTLE));
        }
        if self.patience.is_none_or(|patience| patience > Instant::now()) {
            return Ok(());
        }
        let Some(member) = &self.member else { return Err(Refusal::Silent(FIRST_REQUEST)) };
        let ProxyFacts { namespace, pod, .. } = &member.facts;
        let waited = self.context.options.pod_wait;
        Err(Refusal::Unknown(if member.seat.is_placed() {
            format!("nothing was computed for Pod {namespace}/{pod} within {waited:?}")
        } else {
            format!("Pod {namespace}/{pod} is not known and did not appear within {waited:?}")
        }))
    }

    /// Writes the next response, if there is one; whether there may be more.
    fn write(&mut self, permit: mpsc::Permit<'_, Outgoing>) -> Result<bool, Refusal> {
        let Some(response) = self.poll() else { return Ok(false) };
        let frames = Frames::new(&response, self.wire);
        frames.joined().iter().for_each(|joined| self.context.shelf.put(joined));
        let (size, limit) = (frames.len(), self.context.options.max_response);
        if size > limit {
            let node = self.member.as_ref().map(|member| member.listed.proxy().node_id.clone());
            return Err(Refusal::TooLarge(Large { what: "response", size, limit, node: node.unwrap_or_default() }));
        }
        self.context.metrics.xds.response_sent(response.kind.short(), size);
        self.weigh("response", size, limit);
        if let Some(turn) = &mut self.turn {
            turn.sends(size);
        }
        let Response { kind, nonce, removed, .. } = &response;
        debug!(
            parent: &self.span,
            %kind, nonce, resources = response.all().count(), removed = removed.len(), bytes = size, "sent"
        );
        permit.send(Outgoing::Message(frames));
        Ok(self.session.lock().has_more())
    }

    fn poll(&self) -> Option<Response> {
        let mut session = self.session.lock();
        let (before, counters) = (session.is_stranded(), session.counters());
        let response = session.poll(Instant::now().into_std());
        self.count(&counters, &session.counters());
        if session.is_stranded() && !before {
            self.context.metrics.xds.found_left_warming();
            let again = "the client was left warming by an earlier stream; endpoints and secrets are sent again";
            warn!(parent: &self.span, "{again}");
        }
        response
    }
}
