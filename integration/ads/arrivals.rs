//! Requests that begin to arrive and do not end: what they take of the room there is, and for how long.

use bytes::Bytes;
use chancery::model::identity::BoundPod;
use chancery::xds::channel::{Heard, Incoming};
use chancery::xds::refusal::Refusal;
use chancery::xds::request::Wire;
use chancery::xds::shares::{Client, Part, Shares};
use http_body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The largest request that is read.
const LIMIT: usize = 1 << 20;
/// What a frame brings.
const FRAME: usize = 16 << 10;
/// How many frames are read of what there is no room for.
const FEW: usize = 6;
/// Half of the largest request, in frames.
const HALF: usize = 32;
/// As long as anybody is watched who waits for room.
const WHILE: Duration = Duration::from_secs(5);

/// Frames that begin a request of a stated size, and what was read of them; after them nothing comes.
struct Frames {
    size: usize,
    left: usize,
    read: Arc<AtomicUsize>,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        self.left -= 1;
        let mut bytes = vec![0; FRAME];
        if self.read.fetch_add(1, Ordering::Relaxed) == 0 {
            bytes[1..5].copy_from_slice(&u32::try_from(self.size).expect("a small number").to_be_bytes());
        }
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }
}

/// A stream that is read.
struct Reading {
    incoming: Incoming<Frames>,
    read: Arc<AtomicUsize>,
    _part: Part,
}

impl Reading {
    fn new(shares: &Shares, client: Option<Client>, size: usize, frames: usize) -> Self {
        let (part, read) = (shares.part(client).expect("few streams"), Arc::<AtomicUsize>::default());
        let body = Frames { size, left: frames, read: read.clone() };
        Self { incoming: Incoming::new(Wire::Delta, body, LIMIT, part.arrival()), read, _part: part }
    }

    /// How many frames are read in a while.
    async fn go_on(&mut self) -> usize {
        assert!(timeout(WHILE, self.incoming.next()).await.is_err(), "it is not whole");
        self.read.load(Ordering::Relaxed)
    }
}

fn pod(number: usize) -> Option<Client> {
    let name = format!("p{number}");
    Some(Client::Pod("shop".into(), BoundPod { name: name.as_str().into(), uid: name.into() }))
}

/// A client has room for one large request, however many streams it has. Another client has its own, and when the first is gone the
/// next is read on.
#[tokio::test(start_paused = true)]
async fn one_client_has_room_for_one_large_request() {
    let shares = Shares::new(LIMIT);
    let mut first = Reading::new(&shares, pod(1), LIMIT, HALF);
    assert_eq!(first.go_on().await, HALF);
    let mut second = Reading::new(&shares, pod(1), LIMIT, HALF);
    assert_eq!(second.go_on().await, FEW);
    let mut other = Reading::new(&shares, pod(2), LIMIT, HALF);
    assert_eq!(other.go_on().await, HALF);
    drop(first);
    assert_eq!(second.go_on().await, HALF);
}

/// All together have room for eight. What is small takes none, and nobody in particular has no share but takes of what is for all.
#[tokio::test(start_paused = true)]
async fn what_arrives_has_a_bound() {
    let shares = Shares::new(LIMIT);
    let mut eight: Vec<_> =
        (0..8).map(|number| Reading::new(&shares, pod(number).filter(|_| number > 1), LIMIT, HALF)).collect();
    for reading in &mut eight {
        assert_eq!(reading.go_on().await, HALF);
    }
    let mut ninth = Reading::new(&shares, pod(9), LIMIT, HALF);
    assert_eq!(ninth.go_on().await, FEW);
    let mut small = Reading::new(&shares, pod(10), FEW * FRAME - 5, FEW);
    let heard = timeout(WHILE, small.incoming.next()).await.expect("it is whole");
    assert!(matches!(heard, Heard::Refused(Refusal::Garbage(_))), "zeros are no request");
    eight.pop();
    assert_eq!(ninth.go_on().await, HALF);
}

/// Who begins and does not end is refused when the time for a request of that size is over, and has given back its room. The control:
/// who has not begun may be silent for as long as it likes.
#[tokio::test(start_paused = true)]
async fn what_has_begun_has_to_end() {
    let shares = Shares::new(LIMIT);
    let mut silent = Reading::new(&shares, pod(1), LIMIT, 0);
    assert!(timeout(Duration::from_secs(3600), silent.incoming.next()).await.is_err());
    let mut slow = Reading::new(&shares, pod(1), LIMIT, HALF);
    let since = Instant::now();
    let Heard::Refused(Refusal::Silent(time)) = slow.incoming.next().await else { panic!("it is refused") };
    assert_eq!((time, since.elapsed()), (Duration::from_secs(64), time));
    drop(slow);
    let mut next = Reading::new(&shares, pod(1), LIMIT, HALF);
    assert_eq!(next.go_on().await, HALF);
}

/// Of clients that are gone nothing is kept.
#[tokio::test(start_paused = true)]
async fn who_is_gone_is_forgotten() {
    let shares = Shares::new(LIMIT);
    let parts: Vec<_> = (0..20).map(|number| shares.part(pod(number / 2)).expect("few streams")).collect();
    assert_eq!(shares.clients(), 10);
    drop(parts);
    assert_eq!(shares.clients(), 0);
}
