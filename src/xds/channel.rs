//! The two directions of one gRPC stream: requests decoded from either wire form, responses as raw framed bytes.
//!
//! Between two requests nothing is kept of the first: a stream that is idle has no buffer.

use super::frames::{Frames, PREFIX};
use super::refrain::Refrain;
use super::refusal::{Large, Refusal};
use super::request::{Request, Wire};
use super::shares::{self, Arrival};
use super::{delta, sotw};
use crate::snapshot::wire::fields;
use bytes::{Bytes, BytesMut};
use envoy_types::pb::envoy::config::core::v3::Node;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt;
use prost::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

/// How large a request is at most for which room is made before it has arrived.
const LIKELY: usize = 512 * 1024;
/// How much arrives at once at most, in bytes: a frame of HTTP/2, as this server lets others send them.
const FRAME: usize = 16 * 1024;
/// How much of a request that is too large is read to find out who sent it.
const NODE_WITHIN: usize = 64 * 1024;

/// The requests of one stream.
pub struct Incoming<B = hyper::body::Incoming> {
    wire: Wire,
    limit: usize,
    body: B,
    pending: BytesMut,
    arrival: Arrival,
    refrain: Refrain,
}

/// What came of reading on.
enum Read {
    /// There is more than before.
    More,
    /// The client has nothing more to say.
    End,
    /// It is gone.
    Gone,
    /// What has begun was not whole within that time.
    Late(Duration),
}

/// What a client says next.
pub enum Heard {
    /// A request, and its size in bytes.
    Request(Box<Request>, usize),
    /// It has finished.
    Finished,
    /// It is gone.
    Gone,
    /// What it says can't be taken.
    Refused(Refusal),
}

impl<B: http_body::Body<Data = Bytes> + Unpin> Incoming<B> {
    /// Decodes the body of an HTTP/2 request, whose messages have at most `limit` bytes and arrive as there is room.
    pub fn new(wire: Wire, body: B, limit: usize, arrival: Arrival) -> Self {
        Self { wire, limit, body, pending: BytesMut::new(), arrival, refrain: Refrain::default() }
    }

    /// Waits until the client has said anything, or gone. Cancel safe.
    pub async fn begun(&mut self) {
        if self.pending.is_empty() {
            // What is wrong with the stream is found by whoever reads on.
            _ = self.more().await;
        }
    }

    /// What the client says next. Cancel safe.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.message() {
                Ok(Some((request, size))) => return Heard::Request(request, size),
                Ok(None) => {}
                Err(Refusal::TooLarge(large)) => return Heard::Refused(self.too_large(large).await),
                Err(refusal) => return Heard::Refused(refusal),
            }
            match self.more().await {
                Read::More => {}
                Read::Gone => return Heard::Gone,
                Read::Late(time) => return Heard::Refused(Refusal::Silent(time)),
                // A connection that ends under the stream, as one that is silent does, ends the body without its last word.
                Read::End if !self.body.is_end_stream() => return Heard::Gone,
                Read::End if self.pending.is_empty() => return Heard::Finished,
                Read::End => return Heard::Refused(Refusal::Garbage("it ends too early".into())),
            }
        }
    }

    /// Reads on: what has begun is read as there is room, and has its time.
    async fn more(&mut self) -> Read {
        if self.pending.is_empty() {
            let frame = self.body.frame().await;
            return self.keep(frame);
        }
        let (size, next) = (self.size().min(self.limit), self.pending.len() + FRAME);
        let ends = self.arrival.ends(size);
        let read = async {
            self.arrival.room_for(size, next).await;
            self.body.frame().await
        };
        match tokio::time::timeout_at(ends, read).await {
            Ok(frame) => self.keep(frame),
            Err(_) => Read::Late(shares::time(size)),
        }
    }

    fn keep(&mut self, frame: Option<Result<Frame<Bytes>, B::Error>>) -> Read {
        match frame {
            None => Read::End,
            Some(Err(_)) => Read::Gone,
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.make_room(data.len());
                    self.pending.extend_from_slice(&data);
                }
                Read::More
            }
        }
    }

    /// How large the message is that has begun to arrive, as it says itself; nothing, if it has not said so yet.
    fn size(&self) -> usize {
        self.pending.get(1..PREFIX).map_or(0, |size| size.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    /// Makes room for the rest of the message that has begun to arrive, so that it is not moved again and again; not for
    /// more than is likely, because whoever says what comes may never send it.
    fn make_room(&mut self, arrives: usize) {
        let Some((_, content)) = self.pending.split_at_checked(PREFIX) else { return };
        let rest = self.size().min(LIKELY).saturating_sub(content.len());
        self.pending.reserve(rest.max(arrives));
    }

    /// Takes the message that has arrived whole.
    fn message(&mut self) -> Result<Option<(Box<Request>, usize)>, Refusal> {
        let Some((prefix, content)) = self.pending.split_at_checked(PREFIX) else { return Ok(None) };
        if prefix[0] != 0 {
            return Err(Refusal::Garbage("it is compressed, or no gRPC".into()));
        }
        let size = self.size();
        if size > self.limit {
            return Err(Refusal::TooLarge(Large { what: "request", size, limit: self.limit, node: String::new() }));
        }
        if content.len() < size {
            return Ok(None);
        }
        let message = if content.len() == size {
            std::mem::take(&mut self.pending).freeze()
        } else {
            self.pending.split_to(PREFIX + size).freeze()
        };
        let message = message.slice(PREFIX..);
        self.arrival.is_over();
        let request = match self.wire {
            Wire::Sotw => sotw::read_next(&message, &mut self.refrain),
            Wire::Delta => delta::read(&message),
        };
        let request = request.map_err(|error| Refusal::Garbage(error.to_string()))?;
        Ok(Some((Box::new(request), size)))
    }

    /// A first request says who sends it near its beginning.
    async fn too_large(&mut self, large: Large) -> Refusal {
        let enough = NODE_WITHIN.min(PREFIX + large.size);
        while self.pending.len() < enough && matches!(self.more().await, Read::More) {}
        let number = match self.wire {
            Wire::Sotw => 2,
            Wire::Delta => 1,
        };
        let content = self.pending.get(PREFIX..).unwrap_or_default();
        let node = fields(content).map_while(|field| field).find(|field| field.number == number);
        let node = node.and_then(|field| Node::decode(&content[field.content]).ok());
        Refusal::TooLarge(Large { node: node.map(|node| node.id).unwrap_or_default(), ..large })
    }
}

/// What a stream writes: messages, then one end.
#[derive(Debug)]
pub enum Outgoing {
    /// A framed message.
    Message(Frames),
    /// The status that ends the stream.
    End(Status),
}

/// The body of the HTTP/2 response. It takes one message at a time from the stream's loop, so that what the loop has not
/// sent yet can still be replaced by something newer. The default is empty: a status that ends a stream at once.
#[derive(Debug, Default)]
pub struct ResponseBody {
    outgoing: Option<mpsc::Receiver<Outgoing>>,
    current: Frames,
}

impl ResponseBody {
    /// A body, and the sender that feeds it.
    pub fn channel() -> (mpsc::Sender<Outgoing>, Self) {
        let (sender, outgoing) = mpsc::channel(1);
        (sender, Self { outgoing: Some(outgoing), current: Frames::default() })
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(bytes) = self.current.next_chunk() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(outgoing) = &mut self.outgoing else { return Poll::Ready(None) };
            match ready!(outgoing.poll_recv(cx)) {
                Some(Outgoing::Message(frames)) => self.current = frames,
                Some(Outgoing::End(status)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers(&status))))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.outgoing.is_none()
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    status.add_header(&mut headers).expect("a percent-encoded message is a valid header");
    headers
}
