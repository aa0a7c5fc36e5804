//! The board: seats wait until their proxy is placed and computed for, follow it when it moves, and skip states they
//! were too slow to see.

use chancery::model::audience::{Audience, Interception, Placement, ProxyFacts, Subject, Workload};
use chancery::model::provenance::{ObjectKey, ObjectKind};
use chancery::snapshot::bell::Bell;
use chancery::snapshot::board::{Board, KEPT, MOST_FORMS, MOST_KEPT, Posted, Seat, Seats};
use chancery::snapshot::interest::{Interest, Wanted};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::names::NameSet;
use chancery::snapshot::resource::Resource;
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::rarely::Rarely;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

fn facts() -> ProxyFacts {
    ProxyFacts::new("shop".into(), "client".into(), Interception::default())
}

fn sit(board: &Arc<Board>, facts: ProxyFacts) -> Seat {
    board.join(facts).expect("there is room")
}

fn placement(sidecar: Option<&str>) -> Placement {
    let audience = Audience::of_everyone_in("shop".into());
    let sidecar =
        sidecar.map(|name| ObjectKey { kind: ObjectKind::Sidecar, namespace: "shop".into(), name: name.into() });
    Placement { audience, workload: Workload { sidecar, ..Workload::plain("shop".into()) } }
}

fn layer(name: &str) -> Arc<Layer> {
    let mut layer = Layer::default();
    layer.insert(Arc::new(Resource::opaque(Kind::Cluster, name, name.as_bytes(), vec![])));
    Arc::new(layer)
}

fn post(board: &Board, placement: &Placement, outbound: &str, since: Option<Instant>) {
    board.post(&Subject::Audience(placement.audience.clone()), Posted { layer: layer(outbound), since });
    board.post(&Subject::Workload(placement.workload.clone()), Posted { layer: Arc::default(), since });
}

/// The snapshot that is ready now, if any.
fn ready(seat: &mut Seat) -> Option<Snapshot> {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(seat.changed()).poll(&mut context) {
        Poll::Ready(snapshot) => Some(snapshot),
        Poll::Pending => None,
    }
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.iter(Kind::Cluster).map(|resource| resource.name().to_string()).collect()
}

#[test]
fn a_seat_waits_for_place_and_posts() {
    let board = Arc::new(Board::default());
    let mut seat = sit(&board, facts());
    assert!(ready(&mut seat).is_none(), "not placed");
    assert!(!seat.is_placed());
    board.place(&facts(), Some(placement(None)));
    assert!(ready(&mut seat).is_none(), "placed, but nothing posted");
    post(&board, &placement(None), "one", None);
    assert_eq!(names(&ready(&mut seat).expect("posted")), ["one"]);
    assert!(ready(&mut seat).is_none(), "nothing new");
}

#[test]
fn a_slow_seat_sees_the_newest_only() {
    let board = Arc::new(Board::default());
    let mut seat = sit(&board, facts());
    board.place(&facts(), Some(placement(None)));
    for name in ["one", "two", "three"] {
        post(&board, &placement(None), name, None);
    }
    assert_eq!(names(&ready(&mut seat).expect("posted")), ["three"]);
    assert!(ready(&mut seat).is_none());
}

#[test]
fn a_seat_follows_its_proxy() {
    let board = Arc::new(Board::default());
    let mut seat = sit(&board, facts());
    post(&board, &placement(None), "one", None);
    board.place(&facts(), Some(placement(None)));
    assert!(ready(&mut seat).is_some());
    let moved = placement(Some("ingress"));
    board.post(&Subject::Workload(moved.workload.clone()), Posted { layer: layer("inbound"), since: None });
    board.place(&facts(), Some(moved));
    assert_eq!(names(&ready(&mut seat).expect("moved")), ["one", "inbound"]);
    board.place(&facts(), None);
    assert!(ready(&mut seat).is_none(), "a lost Pod takes nothing away");
}

#[test]
fn only_what_changes_under_a_seat_is_late() {
    let board = Arc::new(Board::default());
    let long_ago = Instant::now();
    post(&board, &placement(None), "one", Some(long_ago));
    board.place(&facts(), Some(placement(None)));
    let mut seat = sit(&board, facts());
    board.place(&facts(), Some(placement(None)));
    assert_eq!(ready(&mut seat).expect("posted").since, None, "it was there before");
    let now = Instant::now();
    board.post(&Subject::Audience(placement(None).audience), Posted { layer: layer("two"), since: Some(now) });
    assert_eq!(ready(&mut seat).expect("posted").since, Some(now));
}

/// A layer with endpoints of these names and contents.
fn endpoints(contents: &[(&str, &str)]) -> Layer {
    let mut layer = Layer::default();
    for (name, content) in contents {
        layer.insert(Arc::new(Resource::opaque(Kind::Endpoint, name, content.as_bytes(), vec![])));
    }
    layer
}

fn names_of(names: &[&str]) -> Interest {
    let mut wanted = NameSet::default();
    names.iter().for_each(|name| _ = wanted.insert((*name).into()));
    Interest::new(|kind| if kind == Kind::Endpoint { Wanted::Names(wanted.clone()) } else { Wanted::Nothing })
}

#[test]
fn only_who_wants_what_differs_is_woken() {
    let board = Arc::new(Board::default());
    let audience = Subject::Audience(placement(None).audience);
    let first = Arc::new(endpoints(&[("a", "1"), ("b", "1")]));
    board.post(&audience, Posted { layer: first.clone(), since: None });
    board.post(&Subject::Workload(placement(None).workload), Posted { layer: Arc::default(), since: None });
    let wants = |interest: Interest| {
        let mut seat = sit(&board, facts());
        board.place(&facts(), Some(placement(None)));
        assert!(ready(&mut seat).is_some(), "whatever it wants, it is told where it is");
        seat.wants(interest);
        assert!(ready(&mut seat).is_none());
        seat
    };
    let everything = || Interest::new(|_| Wanted::Everything);
    let mut seats =
        [wants(names_of(&["a", "c"])), wants(names_of(&["b"])), wants(everything()), wants(Interest::default())];
    let mut woken = |contents: &[(&str, &str)], before: &Arc<Layer>| {
        let layer = endpoints(contents).posted_after(before);
        board.post(&audience, Posted { layer: layer.clone(), since: None });
        (seats.each_mut().map(|seat| ready(seat).is_some()), layer)
    };
    let (told, second) = woken(&[("a", "2"), ("b", "1")], &first);
    assert_eq!(told, [true, false, true, false]);
    let (told, third) = woken(&[("a", "2"), ("b", "1"), ("c", "1")], &second);
    assert_eq!(told, [true, false, true, false], "it did not exist before");
    assert_eq!(woken(&[("a", "2"), ("b", "1"), ("c", "1")], &third).0, [false; 4], "nothing differs");
    // The control: a layer that does not say how it differs concerns everyone.
    assert_eq!(woken(&[("b", "2")], &first).0, [true; 4]);
}

#[test]
fn who_wants_something_else_finds_what_was_missed() {
    let board = Arc::new(Board::default());
    let audience = Subject::Audience(placement(None).audience);
    let first = Arc::new(endpoints(&[("a", "1")]));
    board.post(&audience, Posted { layer: first.clone(), since: None });
    board.post(&Subject::Workload(placement(None).workload), Posted { layer: Arc::default(), since: None });
    let mut seat = sit(&board, facts());
    assert!(seat.newer().is_none(), "nothing is placed yet");
    board.place(&facts(), Some(placement(None)));
    assert!(ready(&mut seat).is_some());
    let second = endpoints(&[("a", "2")]).posted_after(&first);
    board.post(&audience, Posted { layer: second, since: None });
    assert!(ready(&mut seat).is_none(), "it wants nothing");
    seat.wants(names_of(&["a"]));
    assert!(ready(&mut seat).is_some(), "what it wants is another than it has seen");
    let third = endpoints(&[("b", "1")]);
    board.post(&audience, Posted { layer: Arc::new(third), since: None });
    assert!(seat.newer().is_some() && seat.newer().is_none() && ready(&mut seat).is_none(), "taken without waiting");
}

#[test]
fn news_tell_who_came_and_went() {
    let board = Arc::new(Board::default());
    let (now, later) = (Instant::now(), || Instant::now() + KEPT);
    let first = sit(&board, facts());
    let second = sit(&board, facts());
    assert_eq!((board.news(now), board.seated()), (Seats { joined: [facts()].into(), left: [].into() }, 1));
    drop(first);
    assert_eq!((board.news(later()), board.seated()), (Seats::default(), 1));
    drop(second);
    assert_eq!((board.news(now), board.seated()), (Seats::default(), 0), "it may come back");
    assert!(board.kept_until().is_some_and(|until| until > now && until <= later()));
    assert_eq!(board.news(later()), Seats { joined: [].into(), left: [facts()].into() });
    assert_eq!((board.news(later()), board.kept_until()), (Seats::default(), None));
    let again = sit(&board, facts());
    assert_eq!(board.news(now), Seats { joined: [facts()].into(), left: [].into() }, "to be placed again");
    drop(again);
    assert_eq!(board.news(later()), Seats { joined: [].into(), left: [facts()].into() });
}

#[test]
fn who_comes_back_finds_the_place_kept() {
    let board = Arc::new(Board::default());
    post(&board, &placement(None), "one", None);
    let seat = sit(&board, facts());
    board.place(&facts(), Some(placement(None)));
    drop(seat);
    let mut again = sit(&board, facts());
    assert!(ready(&mut again).is_some(), "nobody has to place it again");
    drop(again);
    let seat = sit(&board, facts());
    assert_eq!(board.news(Instant::now() + KEPT).left, [].into(), "it was away, but is back");
    drop(seat);
    // The control: kept for no longer.
    assert_eq!(board.news(Instant::now() + KEPT).left, [facts()].into());
    assert!(ready(&mut sit(&board, facts())).is_none());
}

#[test]
fn only_so_many_places_are_kept() {
    let board = Arc::new(Board::default());
    for number in 0..MOST_KEPT + 2 {
        drop(sit(&board, ProxyFacts::new("shop".into(), format!("p{number}").into(), Interception::default())));
    }
    let news = board.news(Instant::now());
    let gone: Vec<_> = news.left.iter().map(|facts| facts.pod.to_string()).collect();
    assert_eq!((gone, news.joined.len()), (vec!["p0".into(), "p1".into()], MOST_KEPT), "those who left first");
}

/// One that may say of itself what it likes makes no more than so many things to be computed. The controls: what is known already may
/// be said again, and another Pod has room of its own.
#[test]
fn a_pod_is_said_only_so_many_things_of() {
    let board = Arc::new(Board::default());
    let bound = |pod: &str, last: usize| {
        let bind = IpAddr::from([127, 0, 0, u8::try_from(last).expect("small")]);
        ProxyFacts::new("shop".into(), pod.into(), Interception::None { bind })
    };
    let seats: Vec<_> = (0..MOST_FORMS).map(|last| sit(&board, bound("b", last))).collect();
    for another in [bound("b", MOST_FORMS), ProxyFacts::new("shop".into(), "b".into(), Interception::Redirect)] {
        assert!(board.join(another).is_none());
    }
    for known in [bound("b", 0), bound("a", 0), bound("c", MOST_FORMS)] {
        sit(&board, known);
    }
    drop(seats);
    assert!(board.join(bound("b", MOST_FORMS)).is_none(), "what was computed is kept for a while");
    board.news(Instant::now() + KEPT);
    sit(&board, bound("b", MOST_FORMS));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_bell_is_heard_once_and_wakes_who_listens() {
    let (bell, counted) = (Bell::default(), Arc::new(Counted::default()));
    let waker = Waker::from(counted.clone());
    let heard = || bell.poll_heard(&Context::from_waker(&waker)).is_ready();
    bell.ring();
    assert!(heard() && !heard(), "rung before anybody listened");
    assert_eq!(counted.0.load(Ordering::Relaxed), 0);
    bell.ring();
    bell.ring();
    assert_eq!(counted.0.load(Ordering::Relaxed), 1, "who is awake is not woken");
    assert!(heard() && !heard());
    bell.ring();
    bell.silence();
    assert!(!heard());
}

#[test]
fn what_is_rare_is_polled_only_when_it_asks() {
    let (polls, (sender, mut receiver)) = (AtomicUsize::new(0), tokio::sync::mpsc::channel::<()>(1));
    let inner = poll_fn(|context| {
        polls.fetch_add(1, Ordering::Relaxed);
        receiver.poll_recv(context)
    });
    let inner = pin!(inner);
    let (mut rare, mut context) = (Rarely::new(inner), Context::from_waker(Waker::noop()));
    for _ in 0..3 {
        assert!(pin!(&mut rare).poll(&mut context).is_pending());
    }
    assert_eq!(polls.load(Ordering::Relaxed), 1);
    sender.try_send(()).expect("room");
    assert_eq!(pin!(&mut rare).poll(&mut context), Poll::Ready(Some(())));
}

/// What is wanted of the outbound half says nothing of the inbound one: that is still told of, whoever wants what.
#[test]
fn wanting_something_else_outbound_loses_nothing_inbound() {
    let board = Arc::new(Board::default());
    let mut seat = sit(&board, facts());
    board.place(&facts(), Some(placement(None)));
    post(&board, &placement(None), "one", None);
    assert!(ready(&mut seat).is_some());
    let clusters = |name: &str| {
        let mut names = NameSet::default();
        names.insert(name.into());
        Interest::new(|kind| if kind == Kind::Cluster { Wanted::Names(names.clone()) } else { Wanted::Nothing })
    };
    let inbound = |name: &str| {
        let subject = Subject::Workload(placement(None).workload);
        board.post(&subject, Posted { layer: layer(name), since: None });
    };
    for name in ["a", "b"] {
        seat.wants(clusters(name));
        assert!(ready(&mut seat).is_none(), "nothing is new");
        inbound(name);
        assert_eq!(names(&ready(&mut seat).expect("it is told")), ["one", name]);
    }
}
