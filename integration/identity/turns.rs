//! Few questions at once are asked of the API server, and none is kept waiting by those of others: proxies and visitors have
//! turns of their own, and who has come to be mistrusted while it waited has none any more.

use chancery::app::security::issuers::{Issuers, Known};
use chancery::app::security::reviews::{FOR_PROXIES, FOR_VISITORS, Reviewer};
use chancery::app::security::verifier::{Believed, ByTokenOrCertificate};
use chancery::clock::Clock;
use chancery::model::identity::{BoundPod, Identity};
use chancery::model::labels::Labels;
use chancery::model::object::{Meta, Object, Stored};
use chancery::model::pod::Pod;
use chancery::model::provenance::{ObjectKey, ObjectKind, ObjectRef};
use chancery::model::world::{State, World};
use chancery::telemetry::Metrics;
use chancery::tokens::Distrust;
use chancery::tokens::issuer::{ISSUER, Issuer};
use chancery::xds::mistrust::{Mistrust, Place, Suspect};
use chancery::xds::refusal::Refusal;
use chancery::xds::trust::{Examiner, Presented, Proven, THROTTLED, Token, Unproven, Verifier};
use http::{Request, Response};
use http_body_util::Full;
use kube::Client;
use kube::client::Body;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(8);
const GOOD: &str =
    r#"{"authenticated":true,"audiences":["chancery"],"user":{"username":"system:serviceaccount:shop:cart"}}"#;
const BAD: &str = r#"{"authenticated":false}"#;

/// An API server that answers nothing until it is let, and then the same about every token.
#[derive(Clone)]
struct Server {
    asked: Arc<AtomicUsize>,
    answering: watch::Sender<bool>,
    status: &'static str,
    /// In place of that: why there is no answer.
    refuses: Option<&'static str>,
}

impl Server {
    fn new(status: &'static str) -> Self {
        Self { asked: Arc::default(), answering: watch::Sender::new(false), status, refuses: None }
    }

    fn reviewer(&self, at_once: usize) -> Reviewer {
        Reviewer::new(Client::new(self.clone(), "default"), Metrics::new().security, Clock::system(), at_once)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until it was asked that often.
    async fn is_asked(&self, times: usize) {
        let until = async {
            while self.asked() < times {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(timeout(PATIENCE, until).await.is_ok(), "asked {} times, not {times}", self.asked());
    }
}

impl tower_service::Service<Request<Body>> for Server {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (mut answering, status, refuses) = (self.answering.subscribe(), self.status, self.refuses);
        Box::pin(async move {
            _ = answering.wait_for(|answers| *answers).await;
            if let Some(words) = refuses {
                let status = format!(
                    r#"{{"kind":"Status","status":"Failure","message":"{words}","reason":"InternalError","code":500}}"#
                );
                return Ok(Response::builder().status(500).body(Full::from(status)).expect("a response"));
            }
            let review = format!(
                r#"{{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","metadata":{{}},"spec":{{}},"status":{status}}}"#
            );
            Ok(Response::builder().status(201).body(Full::from(review)).expect("a response"))
        })
    }
}

/// Tokens of many Pods, each of its own words.
fn tokens(count: usize) -> Vec<String> {
    let issuer = Issuer::of_pem(&Issuer::new_key().expect("a key")).expect("an issuer");
    let now = Clock::system().now();
    let token = |number| {
        let pod = BoundPod { name: format!("cart-{number}").as_str().into(), uid: "".into() };
        let identity = Identity { pod: Some(pod), ..Identity::new("shop".into(), "cart".into()) };
        issuer.issue(&identity, "chancery", now, Duration::from_secs(3600)).expect("a token")
    };
    (0..count).map(token).collect()
}

/// Each asks, and is not waited for.
fn crowd(reviewer: &Arc<Reviewer>, tokens: &[String]) {
    for token in tokens {
        let (reviewer, token) = (reviewer.clone(), token.clone());
        tokio::spawn(async move { reviewer.verify(&token, "chancery", None).await });
    }
}

#[tokio::test]
async fn visitors_keep_no_proxy_waiting() {
    let tokens = tokens(41);
    let (one, crowding) = tokens.split_first().expect("there are some");
    let server = Server::new(GOOD);
    let proxies = server.reviewer(FOR_PROXIES);
    let visitors = Arc::new(proxies.beside(FOR_VISITORS));
    crowd(&visitors, crowding);
    server.is_asked(FOR_VISITORS).await;
    let proxy = async {
        server.is_asked(FOR_VISITORS + 1).await;
        server.answering.send_replace(true);
    };
    let (answer, ()) = tokio::join!(proxies.verify(one, "chancery", None), proxy);
    assert_eq!(answer.map(|proof| proof.identity.service_account), Ok("cart".into()));
    // What one has asked the other knows.
    server.is_asked(tokens.len()).await;
    assert!(visitors.verify(one, "chancery", None).await.is_ok());
    assert_eq!(server.asked(), tokens.len());

    // The control: who shares turns waits.
    let server = Server::new(GOOD);
    let proxies = Arc::new(server.reviewer(FOR_PROXIES));
    crowd(&proxies, crowding);
    server.is_asked(FOR_PROXIES).await;
    let waits = timeout(Duration::from_millis(300), proxies.verify(one, "chancery", None)).await;
    assert!(waits.is_err() && server.asked() == FOR_PROXIES, "{waits:?}");
}

/// What becomes of tokens that are not good and all come at once, each from the address that is said; how often the API server
/// was asked.
async fn flood(from: impl Fn(usize) -> IpAddr) -> (Vec<Result<Proven, Unproven>>, usize) {
    let (server, states) = (Server::new(BAD), watch::channel(None).1);
    let tokens = Believed::There(Box::new(server.reviewer(FOR_PROXIES)));
    let verifier = ByTokenOrCertificate { tokens, audience: "chancery".to_owned(), states, clock: Clock::system() };
    let examiner = Examiner { verifier: Arc::new(verifier), mistrust: Arc::<Mistrust>::default() };
    let calls: Vec<_> = self::tokens(300)
        .into_iter()
        .enumerate()
        .map(|(number, token)| {
            let (examiner, from, token) = (examiner.clone(), from(number), Token(token));
            tokio::spawn(async move {
                examiner.examine(Presented { token: Some(&token), ..Presented::default() }, Some(from)).await
            })
        })
        .collect();
    server.is_asked(FOR_PROXIES).await;
    server.answering.send_replace(true);
    let mut answers = Vec::new();
    for call in calls {
        answers.push(timeout(PATIENCE, call).await.expect("in time").expect("no panic"));
    }
    (answers, server.asked())
}

#[tokio::test]
async fn who_is_mistrusted_when_its_turn_comes_has_none() {
    let (answers, asked) = flood(|_| Ipv4Addr::LOCALHOST.into()).await;
    let throttled = answers.iter().filter(|answer| **answer == Err(Unproven::Throttled)).count();
    assert_eq!(throttled + asked, answers.len());
    // Some are forgotten meanwhile.
    assert!((64..150).contains(&asked), "{asked} were asked about");
    let refused = |answer: &&Result<Proven, Unproven>| matches!(answer, Err(Unproven::Distrusted(why)) if why.judged);
    assert_eq!(answers.iter().filter(refused).count(), asked);
    // The control: of as many from as many addresses each is.
    let (answers, asked) = flood(|number| Ipv4Addr::from_bits(number as u32).into()).await;
    assert_eq!((asked, answers.iter().filter(refused).count()), (answers.len(), answers.len()));
}

/// The Pod that tokens are bound to here.
fn cart(uid: &str) -> Identity {
    let pod = BoundPod { name: "cart-1".into(), uid: uid.into() };
    Identity { pod: Some(pod), ..Identity::new("shop".into(), "cart".into()) }
}

/// A World with that Pod in it.
fn with_pod(uid: &str) -> State {
    let key = ObjectKey { kind: ObjectKind::Pod, namespace: "shop".into(), name: "cart-1".into() };
    let reference = ObjectRef { key: key.clone(), uid: Some(uid.into()), generation: None };
    let value = Pod {
        labels: Labels::default(),
        addresses: Vec::new(),
        host_network: false,
        service_account: "cart".into(),
        node: None,
        ports: Vec::new(),
    };
    let mut world = World::default();
    world.apply([(key, Some(Object::Pod(Stored::new(Meta { reference, created: None }, value))))]);
    State { world, since: None }
}

/// Where much is not believed, who names a Pod that there is answers for itself. The controls: who names none, or one that there
/// isn't, is not looked at; and who names that Pod and shows what is not good is not either, in the end, but only where it is.
#[tokio::test]
async fn who_shares_an_address_with_somebody_hostile_is_looked_at() {
    let issuer = Issuer::of_pem(&Issuer::new_key().expect("a key")).expect("an issuer");
    let issuers = Issuers { keys: issuer.keys(), issuer: Some(ISSUER.to_owned()) };
    let newest = watch::channel(Arc::new(issuers)).1;
    let tokens = Believed::Here(Known { newest, unknown_key: Arc::default() });
    let (clock, states) = (Clock::system(), watch::channel(Some(with_pod("8f2c"))).1);
    let verifier = ByTokenOrCertificate { tokens, audience: "chancery".to_owned(), states, clock: clock.clone() };
    let examiner = Examiner { verifier: Arc::new(verifier), mistrust: Arc::<Mistrust>::default() };
    let [shared, elsewhere]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
    let token = |of: &Identity| issuer.issue(of, "chancery", clock.now(), Duration::from_secs(3600)).expect("a token");
    let seen = async |token: &str, from: IpAddr| {
        let token = Token(token.to_owned());
        let presented = Presented { token: Some(&token), ..Presented::default() };
        match examiner.examine(presented, Some(from)).await {
            Ok(_) => "believed",
            Err(Unproven::Throttled) => "not looked at",
            Err(Unproven::Distrusted(_)) => "not believed",
        }
    };
    let (good, unbound) = (token(&cart("8f2c")), token(&Identity::new("shop".into(), "cart".into())));
    assert_eq!(seen(&unbound, shared).await, "believed", "nothing is held against it yet");
    for _ in 0..100_000 {
        examiner.mistrust.note(Suspect::Place(Place::of(shared)), Instant::now());
    }
    for (token, expected) in [
        (&*good, "believed"),
        (&unbound, "not looked at"),
        (&token(&cart("another")), "not looked at"),
        (&token(&cart("")), "not looked at"),
        ("nonsense", "not looked at"),
    ] {
        assert_eq!(seen(token, shared).await, expected);
    }
    let altered = good[..good.len() - 8].to_owned() + "AAAAAAAA";
    let mut tries = 0;
    while seen(&altered, shared).await == "not believed" {
        tries += 1;
        assert!(tries < 2000, "it is looked at again and again");
    }
    assert!(tries >= 64, "{tries}");
    assert_eq!(seen(&good, elsewhere).await, "believed");
}

/// What the API server says where it doesn't say whether a token is good is for the log; who shows the token is told that it
/// is not known, and nothing else.
#[tokio::test]
async fn the_words_of_the_api_server_are_not_passed_on() {
    const WORDS: &str = "etcdserver: leader changed at 10.0.0.9";
    let server = Server { refuses: Some(WORDS), ..Server::new(GOOD) };
    server.answering.send_replace(true);
    let tokens = Believed::There(Box::new(server.reviewer(1)));
    let (audience, states, clock) = ("chancery".to_owned(), watch::channel(None).1, Clock::system());
    let verifier = ByTokenOrCertificate { tokens, audience, states, clock };
    let token = Token(self::tokens(1).remove(0));
    let presented = Presented { token: Some(&token), ..Presented::default() };
    let refused = verifier.verify(presented).await.expect_err("it is not known");
    assert!(!refused.judged && !refused.text.contains("etcdserver"), "{refused:?}");
    let told = "not authenticated: it is not known whether the token is good: the API server gave no answer";
    assert_eq!(Refusal::Distrusted(refused.clone()).to_string(), told);
    assert!(refused.logged().contains(WORDS), "the control: they are there to be told");
}

/// Nobody is said to be bad who was not asked about.
#[test]
fn what_is_not_asked_about_is_no_verdict() {
    assert!(!Distrust::Unwanted.is_verdict() && !Distrust::Unreviewed(String::new()).is_verdict());
    assert_eq!(Distrust::Unwanted.reason(), THROTTLED, "and it is known by that word");
    assert!(Distrust::Refused.is_verdict() && Distrust::Expired.is_verdict());
}
