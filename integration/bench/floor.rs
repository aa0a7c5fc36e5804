//! The floor: what it takes at least to put the same bytes on the same number of sockets and to read the answers.
//!
//! One thread, one encoding, one write per proxy; no subscriptions, no sessions, no flow control. It answers the first
//! requests of a client by their number, with messages recorded from the real server.

use super::role::{self, answer};
use super::wire::{ACK, Piece, Reader, SETTINGS, answering, framed, put_frame, put_windows};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

/// What the floor can be told.
#[derive(Serialize, Deserialize)]
pub enum Command {
    /// Answer first requests with the messages of this file, the n-th type asked for with the n-th message.
    Answers { file: PathBuf },
    /// Write the first message of this file to everybody.
    Push { file: PathBuf },
    /// Say what was used.
    Usage,
}

/// Where it listens; its first answer of all.
#[derive(Serialize, Deserialize)]
pub struct Listening {
    pub port: u16,
}

/// When something was begun, and what has been used by then.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Usage {
    pub at: u64,
    pub cpu: u64,
    pub rss_kb: u64,
}

impl Usage {
    pub fn now() -> Self {
        Self { at: role::now(), cpu: role::cpu(), rss_kb: role::memory().0 }
    }
}

/// Reads the messages of a file: each with its length in front.
pub fn recorded(file: &PathBuf) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).expect("the recording is there");
    let (mut rest, mut messages) = (&bytes[..], Vec::new());
    while let Some((length, more)) = rest.split_first_chunk::<8>() {
        let (message, more) = more.split_at(usize::try_from(u64::from_be_bytes(*length)).expect("it fits"));
        messages.push(message.to_vec());
        rest = more;
    }
    messages
}

/// Writes messages so that [`recorded`] finds them.
pub fn record(file: &PathBuf, messages: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(&(message.len() as u64).to_be_bytes());
        bytes.extend_from_slice(message);
    }
    std::fs::write(file, bytes).expect("the recording can be written");
}

const LISTENER: Token = Token(usize::MAX);
const COMMANDS: Token = Token(usize::MAX - 1);

/// Serves until there are no more commands.
pub fn run(commands: Box<dyn BufRead + Send>, mut answers: Box<dyn Write + Send>) {
    let poll = Poll::new().expect("epoll");
    let waker = Arc::new(Waker::new(poll.registry(), COMMANDS).expect("a waker"));
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for line in commands.lines().map_while(Result::ok) {
            _ = sender.send(serde_json::from_str(&line).expect("a command"));
            _ = waker.wake();
        }
        drop(sender);
        _ = waker.wake();
    });
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let port = listener.local_addr().expect("a bound port").port();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("epoll");
    answer(&mut answers, &Listening { port });
    Floor { poll, listener, connections: Vec::new(), first: Vec::new() }.serve(&received, &mut answers);
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    first: Vec<Arc<[u8]>>,
}

/// One client.
struct Connection {
    socket: TcpStream,
    reader: Reader,
    /// The preface still to be skipped.
    preface: usize,
    /// How many messages were received.
    heard: usize,
    /// What the socket did not take at once, and how much of its first it has.
    left: VecDeque<Arc<[u8]>>,
    written: usize,
}

impl Floor {
    fn serve(&mut self, commands: &mpsc::Receiver<Command>, answers: &mut impl Write) {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.expect("epoll"),
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    COMMANDS => loop {
                        match commands.try_recv() {
                            Ok(command) => self.command(command, answers),
                            Err(mpsc::TryRecvError::Empty) => break,
                            Err(mpsc::TryRecvError::Disconnected) => return,
                        }
                    },
                    Token(index) => {
                        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
                            continue;
                        };
                        if !connection.turn(&mut buffer, &self.first) {
                            self.connections[index] = None;
                        }
                    }
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut socket, _)) = self.listener.accept() {
            let token = Token(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            socket.set_nodelay(true).expect("a socket");
            self.poll.registry().register(&mut socket, token, interest).expect("epoll");
            let (reader, left) = (Reader::default(), VecDeque::new());
            self.connections.push(Some(Connection { socket, reader, preface: 24, heard: 0, left, written: 0 }));
        }
    }

    fn command(&mut self, command: Command, answers: &mut impl Write) {
        let usage = Usage::now();
        match command {
            Command::Answers { file } => {
                self.first = recorded(&file).iter().map(|message| framed(message).into()).collect();
            }
            Command::Push { file } => {
                let message: Arc<[u8]> = framed(&recorded(&file)[0]).into();
                for connection in self.connections.iter_mut().flatten() {
                    connection.write(&message);
                }
            }
            Command::Usage => {}
        }
        answer(answers, &usage);
    }
}

impl Connection {
    /// Reads and writes as far as possible; false at the end.
    fn turn(&mut self, buffer: &mut [u8], first: &[Arc<[u8]>]) -> bool {
        self.flush();
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            let mut input = &buffer[..read];
            if self.preface > 0 {
                let skipped = self.preface.min(read);
                (self.preface, input) = (self.preface - skipped, &input[skipped..]);
                if self.preface == 0 {
                    self.write(&greeting().into());
                }
            }
            let before = self.heard;
            self.reader.read(input, &mut |piece| self.heard += usize::from(matches!(piece, Piece::Message(_))));
            // Each type takes two messages: the request and the ACK.
            for asked in (before..self.heard).filter(|heard| heard % 2 == 0) {
                if let Some(message) = first.get(asked / 2) {
                    self.write(message);
                }
            }
            // A short read has emptied the socket.
            if read < buffer.len() {
                return true;
            }
        }
    }

    fn write(&mut self, message: &Arc<[u8]>) {
        if self.left.is_empty() {
            match self.socket.write(message) {
                Ok(written) if written == message.len() => return,
                Ok(written) => self.written = written,
                Err(_) => self.written = 0,
            }
        }
        self.left.push_back(message.clone());
    }

    fn flush(&mut self) {
        while let Some(next) = self.left.front() {
            match self.socket.write(&next[self.written..]) {
                Ok(written) => self.written += written,
                Err(_) => return,
            }
            if self.written == next.len() {
                self.written = 0;
                self.left.pop_front();
            }
        }
    }
}

fn greeting() -> Vec<u8> {
    let mut greeting = Vec::new();
    put_windows(&mut greeting);
    put_frame(&mut greeting, SETTINGS, ACK, 0, &[]);
    greeting.extend_from_slice(&answering());
    greeting
}
