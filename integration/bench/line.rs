//! A connection of the fleet to a server, in plain text or over TLS. What is said is handed on and taken in the clear.
//!
//! TLS is a state beside the socket, without a buffer of its own as long as nothing is on its way.

use super::papers::Papers;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind};
use std::io::{self, BufRead, ErrorKind, IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};

/// The name in the server's certificate that is asked for: the default of `chancery bootstrap`.
const SERVER: &str = "chancery";

/// How many bytes the system takes in for a narrow connection.
const NARROW: u32 = 8 << 10;

/// A connection.
pub struct Line {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Line {
    /// Connects; over TLS, of which nothing has been said yet, for who has papers. A narrow one takes hardly anything before it is
    /// read, so that who sends notices.
    pub async fn open(port: u16, papers: Option<&Papers>, is_narrow: bool) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if is_narrow {
            socket.set_recv_buffer_size(NARROW)?;
        }
        let socket = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        socket.set_nodelay(true)?;
        let tls = papers.map(|papers| {
            let name = ServerName::try_from(SERVER).expect("a DNS name");
            Box::new(ClientConnection::new(papers.tls.clone(), name).expect("a good configuration"))
        });
        Ok(Self { socket, tls })
    }

    /// Whether it is not known yet who is at the other end.
    pub fn is_shaking_hands(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether the session is one that was resumed; none until the handshake is over, and in plain text.
    pub fn resumed(&self) -> Option<bool> {
        let tls = self.tls.as_ref().filter(|tls| !tls.is_handshaking())?;
        Some(tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Waits until there may be something to read, or room for what is to be written; `more` is whether some of that was
    /// left. Whether there may be something to read.
    pub async fn ready(&self, more: bool) -> io::Result<bool> {
        // What TLS doesn't take yet waits for what the server says.
        let writes = self.tls.as_ref().map_or(more, |tls| tls.wants_write());
        let interest = if writes { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let ready = self.socket.ready(interest).await?;
        Ok(ready.is_readable() || ready.is_read_closed())
    }

    /// Writes what the socket takes now, and takes it out.
    pub fn write(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut raw = Raw(&self.socket);
        loop {
            let written = match &mut self.tls {
                None if out.is_empty() => return Ok(()),
                None => raw.write(out).map(|written| take(out, written)),
                Some(tls) => {
                    if !out.is_empty() {
                        let taken = tls.writer().write(out)?;
                        take(out, taken);
                    }
                    if !tls.wants_write() {
                        return Ok(());
                    }
                    tls.write_tls(&mut raw).map(drop)
                }
            };
            match written {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                written => written?,
            }
        }
    }

    /// Reads once into a buffer, and hands on what is said. How many bytes came; none at the end.
    pub fn read(&mut self, buffer: &mut [u8], on: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let read = self.socket.try_read(buffer)?;
        let mut input = &buffer[..read];
        let Some(tls) = &mut self.tls else {
            (read > 0).then(|| on(input));
            return Ok(read);
        };
        while !input.is_empty() {
            tls.read_tls(&mut input)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            if !hand_on(tls, on)? {
                return Ok(0);
            }
        }
        Ok(read)
    }
}

/// Takes out what has been written.
fn take(out: &mut Vec<u8>, written: usize) {
    if written == out.len() {
        *out = Vec::new();
    } else {
        out.drain(..written);
    }
}

/// Hands on what was deciphered. Whether more may come.
fn hand_on(tls: &mut ClientConnection, on: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
    let mut reader = tls.reader();
    loop {
        let said = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            said => said?,
        };
        if said.is_empty() {
            return Ok(false);
        }
        on(said);
        let length = said.len();
        reader.consume(length);
    }
}

/// A socket as who writes TLS sees it.
struct Raw<'s>(&'s TcpStream);

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
