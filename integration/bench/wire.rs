//! HTTP/2 and gRPC as far as one long stream with large windows needs them, for the fleet and for the floor.
//!
//! Bytes come in as they are read and leave as messages and control frames; a message that arrives in one piece is not
//! copied. Headers are not understood: each side knows what the other says. Never meant for anything but a benchmark.

use chancery::snapshot::wire::{field_len, fields, put_field, put_head};

/// What a client says first on a connection.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types (RFC 9113, section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
/// Flags: an answer to settings or a ping, the end of a stream, the end of headers.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// The one stream of a connection.
pub const STREAM: u32 = 1;
/// The largest payload of a frame, unless agreed otherwise.
pub const FRAME: usize = 16_384;
/// The window everybody starts with, and the largest there can be.
pub const WINDOW: u32 = 65_535;
pub const LARGEST: u32 = (1 << 31) - 1;

const HEAD: usize = 9;
const PREFIX: usize = 5;

/// Appends a frame.
pub fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a frame is small");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends frames that open the windows of a connection and of the streams to come as far as possible.
pub fn put_windows(out: &mut Vec<u8>) {
    let mut setting = 4u16.to_be_bytes().to_vec();
    setting.extend_from_slice(&LARGEST.to_be_bytes());
    put_frame(out, SETTINGS, 0, 0, &setting);
    put_frame(out, WINDOW_UPDATE, 0, 0, &(LARGEST - WINDOW).to_be_bytes());
}

/// A gRPC message: prefix and content.
pub fn message(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + content.len());
    out.push(0);
    out.extend_from_slice(&u32::try_from(content.len()).expect("below 4 GiB").to_be_bytes());
    out.extend_from_slice(content);
    out
}

/// A gRPC message in as many DATA frames as it takes.
pub fn framed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message(content).chunks(FRAME).for_each(|chunk| put_frame(&mut out, DATA, 0, STREAM, chunk));
    out
}

/// What has arrived.
pub enum Piece<'a> {
    /// The content of a gRPC message.
    Message(&'a [u8]),
    /// A frame that carries none.
    Control(Control<'a>),
}

/// A frame that carries no message.
pub struct Control<'a> {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: &'a [u8],
}

/// Takes a connection's bytes apart. Idle, it holds nothing.
#[derive(Default)]
pub struct Reader {
    head: Vec<u8>,
    /// The payload still to come of the frame whose head is there.
    left: usize,
    control: Vec<u8>,
    message: Vec<u8>,
}

impl Reader {
    /// Takes what was read.
    pub fn read(&mut self, mut input: &[u8], on: &mut impl FnMut(Piece<'_>)) {
        loop {
            if self.head.len() < HEAD {
                let (head, rest) = input.split_at(input.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(head);
                input = rest;
                let [a, b, c, ..] = self.head[..] else { return };
                if self.head.len() < HEAD {
                    return;
                }
                self.left = u32::from_be_bytes([0, a, b, c]) as usize;
            }
            let (payload, rest) = input.split_at(input.len().min(self.left));
            (input, self.left) = (rest, self.left - payload.len());
            let (kind, flags) = (self.head[3], self.head[4]);
            if kind == DATA {
                self.content(payload, on);
            } else {
                self.control.extend_from_slice(payload);
            }
            if self.left > 0 {
                return;
            }
            if kind != DATA {
                let stream = u32::from_be_bytes(self.head[5..HEAD].try_into().expect("four bytes"));
                on(Piece::Control(Control { kind, flags, stream, payload: &self.control }));
            } else if flags & END_STREAM != 0 {
                on(Piece::Control(Control { kind: RST_STREAM, flags: 0, stream: STREAM, payload: &[] }));
            }
            (self.head, self.control) = (Vec::new(), Vec::new());
        }
    }

    fn content(&mut self, mut input: &[u8], on: &mut impl FnMut(Piece<'_>)) {
        while self.message.is_empty() {
            let Some(length) = length(input) else { break };
            let Some(content) = input.get(PREFIX..PREFIX + length) else { break };
            on(Piece::Message(content));
            input = &input[PREFIX + length..];
        }
        self.message.extend_from_slice(input);
        let mut start = 0;
        while let Some(length) = length(&self.message[start..])
            && let Some(content) = self.message.get(start + PREFIX..start + PREFIX + length)
        {
            on(Piece::Message(content));
            start += PREFIX + length;
        }
        if start == self.message.len() {
            self.message = Vec::new();
        } else {
            self.message.drain(..start);
        }
    }
}

fn length(input: &[u8]) -> Option<usize> {
    let prefix: [u8; 4] = input.get(1..PREFIX)?.try_into().ok()?;
    Some(u32::from_be_bytes(prefix) as usize)
}

/// The wire form of discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Form {
    Delta,
    Sotw,
}

impl Form {
    /// The method called.
    pub fn path(self) -> &'static str {
        match self {
            Form::Delta => "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
            Form::Sotw => "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        }
    }
}

/// A response, as far as a client that answers it has to look. Bodies are not decoded.
#[derive(Default, Debug)]
pub struct Response<'a> {
    pub type_url: &'a str,
    pub version: &'a str,
    pub nonce: &'a str,
    /// Name, version and body of each resource; in SotW the version is empty.
    pub resources: Vec<(&'a str, &'a str, &'a [u8])>,
    pub removed: Vec<&'a str>,
}

impl<'a> Response<'a> {
    /// Walks the fields of a response of that form.
    pub fn read(form: Form, content: &'a [u8]) -> Self {
        let mut response = Self::default();
        for field in fields(content) {
            let field = field.expect("the server sends well-formed messages");
            let value = &content[field.content];
            match (field.number, form) {
                (1, _) => response.version = text(value),
                (2, Form::Delta) => response.resources.push((string(value, 3), string(value, 1), part(value, 2))),
                (2, Form::Sotw) => response.resources.push((string(part(value, 2), 1), "", value)),
                (4, _) => response.type_url = text(value),
                (5, _) => response.nonce = text(value),
                (6, Form::Delta) => response.removed.push(text(value)),
                _ => {}
            }
        }
        response
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("names are text")
}

/// The content of the first field of that number; empty if there is none.
pub fn part(message: &[u8], number: u32) -> &[u8] {
    let mut found = fields(message).map_while(|field| field).filter(|field| field.number == number);
    found.next().map_or(&[], |field| &message[field.content])
}

fn string(message: &[u8], number: u32) -> &str {
    text(part(message, number))
}

/// The parts of a request.
#[derive(Default)]
pub struct Request<'a> {
    pub node: &'a [u8],
    pub type_url: &'a str,
    pub nonce: &'a str,
    /// SotW only.
    pub version: &'a str,
    /// Names asked for in addition; in SotW all of them; encoded with [`names`].
    pub names: &'a [u8],
    pub unsubscribe: &'a [&'a str],
    pub error: bool,
}

/// Names as a request of either form carries them.
pub fn names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    names.for_each(|name| put_field(&mut out, 3, name.as_bytes()));
    out
}

/// Names with the versions a client holds, as a first request on a new Delta stream carries them.
pub fn held<'a>(held: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, version) in held {
        put_head(&mut out, 5, field_len(1, name.len()) + field_len(2, version.len()));
        put_field(&mut out, 1, name.as_bytes());
        put_field(&mut out, 2, version.as_bytes());
    }
    out
}

impl Request<'_> {
    /// The gRPC message.
    pub fn message(&self, form: Form) -> Vec<u8> {
        // Field numbers of node, type, nonce and error.
        let [node, type_url, nonce, error] = match form {
            Form::Delta => [1, 2, 6, 7],
            Form::Sotw => [2, 4, 5, 6],
        };
        let mut out = vec![0; PREFIX];
        let mut put = |number, content: &[u8]| {
            if !content.is_empty() {
                put_field(&mut out, number, content);
            }
        };
        put(node, self.node);
        put(type_url, self.type_url.as_bytes());
        put(nonce, self.nonce.as_bytes());
        if form == Form::Sotw {
            put(1, self.version.as_bytes());
        }
        if self.error {
            let mut status = Vec::new();
            put_field(&mut status, 2, b"rejected on purpose");
            put(error, &status);
        }
        self.unsubscribe.iter().for_each(|name| put(4, name.as_bytes()));
        out.extend_from_slice(self.names);
        let length = u32::try_from(out.len() - PREFIX).expect("below 4 GiB");
        out[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        out
    }
}

/// The headers that open a stream: each name and value spelled out, none remembered (RFC 7541, section 6.2.2); with a
/// token, over TLS.
pub fn opening(form: Form, token: Option<&str>) -> Vec<u8> {
    // `:method: POST`, and `:scheme: http` or `https`, by their places in the static table.
    let mut block = vec![0x83, if token.is_some() { 0x87 } else { 0x86 }];
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers =
        [(":path", form.path()), (":authority", "chancery"), ("content-type", "application/grpc"), ("te", "trailers")];
    for (name, value) in headers.into_iter().chain(bearer.as_deref().map(|bearer| ("authorization", bearer))) {
        block.push(0);
        [name, value].iter().for_each(|text| put_text(&mut block, text));
    }
    let mut out = Vec::new();
    put_frame(&mut out, HEADERS, END_HEADERS, STREAM, &block);
    out
}

/// Appends a text of a header as it is, its length in front as a number with a prefix of seven bits (RFC 7541, sections
/// 5.1 and 5.2).
fn put_text(block: &mut Vec<u8>, text: &str) {
    const FULL: usize = 127;
    match text.len().checked_sub(FULL) {
        None => block.push(text.len() as u8),
        Some(mut rest) => {
            block.push(FULL as u8);
            while rest > FULL {
                block.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            block.push(rest as u8);
        }
    }
    block.extend_from_slice(text.as_bytes());
}

/// The headers with which a server answers: `:status: 200` by its place in the static table.
pub fn answering() -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, HEADERS, END_HEADERS, STREAM, &[0x88]);
    out
}
