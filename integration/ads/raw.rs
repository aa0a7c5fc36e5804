//! HTTP/2 by hand, for who keeps to no rules: frames are written as they are said, and read no further than to what they are.
#![allow(dead_code, reason = "each test that reads it uses a part")]

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types of frames.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
/// Flags of frames.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a short frame").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The code of a reset, or of a farewell; of anything else none.
    pub fn code(&self) -> Option<u8> {
        match self.kind {
            RESET => self.payload.get(3).copied(),
            GOAWAY => self.payload.get(7).copied(),
            _ => None,
        }
    }
}

/// Headers, each written out, none known by a number.
pub fn block(headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for part in [name.as_bytes(), value] {
            // Lengths of seven bits, or 127 and what is more than that.
            match part.len() {
                length @ 0..127 => block.push(length as u8),
                length => {
                    block.push(127);
                    let mut rest = length - 127;
                    while rest >= 128 {
                        block.push((rest % 128) as u8 | 128);
                        rest /= 128;
                    }
                    block.push(rest as u8);
                }
            }
            block.extend(part);
        }
    }
    block
}

/// The headers of a call, with more behind them.
pub fn call(path: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let own: [(&str, &[u8]); 6] = [
        (":method", b"POST"),
        (":scheme", b"http"),
        (":path", path),
        (":authority", b"chancery"),
        ("content-type", b"application/grpc"),
        ("te", b"trailers"),
    ];
    block(&[&own, more].concat())
}

/// A connection.
pub struct Raw<S> {
    socket: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// One that has begun as it should.
    pub async fn begin(socket: S) -> Self {
        let mut raw = Self { socket };
        raw.write(&[PREFACE, &Frame::new(SETTINGS, 0, 0, &[]).bytes()].concat()).await;
        raw
    }

    /// Writes as long as the other end takes it; whether it has taken all.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = tokio::time::timeout(PATIENCE, self.socket.write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    pub async fn send(&mut self, frame: &Frame) -> bool {
        self.write(&frame.bytes()).await
    }

    /// The next frame; none at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.socket.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.socket.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a frame or an end in time")
    }

    /// All frames until one is what is looked for, that one included, or until the end.
    pub async fn until(&mut self, found: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
            if frames.last().is_some_and(&found) {
                break;
            }
        }
        frames
    }
}
