//! The two directions of one gRPC stream: requests decoded from either wire form, responses as raw framed bytes.

use super::frames::Frames;
use super::refusal::Refusal;
use super::request::{Request, Wire};
use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use http::HeaderMap;
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstDecoder;

/// The largest request that is read, in bytes: 30,000 names of a large mesh make 8 MiB, and the usual default of 4 MiB has
/// caused outages.
pub const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// The requests of one stream.
pub enum Incoming {
    /// SotW requests.
    Sotw(Streaming<DiscoveryRequest>),
    /// Delta requests.
    Delta(Streaming<DeltaDiscoveryRequest>),
}

impl Incoming {
    /// Decodes the body of an HTTP/2 request.
    pub fn new(wire: Wire, body: Body) -> Self {
        let limit = Some(MAX_REQUEST);
        match wire {
            Wire::Sotw => Incoming::Sotw(Streaming::new_request(ProstDecoder::default(), body, None, limit)),
            Wire::Delta => Incoming::Delta(Streaming::new_request(ProstDecoder::default(), body, None, limit)),
        }
    }

    /// The next request; none when the client has finished. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Request>, Refusal> {
        let request = match self {
            Incoming::Sotw(requests) => requests.message().await.map(|request| request.map(Request::from)),
            Incoming::Delta(requests) => requests.message().await.map(|request| request.map(Request::from)),
        };
        request.map_err(|status| match status.code() {
            // What tonic calls a message beyond the limit.
            Code::OutOfRange | Code::ResourceExhausted => Refusal::TooLarge(status.message().to_owned()),
            _ => Refusal::Garbage(status.message().to_owned()),
        })
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
/// sent yet can still be replaced by something newer.
#[derive(Debug)]
pub struct ResponseBody {
    outgoing: mpsc::Receiver<Outgoing>,
    current: Frames,
}

impl ResponseBody {
    /// A body, and the sender that feeds it.
    pub fn channel() -> (mpsc::Sender<Outgoing>, Self) {
        let (sender, outgoing) = mpsc::channel(1);
        (sender, Self { outgoing, current: Frames::default() })
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
            match ready!(self.outgoing.poll_recv(cx)) {
                Some(Outgoing::Message(frames)) => self.current = frames,
                Some(Outgoing::End(status)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers(&status))))),
                None => return Poll::Ready(None),
            }
        }
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    status.add_header(&mut headers).expect("a percent-encoded message is a valid header");
    headers
}
