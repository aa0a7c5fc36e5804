//! Clients that mean harm, on both doors: nobody else notices, nothing is kept of them, and each limit that stops them shows
//! in a metric or in how the connection ends.

use crate::raw::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE, RESET, Raw,
};
use crate::secure::{DAY, Secure, asking, cart};
use crate::stage::{Delta, NODE_ID, PATIENCE, Stage, seeds, until, value};
use chancery::snapshot::kind::Kind;
use chancery::xds::limits::Options;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use fastrand::Rng;
use std::net::Ipv4Addr;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;

/// The method that is served.
pub const METHOD: &[u8] = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// How many connections come with nonsense.
const STRANGERS: u64 = 120;
/// HTTP/2's codes.
const REFUSED_STREAM: u8 = 7;
const CALM: u8 = 11;

/// A door for proxies.
enum Door {
    Plain(Stage),
    /// Over TLS, and what is shown there.
    Secure(Box<Secure>, String),
}

/// What is spoken through.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

impl Door {
    async fn plain() -> Self {
        let stage = Stage::new().await;
        stage.place_all();
        Self::Plain(stage)
    }

    async fn both() -> [Self; 2] {
        let secure = Secure::new(DAY).await;
        secure.stage.place_all();
        let token = secure.token(&cart(), DAY);
        [Self::plain().await, Self::Secure(Box::new(secure), token)]
    }

    fn stage(&self) -> &Stage {
        match self {
            Self::Plain(stage) => stage,
            Self::Secure(secure, _) => &secure.stage,
        }
    }

    /// Somebody who speaks HTTP/2 by hand.
    async fn raw(&self) -> Raw<Box<dyn Socket>> {
        let socket: Box<dyn Socket> = match self {
            Self::Plain(stage) => Box::new(TcpStream::connect(stage.address).await.expect("a connection")),
            Self::Secure(secure, _) => Box::new(secure.socket().await),
        };
        Raw::begin(socket).await
    }

    /// The headers of a call, with what has to be shown.
    fn call(&self, more: &[(&str, &[u8])]) -> Vec<u8> {
        let shown = match self {
            Self::Plain(_) => None,
            Self::Secure(_, token) => Some(format!("Bearer {token}")),
        };
        let shown = shown.iter().map(|token| ("authorization", token.as_bytes()));
        raw::call(METHOD, &shown.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// A proxy that asks for clusters.
    async fn open(&self) -> Delta {
        let opened = match self {
            Self::Plain(stage) => Delta::open(stage).await,
            Self::Secure(secure, token) => {
                let channel = secure.channel(None).await.expect("a connection");
                Delta::begin(channel, Some(token), asking(Kind::Cluster, NODE_ID, Vec::new())).await
            }
        };
        opened.expect("a stream")
    }
}

/// A good proxy at a door, which goes on to be told of changes.
struct Good<'d> {
    door: &'d Door,
    client: Delta,
    round: u32,
}

impl<'d> Good<'d> {
    async fn at(door: &'d Door) -> Self {
        door.stage().post(&[("a", b"0")], None);
        let mut good = Self { door, client: door.open().await, round: 0 };
        good.told().await;
        good
    }

    async fn told(&mut self) -> DeltaDiscoveryResponse {
        let told = self.client.next().await.expect("what was posted");
        self.client.ack(&told).await;
        told
    }

    /// It is told of another change, and somebody else can still come in.
    async fn goes_on(&mut self) {
        self.round += 1;
        self.door.stage().post(&[("a", &self.round.to_be_bytes())], Some(Instant::now()));
        assert_eq!(self.told().await.resources.len(), 1);
        let mut other = self.door.open().await;
        assert_eq!(other.next().await.expect("the first answer").resources.len(), 1);
    }
}

/// All but so many connections are gone.
async fn left(stage: &Stage, connections: u64) {
    until("the others are gone", || {
        let gauges = ["chancery_xds_connections", "chancery_xds_streams", "chancery_xds_handshakes"];
        let [open, streams, handshakes] = gauges.map(|gauge| value(stage, gauge));
        open <= connections && streams <= connections && handshakes == 0
    })
    .await;
}

/// Bytes that are nothing, or that begin as something.
pub fn nonsense(random: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.bool() {
        bytes.extend(PREFACE);
    }
    for _ in 0..random.usize(..20) {
        let payload: Vec<u8> = (0..random.usize(..200)).map(|_| random.u8(..)).collect();
        match random.u8(..4) {
            0 => bytes.extend(payload),
            // A call, which is cut or goes on with anything.
            1 => bytes.extend(Frame::new(HEADERS, END_HEADERS, 1, &raw::call(METHOD, &[])).bytes()),
            _ => bytes.extend(Frame::new(random.u8(..12), random.u8(..), random.u32(..8), &payload).bytes()),
        }
    }
    bytes
}

pub async fn says(mut socket: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    // It may be closed before all is written.
    _ = socket.write_all(bytes).await;
    _ = socket.shutdown().await;
    let mut answer = Vec::new();
    _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("the connection ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_end_only_their_own_connection() {
    let door = Door::plain().await;
    let (stage, mut good) = (door.stage(), Good::at(&door).await);
    let secure = Secure::new(DAY).await;
    for (number, seed) in (0..STRANGERS).zip(seeds(STRANGERS)) {
        let random = &mut Rng::with_seed(seed);
        says(TcpStream::connect(stage.address).await.expect("a connection"), &nonsense(random)).await;
        says(TcpStream::connect(secure.stage.address).await.expect("a connection"), &nonsense(random)).await;
        if number % 4 == 0 {
            says(secure.socket().await, &nonsense(random)).await;
        }
        if number % 40 == 0 {
            good.goes_on().await;
        }
    }
    good.goes_on().await;
    left(stage, 1).await;
    left(&secure.stage, 0).await;
    assert_eq!(value(&secure.stage, r#"chancery_xds_refusals_total{reason="handshake"}"#), STRANGERS);
    let channel = secure.channel(None).await.expect("a connection");
    let token = secure.token(&cart(), DAY);
    let good = Delta::begin(channel, Some(&token), asking(Kind::Cluster, NODE_ID, Vec::new())).await;
    assert!(good.is_ok(), "the door opens for who has a token");
}

/// Many handshakes that never go on: no more of them are held than may be, and who comes then gets in all the same. The control:
/// with as many places as there are strangers all of them are held.
#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_keep_nobody_out() {
    const HALF: usize = 24;
    for (places, most) in [(8, 8), (HALF + 8, HALF as u64)] {
        let secure = Secure::with(Options { handshakes: places, ..Options::default() }).await;
        let mut strangers = Vec::new();
        for _ in 0..HALF {
            let mut socket = TcpStream::connect(secure.stage.address).await.expect("a connection");
            // The head of a first message, and not all of it.
            socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.expect("room");
            strangers.push(socket);
        }
        let held = || value(&secure.stage, "chancery_xds_handshakes");
        until("as many are held as may be", || held() == most).await;
        let token = secure.token(&cart(), DAY);
        let begun = tokio::time::timeout(4 * PATIENCE, async {
            let channel = secure.channel(None).await.expect("a connection");
            Delta::begin(channel, Some(&token), asking(Kind::Cluster, NODE_ID, Vec::new())).await
        });
        begun.await.expect("in time").expect("it is let in");
        assert!(held() <= most, "{} are held", held());
        drop(strangers);
        left(&secure.stage, 1).await;
    }
}

/// A connection from an address of this machine that has said this.
async fn said_from(stage: &Stage, from: Ipv4Addr, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an address of this machine");
    let mut socket = socket.connect(stage.address).await.expect("a connection");
    _ = socket.write_all(bytes).await;
    socket
}

/// Where many handshakes have failed, few may be in progress at once: who is elsewhere has the rest of the places. The controls: that
/// many are in progress from elsewhere, and who only looks whether somebody listens is no failure.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_whose_handshakes_fail_has_a_share_of_the_places() {
    const PLACES: usize = 16;
    let (hostile, looks, elsewhere) =
        (Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::new(127, 0, 0, 8), Ipv4Addr::new(127, 0, 0, 7));
    let secure = Secure::with(Options { handshakes: PLACES, ..Options::default() }).await;
    let stage = &secure.stage;
    for _ in 0..300 {
        says(said_from(stage, hostile, b"").await, b"GET / HTTP/1.1\r\n\r\n").await;
        says(said_from(stage, looks, b"").await, b"").await;
    }
    let counted = |reason: &str| value(stage, &format!("chancery_xds_refusals_total{{reason=\"{reason}\"}}"));
    assert_eq!((counted("handshake"), counted("throttled")), (600, 0), "one at a time");
    let held = || value(stage, "chancery_xds_handshakes");
    let half = async |from| {
        let mut sockets = Vec::new();
        for _ in 0..PLACES / 2 {
            sockets.push(said_from(stage, from, b"\x16\x03\x01\x02\x00\x01\x00").await);
        }
        sockets
    };
    let begun = Instant::now();
    let few = half(hostile).await;
    let share = PLACES as u64 / 4;
    until("the others are not listened to", || counted("throttled") == PLACES as u64 / 2 - share).await;
    let many = [half(looks).await, half(elsewhere).await];
    until("places are taken", || held() >= PLACES as u64 / 2).await;
    assert!(counted("throttled") <= share, "nobody else is turned away: {:?}", begun.elapsed());
    // Who is good and comes from there gets in as soon as one of them has had its time.
    let token = secure.token(&cart(), DAY);
    let channel = tokio::time::timeout(4 * PATIENCE, async {
        loop {
            if let Ok(channel) = secure.tried_from(hostile).await {
                return channel;
            }
        }
    });
    let channel = channel.await.expect("in time");
    Delta::begin(channel, Some(&token), asking(Kind::Cluster, NODE_ID, Vec::new())).await.expect("it is let in");
    drop((few, many));
}

/// Who is not believed again and again is not looked at for a while; somebody at another address is. The control: before
/// that each was told what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_never_believed_is_not_listened_to_for_a_while() {
    let secure = Secure::new(DAY).await;
    let (hostile, token) = (secure.channel_from(Ipv4Addr::new(127, 0, 0, 9)).await, secure.token(&cart(), DAY));
    let begin = async |channel, token: &str| {
        let first = asking(Kind::Cluster, NODE_ID, Vec::new());
        Delta::begin(channel, Some(token), first).await.map(drop).map_err(|status| status.code())
    };
    let throttled = || value(&secure.stage, r#"chancery_xds_refusals_total{reason="throttled"}"#);
    let mut told = 0;
    while throttled() == 0 {
        let refused = begin(hostile.clone(), "nonsense").await.expect_err("it is refused");
        assert!([Code::Unauthenticated, Code::ResourceExhausted].contains(&refused), "{refused:?}");
        told += 1;
        assert!(told < 2000, "it is told again and again what is wrong");
    }
    assert!(told > 64, "only {told} were told what is wrong");
    let mut tries = 0;
    // One call may just have become due again.
    while begin(hostile.clone(), &token).await != Err(Code::ResourceExhausted) {
        tries += 1;
        assert!(tries < 100, "it is looked at whenever it shows something good");
        while begin(hostile.clone(), "nonsense").await != Err(Code::ResourceExhausted) {}
    }
    let elsewhere = secure.channel(None).await.expect("a connection");
    assert_eq!(begin(elsewhere, &token).await, Ok(()), "the control: somebody at another address is looked at");
}

/// Paths that are nearly one: none is taken for it, with a credential or without, and nobody gets a stream.
#[tokio::test(flavor = "multi_thread")]
async fn an_unusual_path_is_no_path() {
    let secure = Secure::new(DAY).await;
    let token = format!("Bearer {}", secure.token(&cart(), DAY));
    let method = String::from_utf8_lossy(METHOD);
    let paths = [
        format!("/{method}"),
        format!("{method}/"),
        format!("{method}?a=b"),
        method.trim_start_matches('/').to_owned(),
        method.replace("Delta", "%44elta"),
        method.replace('/', "%2f"),
        method.replace("Service/", "Service//"),
        method.replace("Service/", "Service/../AggregatedDiscoveryService/"),
        method.to_uppercase(),
        format!("{method}\u{0}"),
        format!("{method} "),
        "*".to_owned(),
        String::new(),
        "/".to_owned(),
        "http://chancery".to_owned() + &method,
    ];
    for path in paths.iter().map(String::as_bytes) {
        for credential in [None, Some(token.as_bytes())] {
            let more: Vec<(&str, &[u8])> = credential.map(|token| ("authorization", token)).into_iter().collect();
            let mut client = Raw::begin(secure.socket().await).await;
            client.send(&Frame::new(HEADERS, END_HEADERS, 1, &raw::call(path, &more))).await;
            let ends = |frame: &Frame| {
                let ended = frame.stream == 1 && frame.flags & END_STREAM != 0 && frame.kind == HEADERS;
                ended || frame.code().is_some()
            };
            let frames = client.until(ends).await;
            let shown = String::from_utf8_lossy(path);
            assert!(frames.iter().all(|frame| frame.kind != DATA), "{shown}: {frames:?}");
            assert_eq!(value(&secure.stage, "chancery_xds_streams"), 0, "{shown}: {frames:?}");
        }
    }
    // The control: the very path is one, and a stream is open then.
    let mut client = Raw::begin(secure.socket().await).await;
    client.send(&Frame::new(HEADERS, END_HEADERS, 1, &raw::call(METHOD, &[("authorization", token.as_bytes())]))).await;
    until("a stream is open", || value(&secure.stage, "chancery_xds_streams") == 1).await;
}

/// Calls that are opened and taken back at once: such a connection is told to calm down and ends. The control: a few are
/// nothing unusual.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_resets_ends_its_connection() {
    for door in Door::both().await {
        flooded(&door).await;
    }
}

/// What ends a connection that HTTP/2 forbids.
const PROTOCOL: &str = r#"chancery_xds_refusals_total{reason="protocol"}"#;

async fn flooded(door: &Door) {
    let (stage, mut good) = (door.stage(), Good::at(door).await);
    for (count, ends) in [(5, false), (4000, true)] {
        let mut client = door.raw().await;
        let mut flood = Vec::new();
        for stream in (1..).step_by(2).take(count) {
            flood.extend(Frame::new(HEADERS, END_HEADERS, stream, &door.call(&[])).bytes());
            flood.extend(Frame::new(RESET, 0, stream, &[0, 0, 0, 8]).bytes());
        }
        client.write(&flood).await;
        good.goes_on().await;
        client.send(&Frame::new(PING, 0, 0, &[7; 8])).await;
        let answered = client.until(|frame| frame.kind == PING || frame.kind == GOAWAY).await;
        // What it is told is lost where it was still writing when the connection ended.
        let calm = answered.last().and_then(Frame::code).is_none_or(|code| code == CALM);
        let is_open = answered.last().is_some_and(|frame| frame.kind == PING);
        assert!(calm && is_open != ends, "{count} of them: {answered:?}");
        drop(client);
        left(stage, 1).await;
        assert_eq!(value(stage, PROTOCOL), u64::from(ends), "{count} of them");
    }
    good.goes_on().await;
}

/// Headers that never end: the connection does, long before they would.
#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_end_their_connection() {
    for door in Door::both().await {
        endless(&door).await;
    }
}

async fn endless(door: &Door) {
    let (stage, mut good) = (door.stage(), Good::at(door).await);
    let mut client = door.raw().await;
    client.send(&Frame::new(HEADERS, 0, 1, &door.call(&[]))).await;
    let more = Frame::new(CONTINUATION, 0, 1, &raw::block(&[("x", &[b'a'; 1000])]));
    let mut taken = 0;
    // What was closed is found out a little later.
    while taken < 100_000 && client.send(&more).await {
        taken += 1;
    }
    assert!(taken < 100_000, "all was taken");
    until("it is counted", || value(stage, PROTOCOL) == 1).await;
    good.goes_on().await;
    drop(client);
    left(stage, 1).await;
}

/// More calls on one connection than there may be: those are refused, the others stay. Headers that are too large are refused as
/// well.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_calls_and_no_more() {
    for door in Door::both().await {
        crowded(&door).await;
    }
}

async fn crowded(door: &Door) {
    const CALLS: usize = 8;
    let (stage, mut good) = (door.stage(), Good::at(door).await);
    let mut client = door.raw().await;
    for stream in (1..).step_by(2).take(CALLS + 20) {
        client.send(&Frame::new(HEADERS, END_HEADERS, stream, &door.call(&[]))).await;
    }
    let last = 2 * (CALLS as u32 + 20) - 1;
    let frames = client.until(|frame| frame.kind == RESET && frame.stream == last).await;
    let refused = frames.iter().filter(|frame| frame.code() == Some(REFUSED_STREAM) && frame.kind == RESET).count();
    assert_eq!(refused, 20, "{frames:?}");
    until("the others are open", || value(stage, "chancery_xds_streams") == CALLS as u64 + 1).await;
    good.goes_on().await;
    drop(client);
    left(stage, 1).await;
    let mut client = door.raw().await;
    let large: Vec<u8> = door.call(&[("x-large", &[b'a'; 15_000]), ("x-larger", &[b'a'; 15_000])]);
    client.send(&Frame::new(HEADERS, 0, 1, &large[..16_000])).await;
    client.send(&Frame::new(CONTINUATION, END_HEADERS, 1, &large[16_000..])).await;
    let frames = client.until(|frame| frame.stream == 1 || frame.kind == GOAWAY).await;
    assert!(frames.last().is_some_and(|frame| frame.kind != DATA), "{frames:?}");
    assert_eq!(value(stage, "chancery_xds_streams"), 1, "it is no stream");
    good.goes_on().await;
}

/// Somebody who claims to send much and sends it slowly costs what has arrived, and nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sender_is_waited_for_by_nobody_else() {
    // Over TLS who is slow is known, and has a share: that is tried with shares.
    let door = Door::plain().await;
    let (stage, mut good) = (door.stage(), Good::at(&door).await);
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut client = door.raw().await;
        client.send(&Frame::new(HEADERS, END_HEADERS, 1, &door.call(&[]))).await;
        // Sixteen MiB are announced.
        client.send(&Frame::new(DATA, 0, 1, &[0, 1, 0, 0, 0])).await;
        slow.push(client);
    }
    for _ in 0..5 {
        for client in &mut slow {
            client.send(&Frame::new(DATA, 0, 1, b"a")).await;
        }
        good.goes_on().await;
    }
    until("they are all there", || value(stage, "chancery_xds_streams") == 21).await;
    drop(slow);
    left(stage, 1).await;
    // The control: what is announced beyond the limit ends the stream at once.
    let mut client = door.raw().await;
    client.send(&Frame::new(HEADERS, END_HEADERS, 1, &door.call(&[]))).await;
    client.send(&Frame::new(DATA, END_STREAM, 1, &[0, 255, 0, 0, 0])).await;
    client.until(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0).await;
    assert_eq!(value(stage, r#"chancery_xds_refusals_total{reason="too_large"}"#), 1);
}
