//! Events reach the API server although the Lease could not be renewed for a while, although it is away, and although there are
//! many; none of them comes of a term that is over.

use chancery::source::kubernetes::inventory::{Entry, Which};
use chancery::source::kubernetes::kinds::KINDS;
use chancery::source::kubernetes::news::Id;
use chancery::status::clerk::{Complaint, Reason};
use chancery::status::events::{self, QUEUED};
use chancery::status::lease::Held;
use chancery::telemetry::Metrics;
use http::{Request, Response};
use http_body_util::Full;
use kube::Client;
use kube::client::Body;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(8);

/// An API server that answers every question alike.
#[derive(Clone)]
struct Server {
    says: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl tower_service::Service<Request<Body>> for Server {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let code = self.says.load(Ordering::SeqCst);
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.written.fetch_add(usize::from(code == 201), Ordering::SeqCst);
        let body = match code {
            201 => r#"{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{},"eventTime":null}"#.to_owned(),
            code => format!(r#"{{"kind":"Status","status":"Failure","message":"no","reason":"No","code":{code}}}"#),
        };
        ready(Ok(Response::builder().status(code).body(Full::from(body)).expect("a response")))
    }
}

/// What writes Events, its API server, and its Lease.
struct Bench {
    server: Server,
    held: watch::Sender<Held>,
    complaints: mpsc::Sender<(u64, Complaint)>,
}

impl Bench {
    fn new() -> Self {
        let server = Server { says: Arc::new(AtomicU16::new(201)), asked: Arc::default(), written: Arc::default() };
        let (held, follows) = watch::channel(Held::default());
        let (complaints, complained) = mpsc::channel(QUEUED);
        let client = Client::new(server.clone(), "default");
        tokio::spawn(events::run(client, "me".to_owned(), complained, follows, Metrics::new().status));
        Self { server, held, complaints }
    }

    /// The Lease is held in a term, from now or no more.
    fn holds(&self, term: u64, valid: bool) {
        let now = Instant::now();
        let until = Some(if valid { now + PATIENCE * 10 } else { now });
        self.held.send_replace(Held { term, until, awaited: None });
    }

    async fn complain(&self, term: u64, names: std::ops::Range<usize>) {
        let kind = KINDS.iter().find(|kind| kind.plural == "services").expect("it is watched");
        for number in names {
            let name = format!("cart-{number}");
            let which = Which::of(kind, &Id { namespace: "shop".into(), name: name.as_str().into() });
            let (uid, version, status) = (name.as_str().into(), "1".into(), "".into());
            let entry = Entry { kind, served: "v1", uid, version, generation: None, status };
            let complaint = Complaint { which, entry, reason: Reason::Invalid, text: "no".to_owned() };
            self.complaints.send((term, complaint)).await.expect("somebody listens");
        }
    }

    fn written(&self) -> usize {
        self.server.written.load(Ordering::SeqCst)
    }

    /// Waits until so many are written.
    async fn has_written(&self, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.written() < count && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.written(), count);
    }
}

#[tokio::test]
async fn what_came_before_the_lease_lapsed_is_told_once_it_is_renewed() {
    let bench = Bench::new();
    bench.holds(1, true);
    bench.complain(1, 0..1).await;
    bench.has_written(1).await;
    bench.holds(1, false);
    bench.complain(1, 1..5).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.written(), 1, "nothing is written without the Lease");
    bench.holds(1, true);
    bench.has_written(5).await;
    // The control: what came in a term that is over is not told, for whoever has led since has told it.
    bench.holds(1, false);
    bench.complain(1, 5..9).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.holds(3, true);
    bench.complain(3, 9..10).await;
    bench.has_written(6).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.written(), 6);
}

/// While the API server takes none, the Lease lapses as well: nothing that was tried is forgotten.
#[tokio::test]
async fn what_was_not_taken_before_the_lease_lapsed_is_told_later() {
    let bench = Bench::new();
    bench.server.says.store(503, Ordering::SeqCst);
    bench.holds(1, true);
    bench.complain(1, 0..4).await;
    let until = Instant::now() + PATIENCE;
    while bench.server.asked.load(Ordering::SeqCst) < 4 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.holds(1, false);
    bench.server.says.store(201, Ordering::SeqCst);
    // The next try is due by then.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(bench.written(), 0, "the control: nothing was written yet");
    bench.holds(1, true);
    bench.has_written(4).await;
}
