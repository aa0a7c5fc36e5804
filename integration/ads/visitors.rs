//! Who may see what at the admin port: every page of its own table, by everybody.

use crate::hostile::{nonsense, says};
use crate::secure::{DAY, Secure, asking, cart};
use crate::stage::{Delta, NODE_ID, PATIENCE, seeds, until};
use chancery::admin::guard::{Guard, Operators, Shows};
use chancery::admin::port::{HEADERS, PLACES};
use chancery::admin::{AdminContext, PAGES, serve};
use chancery::model::identity::Identity;
use chancery::model::problem::{Cause, Problem, Severity};
use chancery::model::provenance::{ObjectKey, ObjectKind};
use chancery::model::reach::{Reach, Reaches, Standing};
use chancery::snapshot::kind::Kind;
use chancery::source::kubernetes::kinds::KINDS;
use chancery::source::kubernetes::news::{KindStatus, Kinds, State};
use fastrand::Rng;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::Channel;

/// A secure server, and the admin port beside it.
pub struct Port {
    pub secure: Secure,
    address: SocketAddr,
}

fn policy(namespace: &str) -> ObjectKey {
    ObjectKey { kind: ObjectKind::VirtualService, namespace: namespace.into(), name: format!("of-{namespace}").into() }
}

/// What there is in two namespaces: an object, and something wrong with it.
fn standing() -> Standing {
    let reach = Reach { targeted: 1, ..Reach::default() };
    let objects = ["shop", "bank"].map(|namespace| (policy(namespace), reach)).into();
    Standing { reaches: Reaches { objects, partial: false }, ..Standing::default() }
}

fn problems() -> Arc<BTreeSet<Problem>> {
    let problem = |namespace: &&str| Problem {
        object: policy(namespace),
        field: String::new(),
        severity: Severity::Error,
        text: format!("nothing of {namespace} is good"),
        cause: Cause::Content,
    };
    Arc::new(["shop", "bank"].iter().map(problem).collect())
}

/// A channel that nobody writes to any more.
fn told<T>(value: T) -> watch::Receiver<T> {
    watch::channel(value).1
}

impl Port {
    pub async fn open(guard: impl FnOnce(&Secure) -> Guard) -> Self {
        let secure = Secure::new(DAY).await;
        let xds = &secure.stage.context;
        let since = std::time::Instant::now();
        let kind = KindStatus { kind: &KINDS[0], state: State::Watching, since, settled: true, objects: 1 };
        let context = AdminContext {
            guard: guard(&secure),
            readiness: xds.readiness.clone(),
            metrics: xds.metrics.clone(),
            registry: xds.registry.clone(),
            reports: told(Arc::default()),
            problems: told(problems()),
            kinds: told(Kinds::unit(kind)),
            standing: told(Arc::new(standing())),
            others: None,
            leadership: told(Default::default()),
            writing: told(Default::default()),
            states: told(None),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, shutdown) = (listener.local_addr().expect("a bound port"), secure.stage.shutdown.clone());
        tokio::spawn(serve(listener, context, shutdown));
        Self { secure, address }
    }

    /// One that asks who somebody is, where the account `ops` of `system` may see everything.
    pub async fn guarded() -> Self {
        let operators = Operators::from([("system".into(), "ops".into())]);
        Self::open(|secure| Guard::Asking { examiner: Some(secure.visitors.clone()), operators }).await
    }

    /// The token of an account.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        self.secure.token(&Identity::new(namespace.into(), account.into()), DAY)
    }

    /// Asks in so many words; the code, and all that is answered.
    async fn ask(&self, line: &str, header: &str) -> (u16, String) {
        self.ask_from(Ipv4Addr::LOCALHOST, line, header).await
    }

    /// The same from another address of this machine.
    async fn ask_from(&self, from: Ipv4Addr, line: &str, header: &str) -> (u16, String) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from.into(), 0)).expect("an address of ours");
        let mut socket = socket.connect(self.address).await.expect("a connection");
        let question = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n");
        socket.write_all(question.as_bytes()).await.expect("room");
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        (code.unwrap_or_else(|| panic!("{line}: {answer}")), answer)
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> (u16, String) {
        let header = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        self.ask(&format!("GET {path}"), &header).await
    }

    /// A proxy of a namespace that is connected.
    async fn proxy(&self, identity: &Identity, node: &str) -> Delta {
        let (channel, token) =
            (self.secure.channel(None).await.expect("a connection"), self.secure.token(identity, DAY));
        let first = asking(Kind::Cluster, node, Vec::new());
        let before = self.secure.stage.context.registry.proxies().len();
        let stream = Delta::begin(channel, Some(&token), first).await.expect("a stream");
        until("it is listed", || self.secure.stage.context.registry.proxies().len() > before).await;
        stream
    }

    /// A proxy in each of the two namespaces.
    async fn proxies(&self) -> [Delta; 2] {
        let bank = NODE_ID.replace("shop", "bank");
        let teller = Identity::new("bank".into(), "teller".into());
        [self.proxy(&cart(), NODE_ID).await, self.proxy(&teller, &bank).await]
    }
}

/// Each page, by nobody, by somebody of another namespace and of the own, and by an operator.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_for_whom_its_table_says() {
    let port = Port::guarded().await;
    let _proxies = port.proxies().await;
    let (own, other, operator) = (port.token("shop", "any"), port.token("bank", "any"), port.token("system", "ops"));
    for page in &PAGES {
        let (code, everything) = port.get(page.path, Some(&operator)).await;
        assert_eq!(code, 200, "{}: {everything}", page.path);
        let expected = match page.shows {
            Shows::Process => [200, 200, 200],
            Shows::Namespaces => [401, 200, 200],
            Shows::Cluster => [401, 403, 403],
        };
        for (token, expected) in [None, Some(&*own), Some(&*other)].into_iter().zip(expected) {
            let (code, answer) = port.get(page.path, token).await;
            assert_eq!(code, expected, "{}: {answer}", page.path);
            let names = ["shop", "bank"].map(|namespace| answer.contains(namespace));
            let may = match (code, page.shows) {
                (200, Shows::Namespaces) => [token == Some(&*own), token == Some(&*other)],
                // Nothing of any object, whoever asks; a refusal tells who asks what it has shown.
                (403, _) => [token == Some(&*own), token == Some(&*other)],
                _ => [false, false],
            };
            assert_eq!(names, may, "{}: {answer}", page.path);
        }
        // The control: what is kept from others is there.
        let there = everything.contains("shop") && everything.contains("bank");
        assert_eq!(there, page.shows == Shows::Namespaces, "{}: {everything}", page.path);
    }
    let (_, refused) = port.get("/api/v1/proxies", None).await;
    assert!(
        refused.contains("www-authenticate: Bearer") && refused.contains("show the token of a service"),
        "{refused}"
    );
    let (_, refused) = port.get("/api/v1/kinds", Some(&own)).await;
    assert!(refused.contains("this is for operators; --operators does not name shop/any"), "{refused}");
}

/// A page that the table doesn't have is none, and there is no other way to one that it has.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_way_around() {
    let port = Port::guarded().await;
    let _proxies = port.proxies().await;
    for line in [
        "GET /api/v1/proxies/",
        "GET //api/v1/proxies",
        "GET /api//v1/proxies",
        "GET /api/v1/%70roxies",
        "GET /livez/../api/v1/proxies",
        "GET /metrics/%2e%2e/api/v1/proxies",
        "GET /API/V1/PROXIES",
        "GET /api/v1/proxies?token=any",
        "GET http://localhost/api/v1/proxies",
        "HEAD /api/v1/proxies",
        "POST /api/v1/proxies",
        "OPTIONS /api/v1/proxies",
        "GET /api/v1",
        "GET /debug/pprof",
    ] {
        let (code, answer) = port.ask(line, "").await;
        assert!([400, 401, 404, 405].contains(&code) && !answer.contains("cart-1"), "{line}: {answer}");
    }
    // The control: with a credential it is a way.
    let (code, answer) = port.get("/api/v1/proxies", Some(&port.token("shop", "any"))).await;
    assert!(code == 200 && answer.contains("cart-1"), "{answer}");
}

/// Whatever is wrong with a token is said, counted, and the token told to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_believed_opens_nothing() {
    let (port, elsewhere) = (Port::guarded().await, Secure::new(DAY).await);
    let ops = Identity::new("system".into(), "ops".into());
    let (good, foreign) = (port.secure.token(&ops, DAY), elsewhere.token(&ops, DAY));
    let ended = port.secure.token_of_then(&ops, Duration::from_secs(7200), Duration::from_secs(3600));
    for (token, said, reason) in [
        ("nonsense", "not one of a Kubernetes service account", "token_malformed"),
        (&foreign, "signed with a key that is not known", "token_key_unknown"),
        (&ended, "has expired", "token_expired"),
        (&"a".repeat(9000), "longer than", "token_too_long"),
    ] {
        let (code, answer) = port.get("/api/v1/kinds", Some(token)).await;
        assert!(code == 401 && answer.contains(said) && !answer.contains(token), "{reason}: {answer}");
        let counted = port.secure.stage.metrics();
        assert!(counted.contains(&format!("chancery_admin_refusals_total{{reason=\"{reason}\"}}")), "{reason}");
    }
    for header in ["authorization: Basic b3BzOm9wcw==\r\n", &format!("authorization: {good}\r\n")] {
        assert_eq!(port.ask("GET /api/v1/kinds", header).await.0, 401, "{header}");
    }
    assert_eq!(port.get("/api/v1/kinds", Some(&good)).await.0, 200, "the control");
}

/// Who is not believed again and again is not looked at for a while, at this port as at that for proxies; pages for everybody
/// are shown all the same, and so is everything to others. The control: before that each was told what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_never_believed_is_not_listened_to_at_any_port() {
    let (port, hostile) = (Port::guarded().await, Ipv4Addr::new(127, 0, 0, 7));
    let page = async |from, path: &str, token: &str| {
        let header = format!("authorization: Bearer {token}\r\n");
        port.ask_from(from, &format!("GET {path}"), &header).await.0
    };
    let (good, mut told) = (port.token("system", "ops"), 0);
    while page(hostile, "/api/v1/kinds", "nonsense").await != 429 {
        told += 1;
        assert!(told < 2000, "it is told again and again what is wrong");
    }
    assert!(told >= 64, "only {told} were told what is wrong");
    let (proxy, elsewhere) =
        (port.secure.channel_from(hostile).await, port.secure.channel_from(Ipv4Addr::LOCALHOST).await);
    let at_the_other = async |channel: &Channel| {
        let (channel, token) = (channel.clone(), port.secure.token(&cart(), DAY));
        let begun = Delta::begin(channel, Some(&token), asking(Kind::Cluster, NODE_ID, Vec::new())).await;
        begun.map(drop).map_err(|status| status.code())
    };
    // One more may just have become due again.
    let mut tries = 0;
    while (page(hostile, "/api/v1/kinds", &good).await, at_the_other(&proxy).await)
        != (429, Err(Code::ResourceExhausted))
    {
        tries += 1;
        assert!(tries < 100, "it is looked at whenever it shows something good");
        while page(hostile, "/api/v1/kinds", "nonsense").await != 429 {}
    }
    assert_eq!(page(hostile, "/metrics", "nonsense").await, 200, "that is for everybody");
    assert!(port.secure.stage.metrics().contains(r#"chancery_admin_refusals_total{reason="throttled"}"#));
    let shown = (page(Ipv4Addr::LOCALHOST, "/api/v1/kinds", &good).await, at_the_other(&elsewhere).await);
    assert_eq!(shown, (200, Ok(())), "the control");
}

/// Where nobody can say who somebody is, nobody is anybody; and whoever opens the port opens it to all.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_verifier_everything_is_shut_and_open_is_open() {
    let shut = Port::open(|_| Guard::Asking { examiner: None, operators: Operators::new() }).await;
    let open = Port::open(|_| Guard::Open).await;
    for page in &PAGES {
        let expected = if page.shows == Shows::Process { 200 } else { 401 };
        assert_eq!(shut.get(page.path, Some(&shut.token("system", "ops"))).await.0, expected, "{}", page.path);
        assert_eq!(open.get(page.path, None).await.0, 200, "{}", page.path);
    }
}

/// A proxy is listed with what it has proven, and by what.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_proven_what_is_shown() {
    let port = Port::guarded().await;
    let _proxies = port.proxies().await;
    let (_, answer) = port.get("/api/v1/proxies", Some(&port.token("shop", "any"))).await;
    assert!(answer.contains(r#""proven":{"by":"token","serviceAccount":"shop/cart"}"#), "{answer}");
}

/// Whether it is open, also a little later.
async fn is_open(socket: &mut TcpStream) -> bool {
    tokio::time::timeout(Duration::from_millis(50), socket.read(&mut [0; 16])).await.is_err()
}

/// Connections that say nothing keep nobody out: who has been there longest makes room, and who comes is answered at once. The
/// control: as many as there is room for are kept.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_keep_nobody_out() {
    const MORE: usize = 40;
    let port = Port::guarded().await;
    let mut silent = Vec::new();
    for _ in 0..PLACES + MORE {
        let mut socket = TcpStream::connect(port.address).await.expect("a connection");
        socket.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await.expect("room");
        silent.push(socket);
    }
    assert_eq!(port.get("/livez", None).await.0, 200);
    let (first, rest) = silent.split_at_mut(MORE + 1);
    for socket in first {
        let read = tokio::time::timeout(PATIENCE, socket.read(&mut [0; 16])).await.expect("it is ended");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    for socket in [0, rest.len() / 2, rest.len() - 1] {
        assert!(is_open(&mut rest[socket]).await, "the control: there is room for number {socket}");
    }
}

/// Who begins a request and doesn't go on is waited for only so long. The control: until then it may.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let port = Port::guarded().await;
    let mut half = TcpStream::connect(port.address).await.expect("a connection");
    let mut late = TcpStream::connect(port.address).await.expect("a connection");
    for socket in [&mut half, &mut late] {
        socket.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n").await.expect("room");
    }
    tokio::time::sleep(HEADERS / 2).await;
    late.write_all(b"\r\n").await.expect("the control: it is open");
    let mut answer = [0; 12];
    late.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let read = tokio::time::timeout(HEADERS, half.read(&mut answer)).await.expect("it is ended");
    // It may be told why before.
    assert!(read.is_err() || !answer.starts_with(b"HTTP/1.1 200") || read.is_ok_and(|read| read == 0));
}

/// Random bytes at the admin port end their own connections and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_end_only_their_own_connection() {
    let port = Port::guarded().await;
    for (number, seed) in seeds(120).enumerate() {
        let random = &mut Rng::with_seed(seed);
        let mut bytes = nonsense(random);
        if random.bool() {
            bytes.splice(0..0, *b"GET /api/v1/proxies HTTP/1.1\r\n");
        }
        says(TcpStream::connect(port.address).await.expect("a connection"), &bytes).await;
        if number % 40 == 0 {
            assert_eq!(port.ask("GET /livez", "").await.0, 200);
        }
    }
    assert_eq!(port.ask("GET /livez", "").await.0, 200);
    let token = port.token("shop", "cart");
    assert_eq!(
        port.get("/api/v1/problems", Some(&token)).await.0,
        200,
        "the control: who has a token is shown its own"
    );
}
