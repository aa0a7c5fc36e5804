//! A socket whose system may join what is written in pieces.
//!
//! HTTP/2 writes a large message frame by frame. Sent one by one, each would make its own way through the network's layers,
//! which takes longer than copying it; and whoever wrote it knows only afterwards that it was the last.

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How much is written at once where more is to come: a full frame, as large as HTTP/2 makes it where nothing else is agreed.
const FULL: usize = 16 * 1024;

/// A socket that was told not to wait, but for what comes after a full frame.
pub struct Socket {
    stream: TcpStream,
    held: Held,
}

/// What the system may be holding back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Nothing.
    Nothing,
    /// What was just written.
    Written,
    /// What had been written when it was asked to be flushed: if nothing follows, it was the last.
    Flushed,
}

impl Socket {
    /// Small writes are whole messages and leave at once; an error if the socket is gone.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, held: Held::Nothing })
    }

    fn write_full(&mut self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let written = self.stream.try_io(Interest::WRITABLE, || {
                Ok(sendmsg(
                    &self.stream,
                    parts,
                    &mut SendAncillaryBuffer::default(),
                    SendFlags::MORE | SendFlags::NOSIGNAL,
                )?)
            });
            match written {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(written) => {
                    self.held = Held::Written;
                    return Poll::Ready(Ok(written));
                }
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if parts.iter().map(|part| part.len()).sum::<usize>() >= FULL {
            return self.write_full(context, parts);
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts));
        self.held = Held::Nothing;
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held = match self.held {
            Held::Written => Held::Flushed,
            Held::Flushed => {
                // Saying it again sends what is held.
                self.stream.set_nodelay(true)?;
                Held::Nothing
            }
            Held::Nothing => Held::Nothing,
        };
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Both ends of a connection.
    async fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        (Socket::new(accepted.expect("accepted").0).expect("open"), connected.expect("connected"))
    }

    /// How many of `size` bytes arrive within `time`.
    async fn arrived(client: &mut TcpStream, size: usize, time: Duration) -> usize {
        let mut bytes = vec![0; size];
        let mut count = 0;
        let all = async {
            while count < size {
                count += client.read(&mut bytes[count..]).await.expect("open");
            }
        };
        _ = tokio::time::timeout(time, all).await;
        count
    }

    /// Half of what the system holds a rest at most.
    const SOON: Duration = Duration::from_millis(100);
    /// Less than a segment, which the system would hold for 200 ms: were there one on its way, its receipt would bring the rest.
    const SIZE: usize = FULL;

    /// How much of that size has arrived soon after it was written and flushed so often.
    async fn arrived_after(flushes: usize) -> usize {
        let (mut socket, mut client) = connected().await;
        socket.write_all(&vec![7; SIZE]).await.expect("written");
        for _ in 0..flushes {
            socket.flush().await.expect("flushed");
        }
        let told = socket.held == Held::Nothing;
        assert_eq!(told, flushes > 1, "told only when nothing follows");
        arrived(&mut client, SIZE, SOON).await
    }

    #[tokio::test]
    async fn nothing_is_held_after_two_flushes() {
        assert_eq!(arrived_after(2).await, SIZE);
        // The control: after one something is, unless this process was not run for as long as it is held.
        let mut tries = 0;
        while arrived_after(1).await == SIZE {
            tries += 1;
            assert!(tries < 10, "the system holds nothing");
        }
    }

    #[tokio::test]
    async fn a_small_write_takes_along_what_was_held() {
        let (mut socket, mut client) = connected().await;
        socket.write_all(&vec![7; FULL]).await.expect("written");
        socket.flush().await.expect("flushed");
        socket.write_all(b"end").await.expect("written");
        assert!(socket.held == Held::Nothing);
        assert_eq!(arrived(&mut client, FULL + 3, SOON).await, FULL + 3);
    }
}
